#include "quantbound/core/random.hpp"

#include <cmath>
#include <numbers>
#include <string>

#include "quantbound/core/hash.hpp"

namespace quantbound::core {

namespace {

constexpr std::uint64_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
constexpr std::uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;

constexpr std::size_t lanes = 8;  // as many blocks at once as have their four words in vector registers

/// RandomStream::uniform of `lanes` indices. The compiler makes vectors of the inner loops.
[[gnu::always_inline]] inline void uniforms_of_lanes(std::uint64_t key, std::uint64_t first, double* result) {
  std::uint32_t a[lanes], b[lanes], c[lanes], d[lanes];  // the four words of every lane's counter
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    a[lane] = static_cast<std::uint32_t>(first + lane);
    b[lane] = static_cast<std::uint32_t>((first + lane) >> 32);
    c[lane] = d[lane] = 0;
  }
  auto key_0 = static_cast<std::uint32_t>(key), key_1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const std::uint64_t product_0 = multiplier_0 * a[lane], product_1 = multiplier_1 * c[lane];
      a[lane] = static_cast<std::uint32_t>(product_1 >> 32) ^ b[lane] ^ key_0;
      c[lane] = static_cast<std::uint32_t>(product_0 >> 32) ^ d[lane] ^ key_1;
      b[lane] = static_cast<std::uint32_t>(product_1);
      d[lane] = static_cast<std::uint32_t>(product_0);
    }
    key_0 += weyl_0;
    key_1 += weyl_1;
  }
  // The upper 53 of the 64 bits, in two exact parts.
  for (std::size_t lane = 0; lane < lanes; ++lane)
    result[lane] = static_cast<double>(b[lane]) * 0x1p-32 + static_cast<double>(a[lane] >> 11) * 0x1p-53;
}

/// For `count` indices, a multiple of `lanes`.
using UniformsLoop = void (*)(std::uint64_t key, std::uint64_t first, std::size_t count, double* result);

void plain_uniforms(std::uint64_t key, std::uint64_t first, std::size_t count, double* result) {
  for (std::size_t i = 0; i < count; i += lanes) uniforms_of_lanes(key, first + i, result + i);
}

#if defined(__x86_64__)
[[gnu::target("avx512f,avx512dq,avx512vl,avx512bw,prefer-vector-width=512")]] void avx512_uniforms(std::uint64_t key,
                                                                                                   std::uint64_t first,
                                                                                                   std::size_t count,
                                                                                                   double* result) {
  for (std::size_t i = 0; i < count; i += lanes) uniforms_of_lanes(key, first + i, result + i);
}
#endif

UniformsLoop choose_uniforms_loop() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw"))
    return avx512_uniforms;
#endif
  return plain_uniforms;
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
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

void RandomStream::uniforms(std::uint64_t first, std::span<double> result) const {
  const std::size_t whole = result.size() - result.size() % lanes;
  choose_uniforms_loop()(key_, first, whole, result.data());
  for (std::size_t i = whole; i < result.size(); ++i) result[i] = uniform(first + i);
}

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
