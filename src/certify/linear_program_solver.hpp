/// Multipliers for linear_program.hpp from COIN-OR CLP's dual simplex. Nothing that CLP says is believed: what it
/// returns, whether it finished or not, is fed to proved_minimum. Successive calls start from the last basis. The
/// program is centred and scaled first, so that every variable runs over about [-1, 1].
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "linear_program.hpp"

namespace quantbound::certify::linear {

/// Asked at every iteration; true ends the solve with the multipliers reached.
using StopRequest = std::function<bool()>;

class LinearProgramSolver {
 public:
  /// The program as it is now: rows and limits that change later are not seen.
  /// @pre program outlives the solver
  explicit LinearProgramSolver(const LinearProgram& program);
  LinearProgramSolver(LinearProgramSolver&&) noexcept;
  LinearProgramSolver& operator=(LinearProgramSolver&&) noexcept;
  ~LinearProgramSolver();

  /// Another solver in the same state: what several threads start from.
  LinearProgramSolver copy() const;

  /// A proved lower bound of the objective, by the multipliers of at most `iterations` steps from the last basis.
  double minimum(std::span<const Term> objective, int iterations, const StopRequest& stop);

 private:
  struct Impl;
  explicit LinearProgramSolver(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quantbound::certify::linear
