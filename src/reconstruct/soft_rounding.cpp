#include "quantbound/reconstruct/soft_rounding.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "soft_rounding_loops.hpp"

namespace quantbound::reconstruct {

namespace {

using quantize::RowGrid;

constexpr float pinned = -16.0F;   // h is 0 there and has no slope: no gradient moves it
constexpr double on_level = 1e-6;  // of a step: closer, single precision would clip h or not by chance
constexpr Index chunk = 4096;      // what a thread takes at once

float float_step(const RowGrid& grid, std::size_t row) {
  const auto step = static_cast<float>(grid.step);
  const double largest = std::max(std::abs(grid.lowest - grid.zero_point), std::abs(grid.highest - grid.zero_point));
  QUANTBOUND_ASSERT(grid.step >= 0.0 && largest < 0x1p23, grid.step, largest);
  const bool usable = std::isnormal(step) && std::isfinite(step * static_cast<float>(largest));
  if (grid.step != 0.0 && !usable) {
    throw core::NumericalError(
        fmt::format("the quantization step {} of row {} is beyond single precision; scale the network", grid.step, row),
        "learned rounding");
  }
  return step;
}

/// Where a weight's two levels are.
struct Start {
  float base = 0.0F, variable = pinned;
};

Start start_of(double weight, const RowGrid& grid) {
  if (grid.step == 0.0) return {};
  const double low = grid.lowest - grid.zero_point, high = grid.highest - grid.zero_point;
  const double quotient = weight / grid.step, below = std::floor(quotient);
  if (!(below < high)) return {static_cast<float>(high), pinned};
  if (below < low) return {static_cast<float>(low), pinned};
  if (std::abs(quotient - std::nearbyint(quotient)) <= on_level)
    return {static_cast<float>(std::nearbyint(quotient)), pinned};
  return {static_cast<float>(below), static_cast<float>(detail::inverse_rectified_sigmoid(quotient - below))};
}

/// body(begin, end) over chunks of [0, count).
template <class Body>
void for_chunks(Index count, const Body& body) {
#pragma omp parallel for schedule(static) if (tensor::worth_threads(count))
  for (Index begin = 0; begin < count; begin += chunk) body(begin, std::min(begin + chunk, count));
}

}  // namespace

double annealed_beta(Index iteration, const SoftRoundingOptions& options) {
  const auto all = static_cast<double>(options.iterations), begin = options.warm_up * all;
  const auto now = static_cast<double>(iteration);
  if (now < begin) return 0.0;
  const double rest = all > begin ? std::max(0.0, (all - now) / (all - begin)) : 0.0;
  return options.beta_last + (options.beta_first - options.beta_last) * rest;
}

SoftRounding::SoftRounding(std::span<const double> weights, std::span<const RowGrid> grids,
                           const SoftRoundingOptions& options)
    : options_(options),
      grids_(grids.begin(), grids.end()),
      base_(weights.size()),
      step_(weights.size()),
      variable_(weights.size()),
      first_moment_(weights.size()),
      second_moment_(weights.size()),
      soft_(weights.size()) {
  QUANTBOUND_ASSERT(!grids.empty() && weights.size() % grids.size() == 0, grids.size(), weights.size());
  QUANTBOUND_ASSERT(options.beta_first > 1.0 && options.beta_last > 1.0, options.beta_first, options.beta_last);
  const std::size_t columns = weights.size() / grids.size();
  for (std::size_t row = 0; row < grids.size(); ++row) {
    const float step = float_step(grids[row], row);
    for (std::size_t i = row * columns; i < (row + 1) * columns; ++i) {
      const Start start = start_of(weights[i], grids[row]);
      base_[i] = start.base;
      step_[i] = step;
      variable_[i] = start.variable;
      free_ += start.variable == pinned ? 0 : 1;
    }
  }
  soften();
}

void SoftRounding::soften() {
  const detail::SoftArrays arrays{
      .base = base_.data(), .step = step_.data(), .variable = variable_.data(), .soft = soft_.data()};
  const detail::SoftenLoop loop = detail::instruction_sets().front().soften;
  for_chunks(std::ssize(soft_), [&](Index begin, Index end) { loop(arrays, begin, end); });
}

void SoftRounding::update(std::span<const float> gradient) {
  QUANTBOUND_ASSERT(gradient.size() == soft_.size(), gradient.size(), soft_.size());
  const double beta = annealed_beta(iteration_, options_);
  const detail::StepRates rates{.learning_rate = options_.learning_rate,
                                .regularization = beta > 0.0 ? options_.regularization : 0.0,
                                .beta = beta,
                                .count = iteration_ + 1};
  const detail::SoftArrays arrays{gradient.data(),      base_.data(),          step_.data(), variable_.data(),
                                  first_moment_.data(), second_moment_.data(), soft_.data()};
  const detail::StepLoop loop = detail::instruction_sets().front().step;
  for_chunks(std::ssize(soft_), [&](Index begin, Index end) { loop(arrays, begin, end, rates); });
  ++iteration_;
}

double SoftRounding::regularizer() const {
  const double beta = annealed_beta(iteration_, options_);
  if (beta == 0.0) return 0.0;
  double sum = 0.0;
  for (const float variable : variable_) {
    const double h = detail::rectified_sigmoid(static_cast<double>(variable));
    sum += 1.0 - std::pow(std::abs(2.0 * h - 1.0), beta);
  }
  return options_.regularization * sum;
}

Index SoftRounding::settled_weights() const {
  const auto settled = std::ranges::count_if(variable_, [](float variable) {
    const double h = detail::rectified_sigmoid(static_cast<double>(variable));
    return h == 0.0 || h == 1.0;
  });
  return settled - (std::ssize(variable_) - free_);
}

double SoftRounding::fraction_settled() const {
  return free_ == 0 ? 1.0 : static_cast<double>(settled_weights()) / static_cast<double>(free_);
}

std::vector<double> SoftRounding::rounded() const {
  const std::size_t columns = soft_.size() / grids_.size();
  std::vector<double> result(soft_.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (!std::isfinite(variable_[i])) {
      throw core::NumericalError("learned rounding has diverged; lower the learning rate or scale the network",
                                 fmt::format("weight {}", i));
    }
    const double integer = static_cast<double>(base_[i]) + (variable_[i] >= 0.0F ? 1.0 : 0.0);
    result[i] = (integer + 0.0) * grids_[i / columns].step;
  }
  return result;
}

core::Bytes SoftRounding::state() const {
  return core::ByteWriter()
      .value(static_cast<std::int64_t>(iteration_))
      .values(variable_)
      .values(first_moment_)
      .values(second_moment_)
      .take();
}

void SoftRounding::restore(std::span<const std::byte> state) {
  core::ByteReader reader(state);
  const auto iteration = reader.value<std::int64_t>();
  std::vector<float> variable = reader.values<float>(), first = reader.values<float>(), second = reader.values<float>();
  const bool fits = variable.size() == soft_.size() && first.size() == soft_.size() && second.size() == soft_.size();
  if (!fits || !reader.at_end() || iteration < 0) {
    throw core::Error("a stored state of learned rounding belongs to another layer; start the layer anew", "");
  }
  iteration_ = static_cast<Index>(iteration);
  variable_ = std::move(variable);
  first_moment_ = std::move(first);
  second_moment_ = std::move(second);
  soften();
}

}  // namespace quantbound::reconstruct
