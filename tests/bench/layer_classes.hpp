/// Where the time of a float engine goes, by class of layer, and what limits each class: arithmetic, measured against
/// the peak of fused multiply-adds, or the bytes of activations and weights, measured against a copy that stays in the
/// caches and one that does not.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "quantbound/network/float_forward.hpp"

#include "peak.hpp"

namespace quantbound::bench {

using tensor::StepKind;
using tensor::StepProfile;

enum class LayerClass { first, pointwise, depthwise, dense_3x3, other, dense, pooling, elementwise, move };

inline std::string_view name_of(LayerClass layer) {
  switch (layer) {
    case LayerClass::first:
      return "first convolution";
    case LayerClass::pointwise:
      return "1x1 convolutions";
    case LayerClass::depthwise:
      return "depthwise convolutions";
    case LayerClass::dense_3x3:
      return "3x3 convolutions";
    case LayerClass::other:
      return "other convolutions";
    case LayerClass::dense:
      return "dense layers";
    case LayerClass::pooling:
      return "pooling";
    case LayerClass::elementwise:
      return "elementwise";
    case LayerClass::move:
      return "layouts, concatenation";
  }
  return "?";
}

inline LayerClass class_of_convolution(const tensor::Convolution& c, bool first) {
  const auto kernel = std::pair(c.window.kernel_height, c.window.kernel_width);
  if (first) return LayerClass::first;
  if (c.groups > 1 && c.groups == c.channels_in) return LayerClass::depthwise;
  if (c.groups == 1 && kernel == std::pair<tensor::Index, tensor::Index>(1, 1)) return LayerClass::pointwise;
  if (c.groups == 1 && kernel == std::pair<tensor::Index, tensor::Index>(3, 3)) return LayerClass::dense_3x3;
  return LayerClass::other;
}

inline LayerClass class_of(const StepProfile& step) {
  switch (step.kind) {
    case StepKind::convolution:
      return class_of_convolution(step.geometry.value(), step.layer == 0);
    case StepKind::dense:
      return LayerClass::dense;
    case StepKind::pooling:
      return LayerClass::pooling;
    case StepKind::elementwise:
      return LayerClass::elementwise;
    case StepKind::move:
      return LayerClass::move;
  }
  return LayerClass::other;
}

/// The best of several runs, step by step: other tenants of the machine only ever add time.
inline std::vector<StepProfile> best_profile(network::FloatForward& engine, std::span<const float> samples, int runs) {
  std::vector<StepProfile> best = engine.profile(samples);
  for (int run = 1; run < runs; ++run) {
    const std::vector<StepProfile> again = engine.profile(samples);
    for (std::size_t i = 0; i < best.size(); ++i) best[i].seconds = std::min(best[i].seconds, again[i].seconds);
  }
  return best;
}

/// What this machine can do on one thread, in GFLOP/s and GB/s.
struct Limits {
  double arithmetic = peak_gflops(1);
  double caches = copy_gbytes(std::size_t{4} << 20);
  double memory = copy_gbytes(std::size_t{512} << 20);
};

/// What takes the larger part of the time if both ran at their limits; neither where together they explain less than
/// half of it.
inline std::string_view limit_of(double arithmetic_share, double traffic_share) {
  if (arithmetic_share + traffic_share < 0.5) return "neither";
  return arithmetic_share >= traffic_share ? "arithmetic" : "caches";
}

/// A table in Markdown.
inline std::string table_of_classes(const std::vector<StepProfile>& steps, const Limits& limits) {
  std::map<LayerClass, StepProfile> classes;
  double seconds = 0.0;
  for (const StepProfile& step : steps) {
    StepProfile& sum = classes[class_of(step)];
    sum.seconds += step.seconds;
    sum.multiply_adds += step.multiply_adds;
    sum.activation_bytes += step.activation_bytes;
    sum.weight_bytes += step.weight_bytes;
    seconds += step.seconds;
  }
  std::string table =
      fmt::format("peak {:.0f} GFLOP/s; a copy reads and writes {:.0f} GB/s in 4 MiB, {:.0f} GB/s in 512 MiB\n\n",
                  limits.arithmetic, limits.caches, limits.memory);
  table +=
      "| layers | time | GFLOP/s | of peak | activations | of a copy in cache | limit "
      "|\n|---|---|---|---|---|---|---|\n";
  for (const auto& [layer, sum] : classes) {
    const double gflops = 2e-9 * static_cast<double>(sum.multiply_adds) / sum.seconds;
    const double gbytes = 1e-9 * static_cast<double>(sum.activation_bytes) / sum.seconds;
    const double traffic = 1e-9 * static_cast<double>(sum.activation_bytes + sum.weight_bytes) / sum.seconds;
    table += fmt::format("| {} | {:.1f} % | {:.0f} | {:.0f} % | {:.1f} GB/s | {:.0f} % | {} |\n", name_of(layer),
                         100.0 * sum.seconds / seconds, gflops, 100.0 * gflops / limits.arithmetic, gbytes,
                         100.0 * gbytes / limits.caches, limit_of(gflops / limits.arithmetic, traffic / limits.caches));
  }
  return table;
}

}  // namespace quantbound::bench
