/// How the errors of layers add up on measured samples (arXiv 2610.09877, docs/theory.md 1.6): a bound of the output's
/// deviation from what each layer did, the share of it that each layer causes, and the Cantelli bounds of that paper.
///
/// All norms are 2-norms. Delta_v is the difference f - f_q at node v, S'_u the value of f_q that enters layer l at
/// node u. With the realized amplification X_l = ||W_l Delta_u|| / ||Delta_u|| (0/0 = 0),
///   ||Delta_l|| <= X_l ||Delta_u|| + ||(W_l - W'_l) S'_u + b_l - b'_l||,
/// and every other operator passes errors on with a constant factor (docs/theory.md 1.6 has the table with proofs).
///
/// The Cantelli bounds need the true moments of the population. What is here plugs in the moments of samples, as the
/// paper's experiments do: estimates, not guarantees. confidence.hpp has guarantees.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "quantbound/network/graph.hpp"

namespace quantbound::observe {

using network::Graph;
using network::Index;

/// What the layers of one configuration did on some samples: layer x sample (LayerObservation in deviation.hpp).
struct LayerTerms {
  Index layers = 0, samples = 0;
  std::span<const double> input;            ///< ||S'_u||
  std::span<const double> input_deviation;  ///< ||Delta_u||
  std::span<const double> carried;          ///< ||W_l Delta_u||
  std::span<const double> local;            ///< ||(W_l - W'_l) S'_u + b_l - b'_l||
};

struct PropagatedError {
  std::vector<double> output;  ///< per sample G_L: ||f - f_q|| <= G_L surely (up to rounding)
  std::vector<double> share;   ///< layer x sample: part of G_L that the layer's local term causes. Sums to 1 over
                               ///< layers; 0 where G_L is 0 or overflows
};

/// Lemma 1's recursion over the graph. Nothing where the graph has a Product: its factor is not a constant.
/// Where an input did not deviate, `carried` is rounding noise and counts as 0.
std::optional<PropagatedError> propagate_errors(const Graph& graph, const LayerTerms& terms);

/// The factor by which an operator with one input passes the 2-norm of a difference on, at most; nothing for weight
/// layers, for operators of several inputs and for the Input. `input` is the shape of what it reads.
std::optional<double> amplification(const network::Operator& op, const network::Shape& input);

/// mean + sd sqrt(c / (1 - c)) with the mean and the standard deviation (n - 1) of these values: at least the
/// c-quantile if these were the true moments (Cantelli). +infinity for less than two values.
/// @pre 0 < confidence < 1
double cantelli_upper(std::span<const double> values, double confidence);

/// A bound of the output's deviation by Theorem 1, layer by layer: A_l = m_l + sqrt(v_l (1 - d) / d), where m_l and v_l
/// are the mean and variance of X_l A_u + Y_l B_l over the samples on which all earlier bounds held, Y_l = local /
/// input, and B_l is the empirical (1 - d)-quantile of ||S'_u|| (the largest where there are fewer than 1/d samples).
/// The failure probability is shared evenly: d = (1 - confidence) / (2 layers). Nothing where the graph has a Product,
/// where less than two samples are left for a moment, or where a layer without input has a local term (a quantized
/// bias).
/// @pre 0 < confidence < 1
std::optional<double> layerwise_cantelli(const Graph& graph, const LayerTerms& terms, double confidence);

}  // namespace quantbound::observe
