/// Two ways to choose the biases of a quantized layer from calibration data (Nagel et al., arXiv 1906.04721;
/// docs/theory.md 7.5). Both are pure functions of weights and of means that the caller has measured, and both touch
/// the biases of f_q alone: f stays as it is, so bounds and certificates of the pair need no change, they see db != 0.
///
/// Correction: quantized weights shift the mean of a layer's output by E[(W' - W) x]; the bias takes it back.
/// Absorption: where a channel's pre-activation z stays above some c > 0, relu(z) = relu(z - c) + c, and c can move
/// from this layer's bias to the next one's, through the next layer's exact weights instead of the quantized ones.
///
/// Results are rounded doubles on no grid: quantizing them (bias_bits) is the caller's step, afterwards.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantbound/quantize/equalization.hpp"

namespace quantbound::quantize {

/// Means over samples and output positions of what a layer's weights multiply: one per input of a dense layer, one per
/// input channel and tap of a convolution. `input`: the mean over samples of every element of the layer's input. Exact
/// with padding, strides and dilation: a tap that falls on the padding reads zero.
/// @pre op is a Convolution or a Dense, input.size() is that of its input
std::vector<double> column_means(const network::Operator& op, std::span<const double> input);

/// The means of the columns of the input of f, and of f_q: the same where only this layer is quantized.
struct InputMeans {
  std::span<const double> original, quantized;
};
/// b' with which the layer's mean output is that of the original layer: b_i + (W m)_i - (W' m')_i, m and m' the means
/// of the columns. The paper's b - E[(W' - W) x] is m = m'. The means of a sum's terms are the means of the sum, so the
/// mean error over the calibration data is 0 up to rounding, over all positions of a convolution together.
std::vector<double> corrected_bias(const network::Operator& op, const LayerParameters& original,
                                   const LayerParameters& quantized, const InputMeans& means);

/// Mean and standard deviation of a channel's pre-activation, over samples and positions.
struct ChannelStatistics {
  double mean = 0.0, deviation = 0.0;
};
/// c = max(0, mean - deviations * standard deviation) of every channel: what the paper absorbs, with 3.
std::vector<double> absorbable(std::span<const ChannelStatistics> channels, double deviations = 3.0);

/// Why what lies between the layers of a link does not let a constant pass, in words; empty where it does: Relu,
/// LeakyRelu, the maximum of pools, moves. Not averages that count padding, nor Pad, nor a second layer that pads:
/// there zeros meet values that carry c.
std::string not_absorbing(const network::Graph& graph, const Link& link);

struct AbsorbedBiases {
  std::vector<double> first, second;
};
/// b1 - c, and b2 + W2 c with the original W2. On an input whose pre-activations z are all at least c, with W2' reading
/// what the first layer makes, the second layer's output becomes W2' a + b2 - (W2' - W2) c where it was W2' a + b2 (in
/// real arithmetic): an error that is constant over the inputs is gone, and for W2' = W2 nothing changes. Where some
/// z_i is below c_i, and three standard deviations leave such inputs, relu(z_i) is replaced by max(z_i, c_i).
/// @pre c >= 0, one per row of the link's first layer; not_absorbing is empty
AbsorbedBiases absorbed_biases(const network::Graph& graph, const Link& link, std::span<const double> first_bias,
                               std::span<const double> second_bias, const LayerParameters& second_original,
                               std::span<const double> c);

}  // namespace quantbound::quantize
