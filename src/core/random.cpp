#include "quantbound/core/random.hpp"

#include <cmath>
#include <numbers>
#include <string>

#include "quantbound/core/hash.hpp"

namespace quantbound::core {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
  constexpr std::uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product_0 = multiplier_0 * counter[0];
    const std::uint64_t product_1 = multiplier_1 * counter[2];
    counter = {static_cast<std::uint32_t>(product_1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product_1),
               static_cast<std::uint32_t>(product_0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product_0)};
    key[0] += weyl_0;
    key[1] += weyl_1;
  }
  return counter;
}

RandomStream::RandomStream(std::uint64_t seed, std::string_view purpose, std::uint64_t a, std::uint64_t b,
                           std::uint64_t c)
    : key_(hash64(std::string(purpose) + '/' + std::to_string(seed) + '/' + std::to_string(a) + '/' +
                  std::to_string(b) + '/' + std::to_string(c))) {}

std::uint64_t RandomStream::bits(std::uint64_t index) const {
  const auto block = philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0},
                                {static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)});
  return static_cast<std::uint64_t>(block[1]) << 32 | block[0];
}

double RandomStream::uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }

double RandomStream::normal(std::uint64_t index) const {
  const auto block = philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 1, 0},
                                {static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)});
  const std::uint64_t first = static_cast<std::uint64_t>(block[1]) << 32 | block[0];
  const std::uint64_t second = static_cast<std::uint64_t>(block[3]) << 32 | block[2];
  const double radius_uniform = (static_cast<double>(first >> 11) + 0.5) * 0x1p-53;  // never 0
  const double angle = 2.0 * std::numbers::pi * (static_cast<double>(second >> 11) * 0x1p-53);
  return std::sqrt(-2.0 * std::log(radius_uniform)) * std::cos(angle);
}

}  // namespace quantbound::core
