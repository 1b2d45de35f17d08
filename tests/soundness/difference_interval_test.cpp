// The enclosures of difference_interval hold the exact values: f and f_q evaluated in rational arithmetic at points of
// the box, on random networks of every kind with weights of any size.
#include "quantbound/certify/difference_interval.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "../support/exact.hpp"
#include "../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::ExactForward;
using quantbound::testing::RandomNetwork;
using quantbound::testing::Rational;
using quantbound::testing::Rationals;

bool holds(double low, double high, const Rational& value) {
  const bool above = low == -std::numeric_limits<double>::infinity() || Rational(low) <= value;
  const bool below = high == std::numeric_limits<double>::infinity() || value <= Rational(high);
  return above && below;
}

quantize::Configuration random_configuration(Draws& draws) {
  quantize::Configuration configuration;
  configuration.quantizer = static_cast<quantize::Quantizer>(draws.integer(0, 3));
  configuration.granularity = static_cast<quantize::Granularity>(draws.integer(0, 1));
  configuration.bits = static_cast<int>(draws.integer(2, 16));
  configuration.bias_bits = draws.chance(0.3) ? 8 : 0;
  return configuration;
}

/// Weights far apart in one layer: denormal, tiny, huge, and zeros of both signs.
void make_extreme(network::Network& network, Draws& draws) {
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

/// Networks of one graph: the quantized one, or one with every weight moved a little (differences of many exponents).
Pair random_pair(const network::Network& network, Draws& draws) {
  if (draws.chance(0.6)) return make_pair(network, random_configuration(draws));
  Pair pair = make_pair(network, quantize::Configuration{});
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

Box random_box(Index size, Draws& draws) {
  Box box = quantbound::testing::box_around(size, draws);
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

std::vector<double> point_of(const Box& box, Draws& draws) {
  std::vector<double> x(box.low.size());
  const bool corner = draws.chance(0.5);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double share = corner ? (draws.chance(0.5) ? 0.0 : 1.0) : draws.uniform();
    x[i] = std::min(std::max(box.low[i] + share * (box.high[i] - box.low[i]), box.low[i]), box.high[i]);
  }
  return x;
}

/// The first node whose enclosure misses an exact value, in words; empty if there is none.
std::string first_miss(const Pair& pair, const PairBounds& bounds, const std::vector<double>& x) {
  const auto f = ExactForward(pair.graph, pair.f).run(x), fq = ExactForward(pair.graph, pair.fq).run(x);
  for (std::size_t v = 0; v < f.size(); ++v) {
    const PairBox& box = bounds.nodes[v];
    for (std::size_t i = 0; i < f[v].size(); ++i) {
      const std::string place = pair.graph.nodes[v].name + " (" +
                                std::string(network::operator_name(pair.graph.nodes[v].op)) + ") element " +
                                std::to_string(i);
      if (!holds(box.f.low[i], box.f.high[i], f[v][i])) return "f at " + place;
      if (!holds(box.fq.low[i], box.fq.high[i], fq[v][i])) return "f_q at " + place;
      if (!holds(box.difference.low[i], box.difference.high[i], fq[v][i] - f[v][i]))
        return "the difference at " + place;
    }
  }
  return "";
}

bool has_exact_values(const network::Network& network) {
  for (const network::Node& node : network.graph.nodes) {
    const auto* activation = std::get_if<network::Activation>(&node.op);
    if (activation &&
        (activation->kind == network::ActivationKind::sigmoid || activation->kind == network::ActivationKind::tanh))
      return false;
  }
  return true;
}

TEST(DifferenceInterval, HoldsExactDifferencesAtEveryNode) {
  int checked = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.4, .smooth_probability = 0.2});
    network::Network network = random.network();
    Draws& draws = random.draws();
    if (!has_exact_values(network)) continue;
    if (draws.chance(0.3)) make_extreme(network, draws);
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    const PairBounds bounds = difference_interval(pair, box);
    const PairBounds separate = separate_intervals(pair, box);
    for (int k = 0; k < 3; ++k) {
      const std::vector<double> x = point_of(box, draws);
      ASSERT_EQ(first_miss(pair, bounds, x), "") << "network " << seed;
      ASSERT_EQ(first_miss(pair, separate, x), "") << "network " << seed << ", apart";
      ++checked;
    }
  }
  EXPECT_GT(checked, 600);
}

}  // namespace
}  // namespace quantbound::certify
