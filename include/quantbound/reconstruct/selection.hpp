/// Which neighbouring modules are optimised jointly (MRECG, arXiv 2303.11906, eq. 4, reconstructed; docs/theory.md 6):
/// maximise, over m in {0,1}^(n-1), sum (c_i - c_{i+1})^2 m_i + lambda (sum m - k)^2, where c are capacities
/// (data-free) or losses of a first reconstruction (loss-driven), and m_i = 1 puts modules i and i+1 into one. The
/// maximum is exact: dynamic programming over modules, the length of the current run and the number of joins. Also
/// random schemes, for the study of granularity.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::reconstruct {

using tensor::Index;

/// Data-free: runs of two, since a joint module is homogeneous with its neighbours no longer; one round. Loss-driven:
/// longest_run 3 and mergeable_neighbours (the released schemes have runs of three).
struct SelectionOptions {
  Index k = 0;  ///< number of joins wanted; 0: a quarter of the pairs of neighbours, at least one
  /// lambda = -penalty * (the largest squared difference that may be joined); sign and size are not published. From 1
  /// on no join beyond k pays: the k largest differences, as far as runs allow. 0 ignores k.
  double penalty = 1.0;
  Index longest_run = 2;
};

/// The number of modules in every run, in order. Of equal values the fewest joins win, then the earliest.
/// @pre measures finite; may_join.size() + 1 == measure.size(), 1 where neighbours may be in one run
std::vector<Index> select_runs(std::span<const double> measure, std::span<const std::uint8_t> may_join,
                               const SelectionOptions& options = {});

/// The value of a scheme that select_runs maximises.
double selection_value(std::span<const double> measure, std::span<const std::uint8_t> may_join,
                       std::span<const Index> runs, const SelectionOptions& options = {});

/// Draw `draw` of the schemes with runs of at most `longest_run` modules, each scheme as likely as any other. A pure
/// function of its arguments.
std::vector<Index> random_runs(std::span<const std::uint8_t> may_join, Index longest_run, std::uint64_t seed,
                               Index draw);

}  // namespace quantbound::reconstruct
