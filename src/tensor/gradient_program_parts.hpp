/// The parts of a GradientProgram: steps on the way there and back over the buffers of one arena.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "quantbound/tensor/gradient_program.hpp"

#include "float_program_parts.hpp"

namespace quantbound::tensor::detail {

/// The layouts of one layer's weights.
struct LayerLayout {
  Descriptor given, forward, backward, bias;
};

enum class LayerPart { forward_weights, backward_weights, bias };

/// Step `first` wrote the buffer first, step `last` touched it last; -1 is before all steps.
struct GradientBuffer {
  Index floats = 0;
  bool is_new = true;
  Index first = 0, last = 0;
  float* data = nullptr;
};

/// Over the whole batch: one pointer per argument.
using BatchKernel = std::function<void(std::span<float* const> arguments)>;

/// One oneDNN primitive, or one kernel of ours.
struct GradientStep {
  struct LayerArgument {
    int name;  ///< DNNL_ARG_...
    Index layer;
    LayerPart part;
  };

  dnnl::primitive primitive;
  BatchKernel kernel;
  std::vector<Argument> arguments;
  std::vector<LayerArgument> layer_arguments;
  std::optional<Descriptor> scratchpad;

  std::vector<dnnl_exec_arg_t> prepared;  ///< what goes to oneDNN
  std::vector<float*> pointers;           ///< what goes to the kernel
};

}  // namespace quantbound::tensor::detail

namespace quantbound::tensor {

struct GradientWeights::Implementation {
  struct Layer {
    detail::LayerLayout layout;
    detail::AlignedFloats forward, backward, bias;
  };
  dnnl::engine engine;
  std::vector<Layer> layers;
};

struct GradientProgram::Implementation {
  Index batch = 0;
  std::vector<detail::Operation> operations;
  std::vector<Shape> shapes;  ///< of the values; value 0 is the input
  Index output = 0;

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<detail::LayerLayout> layers;
  std::vector<detail::GradientBuffer> buffers;
  std::vector<detail::GradientStep> steps;
  std::size_t turn = 0;  ///< the first step of the way back
  std::size_t samples = 0, result = 0, seed = 0, gradient = 0;  ///< buffers: what comes in and goes out
  Index floats = 0;                                             ///< of the arena
  detail::AlignedFloats arena, scratchpad;
  Index scratch_floats = 0;

  struct LayerMemory {
    dnnl::memory memory;
    Index layer;
    detail::LayerPart part;
  };
  std::vector<dnnl::memory> memories;
  std::vector<LayerMemory> layer_memories;
  std::shared_ptr<const GradientWeights> weights;
  bool has_run = false;  ///< and what the way back reads is still there
};

namespace detail {
void compile(GradientProgram::Implementation& program);
}

}  // namespace quantbound::tensor
