/// Hashes: XXH3 for keys and journals (fast, not cryptographic), SHA-256 for the identity of input files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quantbound::core {

std::uint64_t hash64(std::string_view text);
std::uint64_t hash64(std::span<const std::byte> bytes);
/// 128-bit XXH3 as 32 hexadecimal digits.
std::string hash128_hex(std::string_view text);
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace quantbound::core
