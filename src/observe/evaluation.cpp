#include "evaluation.hpp"

#include <algorithm>
#include <cfenv>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/forward.hpp"

#include "threads.hpp"

namespace quantbound::observe::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Whether the calling thread's processor noticed an overflow or an invalid operation since the object was made.
class Alarm {
 public:
  Alarm() { std::feclearexcept(FE_OVERFLOW | FE_INVALID); }
  bool rang() const { return std::fetestexcept(FE_OVERFLOW | FE_INVALID) != 0; }
};

/// Runs evaluate(batch, thread, part of the input, part of the output) for every batch.
template <class Real, class Evaluate>
Values<Real> for_each_batch(const Segment& segment, const Batches& batches, std::span<const Real> input,
                            const Evaluate& evaluate) {
  const Index in = tensor::elements(segment.graph.input_shape()), out = tensor::elements(segment.graph.output_shape());
  QUANTBOUND_ASSERT(std::ssize(input) == batches.samples * in, input.size(), batches.samples, in);
  Values<Real> result{.values = std::vector<Real>(at(batches.samples * out)), .alarms = {}};
  std::vector<char> rang(at(batches.count()), 0);
  parallel_for(batches.count(), [&](Index batch, std::size_t thread) {
    const Index first = batches.first(batch), length = batches.length(batch);
    const Alarm alarm;
    evaluate(batch, thread, input.subspan(at(first * in), at(length * in)),
             std::span(result.values).subspan(at(first * out), at(length * out)));
    rang[at(batch)] = alarm.rang() ? 1 : 0;
  });
  for (Index batch = 0; batch < batches.count(); ++batch) {
    if (rang[at(batch)] != 0) result.alarms.push_back(batch);
  }
  return result;
}

}  // namespace

std::string_view to_string(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::float32 ? to_string(Precision::float32) : to_string(Precision::float64);
}

double largest_number(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::float32 ? static_cast<double>(std::numeric_limits<float>::max())
                                           : std::numeric_limits<double>::max();
}

double roundoff(Arithmetic arithmetic) { return arithmetic == Arithmetic::float32 ? 0x1p-24 : 0x1p-53; }

Arithmetic arithmetic_of(const Graph& graph, Precision precision) {
  constexpr Index small_network = 1'000'000;  // multiply-adds: up to there double takes at most about twice as long
  const bool in_double =
      precision == Precision::float64 || (precision == Precision::automatic && multiply_adds(graph) <= small_network);
  return in_double ? Arithmetic::float64 : Arithmetic::float32;
}

FloatEvaluation::FloatEvaluation(std::span<const Segment> segments, const Variants& variants, const Batches& batches)
    : segments_(segments), variants_(variants), batches_(batches) {
  for (const Segment& segment : segments) {
    Engines& engines = engines_.emplace_back();
    if (batches.samples >= batches.size) engines.whole = make_kind(segment, batches.size);
    if (batches.rest() > 0) engines.rest = make_kind(segment, batches.rest());
  }
}

FloatEvaluation::Kind FloatEvaluation::make_kind(const Segment& segment, Index batch) const {
  Kind kind;
  kind.engines.resize(at(omp_get_max_threads()));
  kind.engines.front() = std::make_unique<network::FloatForward>(segment.graph, batch);
  kind.weights = kind.engines.front()->make_weights();
  return kind;
}

void FloatEvaluation::set_weights(const Segment& segment, Engines& engines, Index variant) const {
  parallel_for(segment.layers, [&](Index layer, std::size_t) {
    variants_.with_layer(variant, segment.first_layer + layer, [&](const LayerParameters& parameters) {
      for (Kind* kind : {&engines.whole, &engines.rest}) {
        if (kind->weights) kind->weights->set(layer, parameters);
      }
    });
  });
}

Values<float> FloatEvaluation::run(std::size_t segment_index, Index variant, std::span<const float> input) {
  const Segment& segment = segments_[segment_index];
  Engines& engines = engines_[segment_index];
  set_weights(segment, engines, variant);
  return for_each_batch<float>(
      segment, batches_, input,
      [&](Index batch, std::size_t thread, std::span<const float> part, std::span<float> result) {
        const bool whole = batches_.length(batch) == batches_.size;
        Kind& kind = whole ? engines.whole : engines.rest;
        auto& engine = kind.engines[whole ? thread : 0];  // the rest is one batch: one thread has it
        if (!engine) engine = std::make_unique<network::FloatForward>(segment.graph, batches_.length(batch));
        engine->use(kind.weights);
        std::ranges::copy(engine->run(part), result.begin());
      });
}

Index DoubleEvaluation::batch_size(const Graph& graph) {
  constexpr Index wanted_elements = Index{1} << 20;
  Index largest = 1;
  for (const network::Node& node : graph.nodes) largest = std::max(largest, tensor::elements(node.shape));
  return std::clamp<Index>(wanted_elements / largest, 1, micro_batch(graph));
}

Values<double> DoubleEvaluation::run(std::size_t segment_index, Index variant, std::span<const double> input) const {
  const Segment& segment = segments_[segment_index];
  std::vector<LayerParameters> quantized;
  if (variant > 0) quantized = variants_.quantized(variant, segment.first_layer, segment.layers);
  const std::span<const LayerParameters> layers =
      variant > 0 ? quantized : variants_.original().subspan(at(segment.first_layer), at(segment.layers));
  return for_each_batch<double>(
      segment, batches_, input, [&](Index batch, std::size_t, std::span<const double> part, std::span<double> result) {
        std::ranges::copy(network::forward(segment.graph, layers, part, batches_.length(batch)), result.begin());
      });
}

}  // namespace quantbound::observe::detail
