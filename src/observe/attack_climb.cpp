#include "attack_climb.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quantbound/core/assert.hpp"

namespace quantbound::observe::detail {

namespace {

constexpr Index looked_at = 64;  // points for each start

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

double between(double low, double high, double part) { return std::clamp((1.0 - part) * low + part * high, low, high); }

/// The steps after which Auto-PGD looks back: at first after 22 % of them, then ever sooner.
std::vector<Index> checkpoints(Index steps) {
  std::vector<Index> result;
  double before = 0.0, next = 0.22;
  while (next < 1.0) {
    result.push_back(static_cast<Index>(std::ceil(next * static_cast<double>(steps))));
    const double after = next + std::max(next - before - 0.03, 0.06);
    before = next;
    next = after;
  }
  return result;
}

void take_value(Climb& climb, double value, std::span<const double> gradient) {
  if (value > climb.last) ++climb.increases;
  climb.last = value;
  if (value <= climb.best && !climb.best_gradient.empty()) return;
  climb.best = value;
  climb.best_point = climb.point;
  climb.best_gradient.assign(gradient.begin(), gradient.end());
}

/// Halves the step and goes back to the best point where the last `stretch` steps did not pay.
/// Returns whether it did.
bool look_back(Climb& climb, Index stretch) {
  const bool few_increases = static_cast<double>(climb.increases) < 0.75 * static_cast<double>(stretch);
  const bool stands_still = climb.step == climb.checked_step && climb.best == climb.checked_best;
  climb.checked_step = climb.step;
  climb.checked_best = climb.best;
  climb.increases = 0;
  if (!few_increases && !stands_still) return false;
  climb.step /= 2;
  climb.point = climb.previous = climb.best_point;
  climb.last = climb.best;
  return true;
}

/// One step along the signs of the gradient with a quarter of the step before, projected onto the box.
void move(Climb& climb, std::span<const double> gradient, const Box& box) {
  constexpr double momentum = 0.25;
  for (std::size_t i = 0; i < climb.point.size(); ++i) {
    const double low = box.low[i], high = box.high[i], x = climb.point[i];
    const double uphill = climb.target.sign * gradient[i];
    const double direction = uphill > 0.0 ? 1.0 : (uphill < 0.0 ? -1.0 : 0.0);
    const double ahead = std::clamp(x + climb.step * (high - low) * direction, low, high);
    const double next = x + (1.0 - momentum) * (ahead - x) + momentum * (x - climb.previous[i]);
    climb.previous[i] = x;
    climb.point[i] = std::clamp(next, low, high);
  }
}

}  // namespace

std::vector<double> centre_of(const Box& box) {
  std::vector<double> centre;
  for (std::size_t i = 0; i < box.low.size(); ++i) centre.push_back(between(box.low[i], box.high[i], 0.5));
  return centre;
}

Starts own_starts(const AttackOptions& options) {
  QUANTBOUND_ASSERT(options.starts > 0 && options.groups > 0 && options.groups <= options.starts, options.starts,
                    options.groups);
  QUANTBOUND_ASSERT(options.group >= 0 && options.group < options.groups, options.group, options.groups);
  return {options.starts * options.group / options.groups, options.starts * (options.group + 1) / options.groups};
}

std::vector<Index> own_points(const AttackOptions& options) {
  const auto [first, last] = own_starts(options);
  constexpr Index others = looked_at - 1;
  std::vector<Index> numbers(index(looked_at * (last - first)));
  const auto starts_end = numbers.begin() + (last - first);
  std::iota(numbers.begin(), starts_end, first);
  std::iota(starts_end, numbers.end(), options.starts + others * first);
  return numbers;
}

std::vector<double> starting_point(const Box& box, std::uint64_t seed, Index number) {
  if (number == 0) return centre_of(box);
  const core::RandomStream random(seed, "attack", static_cast<std::uint64_t>(number));
  std::vector<double> point;
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    const double u = random.uniform(i);
    point.push_back(number % 2 == 1 ? between(box.low[i], box.high[i], u) : (u < 0.5 ? box.low[i] : box.high[i]));
  }
  return point;
}

void Best::offer(std::span<const double> points, std::span<const double> values) {
  const std::size_t inputs = result_.point.size(), outputs = values.size() / (points.size() / inputs);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double deviation = std::abs(values[i]);
    if (!std::isfinite(deviation) || deviation <= result_.deviation) continue;
    const auto point = points.subspan(i / outputs * inputs, inputs);
    result_ = {
        .deviation = deviation, .output = static_cast<Index>(i % outputs), .point = {point.begin(), point.end()}};
  }
}

std::vector<Target> ranked_targets(std::span<const double> values, Index outputs) {
  std::vector<double> largest(index(2 * outputs), nothing);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    const std::size_t plus = 2 * (i % index(outputs)), minus = plus + 1;
    largest[plus] = std::max(largest[plus], values[i]);
    largest[minus] = std::max(largest[minus], -values[i]);
  }
  std::vector<Index> order(largest.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return largest[index(a)] > largest[index(b)]; });
  std::vector<Target> targets;
  targets.reserve(order.size());
  for (const Index k : order) targets.push_back({k / 2, k % 2 == 0 ? 1.0 : -1.0});
  return targets;
}

Outcome climb(std::span<Climb> climbs, Index steps, const Evaluate& evaluate, const Box& box,
              const std::function<bool()>& stop) {
  const std::vector<Index> looks = checkpoints(steps);
  std::size_t next_look = 0;
  const std::size_t inputs = box.low.size();
  std::vector<double> points(climbs.size() * inputs);
  for (Index step = 0; step < steps; ++step) {
    if (stop && stop()) return Outcome::stopped;
    for (std::size_t c = 0; c < climbs.size(); ++c)
      std::copy(climbs[c].point.begin(), climbs[c].point.end(), points.data() + c * inputs);
    const Slopes slopes = evaluate(points, climbs);
    const std::size_t outputs = slopes.values.size() / std::max<std::size_t>(1, climbs.size());
    const bool look = next_look < looks.size() && step == looks[next_look];
    const Index stretch = look ? step - (next_look == 0 ? 0 : looks[next_look - 1]) : 0;
    for (std::size_t c = 0; c < climbs.size(); ++c) {
      Climb& climb = climbs[c];
      const std::span<const double> gradient(slopes.gradients.data() + c * inputs, inputs);
      const double value = slopes.values[c * outputs + index(climb.target.output)];
      take_value(climb, std::isfinite(value) ? climb.target.sign * value : nothing, gradient);
      const bool back = look && look_back(climb, stretch);
      move(climb, back ? std::span<const double>(climb.best_gradient) : gradient, box);
    }
    next_look += look ? 1 : 0;
  }
  return Outcome::done;
}

std::vector<double> disturbed(std::span<const double> point, const Box& box, double part,
                              const core::RandomStream& random) {
  std::vector<double> result(point.begin(), point.end());
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (random.uniform(2 * i) < part) result[i] = between(box.low[i], box.high[i], random.uniform(2 * i + 1));
  }
  return result;
}

}  // namespace quantbound::observe::detail
