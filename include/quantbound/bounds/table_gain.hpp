/// The gain column of the table in arXiv 2502.01156: how many orders of magnitude the constant of its Theorem 4.4 lies
/// below Gonon's, from the table's own columns (docs/theory.md 1.5).
#pragma once

namespace quantbound::bounds {

struct TableRow {
  double depth = 1.0;      ///< L
  double old_width = 1.0;  ///< N: largest layer width, in elements
  double old_r = 1.0;      ///< r
  double new_width = 1.0;  ///< largest p^2 c (+ 1 in the table)
  double r_conv = 1.0;
};

/// log10 of N L^2 r^(L-1) / (L width r_conv^(L-1)).
double log10_table_gain(const TableRow& row);

}  // namespace quantbound::bounds
