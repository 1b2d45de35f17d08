#include "quantbound/quantize/configuration.hpp"

#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

namespace quantbound::quantize {
namespace {

TEST(Configuration, NamesParseBackToTheirValues) {
  for (const Quantizer q : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    EXPECT_EQ(parse_quantizer(to_string(q)), q);
  }
  for (const Granularity g : {Granularity::tensor, Granularity::channel}) EXPECT_EQ(parse_granularity(to_string(g)), g);
  for (const Grid g : {Grid::symmetric, Grid::affine}) EXPECT_EQ(parse_grid(to_string(g)), g);
  EXPECT_FALSE(parse_quantizer("Round"));
  EXPECT_FALSE(parse_granularity("row"));
  EXPECT_FALSE(parse_grid(""));
}

TEST(Configuration, LabelNamesTheSeedOnlyWhereItMatters) {
  EXPECT_EQ(label({.quantizer = Quantizer::floor, .granularity = Granularity::channel, .bits = 4}), "floor/channel/4");
  EXPECT_EQ(label({.quantizer = Quantizer::stochastic, .bits = 4, .seed = 7}), "stochastic/tensor/4/seed 7");
  EXPECT_EQ(label({.bits = 4, .edge_bits = 8}), "round/tensor/4/edges 8");
}

TEST(Configuration, EdgeBitsAreTheBitsOfTheFirstAndTheLastLayerOnly) {
  const Configuration whole{.quantizer = Quantizer::floor, .bits = 3, .seed = 9, .bias_bits = 5, .edge_bits = 8};
  Configuration edge = whole, between = whole;
  edge.bits = 8;
  edge.edge_bits = between.edge_bits = 0;

  EXPECT_EQ(at_layer(whole, 0, 4), edge);
  EXPECT_EQ(at_layer(whole, 1, 4), between);
  EXPECT_EQ(at_layer(whole, 2, 4), between);
  EXPECT_EQ(at_layer(whole, 3, 4), edge);
  EXPECT_EQ(at_layer(std::vector{whole, between}, 3, 4), (std::vector{edge, between}));
  EXPECT_EQ(at_layer(whole, 0, 1), edge) << "the only layer is the first and the last";
  for (const Index layer : {0, 1}) EXPECT_EQ(at_layer(whole, layer, 2), edge) << "both are edges";
  for (const Index layer : {0, 1, 2}) EXPECT_EQ(at_layer(between, layer, 3), between) << "without edge bits";
}

TEST(Configuration, EdgeBitsThatCannotBeUsedAreAnError) {
  for (const int bits : {-1, 1, 17}) {
    EXPECT_THROW(at_layer(Configuration{.edge_bits = bits}, 1, 3), core::InputError) << bits;
  }
}

}  // namespace
}  // namespace quantbound::quantize
