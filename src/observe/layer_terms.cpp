#include "layer_terms.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/float_forward.hpp"

#include "threads.hpp"

namespace quantbound::observe::detail {

namespace {

using network::NodeId;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Where the terms of one weight layer are read.
struct Places {
  NodeId input, output, measured, twin;
};

std::vector<Places> places_of(const Graph& graph) {
  std::vector<Places> places;
  NodeId twin = std::ssize(graph.nodes);
  for (const NodeId layer : graph.weight_layers()) {
    places.push_back({.input = graph.nodes[at(layer)].inputs.front(),
                      .output = layer,
                      .measured = graph.measured_output(std::ssize(places)),
                      .twin = twin++});
  }
  return places;
}

/// W - W' and b - b'.
LayerParameters difference(const LayerParameters& original, const LayerParameters& quantized) {
  LayerParameters result = original;
  std::ranges::transform(result.weights, quantized.weights, result.weights.begin(), std::minus{});
  std::ranges::transform(result.bias, quantized.bias, result.bias.begin(), std::minus{});
  return result;
}

/// f at several batches of samples, and f_q at the batch that each thread has at hand, in float.
class FloatLockstep {
 public:
  using Real = float;

  FloatLockstep(const Graph& graph, const Variants& variants, Index batch, Index batches, Index threads)
      : variants_(variants), captured_(captured_nodes(graph)), inputs_(at(batches)) {
    const Graph twins = with_twins(graph);
    for (Index i = 0; i < batches; ++i) f_.emplace_back(twins, batch, captured_);
    for (Index i = 0; i < threads; ++i) quantized_.emplace_back(twins, batch, captured_);
    weights_f_ = f_.front().make_weights();
    weights_quantized_ = f_.front().make_weights();
    for (Index layer = 0; layer < variants.layers(); ++layer) weights_f_->set(layer, variants.original()[at(layer)]);
  }

  void take(Index variant) {
    parallel_for(variants_.layers(), [&](Index layer, std::size_t) {
      const LayerParameters parameters = variants_.quantized(variant, layer);
      weights_quantized_->set(layer, parameters);
      weights_quantized_->set(variants_.layers() + layer, difference(variants_.original()[at(layer)], parameters));
    });
  }

  void run_f(Index batch, std::span<const double> samples) {
    inputs_[at(batch)].assign(samples.begin(), samples.end());
    f_[at(batch)].use(weights_f_);
    f_[at(batch)].run(inputs_[at(batch)]);
  }
  void run_quantized(Index batch, std::size_t thread, std::span<const double> /*samples*/) {
    quantized_[thread].use(weights_quantized_);
    quantized_[thread].run(inputs_[at(batch)]);
  }
  std::span<const float> f(Index batch, NodeId node) const {
    return node == 0 ? inputs_[at(batch)] : f_[at(batch)].captured(position(node));
  }
  std::span<const float> quantized(Index batch, std::size_t thread, NodeId node) const {
    return node == 0 ? inputs_[at(batch)] : quantized_[thread].captured(position(node));
  }

 private:
  Index position(NodeId node) const { return std::ranges::lower_bound(captured_, node) - captured_.begin(); }

  const Variants& variants_;
  std::vector<NodeId> captured_;
  std::vector<std::vector<float>> inputs_;        ///< per batch
  std::vector<network::FloatForward> f_;          ///< per batch
  std::vector<network::FloatForward> quantized_;  ///< per thread
  std::shared_ptr<network::FloatWeights> weights_f_, weights_quantized_;
};

/// The same in double.
class DoubleLockstep {
 public:
  using Real = double;

  DoubleLockstep(const Graph& graph, const Variants& variants, Index batch, Index batches, Index threads)
      : graph_(graph),
        twins_(with_twins(graph)),
        variants_(variants),
        batch_(batch),
        f_(at(batches)),
        quantized_(at(threads)) {}

  void take(Index variant) {
    layers_ = variants_.quantized(variant, 0, variants_.layers());
    for (Index layer = 0; layer < variants_.layers(); ++layer)
      layers_.push_back(difference(variants_.original()[at(layer)], layers_[at(layer)]));
  }

  void run_f(Index batch, std::span<const double> samples) {
    f_[at(batch)].emplace(graph_, variants_.original(), samples, batch_);
  }
  void run_quantized(Index /*batch*/, std::size_t thread, std::span<const double> samples) {
    quantized_[thread].emplace(twins_, layers_, samples, batch_);
  }
  std::span<const double> f(Index batch, NodeId node) const { return f_[at(batch)]->value(node); }
  std::span<const double> quantized(Index /*batch*/, std::size_t thread, NodeId node) const {
    return quantized_[thread]->value(node);
  }

 private:
  const Graph& graph_;
  Graph twins_;
  const Variants& variants_;
  Index batch_;
  std::vector<std::optional<network::Tape>> f_;          ///< per batch
  std::vector<std::optional<network::Tape>> quantized_;  ///< per thread
  std::vector<LayerParameters> layers_;                  ///< of f_q, then those of the twins
};

constexpr std::size_t lanes = 8;  // sums that the compiler may keep in one vector

/// Square root of the sum of term(i)^2 over i < count.
template <class Term>
double norm_2(std::size_t count, const Term& term) {
  std::array<double, lanes> sums{};
  const std::size_t whole = count / lanes * lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const double value = term(i + lane);
      sums[lane] += value * value;
    }
  }
  for (std::size_t i = whole; i < count; ++i) sums[i - whole] += term(i) * term(i);
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

/// Largest |a - b|; NaN where a difference is not finite.
template <class Real>
double norm_max(std::span<const Real> a, std::span<const Real> b) {
  std::array<Real, lanes> largest{}, not_finite{};  // the latter 0 or 1
  const std::size_t whole = a.size() / lanes * lanes;
  const auto add = [&](std::size_t lane, std::size_t i) {
    const Real difference = std::abs(a[i] - b[i]);
    largest[lane] = largest[lane] < difference ? difference : largest[lane];
    not_finite[lane] = difference <= std::numeric_limits<Real>::max() ? not_finite[lane] : Real{1};
  };
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) add(lane, i + lane);
  }
  for (std::size_t i = whole; i < a.size(); ++i) add(i - whole, i);
  if (std::ranges::max(not_finite) > Real{0}) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(std::ranges::max(largest));
}

/// The terms of one layer at one sample.
struct Terms {
  double deviation, input, input_deviation, carried, local;
};

/// Values of f and f_q at one sample of a batch.
template <class Lockstep>
class SampleValues {
 public:
  using Real = typename Lockstep::Real;
  SampleValues(const Lockstep& lockstep, Index batch, std::size_t thread, Index sample, Index samples)
      : lockstep_(lockstep), batch_(batch), thread_(thread), sample_(sample), samples_(samples) {}
  std::span<const Real> f(NodeId node) const { return part(lockstep_.f(batch_, node)); }
  std::span<const Real> quantized(NodeId node) const { return part(lockstep_.quantized(batch_, thread_, node)); }

 private:
  std::span<const Real> part(std::span<const Real> all) const {
    const std::size_t size = all.size() / at(samples_);
    return all.subspan(at(sample_) * size, size);
  }
  const Lockstep& lockstep_;
  Index batch_;
  std::size_t thread_;
  Index sample_, samples_;
};

template <class Lockstep>
Terms terms_at(const SampleValues<Lockstep>& values, const Places& places) {
  const auto s = values.f(places.input), s_q = values.quantized(places.input);
  const auto z = values.f(places.output), z_q = values.quantized(places.output);
  const auto local = values.quantized(places.twin);
  QUANTBOUND_ASSERT(local.size() == z.size() && s.size() == s_q.size(), local.size(), z.size(), s.size(), s_q.size());
  const auto real = [](auto value) { return static_cast<double>(value); };
  Terms terms{};
  terms.deviation = norm_max(values.quantized(places.measured), values.f(places.measured));
  terms.input = norm_2(s.size(), [&](std::size_t i) { return real(s_q[i]); });
  terms.input_deviation = norm_2(s.size(), [&](std::size_t i) { return real(s[i]) - real(s_q[i]); });
  terms.local = norm_2(local.size(), [&](std::size_t i) { return real(local[i]); });
  // W times nothing is nothing; the difference of the outputs would leave what their rounding left.
  if (terms.input_deviation != 0.0)
    terms.carried = norm_2(z.size(), [&](std::size_t i) { return real(z[i]) - real(z_q[i]) - real(local[i]); });
  return terms;
}

/// Puts the terms of one layer and sample in their place.
void store(LayerObservation& result, std::size_t place, const Terms& terms, Index layer) {
  const double sum = terms.deviation + terms.input + terms.input_deviation + terms.carried + terms.local;
  if (!std::isfinite(sum)) {
    throw core::NumericalError(
        "values of the network overflow; measure with precision = \"double\", or drop the layer "
        "samples of this network",
        fmt::format("observe, layer {}", layer));
  }
  result.deviation[place] = terms.deviation;
  result.input[place] = terms.input;
  result.input_deviation[place] = terms.input_deviation;
  result.carried[place] = terms.carried;
  result.local[place] = terms.local;
}

template <class Lockstep>
LayerObservation layer_terms_in(const Graph& graph, const Variants& variants, std::span<const double> inputs) {
  const Index size = tensor::elements(graph.input_shape()), samples = std::ssize(inputs) / size;
  const Index layers = variants.layers(), configurations = variants.count() - 1;
  LayerObservation result{.samples = samples};
  for (auto* values : {&result.deviation, &result.input, &result.input_deviation, &result.carried, &result.local})
    values->assign(at(configurations * layers * samples), 0.0);
  if (samples == 0 || configurations == 0) return result;

  const std::vector<Places> places = places_of(graph);
  const Index batch = layer_batch(graph, samples), batches = samples / batch;
  const Index at_once = std::min(batches_at_once(graph, batch), batches);
  const auto threads = static_cast<Index>(omp_get_max_threads());
  Lockstep lockstep(graph, variants, batch, at_once, threads);
  for (Index start = 0; start < batches; start += at_once) {  // f runs once, then every f_q beside it
    const Index here = std::min(at_once, batches - start);
    const auto part = [&](Index i) { return inputs.subspan(at((start + i) * batch * size), at(batch * size)); };
    parallel_for(here, [&](Index i, std::size_t) { lockstep.run_f(i, part(i)); });
    for (Index c = 0; c < configurations; ++c) {
      lockstep.take(c + 1);
      parallel_for(here, [&](Index i, std::size_t thread) {
        lockstep.run_quantized(i, thread, part(i));
        for (Index layer = 0; layer < layers; ++layer) {
          for (Index sample = 0; sample < batch; ++sample) {
            const SampleValues values(lockstep, i, thread, sample, batch);
            const Index place = (c * layers + layer) * samples + (start + i) * batch + sample;
            store(result, at(place), terms_at(values, places[at(layer)]), layer);
          }
        }
      });
    }
  }
  return result;
}

}  // namespace

Graph with_twins(const Graph& graph) {
  Graph result = graph;
  const Index layers = std::ssize(graph.weight_layers());
  for (const NodeId id : graph.weight_layers()) {
    network::Node twin = graph.nodes[at(id)];
    twin.name += " (change)";
    if (auto* convolution = std::get_if<network::Convolution>(&twin.op)) convolution->layer += layers;
    if (auto* dense = std::get_if<network::Dense>(&twin.op)) dense->layer += layers;
    result.nodes.push_back(std::move(twin));
  }
  return result;
}

std::vector<NodeId> captured_nodes(const Graph& graph) {
  std::vector<NodeId> nodes;
  for (const Places& p : places_of(graph)) nodes.insert(nodes.end(), {p.input, p.output, p.measured, p.twin});
  std::ranges::sort(nodes);
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  std::erase(nodes, NodeId{0});
  return nodes;
}

Index captured_elements(const Graph& graph) {
  const Graph twins = with_twins(graph);
  Index elements = 1;
  for (const NodeId node : captured_nodes(graph)) elements += tensor::elements(twins.nodes[at(node)].shape);
  return elements;
}

Index batches_at_once(const Graph& graph, Index batch) {
  constexpr Index wanted_elements = Index{1} << 26;  // of f: weights are made anew for the next ones
  return std::max<Index>(wanted_elements / (batch * captured_elements(graph)), omp_get_max_threads());
}

Index layer_batch(const Graph& graph, Index samples) {
  constexpr Index wanted_elements = Index{1} << 22;
  Index batch = std::clamp<Index>(wanted_elements / captured_elements(graph), 1, std::max<Index>(samples, 1));
  while (samples % batch != 0) --batch;
  return batch;
}

LayerObservation layer_terms(const Graph& graph, const Variants& variants, std::span<const double> inputs,
                             Arithmetic arithmetic) {
  return arithmetic == Arithmetic::float32 ? layer_terms_in<FloatLockstep>(graph, variants, inputs)
                                           : layer_terms_in<DoubleLockstep>(graph, variants, inputs);
}

}  // namespace quantbound::observe::detail
