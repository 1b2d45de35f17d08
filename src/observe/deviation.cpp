#include "quantbound/observe/deviation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/float_forward.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::observe {

namespace {

using tensor::elements;

/// What one micro-batch gives: outputs, and the measured output of every layer.
template <class Real>
struct Evaluation {
  std::vector<Real> output;
  std::vector<std::vector<Real>> layers;
};

std::vector<network::NodeId> measured_outputs(const Graph& graph) {
  std::vector<network::NodeId> nodes;
  const Index layers = std::ssize(graph.weight_layers());
  for (Index l = 0; l < layers; ++l) nodes.push_back(graph.measured_output(l));
  return nodes;
}

/// Engine of one thread for micro-batches of one size: sets weights, then runs.
class Float32Engine {
 public:
  using Real = float;
  static constexpr std::string_view arithmetic = "float";
  Float32Engine(const Graph& graph, std::span<const LayerParameters> layers, Index batch)
      : engine_(graph, batch, measured_outputs(graph)), layer_count_(static_cast<Index>(layers.size())) {
    set_parameters(layers);
  }
  void set_parameters(std::span<const LayerParameters> layers) { engine_.use(engine_.make_weights(layers)); }

  Evaluation<float> run(std::span<const double> inputs) {
    input_.assign(inputs.begin(), inputs.end());
    const auto output = engine_.run(input_);
    Evaluation<float> result{.output = {output.begin(), output.end()}, .layers = {}};
    for (Index l = 0; l < layer_count_; ++l) {
      const auto values = engine_.captured(l);
      result.layers.emplace_back(values.begin(), values.end());
    }
    return result;
  }

  /// Runs and hands each layer's values over without copying them.
  template <class OnLayer>
  std::span<const float> compare(std::span<const double> inputs, const OnLayer& on_layer) {
    input_.assign(inputs.begin(), inputs.end());
    const auto output = engine_.run(input_);
    for (Index l = 0; l < layer_count_; ++l) on_layer(l, engine_.captured(l));
    return output;
  }

 private:
  network::FloatForward engine_;
  Index layer_count_;
  std::vector<float> input_;
};

class Float64Engine {
 public:
  using Real = double;
  static constexpr std::string_view arithmetic = "double";
  Float64Engine(const Graph& graph, std::span<const LayerParameters> layers, Index batch)
      : graph_(&graph), layers_(layers), batch_(batch) {}
  void set_parameters(std::span<const LayerParameters> layers) { layers_ = layers; }

  Evaluation<double> run(std::span<const double> inputs) {
    Evaluation<double> result;
    result.layers.resize(layers_.size());
    result.output = network::forward(*graph_, layers_, inputs, batch_, [&](Index l, std::span<const double> values) {
      result.layers[static_cast<std::size_t>(l)].assign(values.begin(), values.end());
    });
    return result;
  }

  template <class OnLayer>
  std::span<const double> compare(std::span<const double> inputs, const OnLayer& on_layer) {
    output_ = network::forward(*graph_, layers_, inputs, batch_, on_layer);
    return output_;
  }

 private:
  const Graph* graph_;
  std::span<const LayerParameters> layers_;
  Index batch_;
  std::vector<double> output_;
};

/// Largest |a - b|, in lanes that vectorize; NaN where a difference is not finite: two overflowed values may be equal
/// or not.
template <class Real>
double max_difference(std::span<const Real> a, std::span<const Real> b) {
  constexpr std::size_t lanes = 16;
  std::array<Real, lanes> largest{};
  std::array<Real, lanes> not_finite{};  // 0 or 1
  const auto take = [&](std::size_t lane, Real difference) {
    largest[lane] = largest[lane] < difference ? difference : largest[lane];
    not_finite[lane] = difference <= std::numeric_limits<Real>::max() ? not_finite[lane] : Real{1};
  };
  const std::size_t whole = a.size() / lanes * lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) take(lane, std::abs(a[i + lane] - b[i + lane]));
  }
  for (std::size_t i = whole; i < a.size(); ++i) take(i - whole, std::abs(a[i] - b[i]));
  if (*std::ranges::max_element(not_finite) > Real{0}) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(*std::ranges::max_element(largest));
}

/// A measured deviation is a number or the measurement has failed.
double require_finite(double deviation, std::string_view arithmetic) {
  if (std::isfinite(deviation)) return deviation;
  throw core::NumericalError(
      fmt::format("values of the network overflow {} arithmetic; measure with precision = \"double\", "
                  "or drop the samples of this network",
                  arithmetic),
      "observe");
}

template <class Real>
Index arg_max(std::span<const Real> values) {
  return std::distance(values.begin(), std::max_element(values.begin(), values.end()));
}

/// Runs `body(i, thread)` for i < count on the caller's threads and rethrows the first exception after the region.
template <class Body>
void parallel_for(Index count, const Body& body) {
  std::exception_ptr failure;
  std::mutex guard;
#pragma omp parallel for schedule(dynamic, 1)
  for (Index i = 0; i < count; ++i) {
    try {
      body(i, static_cast<std::size_t>(omp_get_thread_num()));
    } catch (...) {
      const std::lock_guard lock(guard);
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// The engines of one thread: one for whole micro-batches, one for the shorter last one, made when first needed.
template <class Engine>
class Worker {
 public:
  Engine& engine(const Graph& graph, std::span<const LayerParameters> layers, std::size_t generation, Index batch) {
    for (auto& slot : slots_) {
      if (slot.batch != 0 && slot.batch != batch) continue;
      if (slot.batch == 0) {
        slot = {.batch = batch, .generation = generation, .engine = std::make_unique<Engine>(graph, layers, batch)};
      } else if (slot.generation != generation) {
        slot.engine->set_parameters(layers);
        slot.generation = generation;
      }
      return *slot.engine;
    }
    QUANTBOUND_ASSERT(false, batch);
    return *slots_.front().engine;
  }

 private:
  struct Slot {
    Index batch = 0;
    std::size_t generation = 0;  ///< which weights the engine holds
    std::unique_ptr<Engine> engine;
  };
  std::array<Slot, 2> slots_;
};

/// A block of samples cut into micro-batches, and what f gives on each.
template <class Engine>
class Block {
 public:
  using Real = typename Engine::Real;

  Block(const Graph& graph, std::span<const LayerParameters> layers, std::span<const double> inputs,
        std::span<const Index> labels)
      : graph_(&graph),
        inputs_(inputs),
        labels_(labels),
        input_size_(elements(graph.input_shape())),
        output_size_(elements(graph.output_shape())),
        layer_count_(layers.size()),
        samples_(static_cast<Index>(inputs.size()) / input_size_),
        batch_(micro_batch(graph)),
        batches_((samples_ + batch_ - 1) / batch_),
        workers_(static_cast<std::size_t>(omp_get_max_threads())),
        reference_(static_cast<std::size_t>(batches_)) {
    parallel_for(batches_, [&](Index m, std::size_t thread) {
      auto& engine = workers_[thread].engine(graph, layers, 0, batch_count(m));
      reference_[static_cast<std::size_t>(m)] = engine.run(batch_inputs(m));
    });
  }

  Index samples() const { return samples_; }

  /// Measures one configuration into its slots of `result`.
  void measure(std::span<const LayerParameters> quantized, std::size_t configuration, BlockObservation& result) {
    std::vector<MicroBatch> parts(static_cast<std::size_t>(batches_));
    parallel_for(batches_, [&](Index m, std::size_t thread) {
      auto& engine = workers_[thread].engine(*graph_, quantized, configuration + 1, batch_count(m));
      parts[static_cast<std::size_t>(m)] = measure_batch(engine, m);
    });
    const auto first = result.deviation.begin() + static_cast<Index>(configuration) * samples_;
    double* layer_max = result.layer_max.data() + configuration * layer_count_;
    for (Index m = 0; m < batches_; ++m) {
      const MicroBatch& part = parts[static_cast<std::size_t>(m)];
      std::ranges::copy(part.deviation, first + m * batch_);
      for (std::size_t l = 0; l < layer_count_; ++l) layer_max[l] = std::max(layer_max[l], part.layer_max[l]);
      result.agree[configuration] += part.agree;
      result.correct[configuration] += part.correct;
    }
  }

  Index correct_reference() const {
    Index correct = 0;
    for (Index m = 0; m < batches_; ++m) {
      const auto& reference = reference_[static_cast<std::size_t>(m)];
      for (Index i = 0; i < batch_count(m); ++i)
        correct += is_correct(m, i, arg_max(sample<Real>(reference.output, i)));
    }
    return correct;
  }

 private:
  struct MicroBatch {
    std::vector<double> deviation, layer_max;
    Index agree = 0, correct = 0;
  };

  MicroBatch measure_batch(Engine& engine, Index m) const {
    const auto& reference = reference_[static_cast<std::size_t>(m)];
    MicroBatch part;
    part.layer_max.resize(layer_count_);
    const auto output = engine.compare(batch_inputs(m), [&](Index l, std::span<const Real> values) {
      const auto layer = static_cast<std::size_t>(l);
      part.layer_max[layer] = require_finite(max_difference<Real>(values, reference.layers[layer]), Engine::arithmetic);
    });
    for (Index i = 0; i < batch_count(m); ++i) {
      const auto quantized = sample<Real>(output, i), expected = sample<Real>(reference.output, i);
      const Index top = arg_max(quantized);
      part.deviation.push_back(require_finite(max_difference(quantized, expected), Engine::arithmetic));
      part.agree += top == arg_max(expected) ? 1 : 0;
      part.correct += is_correct(m, i, top);
    }
    return part;
  }

  Index batch_count(Index m) const { return std::min(batch_, samples_ - m * batch_); }
  Index is_correct(Index m, Index i, Index top) const {
    return !labels_.empty() && labels_[static_cast<std::size_t>(m * batch_ + i)] == top ? 1 : 0;
  }
  std::span<const double> batch_inputs(Index m) const {
    return inputs_.subspan(static_cast<std::size_t>(m * batch_ * input_size_),
                           static_cast<std::size_t>(batch_count(m) * input_size_));
  }
  template <class Value>
  std::span<const Value> sample(std::span<const Value> output, Index i) const {
    return output.subspan(static_cast<std::size_t>(i * output_size_), static_cast<std::size_t>(output_size_));
  }

  const Graph* graph_;
  std::span<const double> inputs_;
  std::span<const Index> labels_;
  Index input_size_, output_size_;
  std::size_t layer_count_;
  Index samples_, batch_, batches_;
  std::vector<Worker<Engine>> workers_;
  std::vector<Evaluation<Real>> reference_;
};

template <class Engine>
BlockObservation observe_with(const Graph& graph, std::span<const LayerParameters> layers,
                              std::span<const Configuration> configurations, std::span<const double> inputs,
                              std::span<const Index> labels) {
  Block<Engine> block(graph, layers, inputs, labels);
  const auto samples = static_cast<std::size_t>(block.samples());
  BlockObservation result;
  result.samples = block.samples();
  result.deviation.assign(configurations.size() * samples, 0.0);
  result.layer_max.assign(configurations.size() * layers.size(), 0.0);
  result.correct.assign(configurations.size(), 0);
  result.agree.assign(configurations.size(), 0);
  result.correct_reference = block.correct_reference();
  for (std::size_t c = 0; c < configurations.size(); ++c) {
    std::vector<LayerParameters> quantized(layers.size());
    parallel_for(static_cast<Index>(layers.size()), [&](Index l, std::size_t) {
      quantized[static_cast<std::size_t>(l)] =
          quantize::quantize_layer(layers[static_cast<std::size_t>(l)], l, configurations[c]);
    });
    block.measure(quantized, c, result);
  }
  return result;
}

}  // namespace

std::string_view to_string(Precision precision) { return precision == Precision::float32 ? "float" : "double"; }

Index captured_elements(const Graph& graph) {
  Index sum = 0;
  const auto layers = static_cast<Index>(graph.weight_layers().size());
  for (Index l = 0; l < layers; ++l) {
    sum += elements(graph.nodes[static_cast<std::size_t>(graph.measured_output(l))].shape);
  }
  return sum;
}

Index micro_batch(const Graph& graph) {
  // Outputs of about 4 MiB stay in a second-level cache; a matrix product wants at least a few dozen rows, and more
  // than 256 samples gain nothing.
  constexpr Index wanted_elements = Index{1} << 20;
  return std::clamp<Index>(wanted_elements / std::max<Index>(captured_elements(graph), 1), 1, 256);
}

Index block_size(const Graph& graph) {
  constexpr Index stored_elements = Index{1} << 26;
  const Index batch = micro_batch(graph);
  const Index batches = stored_elements / std::max<Index>(captured_elements(graph) * batch, 1);
  return batch * std::clamp<Index>(batches, 2, 4096 / batch + 1);
}

BlockObservation observe(const Graph& graph, std::span<const LayerParameters> layers,
                         std::span<const Configuration> configurations, std::span<const double> inputs,
                         std::span<const Index> labels, Precision precision) {
  const auto input_size = static_cast<std::size_t>(elements(graph.input_shape()));
  QUANTBOUND_ASSERT(inputs.size() % input_size == 0, inputs.size(), input_size);
  QUANTBOUND_ASSERT(labels.empty() || labels.size() * input_size == inputs.size(), labels.size(), inputs.size());
  return precision == Precision::float32 ? observe_with<Float32Engine>(graph, layers, configurations, inputs, labels)
                                         : observe_with<Float64Engine>(graph, layers, configurations, inputs, labels);
}

}  // namespace quantbound::observe
