#include "quantbound/reconstruct/gptq.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include <Eigen/Dense>
#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::reconstruct {

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

constexpr Index rows_at_once = 32;  // of a thread: a fixed number, since the bits of Eigen's products follow shapes

std::vector<Index> order_of(std::span<const double> moments, Index columns, ColumnOrder order) {
  std::vector<Index> result(at(columns));
  std::iota(result.begin(), result.end(), Index{0});
  if (order == ColumnOrder::descending_diagonal) {
    const auto diagonal = [&](Index i) { return moments[at(i * (columns + 1))]; };
    std::ranges::stable_sort(result, [&](Index a, Index b) { return diagonal(a) > diagonal(b); });
  }
  return result;
}

/// H in the given order of columns: damped, and with a diagonal for columns that have none.
Matrix damped(std::span<const double> moments, std::span<const Index> order, double damping) {
  const Index columns = std::ssize(order);
  double sum = 0.0;
  Index live = 0;
  for (Index i = 0; i < columns; ++i) {
    const double diagonal = moments[at(i * (columns + 1))];
    sum += diagonal;
    live += diagonal > 0.0 ? 1 : 0;
  }
  const double mean = live > 0 ? sum / static_cast<double>(live) : 1.0;
  Matrix result(columns, columns);
  for (Index i = 0; i < columns; ++i)
    for (Index j = 0; j < columns; ++j) result(i, j) = moments[at(order[at(i)] * columns + order[at(j)])];
  for (Index i = 0; i < columns; ++i) result(i, i) = (result(i, i) > 0.0 ? result(i, i) : mean) + damping * mean;
  return result;
}

/// The upper U with H^-1 = U^T U; empty where H is not positive definite. With the order of rows and columns reversed,
/// H = M M^T for an upper M is Cholesky's factorization, and U = M^-1.
Matrix inverse_factor(const Matrix& h) {
  const Matrix reversed = h.reverse();
  const Eigen::LLT<Matrix> factorization(reversed);
  if (factorization.info() != Eigen::Success) return {};
  const Matrix upper = Matrix(factorization.matrixL()).reverse();
  return upper.triangularView<Eigen::Upper>().solve(Matrix::Identity(h.rows(), h.cols()));
}

/// Some rows of a group in the order of columns: weights become levels.
struct Rows {
  Matrix weights, losses;
};

/// Rounds columns [first, end); returns (w - q) / U_jj for each.
Matrix round_block(Rows& rows, const Matrix& u, std::span<const quantize::RowGrid> grids, Index first, Index end) {
  Matrix errors(rows.weights.rows(), end - first);
  for (Index row = 0; row < rows.weights.rows(); ++row) {
    for (Index j = first; j < end; ++j) {
      double& weight = rows.weights(row, j);
      const double level = quantize::quantize_value(weight, grids[at(row)], quantize::Quantizer::round, 0.0);
      const double error = (weight - level) / u(j, j);
      weight = level;
      errors(row, j - first) = error;
      rows.losses(row, j) = error * error;
      for (Index k = j + 1; k < end; ++k) rows.weights(row, k) -= error * u(j, k);
    }
  }
  return errors;
}

Rows round_rows(const Matrix& weights, const Matrix& u, std::span<const quantize::RowGrid> grids, Index block) {
  const Index columns = weights.cols();
  Rows rows{weights, Matrix(weights.rows(), columns)};
  for (Index first = 0; first < columns; first += block) {
    const Index end = std::min(first + block, columns), rest = columns - end;
    const Matrix errors = round_block(rows, u, grids, first, end);
    if (rest > 0) rows.weights.rightCols(rest).noalias() -= errors * u.block(first, end, end - first, rest);
  }
  return rows;
}

/// One group of a layer.
struct Group {
  std::span<const double> weights;  ///< rows x columns
  std::span<const quantize::RowGrid> grids;
  std::span<double> rounded, losses;  ///< the results
};

void round_group(const Group& group, const Matrix& u, std::span<const Index> order, Index block) {
  const Index columns = std::ssize(order), rows = std::ssize(group.grids);
#pragma omp parallel for schedule(dynamic)
  for (Index first = 0; first < rows; first += rows_at_once) {
    const Index count = std::min(rows_at_once, rows - first);
    Matrix weights(count, columns);
    for (Index i = 0; i < count; ++i)
      for (Index j = 0; j < columns; ++j) weights(i, j) = group.weights[at((first + i) * columns + order[at(j)])];
    const Rows result = round_rows(weights, u, group.grids.subspan(at(first), at(count)), block);
    for (Index i = 0; i < count; ++i)
      for (Index j = 0; j < columns; ++j) {
        const std::size_t target = at((first + i) * columns + order[at(j)]);
        group.rounded[target] = result.weights(i, j);
        group.losses[target] = result.losses(i, j);
      }
  }
}

}  // namespace

GptqResult gptq(std::span<const double> weights, const Gram& gram, std::span<const quantize::RowGrid> grids,
                const GptqOptions& options) {
  const Index columns = gram.columns, rows = gram.group_rows(), size = rows * columns;
  QUANTBOUND_ASSERT(std::ssize(weights) == gram.rows * columns && std::ssize(grids) == gram.rows, weights.size(),
                    grids.size(), gram.rows, columns);
  QUANTBOUND_ASSERT(options.damping >= 0.0 && options.block > 0, options.damping, options.block);
  GptqResult result{std::vector<double>(weights.size()), std::vector<double>(weights.size())};
  std::vector<std::uint8_t> definite(at(gram.groups));
  // Groups are apart; the rows of a single one share the threads instead.
#pragma omp parallel for schedule(dynamic) if (gram.groups > 1)
  for (Index g = 0; g < gram.groups; ++g) {
    const std::vector<Index> order = order_of(gram.moments_of(g), columns, options.order);
    const Matrix u = inverse_factor(damped(gram.moments_of(g), order, options.damping));
    definite[at(g)] = u.size() > 0 && u.allFinite() ? 1 : 0;
    if (definite[at(g)] == 0) continue;
    const auto part = [&](auto values) { return std::span(values).subspan(at(g * size), at(size)); };
    round_group({part(weights), grids.subspan(at(g * rows), at(rows)), part(std::span(result.weights)),
                 part(std::span(result.losses))},
                u, order, options.block);
  }
  const auto failed = std::ranges::find(definite, 0);
  if (failed != definite.end()) {
    throw core::NumericalError("the second moments of the inputs are not positive definite; raise the damping",
                               fmt::format("GPTQ, group {}", failed - definite.begin()));
  }
  return result;
}

}  // namespace quantbound::reconstruct
