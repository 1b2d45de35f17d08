/// Interval images under weight layers: midpoint and radius through the double kernels, with one pass of absolute
/// weights for the radii and every rounding error (docs/theory.md 9.5.3). All boxes that meet the same weights go
/// through one call. Enclosures hold for the real-arithmetic product of the weights, each known to 2^-53 relatively.
#pragma once

#include <span>
#include <vector>

#include "quantbound/certify/pair.hpp"
#include "quantbound/core/interval.hpp"

namespace quantbound::certify::detail {

/// A box as midpoints and radii: every element of the box lies in mid +- rad. Unbounded intervals have mid 0.
struct MidpointRadius {
  explicit MidpointRadius(const Box& box);
  bool is_zero() const { return zero_; }

  std::vector<double> mid, rad;

 private:
  bool zero_ = true;
};

/// The linear part of a weight layer, whatever its weights.
class LinearMap {
 public:
  /// @pre op is a weight layer
  explicit LinearMap(const network::Operator& op);

  Index fan_in() const;
  /// weights * column for `batch` columns, one after the other.
  std::vector<double> multiply(std::span<const double> weights, std::span<const double> columns, Index batch) const;

  /// Enclosures of {W x : x in the box} for each box.
  std::vector<Box> images(std::span<const double> weights, std::span<const MidpointRadius* const> boxes) const;

 private:
  const network::Operator* op_;
};

core::Interval interval_at(const Box& box, std::size_t i);
Box zero_box(std::size_t size);
/// a + b element by element. Here and below: rounded outward, sizes equal.
Box sum(const Box& a, const Box& b);
/// a - b, the two independent.
Box separate_difference(const Box& fq, const Box& f);
/// Adds one number per row, each standing for as many elements; `relative_error` bounds that of the stored numbers.
void add_bias(Box& box, std::span<const double> bias, double relative_error);
/// Keeps in `box` what is in `other` too; both are known to hold the same points.
void intersect(Box& box, const Box& other);

}  // namespace quantbound::certify::detail
