/// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
/// A number is a pure function of (key, index), so any rank or thread makes any of them, in any order. Keys say what is
/// computed ("weights of layer 3 of network 7"), never who computes it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace quantbound::core {

/// One Philox4x32-10 block.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// A stream of random numbers addressed by index.
class RandomStream {
 public:
  /// `purpose` separates uses that share the numbers a, b, c (for instance "weights", network, layer).
  RandomStream(std::uint64_t seed, std::string_view purpose, std::uint64_t a = 0, std::uint64_t b = 0,
               std::uint64_t c = 0);

  std::uint64_t bits(std::uint64_t index) const;
  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform(std::uint64_t index) const;
  /// result[i] = uniform(first + i), several at a time.
  void uniforms(std::uint64_t first, std::span<double> result) const;
  /// Standard normal (Box-Muller).
  double normal(std::uint64_t index) const;

 private:
  std::uint64_t key_;
};

}  // namespace quantbound::core
