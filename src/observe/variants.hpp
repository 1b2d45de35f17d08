/// f and its quantized versions under one numbering: variant 0 is f, variant c + 1 is f_q of source c. Weights are made
/// layer by layer when they are asked for and not kept.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/observe/deviation.hpp"

namespace quantbound::observe::detail {

using network::Index;
using network::LayerParameters;

class Variants {
 public:
  /// `layers` must outlive the object.
  Variants(std::span<const LayerParameters> layers, std::vector<LayerSource> sources)
      : layers_(layers), sources_(std::move(sources)) {}
  Variants(std::span<const LayerParameters> layers, std::span<const Configuration> configurations)
      : Variants(layers, rounding_sources(layers, configurations)) {}

  Index count() const { return std::ssize(sources_) + 1; }
  Index layers() const { return std::ssize(layers_); }
  std::span<const LayerParameters> original() const { return layers_; }

  /// W' and b' of one layer from source variant - 1. @pre variant > 0
  LayerParameters quantized(Index variant, Index layer) const;

  /// Calls use(parameters) with the weights of one layer, which need not live longer than the call.
  template <class Use>
  void with_layer(Index variant, Index layer, const Use& use) const {
    if (variant == 0) {
      use(layers_[static_cast<std::size_t>(layer)]);
    } else {
      use(quantized(variant, layer));
    }
  }

  /// W' and b' of layers first, first + 1, ... first + count - 1, made by the caller's threads. @pre variant > 0
  std::vector<LayerParameters> quantized(Index variant, Index first, Index count) const;

 private:
  std::span<const LayerParameters> layers_;
  std::vector<LayerSource> sources_;
};

}  // namespace quantbound::observe::detail
