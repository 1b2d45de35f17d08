/// Backward linear bound propagation for pairs (docs/theory.md 5.5, 9.5.5): rows of coefficients are carried from a
/// node back to the input, activations replaced by planes above or below them. merged_crown relaxes both networks apart
/// (CROWN of the merged network, Zhang et al. 2018); difference_crown relaxes them together, over (y, d), per neuron
/// and row by the best of several planes over the hexagon of what is known (NeuroDiff's lines among them); alpha_crown
/// then optimises the slopes of all planes (any slope is sound, so the optimiser needs no proof; what it returns is
/// evaluated with outward rounding). Neurons whose sign is open in f or f_q are bounded by walks of their own; all
/// results are intersected with the intervals they start from. Walks end at products of two values, hard_swish and
/// rounded activations of f_q: the interval of such a node stands for what is before it.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"

namespace quantbound::certify {

/// Starts from separate_intervals.
PairBounds merged_crown(const Pair& pair, const Box& input);
/// Start from difference_interval.
PairBounds difference_crown(const Pair& pair, const Box& input);
/// `steps` of the optimiser for every row.
PairBounds alpha_crown(const Pair& pair, const Box& input, Index steps);

/// The same from bounds that are known already, of a part of the region for instance, on which the signs of some
/// neurons are fixed. Nothing when the part turns out to be empty: a branch without points.
std::optional<PairBounds> merged_crown(const Pair& pair, PairBounds known);
std::optional<PairBounds> difference_crown(const Pair& pair, PairBounds known);
std::optional<PairBounds> alpha_crown(const Pair& pair, PairBounds known, Index steps);

/// How far the relaxation of one neuron lifts a bound, over the middle of what is known of the neuron.
struct Influence {
  NodeId node = 0;  ///< the input of the activation
  Index element = 0;
  double gap = 0.0;
};

enum class Network : unsigned char { f, fq };
enum class Side : unsigned char { above, below };

/// That a value of f or f_q is on one side of a kink of the activation that reads it.
struct Assumption {
  NodeId node = 0;  ///< the input of the activation
  Index element = 0;
  Network network = Network::f;
  double kink = 0.0;
  Side side = Side::above;
};

/// Some differences at the output over the points that satisfy assumptions.
struct AssumedBounds {
  PairBounds bounds;
  /// Where the linear bounds are attained: two inputs per output that was asked for, above and below.
  std::vector<double> inputs;
  /// Neurons that an activation relaxes, by their influence on the largest |f_q - f| among these outputs, the largest
  /// first: splitting the first ones at a kink gains most.
  std::vector<Influence> influences;
};

/// Bounds the difference at some outputs as alpha_crown does, over the points that satisfy all `assumptions`, with a
/// Lagrange multiplier for each beside the slopes (beta-CROWN, Wang et al. 2021). Hidden nodes: intervals only, from
/// `known` and the assumptions. Nothing when no point satisfies them.
std::optional<AssumedBounds> beta_crown(const Pair& pair, PairBounds known, std::span<const Assumption> assumptions,
                                        std::span<const Index> outputs, Index steps);

}  // namespace quantbound::certify
