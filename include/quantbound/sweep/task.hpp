/// Executes tasks of a plan. The record is a pure function of (plan, task index), of stages after reconstruction of the
/// reconstructed weights on the shelf too, which are themselves a function of the plan: random numbers are keyed by
/// what is computed, and neither ranks, threads nor the order of tasks leave a trace. The runner only remembers the
/// network it loaded last, with its reconstructed weights, because neighbouring tasks share them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "quantbound/sweep/plan.hpp"
#include "quantbound/sweep/record.hpp"
#include "quantbound/sweep/shelf.hpp"

namespace quantbound::sweep {

namespace detail {
class PairSource;
}

/// How far a reconstruction has come.
struct ReconstructionProgress {
  Index network = 0, configuration = 0;
  reconstruct::Progress module;
};

/// How a caller looks on. Members may be empty.
struct TaskWatch {
  std::function<bool()> stop;                                   ///< asked often during long work; true ends it
  std::function<void(const ReconstructionProgress&)> progress;  ///< several times a second at most
  double save_seconds = 30.0;                                   ///< between two states of a reconstruction on the shelf
};

class TaskRunner {
 public:
  /// Reconstructed weights stay in memory. The plan must outlive the runner.
  explicit TaskRunner(const Plan& plan);
  /// Plan and shelf must outlive the runner.
  TaskRunner(const Plan& plan, Shelf& shelf, TaskWatch watch);
  ~TaskRunner();

  /// A unit that fails is recorded as Failure, and the next one runs. Nothing where `stop` cut a certificate or an
  /// attack short: what was proved or found by then depends on the moment; nothing where it cut a reconstruction short,
  /// which another run continues. Throws core::IoError where the shelf fails.
  /// @pre all tasks of the network that reconstruct were run with this shelf, if this task is of another stage
  std::optional<Record> run(std::size_t task);

 private:
  struct Stopped {};   ///< `stop` ended a search
  struct ShelfFailed;  ///< not the fault of a unit
  ReconstructResult run_reconstruct(const Task& task, const Unit& unit);
  reconstruct::Reconstruction reconstruct_configuration(Index network, Index configuration);
  void fetch(const Unit& unit);
  NormsResult run_norms(const PlannedNetwork& planned, const Unit& unit) const;
  WeightBoundsResult run_weight_bounds(const PlannedNetwork& planned, const Unit& unit) const;
  CertifyResult run_certify(const PlannedNetwork& planned, const Unit& unit) const;
  AttackResult run_attack(const PlannedNetwork& planned, const Unit& unit) const;
  ObserveResult run_observe(const PlannedNetwork& planned, const Unit& unit) const;

  detail::PairSource& pairs(Index network);
  UnitResult run_unit(const Task& task, const Unit& unit);

  const Plan* plan_;
  std::unique_ptr<MemoryShelf> own_shelf_;
  Shelf* shelf_;
  TaskWatch watch_;
  Index loaded_ = -1;
  std::unique_ptr<detail::PairSource> pairs_;  ///< of that network
  std::vector<float> calibration_;             ///< of that network, while it is reconstructed
};

/// Whether the task should have left weights for tasks of other stages and they are not there. @pre reconstructs(task)
bool weights_are_missing(const Plan& plan, const Shelf& shelf, const Task& task);

}  // namespace quantbound::sweep
