/// Interval images under weight layers: midpoint and radius through the double kernels, with one pass of absolute
/// weights for the radii and every rounding error (docs/theory.md 9.5.3). All boxes that meet the same weights go
/// through one call. Enclosures hold for the real-arithmetic product of the weights, each known to 2^-53 relatively.
#pragma once

#include <span>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"
#include "quantbound/core/interval.hpp"

namespace quantbound::certify::detail {

/// Weights times columns, one after the other.
struct Multiplication {
  std::span<const double> weights, columns;
  std::span<double> results;
};

/// The linear part of a weight layer, whatever its weights.
class LinearMap {
 public:
  /// @pre op is a weight layer
  explicit LinearMap(network::Operator op);

  /// Whether two such maps of one column are better one map with the rows of both: the column is rearranged once.
  bool stackable() const;
  /// That map: its results are those of the first weights, then those of the second. @pre stackable()
  LinearMap stacked() const;

  /// How many channels it keeps apart: each its own inputs, rows of weights and results. 1 where it joins them.
  Index separate_channels() const;
  /// That of `count` of them.
  LinearMap some_channels(Index count) const;

  Index fan_in() const;
  /// Multiply-adds for one column.
  Index multiply_adds() const;
  Index outputs() const;
  /// weights * column for each column, one after the other.
  void multiply(std::span<const double> weights, std::span<const double> columns, std::span<double> results) const;
  /// Several of them at once, those with the weights of `stacked` by that map.
  void multiply(std::span<const Multiplication> stacked, std::span<const Multiplication> single) const;

 private:
  Index inputs() const;
  network::Operator op_;
};

/// Memory that one layer's passes leave to the next one's. The numbers in it mean nothing between calls.
struct Workspace {
  std::vector<double> weights, memory;
  std::vector<std::vector<double>> spare;  ///< what boxes that nobody reads any more were

  /// `size` numbers without a meaning.
  std::vector<double> take(Index size);
  void give(PairBox box);
};

/// {W y + b : y in the box}.
Box layer_image(const LinearMap& map, const LayerParameters& layer, const Box& y, Workspace& work);

/// y, y' and d behind a layer that changes from f to f_q: d by both identities, W d + dW y' + db and W' d + dW y + db,
/// inside the separate difference. For layers beyond `most_for_both` multiply-adds, where passes are what costs, by the
/// first alone: it is the one that makes d no wider than AMP with ranges, and the two differ by |dW| / |W| of d.
PairBox pair_image(const LinearMap& map, const LayerParameters& f, const LayerParameters& fq,
                   const LayerParameters& change, const PairBox& in, Workspace& work,
                   Index most_for_both = Index{1} << 18);

core::Interval interval_at(const Box& box, std::size_t i);
Box zero_box(std::size_t size);
/// a + b element by element. Here and below: rounded outward, sizes equal.
Box sum(const Box& a, const Box& b);
/// a - b, the two independent.
Box separate_difference(const Box& fq, const Box& f);
/// Keeps in `box` what is in `other` too; both are known to hold the same points.
void intersect(Box& box, const Box& other);

}  // namespace quantbound::certify::detail
