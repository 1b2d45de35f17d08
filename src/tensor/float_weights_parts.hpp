/// How the weights of a float program lie in memory, and the handles under which oneDNN reads them.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "quantbound/tensor/float_weights.hpp"

#include "layout.hpp"
#include "memory.hpp"
#include "reorder_between.hpp"

namespace quantbound::tensor::detail {

/// The weights of one layer as they are given and as its primitive wants them, and where they lie, in floats. Gradient
/// programs want them a second time, for the way back.
struct LayerLayout {
  Descriptor given, chosen, bias;
  Index weights_offset = 0, bias_offset = 0;
  std::optional<Descriptor> backward = {};
  Index backward_offset = 0;
};

struct WeightLayout {
  dnnl::engine engine;
  std::vector<std::optional<LayerLayout>> layers;  ///< without those that no operator reads
  Index floats = 0;
};

inline bool same_layers(const WeightLayout& a, const WeightLayout& b) {
  const auto same = [](const std::optional<LayerLayout>& x, const std::optional<LayerLayout>& y) {
    return x.has_value() == y.has_value() &&
           (!x || (x->given == y->given && x->chosen == y->chosen && x->backward == y->backward));
  };
  return std::equal(a.layers.begin(), a.layers.end(), b.layers.begin(), b.layers.end(), same);
}

struct LayerMemory {
  dnnl::memory weights, bias, backward;     ///< `backward` is empty where nothing goes back
  std::vector<ReorderBetween> from_floats;  ///< to these two, once floats were set
};

}  // namespace quantbound::tensor::detail

namespace quantbound::tensor {

struct FloatWeights::Implementation {
  std::shared_ptr<const detail::WeightLayout> layout;
  detail::AlignedFloats data;
  std::vector<detail::LayerMemory> layers;  ///< empty handles where there is no layout
};

namespace detail {
/// One layer behind the other, each on its own cache lines.
std::shared_ptr<const WeightLayout> place_layers(const dnnl::engine& engine,
                                                 std::vector<std::optional<LayerLayout>> layers);
/// Zeros in this layout.
FloatWeights make_weights(const std::shared_ptr<const WeightLayout>& layout);
}  // namespace detail

}  // namespace quantbound::tensor
