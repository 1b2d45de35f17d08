// From the plan to pointers: the memory taken, and every step told where its arguments lie in every turn.

#include <algorithm>

#include "float_program_parts.hpp"

namespace quantbound::tensor::detail {

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

class Binder {
 public:
  explicit Binder(FloatProgram::Implementation& program) : p_(program) {}

  void run() {
    p_.arena = aligned_floats(p_.arena_floats);
    p_.scratchpad = aligned_floats(p_.scratch_floats);
    for (std::size_t step = 0; step < p_.steps.size(); ++step) {
      for (Index turn = 0; turn < distinct_turns(p_.steps[step]); ++turn) {
        if (p_.steps[step].kernel) {
          bind_kernel(step, turn);
        } else {
          bind_primitive(p_.steps[step], turn);
        }
      }
    }
  }

 private:
  /// One where all turns use the same memory.
  Index distinct_turns(const Step& step) const {
    const bool moves = std::any_of(step.arguments.begin(), step.arguments.end(),
                                   [&](const Argument& a) { return p_.buffers[a.buffer].whole_batch; });
    return moves ? p_.batch / step.samples : 1;
  }

  static Index turn_offset(const Step& step, const Buffer& buffer, Index turn) {
    return buffer.whole_batch ? turn * step.samples * buffer.sample_floats : 0;
  }

  float* data(const Buffer& buffer) const { return p_.arena.get() + buffer.offset; }

  void bind_kernel(std::size_t s, Index turn) {
    Step& step = p_.steps[s];
    std::vector<float*>& pointers = step.pointers.emplace_back();
    for (std::size_t a = 0; a < step.arguments.size(); ++a) {
      const Buffer& buffer = p_.buffers[step.arguments[a].buffer];
      const Index offset = turn_offset(step, buffer, turn);
      if (buffer.external) p_.external_pointers.push_back({s, index(turn), a, offset});
      pointers.push_back(buffer.external ? nullptr : data(buffer) + offset);
    }
  }

  void bind_primitive(Step& step, Index turn) {
    std::vector<dnnl_exec_arg_t>& prepared = step.prepared.emplace_back();
    const auto add = [&](int name, const dnnl::memory& memory) {
      p_.memories.push_back(memory);
      prepared.push_back({name, memory.get()});
    };
    for (const Argument& argument : step.arguments) {
      const Buffer& buffer = p_.buffers[argument.buffer];
      const Index offset = turn_offset(step, buffer, turn);
      const dnnl::memory memory(argument.descriptor, p_.engine,
                                buffer.external ? DNNL_MEMORY_NONE : data(buffer) + offset);
      if (buffer.external) p_.external_memories.push_back({memory, offset});
      add(argument.name, memory);
    }
    if (step.scratchpad->get_size() > 0)
      add(DNNL_ARG_SCRATCHPAD, dnnl::memory(*step.scratchpad, p_.engine, p_.scratchpad.get()));
    if (step.profile.layer) {
      prepared.push_back({DNNL_ARG_WEIGHTS, nullptr});
      prepared.push_back({DNNL_ARG_BIAS, nullptr});
    }
  }

  FloatProgram::Implementation& p_;
};

}  // namespace

void bind_memory(FloatProgram::Implementation& program) { Binder(program).run(); }

void bind_weights(FloatProgram::Implementation& program, const FloatWeights::Implementation& weights) {
  for (Step& step : program.steps) {
    if (!step.profile.layer) continue;
    const LayerMemory& layer = weights.layers[index(*step.profile.layer)];
    for (auto& prepared : step.prepared) {
      (prepared.end() - 2)->memory = layer.weights.get();
      (prepared.end() - 1)->memory = layer.bias.get();
    }
  }
}

}  // namespace quantbound::tensor::detail
