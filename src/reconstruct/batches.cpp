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

void gather_mixed(std::span<const float> original, std::span<const float> quantized, std::span<const Index> rows,
                  const Mixing& mixing, Index iteration, std::span<float> result) {
  const std::size_t width = result.size() / rows.size();
  const auto limit = static_cast<std::uint32_t>(std::lround(mixing.probability * 65536.0));
  const core::RandomStream stream(mixing.seed, "elements of the quantized prefix",
                                  static_cast<std::uint64_t>(mixing.module));
  const std::uint64_t bits = stream.bits(static_cast<std::uint64_t>(iteration));
  const std::array key{static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32U)};
  constexpr std::size_t per_block = 8;  // sixteen bits of a block of 128 for each element
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t from = static_cast<std::size_t>(rows[i]) * width;
    for (std::size_t first = 0; first < width; first += per_block) {
      const auto block =
          core::philox4x32({static_cast<std::uint32_t>(first / per_block), static_cast<std::uint32_t>(i), 0, 0}, key);
      for (std::size_t k = 0; k < std::min(per_block, width - first); ++k) {
        const std::uint32_t draw = block[k / 2] >> (k % 2 * 16U) & 0xFFFFU;
        result[i * width + first + k] = draw < limit ? quantized[from + first + k] : original[from + first + k];
      }
    }
  }
}

}  // namespace quantbound::reconstruct::detail
