#include "linear_program_solver.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ClpEventHandler.hpp>
#include <ClpSimplex.hpp>
#include <CoinError.hpp>
#include <CoinPackedMatrix.hpp>

namespace quantbound::certify::linear {

namespace {

/// Coefficients this small beside the largest of their row are left out of what CLP sees: they only cost it stability.
constexpr double negligible = 1e-11;
/// What CLP takes for infinite.
constexpr double unlimited = std::numeric_limits<double>::max();

/// Ends CLP's iterations on request.
class StopHandler final : public ClpEventHandler {
 public:
  explicit StopHandler(const StopRequest* stop) : stop_(stop) {}
  int event(Event which) override {
    const bool iterated = which == endOfIteration || which == endOfFactorization;
    return iterated && stop_ != nullptr && *stop_ && (*stop_)() ? 5 : -1;  // 5: stopped by the event
  }
  ClpEventHandler* clone() const override { return new StopHandler(*this); }

 private:
  const StopRequest* stop_;
};

/// v = center + scale t with t in about [-1, 1]; a variable whose interval is a point, or unbounded, has scale 0 or 1.
struct Column {
  double center = 0.0, scale = 0.0;
};

Column centred(Interval limits) {
  const double center = limits.low / 2.0 + limits.high / 2.0, radius = limits.high / 2.0 - limits.low / 2.0;
  if (!std::isfinite(center) || !std::isfinite(radius)) return {0.0, 1.0};
  return {center, radius};
}

double clp_limit(double value) { return std::abs(value) < 1e20 ? value : std::copysign(unlimited, value); }

/// The matrix that CLP works on, column by column, with rows divided by `row_scale`.
struct Scaled {
  std::vector<Column> columns;
  std::vector<double> row_scale;
  std::vector<double> column_low, column_high, row_low, row_high;
  CoinPackedMatrix matrix;
};

Scaled scale(const LinearProgram& program) {
  Scaled scaled;
  for (Index v = 0; v < program.variables(); ++v) {
    const Interval limits = program.variable(v);
    const Column column = centred(limits);
    const double divisor = column.scale > 0.0 ? column.scale : 1.0;
    scaled.columns.push_back(column);
    scaled.column_low.push_back(clp_limit((limits.low - column.center) / divisor));
    scaled.column_high.push_back(clp_limit((limits.high - column.center) / divisor));
  }
  std::vector<int> rows, columns;
  std::vector<double> elements;
  for (Index i = 0; i < program.rows(); ++i) {
    double largest = 0.0, at_center = 0.0;
    for (const Term& term : program.row(i)) {
      const Column& column = scaled.columns[static_cast<std::size_t>(term.variable)];
      largest = std::max(largest, std::abs(term.coefficient * column.scale));
      at_center += term.coefficient * column.center;
    }
    const bool usable = std::isfinite(largest) && largest > 0.0 && std::isfinite(at_center);
    const double divisor = usable ? largest : 1.0;
    const Interval limits = usable ? program.row_limits(i) : Interval{-unlimited, unlimited};
    scaled.row_scale.push_back(divisor);
    scaled.row_low.push_back(clp_limit((limits.low - at_center) / divisor));
    scaled.row_high.push_back(clp_limit((limits.high - at_center) / divisor));
    if (!usable) continue;
    for (const Term& term : program.row(i)) {
      const double element = term.coefficient * scaled.columns[static_cast<std::size_t>(term.variable)].scale / divisor;
      if (std::abs(element) < negligible) continue;
      rows.push_back(static_cast<int>(i));
      columns.push_back(static_cast<int>(term.variable));
      elements.push_back(element);
    }
  }
  // Triplets of the same place are added up by this constructor.
  scaled.matrix =
      CoinPackedMatrix(true, rows.data(), columns.data(), elements.data(), static_cast<CoinBigIndex>(elements.size()));
  scaled.matrix.setDimensions(static_cast<int>(program.rows()), static_cast<int>(program.variables()));
  return scaled;
}

}  // namespace

struct LinearProgramSolver::Impl {
  const LinearProgram* program;
  std::vector<Column> columns;
  std::vector<double> row_scale;
  ClpSimplex model;

  explicit Impl(const LinearProgram& of) : program(&of) {
    Scaled scaled = scale(of);
    columns = std::move(scaled.columns);
    row_scale = std::move(scaled.row_scale);
    model.setLogLevel(0);
    model.scaling(0);
    const std::vector<double> objective(columns.size(), 0.0);
    model.loadProblem(scaled.matrix, scaled.column_low.data(), scaled.column_high.data(), objective.data(),
                      scaled.row_low.data(), scaled.row_high.data());
  }

  /// The objective per scaled variable; what it was divided by.
  double set_objective(std::span<const Term> objective) {
    std::vector<double> costs(columns.size(), 0.0);
    for (const Term& term : objective) {
      const auto v = static_cast<std::size_t>(term.variable);
      costs[v] += term.coefficient * columns[v].scale;
    }
    double largest = 0.0;
    for (const double cost : costs) largest = std::max(largest, std::abs(cost));
    if (!(largest > 0.0) || !std::isfinite(largest)) return 0.0;
    for (double& cost : costs) cost /= largest;
    model.chgObjCoefficients(costs.data());
    return largest;
  }

  /// Zeros where CLP gave up: they prove what the intervals of the objective's variables do.
  std::vector<double> multipliers(std::span<const Term> objective, int iterations, const StopRequest& stop) {
    std::vector<double> result(row_scale.size(), 0.0);
    const double objective_scale = set_objective(objective);
    if (result.empty() || objective_scale == 0.0) return result;
    StopHandler handler(&stop);
    model.passInEventHandler(&handler);
    model.setMaximumIterations(iterations);
    try {
      model.dual();
    } catch (const CoinError&) {
      return result;
    }
    const StopHandler idle(nullptr);
    model.passInEventHandler(&idle);  // a copy of the model must not keep a pointer to `stop`
    const double* duals = model.dualRowSolution();
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = duals[i] * (objective_scale / row_scale[i]);
    return result;
  }
};

LinearProgramSolver::LinearProgramSolver(const LinearProgram& program) : impl_(std::make_unique<Impl>(program)) {}
LinearProgramSolver::LinearProgramSolver(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LinearProgramSolver::LinearProgramSolver(LinearProgramSolver&&) noexcept = default;
LinearProgramSolver& LinearProgramSolver::operator=(LinearProgramSolver&&) noexcept = default;
LinearProgramSolver::~LinearProgramSolver() = default;

LinearProgramSolver LinearProgramSolver::copy() const { return LinearProgramSolver(std::make_unique<Impl>(*impl_)); }

double LinearProgramSolver::minimum(std::span<const Term> objective, int iterations, const StopRequest& stop) {
  const std::vector<double> found = impl_->multipliers(objective, iterations, stop);
  const std::vector<double> none(found.size(), 0.0);
  return std::max(proved_minimum(*impl_->program, objective, found), proved_minimum(*impl_->program, objective, none));
}

}  // namespace quantbound::certify::linear
