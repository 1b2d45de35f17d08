/// Executes tasks of a plan. The record is a pure function of (plan, task index): random numbers are keyed by what is
/// computed, and neither ranks, threads nor the order of tasks leave a trace. The runner only remembers the network it
/// loaded last, because neighbouring tasks share it.
#pragma once

#include <functional>
#include <optional>

#include "quantbound/sweep/plan.hpp"
#include "quantbound/sweep/record.hpp"

namespace quantbound::sweep {

class TaskRunner {
 public:
  /// The plan must outlive the runner.
  explicit TaskRunner(const Plan& plan) : plan_(&plan) {}
  /// `stop` is asked often during long work; true ends it.
  TaskRunner(const Plan& plan, std::function<bool()> stop) : plan_(&plan), stop_(std::move(stop)) {}

  /// A unit that fails is recorded as Failure, and the next one runs. Nothing where `stop` cut a certificate or an
  /// attack short: what was proved or found by then depends on the moment.
  std::optional<Record> run(std::size_t task);

 private:
  /// `stop` ended a search.
  struct Stopped {};
  CertifyResult run_certify(const PlannedNetwork& planned, const network::Network& network, const Unit& unit) const;
  AttackResult run_attack(const PlannedNetwork& planned, const network::Network& network, const Unit& unit) const;

  const network::Network& network(Index index);
  UnitResult run_unit(const Task& task, const Unit& unit);

  const Plan* plan_;
  std::function<bool()> stop_;
  Index loaded_index_ = -1;
  std::optional<network::Network> loaded_;
};

}  // namespace quantbound::sweep
