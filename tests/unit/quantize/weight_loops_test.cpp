#include "../../../src/quantize/weight_loops.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"

namespace quantbound::quantize::detail {
namespace {

using Limits = std::numeric_limits<double>;

constexpr std::array quantizers{Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic};

/// Everything a weight can be, on both sides of zero; and what lies on levels, between them and just beside.
std::vector<double> weights_around(double step) {
  std::vector<double> weights{
      0.0,   Limits::denorm_min(), 3 * Limits::denorm_min(), Limits::min(), 0x1p-600, 1e-3, 1.0, 0x1p52, 0x1p53 + 2.0,
      1e300, Limits::max()};
  for (int level = 0; level <= 130; ++level) {
    for (const double middle : {level * step, (level + 0.5) * step}) {
      for (const double beside : {std::nextafter(middle, 0.0), std::nextafter(middle, Limits::max())})
        weights.insert(weights.end(), {middle, beside});
    }
  }
  const core::RandomStream random(1, "weight-loops-test");
  for (std::uint64_t i = 0; i < 300; ++i) weights.push_back(std::abs(random.normal(i)) * step * 60.0);
  std::erase_if(weights, [](double weight) { return !std::isfinite(weight); });
  for (std::size_t i = 0, count = weights.size(); i < count; ++i) weights.push_back(-weights[i]);
  return weights;
}

std::vector<double> uniforms_for(std::size_t count) {
  std::vector<double> uniforms(count);
  core::RandomStream(2, "weight-loops-test").uniforms(0, uniforms);
  for (std::size_t i = 0; i + 1 < count; i += 17) uniforms[i] = 0.0, uniforms[i + 1] = 1.0 - 0x1p-53;
  return uniforms;
}

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

void expect_plain_levels(const InstructionSet& set, const RowGrid& grid, Quantizer quantizer) {
  const std::vector<double> weights = weights_around(grid.step), uniforms = uniforms_for(weights.size());
  std::vector<double> result(weights.size());
  const Levels levels{grid.step, grid.lowest - grid.zero_point, grid.highest - grid.zero_point};

  const bool finite = set.rounding_of(quantizer)(weights, uniforms.data(), levels, result.data());

  bool all_finite = true;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double plain = quantize_value(weights[i], grid, quantizer, uniforms[i]);
    ASSERT_EQ(bits(result[i]), bits(plain))
        << weights[i] << " on " << grid.step << ": " << result[i] << ", not " << plain;
    all_finite = all_finite && std::isfinite(plain);
  }
  EXPECT_EQ(finite, all_finite) << "step " << grid.step;
}

TEST(WeightLoops, EveryInstructionSetGivesTheBitsOfThePlainVersion) {
  for (const InstructionSet& set : instruction_sets()) {
    SCOPED_TRACE(set.name);
    for (const Quantizer quantizer : quantizers) {
      SCOPED_TRACE(to_string(quantizer));
      for (const double step : {0.01, 0.125, 1.0, 1e-3, Limits::denorm_min(), Limits::min(), 0x1p-600, 0x1p900, 1e306,
                                0.4 * Limits::max()}) {
        expect_plain_levels(set, {step, 0.0, -128.0, 127.0}, quantizer);
        expect_plain_levels(set, {step, 100.0, 0.0, 255.0}, quantizer);
        expect_plain_levels(set, {step, 0.0, 0.0, 3.0}, quantizer);
        expect_plain_levels(set, {step, 3.0, 0.0, 3.0}, quantizer);
      }
    }
  }
}

TEST(WeightLoops, EveryLengthIsRoundedToItsEnd) {
  const RowGrid grid{0.1, 0.0, -7.0, 7.0};
  const std::vector<double> weights = weights_around(0.1), uniforms = uniforms_for(weights.size());
  for (const InstructionSet& set : instruction_sets()) {
    for (const Quantizer quantizer : quantizers) {
      for (std::size_t count = 0; count <= 40; ++count) {
        std::vector<double> result(count + 1, 99.0);
        ASSERT_TRUE(set.rounding_of(quantizer)(std::span(weights).subspan(3, count), uniforms.data(),
                                               {grid.step, grid.lowest, grid.highest}, result.data()));
        for (std::size_t i = 0; i < count; ++i)
          ASSERT_EQ(result[i], quantize_value(weights[3 + i], grid, quantizer, uniforms[i])) << set.name << ' ' << i;
        ASSERT_EQ(result[count], 99.0) << "nothing is written behind the end";
      }
    }
  }
}

TEST(WeightLoops, OneValueThatIsNotFiniteIsNoticedWhereverItIs) {
  for (const InstructionSet& set : instruction_sets()) {
    for (const Quantizer quantizer : quantizers) {
      for (std::size_t place = 0; place < 37; ++place) {
        std::vector<double> weights(37, -1.0), uniforms(37, 0.5), result(37);
        const auto finite = [&](double weight, double step) {
          weights[place] = weight;
          return set.rounding_of(quantizer)(weights, uniforms.data(), {step, -128.0, 127.0}, result.data());
        };
        EXPECT_TRUE(finite(1e300, 1.0));
        EXPECT_FALSE(finite(Limits::quiet_NaN(), 1.0)) << set.name << " at " << place;
        EXPECT_FALSE(finite(Limits::infinity(), 1e307)) << set.name << " at " << place << ": 127 steps are too much";
      }
    }
  }
}

TEST(WeightLoops, ErrorsAreThoseOfTheLevelsAndTheSameBitsForEveryInstructionSet) {
  std::vector<double> weights(1300);
  const core::RandomStream random(3, "weight-loops-test");
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = random.normal(i);
  const RowGrid grid{0.05, 3.0, -30.0, 33.0};
  const Levels levels{grid.step, grid.lowest - grid.zero_point, grid.highest - grid.zero_point};
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate}) {
    SCOPED_TRACE(to_string(quantizer));
    for (const std::size_t count : {0U, 1U, 15U, 512U, 513U, 1300U}) {
      const auto some = std::span(weights).first(count);
      double plain = 0.0;
      for (const double weight : some)
        plain += std::pow(std::abs(quantize_value(weight, grid, quantizer, 0.0) - weight) / grid.step, 2.4);
      const double first = instruction_sets().front().error_of(quantizer)(some, levels, Limits::infinity());
      EXPECT_NEAR(first, plain, 1e-11 * plain) << count;
      for (const InstructionSet& set : instruction_sets())
        EXPECT_EQ(bits(set.error_of(quantizer)(some, levels, Limits::infinity())), bits(first)) << set.name;
    }
  }
  for (const InstructionSet& set : instruction_sets()) {
    const double whole = set.error_of(Quantizer::round)(weights, levels, Limits::infinity());
    EXPECT_EQ(set.error_of(Quantizer::stochastic)(weights, levels, Limits::infinity()), whole);
    EXPECT_GT(set.error_of(Quantizer::round)(weights, levels, whole / 4.0), whole / 4.0) << "more than the limit";
  }
}

TEST(WeightLoops, TheRangeIsThatOfThePlainLoopForEveryLengthAndPlace) {
  for (const InstructionSet& set : instruction_sets()) {
    SCOPED_TRACE(set.name);
    for (std::size_t count = 0; count <= 100; ++count) {
      std::vector<double> weights(count, -0.0);
      for (std::size_t place = 0; place < count; ++place) {
        weights[place] = 2.0;
        weights[count - 1 - place] = -3.0;
        const Range range = set.range(weights);
        ASSERT_EQ(range.low, -3.0) << place << " of " << count;
        ASSERT_EQ(range.high, place == count - 1 - place ? 0.0 : 2.0) << place << " of " << count;
        weights[place] = weights[count - 1 - place] = -0.0;
      }
      const Range zero = set.range(weights);
      ASSERT_EQ(bits(zero.low), bits(0.0)) << "never a negative zero";
      ASSERT_EQ(bits(zero.high), bits(0.0));
    }
  }
}

TEST(WeightLoops, WhatIsNotANumberDoesNotCountForTheRange) {
  for (const InstructionSet& set : instruction_sets()) {
    for (std::size_t place = 0; place < 70; ++place) {
      std::vector<double> weights(70, 0.5);
      weights[69 - place] = -0.25;
      weights[(place + 5) % 70] = Limits::quiet_NaN();
      const Range range = set.range(weights);
      EXPECT_EQ(range.high, 0.5) << set.name;
      EXPECT_EQ(range.low, std::isnan(weights[69 - place]) ? 0.0 : -0.25) << set.name;
    }
  }
}

}  // namespace
}  // namespace quantbound::quantize::detail
