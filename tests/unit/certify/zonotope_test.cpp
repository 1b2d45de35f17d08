#include "quantbound/certify/zonotope.hpp"

#include <cmath>

#include <boost/multiprecision/cpp_bin_float.hpp>
#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/rounding.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/tensor/matrix.hpp"

#include "../../../src/certify/zonotope_form.hpp"
#include "../../../src/certify/zonotope_relaxation.hpp"
#include "../../support/random_pair.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomNetwork;
using quantbound::testing::Rational;

constexpr Index all = 1000000;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Dense layers with ReLU between them.
network::Network relu_chain(std::vector<Index> widths, std::uint64_t seed) {
  Draws draws(seed, "relu chain");
  NetworkBuilder builder({widths.front()});
  NodeId node = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    std::vector<double> weights, bias;
    const double scale = 1.5 / std::sqrt(static_cast<double>(widths[l - 1]));
    for (Index i = 0; i < widths[l] * widths[l - 1]; ++i) weights.push_back(scale * draws.normal());
    for (Index i = 0; i < widths[l]; ++i) bias.push_back(0.3 * draws.normal());
    if (l > 1) node = builder.relu(node);
    node = builder.dense(node, weights, bias);
  }
  return builder.finish(node);
}

Box cube(Index size, double radius) {
  return {std::vector<double>(at(size), -radius), std::vector<double>(at(size), radius)};
}

quantize::Configuration bits(int count) { return {.bits = count}; }

double deviation(const Pair& pair, const Box& box, Index generators = all) {
  return largest_magnitude(difference_zonotope(pair, box, generators)[pair.graph.output].difference);
}

// ---- VeryDiff as published (docs/theory.md 5.4), in plain doubles, for chains of dense layers and ReLUs

struct PlainForm {
  std::vector<double> center;
  std::vector<std::vector<double>> noises;  ///< per element

  explicit PlainForm(std::size_t n) : center(n, 0.0), noises(n) {}
  double radius(std::size_t i) const {
    double sum = 0.0;
    for (const double g : noises[i]) sum += std::abs(g);
    return sum;
  }
};

void add_scaled(PlainForm& to, std::size_t i, double factor, const PlainForm& from, std::size_t j) {
  to.center[i] += factor * from.center[j];
  to.noises[i].resize(std::max(to.noises[i].size(), from.noises[j].size()), 0.0);
  for (std::size_t g = 0; g < from.noises[j].size(); ++g) to.noises[i][g] += factor * from.noises[j][g];
}

void add_noise(PlainForm& to, std::size_t i, std::size_t noise, double coefficient) {
  to.noises[i].resize(std::max(to.noises[i].size(), noise + 1), 0.0);
  to.noises[i][noise] += coefficient;
}

PlainForm plain_product(const std::vector<double>& weights, const std::vector<double>& bias, const PlainForm& x) {
  PlainForm y(bias.size());
  for (std::size_t o = 0; o < bias.size(); ++o) {
    y.center[o] = bias[o];
    for (std::size_t i = 0; i < x.center.size(); ++i) add_scaled(y, o, weights[o * x.center.size() + i], x, i);
  }
  return y;
}

struct PlainBounds {
  double low, high;
};
PlainBounds plain_bounds(const PlainForm& x, std::size_t i) {
  return {x.center[i] - x.radius(i), x.center[i] + x.radius(i)};
}

class PlainVeryDiff {
 public:
  /// sup |f - f_q| of the largest output.
  double bound(const Pair& pair, const Box& box) {
    PlainForm x(box.low.size());
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      x.center[i] = (box.low[i] + box.high[i]) / 2.0;
      add_noise(x, i, noises_++, (box.high[i] - box.low[i]) / 2.0);
    }
    PlainForm y = x, z = x, d(x.center.size());  // d = y - z
    for (std::size_t l = 0; l < pair.f.size(); ++l) {
      if (l > 0) relu(y, z, d);
      std::vector<double> change, bias_change;
      for (std::size_t i = 0; i < pair.f[l].weights.size(); ++i) change.push_back(-pair.change[l].weights[i]);
      for (const double b : pair.change[l].bias) bias_change.push_back(-b);
      const std::vector<double> zeros(bias_change.size(), 0.0);
      PlainForm next = plain_product(pair.f[l].weights, zeros, d);
      const PlainForm moved = plain_product(change, bias_change, z);
      for (std::size_t i = 0; i < zeros.size(); ++i) add_scaled(next, i, 1.0, moved, i);
      y = plain_product(pair.f[l].weights, pair.f[l].bias, y);
      z = plain_product(pair.fq[l].weights, pair.fq[l].bias, z);
      d = next;
    }
    double largest = 0.0;
    for (std::size_t i = 0; i < d.center.size(); ++i) {
      largest = std::max(largest, std::abs(d.center[i]) + d.radius(i));
    }
    return largest;
  }

 private:
  void relu(PlainForm& y, PlainForm& z, PlainForm& d) {
    const std::size_t n = y.center.size();
    PlainForm new_y(n), new_z(n), new_d(n);
    for (std::size_t i = 0; i < n; ++i) {
      const PlainBounds b1 = plain_bounds(y, i), b2 = plain_bounds(z, i);
      relu_one(new_y, y, i, b1);
      relu_one(new_z, z, i, b2);
      relu_difference(new_d, i, y, z, d, b1, b2, new_y, new_z);
    }
    y = new_y;
    z = new_z;
    d = new_d;
  }

  void relu_one(PlainForm& to, const PlainForm& x, std::size_t i, PlainBounds b) {
    if (b.high <= 0.0) return;
    if (b.low >= 0.0) return add_scaled(to, i, 1.0, x, i);
    const double slope = b.high / (b.high - b.low), mu = -slope * b.low / 2.0;
    add_scaled(to, i, slope, x, i);
    to.center[i] += mu;
    add_noise(to, i, noises_++, mu);
  }

  void relu_difference(PlainForm& to, std::size_t i, const PlainForm& y, const PlainForm& z, const PlainForm& d,
                       PlainBounds b1, PlainBounds b2, const PlainForm& new_y, const PlainForm& new_z) {
    if (b1.high <= 0.0) return add_scaled(to, i, -1.0, new_z, i);
    if (b2.high <= 0.0) return add_scaled(to, i, 1.0, new_y, i);
    if (b1.low >= 0.0 && b2.low >= 0.0) return add_scaled(to, i, 1.0, d, i);
    if (b2.low >= 0.0 || b1.low >= 0.0) {
      const bool first = b2.low >= 0.0;
      const PlainBounds b = first ? b1 : b2;
      const double sign = first ? 1.0 : -1.0, a = -b.low / (b.high - b.low), mu = a * b.high / 2.0;
      add_scaled(to, i, 1.0, d, i);
      add_scaled(to, i, -sign * a, first ? y : z, i);
      to.center[i] += sign * mu;
      return add_noise(to, i, noises_++, mu);
    }
    PlainBounds b = plain_bounds(d, i);
    b.low = std::max(b.low, b1.low - b2.high);
    b.high = std::min(b.high, b1.high - b2.low);
    const double slope = b.high <= 0.0 ? 0.0 : b.low >= 0.0 ? 1.0 : b.high / (b.high - b.low);
    const double mu = std::max(-b.low, b.high) / 2.0;
    add_scaled(to, i, slope, d, i);
    to.center[i] += slope * std::max(0.0, -b.low) - mu;
    add_noise(to, i, noises_++, mu);
  }

  std::size_t noises_ = 0;
};

// Tighter bounds choose other slopes, so now and then a later bound is a little looser.
TEST(DifferenceZonotope, IsTighterThanVeryDiffInPlainDoublesOnAverageAndNeverMuchLooser) {
  double ratios = 0.0, worst = 0.0;
  int count = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const network::Network f = relu_chain({5, 12, 12, 12, 3}, seed);
    for (const int b : {4, 8}) {
      const Pair pair = make_pair(f, bits(b));
      const Box box = cube(5, seed % 2 == 0 ? 1.0 : 0.1);
      const double ratio = deviation(pair, box) / PlainVeryDiff().bound(pair, box);
      ratios += std::log(ratio);
      worst = std::max(worst, ratio);
      ++count;
    }
  }
  RecordProperty("worst", std::to_string(worst));
  RecordProperty("mean", std::to_string(std::exp(ratios / count)));
  EXPECT_LT(std::exp(ratios / count), 0.93);
  EXPECT_LT(worst, 1.06);
}

// ---- properties

TEST(DifferenceZonotope, OfEqualNetworksIsExactlyZeroAtEveryNode) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomNetwork random(seed, {.smooth_probability = 0.3});
    network::Network network = random.network();
    if (seed % 3 == 0) quantbound::testing::make_extreme(network, random.draws());
    Pair pair = make_pair(network, bits(8));
    pair.fq = pair.f;
    for (auto& layer : pair.change) {
      std::fill(layer.weights.begin(), layer.weights.end(), 0.0);
      std::fill(layer.bias.begin(), layer.bias.end(), 0.0);
    }
    const Box box = quantbound::testing::box_around(tensor::elements(network.graph.input_shape()), random.draws());
    const PairBounds bounds = difference_zonotope(pair, box, seed % 2 == 0 ? all : 5);
    for (std::size_t v = 0; v < bounds.nodes.size(); ++v) {
      ASSERT_EQ(largest_magnitude(bounds.nodes[v].difference), 0.0) << seed << " " << pair.graph.nodes[v].name;
    }
  }
}

TEST(DifferenceZonotope, AtAPointIsTheDifferenceToRounding) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomNetwork random(seed, {.extreme_probability = 0.0, .smooth_probability = 0.2});
    const network::Network network = random.network();
    const Pair pair = make_pair(network, bits(6));
    Box box = quantbound::testing::box_around(tensor::elements(network.graph.input_shape()), random.draws());
    box.high = box.low;
    const PairBounds bounds = difference_zonotope(pair, box, all);
    const auto f = network::forward(pair.graph, pair.f, box.low, 1),
               fq = network::forward(pair.graph, pair.fq, box.low, 1);
    const PairBox& out = bounds[pair.graph.output];
    double largest = 1.0;
    for (const PairBox& node : bounds.nodes) largest = std::max(largest, largest_magnitude(node.f));
    for (std::size_t i = 0; i < f.size(); ++i) {
      EXPECT_NEAR(out.difference.low[i], fq[i] - f[i], 1e-10 * largest) << seed;
      EXPECT_NEAR(out.difference.high[i], fq[i] - f[i], 1e-10 * largest) << seed;
    }
  }
}

TEST(DifferenceZonotope, IsNeverLooserThanIntervalsAndOftenMuchNarrower) {
  int narrower = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    RandomNetwork random(seed);
    const network::Network network = random.network();
    const Pair pair = make_pair(network, bits(5));
    const Box box = quantbound::testing::box_around(tensor::elements(network.graph.input_shape()), random.draws());
    const PairBounds zonotope = difference_zonotope(pair, box, all), intervals = difference_interval(pair, box);
    for (std::size_t v = 0; v < intervals.nodes.size(); ++v) {
      const PairBox both = intersection(zonotope.nodes[v], intervals.nodes[v]);
      ASSERT_EQ(both.difference.low, zonotope.nodes[v].difference.low);
      ASSERT_EQ(both.difference.high, zonotope.nodes[v].difference.high);
      ASSERT_EQ(both.f.low, zonotope.nodes[v].f.low);
      ASSERT_EQ(both.fq.high, zonotope.nodes[v].fq.high);
    }
    const double d = largest_magnitude(zonotope[pair.graph.output].difference);
    if (d < 0.7 * largest_magnitude(intervals[pair.graph.output].difference)) ++narrower;
  }
  EXPECT_GT(narrower, 15);
}

TEST(DifferenceZonotope, DoesNotDependOnThreads) {
  const Pair pair = make_pair(relu_chain({60, 80, 80, 10}, 3), bits(6));
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const PairBounds one = difference_zonotope(pair, cube(60, 0.5), 90);
  omp_set_num_threads(3);
  const PairBounds three = difference_zonotope(pair, cube(60, 0.5), 90);
  omp_set_num_threads(threads);
  for (std::size_t v = 0; v < one.nodes.size(); ++v) {
    EXPECT_EQ(one.nodes[v].difference.low, three.nodes[v].difference.low);
    EXPECT_EQ(one.nodes[v].f.high, three.nodes[v].f.high);
  }
}

TEST(DifferenceZonotope, WithAllItsNoisesIsNarrowerThanWithFew) {
  const Pair pair = make_pair(relu_chain({6, 20, 20, 20, 4}, 11), bits(8));
  const double exact = deviation(pair, cube(6, 0.2)), some = deviation(pair, cube(6, 0.2), 12),
               one = deviation(pair, cube(6, 0.2), 1);
  EXPECT_LT(exact, some);
  EXPECT_LT(some, one);
  EXPECT_EQ(exact, deviation(pair, cube(6, 0.2), 6 + 3 * 60));  // inputs, and three per activation
}

TEST(DifferenceZonotope, RoundsActivationsOfTheQuantizedNetwork) {
  // f = relu(x), f_q = round(x / 0.5) 0.5 in [0, 2], on [-1, 4]: at x = 4 the difference is -2, at 0.25 it is 0.25.
  NetworkBuilder builder({1});
  const NodeId activation = builder.relu(builder.dense(0, {1.0}, {0.0}));
  Pair pair = make_pair(builder.finish(activation), bits(8));
  pair.activation_grids.resize(3);
  pair.activation_grids[2] = ActivationGrid{0.5, 0.0, 2.0};
  pair.fq = pair.f;
  pair.change[0].weights[0] = 0.0;
  const Box d = difference_zonotope(pair, {{-1.0}, {4.0}}, all)[pair.graph.output].difference;
  EXPECT_LE(d.low[0], -2.0);
  EXPECT_GE(d.high[0], 0.25);
  EXPECT_NEAR(d.low[0], -2.0, 1e-12);
  EXPECT_NEAR(d.high[0], 0.25, 1e-12);
}

// ---- the relaxation of one activation

struct Case {
  detail::PiecewisePair functions;
  detail::PairInterval before;
};

/// A point of the polygon, and the intervals around it.
struct Feasible {
  double y, yq;
};

double decades(Draws& draws) {
  return draws.chance(0.3) ? 0.0 : draws.normal() * std::pow(10.0, draws.uniform(-8.0, 2.0));
}

detail::PairInterval around(const std::vector<Feasible>& points) {
  detail::PairInterval x{points[0].y, points[0].y, points[0].yq, points[0].yq, 0.0, 0.0};
  x.d_low = x.d_high = points[0].yq - points[0].y;
  for (const Feasible& p : points) {
    x.f_low = std::min(x.f_low, p.y);
    x.f_high = std::max(x.f_high, p.y);
    x.fq_low = std::min(x.fq_low, p.yq);
    x.fq_high = std::max(x.fq_high, p.yq);
    x.d_low = std::min(x.d_low, core::next_down(p.yq - p.y));
    x.d_high = std::max(x.d_high, core::next_up(p.yq - p.y));
  }
  return x;
}

Rational exact_value(const detail::Pieces& pieces, double x) {
  std::size_t k = 0;
  while (x > pieces[k].end) ++k;
  const Rational linear = pieces[k].slope == 0.0 ? Rational(0) : Rational(Rational(pieces[k].slope) * Rational(x));
  return linear + Rational(pieces[k].constant);
}

Rational residual(const detail::Line& line, const Rational& value, double x) {
  return value - Rational(line.slope) * Rational(x) - Rational(line.offset);
}

bool within(const Rational& value, double radius) {
  return radius == std::numeric_limits<double>::infinity() || abs(value) <= Rational(radius);
}

/// `rules`: of how many differences.
void expect_holds(const detail::ActivationLines& lines, std::size_t rules, const Feasible& p, const Rational& y,
                  const Rational& yq) {
  const Rational f = residual(lines.f, y, p.y), fq = residual(lines.fq, yq, p.yq);
  ASSERT_TRUE(within(f, lines.f.noise)) << p.y << " " << lines.f.slope;
  ASSERT_TRUE(within(fq, lines.fq.noise)) << p.yq << " " << lines.fq.slope;
  for (const detail::DifferenceLine& line : std::span(lines.difference).first(rules)) {
    const Rational linear = Rational(line.f) * Rational(p.y) + Rational(line.fq) * Rational(p.yq) +
                            Rational(line.d) * (Rational(p.yq) - Rational(p.y)) + Rational(line.offset) +
                            Rational(line.f_noise) * f + Rational(line.fq_noise) * fq;
    const Rational rest = yq - y - linear;
    ASSERT_TRUE(within(rest, core::add_up(line.noise, line.error))) << p.y << " " << p.yq << " slope " << line.d;
  }
}

TEST(ZonotopeRelaxation, HoldsTheExactFunctionsAtRandomPointsOfThePolygon) {
  Draws draws(1, "zonotope relaxation");
  const std::vector<network::Activation> activations{{network::ActivationKind::relu},
                                                     {network::ActivationKind::leaky_relu, 0.1},
                                                     {network::ActivationKind::leaky_relu, 3.0},
                                                     {network::ActivationKind::clip, 0.0, 6.0},
                                                     {network::ActivationKind::clip, -0.3, 0.1}};
  const double infinity = std::numeric_limits<double>::infinity();
  const detail::PairInterval unknown{-infinity, infinity, -infinity, infinity, -infinity, infinity};
  for (int trial = 0; trial < 4000; ++trial) {
    const auto pieces = *detail::pieces_of(activations[at(draws.integer(0, std::ssize(activations) - 1))]);
    detail::PiecewisePair functions{pieces, pieces, 0.0, true};
    if (draws.chance(0.2)) functions = {pieces, *detail::pieces_of(ActivationGrid{0.25, 0.0, 1.75}), 0.125, false};
    std::vector<Feasible> points;
    for (int k = 0; k < 6; ++k) {
      const double y = decades(draws);
      points.push_back({y, draws.chance(0.2) ? y : y + decades(draws) * std::pow(10.0, draws.uniform(-6.0, 0.0))});
    }
    const detail::PairInterval before = around(points), image = detail::image(functions, before);
    const detail::PairInterval after = draws.chance(0.5) ? image : unknown;
    const detail::Style style = trial % 2 == 0 ? detail::Style::least_noise : detail::Style::least_price;
    const std::size_t rules = detail::rules_of(style).size();
    const detail::ActivationLines lines = detail::relax(functions, before, after, style);
    for (const Feasible& p : points) {
      const Rational y = exact_value(functions.f, p.y);
      for (const double error : {-functions.rounding, functions.rounding}) {
        const Rational yq = exact_value(functions.fq, p.yq) + Rational(error);
        ASSERT_NO_FATAL_FAILURE(expect_holds(lines, rules, p, y, yq)) << trial;
        ASSERT_TRUE(Rational(image.f_low) <= y && y <= Rational(image.f_high)) << trial;
        ASSERT_TRUE(Rational(image.fq_low) <= yq && yq <= Rational(image.fq_high)) << trial;
        ASSERT_TRUE(Rational(image.d_low) <= yq - y && yq - y <= Rational(image.d_high)) << trial;
      }
    }
  }
}

TEST(ZonotopeRelaxation, HoldsSigmoidAndTanh) {
  Draws draws(2, "zonotope relaxation");
  using Wide = boost::multiprecision::cpp_bin_float_100;
  const auto sigma = [](network::ActivationKind kind, double x) {
    const Wide value = kind == network::ActivationKind::tanh ? Wide(tanh(Wide(x))) : Wide(1 / (1 + exp(Wide(-x))));
    return value.convert_to<Rational>();
  };
  const double infinity = std::numeric_limits<double>::infinity();
  const detail::PairInterval unknown{-infinity, infinity, -infinity, infinity, -infinity, infinity};
  for (int trial = 0; trial < 500; ++trial) {
    const auto kind = trial % 2 == 0 ? network::ActivationKind::tanh : network::ActivationKind::sigmoid;
    std::vector<Feasible> points;
    for (int k = 0; k < 6; ++k) {
      const double y = decades(draws);
      points.push_back({y, y + decades(draws) * std::pow(10.0, draws.uniform(-6.0, 0.0))});
    }
    const auto lines = detail::relax_smooth(kind, around(points), unknown);
    for (const Feasible& p : points) {
      expect_holds(lines, detail::most_rules, p, sigma(kind, p.y), sigma(kind, p.yq));
      if (HasFatalFailure()) FAIL() << trial;
    }
  }
}

TEST(ZonotopeRelaxation, OfAReluLeavesTheNoiseOfDeepZAndVeryDiff) {
  const auto relu = *detail::pieces_of(network::Activation{network::ActivationKind::relu});
  const detail::PiecewisePair functions{relu, relu, 0.0, true};
  const double infinity = std::numeric_limits<double>::infinity();
  const detail::PairInterval unknown{-infinity, infinity, -infinity, infinity, -infinity, infinity};
  // y and y' in [-1, 3], d in [-0.1, 0.3].
  const detail::PairInterval both_unstable{-1.0, 3.0, -1.0, 3.0, -0.1, 0.3};
  const auto least_noise = detail::relax(functions, both_unstable, unknown, detail::Style::least_noise);
  EXPECT_NEAR(least_noise.f.slope, 0.75, 1e-15);
  EXPECT_NEAR(least_noise.f.noise, 0.375, 1e-12);
  EXPECT_LE(least_noise.difference[0].noise, 0.15 + 1e-12);
  EXPECT_NEAR(least_noise.difference[1].d, 0.25, 1e-15);
  EXPECT_NEAR(least_noise.difference[1].noise, 0.15, 1e-12);  // max(0.1, 0.3) / 2
  const auto least_price = detail::relax(functions, both_unstable, unknown, detail::Style::least_price);
  EXPECT_NEAR(least_price.difference[0].d, 0.75, 1e-15);
  EXPECT_NEAR(least_price.difference[0].noise, 0.15, 1e-12);
  // A ReLU that is nearly never active: a slope costs more than it saves.
  const detail::PairInterval nearly_off{-9.0, 1.0, -9.0, 1.0, -0.1, 0.3};
  EXPECT_GT(detail::relax(functions, nearly_off, unknown, detail::Style::least_noise).f.slope, 0.0);
  EXPECT_EQ(detail::relax(functions, nearly_off, unknown, detail::Style::least_price).f.slope, 0.0);
  // f_q certainly active: d + (y - relu(y)), with f's noise and none of its own.
  const auto active = detail::relax(functions, {-1.0, 3.0, 0.0, 4.0, -4.0, 5.0}, unknown, detail::Style::least_noise);
  EXPECT_EQ(active.difference[1].d, 1.0);
  EXPECT_EQ(active.difference[1].f_noise, -1.0);
  EXPECT_EQ(active.difference[1].noise, 0.0);
}

TEST(ZonotopeRelaxation, OfMaximaTakesADecidedElementAndForgetsTheDifferenceWhereThePlacesDiffer) {
  const std::vector<Index> window{0, 1, 2};
  const Box first{{5.0, 0.0, 1.0}, {6.0, 2.0, 3.0}}, second{{0.0, 5.0, 1.0}, {2.0, 6.0, 3.0}},
      undecided{{5.0, 4.0, 1.0}, {6.0, 5.5, 3.0}};
  const detail::Largest at_0 = detail::largest(first, window), at_1 = detail::largest(second, window),
                        nearly_0 = detail::largest(undecided, window);
  EXPECT_EQ(at_0.element, 0);
  EXPECT_EQ(at_0.excess, 0.0);
  EXPECT_EQ(at_1.element, 1);
  EXPECT_EQ(nearly_0.element, 0);
  EXPECT_EQ(nearly_0.excess, 0.5);
  const detail::PairInterval taken{5.0, 6.0, 5.0, 6.0, -0.01, 0.01}, after{5.0, 6.0, 5.0, 6.0, -1.0, 1.0};
  const auto decided = detail::relax_largest(at_0, at_0, taken, after).difference[0];
  EXPECT_EQ(decided.d, 1.0);
  EXPECT_EQ(decided.noise + decided.error, 0.0);
  EXPECT_EQ(detail::relax_largest(at_0, at_1, taken, after).difference[0].d, 0.0);
  const auto lines = detail::relax_largest(at_0, nearly_0, taken, after);
  EXPECT_EQ(lines.fq.slope, 1.0);
  EXPECT_NEAR(lines.fq.offset, 0.25, 1e-15);
  EXPECT_NEAR(lines.fq.noise, 0.25, 1e-15);
}

// ---- forms, against rational arithmetic at random noises and slacks

detail::Form random_form(Index n, Index noises, Draws& draws) {
  detail::Form form = detail::constant(std::vector<double>(at(n), 0.0));
  for (double& c : form.center) c = decades(draws);
  const bool exact = draws.chance(0.5);  // then rounding errors are all that slack is for
  for (double& s : form.slack) s = exact ? 0.0 : std::abs(decades(draws)) * 1e-3;
  for (Index g = 0; g < noises; ++g) form.ids.push_back((form.ids.empty() ? 0 : form.ids.back()) + draws.integer(1, 3));
  for (Index k = 0; k < n * noises; ++k) form.rows.push_back(decades(draws));
  return form;
}

using Signs = std::vector<int>;  ///< of the noises, by number
Signs random_signs(Draws& draws) {
  Signs signs(100);
  for (int& sign : signs) sign = draws.chance(0.5) ? 1 : -1;
  return signs;
}

Rational linear_part(const detail::Form& form, std::size_t i, const Signs& signs) {
  Rational value(form.center[i]);
  for (std::size_t g = 0; g < form.ids.size(); ++g) {
    value += Rational(form.rows[g * form.center.size() + i]) * signs[static_cast<std::size_t>(form.ids[g])];
  }
  return value;
}

/// A value that the form contains, slack at one end or the other.
std::vector<Rational> value_of(const detail::Form& form, const Signs& signs, Draws& draws) {
  std::vector<Rational> value;
  for (std::size_t i = 0; i < form.center.size(); ++i) {
    value.push_back(linear_part(form, i, signs) + Rational(form.slack[i]) * (draws.chance(0.5) ? 1 : -1));
  }
  return value;
}

void expect_contains(const detail::Form& form, const std::vector<Rational>& value, const Signs& signs) {
  const Box box = detail::enclosure(form, detail::radii(form));
  for (std::size_t i = 0; i < value.size(); ++i) {
    ASSERT_TRUE(within(value[i] - linear_part(form, i, signs), form.slack[i])) << i;
    ASSERT_TRUE(quantbound::testing::holds(box.low[i], box.high[i], value[i])) << i;
  }
}

detail::LayerMap dense_map(Index inputs, Index outputs) {
  return {[=](auto weights, auto bias, auto values, Index batch) {
            return tensor::dense(outputs, weights, bias, values, batch);
          },
          inputs};
}

TEST(ZonotopeForm, AffineContainsTheImagesUnderTheExactWeights) {
  Draws draws(3, "zonotope form");
  for (int trial = 0; trial < 300; ++trial) {
    const Index inputs = draws.integer(1, 6), outputs = draws.integer(1, 4);
    const detail::Form x = random_form(inputs, draws.integer(0, 8), draws);
    std::vector<double> weights, bias;
    const double scale = draws.chance(0.2) ? 1e-310 : 1.0;  // products that underflow
    for (Index k = 0; k < inputs * outputs; ++k) weights.push_back(decades(draws) * scale);
    for (Index k = 0; k < outputs; ++k) bias.push_back(decades(draws) * scale);
    const detail::Form y = detail::affine(dense_map(inputs, outputs), weights, bias, x);
    const Signs signs = random_signs(draws);
    const auto values = value_of(x, signs, draws);
    std::vector<Rational> image(bias.begin(), bias.end());
    const Rational unit = 1 + Rational(draws.chance(0.5) ? 0x1p-53 : -0x1p-53);  // weights known to rounding only
    for (std::size_t o = 0; o < image.size(); ++o) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        image[o] += Rational(weights[o * values.size() + i]) * unit * values[i];
      }
    }
    ASSERT_NO_FATAL_FAILURE(expect_contains(y, image, signs)) << trial;
  }
}

TEST(ZonotopeForm, CombinationsSumsAndDifferencesContainThoseOfTheValues) {
  Draws draws(4, "zonotope form");
  for (int trial = 0; trial < 300; ++trial) {
    const Index n = draws.integer(1, 5);
    const detail::Form a = random_form(n, draws.integer(0, 8), draws), b = random_form(n, draws.integer(0, 8), draws);
    std::vector<double> of_a, of_b, offset;
    for (Index i = 0; i < n; ++i) {
      of_a.push_back(decades(draws));
      of_b.push_back(draws.chance(0.3) ? 1.0 : decades(draws));
      offset.push_back(decades(draws));
    }
    const Signs signs = random_signs(draws);
    const auto value_a = value_of(a, signs, draws), value_b = value_of(b, signs, draws);
    std::vector<Rational> combined, sum, difference;
    for (std::size_t i = 0; i < value_a.size(); ++i) {
      combined.push_back(Rational(of_a[i]) * value_a[i] + Rational(of_b[i]) * value_b[i] + Rational(offset[i]));
      sum.push_back(value_a[i] + value_b[i]);
      difference.push_back(value_b[i] - value_a[i]);
    }
    const detail::Form combination = detail::combine(std::vector<detail::Part>{{a, of_a}, {b, of_b}}, offset);
    ASSERT_NO_FATAL_FAILURE(expect_contains(combination, combined, signs)) << trial;
    ASSERT_NO_FATAL_FAILURE(expect_contains(detail::add(a, b), sum, signs)) << trial;
    ASSERT_NO_FATAL_FAILURE(expect_contains(detail::difference(a, b), difference, signs)) << trial;
  }
}

TEST(ZonotopeForm, KeepsTheLargestNoisesAndLosesNoValue) {
  Draws draws(5, "zonotope form");
  for (int trial = 0; trial < 300; ++trial) {
    const Index n = draws.integer(1, 5), noises = draws.integer(0, 8);
    const detail::Form before = random_form(n, noises, draws);
    const Signs signs = random_signs(draws);
    std::vector<Rational> values = value_of(before, signs, draws);
    std::vector<detail::Noise> added;
    for (Index i = 0; i < n; ++i) {
      added.push_back({50 + i, i, decades(draws)});
      values[at(i)] += Rational(added.back().coefficient) * signs[at(50 + i)];
    }
    for (Index most = 1; most <= noises + n; ++most) {
      detail::Form after = before;
      detail::add_noises(after, added, most);
      ASSERT_LE(after.noises(), most);
      ASSERT_NO_FATAL_FAILURE(expect_contains(after, values, signs)) << trial << " " << most;
      if (most == noises + n) {
        EXPECT_EQ(after.slack, before.slack);
      }
    }
  }
}

}  // namespace
}  // namespace quantbound::certify
