// Branch and bound holds the exact values: f and f_q evaluated in rational arithmetic at points of the region and of
// every piece it is divided into, on random dense pairs with weights of any size.
#include <limits>

#include <gtest/gtest.h>

#include "quantbound/certify/branch_and_bound.hpp"

#include "../../src/certify/branch_dense.hpp"
#include "../../src/certify/branch_pieces.hpp"
#include "../support/dense_pairs.hpp"
#include "../support/exact.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::ExactForward;
using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomChain;
using quantbound::testing::Rational;
using quantbound::testing::Rationals;

constexpr double infinity = std::numeric_limits<double>::infinity();

Rationals exact_difference(const Pair& pair, std::span<const double> x) {
  const auto output = static_cast<std::size_t>(pair.graph.output);
  const Rationals f = ExactForward(pair.graph, pair.f).run(x)[output];
  Rationals d = ExactForward(pair.graph, pair.fq).run(x)[output];
  for (std::size_t i = 0; i < d.size(); ++i) d[i] -= f[i];
  return d;
}

bool at_most(const Rational& value, double bound) { return bound == infinity || value <= Rational(bound); }

/// The first functional of which an exact value exceeds its bound, or -1.
int first_exceeded(const Rationals& d, std::span<const double> bounds) {
  for (std::size_t i = 0; i < bounds.size(); ++i)
    if (!at_most(i % 2 == 0 ? d[i / 2] : Rational(-d[i / 2]), bounds[i])) return static_cast<int>(i);
  return -1;
}

/// Bounds random descendants of the root, phases inherited, and points of each.
int check_descent(const Pair& pair, RandomChain& random, const detail::DenseKernels& kernels) {
  const auto bounder = detail::make_dense_bounder(pair, kernels);
  const auto worker = bounder->make_worker();
  detail::PiecePool pool(bounder->shape());
  const auto id = pool.allocate(), other = pool.allocate();
  detail::PieceView piece = pool.view(id);
  bounder->make_root(random.box(bounder->shape().inputs), piece);
  const std::vector<double> levels(piece.bounds.size(), -infinity);
  int points = 0;
  for (int depth = 0; depth < 12; ++depth) {
    const detail::Verdict verdict = worker->bound(piece, levels);
    for (int k = 0; k < 6; ++k, ++points) {
      const std::vector<double> x = random.point(piece.low, piece.high);
      const Rationals d = exact_difference(pair, x);
      EXPECT_EQ(first_exceeded(d, piece.bounds), -1) << "depth " << depth;
      const Box enclosed = worker->enclose(x);
      for (std::size_t i = 0; i < d.size(); ++i) {
        EXPECT_TRUE(at_most(d[i], enclosed.high[i]) && at_most(Rational(-d[i]), -enclosed.low[i])) << "at a point";
      }
    }
    if (verdict == detail::Verdict::finished) break;
    bounder->divide(piece, pool.view(other));
    if (random.draws().chance(0.5)) {
      piece = pool.view(other);
      bounder->divide(piece, pool.view(id));  // keeps both records in use; this half is dropped
    }
  }
  return points;
}

TEST(BranchDense, BoundsHoldExactDifferencesInEveryPiece) {
  int points = 0;
  const auto& variants = detail::kernel_variants();
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    RandomChain random(seed);
    const Pair pair = random.pair();
    ASSERT_EQ(detail::not_dense(pair), "");
    points += check_descent(pair, random, *variants[seed % variants.size()].kernels);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(points, 3'000);
}

TEST(BranchAndBound, UpperHoldsEveryPointAndTheWitnessAttainsLower) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    RandomChain random(1000 + seed);
    const Pair pair = random.pair();
    const Box region = random.box(tensor::elements(pair.graph.input_shape()));
    BranchOptions options;
    options.split = seed % 2 == 0 ? Split::input : Split::activation;
    BranchAndBound search(pair, region, options);
    search.advance(400, 10.0);
    const SearchState state = search.state();
    const Box difference = search.difference();
    EXPECT_LE(state.lower, state.upper);
    for (int k = 0; k < 20; ++k) {
      const Rationals d = exact_difference(pair, random.point(region.low, region.high));
      for (std::size_t i = 0; i < d.size(); ++i) {
        EXPECT_TRUE(at_most(d[i], difference.high[i]) && at_most(Rational(-d[i]), -difference.low[i]));
        EXPECT_TRUE(at_most(abs(d[i]), state.upper));
      }
    }
    if (state.lower > 0.0) {
      Rational largest = 0;
      for (const Rational& d : exact_difference(pair, search.witness())) largest = std::max(largest, Rational(abs(d)));
      EXPECT_GE(largest, Rational(state.lower));
    }
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace quantbound::certify
