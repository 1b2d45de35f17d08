/// The processes that work on one answer: the ranks of a launcher, or this one alone, which needs no MPI and starts at
/// once.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "quantbound/core/bytes.hpp"
#include "quantbound/parallel/session.hpp"

#include "verb.hpp"

namespace quantbound::apps {

class Team {
 public:
  /// Starts MPI when a launcher started this process. Collective.
  explicit Team(const Call& call);

  int rank() const { return session_ ? session_->rank() : 0; }
  int size() const { return session_ ? session_->size() : 1; }
  bool is_root() const { return rank() == 0; }

  /// What every rank passed, by rank, on every rank. For short records. Collective.
  std::vector<core::Bytes> share(std::span<const std::byte> mine);
  /// The same on rank 0 only, of any length; elsewhere empty. Collective.
  std::vector<core::Bytes> gather(std::span<const std::byte> mine);
  /// What rank 0 passed. Collective.
  core::Bytes broadcast(core::Bytes bytes);
  /// @pre two ranks, one sends and the other receives
  void send(int to, std::span<const std::byte> message);
  core::Bytes receive(int from);

  /// apps/failure.hpp: alone, exceptions leave. Collective.
  Exit on_root(const std::function<void()>& action);
  Exit on_every_rank(const std::function<void()>& action);
  /// Threads for this rank: as asked, as OMP_NUM_THREADS says, or as many as its processors allow. Collective.
  int choose_threads(const std::optional<int>& asked);

 private:
  std::optional<parallel::Session> session_;
};

}  // namespace quantbound::apps
