#include "measurement.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/forward.hpp"

#include "float_error.hpp"
#include "shared_evaluation.hpp"

namespace quantbound::observe::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

core::NumericalError overflow(Arithmetic arithmetic) {
  const auto* remedy =
      arithmetic == Arithmetic::float32 ? "measure with precision = \"double\"" : "scale the network down";
  return {fmt::format("values of the network overflow {} arithmetic; {}, or drop the samples of this network",
                      to_string(arithmetic), remedy),
          "observe"};
}

/// +inf where a value is not finite.
template <class Real>
double largest_magnitude(std::span<const Real> values) {
  Real largest = 0;
  for (const Real value : values) {
    if (!std::isfinite(value)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(value));
  }
  return static_cast<double>(largest);
}

}  // namespace

Measurement::Measurement(const Graph& graph, const Variants& variants, const SamplesView& samples,
                         Arithmetic arithmetic)
    : graph_(graph),
      variants_(variants),
      samples_(samples),
      arithmetic_(arithmetic),
      prefixes_(variants),
      comparisons_(samples, variants.count() - 1),
      largest_(at(variants.count()), 0.0),
      in_double_(at(variants.count() - 1), arithmetic == Arithmetic::float64 ? samples.count() : 0) {}

// --------------------------------------------------------------------------------------------------------- the passes

void Measurement::run() {
  if (arithmetic_ == Arithmetic::float32) {
    const std::vector<float> rounded(samples_.inputs.begin(), samples_.inputs.end());
    run_in<FloatEvaluation>(rounded);
  } else {
    run_in<DoubleEvaluation>(samples_.inputs);
  }
}

template <class Evaluation>
void Measurement::run_in(std::span<const typename Evaluation::Real> inputs) {
  batches_ = {.samples = samples_.count(), .size = Evaluation::batch_size(graph_)};
  const std::vector<Segment> segments = cut(graph_, choose_cuts(graph_, prefixes_));
  Evaluation evaluation(segments, variants_, batches_);
  SharedEvaluation<Evaluation, Measurement>(segments, prefixes_, evaluation, *this).run(inputs);
}

/// Looks for the value that overflowed, node by node in double: the processor only said that there may be one.
void Measurement::alarm(Index variant, Index batch) const {
  with_weights(variant, [&](std::span<const LayerParameters> layers) {
    for (Index i = batches_.first(batch); i < batches_.first(batch) + batches_.length(batch); ++i) {
      const network::Tape tape(graph_, layers, samples_.input(i), 1);
      for (network::NodeId node = 0; node < std::ssize(graph_.nodes); ++node) {
        if (largest_magnitude(tape.value(node)) > largest_number(arithmetic_)) throw overflow(arithmetic_);
      }
    }
  });
}

template <class Real>
void Measurement::outputs(std::span<const Index> variants, std::span<const Real> values) {
  const double largest = largest_magnitude(values);
  if (!std::isfinite(largest)) throw overflow(arithmetic_);
  for (const Index variant : variants) {
    largest_[at(variant)] = largest;
    take(variant, {values.begin(), values.end()});
  }
}

void Measurement::take(Index variant, std::vector<double> outputs) {
  if (variant == 0) {
    std::vector<double> sizes;
    const auto size = outputs.size() / at(samples_.count());
    for (std::size_t i = 0; i < outputs.size(); i += size)
      sizes.push_back(largest_magnitude(std::span<const double>(outputs).subspan(i, size)));
    probed_samples_ = probed_samples(sizes, multiply_adds(graph_));
  }
  if (is_probed(variant)) probed_outputs_[variant] = gather(outputs);
  if (variant == 0) {
    comparisons_.set_reference(std::move(outputs));
  } else {
    comparisons_.set(variant - 1, outputs);
  }
}

// ------------------------------------------------------------------------------------------------------ the arithmetic

bool Measurement::is_probed(Index variant) const {
  const auto probed = probed_configurations(variants_.count() - 1, samples_.count());
  return variant == 0 || std::ranges::find(probed, variant - 1) != probed.end();
}

std::vector<double> Measurement::gather(std::span<const double> outputs) const {
  const auto size = outputs.size() / at(samples_.count());
  std::vector<double> result;
  for (const Index sample : probed_samples_) {
    const auto part = outputs.subspan(at(sample) * size, size);
    result.insert(result.end(), part.begin(), part.end());
  }
  return result;
}

template <class Use>
void Measurement::with_weights(Index variant, const Use& use) const {
  if (variant == 0) {
    use(variants_.original());
  } else {
    const std::vector<LayerParameters> layers = variants_.quantized(variant, 0, variants_.layers());
    use(std::span<const LayerParameters>(layers));
  }
}

std::vector<double> Measurement::output(std::span<const LayerParameters> layers, Index sample) const {
  std::vector<double> values = network::forward(graph_, layers, samples_.input(sample), 1);
  if (!std::isfinite(largest_magnitude(std::span<const double>(values)))) throw overflow(Arithmetic::float64);
  return values;
}

std::vector<double> Measurement::probe_in_double(Index variant) const {
  std::vector<double> result;
  with_weights(variant, [&](std::span<const LayerParameters> layers) {
    for (const Index sample : probed_samples_) {
      const auto values = output(layers, sample);
      result.insert(result.end(), values.begin(), values.end());
    }
  });
  return result;
}

std::vector<double> Measurement::probe_in_float(Index variant) const {
  network::FloatForward engine(graph_, std::ssize(probed_samples_));
  const auto weights = engine.make_weights();
  for (Index layer = 0; layer < variants_.layers(); ++layer)
    variants_.with_layer(variant, layer, [&](const LayerParameters& p) { weights->set(layer, p); });
  engine.use(weights);
  std::vector<float> inputs;
  for (const Index sample : probed_samples_) {
    for (const double x : samples_.input(sample)) inputs.push_back(static_cast<float>(x));
  }
  const auto values = engine.run(inputs);
  return {values.begin(), values.end()};
}

void Measurement::estimate_error() {
  std::vector<Probe> probes;
  for (const auto& [variant, outputs] : probed_outputs_) {
    const bool is_float = arithmetic_ == Arithmetic::float32;
    probes.push_back({.in_float = is_float ? outputs : probe_in_float(variant),
                      .in_double = is_float ? probe_in_double(variant) : outputs,
                      .largest = largest_[at(variant)]});
  }
  kappa_ = kappa(probes);
}

double Measurement::error(Index configuration, Arithmetic arithmetic) const {
  const bool equals_f = prefixes_.representative(configuration + 1, variants_.layers()) == 0;
  if (equals_f) return 0.0;
  return deviation_error(kappa_, roundoff(arithmetic), largest_.front(), largest_[at(configuration + 1)]);
}

void Measurement::refine() {
  std::map<Index, std::vector<double>> f;  // by sample
  for (Index c = 0; c < variants_.count() - 1; ++c) {
    std::vector<Index> unresolved;
    for (Index i = 0; i < samples_.count(); ++i) {
      if (comparisons_.deviation(c, i) < well_resolved * error(c, Arithmetic::float32)) unresolved.push_back(i);
    }
    if (unresolved.empty()) continue;
    with_weights(c + 1, [&](std::span<const LayerParameters> layers) {
      for (const Index i : unresolved) {
        if (!f.contains(i)) f[i] = output(variants_.original(), i);
        comparisons_.replace(c, i, f[i], output(layers, i));
      }
    });
    in_double_[at(c)] = std::ssize(unresolved);
  }
}

BlockObservation Measurement::result() const {
  BlockObservation result{.samples = samples_.count(), .in_double = in_double_};
  comparisons_.write(result);
  for (Index c = 0; c < variants_.count() - 1; ++c) {
    const bool all_in_double = in_double_[at(c)] == samples_.count();
    result.error.push_back(error(c, all_in_double ? Arithmetic::float64 : Arithmetic::float32));
  }
  return result;
}

}  // namespace quantbound::observe::detail
