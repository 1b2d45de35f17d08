/// One pass through a network, module after module: each reads the quantized prefix and is fitted to f by the method at
/// hand, and never kept worse than rounding to nearest. Looks after progress, stopping and stored states.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <vector>

#include "quantbound/reconstruct/reconstruct.hpp"

#include "module_problem.hpp"
#include "module_training.hpp"
#include "state.hpp"
#include "values.hpp"

namespace quantbound::reconstruct::detail {

/// What a pass works on; all of it outlives the pass.
struct Task {
  const Graph& graph;
  std::span<const LayerParameters> original;
  quantize::Configuration configuration;
  Method method = Method::round;  ///< of the modules: not mrecg
  const Calibration& calibration;
  const Options& options;
  const Watch& watch;
  std::uint64_t identity = 0;  ///< of the stored states
  Index passes = 1;            ///< through the network
};

/// Something that is done now and then.
class Pace {
 public:
  explicit Pace(double seconds);
  bool due();

 private:
  std::chrono::duration<double> pause_;
  std::chrono::steady_clock::time_point last_;
};

class Walk {
 public:
  /// Goes on from a state, whose modules so far are the first of these.
  Walk(const Task& task, std::span<const Module> modules, State& state);
  /// Until the end, or until it is stopped: then false, and the state says where.
  bool run();

 private:
  void replay(Index number);
  bool solve(Index number);
  ModuleProblem problem_of(Index number, std::span<const float> target) const;
  std::vector<float> target_of(Index number, const Graph& graph) const;
  /// Weights as the method finds them, with what the report says of that; nothing where it was stopped.
  std::optional<std::vector<std::vector<double>>> found_weights(const ModuleProblem& problem, Candidate nearest,
                                                                ModuleReport& report);
  std::optional<std::vector<std::vector<double>>> trained_weights(const ModuleProblem& problem, Candidate nearest,
                                                                  ModuleReport& report);
  void finish(const ModuleProblem& problem, ModuleReport report, Candidate kept);
  void store();
  void tell(const Module& module, Index iteration, double loss) const;
  bool stopped() const { return task_.watch.stop && task_.watch.stop(); }

  Task task_;
  std::span<const Module> modules_;
  State& state_;
  Values values_;
  Pace telling_, saving_;
};

}  // namespace quantbound::reconstruct::detail
