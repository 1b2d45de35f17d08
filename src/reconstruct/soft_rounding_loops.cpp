#include "soft_rounding_loops.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace quantbound::reconstruct::detail {

namespace {

#define QUANTBOUND_INLINE [[gnu::always_inline]] inline

QUANTBOUND_INLINE float at_least(float x, float low) { return x < low ? low : x; }
QUANTBOUND_INLINE float at_most(float x, float high) { return high < x ? high : x; }

/// e^x for |x| <= 80, within 2e-7 relative: x = k ln 2 + r, and the series of e^r to r^7, in pairs that do not wait for
/// each other.
QUANTBOUND_INLINE float exponential(float x) {
  constexpr float rounder = 0x1.8p23F, inverse_ln2 = 1.44269504F;
  constexpr float ln2_high = 0.693359375F, ln2_low = -2.12194440e-4F;
  const float shifted = std::fma(x, inverse_ln2, rounder), k = shifted - rounder;
  const float r = std::fma(-k, ln2_low, std::fma(-k, ln2_high, x)), square = r * r;
  const float first = 1.0F + r, second = std::fma(r, 1.0F / 6.0F, 0.5F);
  const float third = std::fma(r, 1.0F / 120.0F, 1.0F / 24.0F), fourth = std::fma(r, 1.0F / 5040.0F, 1.0F / 720.0F);
  const float sum = std::fma(square * square, std::fma(square, fourth, third), std::fma(square, second, first));
  // The last bits of `shifted` are k, which becomes the exponent.
  return sum * std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) << 23) + std::bit_cast<std::uint32_t>(1.0F));
}

/// ln x for normal x > 0: x = 2^k m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh((m - 1) / (m + 1)).
QUANTBOUND_INLINE float logarithm(float x) {
  constexpr float ln2 = 0.693147181F, root = 0.707106781F;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::int32_t k = static_cast<std::int32_t>(bits - std::bit_cast<std::uint32_t>(root)) >> 23;
  const float m = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(k) << 23));
  const float s = (m - 1.0F) / (m + 1.0F), square = s * s;
  const float first = std::fma(square, 1.0F / 3.0F, 1.0F), second = std::fma(square, 1.0F / 7.0F, 1.0F / 5.0F);
  const float sum = std::fma(square * square, std::fma(square * square, 1.0F / 9.0F, second), first);
  return std::fma(static_cast<float>(k), ln2, 2.0F * s * sum);
}

/// @pre |variable| <= largest
QUANTBOUND_INLINE float sigmoid(float variable) { return 1.0F / (1.0F + exponential(-variable)); }
/// h is 0 or 1 long before.
constexpr float largest = 20.0F;

constexpr float width = static_cast<float>(stretch_high - stretch_low), low = static_cast<float>(stretch_low);

QUANTBOUND_INLINE float soft_weight(float base, float step, float variable) {
  const float h = at_most(at_least(std::fma(width, sigmoid(variable), low), 0.0F), 1.0F);
  return step * (base + h);
}

/// Denormal numbers are slow, and moments of settled weights would decay into them and never leave.
QUANTBOUND_INLINE float without_tiny(float x, float limit) { return std::fabs(x) < limit ? 0.0F : x; }

/// StepRates in float, as the loop uses them.
struct FloatRates {
  explicit FloatRates(const StepRates& rates)
      : slope(static_cast<float>(-2.0 * rates.beta * rates.regularization)),
        exponent(static_cast<float>(rates.beta - 1.0)),
        rate(static_cast<float>(rates.learning_rate / (1.0 - std::pow(first_decay, rates.count)))),
        inverse_root(static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(second_decay, rates.count)))) {}
  float slope, exponent, rate, inverse_root;
};

enum class Regularizer { off, on };

/// Gradient of the loss and of the regularizer with respect to V.
template <Regularizer regularizer>
QUANTBOUND_INLINE float full_gradient(float gradient, float step, float variable, const FloatRates& rates) {
  const float p = sigmoid(variable), raw = std::fma(width, p, low);
  const float h = at_most(at_least(raw, 0.0F), 1.0F);
  const float slope = h == raw ? width * p * (1.0F - p) : 0.0F;
  float sum = gradient * step;
  if constexpr (regularizer == Regularizer::on) {
    const float distance = 2.0F * h - 1.0F;
    const float size = std::fabs(distance) + 0x1p-30F;                                    // has a logarithm
    const float power = exponential(at_least(rates.exponent * logarithm(size), -50.0F));  // e^-50 is no gradient
    sum += rates.slope * std::copysign(power, distance);  // in the middle up, so that it settles too
  }
  return without_tiny(sum * slope, 1e-18F);
}

/// One step of every weight.
template <Regularizer regularizer>
QUANTBOUND_INLINE void step_weights(const SoftArrays& arrays, Index begin, Index end, const FloatRates& rates) {
  constexpr float b1 = static_cast<float>(first_decay), c1 = static_cast<float>(1.0 - first_decay);
  constexpr float b2 = static_cast<float>(second_decay), c2 = static_cast<float>(1.0 - second_decay);
  const float* __restrict gradient = arrays.gradient;
  const float* __restrict base = arrays.base;
  const float* __restrict step = arrays.step;
  float* __restrict variable = arrays.variable;
  float* __restrict first = arrays.first_moment;
  float* __restrict second = arrays.second_moment;
  float* __restrict soft = arrays.soft;
#pragma omp simd  // __restrict is lost where this is inlined
  for (Index i = begin; i < end; ++i) {
    const float g = full_gradient<regularizer>(gradient[i], step[i], variable[i], rates);
    const float m = without_tiny(std::fma(b1, first[i], c1 * g), 1e-30F);
    const float v = without_tiny(std::fma(b2, second[i], c2 * (g * g)), 1e-33F);
    const float root = std::fma(std::sqrt(v), rates.inverse_root, static_cast<float>(epsilon));
    const float moved = at_most(at_least(variable[i] - rates.rate * m / root, -largest), largest);
    first[i] = m;
    second[i] = v;
    variable[i] = moved;
    soft[i] = soft_weight(base[i], step[i], moved);
  }
}

QUANTBOUND_INLINE void step_loop(const SoftArrays& arrays, Index begin, Index end, const StepRates& rates) {
  const FloatRates floats(rates);
  if (rates.regularization == 0.0) {
    step_weights<Regularizer::off>(arrays, begin, end, floats);
  } else {
    step_weights<Regularizer::on>(arrays, begin, end, floats);
  }
}

QUANTBOUND_INLINE void soften_loop(const SoftArrays& arrays, Index begin, Index end) {
  const float* __restrict base = arrays.base;
  const float* __restrict step = arrays.step;
  const float* __restrict variable = arrays.variable;
  float* __restrict soft = arrays.soft;
  for (Index i = begin; i < end; ++i) soft[i] = soft_weight(base[i], step[i], variable[i]);
}

void plain_step(const SoftArrays& arrays, Index begin, Index end, const StepRates& rates) {
  step_loop(arrays, begin, end, rates);
}
void plain_soften(const SoftArrays& arrays, Index begin, Index end) { soften_loop(arrays, begin, end); }

#if defined(__x86_64__)
#define QUANTBOUND_AVX2 [[gnu::target("avx2,fma")]]
#define QUANTBOUND_AVX512 [[gnu::target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")]]

QUANTBOUND_AVX2 void avx2_step(const SoftArrays& arrays, Index begin, Index end, const StepRates& rates) {
  step_loop(arrays, begin, end, rates);
}
QUANTBOUND_AVX2 void avx2_soften(const SoftArrays& arrays, Index begin, Index end) { soften_loop(arrays, begin, end); }

QUANTBOUND_AVX512 void avx512_step(const SoftArrays& arrays, Index begin, Index end, const StepRates& rates) {
  step_loop(arrays, begin, end, rates);
}
QUANTBOUND_AVX512 void avx512_soften(const SoftArrays& arrays, Index begin, Index end) {
  soften_loop(arrays, begin, end);
}
#endif

std::vector<InstructionSet> find_instruction_sets() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw"))
    sets.push_back({"AVX-512", avx512_step, avx512_soften});
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back({"AVX2", avx2_step, avx2_soften});
#endif
  sets.push_back({"baseline", plain_step, plain_soften});
  return sets;
}

double plain_sigmoid(double variable) { return 1.0 / (1.0 + std::exp(-variable)); }

}  // namespace

std::span<const InstructionSet> instruction_sets() {
  static const std::vector<InstructionSet> sets = find_instruction_sets();
  return sets;
}

double rectified_sigmoid(double variable) {
  return std::clamp((stretch_high - stretch_low) * plain_sigmoid(variable) + stretch_low, 0.0, 1.0);
}

double rectified_sigmoid_slope(double variable) {
  const double h = rectified_sigmoid(variable), p = plain_sigmoid(variable);
  return h > 0.0 && h < 1.0 ? (stretch_high - stretch_low) * p * (1.0 - p) : 0.0;
}

double inverse_rectified_sigmoid(double h) {
  // log(p / (1 - p)) with p = (h + 0.1) / 1.2, in the form that keeps the sign at 1/2
  return 2.0 * std::atanh((2.0 * h - 1.0) / (stretch_high - stretch_low));
}

double regularizer_slope(double h, double beta) {
  const double distance = 2.0 * h - 1.0;
  return distance == 0.0 ? 0.0 : -2.0 * beta * std::copysign(std::pow(std::abs(distance), beta - 1.0), distance);
}

WeightState reference_step(const WeightState& state, double gradient, double step, const StepRates& rates) {
  const double h = rectified_sigmoid(state.variable);
  double g = gradient * step;
  if (rates.regularization != 0.0) g += rates.regularization * regularizer_slope(h, rates.beta);
  g *= rectified_sigmoid_slope(state.variable);
  WeightState next;
  next.first_moment = first_decay * state.first_moment + (1.0 - first_decay) * g;
  next.second_moment = second_decay * state.second_moment + (1.0 - second_decay) * g * g;
  const auto count = static_cast<double>(rates.count);
  const double mean = next.first_moment / (1.0 - std::pow(first_decay, count));
  const double square = next.second_moment / (1.0 - std::pow(second_decay, count));
  next.variable = state.variable - rates.learning_rate * mean / (std::sqrt(square) + epsilon);
  return next;
}

}  // namespace quantbound::reconstruct::detail
