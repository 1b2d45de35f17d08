/// The parts of a FloatProgram: the operators as they were asked for, and the steps they are compiled to.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "quantbound/tensor/float_program.hpp"

#include "float_weights_parts.hpp"
#include "layout.hpp"
#include "memory.hpp"
#include "mover.hpp"

namespace quantbound::tensor::detail {

struct ConvolutionOp {
  Index layer;
  Convolution geometry;
  std::optional<PointFunction> function;
  bool has_summand;  ///< as second input
};
struct DenseOp {
  Index layer, outputs;
  std::optional<PointFunction> function;
};
struct PointOp {
  PointFunction function;
};
struct AddOp {
  std::optional<PointFunction> function;
};
struct MultiplyOp {};  ///< the second input may be {c, 1, 1}
struct PoolOp {
  dnnl::algorithm algorithm;
  Window window;
};
/// One block of elements from each input; what no input covers gets `fill`.
struct MoveOp {
  std::vector<std::vector<AxisMove>> blocks;
  double fill;
  bool covers;
};
struct ReshapeOp {};
struct ScaleShiftOp {
  std::vector<double> scale, shift;
};

struct Operation {
  std::variant<ConvolutionOp, DenseOp, PointOp, AddOp, MultiplyOp, PoolOp, MoveOp, ReshapeOp, ScaleShiftOp> kind;
  std::vector<Index> inputs;
  Index output;
  Index samples = 0;  ///< at once, a divisor of the batch
};

/// A value in one layout, in one buffer.
struct Version {
  Descriptor descriptor;
  std::size_t buffer;
};

struct ValueInfo {
  Shape shape;
  bool kept = false;
  bool whole_batch = false;  ///< must exist for all samples at once: kept, or read at another pace than written
  Index last_reader = -1;    ///< index of an operation
  std::vector<Version> versions;
};

struct Buffer {
  Index sample_floats = 0;
  Index samples = 0;         ///< that it has room for
  bool whole_batch = false;  ///< every turn has its own part
  bool external = false;     ///< the caller's samples
  bool kept = false;
  Index last_reader = -1;  ///< over the values that live here
  Index first_step = -1, last_step = -1;
  Index offset = 0;  ///< in the arena, in floats
};

struct Argument {
  int name;  ///< DNNL_ARG_...
  std::size_t buffer;
  Descriptor descriptor;
};

/// Reads and writes samples: one pointer per argument.
using PlainKernel = std::function<void(std::span<float* const> arguments, Index samples)>;

/// One oneDNN primitive, or one kernel of ours.
struct Step {
  dnnl::primitive primitive;
  PlainKernel kernel;
  std::vector<Argument> arguments;
  StepProfile profile;  ///< all but the seconds
  std::optional<Descriptor> scratchpad;
  Index samples = 0;  ///< in each turn

  // Per turn, or one for all turns: what goes to oneDNN (the weights last), or the pointers of the kernel.
  std::vector<std::vector<dnnl_exec_arg_t>> prepared;
  std::vector<std::vector<float*>> pointers;
};

}  // namespace quantbound::tensor::detail

namespace quantbound::tensor {

struct FloatProgram::Implementation {
  Index batch, samples_at_once;
  std::vector<detail::Operation> operations;
  std::vector<detail::ValueInfo> values;  ///< value 0 is the input
  std::optional<Index> output;

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<detail::Buffer> buffers;
  std::vector<detail::Step> steps;
  detail::Version result{};
  std::shared_ptr<const detail::WeightLayout> weight_layout;  ///< there once compiled
  std::shared_ptr<const FloatWeights> weights;                ///< in use
  Index arena_floats = 0, scratch_floats = 0;                 ///< planned
  detail::AlignedFloats arena, scratchpad;                    ///< taken by the first run
  std::vector<dnnl::memory> memories;

  /// What must be told where the caller's samples are: memories of oneDNN and pointers of kernels, with offsets.
  struct ExternalMemory {
    dnnl::memory memory;
    Index offset;
  };
  struct ExternalPointer {
    std::size_t step, turn, argument;
    Index offset;
  };
  std::vector<ExternalMemory> external_memories;
  std::vector<ExternalPointer> external_pointers;
};

namespace detail {
/// Layouts, primitives, buffers and the plan of the memory.
void compile(FloatProgram::Implementation& program);
/// Takes the planned memory and tells every step where its arguments lie.
void bind_memory(FloatProgram::Implementation& program);
/// Points the steps at these weights. @pre bind_memory was called
void bind_weights(FloatProgram::Implementation& program, const FloatWeights::Implementation& weights);
}  // namespace detail

}  // namespace quantbound::tensor
