#include "quantbound/quantize/integer_weights.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

namespace quantbound::quantize {
namespace {

using network::IntegerType;
using network::IntegerWeights;
using network::Packing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

LayerParameters random_layer(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  const core::RandomStream random(seed, "integer-weights-test");
  LayerParameters layer{std::vector<double>(rows * columns), std::vector<double>(rows, 0.5)};
  for (std::size_t i = 0; i < layer.weights.size(); ++i)
    layer.weights[i] = (1.0 + static_cast<double>(i / columns)) * random.normal(i);
  return layer;
}

IntegerWeights integers_of(const LayerParameters& layer, const Configuration& c, Packing packing = Packing::bytes) {
  const auto grids = choose_grids(layer, c);
  return integer_weights(quantize_layer(layer, 0, c, grids), grids.weights, c, packing, "layer");
}

TEST(IntegerWeights, ThreeBitsByHand) {
  const LayerParameters layer{{-3.6, 0.6, 1.8, -0.6, 2.7, -2.1}, {0.0, 0.0}};  // eta = 1.2
  const auto all = integers_of(layer, {.bits = 3});
  EXPECT_EQ(all.type, IntegerType::int8);
  EXPECT_THAT(all.codes, ElementsAre(-3, 0, 2, 0, 2, -2));
  EXPECT_THAT(all.scales, ElementsAre(1.2F));
  EXPECT_THAT(all.zero_points, ElementsAre(0));
  const auto floor = integers_of(layer, {.quantizer = Quantizer::floor, .bits = 3}, Packing::nibbles);
  EXPECT_EQ(floor.type, IntegerType::int4);
  EXPECT_THAT(floor.codes, ElementsAre(-3, 0, 1, -1, 2, -2));
  const auto affine = integers_of(layer, {.granularity = Granularity::channel, .bits = 3, .grid = Grid::affine});
  EXPECT_EQ(affine.type, IntegerType::uint8);
  // Rows [-3.6, 1.8] and [-2.1, 2.7]: steps 5.4 / 7 and 4.8 / 7, zero points round(4.67) and round(3.06).
  EXPECT_THAT(affine.zero_points, ElementsAre(5, 3));
  EXPECT_THAT(affine.scales, ElementsAre(static_cast<float>(5.4 / 7), static_cast<float>(4.8 / 7)));
  EXPECT_THAT(affine.codes, ElementsAre(0, 6, 7, 2, 7, 0));
}

TEST(IntegerWeights, StandForTheQuantizedWeightsUpToTwoRoundings) {
  const LayerParameters layer = random_layer(7, 33, 5);
  for (const auto quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    for (const auto granularity : {Granularity::tensor, Granularity::channel}) {
      for (const auto grid : {Grid::symmetric, Grid::affine}) {
        for (const auto rule : {StepRule::max, StepRule::mse, StepRule::fixed}) {
          for (int bits = 2; bits <= 16; ++bits) {
            const Configuration c{.quantizer = quantizer,
                                  .granularity = granularity,
                                  .bits = bits,
                                  .grid = grid,
                                  .step_rule = rule,
                                  .fixed_step = rule == StepRule::fixed ? 0.07 : 0.0};
            const IntegerWeights integers = integers_of(layer, c, Packing::nibbles);
            EXPECT_EQ(integers.scales.size(), granularity == Granularity::tensor ? 1 : 7);
            EXPECT_EQ(bits_of(integers.type), bits <= 4 ? 4 : (bits <= 8 ? 8 : 16));
            const auto written = network::dequantized(integers);
            const auto exact = quantize_layer(layer, 0, c).weights;
            ASSERT_EQ(written.size(), exact.size());
            for (std::size_t i = 0; i < exact.size(); ++i)
              ASSERT_LE(std::abs(written[i] - exact[i]), 0x1.002p-23 * std::abs(exact[i])) << label(c) << ' ' << i;
          }
        }
      }
    }
  }
}

TEST(IntegerWeights, ARowOfZerosHasZeroCodesAndAScale) {
  const LayerParameters layer{{0.0, 0.0, 1.0, -2.0}, {0.0, 0.0}};
  const auto integers = integers_of(layer, {.granularity = Granularity::channel, .bits = 8});
  EXPECT_THAT(integers.codes, ElementsAre(0, 0, 64, -127));
  EXPECT_EQ(integers.scales[0], 1.0F);
}

TEST(IntegerWeights, StepsBeyondFloatAreRefusedByName) {
  const auto error_of = [](double weight) -> std::string {
    try {
      integers_of({{weight, weight / 2}, {0.0}}, {.bits = 8});
    } catch (const core::InputError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(error_of(1.0), "no error");
  EXPECT_EQ(error_of(1e-35), "no error");
  EXPECT_EQ(error_of(3e38), "no error");
  for (const double weight : {1e-38, 1e-300, 1e39, 1e300})
    EXPECT_THAT(error_of(weight), HasSubstr("out of the range of float32; scale the network (layer 'layer')"));
}

TEST(IntegerWeightsDeathTest, WeightsOffTheGridAreABug) {
  const LayerParameters layer{{1.0, 0.3}, {0.0}};
  const Configuration c{.bits = 4};
  const auto grids = choose_grids(layer, c);
  EXPECT_DEATH(integer_weights(layer, grids.weights, c, Packing::bytes, "layer"), "on_grid");
}

}  // namespace
}  // namespace quantbound::quantize
