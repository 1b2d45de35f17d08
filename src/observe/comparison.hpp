/// What the outputs of f and f_q at one sample say: how far apart they are, and how they rank a label.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::observe::detail {

using tensor::Index;

constexpr Index no_label = -1;

/// Position of the label when outputs are sorted, largest first and equal ones in their order; the number of outputs
/// where there is no such label.
template <class Real>
Index rank_of(std::span<const Real> outputs, Index label) {
  if (label < 0 || label >= std::ssize(outputs)) return std::ssize(outputs);
  const Real value = outputs[static_cast<std::size_t>(label)];
  Index before = 0;
  for (Index i = 0; i < std::ssize(outputs); ++i) {
    const Real other = outputs[static_cast<std::size_t>(i)];
    before += other > value || (other == value && i < label) ? 1 : 0;
  }
  return before;
}

/// The largest output, the first one where several are, and by how much it exceeds all others (+inf for one output).
struct Winner {
  Index output = 0;
  double margin = std::numeric_limits<double>::infinity();
};

template <class Real>
Winner winner(std::span<const Real> outputs) {
  Winner result;
  for (Index i = 1; i < std::ssize(outputs); ++i) {
    const double behind = static_cast<double>(outputs[static_cast<std::size_t>(result.output)]) -
                          static_cast<double>(outputs[static_cast<std::size_t>(i)]);
    result.margin = std::min(result.margin, std::abs(behind));
    if (behind < 0.0) {
      result.output = i;
      result.margin = -behind;
    }
  }
  return result;
}

struct Comparison {
  double deviation = 0.0, deviation_2 = 0.0, relative = 0.0;
  bool correct = false, correct_top5 = false;  ///< of f_q
  bool agree = false, margin_exceeded = false;
};

/// @pre outputs are finite, and so are their differences
template <class Real>
Comparison compare(std::span<const Real> f, std::span<const Real> f_q, Index label) {
  double largest = 0.0, scale = 0.0;  // scales keep squares from overflow and underflow
  for (std::size_t i = 0; i < f.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(f_q[i]) - static_cast<double>(f[i])));
    scale = std::max(scale, std::abs(static_cast<double>(f[i])));
  }
  double squares = 0.0, reference = 0.0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double difference = static_cast<double>(f_q[i]) - static_cast<double>(f[i]);
    if (largest > 0.0) squares += (difference / largest) * (difference / largest);
    if (scale > 0.0) reference += (static_cast<double>(f[i]) / scale) * (static_cast<double>(f[i]) / scale);
  }
  Comparison result{.deviation = largest, .deviation_2 = largest * std::sqrt(squares)};
  const double norm = scale * std::sqrt(reference);
  if (largest > 0.0) result.relative = norm > 0.0 ? result.deviation_2 / norm : std::numeric_limits<double>::infinity();
  const Winner first = winner(f);
  const Index rank = rank_of(f_q, label);
  result.correct = rank == 0 && label >= 0;
  result.correct_top5 = label >= 0 && label < std::ssize(f_q) && rank < 5;
  result.agree = first.output == winner(f_q).output;
  result.margin_exceeded = result.deviation >= 0.5 * first.margin;
  return result;
}

}  // namespace quantbound::observe::detail
