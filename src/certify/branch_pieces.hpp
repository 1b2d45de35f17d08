/// The open pieces of a search: fixed-size records in chunks that never move, handed out by number.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "quantbound/core/bytes.hpp"

#include "branch_bounder.hpp"

namespace quantbound::certify::detail {

class PiecePool {
 public:
  using Id = std::uint32_t;

  explicit PiecePool(const PieceShape& shape)
      : shape_(shape),
        numbers_(static_cast<std::size_t>(2 * shape.inputs + shape.functionals)),
        words_(static_cast<std::size_t>(shape.phase_words)) {}

  Id allocate();
  void release(Id id) { free_.push_back(id); }
  PieceView view(Id id);
  std::size_t piece_bytes() const { return (numbers_ + words_) * 8 + sizeof(std::int64_t); }
  std::size_t used() const { return next_ - free_.size(); }

  void write(Id id, core::ByteWriter& out);
  Id read(core::ByteReader& in);

 private:
  static constexpr std::size_t chunk = 1024;
  struct Chunk {
    std::unique_ptr<double[]> numbers;
    std::unique_ptr<std::uint64_t[]> words;
    std::unique_ptr<std::int64_t[]> splits;
  };
  PieceShape shape_;
  std::size_t numbers_, words_;
  std::vector<Chunk> chunks_;
  std::vector<Id> free_;
  std::size_t next_ = 0;
};

}  // namespace quantbound::certify::detail
