#include "gradient_kernels.hpp"

#include <algorithm>
#include <array>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor::detail {

namespace {

/// `out` may be `g`: every element is read before it is written, so that the loop is one of vectors all the same.
template <class Slope>
void multiply_each(const float* values, const float* g, float* out, Index size, Slope slope) {
#pragma omp simd
  for (Index i = 0; i < size; ++i) out[i] = g[i] * slope(values[i]);
}

}  // namespace

bool slope_follows_from_output(const PointFunction& f) {
  return f.kind != PointKind::hard_swish && (f.kind != PointKind::leaky_relu || f.alpha > 0.0);
}

void multiply_by_slope(const PointFunction& f, const float* values, const float* g, float* out, Index size) {
  const auto alpha = static_cast<float>(f.alpha), beta = static_cast<float>(f.beta);
  const auto with = [&](auto slope) { multiply_each(values, g, out, size, slope); };
  switch (f.kind) {
    case PointKind::relu:
      return with([](float y) { return y > 0.0F ? 1.0F : 0.0F; });
    case PointKind::leaky_relu:
      return with([=](float y) { return y > 0.0F ? 1.0F : alpha; });
    case PointKind::clip:
      return with([=](float y) { return y > alpha && y < beta ? 1.0F : 0.0F; });
    case PointKind::sigmoid:
      return with([](float y) { return y * (1.0F - y); });
    case PointKind::tanh:
      return with([](float y) { return 1.0F - y * y; });
    case PointKind::hard_sigmoid:
      return with([=](float y) { return y > 0.0F && y < 1.0F ? alpha : 0.0F; });
    case PointKind::hard_swish:
      return with([](float x) { return x <= -3.0F ? 0.0F : (x <= 3.0F ? x / 3.0F + 0.5F : 1.0F); });
  }
  QUANTBOUND_ASSERT(false, static_cast<int>(f.kind));
}

namespace {

constexpr Index lanes = 32;

/// Weight(i) is that of element i.
template <class Weight>
double squared_error(const float* values, const float* targets, Weight weight, float factor, float* g, Index size) {
  constexpr Index piece = 64 * lanes;
  double total = 0.0;
  for (Index first = 0; first < size; first += piece) {
    const Index end = std::min(first + piece, size), whole = first + (end - first) / lanes * lanes;
    std::array<float, lanes> sums{};
    for (Index i = first; i < whole; i += lanes) {
#pragma omp simd
      for (Index lane = 0; lane < lanes; ++lane) {
        const float d = values[i + lane] - targets[i + lane], wd = weight(i + lane) * d;
        sums[static_cast<std::size_t>(lane)] += wd * d;
        g[i + lane] = factor * wd;
      }
    }
    for (Index i = whole; i < end; ++i) {
      const float d = values[i] - targets[i], wd = weight(i) * d;
      sums.front() += wd * d;
      g[i] = factor * wd;
    }
    for (const float sum : sums) total += static_cast<double>(sum);
  }
  return total;
}

}  // namespace

double pull_squared_error(const float* values, const float* targets, const float* weights, float factor, float* g,
                          Index size) {
  if (weights == nullptr)
    return squared_error(
        values, targets, [](Index) { return 1.0F; }, factor, g, size);
  return squared_error(
      values, targets, [weights](Index i) { return weights[i]; }, factor, g, size);
}

ProductOverPixels::ProductOverPixels(const Descriptor& a, const Descriptor& out)
    : out_size_(sample_size(out)), channels_(axis_offsets(a, 0)), out_channels_(axis_offsets(out, 0)) {
  QUANTBOUND_ASSERT(channels_.size() == out_channels_.size(), channels_.size(), out_channels_.size());
  const std::vector<Index> columns = axis_offsets(a, 2);
  for (const Index row : axis_offsets(a, 1))
    for (const Index column : columns) pixels_.push_back(row + column);
}

void ProductOverPixels::operator()(const float* a, const float* g, float* out) const {
  std::fill_n(out, out_size_, 0.0F);
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    float sum = 0.0F;
    for (const Index pixel : pixels_) sum += a[channels_[c] + pixel] * g[channels_[c] + pixel];
    out[out_channels_[c]] = sum;
  }
}

}  // namespace quantbound::tensor::detail
