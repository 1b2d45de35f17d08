#include "batches.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/random.hpp"

namespace quantbound::reconstruct::detail {

namespace {

/// Fisher and Yates.
std::vector<Index> shuffled(Index count, const core::RandomStream& stream) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), Index{0});
  for (std::size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[stream.bits(left) % left]);
  }
  return order;
}

/// Elements are decided in pieces, by eight blocks of Philox side by side, each of four words with two draws of sixteen
/// bits: draw 16 w + l of a piece is the lower half of word w of block l, draw 16 w + 8 + l the upper half.
constexpr std::size_t lanes = 8;
constexpr Index piece = 64;

struct MixingKey {
  std::array<std::uint32_t, 2> key{};
  std::uint32_t limit = 0;  ///< draws below it take the quantized element
};

MixingKey key_of(const Mixing& mixing, Index iteration) {
  const core::RandomStream stream(mixing.seed, "elements of the quantized prefix",
                                  static_cast<std::uint64_t>(mixing.module));
  const std::uint64_t bits = stream.bits(static_cast<std::uint64_t>(iteration));
  return {{static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32U)},
          static_cast<std::uint32_t>(std::lround(mixing.probability * 65536.0))};
}

/// core::philox4x32 of eight counters {block + lane, row, 0, 0}, whose words compilers turn into vectors.
void draw_piece(const MixingKey& key, std::uint32_t row, std::uint32_t block, std::span<std::uint32_t, piece> draws) {
  constexpr std::uint64_t low = 0xFFFFFFFFU;
  std::array<std::array<std::uint64_t, lanes>, 4> words{};
  for (std::size_t l = 0; l < lanes; ++l) {
    words[0][l] = (block + l) & low;
    words[1][l] = row;
  }
  std::uint64_t key_0 = key.key[0], key_1 = key.key[1];
  for (int round = 0; round < 10; ++round) {
    for (std::size_t l = 0; l < lanes; ++l) {
      const std::uint64_t product_0 = 0xD2511F53U * words[0][l], product_1 = 0xCD9E8D57U * words[2][l];
      words[0][l] = product_1 >> 32U ^ words[1][l] ^ key_0;
      words[1][l] = product_1 & low;
      words[2][l] = product_0 >> 32U ^ words[3][l] ^ key_1;
      words[3][l] = product_0 & low;
    }
    key_0 = (key_0 + 0x9E3779B9U) & low;
    key_1 = (key_1 + 0xBB67AE85U) & low;
  }
  for (std::size_t w = 0; w < 4; ++w) {
    for (std::size_t l = 0; l < lanes; ++l) {
      draws[16 * w + l] = static_cast<std::uint32_t>(words[w][l] & 0xFFFFU);
      draws[16 * w + lanes + l] = static_cast<std::uint32_t>(words[w][l] >> 16U);
    }
  }
}

}  // namespace

Batches::Batches(std::uint64_t seed, Index module, Index samples, Index batch)
    : seed_(seed), module_(module), batch_(batch), order_(static_cast<std::size_t>(samples)) {
  QUANTBOUND_ASSERT(1 <= batch && batch <= samples, batch, samples);
}

std::span<const Index> Batches::of(Index iteration) {
  const Index per_epoch = std::ssize(order_) / batch_;
  if (const Index epoch = iteration / per_epoch; epoch != epoch_) {
    epoch_ = epoch;
    order_ = shuffled(std::ssize(order_), {seed_, "order of calibration samples", static_cast<std::uint64_t>(module_),
                                           static_cast<std::uint64_t>(epoch)});
  }
  const Index first = iteration % per_epoch * batch_;
  return std::span(order_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(batch_));
}

void gather(std::span<const float> matrix, std::span<const Index> rows, std::span<float> result) {
  const std::size_t width = result.size() / rows.size();
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = matrix.subspan(static_cast<std::size_t>(rows[i]) * width, width);
    std::ranges::copy(row, result.begin() + static_cast<Index>(i * width));
  }
}

bool takes_quantized(const Mixing& mixing, Index iteration, Index row, Index element) {
  const MixingKey key = key_of(mixing, iteration);
  const auto lane = static_cast<std::size_t>(element % 8), word = static_cast<std::size_t>(element % piece / 16);
  const auto block =
      static_cast<std::uint32_t>(element / piece * static_cast<Index>(lanes)) + static_cast<std::uint32_t>(lane);
  const std::uint32_t bits = core::philox4x32({block, static_cast<std::uint32_t>(row), 0, 0}, key.key)[word];
  return (element % 16 < 8 ? bits & 0xFFFFU : bits >> 16U) < key.limit;
}

void gather_mixed(std::span<const float> original, std::span<const float> quantized, std::span<const Index> rows,
                  const Mixing& mixing, Index iteration, std::span<float> result) {
  const std::size_t width = result.size() / rows.size();
  const MixingKey key = key_of(mixing, iteration);
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t from = static_cast<std::size_t>(rows[i]) * width;
    for (std::size_t first = 0; first < width; first += piece) {
      std::array<std::uint32_t, piece> draws{};
      draw_piece(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(first / piece * lanes), draws);
      const std::size_t count = std::min<std::size_t>(piece, width - first);
      const float *q = quantized.data() + from + first, *o = original.data() + from + first;
      float* to = result.data() + i * width + first;
#pragma omp simd
      for (std::size_t k = 0; k < count; ++k) {
        const float one = q[k], other = o[k];
        to[k] = draws[k] < key.limit ? one : other;
      }
    }
  }
}

}  // namespace quantbound::reconstruct::detail
