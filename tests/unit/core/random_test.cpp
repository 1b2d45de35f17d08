#include "quantbound/core/random.hpp"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "quantbound/core/hash.hpp"

namespace quantbound::core {
namespace {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, MatchesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(RandomStream, HasTheMomentsOfItsLaws) {
  const RandomStream random(7, "moments");
  const int n = 200000;
  double uniform_sum = 0, normal_sum = 0, normal_squares = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    uniform_sum += random.uniform(i);
    normal_sum += random.normal(i);
    normal_squares += random.normal(i) * random.normal(i);
  }

  EXPECT_NEAR(uniform_sum / n, 0.5, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(normal_sum / n, 0.0, 5 * std::sqrt(1.0 / n));
  EXPECT_NEAR(normal_squares / n, 1.0, 5 * std::sqrt(2.0 / n));
}

TEST(RandomStream, ManyUniformsAreThoseOfTheirIndices) {
  const RandomStream random(3, "many", 5);
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{13}, (std::uint64_t{1} << 32) - 9}) {
    for (const std::size_t count : {0U, 1U, 7U, 8U, 9U, 100U}) {
      std::vector<double> many(count);
      random.uniforms(first, many);
      for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(many[i], random.uniform(first + i)) << first << " + " << i;
    }
  }
}

TEST(RandomStream, IsSeparatedByPurposeAndNumbers) {
  EXPECT_EQ(RandomStream(1, "a", 2, 3).bits(4), RandomStream(1, "a", 2, 3).bits(4));
  EXPECT_NE(RandomStream(1, "a", 2, 3).bits(4), RandomStream(1, "b", 2, 3).bits(4));
  EXPECT_NE(RandomStream(1, "a", 2, 3).bits(4), RandomStream(1, "a", 3, 2).bits(4));
}

TEST(Sha256, MatchesTheStandardVector) {
  EXPECT_EQ(sha256_hex(std::string_view("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace quantbound::core
