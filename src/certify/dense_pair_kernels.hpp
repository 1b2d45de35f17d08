/// The inner loops of the bounder of dense pairs (branch_dense.hpp), built for AVX-512, for AVX2 and plainly; the
/// processor decides at run time. All three give the same bits: sums run over eight lanes in one fixed order, every
/// product is fused. Columns come in groups of eight doubles, 64-byte aligned; what is behind a row's end is zero.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::certify::detail {

using tensor::Index;

constexpr Index lane_count = 8;

/// Rows of coefficients, `stride` doubles apart.
struct RowBlock {
  double* data = nullptr;
  Index stride = 0;
  Index rows = 0;
};

/// Of every row: a constant, and the mass (sum of magnitudes) that its rounding errors are proportional to.
struct RowSums {
  double* constant = nullptr;
  double* mass = nullptr;
};

/// Lines that enclose the activations of one network of the pair: slope_low x + offset_low <= s(x) <= slope_high x +
/// offset_high. `weight` bounds what a unit coefficient on s(x) adds to a row's mass.
struct LineView {
  const double *slope_high, *slope_low, *offset_high, *offset_low, *weight;
};

/// What relax_pair reads, per neuron; `gap_*` is how far a line is from its function at worst.
struct PairLineView {
  LineView f, fq, difference;  ///< difference: of e = s(y') - s(y) by d = y' - y
  const double *f_gap_high, *f_gap_low, *fq_gap_high, *fq_gap_low, *difference_gap;
  const double *bias, *bias_change;
};

struct DenseKernels {
  /// c = sum over the listed k of a[:, k] w[k, :]
  void (*multiply)(const RowBlock& a, const std::int32_t* list, Index count, const double* w, Index columns,
                   const RowBlock& c);
  /// The same, added to c.
  void (*add_product)(const RowBlock& a, const std::int32_t* list, Index count, const double* w, Index columns,
                      const RowBlock& c);
  /// Every row, an upper bound in s(x), becomes one in x; offsets go to the constants.
  void (*relax)(const RowBlock& a, Index columns, const LineView& lines, const RowSums& sums);
  /// The same for rows (y, d) of the pair; per neuron the relaxation of the smaller gap. losses: how much was lost
  /// where.
  void (*relax_pair)(const RowBlock& y, const RowBlock& d, Index columns, const PairLineView& lines,
                     const RowSums& sums, const RowBlock& losses);
  /// center += w center_in, radius += |w| radius_in, mass += |w| |center_in| over the listed inputs; w is {inputs,
  /// columns}.
  void (*interval)(const double* w, Index columns, const std::int32_t* list, Index count, const double* center_in,
                   const double* radius_in, double* center, double* radius, double* mass);
  /// value += w x over the listed inputs.
  void (*affine)(const double* w, Index columns, const std::int32_t* list, Index count, const double* x, double* value);
};

struct NamedKernels {
  std::string_view name;
  const DenseKernels* kernels;
};
/// All that run on this processor, from plain to fastest.
const std::vector<NamedKernels>& kernel_variants();
/// The fastest.
const DenseKernels& dense_kernels();

}  // namespace quantbound::certify::detail
