#include "quantbound/sweep/record.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

namespace quantbound::sweep {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

/// A record with a unit of every kind.
Record sample() {
  bounds::LayerReport layer;
  layer.norms.weight_norm = 3.5;
  layer.quantized.resize(2);
  layer.quantized[1].delta_max = 0.25;
  bounds::TheoryResult applies{core::Upper(1e30).power(40), "", core::Estimate{12.5}, {}},
      fails{std::nullopt, "biases", std::nullopt, {}};
  observe::BlockObservation block{.samples = 2,
                                  .deviation = {1.0, 2.0},
                                  .deviation_2 = {3.0, 4.0},
                                  .relative = {5.0, infinite},
                                  .error = {1e-6},
                                  .in_double = {1},
                                  .counts = {{1, 2, 3, 4, 5, 6}},
                                  .correct_reference = 2,
                                  .correct_top5_reference = 3,
                                  .layers = {.samples = 1,
                                             .deviation = {0.5},
                                             .input = {0.25},
                                             .input_deviation = {0.125},
                                             .carried = {7.0},
                                             .local = {8.0}}};
  Record record;
  record.units.push_back({1.5, Failure{"out of memory"}});
  record.units.push_back({2.5, NormsResult{{layer}}});
  record.units.push_back({3.5, WeightBoundsResult{{{{"one", applies}, {"other", fails}}}}});
  record.units.push_back({4.5, ObserveResult{block, {}, {0, 3}}});
  record.units.push_back({5.5, CertifyResult{{{"no such operator", {}},
                                              {"",
                                               {.difference = {{-infinite, -1.0}, {infinite, 2.0}},
                                                .lower = 0.75,
                                                .boxes = 12,
                                                .seconds = 1.5,
                                                .timed_out = true}}}}});
  record.units.push_back({6.5, AttackResult{{0.5, 0.25}}});
  return record;
}

TEST(Record, ComesBackFromItsBytesAsItWas) {
  const Record record = record_from_bytes(to_bytes(sample()));

  ASSERT_EQ(record.units.size(), 6U);
  EXPECT_EQ(record.units[3].seconds, 4.5);
  EXPECT_EQ(std::get<Failure>(record.units[0].result).message, "out of memory");
  EXPECT_EQ(std::get<NormsResult>(record.units[1].result).layers,
            std::get<NormsResult>(sample().units[1].result).layers);
  const auto& bounds = std::get<WeightBoundsResult>(record.units[2].result).configurations.at(0);
  EXPECT_EQ(bounds.at(0).result.bound, core::Upper(1e30).power(40)) << "beyond the range of doubles";
  EXPECT_EQ(bounds.at(0).result.formula->log10, 12.5);
  EXPECT_FALSE(bounds.at(1).result.applicable());
  EXPECT_EQ(bounds.at(1).result.reason, "biases");
  const auto& observed = std::get<ObserveResult>(record.units[3].result);
  const Record original = sample();
  const auto& written = std::get<ObserveResult>(original.units[3].result).inside;
  EXPECT_EQ(observed.inside.samples, 2);
  EXPECT_EQ(observed.inside.deviation, written.deviation);
  EXPECT_EQ(observed.inside.deviation_2, written.deviation_2);
  EXPECT_EQ(observed.inside.relative, written.relative);
  EXPECT_EQ(observed.inside.error, written.error);
  EXPECT_EQ(observed.inside.in_double, written.in_double);
  EXPECT_EQ(observed.inside.counts, written.counts);
  EXPECT_EQ(observed.inside.correct_reference, 2);
  EXPECT_EQ(observed.inside.correct_top5_reference, 3);
  EXPECT_EQ(observed.inside.layers.samples, 1);
  EXPECT_EQ(observed.inside.layers.deviation, written.layers.deviation);
  EXPECT_EQ(observed.inside.layers.input, written.layers.input);
  EXPECT_EQ(observed.inside.layers.input_deviation, written.layers.input_deviation);
  EXPECT_EQ(observed.inside.layers.carried, written.layers.carried);
  EXPECT_EQ(observed.inside.layers.local, written.layers.local);
  EXPECT_EQ(observed.outside_positions, (std::vector<Index>{0, 3}));
  EXPECT_EQ(observed.outside.samples, 0);
  const auto& methods = std::get<CertifyResult>(record.units[4].result).configurations;
  ASSERT_EQ(methods.size(), 2U);
  EXPECT_EQ(methods[0].not_applicable, "no such operator");
  EXPECT_EQ(methods[1].certificate.difference.low[0], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(methods[1].certificate.difference.high[1], 2.0);
  EXPECT_EQ(methods[1].certificate.lower, 0.75);
  EXPECT_EQ(methods[1].certificate.boxes, 12);
  EXPECT_EQ(methods[1].certificate.seconds, 1.5);
  EXPECT_TRUE(methods[1].certificate.timed_out);
  EXPECT_EQ(std::get<AttackResult>(record.units[5].result).deviation, (std::vector<double>{0.5, 0.25}));
}

TEST(Record, OfAnotherLengthIsRefused) {
  auto bytes = to_bytes(sample());
  bytes.push_back(std::byte{0});
  EXPECT_THROW(record_from_bytes(bytes), core::Error);
  bytes.resize(bytes.size() - 2);
  EXPECT_THROW(record_from_bytes(bytes), core::Error);
}

}  // namespace
}  // namespace quantbound::sweep
