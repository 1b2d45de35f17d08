/// Branch and bound on sup over a box of |f_q - f| (docs/theory.md 9.1, B10): best first, splitting the input of
/// low-dimensional domains or the phases of activations (crown.hpp: beta_crown), with lower bounds by local search.
/// Anytime: `upper()` and `lower()` always hold. Work is handed out in whole open pieces, so several ranks can share
/// one search: each has its own BranchAndBound over the same pair; whoever drives them moves pieces and incumbents
/// (apps/certify.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"
#include "quantbound/core/bytes.hpp"

namespace quantbound::certify {

/// automatic: the input up to ten of them, else the phases of activations. Where no open activation is left, the input
/// is halved in any case.
enum class Split { automatic, input, activation };

/// What `automatic` is for a pair.
Split automatic_split(const Pair& pair);

struct BranchOptions {
  Split split = Split::automatic;
  double tolerance = 0.05;  ///< done when upper <= (1 + tolerance) lower
  /// Done when every f_q - f is proved to lie in this box, or a point outside is found; the tolerance is not used then.
  std::optional<Box> target;
  std::size_t max_bytes = std::size_t{4} << 30;  ///< of open pieces; beyond it the search goes depth first
  std::uint64_t seed = 1;                        ///< of the starting points of the local search
};

/// What is known at one moment.
struct SearchState {
  double upper = 0.0;      ///< no x deviates more; over this instance's open and closed pieces
  double lower = 0.0;      ///< attained at `witness`, proved
  std::int64_t boxes = 0;  ///< bounded so far by this instance
  std::int64_t open = 0;   ///< waiting in this instance
  bool refuted = false;    ///< the witness is proved to lie outside the target
};

class BranchAndBound {
 public:
  /// With the root piece, unless `region` is to be worked on from pieces that are taken: then call without_root.
  /// The pair must outlive the search. @pre not_applicable(Method::branch_and_bound, ...) is empty
  BranchAndBound(const Pair& pair, const Box& region, const BranchOptions& options);
  static BranchAndBound without_root(const Pair& pair, const Box& region, const BranchOptions& options);
  BranchAndBound(BranchAndBound&&) noexcept;
  BranchAndBound& operator=(BranchAndBound&&) noexcept;
  ~BranchAndBound();

  /// Bounds pieces until done, `max_boxes` more are bounded, or about `seconds` have passed. Deterministic but for
  /// `seconds`: the result after a number of boxes does not depend on threads.
  void advance(std::int64_t max_boxes, double seconds);
  bool done() const;

  SearchState state() const;
  /// f_q - f over all pieces of this instance, per output; low +inf and high -inf as long as it has had none. Outputs
  /// are bounded as far as the tolerance or the target needs, not each as far as possible.
  Box difference() const;
  /// Where `lower` is attained; empty before anything was found.
  std::span<const double> witness() const;

  /// A point found elsewhere (another rank, an attack): its deviation is proved here and counts when larger.
  void propose(std::span<const double> x);

  /// Up to `count` open pieces leave this instance: every other of the best, so both sides have work of equal worth;
  /// all of them when `count` is no less.
  core::Bytes give(std::int64_t count);
  /// Pieces from another instance over the same pair, region and options.
  void take(std::span<const std::byte> pieces);
  /// Everything, and back: for checkpoints.
  core::Bytes save() const;
  void restore(std::span<const std::byte> saved);

 private:
  struct Impl;
  explicit BranchAndBound(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quantbound::certify
