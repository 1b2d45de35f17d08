/// The samples of a block and their labels, as observe() got them.
#pragma once

#include <span>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::observe::detail {

using tensor::Index;

constexpr Index no_label = -1;

struct SamplesView {
  std::span<const double> inputs;  ///< samples x input elements
  std::span<const Index> labels;   ///< empty or one per sample
  Index input_size = 1;

  Index count() const { return std::ssize(inputs) / input_size; }
  std::span<const double> input(Index sample) const {
    return inputs.subspan(static_cast<std::size_t>(sample * input_size), static_cast<std::size_t>(input_size));
  }
  Index label(Index sample) const { return labels.empty() ? no_label : labels[static_cast<std::size_t>(sample)]; }
};

}  // namespace quantbound::observe::detail
