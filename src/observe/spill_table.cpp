#include <algorithm>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/observe/order_statistics.hpp"

#include "temporary_file.hpp"

namespace quantbound::observe {

namespace {

constexpr Index transfer_values = Index{1} << 16;  // 512 KiB

/// Puts small pieces together into large writes.
class BufferedWriter {
 public:
  BufferedWriter(detail::TemporaryFile& file, Index offset) : file_(file), offset_(offset) {
    buffer_.reserve(static_cast<std::size_t>(transfer_values));
  }

  void write(std::span<const double> piece) {
    if (std::ssize(buffer_) + std::ssize(piece) > transfer_values) flush();
    if (std::ssize(piece) >= transfer_values) {
      put(piece);
    } else {
      buffer_.insert(buffer_.end(), piece.begin(), piece.end());
    }
  }

  void flush() {
    put(buffer_);
    buffer_.clear();
  }

 private:
  void put(std::span<const double> values) {
    file_.write(offset_, values);
    offset_ += std::ssize(values);
  }

  detail::TemporaryFile& file_;
  Index offset_;
  std::vector<double> buffer_;
};

std::span<const double> row_of(std::span<const double> block, Index columns, Index row) {
  return block.subspan(static_cast<std::size_t>(row * columns), static_cast<std::size_t>(columns));
}

}  // namespace

SpillTable::SpillTable(Index rows, Index memory_bytes)
    : rows_(rows), memory_values_(memory_bytes / static_cast<Index>(sizeof(double))) {
  QUANTBOUND_ASSERT(rows > 0 && memory_bytes >= 0, rows, memory_bytes);
}

SpillTable::SpillTable(SpillTable&&) noexcept = default;
SpillTable& SpillTable::operator=(SpillTable&&) noexcept = default;
SpillTable::~SpillTable() = default;

void SpillTable::append(std::span<const double> block) {
  const Index size = std::ssize(block), columns = size / rows_;
  QUANTBOUND_ASSERT(size == columns * rows_, size, rows_);
  if (size == 0) return;
  if (held_values_ + size > memory_values_) spill();
  if (size > memory_values_) {  // no room even in an empty table: straight to the file
    const Part part{block, columns};
    write_chunk({&part, 1});
  } else {
    blocks_.push_back({std::vector<double>(block.begin(), block.end()), columns});
    held_values_ += size;
  }
  columns_ += columns;
}

Index SpillTable::spilled_bytes() const { return file_end_ * static_cast<Index>(sizeof(double)); }

void SpillTable::spill() {
  if (blocks_.empty()) return;
  std::vector<Part> parts;
  parts.reserve(blocks_.size());
  for (const Block& block : blocks_) parts.push_back({block.values, block.columns});
  write_chunk(parts);
  blocks_.clear();
  held_values_ = 0;
}

void SpillTable::write_chunk(std::span<const Part> parts) {
  if (!file_) file_ = std::make_unique<detail::TemporaryFile>();
  BufferedWriter writer(*file_, file_end_);
  Index columns = 0;
  for (const Part& part : parts) columns += part.columns;
  for (Index row = 0; row < rows_; ++row) {
    for (const Part& part : parts) writer.write(row_of(part.values, part.columns, row));
  }
  writer.flush();
  // Only what was written whole counts: after an error the next chunk begins at the same place.
  chunks_.push_back({file_end_, columns});
  file_end_ += columns * rows_;
}

Replay SpillTable::row(Index row) const {
  QUANTBOUND_ASSERT(row >= 0 && row < rows_, row, rows_);
  return [this, row](const TakeValues& take) { read_row(row, take); };
}

void SpillTable::read_row(Index row, const TakeValues& take) const {
  std::vector<double> buffer;
  for (const Chunk& chunk : chunks_) {
    const Index begin = chunk.offset + row * chunk.columns, end = begin + chunk.columns;
    for (Index at = begin; at < end; at += transfer_values) {
      buffer.resize(static_cast<std::size_t>(std::min(transfer_values, end - at)));
      file_->read(at, buffer);
      take(buffer);
    }
  }
  for (const Block& block : blocks_) take(row_of(block.values, block.columns, row));
}

}  // namespace quantbound::observe
