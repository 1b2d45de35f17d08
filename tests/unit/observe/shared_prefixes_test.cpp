#include "../../../src/observe/shared_prefixes.hpp"

#include <cmath>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/network/families.hpp"
#include "quantbound/observe/samples.hpp"

#include "../../../src/observe/shared_evaluation.hpp"

namespace quantbound::observe::detail {
namespace {

using network::Family;
using network::Network;
using ::testing::ElementsAre;

Network mlp(Index inputs) {
  return network::make_network({.family = Family::mlp, .depth = 4, .width = 16, .inputs = inputs, .outputs = 3});
}

std::vector<Index> representatives(const SharedPrefixes& prefixes, Index layers) {
  std::vector<Index> result;
  for (Index v = 0; v < prefixes.variants(); ++v) result.push_back(prefixes.representative(v, layers));
  return result;
}

/// 2, 3, 4 bits inside, 8 bits at the ends; 4 bits again; 8 bits throughout.
const std::vector<Configuration> edges{{.bits = 2, .edge_bits = 8},
                                       {.bits = 3, .edge_bits = 8},
                                       {.bits = 4, .edge_bits = 8},
                                       {.bits = 4, .edge_bits = 8},
                                       {.bits = 8}};

TEST(SharedPrefixes, FindWhatBeginsWithTheSameWeights) {
  const Network network = mlp(20);
  const SharedPrefixes prefixes(Variants(network.layers, edges));
  EXPECT_THAT(representatives(prefixes, 0), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(representatives(prefixes, 1), ElementsAre(0, 1, 1, 1, 1, 1));
  EXPECT_THAT(representatives(prefixes, 2), ElementsAre(0, 1, 2, 3, 3, 5));
  EXPECT_THAT(representatives(prefixes, 4), ElementsAre(0, 1, 2, 3, 3, 5));
  EXPECT_EQ(prefixes.distinct(1), 2);
  EXPECT_EQ(prefixes.distinct(4), 5);
}

TEST(SharedPrefixes, SeedsOfADeterministicQuantizerAreOne) {
  const Network network = mlp(20);
  const std::vector<Configuration> seeds{{.seed = 1},
                                         {.seed = 2},
                                         {.quantizer = quantize::Quantizer::stochastic, .seed = 1},
                                         {.quantizer = quantize::Quantizer::stochastic, .seed = 2}};
  EXPECT_THAT(representatives(SharedPrefixes(Variants(network.layers, seeds)), 4), ElementsAre(0, 1, 1, 3, 4));
}

TEST(SharedPrefixes, WeightsOnTheGridShareWithF) {
  Network network = mlp(20);
  for (double& w : network.layers[0].weights) w = std::nearbyint(w * 16.0) / 16.0;
  const std::vector<Configuration> fixed{{.bits = 12, .step_rule = quantize::StepRule::fixed, .fixed_step = 0x1p-4}};
  EXPECT_THAT(representatives(SharedPrefixes(Variants(network.layers, fixed)), 1), ElementsAre(0, 0));
  EXPECT_THAT(representatives(SharedPrefixes(Variants(network.layers, fixed)), 2), ElementsAre(0, 1));
}

TEST(Cuts, AreMadeWhereTheCommonBeginningIsMuchOfTheWork) {
  const Network wide = mlp(800);
  const auto cuts = choose_cuts(wide.graph, SharedPrefixes(Variants(wide.layers, edges)));
  ASSERT_EQ(cuts.size(), 1U);
  const auto segments = cut(wide.graph, cuts);
  ASSERT_EQ(segments.size(), 2U);
  EXPECT_EQ(segments[0].layers, 1);
  EXPECT_EQ(segments[1].first_layer, 1);
  EXPECT_EQ(segments[1].layers, 3);
  EXPECT_TRUE(std::holds_alternative<network::Activation>(segments[0].graph.nodes.back().op)) << "fused, not cut off";
}

TEST(Cuts, AreNotMadeWhereTheyCostMoreThanTheySave) {
  const Network narrow = mlp(4);
  EXPECT_TRUE(choose_cuts(narrow.graph, SharedPrefixes(Variants(narrow.layers, edges))).empty());
  // a first convolution makes more values than it is worth
  const Network images =
      network::make_network({.family = Family::mobilenet_v2, .depth = 14, .width = 16, .resolution = 64});
  EXPECT_TRUE(choose_cuts(images.graph, SharedPrefixes(Variants(images.layers, edges))).empty());
}

TEST(Cuts, AreNotMadeForConfigurationsThatShareNothing) {
  const Network network = mlp(800);
  const std::vector<Configuration> apart{{.bits = 3}, {.bits = 4}};
  EXPECT_TRUE(choose_cuts(network.graph, SharedPrefixes(Variants(network.layers, apart))).empty());
}

/// Counts what it evaluates.
struct CountingEvaluation {
  using Real = double;
  DoubleEvaluation evaluation;
  std::map<std::size_t, Index> runs;  ///< per segment
  Values<double> run(std::size_t segment, Index variant, std::span<const double> input) {
    ++runs[segment];
    return evaluation.run(segment, variant, input);
  }
};

struct Outputs {
  std::map<Index, std::vector<double>> of_variant;
  std::vector<Index> order;
  void alarm(Index variant, Index batch) { FAIL() << variant << ' ' << batch; }
  void outputs(std::span<const Index> variants, std::span<const double> values) {
    for (const Index variant : variants) {
      of_variant[variant].assign(values.begin(), values.end());
      order.push_back(variant);
    }
  }
};

TEST(SharedEvaluation, EvaluatesACommonBeginningOnce) {
  const Network network = mlp(800);
  const Variants variants(network.layers, edges);
  const SharedPrefixes prefixes(variants);
  const auto inputs =
      uniform_points({.low = std::vector<double>(800, -1.0), .high = std::vector<double>(800, 1.0)}, 1, 0, 0, 30);
  const Batches batches{.samples = 30, .size = 8};
  const auto evaluate = [&](const std::vector<Segment>& segments, CountingEvaluation& evaluation) {
    Outputs outputs;
    SharedEvaluation<CountingEvaluation, Outputs>(segments, prefixes, evaluation, outputs).run(inputs);
    return outputs;
  };
  const auto apart = cut(network.graph, {}), together = cut(network.graph, choose_cuts(network.graph, prefixes));
  CountingEvaluation whole{{apart, variants, batches}, {}}, parts{{together, variants, batches}, {}};

  const Outputs expected = evaluate(apart, whole), shared = evaluate(together, parts);

  EXPECT_EQ(whole.runs, (std::map<std::size_t, Index>{{0, 5}})) << "f and four different f_q";
  EXPECT_EQ(parts.runs, (std::map<std::size_t, Index>{{0, 2}, {1, 5}}));
  EXPECT_EQ(shared.of_variant, expected.of_variant) << "bit for bit in double";
  EXPECT_EQ(shared.order.front(), 0);
  EXPECT_EQ(shared.of_variant.size(), 6U);
}

}  // namespace
}  // namespace quantbound::observe::detail
