// The chain of docs/theory.md 9.1 on random networks of every kind that the theories treat, and no bound below what f_q
// does.
#include <cmath>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/bounds/bound_table.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../support/evaluation.hpp"
#include "../support/network_builder.hpp"
#include "../support/unrolled.hpp"

namespace quantbound {
namespace {

using bounds::TheoryResult;
using core::Upper;
using network::Index;
using testing::Draws;
using testing::NetworkKind;
using testing::points;
using testing::random_configuration;
using testing::RandomNetwork;
using testing::rounding_error;

struct Case {
  network::Network f;
  network::Box box;
  quantize::Configuration configuration;
  std::vector<network::LayerParameters> quantized;
  bounds::Domain domain;
  std::vector<bounds::LayerNorms> norms;
  std::vector<bounds::QuantizedLayerNorms> quantized_norms;
  std::vector<TheoryResult> results;  ///< in the order of theories()

  const TheoryResult& operator[](std::string_view name) const {
    return results[static_cast<std::size_t>(bounds::find_theory(name) - bounds::theories().data())];
  }
};

void evaluate_all(Case& c) {
  c.domain = bounds::make_domain(c.f.graph, c.box);
  const auto shapes = bounds::layer_shapes(c.f.graph);
  for (std::size_t l = 0; l < shapes.size(); ++l) {
    const auto layer = static_cast<Index>(l);
    const auto here = quantize::at_layer(c.configuration, layer, std::ssize(shapes));
    const bounds::LayerReport report = bounds::measure_layer(c.f.layers[l], shapes[l], layer, std::span(&here, 1));
    c.norms.push_back(report.norms);
    c.quantized_norms.push_back(report.quantized.front());
  }
  c.results = bounds::evaluate_norm_theories({c.f.graph, c.domain, c.norms, c.quantized_norms}).results;
  for (std::size_t t = 0; t < c.results.size(); ++t) {
    const bounds::Theory& theory = bounds::theories()[t];
    if (!theory.reads_weights()) continue;
    c.results[t] = evaluate(theory, bounds::WeightInput{c.f.graph, c.domain, c.f.layers, c.quantized});
  }
}

Case random_case(std::uint64_t seed, const NetworkKind& kind) {
  RandomNetwork random(seed, kind);
  Case c;
  c.f = random.network();
  c.box = testing::box_around(tensor::elements(c.f.graph.input_shape()), random.draws());
  c.configuration = random_configuration(random.draws());
  c.quantized = quantize::quantize_layers(c.f.layers, c.configuration);
  evaluate_all(c);
  return c;
}

/// a >= b up to the roundings upward of b.
bool dominates(const TheoryResult& a, const TheoryResult& b) {
  if (!a.applicable() || !b.applicable()) return true;
  return *a.bound * Upper(1.0 + 1e-9) >= *b.bound;
}

bool has_max_pool(const network::Graph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [](const network::Node& node) { return std::holds_alternative<network::MaxPool>(node.op); });
}

TEST(Theories, ChainHoldsOnTenThousandRandomNetworksAndNoDeviationExceedsABound) {
  omp_set_num_threads(1);  // regions this small are faster alone; no bit depends on it
  constexpr std::uint64_t count = 10000;
  std::vector<int> applicable(bounds::theories().size());
  int deviations = 0;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const Case c = random_case(seed, {});
    SCOPED_TRACE("seed " + std::to_string(seed) + " " + label(c.configuration));
    for (std::size_t t = 0; t < applicable.size(); ++t) {
      applicable[t] += c.results[t].applicable() ? 1 : 0;
      ASSERT_EQ(c.results[t].applicable(), c.results[t].reason.empty());
    }

    ASSERT_TRUE(dominates(c["houache_mean"], c["houache_layerwise"]));
    ASSERT_TRUE(dominates(c["houache_layerwise"], c["operator_norm"]));
    ASSERT_TRUE(dominates(c["houache_conv"], c["operator_norm"]));
    ASSERT_TRUE(dominates(c["gonon"], c["operator_norm"]));
    ASSERT_TRUE(dominates(c["berner"], c["operator_norm"]));
    ASSERT_TRUE(dominates(c["operator_norm"], c["absolute_product"]));
    if (!has_max_pool(c.f.graph)) {
      ASSERT_TRUE(dominates(c["absolute_product"], c["path_metric"]));
    }

    constexpr Index batch = 30;
    Draws draws(seed, "points");
    const std::vector<double> samples = points(c.box, batch, draws);
    const auto y = network::forward(c.f.graph, c.f.layers, samples, batch);
    const auto y_q = network::forward(c.f.graph, c.quantized, samples, batch);
    const auto error = rounding_error(c.f, c.f.layers, c.box), error_q = rounding_error(c.f, c.quantized, c.box);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t output = i % error.size();
      const double deviation = std::abs(y_q[i] - y[i]) - (error[output] + error_q[output]);
      if (!(deviation > 0.0)) continue;
      ++deviations;
      for (std::size_t t = 0; t < applicable.size(); ++t) {
        const TheoryResult& result = c.results[t];
        if (!result.applicable()) continue;
        ASSERT_LE(deviation, result.bound->to_double()) << bounds::theories()[t].name;
        if (!result.outputs.values.empty()) {
          ASSERT_LE(deviation, result.outputs.at(output).to_double()) << bounds::theories()[t].name;
        }
      }
    }
  }
  for (std::size_t t = 0; t < applicable.size(); ++t) {
    EXPECT_GT(applicable[t], 500) << bounds::theories()[t].name;  // the test says something about every theory
  }
  EXPECT_GT(deviations, 100000);
}

TEST(Theories, AbsoluteProductOfAConvolutionalNetworkIsThatOfItsUnrolledMatrices) {
  NetworkKind kind;
  kind.image_probability = 1.0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Case c = random_case(100000 + seed, kind);
    SCOPED_TRACE(seed);
    const network::Graph graph = testing::unrolled_graph(c.f.graph);
    const auto original = testing::unrolled_layers(c.f.graph, c.f.layers);
    const auto quantized = testing::unrolled_layers(c.f.graph, c.quantized);
    const bounds::Domain domain = bounds::make_domain(graph, c.box);

    for (const std::string_view name : {"absolute_product", "path_metric"}) {
      const TheoryResult matrix =
          evaluate(*bounds::find_theory(name), bounds::WeightInput{graph, domain, original, quantized});
      const TheoryResult& image = c[name];

      ASSERT_EQ(matrix.applicable(), image.applicable());
      if (!matrix.applicable()) continue;
      ASSERT_EQ(matrix.outputs.values.size(), image.outputs.values.size());
      for (std::size_t i = 0; i < matrix.outputs.values.size(); ++i) {
        const double a = matrix.outputs.at(i).log10(), b = image.outputs.at(i).log10();
        if (std::isinf(a) && std::isinf(b)) continue;
        if (matrix.outputs.at(i) * Upper(1e290) < *matrix.bound && image.outputs.at(i) * Upper(1e290) < *image.bound)
          continue;
        ASSERT_NEAR(a, b, 1e-10) << name;
      }
    }
  }
}

TEST(Theories, EqualWeightsGiveBoundsOfExactlyZero) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    RandomNetwork random(200000 + seed);
    Case c;
    c.f = random.network();
    c.box = testing::box_around(tensor::elements(c.f.graph.input_shape()), random.draws());
    c.quantized = c.f.layers;
    c.domain = bounds::make_domain(c.f.graph, c.box);
    const auto shapes = bounds::layer_shapes(c.f.graph);
    for (std::size_t l = 0; l < shapes.size(); ++l) {
      const auto layer = static_cast<Index>(l);
      c.norms.push_back(bounds::measure_original(c.f.layers[l], shapes[l], layer));
      c.quantized_norms.push_back(bounds::measure_pair(c.f.layers[l], c.norms[l], c.f.layers[l], shapes[l], layer));
    }
    for (const bounds::Theory& theory : bounds::theories()) {
      const TheoryResult result =
          theory.reads_weights() ? evaluate(theory, bounds::WeightInput{c.f.graph, c.domain, c.f.layers, c.quantized})
                                 : evaluate(theory, bounds::NormInput{c.f.graph, c.domain, c.norms, c.quantized_norms});
      if (result.applicable()) {
        EXPECT_TRUE(result.bound->is_zero()) << theory.name << " seed " << seed;
      }
    }
  }
}

/// Rows of layer l times d_i, columns of layer l + 1 divided by d_i: the same function for ReLU.
void rescale(std::vector<network::LayerParameters>& layers, std::size_t layer, std::span<const double> factors) {
  const std::size_t hidden = layers[layer].bias.size(), columns = layers[layer].weights.size() / hidden;
  for (std::size_t i = 0; i < hidden; ++i) {
    layers[layer].bias[i] *= factors[i];
    for (std::size_t j = 0; j < columns; ++j) layers[layer].weights[i * columns + j] *= factors[i];
  }
  for (std::size_t i = 0; i < layers[layer + 1].weights.size(); ++i)
    layers[layer + 1].weights[i] /= factors[i % hidden];
}

TEST(Theories, AbsoluteProductAndPathMetricAreInvariantUnderRescalingAndHouacheIsNot) {
  testing::NetworkBuilder builder({4});
  Draws draws(1, "rescaling");
  const auto normals = [&](std::size_t count) {
    std::vector<double> values(count);
    for (double& value : values) value = draws.normal();
    return values;
  };
  testing::NodeId node = builder.relu(builder.dense(0, normals(24), normals(6)));
  node = builder.relu(builder.dense(node, normals(30), normals(5)));
  const network::Network f = builder.finish(builder.dense(node, normals(15), normals(3)));
  Case before;
  before.f = f;
  before.box = {std::vector<double>(4, -0.5), std::vector<double>(4, 1.0)};
  before.configuration = {.quantizer = quantize::Quantizer::floor, .bits = 4};
  before.quantized = quantize::quantize_layers(f.layers, before.configuration);
  const bounds::Domain domain = bounds::make_domain(f.graph, before.box);
  auto original = f.layers;
  auto quantized = before.quantized;
  const std::vector<double> first{4.0, 0.5, 64.0, 1.0, 0.125, 2.0}, second{0.25, 8.0, 1.0, 16.0, 2.0};
  for (auto* layers : {&original, &quantized}) {
    rescale(*layers, 0, first);
    rescale(*layers, 1, second);
  }

  for (const std::string_view name : {"absolute_product", "path_metric"}) {
    const bounds::Theory& theory = *bounds::find_theory(name);
    const TheoryResult a = evaluate(theory, bounds::WeightInput{f.graph, domain, f.layers, before.quantized});
    const TheoryResult b = evaluate(theory, bounds::WeightInput{f.graph, domain, original, quantized});
    ASSERT_TRUE(a.applicable());
    EXPECT_NEAR(a.bound->log10(), b.bound->log10(), 1e-12) << name;
  }
  const auto houache = [&](const std::vector<network::LayerParameters>& w,
                           const std::vector<network::LayerParameters>& q) {
    std::vector<bounds::LayerNorms> norms;
    std::vector<bounds::QuantizedLayerNorms> pair;
    const auto shapes = bounds::layer_shapes(f.graph);
    for (std::size_t l = 0; l < w.size(); ++l) {
      norms.push_back(bounds::measure_original(w[l], shapes[l], 0));
      pair.push_back(bounds::measure_pair(w[l], norms.back(), q[l], shapes[l], 0));
    }
    return evaluate(*bounds::find_theory("houache_mean"), bounds::NormInput{f.graph, domain, norms, pair})
        .bound->log10();
  };
  EXPECT_GT(std::abs(houache(f.layers, before.quantized) - houache(original, quantized)), 0.1);
}

TEST(Theories, AThousandLayersNeitherOverflowNorVanish) {
  for (const double scale : {1e-30, 0.1, 1.0, 1e30}) {
    testing::NetworkBuilder builder({3});
    Draws draws(7, "depth");
    testing::NodeId node = 0;
    for (int layer = 0; layer < 1000; ++layer) {
      std::vector<double> weights(9), bias(3);
      for (double& w : weights) w = scale * draws.normal();
      for (double& b : bias) b = scale * draws.normal();
      node = builder.dense(node, weights, bias);
      if (layer < 999) node = builder.relu(node);
    }
    Case c;
    c.f = builder.finish(node);
    c.box = {std::vector<double>(3, -1.0), std::vector<double>(3, 1.0)};
    c.configuration = {.quantizer = quantize::Quantizer::round, .bits = 4};
    c.quantized = quantize::quantize_layers(c.f.layers, c.configuration);

    evaluate_all(c);

    for (std::size_t t = 0; t < c.results.size(); ++t) {
      if (!c.results[t].applicable()) continue;
      EXPECT_TRUE(std::isfinite(c.results[t].bound->log10())) << bounds::theories()[t].name << " scale " << scale;
      EXPECT_FALSE(c.results[t].bound->is_zero());
    }
    EXPECT_TRUE(dominates(c["houache_layerwise"], c["operator_norm"]));
    EXPECT_TRUE(dominates(c["operator_norm"], c["absolute_product"]));
    EXPECT_TRUE(dominates(c["absolute_product"], c["path_metric"]));
    EXPECT_GT(c["gonon"].bound->log10(), scale == 1e30 ? 29000.0 : -40.0);
  }
}

}  // namespace
}  // namespace quantbound
