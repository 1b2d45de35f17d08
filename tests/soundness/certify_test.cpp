// Every method of the certify room against what pairs do: a thousand random pairs, a thousand points each, and what a
// search finds. No deviation, less what the forward passes can be off by, may lie outside a certificate.
#include <cmath>
#include <cstdlib>
#include <map>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/method.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/observe/attack.hpp"

#include "../support/evaluation.hpp"
#include "../support/network_builder.hpp"

namespace quantbound {
namespace {

using certify::Certificate;
using certify::Method;
using certify::MethodOptions;
using certify::Pair;
using network::Box;
using network::Index;
using testing::Draws;
using testing::NetworkKind;
using testing::RandomNetwork;

struct Case {
  network::Network f;
  Pair pair;
  Box box;
  std::vector<double> error;  ///< of fl(f_q) - fl(f), per output
};

/// Boxes from a point to far beyond the weights' scale.
Box any_box(Index size, Draws& draws) {
  const double radius = draws.chance(0.05) ? 0.0 : std::pow(10.0, draws.uniform(-12.0, 3.0));
  Box box;
  for (Index i = 0; i < size; ++i) {
    const double center = draws.normal();
    box.low.push_back(center - radius);
    box.high.push_back(center + radius);
  }
  return box;
}

/// Some weights become denormal numbers and zeros of both signs.
void spoil(network::Network& f, Draws& draws) {
  for (network::LayerParameters& layer : f.layers) {
    for (double& w : layer.weights) {
      if (draws.chance(0.1)) w = draws.normal() * 0x1p-1070;
      if (draws.chance(0.1)) w = draws.chance(0.5) ? 0.0 : -0.0;
    }
  }
}

Case random_case(std::uint64_t seed) {
  NetworkKind kind;
  kind.extreme_probability = 0.1;
  RandomNetwork random(500000 + seed, kind);
  Case c;
  c.f = random.network();
  if (random.draws().chance(0.1)) spoil(c.f, random.draws());
  c.pair = certify::make_pair(c.f, testing::random_configuration(random.draws()));
  c.box = any_box(tensor::elements(c.f.graph.input_shape()), random.draws());
  const auto error = testing::rounding_error(c.f, c.pair.f, c.box);
  c.error = testing::rounding_error(c.f, c.pair.fq, c.box);
  for (std::size_t i = 0; i < error.size(); ++i) c.error[i] += error[i];
  return c;
}

enum class Methods { all, cheap };

/// Linear programs and searches take most of the time; with QUANTBOUND_LONG=1 they run on every pair.
Methods choose_methods(std::uint64_t seed) {
  return seed % 5 == 0 || std::getenv("QUANTBOUND_LONG") != nullptr ? Methods::all : Methods::cheap;
}

std::map<Method, Certificate> certificates(const Case& c, Methods methods = Methods::all) {
  MethodOptions options;
  options.max_boxes = 40;
  options.generators = 60;
  options.alpha_steps = 3;
  std::map<Method, Certificate> all;
  for (const certify::MethodInfo& info : certify::methods()) {
    const bool dear = info.method == Method::star || info.method == Method::branch_and_bound;
    if (dear && methods == Methods::cheap) continue;
    if (certify::not_applicable(info.method, c.pair, options).empty())
      all.emplace(info.method, certify::certify(info.method, c.pair, c.box, options));
  }
  return all;
}

/// f_q - f at a batch of points, by the forward passes.
std::vector<double> differences(const Case& c, std::span<const double> points, Index batch) {
  auto difference = network::forward(c.pair.graph, c.pair.fq, points, batch);
  const auto y = network::forward(c.pair.graph, c.pair.f, points, batch);
  for (std::size_t i = 0; i < y.size(); ++i) difference[i] -= y[i];
  return difference;
}

void expect_contained(const Case& c, const std::map<Method, Certificate>& all, std::span<const double> difference) {
  for (const auto& [method, certificate] : all) {
    const Box& proved = certificate.difference;
    for (std::size_t i = 0; i < difference.size(); ++i) {
      const std::size_t output = i % c.error.size();
      if (!std::isfinite(difference[i]) || !std::isfinite(c.error[output])) continue;
      ASSERT_LE(difference[i] - c.error[output], proved.high[output]) << to_string(method) << " output " << output;
      ASSERT_GE(difference[i] + c.error[output], proved.low[output]) << to_string(method) << " output " << output;
    }
  }
}

TEST(Certificates, HoldOnAThousandRandomPairsAtAMillionPointsAndWhatTheAttackFinds) {
  omp_set_num_threads(1);
  constexpr Index batch = 1000;
  std::map<Method, int> ran;
  Index points = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Case c = random_case(seed);
    const auto all = certificates(c, choose_methods(seed));
    Draws draws(seed, "points");
    const auto samples = testing::points(c.box, batch, draws);
    ASSERT_NO_FATAL_FAILURE(expect_contained(c, all, differences(c, samples, batch)));
    points += batch;

    const auto found = observe::attack(c.pair.graph, c.pair.f, c.pair.fq, c.box, {.starts = 4, .steps = 20, .seed = 1});
    ASSERT_NO_FATAL_FAILURE(expect_contained(c, all, differences(c, found.point, 1)));
    for (const auto& [method, certificate] : all) {
      ++ran[method];
      ASSERT_LE(certificate.lower, certify::largest_magnitude(certificate.difference)) << to_string(method);
    }
  }
  EXPECT_EQ(points, 1000000);
  for (const certify::MethodInfo& info : certify::methods())
    EXPECT_GT(ran[info.method], 150) << info.name;  // the test says something about every method
}

TEST(Certificates, AreZeroWhereNothingChanged) {
  omp_set_num_threads(1);
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(seed);
    c.pair = certify::make_pair(c.f, c.f);
    for (const auto& [method, certificate] : certificates(c)) {
      if (method == Method::interval || method == Method::merged_interval) continue;  // they do not see the difference
      if (method == Method::merged_crown) continue;                                   // relaxes the two networks apart
      EXPECT_EQ(certify::largest_magnitude(certificate.difference), 0.0) << to_string(method);
    }
  }
}

TEST(Certificates, AtAPointAreTheDeviationUpToRounding) {
  omp_set_num_threads(1);
  int finite = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(seed);
    c.box.high = c.box.low;
    c.error = testing::rounding_error(c.f, c.pair.f, c.box);
    const auto error_q = testing::rounding_error(c.f, c.pair.fq, c.box);
    const auto difference = differences(c, c.box.low, 1);
    for (const auto& [method, certificate] : certificates(c)) {
      for (std::size_t i = 0; i < difference.size(); ++i) {
        const double allowed =
            100.0 * (c.error[i] + error_q[i]) + 1e-290;  // kernels pay for underflow with far more than it costs
        if (!std::isfinite(difference[i]) || !std::isfinite(allowed)) continue;
        ++finite;
        EXPECT_NEAR(certificate.difference.low[i], difference[i], allowed) << to_string(method);
        EXPECT_NEAR(certificate.difference.high[i], difference[i], allowed) << to_string(method);
      }
    }
  }
  EXPECT_GT(finite, 1000);
}

}  // namespace
}  // namespace quantbound
