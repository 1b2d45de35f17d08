#include "quantbound/parallel/scheduler.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <queue>
#include <tuple>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"

#include "communicator.hpp"

namespace quantbound::parallel {

namespace {

using detail::Backoff;
using detail::Communicator;
using detail::verify;

constexpr int tag_report = 11;  ///< worker -> rank 0: a Report
constexpr int tag_stop = 12;    ///< rank 0 -> worker: nothing in it; at most once per run
constexpr int tag_work = 13;    ///< rank 0 -> worker: indices; none: there is no more work
constexpr std::chrono::milliseconds report_interval{100};
constexpr std::size_t largest_chunk = 256;

/// What a worker tells rank 0: tasks done since the last report, and what it asks for.
struct Report {
  std::uint64_t done = 0;
  double cost = 0.0;
  std::uint32_t asks_to_stop = 0;
  std::uint32_t asks_for_work = 0;
};

std::vector<std::size_t> by_falling_cost(std::span<const double> costs) {
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
  return order;
}

double total_of(std::span<const double> costs) { return std::accumulate(costs.begin(), costs.end(), 0.0); }

void check_costs(std::span<const double> costs) {
  for (const double cost : costs) QUANTBOUND_ASSERT(std::isfinite(cost) && cost >= 0.0, cost);
}

/// Every rank must schedule the same tasks: the largest and the smallest hash over ranks are equal.
void check_agreement(const Communicator& communicator, std::span<const double> costs) {
  detail::arrive_together(communicator);
  const std::uint64_t hash = core::hash64(std::as_bytes(costs));
  const std::array<std::uint64_t, 2> mine = {hash, ~hash};
  std::array<std::uint64_t, 2> largest{};
  verify(MPI_Allreduce(mine.data(), largest.data(), 2, MPI_UINT64_T, MPI_MAX, communicator.handle), "MPI_Allreduce");
  if (largest[0] == ~largest[1]) return;
  throw core::InputError(
      "the ranks disagree about the tasks: they see different studies or networks; check that every "
      "node reads the same files",
      "");
}

/// The progress of all ranks, as far as rank 0 knows it.
class Tally {
 public:
  Tally(std::span<const double> costs, const OnProgress& on_progress) : on_progress_(on_progress) {
    progress_.total = costs.size();
    progress_.cost_total = total_of(costs);
  }
  void add(std::uint64_t done, double cost) {
    progress_.done += static_cast<std::size_t>(done);
    progress_.cost_done += cost;
    // The order of the sum depends on who reports when: the last word is exact.
    if (progress_.done == progress_.total) progress_.cost_done = progress_.cost_total;
    changed_ = changed_ || done > 0;
  }
  void tell() {
    if (changed_ && on_progress_) on_progress_(progress_);
    changed_ = false;
  }

 private:
  const OnProgress& on_progress_;
  Progress progress_;
  bool changed_ = false;
};

/// Rank 0's end of the conversation.
class Root {
 public:
  Root(const Communicator& communicator, StopToken& stop, Tally& tally)
      : communicator_(communicator),
        stop_(stop),
        tally_(tally),
        received_(static_cast<std::size_t>(workers()) + 1, 0) {}

  int workers() const { return communicator_.size - 1; }

  /// Takes the reports that have arrived and passes a stop on. True if there was something.
  bool look() {
    bool anything = false;
    while (has_report()) {
      receive(MPI_ANY_SOURCE);
      anything = true;
    }
    spread_stop();
    tally_.tell();
    return anything;
  }
  /// Ranks that asked for work, in the order they asked.
  std::vector<int> take_requests() { return std::exchange(requests_, {}); }
  /// Indices for a rank; none: the end.
  void give(int rank, std::span<const std::uint64_t> indices) {
    verify(
        MPI_Send(indices.data(), static_cast<int>(indices.size()), MPI_UINT64_T, rank, tag_work, communicator_.handle),
        "MPI_Send");
  }
  /// Takes every report that is still on its way, so that nothing is left for the next run.
  void settle() {
    const int none = 0;
    std::vector<int> sent(received_.size());
    verify(MPI_Gather(&none, 1, MPI_INT, sent.data(), 1, MPI_INT, 0, communicator_.handle), "MPI_Gather");
    for (int rank = 1; rank <= workers(); ++rank) {
      while (received_[index(rank)] < sent[index(rank)]) receive(rank);
    }
    int was_spread = stop_was_spread_ ? 1 : 0;
    verify(MPI_Bcast(&was_spread, 1, MPI_INT, 0, communicator_.handle), "MPI_Bcast");
    tally_.tell();
  }

 private:
  static std::size_t index(int rank) { return static_cast<std::size_t>(rank); }

  bool has_report() {
    int flag = 0;
    verify(MPI_Iprobe(MPI_ANY_SOURCE, tag_report, communicator_.handle, &flag, MPI_STATUS_IGNORE), "MPI_Iprobe");
    return flag != 0;
  }
  void receive(int source) {
    Report report;
    MPI_Status status{};
    verify(MPI_Recv(&report, sizeof report, MPI_BYTE, source, tag_report, communicator_.handle, &status), "MPI_Recv");
    ++received_[index(status.MPI_SOURCE)];
    tally_.add(report.done, report.cost);
    if (report.asks_to_stop != 0) stop_.request_stop();
    if (report.asks_for_work != 0) requests_.push_back(status.MPI_SOURCE);
  }
  void spread_stop() {
    if (stop_was_spread_ || !stop_.stop_requested()) return;
    for (int rank = 1; rank <= workers(); ++rank) {
      verify(MPI_Send(nullptr, 0, MPI_BYTE, rank, tag_stop, communicator_.handle), "MPI_Send");
    }
    stop_was_spread_ = true;
  }

  const Communicator& communicator_;
  StopToken& stop_;
  Tally& tally_;
  std::vector<int> received_;  ///< reports, by rank
  std::vector<int> requests_;
  bool stop_was_spread_ = false;
};

/// The other ranks' end of it.
class Worker {
 public:
  Worker(const Communicator& communicator, StopToken& stop) : communicator_(communicator), stop_(stop) {}

  void add(double cost) {
    ++report_.done;
    report_.cost += cost;
  }
  /// Hears of a stop, passes a stop of its own on, and reports now and then. True if there was something to hear.
  bool look() {
    const bool heard = !stop_was_heard_ && has_message(tag_stop);
    if (heard) hear_stop();
    const bool news = stop_.stop_requested() && !stop_was_heard_ && !stop_was_told_;
    if (news) {
      report_.asks_to_stop = 1;
      stop_was_told_ = true;
    }
    const bool due = report_.done > 0 && std::chrono::steady_clock::now() - last_report_ >= report_interval;
    if (news || due) send();
    return heard;
  }
  /// Asks rank 0 for work and waits for the answer.
  std::vector<std::uint64_t> ask_for_work() {
    report_.asks_for_work = 1;
    send();
    for (Backoff backoff; !has_message(tag_work);) {
      if (!look()) backoff.pause();
    }
    MPI_Status status{};
    int count = 0;
    verify(MPI_Probe(0, tag_work, communicator_.handle, &status), "MPI_Probe");
    verify(MPI_Get_count(&status, MPI_UINT64_T, &count), "MPI_Get_count");
    std::vector<std::uint64_t> indices(static_cast<std::size_t>(count));
    verify(MPI_Recv(indices.data(), count, MPI_UINT64_T, 0, tag_work, communicator_.handle, MPI_STATUS_IGNORE),
           "MPI_Recv");
    return indices;
  }
  /// What is left to report.
  void flush() {
    if (report_.done > 0) send();
  }
  /// Takes a stop that is still on its way, and tells rank 0 how many reports it has to take.
  void settle() {
    flush();
    verify(MPI_Gather(&sent_, 1, MPI_INT, nullptr, 0, MPI_INT, 0, communicator_.handle), "MPI_Gather");
    int was_spread = 0;
    verify(MPI_Bcast(&was_spread, 1, MPI_INT, 0, communicator_.handle), "MPI_Bcast");
    if (was_spread != 0 && !stop_was_heard_) hear_stop();
  }

 private:
  bool has_message(int tag) {
    int flag = 0;
    verify(MPI_Iprobe(0, tag, communicator_.handle, &flag, MPI_STATUS_IGNORE), "MPI_Iprobe");
    return flag != 0;
  }
  void hear_stop() {
    verify(MPI_Recv(nullptr, 0, MPI_BYTE, 0, tag_stop, communicator_.handle, MPI_STATUS_IGNORE), "MPI_Recv");
    stop_was_heard_ = true;
    stop_.request_stop();
  }
  /// A report is small: MPI takes it at once, whether rank 0 listens or computes.
  void send() {
    verify(MPI_Send(&report_, sizeof report_, MPI_BYTE, 0, tag_report, communicator_.handle), "MPI_Send");
    ++sent_;
    report_ = {};
    last_report_ = std::chrono::steady_clock::now();
  }

  const Communicator& communicator_;
  StopToken& stop_;
  Report report_;
  int sent_ = 0;
  bool stop_was_told_ = false, stop_was_heard_ = false;
  std::chrono::steady_clock::time_point last_report_ = std::chrono::steady_clock::now();
};

/// All ranks meet, still talking; then nothing is on its way any more. Side is Root or Worker.
template <class Side>
Outcome finish(const Communicator& communicator, Side& side, std::uint64_t done_here, std::size_t total) {
  std::uint64_t done = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  verify(MPI_Iallreduce(&done_here, &done, 1, MPI_UINT64_T, MPI_SUM, communicator.handle, &request), "MPI_Iallreduce");
  for (Backoff backoff; !detail::is_complete(request);) {
    if (!side.look()) backoff.pause();
  }
  side.settle();
  QUANTBOUND_ASSERT(done <= total, done, total);
  return done == total ? Outcome::finished : Outcome::stopped;
}

/// Executes the tasks of a list until a stop; how many that were. `look` before and `add` after every task.
template <class Task>
std::uint64_t execute_all(const std::vector<Task>& tasks, StopToken& stop, const Execute& execute,
                          const std::function<void()>& look, const std::function<void(std::size_t)>& add) {
  std::uint64_t done = 0;
  for (const Task task : tasks) {
    look();
    if (stop.stop_requested()) break;
    execute(static_cast<std::size_t>(task));
    add(static_cast<std::size_t>(task));
    ++done;
  }
  return done;
}

Outcome run_alone(std::span<const double> costs, StopToken& stop, const Execute& execute,
                  const OnProgress& on_progress) {
  Tally tally(costs, on_progress);
  const std::uint64_t done = execute_all(
      by_falling_cost(costs), stop, execute, [&] { tally.tell(); },
      [&](std::size_t task) { tally.add(1, costs[task]); });
  tally.tell();
  return done == costs.size() ? Outcome::finished : Outcome::stopped;
}

/// Hands out indices, the most expensive first: to each request its share of a fraction of what is left, so that chunks
/// shrink towards the end; at least one task.
class Queue {
 public:
  Queue(std::span<const double> costs, int workers)
      : costs_(costs), order_(by_falling_cost(costs)), left_(total_of(costs)), workers_(workers) {}
  bool empty() const { return next_ == order_.size(); }
  std::vector<std::uint64_t> take() {
    const double fair = left_ / (4.0 * workers_);
    std::vector<std::uint64_t> chunk;
    double cost = 0.0;
    while (!empty() && chunk.size() < largest_chunk && (chunk.empty() || cost + costs_[order_[next_]] <= fair)) {
      cost += costs_[order_[next_]];
      chunk.push_back(order_[next_++]);
    }
    left_ -= cost;
    return chunk;
  }

 private:
  std::span<const double> costs_;
  std::vector<std::size_t> order_;
  std::size_t next_ = 0;
  double left_ = 0.0;
  int workers_ = 1;
};

/// Answers requests until every worker was told that there is no more.
void hand_out(Root& root, std::span<const double> costs, StopToken& stop) {
  Queue queue(costs, root.workers());
  int ended = 0;
  Backoff backoff;
  while (ended < root.workers()) {
    const bool anything = root.look();
    for (const int rank : root.take_requests()) {
      const bool over = stop.stop_requested() || queue.empty();
      root.give(rank, over ? std::vector<std::uint64_t>() : queue.take());
      if (over) ++ended;
    }
    if (anything) {
      backoff.reset();
    } else {
      backoff.pause();
    }
  }
}

/// Asks for work until there is none; how many tasks were done here.
std::uint64_t work(Worker& worker, std::span<const double> costs, StopToken& stop, const Execute& execute) {
  std::uint64_t done = 0;
  while (true) {
    const std::vector<std::uint64_t> chunk = worker.ask_for_work();
    if (chunk.empty()) return done;
    done += execute_all(
        chunk, stop, execute, [&] { worker.look(); }, [&](std::size_t task) { worker.add(costs[task]); });
  }
}

}  // namespace

std::string_view to_string(Outcome outcome) { return outcome == Outcome::finished ? "finished" : "stopped"; }

std::vector<std::vector<std::size_t>> static_assignment(std::span<const double> costs, int ranks) {
  QUANTBOUND_ASSERT(ranks >= 1, ranks);
  check_costs(costs);
  using Load = std::tuple<double, std::size_t, std::size_t>;  // cost so far, tasks so far, rank
  std::priority_queue<Load, std::vector<Load>, std::greater<>> loads;
  std::vector<std::vector<std::size_t>> tasks(static_cast<std::size_t>(ranks));
  for (std::size_t rank = 0; rank < tasks.size(); ++rank) loads.emplace(0.0, 0, rank);
  for (const std::size_t task : by_falling_cost(costs)) {
    const auto [load, count, rank] = loads.top();
    loads.pop();
    tasks[rank].push_back(task);
    loads.emplace(load + costs[task], count + 1, rank);
  }
  return tasks;
}

Outcome run_static(Session& session, std::span<const double> costs, StopToken& stop, const Execute& execute,
                   const OnProgress& on_progress) {
  check_costs(costs);
  if (session.size() == 1) return run_alone(costs, stop, execute, on_progress);
  const Communicator& communicator = session.communicator();
  check_agreement(communicator, costs);
  const auto all = static_assignment(costs, session.size());
  const auto& mine = all[static_cast<std::size_t>(session.rank())];
  if (session.is_root()) {
    Tally tally(costs, on_progress);
    Root root(communicator, stop, tally);
    const std::uint64_t done = execute_all(
        mine, stop, execute, [&] { root.look(); }, [&](std::size_t task) { tally.add(1, costs[task]); });
    return finish(communicator, root, done, costs.size());
  }
  Worker worker(communicator, stop);
  const std::uint64_t done = execute_all(
      mine, stop, execute, [&] { worker.look(); }, [&](std::size_t task) { worker.add(costs[task]); });
  worker.flush();
  return finish(communicator, worker, done, costs.size());
}

Outcome run_dynamic(Session& session, std::span<const double> costs, StopToken& stop, const Execute& execute,
                    const OnProgress& on_progress) {
  check_costs(costs);
  if (session.size() == 1) return run_alone(costs, stop, execute, on_progress);
  const Communicator& communicator = session.communicator();
  check_agreement(communicator, costs);
  if (session.is_root()) {
    Tally tally(costs, on_progress);
    Root root(communicator, stop, tally);
    hand_out(root, costs, stop);
    return finish(communicator, root, 0, costs.size());
  }
  Worker worker(communicator, stop);
  const std::uint64_t done = work(worker, costs, stop, execute);
  return finish(communicator, worker, done, costs.size());
}

}  // namespace quantbound::parallel
