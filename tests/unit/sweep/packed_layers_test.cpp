#include "../../../src/sweep/packed_layers.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::sweep::detail {
namespace {

using network::LayerParameters;

std::vector<std::uint64_t> bits_of(const std::vector<double>& values) {
  std::vector<std::uint64_t> bits;
  for (const double value : values) bits.push_back(std::bit_cast<std::uint64_t>(value));
  return bits;
}

void expect_same_bits(const LayerParameters& a, const LayerParameters& b) {
  EXPECT_EQ(bits_of(a.weights), bits_of(b.weights));
  EXPECT_EQ(bits_of(a.bias), bits_of(b.bias));
}

LayerParameters random_layer(std::size_t rows, std::size_t columns) {
  std::mt19937_64 random(rows * 1000 + columns);
  std::normal_distribution<double> normal;
  LayerParameters layer{.weights = std::vector<double>(rows * columns), .bias = std::vector<double>(rows)};
  for (auto* values : {&layer.weights, &layer.bias}) {
    for (double& value : *values) value = normal(random);
  }
  return layer;
}

TEST(PackedLayers, ComeBackBitForBitInEveryConfiguration) {
  const LayerParameters layer = random_layer(6, 300);
  for (const int bits : {2, 4, 8, 9, 16}) {
    for (const auto granularity : {quantize::Granularity::tensor, quantize::Granularity::channel}) {
      const auto quantized = quantize::quantize_layer(layer, 0, {.granularity = granularity, .bits = bits});
      expect_same_bits(unpack_layer(pack(quantized)), quantized);
    }
  }
  expect_same_bits(unpack_layer(pack(layer)), layer);
}

TEST(PackedLayers, KeepWhatFloatsWouldLose) {
  constexpr double tiny = std::numeric_limits<double>::denorm_min();
  const std::vector<LayerParameters> layers{
      {.weights = {0.0, -0.0, 1.0, 0x1p-127}, .bias = {0.0, -0.0}},
      {.weights = {0.1, tiny, -tiny, 0x1p-150, 0x1.fffffffp127, 0x1p128, 0x1.000002p0, 0x1.0000001p0}, .bias = {3.0}},
      {.weights = {0x1p-126, -0x1.fffffep127, 0.5, 0.25, 7.0, -9.0}, .bias = {0.1}},
      {.weights = {}, .bias = {}},
      {.weights = {}, .bias = {1.0, 2.0}}};
  for (const auto& layer : layers) expect_same_bits(unpack_layer(pack(layer)), layer);
}

TEST(PackedLayers, AreAboutAByteForEveryQuantizedWeightAndFourForAFloat) {
  const std::size_t rows = 8, columns = 2000, count = rows * columns;
  LayerParameters layer = random_layer(rows, columns);
  const auto quantized = quantize::quantize_layer(layer, 0, {.granularity = quantize::Granularity::channel, .bits = 4});
  EXPECT_LT(pack(quantized).size(), count + 3000);
  for (double& weight : layer.weights) weight = std::nearbyint(weight * 0x1p12) * 0x1p-12;
  EXPECT_LT(pack(layer).size(), 4 * count + 200);
}

TEST(PackedLayers, DamageIsAnErrorAndNoOtherNumbers) {
  const auto quantized =
      quantize::quantize_layer(random_layer(3, 40), 0, {.granularity = quantize::Granularity::channel, .bits = 3});
  const auto bytes = pack(quantized);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(unpack_layer(std::span(bytes).first(size)), core::Error) << size;
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_THROW(unpack_layer(longer), core::Error);
  auto other_form = bytes;
  other_form[0] = std::byte{77};
  EXPECT_THROW(unpack_layer(other_form), core::Error);
}

}  // namespace
}  // namespace quantbound::sweep::detail
