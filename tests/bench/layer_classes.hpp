/// Where the time of a float engine goes, by class of layer, and what limits each class: the peak of fused
/// multiply-adds, or the bytes that it moves at the speed of a copy in the caches (what lives for a few samples, and
/// weights) or in memory (what lives for the whole batch).
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

/// What this machine can do on one thread: GFLOP/s, GB/s.
struct Limits {
  double arithmetic = peak_gflops(1);
  double caches = copy_gbytes(std::size_t{1} << 20);
  double memory = copy_gbytes(std::size_t{512} << 20);
};

/// The seconds that a step would take if nothing but one limit held it up.
struct Floors {
  double arithmetic = 0.0;  ///< channels fill whole vectors
  double caches = 0.0;
  double memory = 0.0;

  Floors& operator+=(const Floors& other) {
    arithmetic += other.arithmetic;
    caches += other.caches;
    memory += other.memory;
    return *this;
  }
};

inline Floors floors_of(const StepProfile& step, const Limits& limits) {
  const tensor::Index lanes = vector_floats();
  const tensor::Index channels = step.geometry ? step.geometry->channels_out : lanes;
  const double filled = static_cast<double>((channels + lanes - 1) / lanes * lanes) / static_cast<double>(channels);
  const tensor::Index cached = step.activation_bytes - step.whole_batch_bytes + step.weight_bytes;
  return {.arithmetic = 2e-9 * static_cast<double>(step.multiply_adds) * filled / limits.arithmetic,
          .caches = 1e-9 * static_cast<double>(cached) / limits.caches,
          .memory = 1e-9 * static_cast<double>(step.whole_batch_bytes) / limits.memory};
}

/// The largest floor, if the floors together explain at least half of the time.
inline std::string_view limit_of(const Floors& floors, double seconds) {
  if (floors.arithmetic + floors.caches + floors.memory < 0.5 * seconds) return "none of them";
  if (floors.arithmetic >= std::max(floors.caches, floors.memory)) return "arithmetic";
  return floors.caches >= floors.memory ? "caches" : "memory";
}

struct ClassSum {
  StepProfile steps;  ///< seconds, operations and bytes added up
  Floors floors;
};

inline std::map<LayerClass, ClassSum> sums_of_classes(const std::vector<StepProfile>& steps, const Limits& limits) {
  std::map<LayerClass, ClassSum> classes;
  for (const StepProfile& step : steps) {
    ClassSum& sum = classes[class_of(step)];
    sum.steps.seconds += step.seconds;
    sum.steps.multiply_adds += step.multiply_adds;
    sum.steps.activation_bytes += step.activation_bytes;
    sum.floors += floors_of(step, limits);
  }
  return classes;
}

/// A table in Markdown.
inline std::string table_of_classes(const std::vector<StepProfile>& steps, const Limits& limits) {
  const auto classes = sums_of_classes(steps, limits);
  double all = 0.0;
  for (const auto& [layer, sum] : classes) all += sum.steps.seconds;
  std::string table = fmt::format(
      "peak {:.0f} GFLOP/s; a copy reads and writes {:.0f} GB/s in 1 MiB, {:.0f} GB/s in 512 MiB\n\n"
      "| layers | time | GFLOP/s | of peak | activations | arithmetic | caches | memory | limit |\n"
      "|---|---|---|---|---|---|---|---|---|\n",
      limits.arithmetic, limits.caches, limits.memory);
  for (const auto& [layer, sum] : classes) {
    const double seconds = sum.steps.seconds;
    const double gflops = 2e-9 * static_cast<double>(sum.steps.multiply_adds) / seconds;
    table += fmt::format("| {} | {:.1f} % | {:.0f} | {:.0f} % | {:.1f} GB/s | {:.0f} % | {:.0f} % | {:.0f} % | {} |\n",
                         name_of(layer), 100.0 * seconds / all, gflops, 100.0 * gflops / limits.arithmetic,
                         1e-9 * static_cast<double>(sum.steps.activation_bytes) / seconds,
                         100.0 * sum.floors.arithmetic / seconds, 100.0 * sum.floors.caches / seconds,
                         100.0 * sum.floors.memory / seconds, limit_of(sum.floors, seconds));
  }
  return table;
}

}  // namespace quantbound::bench
