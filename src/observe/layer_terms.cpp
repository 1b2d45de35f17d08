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

/// f and f_q at one batch of samples per slot, in float.
class FloatLockstep {
 public:
  using Real = float;

  FloatLockstep(const Graph& graph, const Variants& variants, Index batch, Index slots)
      : variants_(variants), captured_(captured_nodes(graph)), slots_(at(slots)) {
    const Graph twins = with_twins(graph);
    for (Slot& slot : slots_) {
      slot.f = std::make_unique<network::FloatForward>(twins, batch, captured_);
      slot.quantized = std::make_unique<network::FloatForward>(twins, batch, captured_);
    }
    f_ = slots_.front().f->make_weights();
    quantized_ = slots_.front().f->make_weights();
    for (Index layer = 0; layer < variants.layers(); ++layer) f_->set(layer, variants.original()[at(layer)]);
  }

  void take(Index variant) {
    parallel_for(variants_.layers(), [&](Index layer, std::size_t) {
      const LayerParameters parameters = variants_.quantized(variant, layer);
      quantized_->set(layer, parameters);
      quantized_->set(variants_.layers() + layer, difference(variants_.original()[at(layer)], parameters));
    });
  }

  void run_f(Index slot, std::span<const double> samples) {
    Slot& here = slots_[at(slot)];
    here.input.assign(samples.begin(), samples.end());
    here.f->use(f_);
    here.f->run(here.input);
  }
  void run_quantized(Index slot, std::span<const double> /*samples*/) {
    Slot& here = slots_[at(slot)];
    here.quantized->use(quantized_);
    here.quantized->run(here.input);
  }
  std::span<const float> f(Index slot, NodeId node) const {
    const Slot& here = slots_[at(slot)];
    return node == 0 ? here.input : here.f->captured(position(node));
  }
  std::span<const float> quantized(Index slot, NodeId node) const {
    const Slot& here = slots_[at(slot)];
    return node == 0 ? here.input : here.quantized->captured(position(node));
  }

 private:
  struct Slot {
    std::unique_ptr<network::FloatForward> f, quantized;
    std::vector<float> input;
  };

  Index position(NodeId node) const { return std::ranges::lower_bound(captured_, node) - captured_.begin(); }

  const Variants& variants_;
  std::vector<NodeId> captured_;
  std::vector<Slot> slots_;
  std::shared_ptr<network::FloatWeights> f_, quantized_;
};

/// The same in double.
class DoubleLockstep {
 public:
  using Real = double;

  DoubleLockstep(const Graph& graph, const Variants& variants, Index batch, Index slots)
      : graph_(graph), twins_(with_twins(graph)), variants_(variants), batch_(batch), slots_(at(slots)) {}

  void take(Index variant) {
    quantized_ = variants_.quantized(variant, 0, variants_.layers());
    for (Index layer = 0; layer < variants_.layers(); ++layer)
      quantized_.push_back(difference(variants_.original()[at(layer)], quantized_[at(layer)]));
  }

  void run_f(Index slot, std::span<const double> samples) {
    slots_[at(slot)].f.emplace(graph_, variants_.original(), samples, batch_);
  }
  void run_quantized(Index slot, std::span<const double> samples) {
    slots_[at(slot)].quantized.emplace(twins_, quantized_, samples, batch_);
  }
  std::span<const double> f(Index slot, NodeId node) const { return slots_[at(slot)].f->value(node); }
  std::span<const double> quantized(Index slot, NodeId node) const { return slots_[at(slot)].quantized->value(node); }

 private:
  struct Slot {
    std::optional<network::Tape> f, quantized;
  };

  const Graph& graph_;
  Graph twins_;
  const Variants& variants_;
  Index batch_;
  std::vector<Slot> slots_;
  std::vector<LayerParameters> quantized_;
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

/// A value of f and f_q, sample number `sample` of `batch`.
template <class Lockstep>
struct PairOfValues {
  using Real = typename Lockstep::Real;
  std::span<const Real> f, quantized;
  PairOfValues(const Lockstep& lockstep, Index slot, NodeId node, Index sample, Index batch)
      : f(part(lockstep.f(slot, node), sample, batch)), quantized(part(lockstep.quantized(slot, node), sample, batch)) {
    QUANTBOUND_ASSERT(f.size() == quantized.size(), f.size(), quantized.size());
  }
  static std::span<const Real> part(std::span<const Real> all, Index sample, Index batch) {
    const std::size_t size = all.size() / at(batch);
    return all.subspan(at(sample) * size, size);
  }
};

template <class Lockstep>
Terms terms_at(const Lockstep& lockstep, Index slot, const Places& places, Index sample, Index batch) {
  using Pair = PairOfValues<Lockstep>;
  const Pair input(lockstep, slot, places.input, sample, batch), output(lockstep, slot, places.output, sample, batch),
      measured(lockstep, slot, places.measured, sample, batch);
  const auto local = Pair::part(lockstep.quantized(slot, places.twin), sample, batch);
  QUANTBOUND_ASSERT(local.size() == output.f.size(), local.size(), output.f.size());
  const auto real = [](auto value) { return static_cast<double>(value); };
  Terms terms{};
  terms.deviation = norm_max(measured.quantized, measured.f);
  terms.input = norm_2(input.f.size(), [&](std::size_t i) { return real(input.quantized[i]); });
  terms.input_deviation =
      norm_2(input.f.size(), [&](std::size_t i) { return real(input.f[i]) - real(input.quantized[i]); });
  terms.local = norm_2(local.size(), [&](std::size_t i) { return real(local[i]); });
  // W times nothing is nothing; the difference of the outputs would leave what their rounding left.
  if (terms.input_deviation != 0.0) {
    terms.carried = norm_2(local.size(), [&](std::size_t i) {
      return real(output.f[i]) - real(output.quantized[i]) - real(local[i]);
    });
  }
  return terms;
}

/// Puts the terms of one layer and sample in their place.
void store(LayerObservation& result, std::size_t place, const Terms& terms, Index layer) {
  const double sum = terms.deviation + terms.input + terms.input_deviation + terms.carried + terms.local;
  if (!std::isfinite(sum)) {
    throw core::NumericalError("values of the network overflow; measure with precision = \"double\", or drop the layer "
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
LayerObservation layer_terms(const Graph& graph, const Variants& variants, std::span<const double> inputs) {
  const Index size = tensor::elements(graph.input_shape()), samples = std::ssize(inputs) / size;
  const Index layers = variants.layers(), configurations = variants.count() - 1;
  LayerObservation result{.samples = samples};
  for (auto* values : {&result.deviation, &result.input, &result.input_deviation, &result.carried, &result.local})
    values->assign(at(configurations * layers * samples), 0.0);
  if (samples == 0 || configurations == 0) return result;

  const std::vector<Places> places = places_of(graph);
  const Index batch = layer_batch(graph, samples), batches = samples / batch;
  const Index slots = std::min<Index>(omp_get_max_threads(), batches);
  Lockstep lockstep(graph, variants, batch, slots);
  for (Index start = 0; start < batches; start += slots) {  // f runs once, then all configurations beside it
    const Index here = std::min(slots, batches - start);
    const auto part = [&](Index slot) {
      return inputs.subspan(at((start + slot) * batch * size), at(batch * size));
    };
    parallel_for(here, [&](Index slot, std::size_t) { lockstep.run_f(slot, part(slot)); });
    for (Index c = 0; c < configurations; ++c) {
      lockstep.take(c + 1);
      parallel_for(here, [&](Index slot, std::size_t) {
        lockstep.run_quantized(slot, part(slot));
        for (Index layer = 0; layer < layers; ++layer) {
          for (Index i = 0; i < batch; ++i) {
            const Index place = (c * layers + layer) * samples + (start + slot) * batch + i;
            store(result, at(place), terms_at(lockstep, slot, places[at(layer)], i, batch), layer);
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
  const auto repeated = std::ranges::unique(nodes);
  nodes.erase(repeated.begin(), repeated.end());
  std::erase(nodes, NodeId{0});
  return nodes;
}

Index layer_batch(const Graph& graph, Index samples) {
  constexpr Index wanted_elements = Index{1} << 22;
  const Graph twins = with_twins(graph);
  Index kept = 1;
  for (const NodeId node : captured_nodes(graph)) kept += tensor::elements(twins.nodes[at(node)].shape);
  Index batch = std::clamp<Index>(wanted_elements / kept, 1, std::max<Index>(samples, 1));
  while (samples % batch != 0) --batch;
  return batch;
}

LayerObservation layer_terms_in_float(const Graph& graph, const Variants& variants, std::span<const double> inputs) {
  return layer_terms<FloatLockstep>(graph, variants, inputs);
}

LayerObservation layer_terms_in_double(const Graph& graph, const Variants& variants, std::span<const double> inputs) {
  return layer_terms<DoubleLockstep>(graph, variants, inputs);
}

}  // namespace quantbound::observe::detail
