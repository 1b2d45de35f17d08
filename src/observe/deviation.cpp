#include "quantbound/observe/deviation.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <type_traits>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/forward.hpp"

#include "comparison.hpp"
#include "evaluation.hpp"
#include "float_error.hpp"
#include "layer_terms.hpp"
#include "shared_prefixes.hpp"
#include "threads.hpp"
#include "variants.hpp"

namespace quantbound::observe {

namespace {

using namespace detail;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

core::NumericalError overflow(std::string_view arithmetic) {
  return {
      fmt::format("values of the network overflow {} arithmetic; {}, or drop the samples of this network", arithmetic,
                  arithmetic == "float" ? "measure with precision = \"double\"" : "scale the network down"),
      "observe"};
}

double largest_magnitude(std::span<const double> values) {
  double result = 0.0;
  for (const double value : values) {
    if (!std::isfinite(value)) return std::numeric_limits<double>::infinity();
    result = std::max(result, std::abs(value));
  }
  return result;
}

/// The samples of a block and their labels.
struct Samples {
  std::span<const double> inputs;
  std::span<const Index> labels;
  Index input_size;
  Index count() const { return std::ssize(inputs) / input_size; }
  std::span<const double> input(Index sample) const { return inputs.subspan(at(sample * input_size), at(input_size)); }
  Index label(Index sample) const { return labels.empty() ? no_label : labels[at(sample)]; }
};

/// Measures the outputs of all variants on one block, in the arithmetic of `Evaluation`.
template <class Evaluation>
class Measurement {
 public:
  using Real = typename Evaluation::Real;

  Measurement(const Graph& graph, const Variants& variants, const Samples& samples)
      : graph_(graph),
        variants_(variants),
        samples_(samples),
        batches_{.samples = samples.count(), .size = Evaluation::batch_size(graph)},
        output_size_(tensor::elements(graph.output_shape())),
        prefixes_(variants),
        comparisons_(at((variants.count() - 1) * samples.count())),
        largest_(at(variants.count()), 0.0),
        measured_again_(at(variants.count() - 1), 0) {
    if (samples.count() == 0) return;
    const std::vector<Segment> segments = cut(graph, choose_cuts(graph, prefixes_));
    Evaluation evaluation(segments, variants, batches_);
    std::vector<Index> all(at(variants.count()));
    std::iota(all.begin(), all.end(), Index{0});
    evaluate(evaluation, segments, 0, all, samples.inputs);
  }

  /// Estimates the error of the arithmetic from passes in the other one.
  void estimate_errors();
  /// Measures in double what the arithmetic does not resolve.
  void measure_again();
  BlockObservation result() const;

 private:
  // ------------------------------------------------------------------------------------------------ the passes
  /// All variants of `members`, which agree up to this segment, where they have the value `input`.
  template <class Input>
  void evaluate(Evaluation& evaluation, std::span<const Segment> segments, std::size_t segment,
                std::span<const Index> members, std::span<const Input> input) {
    const Index layers = segments[segment].end();
    for (const Index variant : members) {
      if (prefixes_.representative(variant, layers) != variant) continue;
      std::vector<Index> same;
      std::ranges::copy_if(members, std::back_inserter(same),
                           [&](Index other) { return prefixes_.representative(other, layers) == variant; });
      const Values<Real> values = evaluation.run(segment, variant, input);
      for (const Index batch : values.alarms) check_for_overflow(variant, batch);
      if (segment + 1 < segments.size()) {
        evaluate(evaluation, segments, segment + 1, same, std::span<const Real>(values.values));
      } else {
        take_outputs(same, values.values);
      }
    }
  }

  /// Throws core::NumericalError where a value at a sample of the batch is beyond the arithmetic.
  void check_for_overflow(Index variant, Index batch) const {
    const auto layers = in_double(variant);
    for (Index i = batches_.first(batch); i < batches_.first(batch) + batches_.length(batch); ++i) {
      const network::Tape tape(graph_, layers.span, samples_.input(i), 1);
      for (network::NodeId node = 0; node < std::ssize(graph_.nodes); ++node) {
        if (largest_magnitude(tape.value(node)) > static_cast<double>(std::numeric_limits<Real>::max()))
          throw overflow(Evaluation::arithmetic);
      }
    }
  }

  /// f comes first.
  void take_outputs(std::span<const Index> variants, std::span<const Real> outputs) {
    const double largest = largest_output(outputs);
    for (const Index variant : variants) {
      largest_[at(variant)] = largest;
      if (variant == 0) {
        take_reference(outputs);
      } else {
        compare_outputs(variant, outputs);
      }
      if (is_probed(variant)) keep_for_probe(variant, outputs);
    }
  }

  double largest_output(std::span<const Real> outputs) const {
    Real largest = 0;
    for (const Real value : outputs) {
      if (!std::isfinite(value)) throw overflow(Evaluation::arithmetic);
      largest = std::max(largest, std::abs(value));
    }
    return static_cast<double>(largest);
  }

  void take_reference(std::span<const Real> outputs) {
    reference_.assign(outputs.begin(), outputs.end());
    std::vector<double> largest;
    for (Index i = 0; i < samples_.count(); ++i) largest.push_back(largest_output(part(outputs, i)));
    probed_samples_ = probed_samples(largest, multiply_adds(graph_));
  }

  void keep_for_probe(Index variant, std::span<const Real> outputs) {
    std::vector<double>& kept = probed_outputs_[variant];
    for (const Index sample : probed_samples_) {
      const auto values = part(outputs, sample);
      kept.insert(kept.end(), values.begin(), values.end());
    }
  }

  void compare_outputs(Index variant, std::span<const Real> outputs) {
    const auto first = comparisons_.begin() + (variant - 1) * samples_.count();
    parallel_for(batches_.count(), [&](Index batch, std::size_t) {
      for (Index i = batches_.first(batch); i < batches_.first(batch) + batches_.length(batch); ++i)
        first[i] = compare<Real>(part(reference_, i), part(outputs, i), samples_.label(i));
    });
  }

  // --------------------------------------------------------------------------------------------- the arithmetic
  struct Parameters {
    std::vector<LayerParameters> own;
    std::span<const LayerParameters> span;
  };
  /// The weights of a variant in double.
  Parameters in_double(Index variant) const {
    Parameters result;
    if (variant > 0) result.own = variants_.quantized(variant, 0, variants_.layers());
    result.span = variant > 0 ? std::span<const LayerParameters>(result.own) : variants_.original();
    return result;
  }

  std::vector<double> output_in_double(std::span<const LayerParameters> layers, Index sample) const {
    return network::forward(graph_, layers, samples_.input(sample), 1);
  }

  /// The outputs at the probed samples in float.
  std::vector<double> probe_in_float(network::FloatForward& engine, Index variant) const {
    const auto weights = engine.make_weights();
    parallel_for(variants_.layers(), [&](Index layer, std::size_t) {
      variants_.with_layer(variant, layer, [&](const LayerParameters& p) { weights->set(layer, p); });
    });
    engine.use(weights);
    std::vector<float> inputs;
    for (const Index sample : probed_samples_) {
      const auto input = samples_.input(sample);
      inputs.insert(inputs.end(), input.begin(), input.end());
    }
    const auto outputs = engine.run(inputs);
    return {outputs.begin(), outputs.end()};
  }

  std::vector<double> probe_in_double(Index variant) const {
    const Parameters layers = in_double(variant);
    std::vector<double> outputs;
    for (const Index sample : probed_samples_) {
      const auto output = output_in_double(layers.span, sample);
      outputs.insert(outputs.end(), output.begin(), output.end());
    }
    return outputs;
  }

  bool is_probed(Index variant) const {
    const auto probed = probed_configurations(variants_.count() - 1, samples_.count());
    return variant == 0 || std::ranges::find(probed, variant - 1) != probed.end();
  }

  bool equals_f(Index variant) const { return prefixes_.representative(variant, variants_.layers()) == 0; }

  double error_in(double roundoff, Index variant) const {
    return equals_f(variant) ? 0.0 : deviation_error(kappa_, roundoff, largest_[0], largest_[at(variant)]);
  }

  // --------------------------------------------------------------------------------------------------- details
  template <class Value>
  std::span<const Value> part(const std::vector<Value>& outputs, Index sample) const {
    return part(std::span<const Value>(outputs), sample);
  }
  template <class Value>
  std::span<const Value> part(std::span<const Value> outputs, Index sample) const {
    return outputs.subspan(at(sample * output_size_), at(output_size_));
  }

  RankingCounts count(Index configuration) const;

  const Graph& graph_;
  const Variants& variants_;
  const Samples& samples_;
  Batches batches_;
  Index output_size_;
  SharedPrefixes prefixes_;
  std::vector<Real> reference_;          ///< outputs of f
  std::vector<Comparison> comparisons_;  ///< configuration x sample
  std::vector<double> largest_;          ///< of all outputs of a variant
  std::vector<Index> probed_samples_;
  std::map<Index, std::vector<double>> probed_outputs_;  ///< by variant
  double kappa_ = 0.0;
  std::vector<Index> measured_again_;
};

template <class Evaluation>
void Measurement<Evaluation>::estimate_errors() {
  if (samples_.count() == 0) return;
  std::vector<Probe> probes;
  std::optional<network::FloatForward> engine;
  if (std::is_same_v<Real, double>) engine.emplace(graph_, std::ssize(probed_samples_));
  for (const auto& [variant, output] : probed_outputs_) {
    auto other = engine ? probe_in_float(*engine, variant) : probe_in_double(variant);
    probes.push_back({.in_float = engine ? std::move(other) : output,
                      .in_double = engine ? output : std::move(other),
                      .largest = largest_[at(variant)]});
  }
  kappa_ = kappa(probes);
}

template <class Evaluation>
void Measurement<Evaluation>::measure_again() {
  std::map<Index, std::vector<double>> f;  // by sample
  for (Index c = 0; c < variants_.count() - 1; ++c) {
    const double resolved = well_resolved * error_in(float_roundoff, c + 1);
    std::vector<Index> unresolved;
    for (Index i = 0; i < samples_.count(); ++i) {
      if (comparisons_[at(c * samples_.count() + i)].deviation < resolved) unresolved.push_back(i);
    }
    if (unresolved.empty()) continue;
    const Parameters quantized = in_double(c + 1);
    for (const Index i : unresolved) {
      if (!f.contains(i)) f[i] = output_in_double(variants_.original(), i);
      const auto output = output_in_double(quantized.span, i);
      if (!std::isfinite(largest_magnitude(output))) throw overflow("double");
      comparisons_[at(c * samples_.count() + i)] = compare<double>(f[i], output, samples_.label(i));
    }
    measured_again_[at(c)] = std::ssize(unresolved);
  }
}

template <class Evaluation>
RankingCounts Measurement<Evaluation>::count(Index configuration) const {
  RankingCounts counts;
  for (Index i = 0; i < samples_.count(); ++i) {
    const Comparison& comparison = comparisons_[at(configuration * samples_.count() + i)];
    const bool labelled = !samples_.labels.empty();
    const bool right = labelled && rank_of(part(reference_, i), samples_.label(i)) == 0;
    counts.correct += comparison.correct ? 1 : 0;
    counts.correct_top5 += comparison.correct_top5 ? 1 : 0;
    counts.agree += comparison.agree ? 1 : 0;
    counts.lost += right && !comparison.correct ? 1 : 0;
    counts.won += labelled && !right && comparison.correct ? 1 : 0;
    counts.margin_exceeded += comparison.margin_exceeded ? 1 : 0;
  }
  return counts;
}

template <class Evaluation>
BlockObservation Measurement<Evaluation>::result() const {
  BlockObservation result{.samples = samples_.count()};
  for (const Comparison& comparison : comparisons_) {
    result.deviation.push_back(comparison.deviation);
    result.deviation_2.push_back(comparison.deviation_2);
    result.relative.push_back(comparison.relative);
  }
  constexpr bool is_double = std::is_same_v<Real, double>;
  for (Index c = 0; c < variants_.count() - 1; ++c) {
    const Index in_double = is_double ? samples_.count() : measured_again_[at(c)];
    result.in_double.push_back(in_double);
    result.error.push_back(error_in(in_double == samples_.count() ? double_roundoff : float_roundoff, c + 1));
    result.counts.push_back(count(c));
  }
  for (Index i = 0; i < samples_.count() && !samples_.labels.empty(); ++i) {
    const Index rank = rank_of(part(reference_, i), samples_.label(i));
    result.correct_reference += rank == 0 ? 1 : 0;
    result.correct_top5_reference += rank < std::min<Index>(5, output_size_) ? 1 : 0;
  }
  return result;
}

void require_finite(std::span<const double> inputs, bool in_double) {
  const double limit =
      in_double ? std::numeric_limits<double>::max() : static_cast<double>(std::numeric_limits<float>::max());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (std::abs(inputs[i]) <= limit) continue;
    throw core::NumericalError(
        fmt::format("input {} is {}, which is no finite number in {}", i, inputs[i], in_double ? "double" : "float"),
        "observe");
  }
}

}  // namespace

std::string_view to_string(Precision precision) {
  switch (precision) {
    case Precision::automatic:
      return "auto";
    case Precision::float32:
      return "float";
    case Precision::float64:
      return "double";
  }
  return "?";
}

Index micro_batch(const Graph& graph) {
  // The engine takes a few samples at once by itself: a micro-batch need only hide what a call costs, and leave enough
  // of them for the threads.
  constexpr std::uint64_t wanted_multiply_adds = std::uint64_t{1} << 30;
  const auto each = static_cast<std::uint64_t>(std::max<Index>(multiply_adds(graph), 1));
  return static_cast<Index>(std::clamp<std::uint64_t>(std::bit_floor(wanted_multiply_adds / each), 16, 256));
}

BlockObservation observe(const Graph& graph, std::span<const LayerParameters> layers,
                         std::span<const Configuration> configurations, std::span<const double> inputs,
                         std::span<const Index> labels, const ObserveOptions& options) {
  const Samples samples{inputs, labels, tensor::elements(graph.input_shape())};
  QUANTBOUND_ASSERT(inputs.size() % at(samples.input_size) == 0, inputs.size(), samples.input_size);
  QUANTBOUND_ASSERT(labels.empty() || std::ssize(labels) == samples.count(), labels.size(), samples.count());
  const bool in_double = runs_in_double(graph, options.precision);
  require_finite(inputs, in_double);
  const Variants variants(layers, configurations);
  const auto measure = [&](auto measurement) {
    measurement.estimate_errors();
    if (!in_double && options.precision == Precision::automatic) measurement.measure_again();
    return measurement.result();
  };
  BlockObservation result = in_double ? measure(Measurement<DoubleEvaluation>(graph, variants, samples))
                                      : measure(Measurement<FloatEvaluation>(graph, variants, samples));
  const auto first = inputs.first(at(std::min(options.layer_samples, samples.count()) * samples.input_size));
  result.layers =
      in_double ? layer_terms_in_double(graph, variants, first) : layer_terms_in_float(graph, variants, first);
  return result;
}

}  // namespace quantbound::observe
