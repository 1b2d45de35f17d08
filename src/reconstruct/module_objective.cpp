#include "quantbound/reconstruct/module_objective.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>

#include <omp.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/float_gradient.hpp"

namespace quantbound::reconstruct {

namespace {

using network::FloatGradient;
using network::Graph;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Places over which the squared error is averaged besides the samples: pixels of an image.
Index positions(const tensor::Shape& output) {
  return output.size() == 3 ? tensor::elements(output) / output.front() : 1;
}

Index rows_of(const network::Operator& op) {
  if (const auto* convolution = std::get_if<network::Convolution>(&op)) return convolution->geometry.channels_out;
  return std::get<network::Dense>(op).outputs;
}
Index weights_of(const network::Operator& op) {
  if (const auto* convolution = std::get_if<network::Convolution>(&op)) return convolution->geometry.weight_count();
  const auto& dense = std::get<network::Dense>(op);
  return dense.inputs * dense.outputs;
}
Index multiply_adds_of(const network::Operator& op) {
  const auto* convolution = std::get_if<network::Convolution>(&op);
  return convolution != nullptr ? convolution->geometry.multiply_adds() : weights_of(op);
}

/// Samples of one part. Every part pays for its own transforms and sums of the weights, so large weights want large
/// parts; else few samples are best, whose activations stay in the cache and which many threads can share. Measured on
/// 3x3 convolutions by Winograd's algorithm: two samples of 56x56 or 28x28 pixels, eight or more of 14x14 and 7x7.
Index samples_in_part(const Graph& module, Index batch) {
  constexpr Index uses = 2048;  // of a weight, by which its cost per part is spread
  constexpr Index fewest_parts = 4;
  Index weights = 0, multiply_adds = 0;
  for (const network::NodeId id : module.weight_layers()) {
    weights += weights_of(module.nodes[at(id)].op);
    multiply_adds += multiply_adds_of(module.nodes[at(id)].op);
  }
  const Index wanted =
      multiply_adds == 0 ? 1 : std::min(batch / fewest_parts, std::max<Index>(2, uses * weights / multiply_adds));
  Index samples = std::max<Index>(wanted, 1);
  while (batch % samples != 0) --samples;
  return samples;
}

/// What is thrown inside a parallel region, to be thrown again behind it.
class FirstError {
 public:
  template <class Function>
  void watch(Function function) {
    try {
      function();
    } catch (...) {
#pragma omp critical(quantbound_module_objective)
      if (!error_) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
};

/// A piece of the parameters of all layers, one behind the other.
struct Place {
  Index weights = 0, bias = 0;
  Index weight_count = 0, bias_count = 0;
};

}  // namespace

struct ModuleObjective::Implementation {
  Implementation(const Graph& module, Index batch_size)
      : batch(batch_size),
        part(samples_in_part(module, batch)),
        inputs(tensor::elements(module.input_shape())),
        outputs(tensor::elements(module.output_shape())),
        scale(1.0 / static_cast<double>(batch * positions(module.output_shape()))) {
    for (const network::NodeId id : module.weight_layers()) {
      const network::Operator& op = module.nodes[at(id)].op;
      Place place{parameters, parameters + weights_of(op), weights_of(op), rows_of(op)};
      parameters = place.bias + place.bias_count;
      places.push_back(place);
    }
    const Index threads = std::min<Index>(omp_get_max_threads(), batch / part);
    for (Index i = 0; i < threads; ++i) engines.emplace_back(module, part, network::Derivatives::weights);
    weights = engines.front().make_weights();
    for (FloatGradient& engine : engines) engine.use(weights);
    pointers.resize(at(3 * batch));
    errors.resize(at(batch / part));
    part_gradients.resize(at(batch / part * parameters));
    gradient.resize(at(parameters));
  }

  Index batch, part, inputs, outputs;
  double scale;
  Index parameters = 0;
  std::vector<Place> places;  ///< of every layer
  std::vector<FloatGradient> engines;
  std::shared_ptr<network::FloatWeights> weights;
  std::vector<const float*> pointers;  ///< inputs, targets and weights of every sample
  std::vector<double> errors;          ///< of every part
  std::vector<float> part_gradients;   ///< parts x parameters
  std::vector<float> gradient;

  void point_at(const ObjectiveSamples& samples) {
    for (Index s = 0; s < batch; ++s) {
      const Index row = samples.rows.empty() ? s : samples.rows[at(s)];
      QUANTBOUND_ASSERT(row >= 0 && (row + 1) * inputs <= std::ssize(samples.inputs), row, samples.inputs.size());
      QUANTBOUND_ASSERT((row + 1) * outputs <= std::ssize(samples.targets), row, samples.targets.size());
      pointers[at(s)] = samples.inputs.data() + row * inputs;
      pointers[at(batch + s)] = samples.targets.data() + row * outputs;
      if (samples.weights.empty()) continue;
      QUANTBOUND_ASSERT((row + 1) * outputs <= std::ssize(samples.weights), row, samples.weights.size());
      pointers[at(2 * batch + s)] = samples.weights.data() + row * outputs;
    }
  }

  /// Samples of a part in one of the three arrays of pointers.
  std::span<const float* const> of_part(Index array, Index p) const {
    return std::span(pointers).subspan(at(array * batch + p * part), at(part));
  }

  void evaluate_part(FloatGradient& engine, Index p, const ObjectiveSamples& samples) {
    const auto element_weights = samples.weights.empty() ? std::span<const float* const>() : of_part(2, p);
    errors[at(p)] = engine.fit({of_part(0, p), of_part(1, p), element_weights}, scale);
    float* to = part_gradients.data() + p * parameters;
    for (std::size_t layer = 0; layer < places.size(); ++layer) {
      const auto id = static_cast<Index>(layer);
      std::ranges::copy(engine.weight_gradient(id), to + places[layer].weights);
      std::ranges::copy(engine.bias_gradient(id), to + places[layer].bias);
    }
  }

  /// gradient[first, ...) = sum over parts, in their order.
  void sum_parts(Index first, Index count) {
    float* sum = gradient.data() + first;
    std::copy_n(part_gradients.data() + first, count, sum);
    for (std::size_t p = 1; p < errors.size(); ++p) {
      const float* of_part = part_gradients.data() + static_cast<Index>(p) * parameters + first;
#pragma omp simd
      for (Index i = 0; i < count; ++i) sum[i] += of_part[i];
    }
  }
};

ModuleObjective::ModuleObjective(const network::Graph& module, Index batch) {
  QUANTBOUND_ASSERT(batch > 0 && !module.weight_layers().empty(), batch, module.nodes.size());
  implementation_ = std::make_unique<Implementation>(module, batch);
}

ModuleObjective::~ModuleObjective() = default;
ModuleObjective::ModuleObjective(ModuleObjective&&) noexcept = default;
ModuleObjective& ModuleObjective::operator=(ModuleObjective&&) noexcept = default;

double ModuleObjective::evaluate(std::span<const FloatLayer> layers, const ObjectiveSamples& samples) {
  Implementation& o = *implementation_;
  QUANTBOUND_ASSERT(layers.size() == o.places.size(), layers.size(), o.places.size());
  QUANTBOUND_ASSERT(samples.rows.empty() || std::ssize(samples.rows) == o.batch, samples.rows.size(), o.batch);
  constexpr Index piece = 16384;  // of the parameters, summed at once
  o.point_at(samples);
  FirstError error;
#pragma omp parallel num_threads(static_cast <int>(o.engines.size()))
  {
    FloatGradient& engine = o.engines[at(omp_get_thread_num())];
#pragma omp for schedule(dynamic)
    for (std::size_t layer = 0; layer < layers.size(); ++layer)
      error.watch([&] { o.weights->set(static_cast<Index>(layer), layers[layer].weights, layers[layer].bias); });
#pragma omp for schedule(dynamic)
    for (Index p = 0; p < o.batch / o.part; ++p) error.watch([&] { o.evaluate_part(engine, p, samples); });
#pragma omp for schedule(static)
    for (Index first = 0; first < o.parameters; first += piece)
      o.sum_parts(first, std::min(piece, o.parameters - first));
  }
  error.rethrow();
  double sum = 0.0;
  for (const double of_part : o.errors) sum += of_part;
  return sum * o.scale;
}

std::span<const float> ModuleObjective::weight_gradient(Index layer) const {
  const Place& place = implementation_->places.at(at(layer));
  return std::span(implementation_->gradient).subspan(at(place.weights), at(place.weight_count));
}

std::span<const float> ModuleObjective::bias_gradient(Index layer) const {
  const Place& place = implementation_->places.at(at(layer));
  return std::span(implementation_->gradient).subspan(at(place.bias), at(place.bias_count));
}

Index ModuleObjective::batch() const { return implementation_->batch; }
Index ModuleObjective::parts() const { return implementation_->batch / implementation_->part; }

ObjectiveReference objective_reference(const network::Graph& module, std::span<const network::LayerParameters> layers,
                                       const ObjectiveSamples& samples, Index batch) {
  const Index inputs = tensor::elements(module.input_shape()), outputs = tensor::elements(module.output_shape());
  const double scale = 1.0 / static_cast<double>(batch * positions(module.output_shape()));
  std::vector<double> x;
  for (Index s = 0; s < batch; ++s) {
    const Index row = samples.rows.empty() ? s : samples.rows[at(s)];
    const auto from = samples.inputs.subspan(at(row * inputs), at(inputs));
    x.insert(x.end(), from.begin(), from.end());
  }
  const network::Tape tape(module, layers, x, batch);
  std::vector<double> pull(tape.output().begin(), tape.output().end());
  ObjectiveReference result;
  for (Index i = 0; i < std::ssize(pull); ++i) {
    const Index row = samples.rows.empty() ? i / outputs : samples.rows[at(i / outputs)];
    const std::size_t element = at(row * outputs + i % outputs);
    const double weight = samples.weights.empty() ? 1.0 : static_cast<double>(samples.weights[element]);
    const double difference = pull[at(i)] - static_cast<double>(samples.targets[element]);
    result.objective += scale * weight * difference * difference;
    pull[at(i)] = 2.0 * scale * weight * difference;
  }
  result.gradients = tape.pull_back_to_layers(pull);
  return result;
}

}  // namespace quantbound::reconstruct
