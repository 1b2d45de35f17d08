// The parts of the crown methods where a rounding that is dropped shows at once, against rational arithmetic.
#include <cmath>
#include <limits>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "../../../src/certify/relaxation.hpp"
#include "../../../src/certify/row_sum.hpp"
#include "../../support/network_builder.hpp"

namespace quantbound::certify::detail {
namespace {

using quantbound::testing::Draws;
using Rational = boost::multiprecision::cpp_rational;

Rational relu(const Rational& x) { return x < 0 ? Rational(0) : x; }

TEST(CrownRounding, SumsToNearestFallShortAndUpperBoundsDoNot) {
  int short_sums = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Draws draws(seed, "row sum");
    RowSum sum;
    Rational exact = 0;
    for (int i = 0; i < 7; ++i) {
      const double term = draws.normal();
      sum.add(term, 0.0);
      exact += Rational(term);
    }
    if (Rational(sum.value) < exact) ++short_sums;
    EXPECT_GE(Rational(sum.upper()), exact);
  }
  EXPECT_GT(short_sums, 40);  // what dropping the error of the additions would do
}

TEST(CrownRounding, NothingAddedIsExactlyZeroAndOverflowInfinite) {
  RowSum sum;
  sum.add(0.0, 0.0);
  EXPECT_EQ(sum.upper(), 0.0);
  sum.add(1e308, 0.0);
  sum.add(1e308, 0.0);
  EXPECT_EQ(sum.upper(), std::numeric_limits<double>::infinity());
  sum.add(-std::numeric_limits<double>::infinity(), 0.0);
  EXPECT_EQ(sum.upper(), std::numeric_limits<double>::infinity());
}

/// The largest of p relu(y) + q (relu(y + d) - relu(y)) - a y - b d over the exact hexagon, over a superset of the
/// vertices of its pieces: every intersection of two of the lines that bound it or at which a kink lies.
Rational largest_residual(const PairBox& box, double p, double q, double a, double b) {
  const Rational l(box.f.low[0]), u(box.f.high[0]), lq(box.fq.low[0]), uq(box.fq.high[0]);
  const Rational dl(box.difference.low[0]), du(box.difference.high[0]);
  struct Line {
    int y, d;  // y * Y + d * D = at
    Rational at;
  };
  const std::vector<Line> lines{{1, 0, l},  {1, 0, u},  {1, 1, lq}, {1, 1, uq},
                                {0, 1, dl}, {0, 1, du}, {1, 0, 0},  {1, 1, 0}};
  bool found = false;
  Rational best = 0;
  for (const Line& m : lines)
    for (const Line& n : lines) {
      const int determinant = m.y * n.d - m.d * n.y;
      if (determinant == 0) continue;
      const Rational y = (m.at * n.d - n.at * m.d) / determinant, d = (n.at * m.y - m.at * n.y) / determinant;
      if (y < l || y > u || y + d < lq || y + d > uq || d < dl || d > du) continue;
      const Rational residual =
          Rational(p) * relu(y) + Rational(q) * (relu(y + d) - relu(y)) - Rational(a) * y - Rational(b) * d;
      if (!found || residual > best) best = residual;
      found = true;
    }
  return best;
}

TEST(CrownRounding, PlanesLieAboveEveryVertex) {
  int tight = 0, relaxed = 0;
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    Draws draws(seed, "plane");
    const double scale = std::pow(10.0, draws.uniform(-3.0, 0.0));
    const double y = draws.normal(), d = scale * draws.normal();
    const auto around = [&](double center, double radius) {
      return Box{{center - radius * draws.uniform()}, {center + radius * draws.uniform()}};
    };
    const PairBox box{around(y, 1.0), around(y + d, 1.0), around(d, scale)};
    const PairRelaxation relaxation({network::ActivationKind::relu}, box);
    if (relaxation.vertices().neurons() == 0) continue;
    ++relaxed;
    const double p = draws.chance(0.2) ? 0.0 : draws.normal() * (draws.chance(0.5) ? 1.0 : 1e-3), q = draws.normal();
    std::vector<double> a{p}, b{q};
    RowSum sum;
    relaxation.apply(a, b, sum);
    const Rational exact = largest_residual(box, p, q, a[0], b[0]);
    EXPECT_GE(Rational(sum.upper()), exact) << seed;
    if (Rational(sum.upper()) - exact < Rational(1e-12)) ++tight;
  }
  EXPECT_GT(relaxed, 1400);
  EXPECT_EQ(tight, relaxed);  // no more than rounding is added
}

TEST(CrownRounding, UnboundedNeuronsGiveInfiniteOffsets) {
  const double infinity = std::numeric_limits<double>::infinity();
  const PairBox box{{{-1.0}, {infinity}}, {{-1.0}, {infinity}}, {{-infinity}, {infinity}}};
  const PairRelaxation relaxation({network::ActivationKind::relu}, box);
  std::vector<double> p{1.0}, q{0.5};
  RowSum sum;
  relaxation.apply(p, q, sum);
  EXPECT_EQ(sum.upper(), infinity);
  std::vector<double> zero{0.0}, none{0.0};
  RowSum nothing;
  relaxation.apply(zero, none, nothing);
  EXPECT_EQ(nothing.upper(), 0.0);
}

}  // namespace
}  // namespace quantbound::certify::detail
