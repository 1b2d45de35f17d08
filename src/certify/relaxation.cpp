#include "relaxation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "quantbound/core/assert.hpp"

namespace quantbound::certify::detail {

namespace {

using network::ActivationKind;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double offset_error = 0x1p-48;  // 32 u: products, sum, and vertices computed to nearest
constexpr double offset_underflow = 0x1p-1069;
constexpr Index chunk = 32;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// 1 where the activation is the identity over the interval, 0 where it vanishes, nothing otherwise.
std::optional<double> linear_factor(const Activation& activation, double low, double high) {
  switch (activation.kind) {
    case ActivationKind::relu:
      if (high <= 0.0) return 0.0;
      if (low >= 0.0) return 1.0;
      return {};
    case ActivationKind::leaky_relu:
      if (low >= 0.0) return 1.0;
      return {};
    case ActivationKind::clip:
      if (low >= activation.alpha && high <= activation.beta) return 1.0;
      if ((high <= activation.alpha && activation.alpha == 0.0) || (low >= activation.beta && activation.beta == 0.0))
        return 0.0;
      return {};
    default:
      return {};
  }
}

/// The slope of the upper envelope of `sign` act above the middle of the interval: the line through two of its ends and
/// kinks that lies lowest there.
double envelope_slope(const Activation& activation, std::span<const double> kinks, double low, double high,
                      double sign) {
  if (!(high - low < infinity)) return 0.0;
  std::array<double, 4> x{low, high};
  std::size_t count = 2;
  for (const double kink : kinks)
    if (low < kink && kink < high) x[count++] = kink;
  const double middle = low + (high - low) / 2.0;
  double best = infinity, best_slope = 0.0;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const double slope = (activation(x[i]) - activation(x[j])) / (x[i] - x[j]);
      if (!std::isfinite(slope)) continue;
      double height = -infinity;
      for (std::size_t k = 0; k < count; ++k)
        height = std::max(height, sign * (activation(x[k]) - slope * (x[k] - middle)));
      if (height < best) best = height, best_slope = slope;
    }
  return best_slope;
}

Lines line_slopes(const Activation& activation, std::span<const double> kinks, double low, double high) {
  return {envelope_slope(activation, kinks, low, high, 1.0), envelope_slope(activation, kinks, low, high, -1.0)};
}

double largest(std::initializer_list<double> values) {
  double result = 0.0;
  for (const double value : values) result = std::isnan(value) ? infinity : std::max(result, std::abs(value));
  return result;
}

/// What the error of an activation's value is relative to, besides its argument.
double constant_extent(const Activation& activation) {
  const bool constants = is_sigmoidal(activation) || activation.kind == ActivationKind::clip ||
                         activation.kind == ActivationKind::hard_sigmoid;
  double result = constants ? 1.0 : 0.0;
  for (const double constant : {activation.alpha, activation.beta})
    if (constants && std::isfinite(constant)) result = std::max(result, std::abs(constant));
  return result;
}

struct Vertex {
  double y, d;
};

/// Vertices of the pieces of the hexagon. Computed to nearest, each is within a few units in the last place of the
/// largest magnitude of an exact one, which offset_error covers.
std::vector<Vertex> hexagon_vertices(std::span<const double> kinks, double l, double u, double lq, double uq, double dl,
                                     double du) {
  const double first = std::max(l, lq - du), last = std::max(first, std::min(u, uq - dl));
  const auto bottom = [&](double y) { return std::clamp(lq - y, dl, du); };
  const auto top = [&](double y) { return std::max(bottom(y), std::clamp(uq - y, dl, du)); };
  std::vector<double> places{first, last, uq - du, lq - dl};
  for (const double kink : kinks) places.insert(places.end(), {kink, kink - du, kink - dl});
  std::vector<Vertex> vertices;
  for (const double place : places) {
    const double y = std::clamp(place, first, last);
    vertices.push_back({y, bottom(y)});
    vertices.push_back({y, top(y)});
  }
  std::vector<double> sides{first, last};
  sides.insert(sides.end(), kinks.begin(), kinks.end());
  for (const double side : sides)
    for (const double kink : kinks) {
      const double y = std::clamp(side, first, last);
      vertices.push_back({y, std::clamp(kink - y, bottom(y), top(y))});
    }
  return vertices;
}

double line_offset(double weight, const Lines& lines) {
  return weight == 0.0 ? 0.0 : weight * (weight > 0.0 ? lines.upper_offset : lines.lower_offset);
}

double derivative(const Activation& activation, double x) {
  const double value = activation(x);
  return activation.kind == ActivationKind::tanh ? 1.0 - value * value : value * (1.0 - value);
}

/// What the library's values, derivatives and a line's few operations may be off, for numbers of this size.
double sigmoidal_error(double slope, double extent) { return 0x1p-46 * (1.0 + std::abs(slope) * extent); }

/// Convex below zero, concave above.
Lines sigmoidal_lines(const Activation& activation, double low, double high) {
  if (!(high - low < infinity)) return {0.0, 0.0, 1.0, activation.kind == ActivationKind::tanh ? -1.0 : 0.0};
  const double extent = std::max(std::abs(low), std::abs(high)), middle = low + (high - low) / 2.0;
  const double at_low = activation(low), at_high = activation(high);
  const double least = std::max(0.0, std::min(derivative(activation, low), derivative(activation, high)) - 0x1p-46);
  const double chord = high > low ? (at_high - at_low) / (high - low) : 0.0, tangent = derivative(activation, middle);
  const bool usable = std::isfinite(chord);
  Lines lines{least, least, at_high - least * high, at_low - least * low};
  if (usable && low >= 0.0) {
    lines.upper = tangent;
    lines.upper_offset = activation(middle) - tangent * middle;
    lines.lower = chord;
    lines.lower_offset = std::min(at_low - chord * low, at_high - chord * high);
  } else if (usable && high <= 0.0) {
    lines.upper = chord;
    lines.upper_offset = std::max(at_low - chord * low, at_high - chord * high);
    lines.lower = tangent;
    lines.lower_offset = activation(middle) - tangent * middle;
  }
  lines.upper_offset += sigmoidal_error(lines.upper, extent);
  lines.lower_offset -= sigmoidal_error(lines.lower, extent);
  return lines;
}

/// Of act(y') - act(y) = sigma'(xi) d, the derivative being in [least, most].
Lines difference_lines(double least, double most, double dl, double du) {
  if (dl == 0.0 && du == 0.0) return {most, most, 0.0, 0.0};
  if (!(du - dl < infinity)) return {0.0, 0.0, infinity, -infinity};
  const double extent = 0x1p-46 * std::max(std::abs(dl), std::abs(du)) + 0x1p-1060;
  if (dl >= 0.0) return {most, least, extent, -extent};
  if (du <= 0.0) return {least, most, extent, -extent};
  Lines lines{(most * du - least * dl) / (du - dl), (least * du - most * dl) / (du - dl)};
  lines.upper_offset = std::max({0.0, most * du - lines.upper * du, least * dl - lines.upper * dl}) + extent;
  lines.lower_offset = std::min({0.0, least * du - lines.lower * du, most * dl - lines.lower * dl}) - extent;
  return lines;
}

/// What products with a weight that is not zero can have lost by underflow.
double underflow(double weight, double extent) { return weight > 0.0 && extent > 0.0 ? offset_underflow : 0.0; }

/// NaN, which only an overflow leaves, is no bound.
double at_most_infinity(double offset) { return offset <= std::numeric_limits<double>::max() ? offset : infinity; }

}  // namespace

bool is_piecewise_linear(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::relu:
    case ActivationKind::leaky_relu:
    case ActivationKind::clip:
    case ActivationKind::hard_sigmoid:
      return true;
    default:
      return false;
  }
}

bool is_sigmoidal(const Activation& activation) {
  return activation.kind == ActivationKind::sigmoid || activation.kind == ActivationKind::tanh;
}

std::vector<double> kinks_of(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::relu:
    case ActivationKind::leaky_relu:
      return {0.0};
    case ActivationKind::clip:
      return {activation.alpha, activation.beta};
    case ActivationKind::hard_sigmoid:
      if (activation.alpha == 0.0) return {};
      return {-activation.beta / activation.alpha, (1.0 - activation.beta) / activation.alpha};
    default:
      return {};
  }
}

SingleRelaxation::SingleRelaxation(const Activation& activation, const Box& input) {
  const auto kinks = kinks_of(activation);
  Vertices& v = vertices_;
  v.factor.assign(input.low.size(), 1.0);
  for (Index i = 0; i < std::ssize(input.low); ++i) {
    const auto factor = linear_factor(activation, input.low[at(i)], input.high[at(i)]);
    if (factor) v.factor[at(i)] = *factor;
    if (!factor) v.relaxed.push_back(i);
  }
  const Index n = v.neurons();
  const bool sigmoidal = is_sigmoidal(activation);
  v.count = sigmoidal ? 0 : 2 + std::ssize(kinks);
  v.y.assign(at(n * v.count), 0.0);
  v.r = v.y;
  const double lipschitz = std::max(1.0, activation.lipschitz());
  for (Index j = 0; j < n; ++j) {
    const double low = input.low[at(v.relaxed[at(j)])], high = input.high[at(v.relaxed[at(j)])];
    const double extent = largest({low, high});
    v.extent_y.push_back(lipschitz * (extent + constant_extent(activation)));
    Lines lines;
    if (sigmoidal) {
      lines = sigmoidal_lines(activation, low, high);
      upper_offset_.push_back(lines.upper_offset);
      lower_offset_.push_back(lines.lower_offset);
    } else if (extent < infinity) {
      lines = line_slopes(activation, kinks, low, high);
    }
    upper_.push_back(lines.upper);
    lower_.push_back(lines.lower);
    if (extent == infinity) continue;
    for (Index k = 0; k < v.count; ++k) {
      const double x = k < 2 ? (k == 0 ? low : high) : std::clamp(kinks[at(k - 2)], low, high);
      v.y[at(k * n + j)] = x;
      v.r[at(k * n + j)] = activation(x);
    }
  }
}

void SingleRelaxation::apply(std::span<double> p, RowSum& sum) const {
  const Vertices& v = vertices_;
  QUANTBOUND_ASSERT(p.size() == v.factor.size(), p.size(), v.factor.size());
  for (std::size_t i = 0; i < p.size(); ++i) p[i] *= v.factor[i];
  const Index n = v.neurons();
  std::array<double, chunk> w{}, a{}, c{};
  double total = 0.0, magnitude = 0.0;
  for (Index first = 0; first < n; first += chunk) {
    const Index size = std::min(chunk, n - first);
    for (Index i = 0; i < size; ++i) {
      w[at(i)] = p[at(v.relaxed[at(first + i)])];
      a[at(i)] = w[at(i)] * (w[at(i)] > 0.0 ? upper_[at(first + i)] : lower_[at(first + i)]);
      c[at(i)] = -infinity;
      if (v.count == 0)
        c[at(i)] = w[at(i)] * (w[at(i)] > 0.0 ? upper_offset_[at(first + i)] : lower_offset_[at(first + i)]);
    }
    for (Index k = 0; k < v.count; ++k) {
      const double *y = &v.y[at(k * n + first)], *r = &v.r[at(k * n + first)];
      for (Index i = 0; i < size; ++i) {
        const double residual = w[at(i)] * r[i] - a[at(i)] * y[i];
        c[at(i)] = residual > c[at(i)] ? residual : c[at(i)];
      }
    }
    for (Index i = 0; i < size; ++i) {
      const double weight = std::abs(w[at(i)]) + std::abs(a[at(i)]), extent = v.extent_y[at(first + i)];
      const double offset =
          weight == 0.0 ? 0.0 : at_most_infinity(c[at(i)] + weight * extent * offset_error + underflow(weight, extent));
      total += offset;
      magnitude += std::abs(offset);
      p[at(v.relaxed[at(first + i)])] = a[at(i)];
    }
  }
  sum.add(total, gamma(n) * magnitude);
}

void SingleRelaxation::initial_slopes(std::span<double> slopes) const {
  std::copy(lower_.begin(), lower_.end(), slopes.begin());
}

void SingleRelaxation::apply(std::span<double> p, std::span<const double> slopes, std::span<std::uint8_t> active,
                             RowSum& sum) const {
  const Vertices& v = vertices_;
  for (std::size_t i = 0; i < p.size(); ++i) p[i] *= v.factor[i];
  const Index n = v.neurons();
  double total = 0.0, magnitude = 0.0;
  for (Index i = 0; i < n; ++i) {
    double& w = p[at(v.relaxed[at(i)])];
    const double a = w * (w > 0.0 ? upper_[at(i)] : slopes[at(i)]), extent = v.extent_y[at(i)],
                 weight = std::abs(w) + std::abs(a);
    double c = -infinity;
    for (Index k = 0; k < v.count; ++k) {
      const double residual = w * v.r[at(k * n + i)] - a * v.y[at(k * n + i)];
      if (residual > c) c = residual, active[at(i)] = static_cast<std::uint8_t>(k);
    }
    const double offset =
        weight == 0.0 ? 0.0 : at_most_infinity(c + weight * extent * offset_error + underflow(weight, extent));
    total += offset;
    magnitude += std::abs(offset);
    w = a;
  }
  sum.add(total, gamma(n) * magnitude);
}

PairRelaxation::PairRelaxation(const Activation& activation, const PairBox& input, std::span<const Index> strips) {
  const auto kinks = kinks_of(activation);
  Vertices& v = vertices_;
  const std::size_t size = input.f.low.size();
  v.factor.assign(size, 1.0);
  for (std::size_t i = 0; i < size; ++i) {
    const auto f = linear_factor(activation, input.f.low[i], input.f.high[i]);
    const auto fq = linear_factor(activation, input.fq.low[i], input.fq.high[i]);
    const bool linear = f && fq && *f == *fq;
    if (linear) v.factor[i] = *f;
    if (!linear) v.relaxed.push_back(static_cast<Index>(i));
  }
  for (const Index i : v.relaxed)
    penalty_.push_back(std::find(strips.begin(), strips.end(), i) == strips.end() ? 0.0 : infinity);
  const Index n = v.neurons(), k = std::ssize(kinks);
  v.count = is_sigmoidal(activation) ? 0 : 2 * (4 + 3 * k) + (2 + k) * k;
  for (auto* array : {&v.y, &v.d, &v.r, &v.g}) array->assign(at(n * v.count), 0.0);
  for (Index j = 0; j < n; ++j) {
    if (v.count == 0) add_sigmoidal_neuron(activation, input, j);
    if (v.count > 0) add_neuron(activation, kinks, input, j);
  }
}

/// Vertices, slopes and the middle of relaxed neuron `j`.
void PairRelaxation::add_neuron(const Activation& activation, std::span<const double> kinks, const PairBox& input,
                                Index j) {
  Vertices& v = vertices_;
  const Index n = v.neurons();
  const std::size_t i = at(v.relaxed[at(j)]);
  const double l = input.f.low[i], u = input.f.high[i], lq = input.fq.low[i], uq = input.fq.high[i];
  const double dl = input.difference.low[i], du = input.difference.high[i];
  const double extent = largest({l, u, lq, uq, dl, du});
  const double scaled = std::max(1.0, activation.lipschitz()) * (extent + constant_extent(activation));
  v.extent_y.push_back(scaled);
  v.extent_d.push_back(dl == 0.0 && du == 0.0 ? 0.0 : scaled);
  const bool bounded = extent < infinity;
  const Lines f = bounded ? line_slopes(activation, kinks, l, u) : Lines{};
  const Lines fq = bounded ? line_slopes(activation, kinks, lq, uq) : Lines{};
  const double span = bounded ? std::max(du - dl, std::numeric_limits<double>::min()) : 1.0;
  f_.push_back(f);
  fq_.push_back(fq);
  d_.push_back(bounded ? Lines{std::clamp(du / span, 0.0, 1.0), std::clamp(-dl / span, 0.0, 1.0)} : Lines{});
  narrowness_.push_back(bounded && u > l ? std::min(1.0, (du - dl) / (u - l)) : 1.0);
  middle_y_.push_back(0.0);
  middle_d_.push_back(0.0);
  middle_r_.push_back(0.0);
  middle_g_.push_back(0.0);
  if (!bounded) return;
  const auto vertices = hexagon_vertices(kinks, l, u, lq, uq, dl, du);
  QUANTBOUND_ASSERT(std::ssize(vertices) == v.count, vertices.size(), v.count);
  for (Index k = 0; k < v.count; ++k) {
    const auto [y, d] = vertices[at(k)];
    v.y[at(k * n + j)] = y;
    v.d[at(k * n + j)] = d;
    v.r[at(k * n + j)] = activation(y);
    v.g[at(k * n + j)] = activation(y + d) - activation(y);
    middle_y_.back() += y / static_cast<double>(v.count);
    middle_d_.back() += d / static_cast<double>(v.count);
  }
  middle_r_.back() = activation(middle_y_.back());
  middle_g_.back() = activation(middle_y_.back() + middle_d_.back()) - middle_r_.back();
}

void PairRelaxation::add_sigmoidal_neuron(const Activation& activation, const PairBox& input, Index j) {
  Vertices& v = vertices_;
  const std::size_t i = at(v.relaxed[at(j)]);
  const double l = input.f.low[i], u = input.f.high[i], lq = input.fq.low[i], uq = input.fq.high[i];
  const double dl = input.difference.low[i], du = input.difference.high[i];
  const double extent = largest({l, u, lq, uq, dl, du}) + 1.0, low = std::min(l, lq), high = std::max(u, uq);
  const double at_low = derivative(activation, low), at_high = derivative(activation, high);
  const double least = std::max(0.0, std::min(at_low, at_high) - 0x1p-46);
  const double most = low <= 0.0 && high >= 0.0 ? derivative(activation, 0.0) : std::max(at_low, at_high) + 0x1p-46;
  v.extent_y.push_back(extent);
  v.extent_d.push_back(dl == 0.0 && du == 0.0 ? 0.0 : extent);
  f_.push_back(sigmoidal_lines(activation, l, u));
  fq_.push_back(sigmoidal_lines(activation, lq, uq));
  d_.push_back(difference_lines(least, most, dl, du));
  narrowness_.push_back(1.0);
  const bool bounded = extent < infinity;
  middle_y_.push_back(bounded ? l + (u - l) / 2.0 : 0.0);
  middle_d_.push_back(bounded ? dl + (du - dl) / 2.0 : 0.0);
  middle_r_.push_back(activation(middle_y_.back()));
  middle_g_.push_back(activation(middle_y_.back() + middle_d_.back()) - middle_r_.back());
}

/// Up to `chunk` relaxed neurons of one row: their coefficients and the best planes so far.
struct PairRelaxation::Chunk {
  Index first = 0, size = 0;
  std::array<double, chunk> best;    ///< kind of the best plane
  std::array<double, chunk> vertex;  ///< that decided the last offset
  std::array<double, chunk> p, q, a, b, c, best_a, best_b, best_c, best_height;
};

/// Completes the planes of slopes a, b with their offsets and keeps those that are lower than the best over the middle.
void PairRelaxation::compete(Chunk& work, double kind) const {
  const Vertices& v = vertices_;
  const Index n = v.neurons();
  if (v.count > 0) work.c.fill(-infinity);
  for (Index k = 0; k < v.count; ++k) {
    const Index from = k * n + work.first;
    const double *y = &v.y[at(from)], *d = &v.d[at(from)], *r = &v.r[at(from)], *g = &v.g[at(from)];
    for (Index j = 0; j < work.size; ++j) {
      const std::size_t i = at(j);
      const double residual = work.p[i] * r[j] + work.q[i] * g[j] - work.a[i] * y[j] - work.b[i] * d[j];
      work.vertex[i] = residual > work.c[i] ? static_cast<double>(k) : work.vertex[i];
      work.c[i] = residual > work.c[i] ? residual : work.c[i];
    }
  }
  for (Index j = 0; j < work.size; ++j) {
    const std::size_t i = at(j), neuron = at(work.first + j);
    const double on_y = std::abs(work.p[i]) + std::abs(work.a[i]), on_d = std::abs(work.q[i]) + std::abs(work.b[i]);
    const double extent_y = v.extent_y[neuron], extent_d = v.extent_d[neuron];
    double error = on_y == 0.0 ? 0.0 : on_y * extent_y * offset_error + underflow(on_y, extent_y);
    error += on_d == 0.0 || extent_d == 0.0 ? 0.0 : on_d * extent_d * offset_error + underflow(on_d, extent_d);
    const double c = on_y == 0.0 && (on_d == 0.0 || extent_d == 0.0) ? 0.0 : at_most_infinity(work.c[i] + error);
    const double height = work.a[i] * middle_y_[neuron] + work.b[i] * middle_d_[neuron] + c;
    const bool better = height + (kind == 0.0 ? 0.0 : penalty_[neuron]) < work.best_height[i];
    work.best_a[i] = better ? work.a[i] : work.best_a[i];
    work.best_b[i] = better ? work.b[i] : work.best_b[i];
    work.best_c[i] = better ? c : work.best_c[i];
    work.best[i] = better ? kind : work.best[i];
    work.best_height[i] = better ? height : work.best_height[i];
  }
}

void PairRelaxation::candidates(Chunk& work) const {
  const bool fixed = vertices_.count == 0;  // lines that have their offsets already
  for (Index j = 0; j < work.size; ++j) {   // act(y) and the difference
    const std::size_t i = at(j), neuron = at(work.first + j);
    work.a[i] = work.p[i] * (work.p[i] > 0.0 ? f_[neuron].upper : f_[neuron].lower);
    work.b[i] = work.q[i] * (work.q[i] > 0.0 ? d_[neuron].upper : d_[neuron].lower);
    if (fixed) work.c[i] = line_offset(work.p[i], f_[neuron]) + line_offset(work.q[i], d_[neuron]);
  }
  compete(work, 0.0);
  for (Index j = 0; j < work.size; ++j) {  // act(y') and the difference
    const std::size_t i = at(j), neuron = at(work.first + j);
    const double rest = work.q[i] - work.p[i];
    work.a[i] = work.p[i] * (work.p[i] > 0.0 ? fq_[neuron].upper : fq_[neuron].lower);
    work.b[i] = work.a[i] + rest * (rest > 0.0 ? d_[neuron].upper : d_[neuron].lower);
    if (fixed) work.c[i] = line_offset(work.p[i], fq_[neuron]) + line_offset(rest, d_[neuron]);
  }
  compete(work, 1.0);
  for (Index j = 0; j < work.size; ++j) {  // both apart
    const std::size_t i = at(j), neuron = at(work.first + j);
    const double rest = work.p[i] - work.q[i];
    work.b[i] = work.q[i] * (work.q[i] > 0.0 ? fq_[neuron].upper : fq_[neuron].lower);
    work.a[i] = work.b[i] + rest * (rest > 0.0 ? f_[neuron].upper : f_[neuron].lower);
    if (fixed) work.c[i] = line_offset(rest, f_[neuron]) + line_offset(work.q[i], fq_[neuron]);
  }
  compete(work, 2.0);
}

template <class Visit>
void PairRelaxation::for_each_chunk(std::span<const double> p, std::span<const double> q, const Visit& visit) const {
  const Index n = vertices_.neurons();
  Chunk work;
  for (work.first = 0; work.first < n; work.first += chunk) {
    work.size = std::min(chunk, n - work.first);
    gather(p, q, work);
    visit(work);
  }
}

template <class Choose>
void PairRelaxation::replace(std::span<double> p, std::span<double> q, RowSum& sum, const Choose& choose) const {
  const Vertices& v = vertices_;
  QUANTBOUND_ASSERT(p.size() == v.factor.size() && q.size() == p.size(), p.size(), q.size(), v.factor.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] *= v.factor[i];
    q[i] *= v.factor[i];
  }
  double total = 0.0, magnitude = 0.0;
  for_each_chunk(p, q, [&](Chunk& work) {
    choose(work);
    for (Index j = 0; j < work.size; ++j) {
      const std::size_t i = at(j), neuron = at(v.relaxed[at(work.first + j)]);
      p[neuron] = work.best_a[i];
      q[neuron] = work.best_b[i];
      total += work.best_c[i];
      magnitude += std::abs(work.best_c[i]);
    }
  });
  sum.add(total, gamma(v.neurons()) * magnitude);
}

void PairRelaxation::apply(std::span<double> p, std::span<double> q, RowSum& sum) const {
  replace(p, q, sum, [&](Chunk& work) { candidates(work); });
}

std::vector<double> PairRelaxation::gaps(std::span<const double> p, std::span<const double> q) const {
  std::vector<double> result(at(vertices_.neurons()));
  for_each_chunk(p, q, [&](Chunk& work) {
    candidates(work);
    for (Index j = 0; j < work.size; ++j) {
      const std::size_t i = at(j), neuron = at(work.first + j);
      result[neuron] = work.best_height[i] - work.p[i] * middle_r_[neuron] - work.q[i] * middle_g_[neuron];
    }
  });
  return result;
}

void PairRelaxation::initial_forms(std::span<const double> p, std::span<const double> q,
                                   std::span<PlaneForm> forms) const {
  for_each_chunk(p, q, [&](Chunk& work) {
    candidates(work);
    for (Index j = 0; j < work.size; ++j) {
      const std::size_t i = at(j), neuron = at(work.first + j);
      const auto line = [](double weight, double upper, double lower) { return weight > 0.0 ? upper : lower; };
      const double wp = work.p[i], wq = work.q[i];
      PlaneForm& form = forms[neuron];
      if (work.best[i] == 0.0) {
        form.s = line(wp, f_[neuron].upper, f_[neuron].lower);
        form.t = line(wq, d_[neuron].upper, d_[neuron].lower);
      } else if (work.best[i] == 1.0) {
        form.s = line(wp, fq_[neuron].upper, fq_[neuron].lower);
        form.t = line(wq - wp, d_[neuron].upper, d_[neuron].lower);
        form.v = form.s - form.t;
      } else {
        form.s = line(wp - wq, f_[neuron].upper, f_[neuron].lower);
        form.t = line(wq, fq_[neuron].upper, fq_[neuron].lower);
        form.w = form.t - form.s;
      }
    }
  });
}

void PairRelaxation::apply(std::span<double> p, std::span<double> q, std::span<const PlaneForm> forms,
                           std::span<std::uint8_t> active, RowSum& sum) const {
  replace(p, q, sum, [&](Chunk& work) {
    for (Index j = 0; j < work.size; ++j) {
      const std::size_t i = at(j), neuron = at(work.first + j);
      const PlaneForm& form = forms[neuron];
      const double wp = work.p[i], wq = work.q[i], ap = std::abs(wp), aq = std::abs(wq);
      work.a[i] = form.s * wp + form.w * wq + form.x * (ap + narrowness_[neuron] * aq);
      work.b[i] = form.t * wq + form.v * wp + form.z * (ap + aq);
    }
    compete(work, 0.0);
    for (Index j = 0; j < work.size; ++j) active[at(work.first + j)] = static_cast<std::uint8_t>(work.vertex[at(j)]);
  });
}

void PairRelaxation::gather(std::span<const double> p, std::span<const double> q, Chunk& work) const {
  for (Index j = 0; j < work.size; ++j) {
    const std::size_t neuron = at(vertices_.relaxed[at(work.first + j)]);
    work.p[at(j)] = p[neuron];
    work.q[at(j)] = q[neuron];
  }
  work.best.fill(0.0);
  work.best_a.fill(0.0);
  work.best_b.fill(0.0);
  work.best_c.fill(infinity);
  work.best_height.fill(infinity);
}

}  // namespace quantbound::certify::detail
