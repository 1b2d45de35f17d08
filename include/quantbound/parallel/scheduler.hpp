/// Who executes which task. A task is an index; its cost is a deterministic estimate, the same on every rank. Results
/// must not depend on the schedule: a task is a pure function of its index, so these functions only decide where and
/// when. Static: longest processing time first, decided by everyone alike, no messages for work. Dynamic: rank 0 only
/// hands out indices, the most expensive first, cheap ones in guided chunks (a counter on a computing rank starves:
/// it answers only when that rank enters MPI). Waiting ranks sleep between looks at their messages. A stop of any rank
/// reaches all of them after their running task.
///
/// | function                  | who calls it |
/// | static_assignment         | independent |
/// | run_static, run_dynamic   | collective; `execute` runs on the owning rank, `on_progress` on rank 0 |
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "quantbound/parallel/session.hpp"
#include "quantbound/parallel/stop_token.hpp"

namespace quantbound::parallel {

struct Progress {
  std::size_t done = 0, total = 0;
  double cost_done = 0.0, cost_total = 0.0;
};

/// finished: every task was executed. stopped: some were not. All ranks get the same answer.
enum class Outcome { finished, stopped };
std::string_view to_string(Outcome outcome);

/// A task that fails is data and is recorded by `execute` itself; an exception from it means a failing rank: it leaves
/// run_* on this rank, and the others wait until main calls end_job.
using Execute = std::function<void(std::size_t task)>;
/// Called on rank 0 whenever more tasks are known to be done, at the latest when all are. May be empty.
using OnProgress = std::function<void(const Progress& progress)>;

/// Tasks of every rank, each list in the order of execution: by falling cost, ties by index, to the rank with the least
/// load so far, ties to the fewest tasks and then to the lowest rank. @pre costs are finite and >= 0; ranks >= 1
std::vector<std::vector<std::size_t>> static_assignment(std::span<const double> costs, int ranks);

/// Executes every task 0..costs.size()-1 exactly once on some rank, or stops early. Throws core::InputError where the
/// ranks were given different costs (they read different files). @pre costs are finite and >= 0
Outcome run_static(Session& session, std::span<const double> costs, StopToken& stop, const Execute& execute,
                   const OnProgress& on_progress);
Outcome run_dynamic(Session& session, std::span<const double> costs, StopToken& stop, const Execute& execute,
                    const OnProgress& on_progress);

}  // namespace quantbound::parallel
