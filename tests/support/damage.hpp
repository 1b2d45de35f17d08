/// Damaged versions of a file, for tests that whatever bytes come end in a result or an error: cut off, bits flipped,
/// bytes copied about, or a piece repeated. The same name gives the same sequence.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "quantbound/core/random.hpp"

namespace quantbound::testing {

class Damage {
 public:
  explicit Damage(std::string_view name) : random_(20, name) {}

  std::string operator()(const std::string& whole) {
    std::string bytes = whole;
    const std::size_t kind = draw(4);
    if (kind == 0) bytes.resize(draw(bytes.size()));
    if (kind == 3) bytes.insert(draw(bytes.size()), bytes.substr(draw(bytes.size()), draw(64)));
    for (std::size_t flips = kind == 0 ? 0 : draw(4) + 1; flips > 0; --flips) {
      const std::size_t position = draw(bytes.size());
      const char other = kind == 2 ? bytes[draw(bytes.size())] : static_cast<char>(draw(256));
      bytes[position] = kind == 1 ? static_cast<char>(bytes[position] ^ (1 << draw(8))) : other;
    }
    return bytes;
  }

 private:
  std::size_t draw(std::size_t below) { return static_cast<std::size_t>(random_.bits(next_++) % below); }

  core::RandomStream random_;
  std::uint64_t next_ = 0;
};

}  // namespace quantbound::testing
