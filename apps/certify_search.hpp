/// One branch and bound shared by all ranks: every rank advances its own BranchAndBound for a short time, then all
/// exchange what they know (bounds, a better witness), and rich ranks give open pieces to poor ones. No master:
/// everyone decides alike from the same records. The answer is the same on any number of ranks up to the tolerance.
#pragma once

#include <chrono>
#include <limits>
#include <vector>

#include "quantbound/certify/branch_and_bound.hpp"

#include "team.hpp"

namespace quantbound::apps {

enum class SearchEnd { running, converged, out_of_boxes, out_of_time, stopped };

/// What all ranks together know after a round.
struct SearchView {
  double upper = std::numeric_limits<double>::infinity(), lower = 0.0;
  std::int64_t boxes = 0, open = 0;  ///< boxes of earlier runs included
  double seconds = 0.0;              ///< the same
  SearchEnd end = SearchEnd::running;
  bool save_now = false;  ///< rank 0 asked for a checkpoint
};

struct SearchLimits {
  double max_seconds = 0.0;    ///< of this run
  std::int64_t max_boxes = 0;  ///< of this run
};

/// What a rank wants of all others: a stop of anyone counts, a checkpoint when rank 0 asks for it.
struct Wish {
  bool stop = false, save = false;
};

class SharedSearch {
 public:
  /// The whole region is a piece of rank 0. Pair and region must outlive the search. Collective.
  SharedSearch(Team& team, const certify::Pair& pair, const network::Box& region, certify::BranchOptions options);

  /// A point of the region found elsewhere; the other ranks learn of it in the next round.
  void propose(std::span<const double> x);
  /// A slice of work on every rank, one exchange, and pieces moved. Collective.
  SearchView round(const SearchLimits& limits, Wish wish);

  /// That earlier runs took.
  double earlier_seconds() const { return seconds_before_; }
  /// f_q - f over all pieces of all ranks. Collective.
  network::Box difference();
  /// Of all ranks, after a round: the point where `lower` is attained or, with a target, one outside of it. May be
  /// empty.
  const std::vector<double>& witness() const { return witness_; }

  /// On rank 0 the state of all ranks; elsewhere empty. Collective.
  core::Bytes save();
  /// Replaces everything by what save() gave on any number of ranks; the bytes are those of rank 0. Collective.
  void restore(const core::Bytes& saved);

 private:
  struct Record;
  std::vector<Record> exchange(Wish wish, bool time_is_up);
  void adopt_witness(const std::vector<Record>& records);
  void adapt_slice(const std::vector<Record>& records);
  void move_pieces(const std::vector<Record>& records);
  void absorb(std::span<const std::byte> part, bool is_first);
  double elapsed() const;

  Team* team_;
  const certify::Pair* pair_;
  const network::Box* region_;
  certify::BranchOptions options_;
  certify::BranchAndBound search_;
  double slice_;         ///< seconds between exchanges, the same on every rank
  double waited_ = 0.0;  ///< seconds in the last exchange
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double seconds_before_ = 0.0;      ///< of earlier runs
  std::int64_t boxes_before_ = 0;    ///< of earlier runs, all ranks
  std::int64_t boxes_this_run_ = 0;  ///< of all ranks, at the last exchange
  std::vector<double> witness_;
  double witness_lower_ = 0.0;
  bool refuted_ = false;  ///< witness_ leaves the target
  /// What the pieces of absorbed states came to that were closed there.
  network::Box settled_;
  double settled_upper_ = 0.0;
  std::int64_t settled_boxes_ = 0;
};

}  // namespace quantbound::apps
