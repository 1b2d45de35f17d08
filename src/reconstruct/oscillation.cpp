#include "quantbound/reconstruct/oscillation.hpp"

#include <algorithm>
#include <cmath>

namespace quantbound::reconstruct {

Oscillation oscillation(std::span<const double> losses) {
  Oscillation result;
  for (std::size_t i = 1; i < losses.size(); ++i) {
    const double difference = result.differences.emplace_back(losses[i] - losses[i - 1]);
    result.largest = std::max(result.largest, std::abs(difference));
    result.total += std::abs(difference);
  }
  return result;
}

}  // namespace quantbound::reconstruct
