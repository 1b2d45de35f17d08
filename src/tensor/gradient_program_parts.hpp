/// The parts of a GradientProgram: steps on the way there and back over the buffers of one arena.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quantbound/tensor/gradient_program.hpp"

#include "float_primitives.hpp"
#include "float_program_parts.hpp"
#include "reorder_between.hpp"

namespace quantbound::tensor::detail {

/// A place in the arena, needed from step `first` to step `last`.
struct GradientBuffer {
  Index floats = 0;
  Index first = 0, last = 0;
  Index offset = 0;
};

/// Over the whole batch: one pointer per argument.
using BatchKernel = std::function<void(std::span<float* const> arguments)>;

enum class Direction { forward, backward };

/// One oneDNN primitive, or one kernel of ours.
struct GradientStep {
  dnnl::primitive primitive;
  BatchKernel kernel;
  std::vector<Argument> arguments;
  std::optional<Index> layer;  ///< whose weights it reads
  Direction direction = Direction::forward;
  std::optional<Descriptor> scratchpad;
  std::optional<ReorderBetween> from_caller;  ///< the same from the caller's samples, one by one
  Index sample_floats = 0;                    ///< of what that writes

  std::vector<dnnl_exec_arg_t> prepared;  ///< what goes to oneDNN, weights last
  std::vector<float*> pointers;           ///< what goes to the kernel
};

/// Where the derivatives of a layer lie.
struct WeightGradient {
  std::size_t weights, bias;  ///< buffers
};

/// What fit() needs besides: one sample of targets and of weights in the layout of the output.
struct FitRoom {
  Index sample_floats;
  std::optional<ReorderBetween> reorder;  ///< where that layout is not row-major
  AlignedFloats targets, weights;
};

}  // namespace quantbound::tensor::detail

namespace quantbound::tensor {

struct GradientProgram::Implementation {
  Index batch = 0;
  Derivatives derivatives = Derivatives::samples;
  std::vector<detail::Operation> operations;
  std::vector<Shape> shapes;  ///< of the values; value 0 is the input
  Index output = 0;

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<detail::GradientBuffer> buffers;
  std::vector<detail::GradientStep> steps;
  std::size_t turn = 0;                                         ///< the first step of the way back
  std::size_t samples = 0, result = 0, seed = 0, gradient = 0;  ///< buffers of what comes in and goes out
  /// Result and seed in the layout of the output: there after this many steps, and from this one on.
  std::optional<detail::Version> own_result, own_seed;
  std::size_t own_end = 0, own_turn = 0;
  bool copies_samples = true;  ///< for fit(): a step reads or writes them as they are
  std::vector<std::optional<detail::WeightGradient>> weight_gradients;
  std::shared_ptr<const detail::WeightLayout> weight_layout;
  std::shared_ptr<const FloatWeights> weights;  ///< in use
  Index arena_floats = 0, scratch_floats = 0;   ///< planned
  detail::AlignedFloats arena, scratchpad;      ///< taken by the first run
  std::vector<dnnl::memory> memories;
  std::optional<detail::FitRoom> fit_room;
  bool has_run = false;  ///< and what the way back reads is still there

  Winograd winograd(const Convolution& geometry, detail::WeightsOf pass) const {
    return derivatives == Derivatives::samples ? Winograd::never : detail::winograd_in_training(geometry, batch, pass);
  }
  std::span<float> data(std::size_t buffer) {
    return {arena.get() + buffers[buffer].offset, static_cast<std::size_t>(buffers[buffer].floats)};
  }
};

namespace detail {
/// Layouts, primitives, buffers and the plan of the memory.
void compile(GradientProgram::Implementation& program);
}  // namespace detail

}  // namespace quantbound::tensor
