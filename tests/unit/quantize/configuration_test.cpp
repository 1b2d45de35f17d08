#include "quantbound/quantize/configuration.hpp"

#include <gtest/gtest.h>

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
}

}  // namespace
}  // namespace quantbound::quantize
