/// How much the loss of modules goes up and down along a network (MRECG, arXiv 2303.11906: "oscillation"): the
/// differences of neighbours, the largest of them and all together. The measure is ours; the paper shows curves.
#pragma once

#include <span>
#include <vector>

namespace quantbound::reconstruct {

struct Oscillation {
  std::vector<double> differences;  ///< loss of module i + 1 minus loss of module i
  double largest = 0.0;             ///< of their magnitudes; 0 for a single module
  double total = 0.0;               ///< sum of their magnitudes
};
Oscillation oscillation(std::span<const double> losses);

}  // namespace quantbound::reconstruct
