/// What branch and bound asks of a way to bound pieces. A piece is a fixed-size record: a box of inputs, what is proved
/// (or assumed) about the phase of every neuron in it, and an upper bound of every functional +d_i and -d_i (2 i and
/// 2 i + 1) over it. A bounder is immutable and shared; each thread has its own Worker with all scratch memory, so
/// that bounding a piece allocates nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "quantbound/certify/pair_bounds.hpp"

namespace quantbound::certify::detail {

struct PieceShape {
  Index inputs = 0, functionals = 0, phase_words = 0;
};

struct PieceView {
  std::span<double> low, high, bounds;
  std::span<std::uint64_t> phases;
  std::int64_t* split = nullptr;  ///< how split() divides it; a number of the bounder's own
};

enum class Verdict {
  open,      ///< splitting may lower the bounds
  finished,  ///< it cannot: the functionals above their levels are exact but for rounding, or the box is a point
};

class BranchWorker {
 public:
  virtual ~BranchWorker() = default;
  /// Lowers piece.bounds, adds to piece.phases, chooses piece.split. A functional whose bound is at most its level is
  /// left alone.
  virtual Verdict bound(const PieceView& piece, std::span<const double> levels) = 0;
  /// Where the last bounded piece may deviate most.
  virtual std::span<const double> candidate() const = 0;
  /// d(x) in plain double arithmetic, and its gradient in x for output i.
  virtual std::span<const double> deviation(std::span<const double> x) = 0;
  virtual std::span<const double> gradient(std::span<const double> x, Index output) = 0;
  /// d(x), proved.
  virtual Box enclose(std::span<const double> x) = 0;
};

class BranchBounder {
 public:
  virtual ~BranchBounder() = default;
  virtual PieceShape shape() const = 0;
  /// Pieces divided between two looks at the queue: enough work for many threads, few enough to stay best first. It is
  /// part of the result, so it depends on the pair alone.
  virtual std::size_t batch() const { return 32; }
  /// All of the region; bounds infinite, nothing known.
  virtual void make_root(const Box& region, const PieceView& piece) const = 0;
  /// Divides `piece` by its split: it becomes one part, `other` the other.
  virtual void divide(const PieceView& piece, const PieceView& other) const = 0;
  virtual std::unique_ptr<BranchWorker> make_worker() const = 0;
};

}  // namespace quantbound::certify::detail
