#include "branch_pieces.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"

namespace quantbound::certify::detail {

PiecePool::Id PiecePool::allocate() {
  if (!free_.empty()) {
    const Id id = free_.back();
    free_.pop_back();
    return id;
  }
  if (next_ == chunks_.size() * chunk) {
    chunks_.push_back({std::make_unique<double[]>(chunk * numbers_), std::make_unique<std::uint64_t[]>(chunk * words_),
                       std::make_unique<std::int64_t[]>(chunk)});
  }
  return static_cast<Id>(next_++);
}

PieceView PiecePool::view(Id id) {
  Chunk& home = chunks_[id / chunk];
  const std::size_t slot = id % chunk, inputs = static_cast<std::size_t>(shape_.inputs);
  double* numbers = home.numbers.get() + slot * numbers_;
  return {{numbers, inputs},
          {numbers + inputs, inputs},
          {numbers + 2 * inputs, static_cast<std::size_t>(shape_.functionals)},
          {home.words.get() + slot * words_, words_},
          home.splits.get() + slot};
}

void PiecePool::write(Id id, core::ByteWriter& out) {
  const PieceView piece = view(id);
  for (const auto& part : {piece.low, piece.high, piece.bounds})
    for (const double number : part) out.value(number);
  for (const std::uint64_t word : piece.phases) out.value(word);
  out.value(*piece.split);
}

PiecePool::Id PiecePool::read(core::ByteReader& in) {
  const Id id = allocate();
  const PieceView piece = view(id);
  for (const auto& part : {piece.low, piece.high, piece.bounds})
    for (double& number : part) number = in.value<double>();
  for (std::uint64_t& word : piece.phases) word = in.value<std::uint64_t>();
  *piece.split = in.value<std::int64_t>();
  return id;
}

}  // namespace quantbound::certify::detail
