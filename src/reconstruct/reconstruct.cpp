#include "quantbound/reconstruct/reconstruct.hpp"

#include <array>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "evaluate.hpp"
#include "values.hpp"

namespace quantbound::reconstruct {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// The layers of one module.
std::vector<LayerParameters> layers_of(const Module& module, std::span<const LayerParameters> layers) {
  std::vector<LayerParameters> result;
  for (const Index layer : module.layers) result.push_back(layers[at(layer)]);
  return result;
}

/// Weights for a module, what it makes of the quantized prefix with them, and how far that is from f.
struct Candidate {
  std::vector<LayerParameters> layers;
  std::vector<float> output;
  double loss = 0.0;
};

class Driver {
 public:
  Driver(const Network& network, const quantize::Configuration& configuration, Method method,
         const Calibration& calibration, const Options& options, const Watch& watch)
      : network_(network),
        configuration_(configuration),
        method_(method),
        calibration_(calibration),
        watch_(watch),
        modules_(find_modules(network.graph, options.modules)),
        values_(network.graph, modules_, calibration) {
    configuration_.quantizer = quantize::Quantizer::round;
    result_.original = network.layers;
    result_.quantized = result_.original;
  }

  Reconstruction run() && {
    for (Index module = 0; module < std::ssize(modules_); ++module) {
      if (watch_.stop && watch_.stop()) {
        result_.stopped = true;
        break;
      }
      reconstruct(module);
    }
    return std::move(result_);
  }

 private:
  void reconstruct(Index number) {
    const Module& module = modules_[at(number)];
    const Graph graph = module_graph(network_.graph, module);
    values_.reach(number);
    std::vector<float> target = detail::evaluate(graph, layers_of(module, result_.original),
                                                 values_.original(module.input), calibration_.count);
    Candidate kept = candidate(module, graph, rounded(module), target);
    result_.modules.push_back({.module = module, .loss_round = kept.loss, .loss = kept.loss});
    for (std::size_t i = 0; i < module.layers.size(); ++i) {
      result_.quantized[at(module.layers[i])] = std::move(kept.layers[i]);
    }
    values_.finish(number, {std::move(target), std::move(kept.output)});
    if (watch_.progress) {
      watch_.progress({.module = number, .modules = std::ssize(modules_), .loss = kept.loss, .name = module.name});
    }
  }

  Candidate candidate(const Module& module, const Graph& graph, std::vector<LayerParameters> layers,
                      std::span<const float> target) const {
    Candidate result{std::move(layers), {}, 0.0};
    result.output = detail::evaluate(graph, result.layers, values_.quantized(module.input), calibration_.count);
    result.loss = detail::mean_loss(graph.output_shape(), target, result.output, calibration_.count, module.name);
    return result;
  }

  std::vector<LayerParameters> rounded(const Module& module) const {
    std::vector<LayerParameters> layers;
    for (const Index layer : module.layers) {
      const auto own = quantize::at_layer(configuration_, layer, std::ssize(network_.layers));
      layers.push_back(quantize::quantize_layer(result_.original[at(layer)], layer, own));
    }
    return layers;
  }

  const Network& network_;
  quantize::Configuration configuration_;
  Method method_;
  Calibration calibration_;
  const Watch& watch_;
  std::vector<Module> modules_;
  detail::Values values_;
  Reconstruction result_;
};

void check(const Network& network, const Calibration& calibration) {
  const auto input = at(tensor::elements(network.graph.input_shape()));
  if (calibration.count < 1) throw core::InputError("reconstruction needs calibration samples; give some", "");
  QUANTBOUND_ASSERT(calibration.inputs.size() == at(calibration.count) * input, calibration.inputs.size(),
                    calibration.count, input);
}

}  // namespace

std::string_view to_string(Method method) {
  switch (method) {
    case Method::round:
      return "round";
  }
  return "?";
}

std::optional<Method> parse_method(std::string_view text) {
  for (const Method method : std::array{Method::round}) {
    if (to_string(method) == text) return method;
  }
  return std::nullopt;
}

Reconstruction reconstruct(const Network& network, const quantize::Configuration& configuration, Method method,
                           const Calibration& calibration, const Options& options, const Watch& watch) {
  check(network, calibration);
  return Driver(network, configuration, method, calibration, options, watch).run();
}

Index reconstruct_memory(const Graph& graph, Index samples, const Options& options) {
  const Index both = 2;  // of f and of the quantized network
  return detail::held_elements(graph, find_modules(graph, options.modules)) * both * samples * Index{sizeof(float)};
}

}  // namespace quantbound::reconstruct
