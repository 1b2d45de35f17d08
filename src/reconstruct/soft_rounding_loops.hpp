/// The loops of SoftRounding (docs/theory.md 7.2) over the weights of a layer: h and the soft weights, and one step of
/// Adam fused with the regularizer, h' and the new soft weights. Once for every instruction set of this processor, with
/// the same bits each time: elementary operations and fused multiply-adds, none of them by contraction. |variable|
/// stays below 20. The plain versions are rectified_sigmoid, its slope, regularizer_slope and reference_step, in
/// double.
#pragma once

#include <span>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::reconstruct::detail {

using tensor::Index;

inline constexpr double stretch_high = 1.1, stretch_low = -0.1;  ///< zeta and gamma of the paper
inline constexpr double first_decay = 0.9, second_decay = 0.999, epsilon = 1e-8;

/// What is the same for all weights in one step.
struct StepRates {
  double learning_rate = 0.0;
  double regularization = 0.0;  ///< 0: the regularizer is off
  double beta = 2.0;
  Index count = 1;  ///< this is the count-th step
};

/// A layer's arrays. soft = step * (base + h(variable)).
struct SoftArrays {
  const float *gradient = nullptr, *base = nullptr, *step = nullptr;
  float *variable = nullptr, *first_moment = nullptr, *second_moment = nullptr, *soft = nullptr;
};

/// Both work on the elements from begin to end.
using StepLoop = void (*)(const SoftArrays& arrays, Index begin, Index end, const StepRates& rates);
using SoftenLoop = void (*)(const SoftArrays& arrays, Index begin, Index end);

struct InstructionSet {
  const char* name;
  StepLoop step;
  SoftenLoop soften;
};

/// Those of this processor, the fastest first.
std::span<const InstructionSet> instruction_sets();

/// h(V).
double rectified_sigmoid(double variable);
/// dh/dV: 0 where h is clipped.
double rectified_sigmoid_slope(double variable);
/// V with h(V) = h, for h in [0, 1]; its sign is that of h - 1/2.
double inverse_rectified_sigmoid(double h);
/// d(1 - |2h - 1|^beta)/dh.
double regularizer_slope(double h, double beta);

/// One weight.
struct WeightState {
  double variable = 0.0, first_moment = 0.0, second_moment = 0.0;
};
WeightState reference_step(const WeightState& state, double gradient, double step, const StepRates& rates);

}  // namespace quantbound::reconstruct::detail
