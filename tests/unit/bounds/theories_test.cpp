#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/bounds/bound_table.hpp"
#include "quantbound/bounds/path_products.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::bounds {
namespace {

using core::Upper;
using network::LayerParameters;
using network::Network;
using network::NodeId;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::NetworkBuilder;

struct Evaluation {
  Domain domain;
  std::vector<LayerNorms> norms;
  std::vector<QuantizedLayerNorms> quantized;
  BoundTable table;

  const TheoryResult& operator[](std::string_view name) const {
    return table.results[static_cast<std::size_t>(find_theory(name) - theories().data())];
  }
  double bound(std::string_view name) const { return (*this)[name].bound.value().to_double(); }
  double formula(std::string_view name) const { return std::pow(10.0, (*this)[name].formula.value().log10); }
};

Evaluation evaluate_pair(const Network& f, const std::vector<LayerParameters>& q, double radius) {
  const auto count = static_cast<std::size_t>(tensor::elements(f.graph.input_shape()));
  Evaluation e;
  e.domain = make_domain(f.graph, {std::vector<double>(count, -radius), std::vector<double>(count, radius)});
  const auto shapes = layer_shapes(f.graph);
  for (std::size_t l = 0; l < shapes.size(); ++l) {
    e.norms.push_back(measure_original(f.layers[l], shapes[l], 0));
    e.quantized.push_back(measure_pair(f.layers[l], e.norms[l], q[l], shapes[l], 0));
  }
  e.table = evaluate_norm_theories({f.graph, e.domain, e.norms, e.quantized});
  for (std::size_t t = 0; t < theories().size(); ++t) {
    const Theory& theory = theories()[t];
    if (theory.reads_weights()) e.table.results[t] = evaluate(theory, WeightInput{f.graph, e.domain, f.layers, q});
  }
  return e;
}

/// 1 -> 2 -> 1, ReLU, weights [2; -1], [3, 1]; quantized [2.5; -1], [3, 0.5].
struct HandPair {
  Network f;
  std::vector<LayerParameters> q;
};

HandPair hand_pair(double first_bias, double second_bias) {
  NetworkBuilder builder({1});
  const NodeId hidden = builder.relu(builder.dense(0, {2.0, -1.0}, {first_bias, 0.0}));
  HandPair pair{builder.finish(builder.dense(hidden, {3.0, 1.0}, {second_bias})), {}};
  pair.q = pair.f.layers;
  pair.q[0].weights = {2.5, -1.0};
  pair.q[1].weights = {3.0, 0.5};
  return pair;
}

TEST(Theories, TwoLayersByHandWithoutBiases) {
  const HandPair pair = hand_pair(0.0, 0.0);

  const Evaluation e = evaluate_pair(pair.f, pair.q, 2.0);

  // D = 2, eta = 0.5, norms ||W_1|| = 2, ||W'_1|| = 2.5, ||W_2|| = 4, ||W'_2|| = 3.5: r_1 = 2.5, r_2 = 4.
  EXPECT_NEAR(e.bound("gonon"), 3 * 2 * 4 * 4 * 0.5, 1e-9);           // (D+1) N L^2 r eta
  EXPECT_NEAR(e.bound("houache_mean"), 2 * (1 + 2) * 4 * 0.5, 1e-9);  // max(P_1 = 4, P_2 = 2.5)
  EXPECT_NEAR(e.bound("houache_conv"), 2 * (1 + 2) * 4 * 0.5, 1e-9);
  EXPECT_NEAR(e.bound("houache_layerwise"), 2 * (1 * 0.5 * 4 + 2 * 0.5 * 2.5), 1e-9);
  EXPECT_NEAR(e.bound("operator_norm"), 4 * (0.5 * 2) + 0.5 * 5, 1e-9);
  EXPECT_NEAR(e.bound("berner"), 2 * 2 * 3 * 9 * 0.5, 1e-9);  // N = 2, R = 3
  // z_1 = (5, 2), e_1 = (1, 0); e_2 = 3 * 1 + 1 * 0 + 0 * 5 + 0.5 * 2.
  EXPECT_NEAR(e.bound("absolute_product"), 4.0, 1e-9);
  // F(W) = 3 * 4 + 2, F(W') = 3 * 5 + 1, F(m) = 3 * 4 + 1: 14 + 16 - 26.
  EXPECT_NEAR(e.bound("path_metric"), 4.0, 1e-9);
  // ||W_1|| <= sqrt(3 * 2), ||W_2|| = sqrt(10) <= sqrt(3 * 4); Frobenius sqrt(5) and sqrt(10).
  const double w2 = std::sqrt(10.0), q1 = std::min(std::sqrt(5.0) + 0.5, std::sqrt(2.5 * 2.5 + 1.0));
  EXPECT_NEAR(e.bound("neyshabur"), 2.0 * (w2 * 0.5 + 0.5 * q1), 1e-9);
  EXPECT_THAT(e.table.norms.r, ElementsAre(DoubleNear(2.5, 1e-12), DoubleNear(4.0, 1e-12)));
  EXPECT_NEAR(e.table.norms.r_mean, 4.0, 1e-12);
  EXPECT_NEAR(e.table.norms.r_conv, 4.0, 1e-12);
}

TEST(Theories, BiasesEnterTheAugmentedNorms) {
  const HandPair pair = hand_pair(10.0, 1.0);

  const Evaluation e = evaluate_pair(pair.f, pair.q, 2.0);

  EXPECT_THAT(e.table.norms.r, ElementsAre(DoubleNear(12.5, 1e-12), DoubleNear(5.0, 1e-12)));
  EXPECT_NEAR(e.bound("houache_mean"), 2 * 3 * 12.5 * 0.5, 1e-9);  // P_1 = r_2 = 5, P_2 = r_1 = 12.5
  EXPECT_NEAR(e.bound("gonon"), 3 * 2 * 4 * 10 * 0.5, 1e-9);       // r = |b_1| = 10
  EXPECT_FALSE(e["houache_conv"].applicable());
  EXPECT_THAT(e["houache_conv"].reason, HasSubstr("biases"));
  EXPECT_NEAR(e.formula("houache_conv"), 2 * 3 * 4 * 0.5, 1e-9);  // the formula is taken literally all the same
}

TEST(Theories, AMovedBiasIsNotLostBehindATinyLayer) {
  // W_1 is nearly zero, so P_2 = r_1 is too; the moved second bias still costs its full size.
  NetworkBuilder builder({1});
  const NodeId hidden = builder.relu(builder.dense(0, {1e-6}, {0.0}));
  const Network f = builder.finish(builder.dense(hidden, {1.0}, {0.0}));
  std::vector<LayerParameters> q = f.layers;
  q[1].bias = {0.5};

  const Evaluation e = evaluate_pair(f, q, 1.0);

  for (const std::string_view name : {"gonon", "berner", "neyshabur", "houache_mean", "houache_layerwise",
                                      "operator_norm", "absolute_product", "path_metric"}) {
    EXPECT_GE(e.bound(name), 0.5) << name;
  }
}

TEST(Theories, OneLayerHasEmptyProducts) {
  NetworkBuilder builder({2});
  const Network f = builder.finish(builder.dense(0, {1.0, 2.0}, {0.0}));
  std::vector<LayerParameters> q = f.layers;
  q[0].weights = {1.25, 2.0};

  const Evaluation e = evaluate_pair(f, q, 3.0);

  EXPECT_NEAR(e.bound("houache_mean"), 3 * 2 * 0.25, 1e-12);
  EXPECT_NEAR(e.bound("houache_conv"), 3 * 2 * 0.25, 1e-12);
  EXPECT_NEAR(e.bound("operator_norm"), 3 * 0.25, 1e-12);
  EXPECT_NEAR(e.table.norms.r_mean, 3.25, 1e-12);
  EXPECT_NEAR(e.table.norms.r_conv, 3.25, 1e-12);
}

TEST(Theories, ResidualBlockAddsItsGainsToOne) {
  // y = x + 2 relu(3 x): a block of branch gain 6 and skip 1, then a dense layer of norm 1.
  NetworkBuilder builder({1});
  const NodeId inner = builder.relu(builder.dense(0, {3.0}, {0.0}));
  const NodeId branch = builder.dense(inner, {2.0}, {0.0});
  const NodeId sum = builder.add(network::Add{}, {branch, 0});
  const Network f = builder.finish(builder.dense(sum, {1.0}, {0.0}));
  std::vector<LayerParameters> q = f.layers;
  q[2].weights = {1.5};

  const Evaluation e = evaluate_pair(f, q, 1.0);

  EXPECT_NEAR(e.bound("operator_norm"), 0.5 * 7, 1e-12);
  EXPECT_NEAR(e.bound("houache_conv"), 1 * 3 * 0.5 * std::max(7.0, 3 * 1.5), 1e-12);  // max over l of T_l H_l, n = 3
  const std::vector<Upper> gains{Upper(3.0), Upper(2.0), Upper(1.5)};
  const PathProducts products = path_products(f.graph, e.domain, gains, Constants::none);
  EXPECT_EQ(products.head[2].to_double(), 7.0);
  EXPECT_EQ(products.tail[0].to_double(), 3.0);
  EXPECT_EQ(products.tail[1].to_double(), 1.5);
}

TEST(PathProducts, AValueAddedToItselfCountsTwice) {
  NetworkBuilder builder({1});
  const NodeId layer = builder.dense(0, {3.0}, {0.0});
  const Network f = builder.finish(builder.add(network::Add{}, {layer, layer}));
  const Domain domain = make_domain(f.graph, {{-1.0}, {1.0}});
  EXPECT_EQ(path_products(f.graph, domain, Upper(3.0), Constants::none).tail[0].to_double(), 2.0);
}

TEST(PathProducts, ConcatenationTakesTheLargerAndPoolingChangesNothing) {
  NetworkBuilder builder({1, 2, 2});
  tensor::Convolution geometry;
  geometry.height = geometry.width = 2;
  const NodeId left = builder.convolution(0, geometry, {4.0}, {0.0});
  const NodeId right = builder.convolution(0, geometry, {-5.0}, {0.0});
  const NodeId joined = builder.add(network::Concat{0}, {left, right});
  tensor::Window window{2, 2, 1, 1, 0, 0, 0, 0, 1, 1};
  const NodeId pooled = builder.add(network::MaxPool{window}, {joined});
  const Network f = builder.finish(builder.dense(pooled, {1.0, 1.0}, {0.0}));
  const Domain domain = make_domain(f.graph, {std::vector<double>(4, -1.0), std::vector<double>(4, 1.0)});
  const std::vector<Upper> gains{Upper(4.0), Upper(5.0), Upper(2.0)};
  const PathProducts products = path_products(f.graph, domain, gains, Constants::none);
  EXPECT_EQ(products.head[2].to_double(), 5.0);
  EXPECT_EQ(products.tail[0].to_double(), 2.0);
  EXPECT_EQ(products.tail[1].to_double(), 2.0);
}

TEST(Theories, WhatBreaksAnAssumptionIsNamedAndNotANumber) {
  NetworkBuilder builder({2});
  const NodeId gate = builder.activation(builder.dense(0, {1, 0, 0, 1}, {0, 0}), network::ActivationKind::sigmoid);
  const NodeId value = builder.dense(0, {1, 2, 3, 4}, {0, 0});
  const Network f = builder.finish(builder.add(network::Product{}, {gate, value}));
  const Evaluation e = evaluate_pair(f, f.layers, 1.0);
  for (const TheoryResult& result : e.table.results) {
    EXPECT_FALSE(result.applicable());
    EXPECT_THAT(result.reason, HasSubstr("node "));
  }

  NetworkBuilder smooth({2});
  const NodeId hidden = smooth.activation(smooth.dense(0, {1, 0, 0, 1}, {0, 0}), network::ActivationKind::sigmoid);
  const Network g = smooth.finish(smooth.dense(hidden, {1, 1}, {0}));
  const Evaluation s = evaluate_pair(g, g.layers, 1.0);
  for (const std::string_view name :
       {"gonon", "berner", "neyshabur", "houache_mean", "houache_conv", "houache_layerwise", "path_metric"}) {
    EXPECT_FALSE(s[name].applicable()) << name;
    EXPECT_THAT(s[name].reason, HasSubstr("0 to 0")) << name;
  }
  EXPECT_TRUE(s["operator_norm"].applicable());
  EXPECT_TRUE(s["absolute_product"].applicable());
}

TEST(Theories, PathMetricNeedsHomogeneousActivationsAndKeptSigns) {
  NetworkBuilder builder({1});
  const NodeId hidden = builder.activation(builder.dense(0, {1.0}, {0.0}), network::ActivationKind::clip, 0.0, 6.0);
  const Network f = builder.finish(builder.dense(hidden, {1.0}, {0.0}));
  EXPECT_THAT(evaluate_pair(f, f.layers, 1.0)["path_metric"].reason, HasSubstr("Clip"));

  const HandPair pair = hand_pair(0.0, 0.0);
  std::vector<LayerParameters> flipped = pair.q;
  flipped[1].weights[1] = -0.1;
  EXPECT_THAT(evaluate_pair(pair.f, flipped, 1.0)["path_metric"].reason, HasSubstr("sign in layer 1"));
}

TEST(Theories, SaturationLimitsWhatReachesTheNextLayer) {
  NetworkBuilder builder({1});
  const NodeId hidden = builder.activation(builder.dense(0, {100.0}, {0.0}), network::ActivationKind::clip, 0.0, 6.0);
  const Network f = builder.finish(builder.dense(hidden, {1.0}, {0.0}));
  std::vector<LayerParameters> q = f.layers;
  q[1].weights = {1.5};
  const Evaluation e = evaluate_pair(f, q, 1.0);
  EXPECT_NEAR(e.bound("operator_norm"), 0.5 * 6, 1e-12);
  EXPECT_NEAR(e.bound("absolute_product"), 0.5 * 6, 1e-12);
}

TEST(Theories, ShiftsBehindWeightsCountAsConstants) {
  // y = 2 (w x) + 3, then a dense layer: s = 2 * 4 + 3 = 11.
  NetworkBuilder builder({1});
  const NodeId affine = builder.add(network::ScaleShift{{2.0}, {3.0}}, {builder.dense(0, {4.0}, {0.0})});
  const Network f = builder.finish(builder.dense(affine, {1.0}, {0.0}));
  std::vector<LayerParameters> q = f.layers;
  q[1].weights = {1.25};
  const Evaluation e = evaluate_pair(f, q, 1.0);
  EXPECT_NEAR(e.bound("operator_norm"), 0.25 * 11, 1e-12);
  EXPECT_NEAR(e.bound("absolute_product"), 0.25 * 11, 1e-12);
  EXPECT_FALSE(e["houache_conv"].applicable());
  EXPECT_THAT(e["houache_conv"].reason, HasSubstr("constant"));
  EXPECT_GE(e.bound("gonon"), 0.25 * 11);
}

TEST(Theories, DomainStartsBehindTheNormalisation) {
  NetworkBuilder builder({1});
  const NodeId affine = builder.add(network::ScaleShift{{0.5}, {-1.0}}, {0});
  const Network f = builder.finish(builder.dense(affine, {1.0}, {0.0}));
  const Domain domain = make_domain(f.graph, {{0.0}, {1.0}});
  EXPECT_EQ(domain.radius, 1.0);  // [-1, -0.5]
  std::vector<LayerParameters> q = f.layers;
  q[0].weights = {1.5};
  EXPECT_NEAR(evaluate_pair(f, q, 1.0).bound("operator_norm"), 0.5 * 1.5, 1e-12);
}

TEST(Theories, AveragePoolingShrinksTheEuclideanBound) {
  NetworkBuilder builder({1, 4, 4});
  tensor::Convolution geometry;
  geometry.height = geometry.width = 4;
  const NodeId convolution = builder.convolution(0, geometry, {1.0}, {0.0});
  const Network f = builder.finish(builder.add(network::GlobalAveragePool{}, {convolution}));
  std::vector<LayerParameters> q = f.layers;
  q[0].weights = {1.5};
  // ||x||_2 <= sqrt(16), ||dW||_2 = 0.5, ||average of 16||_2 = 1 / 4.
  EXPECT_NEAR(evaluate_pair(f, q, 1.0).bound("neyshabur"), 0.5, 1e-12);

  NetworkBuilder pooled({1, 4, 4});
  const NodeId first = pooled.convolution(0, geometry, {1.0}, {0.0});
  tensor::Window window{3, 3, 1, 1, 1, 1, 1, 1, 1, 1};
  const Network g = pooled.finish(pooled.add(network::MaxPool{window}, {first}));
  EXPECT_NEAR(evaluate_pair(g, q, 1.0).bound("neyshabur"), 4.0 * 0.5 * 3.0, 1e-9);  // nine windows hold an element
}

TEST(Theories, RegistryNamesAreUniqueAndFoundAndDescribed) {
  EXPECT_GE(theories().size(), 9u);
  for (const Theory& theory : theories()) {
    EXPECT_EQ(find_theory(theory.name), &theory);
    EXPECT_FALSE(theory.equation.empty());
    EXPECT_EQ(theory.reads_weights(), theory.passes > 0);
  }
  EXPECT_EQ(find_theory("houache"), nullptr);
}

TEST(Theories, FormulasAreLiteral) {
  const HandPair pair = hand_pair(10.0, 1.0);
  const Evaluation e = evaluate_pair(pair.f, pair.q, 2.0);
  EXPECT_NEAR(e.formula("gonon"), 3 * 2 * 4 * 10 * 0.5, 1e-9);
  EXPECT_NEAR(e.formula("berner"), 2 * 4 * 9 * 10 * 0.5, 1e-9);
  EXPECT_NEAR(e.formula("houache_mean"), 2 * 3 * 12.5 * 0.5, 1e-9);
  EXPECT_NEAR(e.formula("houache_layerwise"), 2 * (1 * 0.5 * 5 + 2 * 0.5 * 12.5), 1e-9);
  const double w1 = std::sqrt(5.0), w2 = std::sqrt(10.0);
  EXPECT_NEAR(e.formula("neyshabur"), std::exp(1.0) * 2.0 * w1 * w2 * (0.5 / w1 + 0.5 / w2), 1e-8);
  EXPECT_FALSE(e["operator_norm"].formula);
  EXPECT_FALSE(e["absolute_product"].formula);
}

TEST(Theories, DenseCountOfADepthwiseConvolutionIsInTheFormulaOnly) {
  NetworkBuilder builder({4, 3, 3});
  tensor::Convolution geometry{4, 3, 3, 4, 4, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1}};
  const Network f =
      builder.finish(builder.convolution(0, geometry, std::vector<double>(36, 1.0), std::vector<double>(4, 0.0)));
  std::vector<LayerParameters> q = f.layers;
  q[0].weights[0] = 1.5;
  const Evaluation e = evaluate_pair(f, q, 1.0);
  EXPECT_NEAR(e.bound("houache_conv"), 9 * 0.5, 1e-12);
  EXPECT_NEAR(e.formula("houache_conv"), 36 * 0.5, 1e-12);
}

TEST(Theories, CostCountsPassesOverAllPositions) {
  NetworkBuilder builder({1, 4, 4});
  tensor::Convolution geometry{1, 4, 4, 2, 1, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1}};
  const Network f = builder.finish(builder.convolution(0, geometry, std::vector<double>(18, 1.0), {0.0, 0.0}));
  EXPECT_EQ(multiply_adds(*find_theory("absolute_product"), f.graph), 3.0 * 18 * 16);
  EXPECT_EQ(multiply_adds(*find_theory("gonon"), f.graph), 0.0);
}

}  // namespace
}  // namespace quantbound::bounds
