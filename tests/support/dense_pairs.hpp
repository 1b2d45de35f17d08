/// Random pairs of dense chains, with boxes and points: small enough for exact arithmetic, with weights of any size.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "quantbound/certify/pair.hpp"

#include "network_builder.hpp"

namespace quantbound::testing {

/// What a random dense chain may contain.
struct ChainKind {
  Index widest = 12;
  Index deepest = 5;
  double extreme_probability = 0.15;  ///< of weights and biases that are denormal, 1e-160, 1e-30, 1e30 or signed zeros
  double map_probability = 0.3;       ///< of an affine map before the first layer
};

class RandomChain {
 public:
  RandomChain(std::uint64_t seed, const ChainKind& kind = {}) : draws_(seed, "dense chain"), kind_(kind) {}

  /// f and its quantization, or f and f with every number moved a little (differences of many exponents).
  certify::Pair pair() {
    const network::Network f = network();
    if (draws_.chance(0.5)) {
      quantize::Configuration configuration;
      configuration.quantizer = static_cast<quantize::Quantizer>(draws_.integer(0, 3));
      configuration.granularity = static_cast<quantize::Granularity>(draws_.integer(0, 1));
      configuration.bits = static_cast<int>(draws_.integer(2, 16));
      configuration.bias_bits = draws_.chance(0.3) ? 8 : 0;
      return certify::make_pair(f, configuration);
    }
    network::Network fq = f;
    for (network::LayerParameters& layer : fq.layers) {
      move(layer.weights);
      move(layer.bias);
    }
    return certify::make_pair(f, fq);
  }

  network::Box box(Index size) {
    network::Box box = box_around(size, draws_);
    const double scale = std::pow(10.0, draws_.chance(0.1) ? draws_.uniform(-300.0, 8.0) : draws_.uniform(-4.0, 1.0));
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      box.low[i] *= scale;
      box.high[i] = draws_.chance(0.1) ? box.low[i] : std::max(box.low[i], box.high[i] * scale);
    }
    return box;
  }

  /// A corner or a point inside.
  std::vector<double> point(std::span<const double> low, std::span<const double> high) {
    std::vector<double> x(low.size());
    const bool corner = draws_.chance(0.5);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double share = corner ? (draws_.chance(0.5) ? 0.0 : 1.0) : draws_.uniform();
      x[i] = std::clamp(low[i] + share * (high[i] - low[i]), low[i], high[i]);
    }
    return x;
  }

  Draws& draws() { return draws_; }

 private:
  network::Network network() {
    NetworkBuilder builder({draws_.integer(1, 6)});
    NodeId node = 0;
    if (draws_.chance(kind_.map_probability)) {
      network::ScaleShift map;
      for (Index i = 0; i < builder.shape(0)[0]; ++i) {
        map.scale.push_back(draws_.normal());
        map.shift.push_back(draws_.normal());
      }
      node = builder.add(map, {node});
    }
    const bool extreme = draws_.chance(kind_.extreme_probability);
    const Index depth = draws_.integer(1, kind_.deepest);
    for (Index layer = 0; layer < depth; ++layer) {
      node = dense(builder, node, draws_.integer(1, kind_.widest), extreme);
      if (layer + 1 < depth || draws_.chance(0.1)) node = activate(builder, node);
    }
    return builder.finish(node);
  }

  NodeId dense(NetworkBuilder& builder, NodeId input, Index outputs, bool extreme) {
    const Index inputs = tensor::elements(builder.shape(input));
    const double scale = std::pow(10.0, draws_.uniform(-0.5, 0.5)) / std::sqrt(static_cast<double>(inputs));
    return builder.dense(input, numbers(outputs * inputs, scale, extreme), numbers(outputs, 0.5, extreme));
  }

  std::vector<double> numbers(Index count, double scale, bool extreme) {
    std::vector<double> values;
    for (Index i = 0; i < count; ++i) values.push_back(extreme ? extreme_number() : scale * draws_.normal());
    return values;
  }

  double extreme_number() {
    const double value = draws_.normal();
    switch (draws_.integer(0, 9)) {
      case 0:
        return draws_.chance(0.5) ? 0.0 : -0.0;
      case 1:
        return value * 1e-30;
      case 2:
        return value * 1e30;
      case 3:
        return std::copysign(5e-324 * static_cast<double>(draws_.integer(1, 100)), value);
      case 4:
        return value * 1e-160;
      default:
        return value;
    }
  }

  NodeId activate(NetworkBuilder& builder, NodeId input) {
    using Kind = network::ActivationKind;
    switch (draws_.integer(0, 6)) {
      case 0:
        return builder.activation(input, Kind::clip, 0.0, draws_.uniform(0.1, 2.0));
      case 1:
        return builder.activation(input, Kind::clip, draws_.uniform(-1.0, 0.0), draws_.uniform(0.0, 1.0));
      case 2:
        return builder.activation(input, Kind::leaky_relu, draws_.uniform());
      case 3:
        return draws_.chance(0.3) ? input : builder.relu(input);
      default:
        return builder.relu(input);
    }
  }

  void move(std::vector<double>& values) {
    for (double& value : values)
      if (draws_.chance(0.7)) value *= 1.0 + std::pow(10.0, draws_.uniform(-17.0, -1.0)) * draws_.normal();
  }

  Draws draws_;
  ChainKind kind_;
};

}  // namespace quantbound::testing
