#include "../../../src/bounds/row_sums.hpp"

#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"

namespace quantbound::bounds::detail {
namespace {

using quantize::Quantizer;

/// One block of random rows; steps are those of eight bits.
struct Block {
  explicit Block(std::size_t count) : columns(count), weights(count * block_rows), uniforms(count * block_rows) {
    const core::RandomStream random(count, "row-sums-test");
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i] = random.normal(i);
      uniforms[i] = random.uniform(1000000 + i);
    }
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      step.row[lane] = (3.0 + random.uniform(2000000 + lane)) / 127.0;
      inverse.row[lane] = 1.0 / step.row[lane];
      low.row[lane] = -100.0;
      high.row[lane] = 90.0;
    }
  }
  BlockGrid grid() const { return {step.row, inverse.row, low.row, high.row}; }
  BlockTask task(Quantizer quantizer, Clip clip, Division division) const {
    return {weights.data(), uniforms.data(), columns, quantizer, clip, division};
  }

  std::size_t columns;
  std::vector<double> weights, uniforms;
  Lanes step, inverse, low, high;
};

struct Mode {
  Quantizer quantizer;
  Clip clip;
};

const Mode modes[] = {{Quantizer::floor, Clip::never},        {Quantizer::floor, Clip::possible},
                      {Quantizer::round, Clip::never},        {Quantizer::round, Clip::possible},
                      {Quantizer::truncate, Clip::never},     {Quantizer::truncate, Clip::possible},
                      {Quantizer::stochastic, Clip::possible}};

TEST(RowSums, EveryInstructionSetGivesTheSameBits) {
  for (const std::size_t columns : {1u, 7u, 64u, 301u}) {
    const Block block(columns);
    for (const Mode& mode : modes) {
      for (const Division division : {Division::reciprocal, Division::checked}) {
        RowSums first;
        const Certainty certainty =
            instruction_sets().front().sum_rows(block.task(mode.quantizer, mode.clip, division), block.grid(), first);
        for (const InstructionSet& set : instruction_sets()) {
          RowSums sums;
          EXPECT_EQ(set.sum_rows(block.task(mode.quantizer, mode.clip, division), block.grid(), sums), certainty);
          EXPECT_EQ(std::memcmp(&sums, &first, sizeof sums), 0) << set.name << " columns " << columns;
        }
      }
    }
  }
}

TEST(RowSums, EqualTheDefinition) {
  const Block block(203);
  for (const Mode& mode : modes) {
    for (const Division division : {Division::reciprocal, Division::checked}) {
      RowSums sums;
      ASSERT_EQ(sum_rows(block.task(mode.quantizer, mode.clip, division), block.grid(), sums), Certainty::certain);
      for (std::size_t lane = 0; lane < block_rows; ++lane) {
        const bool clips = mode.clip == Clip::possible;
        const quantize::RowGrid grid{block.step.row[lane], 0.0, clips ? -100.0 : -1e6, clips ? 90.0 : 1e6};
        double error_sum = 0.0, squares = 0.0, error_max = 0.0, level_sum = 0.0, level_max = 0.0;
        for (std::size_t column = 0; column < block.columns; ++column) {
          const std::size_t i = column * block_rows + lane;
          const double value = quantize::quantize_value(block.weights[i], grid, mode.quantizer, block.uniforms[i]);
          const double level = std::abs(std::nearbyint(value / grid.step));
          const double error = std::abs(value - block.weights[i]) / grid.step;
          error_sum += error;
          squares += error * error;
          error_max = std::max(error_max, error);
          level_sum += level;
          level_max = std::max(level_max, level);
        }
        EXPECT_NEAR(sums.error_sum.row[lane] / error_sum, 1.0, 1e-11);
        EXPECT_NEAR(sums.error_squares.row[lane] / squares, 1.0, 1e-11);
        EXPECT_NEAR(sums.error_max.row[lane] / error_max, 1.0, 1e-11);
        EXPECT_EQ(sums.level_sum.row[lane], level_sum);
        EXPECT_EQ(sums.level_max.row[lane], level_max);
      }
    }
  }
}

TEST(RowSums, QuotientsOnABoundaryAreDoubtful) {
  for (const auto& [quantizer, quotient] :
       {std::pair{Quantizer::floor, 5.0}, std::pair{Quantizer::floor, -3.0}, std::pair{Quantizer::round, 2.5},
        std::pair{Quantizer::round, -0.5}, std::pair{Quantizer::truncate, 4.0}}) {
    for (const InstructionSet& set : instruction_sets()) {
      Block block(40);
      for (double& w : block.weights) w = 0.3 * block.step.row[0];
      for (double& s : block.step.row) s = block.step.row[0];
      for (double& s : block.inverse.row) s = 1.0 / block.step.row[0];
      RowSums sums;
      EXPECT_EQ(set.sum_rows(block.task(quantizer, Clip::never, Division::reciprocal), block.grid(), sums),
                Certainty::certain);
      block.weights[17 * block_rows + 9] = quotient * block.step.row[0];
      EXPECT_EQ(set.sum_rows(block.task(quantizer, Clip::never, Division::reciprocal), block.grid(), sums),
                Certainty::doubtful);
      EXPECT_EQ(set.sum_rows(block.task(quantizer, Clip::never, Division::checked), block.grid(), sums),
                Certainty::certain);
    }
  }
}

TEST(RowSums, ExtremesIncludeZeroAndEveryElement) {
  for (const std::size_t count : {0u, 1u, 5u, 16u, 63u, 200u}) {
    for (std::size_t at = 0; at < count; ++at) {
      std::vector<double> values(count, 0.0);
      values[at] = at % 2 == 0 ? 3.0 : -4.0;
      for (const InstructionSet& set : instruction_sets()) {
        const quantize::Range range = set.extremes(values);
        EXPECT_EQ(range.low, at % 2 == 0 ? 0.0 : -4.0) << set.name;
        EXPECT_EQ(range.high, at % 2 == 0 ? 3.0 : 0.0) << set.name;
      }
    }
    EXPECT_EQ(extremes(std::vector<double>(count, 2.0)).low, 0.0);
  }
}

}  // namespace
}  // namespace quantbound::bounds::detail
