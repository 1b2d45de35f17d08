// What is proved of the pair (f equalized, f_q) holds for (f, f_q): bounds and certificates computed from the equalized
// weights against the deviation from the network as it was, both in rational arithmetic.
#include "quantbound/quantize/equalization.hpp"

#include <cmath>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/bounds/bound_table.hpp"
#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/certify/pair.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../support/random_pair.hpp"

namespace quantbound {
namespace {

using network::LayerParameters;
using network::Network;
using testing::Draws;
using testing::ExactForward;
using testing::Rational;

/// f, its equalized form, and what that is quantized to.
struct Case {
  Network f;
  std::vector<LayerParameters> equalized, quantized;
  std::vector<double> steps;
  network::Box box;
  int scaled_channels = 0;
};

/// Rows of very different sizes, so that there is something to equalize.
void unbalance(Network& network, Draws& draws) {
  for (LayerParameters& layer : network.layers) {
    const std::size_t columns = layer.weights.size() / layer.bias.size();
    for (std::size_t i = 0; i < layer.bias.size(); ++i) {
      const double scale = std::exp(2.0 * draws.normal());
      layer.bias[i] *= scale;
      for (std::size_t j = i * columns; j < (i + 1) * columns; ++j) layer.weights[j] *= scale;
    }
  }
}

Case random_case(std::uint64_t seed) {
  testing::NetworkKind kind;
  kind.smooth_probability = 0.0;
  testing::RandomNetwork random(seed, kind);
  Case c;
  c.f = random.network();
  Draws& draws = random.draws();
  unbalance(c.f, draws);
  if (draws.chance(0.2)) testing::make_extreme(c.f, draws);
  const auto found = quantize::find_equalization(c.f.graph, c.f.layers);
  for (const auto& link : found.exponents)
    c.scaled_channels += static_cast<int>(std::ranges::count_if(link, [](int e) { return e != 0; }));
  c.equalized = quantize::equalized(c.f.graph, c.f.layers, found);
  const quantize::Configuration configuration = testing::random_configuration(draws);
  c.quantized = quantize::quantize_layers(c.equalized, configuration);
  for (std::size_t l = 0; l < c.equalized.size(); ++l) {
    const auto here = quantize::at_layer(configuration, static_cast<network::Index>(l), std::ssize(c.equalized));
    double& step = c.steps.emplace_back(0.0);
    for (const auto& grid : quantize::choose_grids(c.equalized[l], here).weights) step = std::max(step, grid.step);
  }
  c.box = testing::box_around(tensor::elements(c.f.graph.input_shape()), draws);
  return c;
}

std::vector<bounds::TheoryResult> all_theories(const Case& c) {
  std::vector<bounds::GivenLayer> given;
  for (std::size_t l = 0; l < c.quantized.size(); ++l) given.push_back({c.quantized[l], c.steps[l]});
  const auto norms = bounds::measure_network(c.f.graph, c.equalized, given);
  const auto domain = bounds::make_domain(c.f.graph, c.box);
  auto results = bounds::evaluate_norm_theories({c.f.graph, domain, norms.layers, norms.quantized}).results;
  for (std::size_t t = 0; t < results.size(); ++t) {
    const bounds::Theory& theory = bounds::theories()[t];
    if (theory.reads_weights())
      results[t] = evaluate(theory, bounds::WeightInput{c.f.graph, domain, c.equalized, c.quantized});
  }
  return results;
}

certify::PairBox certificate(const Case& c) {
  Network original = c.f, quantized = c.f;
  original.layers = c.equalized;
  quantized.layers = c.quantized;
  return certify::difference_interval(certify::make_pair(original, quantized), c.box)
      .nodes[static_cast<std::size_t>(c.f.graph.output)];
}

TEST(Equalization, BoundsAndCertificatesOfTheEqualizedPairHoldForTheNetworkAsItWas) {
  omp_set_num_threads(1);
  int scaled = 0, checked = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    const Case c = random_case(seed);
    scaled += c.scaled_channels > 0 ? 1 : 0;
    const auto theories = all_theories(c);
    const certify::PairBox proved = certificate(c);
    Draws draws(seed, "points");
    for (int point = 0; point < 2; ++point) {
      const auto x = testing::point_of(c.box, draws);
      const auto y = ExactForward(c.f.graph, c.f.layers).run(x)[static_cast<std::size_t>(c.f.graph.output)];
      const auto y_q = ExactForward(c.f.graph, c.quantized).run(x)[static_cast<std::size_t>(c.f.graph.output)];
      for (std::size_t i = 0; i < y.size(); ++i) {
        const Rational deviation = y_q[i] - y[i];
        ASSERT_TRUE(testing::holds(proved.f.low[i], proved.f.high[i], y[i]));
        ASSERT_TRUE(testing::holds(proved.difference.low[i], proved.difference.high[i], deviation));
        for (std::size_t t = 0; t < theories.size(); ++t) {
          if (!theories[t].applicable()) continue;
          const double bound = theories[t].bound->to_double();
          ASSERT_TRUE(testing::holds(-bound, bound, deviation)) << bounds::theories()[t].name;
          ++checked;
        }
      }
    }
  }
  EXPECT_GT(scaled, 100);
  EXPECT_GT(checked, 5000);
}

}  // namespace
}  // namespace quantbound
