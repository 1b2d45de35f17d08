/// Where tasks put what is too large for records and what outlives a killed process: reconstructed weights, and the
/// state of a reconstruction that is not finished. Pieces of bytes by name; each is there as a whole or not at all.
/// store/shelf_directory.hpp keeps them in files that every rank reads.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "quantbound/core/bytes.hpp"

namespace quantbound::sweep {

class Shelf {
 public:
  virtual ~Shelf() = default;
  /// Nothing where there is no such piece, or a damaged one. Throws core::IoError.
  virtual std::optional<core::Bytes> read(const std::string& name) const = 0;
  /// Replaces the piece of this name. Throws core::IoError, after which the former piece is there.
  virtual void write(const std::string& name, std::span<const std::byte> bytes) = 0;
  /// Nothing happens where there is no such piece. Throws core::IoError.
  virtual void remove(const std::string& name) = 0;
};

/// Of one process, gone with it.
class MemoryShelf final : public Shelf {
 public:
  std::optional<core::Bytes> read(const std::string& name) const override {
    const auto found = pieces_.find(name);
    return found == pieces_.end() ? std::nullopt : std::optional(found->second);
  }
  void write(const std::string& name, std::span<const std::byte> bytes) override {
    pieces_[name].assign(bytes.begin(), bytes.end());
  }
  void remove(const std::string& name) override { pieces_.erase(name); }

 private:
  std::map<std::string, core::Bytes> pieces_;
};

}  // namespace quantbound::sweep
