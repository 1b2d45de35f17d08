/// Random pairs, boxes and points for soundness tests, and the check of enclosures against rational arithmetic.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"

#include "evaluation.hpp"
#include "exact.hpp"
#include "network_builder.hpp"

namespace quantbound::testing {

/// Weights far apart in one layer: denormal, tiny, huge, and zeros of both signs.
inline void make_extreme(network::Network& network, Draws& draws) {
  for (network::LayerParameters& layer : network.layers) {
    for (auto* values : {&layer.weights, &layer.bias}) {
      for (double& value : *values) {
        switch (draws.integer(0, 9)) {
          case 0:
            value = draws.chance(0.5) ? 0.0 : -0.0;
            break;
          case 1:
            value *= 1e-30;
            break;
          case 2:
            value *= 1e30;
            break;
          case 3:
            value = std::copysign(5e-324 * static_cast<double>(draws.integer(1, 100)), value);
            break;
          case 4:
            value *= 1e-160;
            break;
          default:
            break;
        }
      }
    }
  }
}

/// The quantized network, or one with every weight moved a little (differences of many exponents).
inline certify::Pair random_pair(const network::Network& network, Draws& draws) {
  if (draws.chance(0.6)) return certify::make_pair(network, random_configuration(draws, 16));
  certify::Pair pair = certify::make_pair(network, quantize::Configuration{});
  for (std::size_t l = 0; l < pair.f.size(); ++l) {
    const auto move = [&](const std::vector<double>& from, std::vector<double>& to, std::vector<double>& change) {
      for (std::size_t i = 0; i < from.size(); ++i) {
        to[i] =
            draws.chance(0.3) ? from[i] : from[i] * (1.0 + std::pow(10.0, draws.uniform(-17.0, -1.0)) * draws.normal());
        change[i] = to[i] - from[i];
      }
    };
    move(pair.f[l].weights, pair.fq[l].weights, pair.change[l].weights);
    move(pair.f[l].bias, pair.fq[l].bias, pair.change[l].bias);
  }
  return pair;
}

inline network::Box random_box(Index size, Draws& draws) {
  network::Box box = box_around(size, draws);
  const double scale = std::pow(10.0, static_cast<double>(draws.integer(-300, 8)) * (draws.chance(0.2) ? 1.0 : 0.03));
  for (double& value : box.low) value *= scale;
  for (double& value : box.high) value *= scale;
  if (draws.chance(0.2)) {
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      if (draws.chance(0.5)) box.high[i] = box.low[i];
    }
  }
  return box;
}

/// A corner or a point inside.
inline std::vector<double> point_of(const network::Box& box, Draws& draws) {
  std::vector<double> x(box.low.size());
  const bool corner = draws.chance(0.5);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double share = corner ? (draws.chance(0.5) ? 0.0 : 1.0) : draws.uniform();
    x[i] = std::min(std::max(box.low[i] + share * (box.high[i] - box.low[i]), box.low[i]), box.high[i]);
  }
  return x;
}

inline bool holds(double low, double high, const Rational& value) {
  const bool above = low == -std::numeric_limits<double>::infinity() || Rational(low) <= value;
  const bool below = high == std::numeric_limits<double>::infinity() || value <= Rational(high);
  return above && below;
}

/// The first node whose enclosure misses an exact value, in words; empty if there is none.
inline std::string first_miss(const certify::Pair& pair, const certify::PairBounds& bounds,
                              const std::vector<double>& x) {
  const auto f = ExactForward(pair.graph, pair.f).run(x), fq = ExactForward(pair.graph, pair.fq).run(x);
  for (std::size_t v = 0; v < f.size(); ++v) {
    const certify::PairBox& box = bounds.nodes[v];
    for (std::size_t i = 0; i < f[v].size(); ++i) {
      const std::string place = pair.graph.nodes[v].name + " (" +
                                std::string(network::operator_name(pair.graph.nodes[v].op)) + ") element " +
                                std::to_string(i);
      if (!holds(box.f.low[i], box.f.high[i], f[v][i])) return "f at " + place;
      if (!holds(box.fq.low[i], box.fq.high[i], fq[v][i])) return "f_q at " + place;
      const Rational d = fq[v][i] - f[v][i];
      if (!holds(box.difference.low[i], box.difference.high[i], d)) return "the difference at " + place;
    }
  }
  return "";
}

/// Whether rational arithmetic can evaluate it.
inline bool has_exact_values(const network::Network& network) {
  return std::none_of(network.graph.nodes.begin(), network.graph.nodes.end(), [](const network::Node& node) {
    const auto* activation = std::get_if<network::Activation>(&node.op);
    return activation &&
           (activation->kind == network::ActivationKind::sigmoid || activation->kind == network::ActivationKind::tanh);
  });
}

}  // namespace quantbound::testing
