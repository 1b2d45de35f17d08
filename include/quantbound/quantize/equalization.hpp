/// Cross-layer equalization (Nagel et al., arXiv 1906.04721; docs/theory.md 7.5) by powers of two: a channel between
/// two weight layers is divided by 2^e where it is made and multiplied by 2^e where it is read, so that the largest
/// weights that make it and that read it become alike and one step per layer serves all channels better.
///
/// The equalized network is f itself, not nearly f: in real arithmetic the same function of the same input, and its
/// weights are doubles without a rounding error. Between the two layers stand only operators that commute with a
/// positive factor per channel: sigma(t y) = t sigma(y) for t > 0 (Relu, LeakyRelu), linear pooling and the maximum
/// within a channel, moving and dropping elements, zeros of pads. Row i of the first layer and its bias are multiplied
/// by 2^-e_i, so channel i of every value between is 2^-e_i times what it was, and the columns that read it carry
/// 2^e_i: every product is what it was. A double times a power of two is exact unless it leaves the range of normal
/// doubles, and a channel where that happens keeps its scale (e = 0). So whatever is proved of the pair (equalized f,
/// f_q) holds for (f, f_q), with no rounding to account for; even network::forward gives the same bits, underflow
/// apart. Values between layers are those of f times powers of two, so a deviation measured there is in other units.
///
/// The scales of the paper are found in real numbers, for all layers together, and rounded to powers of two link by
/// link, each making up for the rounding of those before. Among roundings that differ by a factor common to all
/// channels, which costs nothing, and no scaling at all, the one with the least product of the two layers' largest
/// weights is taken: the paper's objective, sum_i p_i^1 p_i^2 with p_i = r_i / R, is inversely proportional to it. So
/// for two layers alone the product of their steps per tensor never grows, and is at most twice the least that real
/// scales reach.
///
/// Not across what is not positively homogeneous (Clip, so Relu6; Sigmoid, ...), nor where a value has several readers
/// or meets another one: skipped, with the reason. Biases are not absorbed here (bias_correction.hpp).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::quantize {

using network::Index;
using network::LayerParameters;

/// Two weight layers of which the second alone reads what the first makes.
struct Link {
  Index first = 0, second = 0;
  /// For every input channel of a convolution, every input of a dense layer: the row of `first` whose multiples it
  /// holds; -1 where it is constantly zero.
  std::vector<Index> rows;
  bool operator==(const Link&) const = default;
};

/// A weight layer whose output cannot be rescaled, and why.
struct Unlinked {
  Index layer = 0;
  std::string reason;
};

struct Links {
  std::vector<Link> links;  ///< by growing `first`
  std::vector<Unlinked> unlinked;
};
/// Every weight layer is the `first` of one link or is unlinked.
Links find_links(const network::Graph& graph);

struct EqualizationOptions {
  Index rounds = 200;  ///< most rounds over all links
  /// Rounds end when no scale changes by more than this factor minus one.
  double settled = 0.01;
  /// |e| is at most this: beyond it a channel of nearly zero weights would get a scale for nothing. @pre 0..60
  int largest_exponent = 20;
};

struct Equalization {
  std::vector<Link> links;
  std::vector<std::vector<int>> exponents;  ///< per link, one per row of its first layer
  Index rounds = 0;
  bool settled = true;
};

/// Scales for all links together, from the weights alone. A depthwise layer between two links is equalized with both
/// its neighbours at once, as in the paper. A channel keeps its scale where nothing reads it or makes it, where its
/// largest weight is not within 2^-300..2^300, and where a weight would not be exact.
Equalization find_equalization(const network::Graph& graph, std::span<const LayerParameters> layers,
                               const EqualizationOptions& options = {});

/// The layers with the scales applied. With inverse(e) after e the layers are what they were, bit for bit. What was
/// quantized on the equalized weights may be scaled back the same way: a pair (f, f_q scaled back) that differs by the
/// same function, with f as it came.
/// @pre scales_exactly: so where the equalization was found for these layers
std::vector<LayerParameters> equalized(const network::Graph& graph, std::span<const LayerParameters> layers,
                                       const Equalization& equalization);
Equalization inverse(const Equalization& equalization);
/// Whether no weight or bias is rounded.
bool scales_exactly(const network::Graph& graph, std::span<const LayerParameters> layers,
                    const Equalization& equalization);

}  // namespace quantbound::quantize
