// The enclosures of merged_crown, difference_crown and alpha_crown hold the exact values: f and f_q evaluated in
// rational arithmetic at points of the box, on random networks of every kind with weights of any size.
#include "quantbound/certify/crown.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/network/forward.hpp"

#include "../support/exact.hpp"
#include "../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::ExactForward;
using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomNetwork;
using quantbound::testing::Rational;

constexpr double infinity = std::numeric_limits<double>::infinity();

bool holds(double low, double high, const Rational& value) {
  return (low == -infinity || Rational(low) <= value) && (high == infinity || value <= Rational(high));
}

/// Denormal, tiny and huge weights and zeros of both signs between the others.
void make_extreme(network::Network& network, Draws& draws) {
  const double factors[] = {0.0, -0.0, 1e-30, 1e30, 1e-160, 1e-300};
  for (network::LayerParameters& layer : network.layers)
    for (auto* values : {&layer.weights, &layer.bias})
      for (double& value : *values) {
        if (draws.chance(0.4)) value *= factors[draws.integer(0, 5)];
        if (draws.chance(0.05)) value = std::copysign(5e-324 * static_cast<double>(draws.integer(1, 100)), value);
      }
}

/// The quantized network, or one with every weight moved a little: changes of many exponents.
Pair random_pair(const network::Network& network, Draws& draws) {
  quantize::Configuration configuration;
  configuration.bits = static_cast<int>(draws.integer(2, 12));
  configuration.bias_bits = draws.chance(0.3) ? 8 : 0;
  Pair pair = make_pair(network, configuration);
  if (draws.chance(0.6)) return pair;
  for (std::size_t l = 0; l < pair.f.size(); ++l) {
    const auto move = [&](const std::vector<double>& from, std::vector<double>& to, std::vector<double>& change) {
      for (std::size_t i = 0; i < from.size(); ++i) {
        const double share = std::pow(10.0, draws.uniform(-17.0, -1.0)) * draws.normal();
        to[i] = draws.chance(0.3) ? from[i] : from[i] * (1.0 + share);
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
  const double scale = draws.chance(0.1) ? std::pow(10.0, static_cast<double>(draws.integer(-300, 8))) : 1.0;
  for (auto* ends : {&box.low, &box.high})
    for (double& value : *ends) value *= scale;
  return box;
}

std::vector<double> point_of(const Box& box, Draws& draws) {
  std::vector<double> x(box.low.size());
  const bool corner = draws.chance(0.6);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double share = corner ? (draws.chance(0.5) ? 0.0 : 1.0) : draws.uniform();
    x[i] = std::clamp(box.low[i] + share * (box.high[i] - box.low[i]), box.low[i], box.high[i]);
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
  return std::none_of(network.graph.nodes.begin(), network.graph.nodes.end(), [](const network::Node& node) {
    const auto* activation = std::get_if<network::Activation>(&node.op);
    return activation &&
           (activation->kind == network::ActivationKind::sigmoid || activation->kind == network::ActivationKind::tanh);
  });
}

struct Method {
  const char* name;
  std::function<PairBounds(const Pair&, const Box&)> run;
};
std::vector<Method> methods() {
  return {{"merged_crown", [](const Pair& pair, const Box& box) { return merged_crown(pair, box); }},
          {"difference_crown", [](const Pair& pair, const Box& box) { return difference_crown(pair, box); }},
          {"alpha_crown", [](const Pair& pair, const Box& box) { return alpha_crown(pair, box, 5); }}};
}

TEST(Crown, HoldsExactValuesAtEveryNode) {
  int checked = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.4, .smooth_probability = 0.1});
    network::Network network = random.network();
    if (!has_exact_values(network)) continue;
    Draws& draws = random.draws();
    if (draws.chance(0.2)) make_extreme(network, draws);
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    std::vector<std::vector<double>> points;
    for (int i = 0; i < 4; ++i) points.push_back(point_of(box, draws));
    for (const Method& method : methods()) {
      const PairBounds bounds = method.run(pair, box);
      for (const auto& x : points) {
        EXPECT_EQ(first_miss(pair, bounds, x), "") << method.name << ", seed " << seed;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 900);
}

TEST(Crown, HoldsValuesOfSigmoidsAndTanh) {
  // No exact values here: the forward pass in double, whose own error is far below the tolerance.
  int checked = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.3, .extreme_probability = 0.0, .smooth_probability = 0.9});
    const network::Network network = random.network();
    if (has_exact_values(network)) continue;
    Draws& draws = random.draws();
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    for (const Method& method : methods()) {
      const PairBounds bounds = method.run(pair, box);
      const Box& difference = bounds[pair.graph.output].difference;
      for (int point = 0; point < 20; ++point) {
        const auto x = point_of(box, draws);
        const auto f = network::forward(pair.graph, pair.f, x, 1), fq = network::forward(pair.graph, pair.fq, x, 1);
        for (std::size_t i = 0; i < f.size(); ++i) {
          const double tolerance = 1e-9 * (std::abs(f[i]) + std::abs(fq[i]) + 1.0);
          EXPECT_GE(fq[i] - f[i], difference.low[i] - tolerance) << method.name << ", seed " << seed;
          EXPECT_LE(fq[i] - f[i], difference.high[i] + tolerance) << method.name << ", seed " << seed;
          ++checked;
        }
      }
    }
  }
  EXPECT_GT(checked, 3000);
}

}  // namespace
}  // namespace quantbound::certify
