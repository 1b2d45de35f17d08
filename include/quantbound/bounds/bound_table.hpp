/// All theories of norms for one configuration, and the norms that the papers tabulate.
#pragma once

#include <vector>

#include "quantbound/bounds/theory.hpp"
#include "quantbound/quantize/configuration.hpp"

namespace quantbound::bounds {

/// The paper's r (arXiv 2502.01156) over the sequence of weight layers.
struct PaperNorms {
  std::vector<double> r;  ///< r_l = max(||[W_l, b_l]||_inf, ||[W'_l, b'_l]||_inf), upper bounds
  double r_max = 0.0;     ///< largest r_l
  double r_mean = 0.0;    ///< Theorem 4.1: (max_l max_{i<l} prod_{j>=i, j!=l} r_j)^(1/(L-1)); r_1 for one layer
  double r_conv = 0.0;  ///< Theorem 4.4: (max_l prod_{k!=l} r_k^conv)^(1/(L-1)), without biases; r_1^conv for one layer
};

struct BoundTable {
  PaperNorms norms;
  std::vector<TheoryResult> results;  ///< in the order of theories()
};

PaperNorms paper_norms(const NormInput& input);
/// Those of vectors are not applicable.
BoundTable evaluate_norm_theories(const NormInput& input);
/// All theories, those of vectors too: one pass over the weights for the norms, and the quantized weights for the rest.
/// @pre box has one interval per input element, finite and low <= high
BoundTable evaluate_theories(const network::Network& network, const network::Box& box,
                             const quantize::Configuration& configuration);

}  // namespace quantbound::bounds
