/// Exact order statistics of any number of values in bounded memory, and the table that keeps the values: rows that
/// grow by blocks, in memory up to a budget and beyond it in an unlinked temporary file. The order of the values does
/// not matter, so parts may come from any rank. No interpolation and no sketch: what is returned is one of the values.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::observe {

using tensor::Index;

/// Receives values piece by piece.
using TakeValues = std::function<void(std::span<const double> piece)>;
/// Hands all values to `take`; may be called several times and gives the same values each time, cut anyhow.
using Replay = std::function<void(const TakeValues& take)>;

/// The values of these 0-based ranks in increasing order of all values, one per entry of `ranks` (any order, repeats
/// allowed). Radix selection on the bits of the doubles: at most four replays, one if there are at most 65,536 values;
/// 512 KiB per distinct rank, whatever `count` is. A zero comes back as +0.
/// @pre `replay` gives `count` values, none NaN (infinities are fine); 0 <= rank < count
std::vector<double> order_statistics(const Replay& replay, Index count, std::span<const Index> ranks);

/// The same by sorting all values: the plain reference.
std::vector<double> order_statistics_reference(const Replay& replay, std::span<const Index> ranks);

/// 0-based rank of the q-quantile of a sample: the smallest value that at least the fraction q does not exceed,
/// ceil(q count) - 1. A product q count that only rounding puts above an integer counts as that integer.
/// @pre count > 0, 0 <= q <= 1
Index quantile_rank(Index count, double q);

namespace detail {
class TemporaryFile;
}

/// `rows` rows of numbers that grow by blocks of columns. Blocks are kept in memory until they fill the budget; then
/// all of them go to a temporary file as one chunk, in which every row is contiguous: reading a row is one read per
/// chunk, not one per block. The file has no name, so it vanishes with the process, however that ends.
class SpillTable {
 public:
  /// @pre rows > 0, memory_bytes >= 0 (what the table may keep in memory, besides 1 MiB of working space)
  SpillTable(Index rows, Index memory_bytes);
  SpillTable(SpillTable&&) noexcept;
  SpillTable& operator=(SpillTable&&) noexcept;
  ~SpillTable();

  /// Adds columns: rows x n values, row-major. Throws core::IoError when the temporary file cannot be created or
  /// written (it lies in $TMPDIR, else /tmp); the table is then as before the call.
  void append(std::span<const double> block);

  Index rows() const { return rows_; }
  Index columns() const { return columns_; }
  /// Bytes in the temporary file.
  Index spilled_bytes() const;
  /// All values of row `row` in the order of their columns. Refers to the table: do not append or move it meanwhile;
  /// several threads may read. The replay throws core::IoError when the file cannot be read.
  /// @pre 0 <= row < rows()
  Replay row(Index row) const;

 private:
  struct Chunk {
    Index offset = 0;  ///< of its first row in the file, in numbers
    Index columns = 0;
  };
  struct Block {
    std::vector<double> values;  ///< rows x columns
    Index columns = 0;
  };
  struct Part {
    std::span<const double> values;  ///< rows x columns
    Index columns = 0;
  };
  void spill();
  void write_chunk(std::span<const Part> parts);
  void read_row(Index row, const TakeValues& take) const;

  Index rows_ = 0, columns_ = 0;
  Index memory_values_ = 0;    ///< the budget
  Index held_values_ = 0;      ///< in blocks_
  Index file_end_ = 0;         ///< in numbers
  std::vector<Chunk> chunks_;  ///< in the file; the columns of blocks_ follow
  std::vector<Block> blocks_;
  std::unique_ptr<detail::TemporaryFile> file_;
};

}  // namespace quantbound::observe
