/// A shelf (sweep/shelf.hpp) in the directory of the journals, one file per piece: reconstructed weights that every
/// rank reads, and the states of unfinished reconstructions. A file carries the hash of its study and a checksum; what
/// is damaged or of another study counts as not there. Pieces are written under another name and renamed, so a reader
/// never sees half of one. The directory must be on a file system that all ranks share, as the journals must.
///
///   file = magic[8] study:u64 length:u64 checksum:u64 payload[length]         (little-endian)
///
/// All functions are independent (no MPI inside). Who reads what another rank wrote comes after a barrier.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "quantbound/sweep/shelf.hpp"

namespace quantbound::store {

class ShelfDirectory final : public sweep::Shelf {
 public:
  /// Touches nothing yet. The directory is made with the first piece.
  ShelfDirectory(std::filesystem::path directory, std::string_view study_hash);

  std::optional<core::Bytes> read(const std::string& name) const override;
  void write(const std::string& name, std::span<const std::byte> bytes) override;
  void remove(const std::string& name) override;
  /// Every piece, of whatever study, and what an interrupted write left. Throws core::IoError.
  void clear();

 private:
  /// @pre the name has letters, digits, '-' and '.' only, and ends with .weights or .state
  std::filesystem::path path_of(const std::string& name) const;

  std::filesystem::path directory_;
  std::uint64_t study_;
};

}  // namespace quantbound::store
