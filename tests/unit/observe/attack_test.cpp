#include "quantbound/observe/attack.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../../../src/observe/double_difference.hpp"
#include "../../support/network_builder.hpp"

namespace quantbound::observe {
namespace {

using network::NodeId;
using quantbound::testing::NetworkBuilder;

Box cube(Index inputs, double low, double high) {
  const auto count = static_cast<std::size_t>(inputs);
  return {std::vector(count, low), std::vector(count, high)};
}

double deviation_at(const network::Network& f, const std::vector<LayerParameters>& fq, std::span<const double> x) {
  const Index batch = std::ssize(x) / tensor::elements(f.graph.input_shape());
  const auto a = network::forward(f.graph, f.layers, x, batch), b = network::forward(f.graph, fq, x, batch);
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(b[i] - a[i]));
  return largest;
}

/// With one thread: other programs use the cores, too.
class AttackAlone : public ::testing::Test {
 protected:
  void SetUp() override { omp_set_num_threads(1); }
  void TearDown() override { omp_set_num_threads(threads_); }

 private:
  int threads_ = omp_get_max_threads();
};

/// What the result says of itself holds.
void expect_consistent(const network::Network& f, const std::vector<LayerParameters>& fq, const Box& box,
                       const AttackResult& result) {
  ASSERT_EQ(result.point.size(), box.low.size());
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    EXPECT_GE(result.point[i], box.low[i]);
    EXPECT_LE(result.point[i], box.high[i]);
  }
  EXPECT_EQ(deviation_at(f, fq, result.point), result.deviation);
  const auto a = network::forward(f.graph, f.layers, result.point, 1);
  const auto b = network::forward(f.graph, fq, result.point, 1);
  EXPECT_EQ(std::abs(b[static_cast<std::size_t>(result.output)] - a[static_cast<std::size_t>(result.output)]),
            result.deviation);
}

TEST(Attack, FindsTheCornerOfALinearDifference) {
  for (const Index inputs : {3, 40}) {
    NetworkBuilder b({inputs});
    const auto count = static_cast<std::size_t>(inputs);
    const network::Network f = b.finish(b.dense(0, std::vector(2 * count, 0.0), {0.0, 0.0}));
    auto fq = f.layers;
    double largest = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
      fq[0].weights[count + i] = (i % 3 == 0 ? -1.0 : 0.5) + 0.01 * static_cast<double>(i);
      largest += std::abs(fq[0].weights[count + i]) * 2.0;
    }
    const Box box = cube(inputs, -2.0, 2.0);

    const AttackResult result = attack(f.graph, f.layers, fq, box, {.starts = 2, .steps = 30});

    expect_consistent(f, fq, box, result);
    EXPECT_EQ(result.output, 1);
    EXPECT_NEAR(result.deviation, largest, 1e-12 * largest);
  }
}

TEST_F(AttackAlone, FindsTheTopOfATentInsideTheBox) {
  // f_q - f = 1 - |x - 0.3| - |y + 0.4|; f itself is zero.
  NetworkBuilder b({2});
  const NodeId hidden = b.relu(b.dense(0, {1, 0, -1, 0, 0, 1, 0, -1}, {-0.3, 0.3, 0.4, -0.4}));
  const network::Network f = b.finish(b.dense(hidden, {0, 0, 0, 0}, {0}));
  auto fq = f.layers;
  fq[1] = {{-1, -1, -1, -1}, {1}};
  const Box box = cube(2, -1.0, 1.0);

  const AttackResult result = attack(f.graph, f.layers, fq, box, {.starts = 1, .steps = 20});

  expect_consistent(f, fq, box, result);
  // The largest |difference| is at a corner: 1 - 1.3 - 1.4 = -1.7.
  EXPECT_NEAR(result.deviation, 1.7, 1e-12);
  const AttackResult inside = attack(f.graph, f.layers, fq, cube(2, -0.5, 0.5), {.starts = 1, .steps = 20});
  EXPECT_NEAR(inside.deviation, 1.0, 1e-7);
  EXPECT_NEAR(inside.point[0], 0.3, 1e-7);
}

TEST_F(AttackAlone, IsNeverBelowItsStartsAndGrowsWithSteps) {
  for (const network::Family family : {network::Family::mlp, network::Family::resnet}) {
    const auto f =
        network::make_network({.family = family, .depth = 8, .width = 4, .inputs = 12, .outputs = 4, .resolution = 4});
    const auto fq = quantize::quantize_layers(f.layers, {.bits = 4});
    const Box box = cube(tensor::elements(f.graph.input_shape()), -1.0, 1.0);

    const AttackResult looked = attack(f.graph, f.layers, fq, box, {.starts = 2, .steps = 0});
    const AttackResult climbed = attack(f.graph, f.layers, fq, box, {.starts = 2, .steps = 20});

    expect_consistent(f, fq, box, looked);
    expect_consistent(f, fq, box, climbed);
    EXPECT_GT(climbed.deviation, 1.01 * looked.deviation);
    EXPECT_GT(climbed.deviation, deviation_at(f, fq, uniform_points(box, 3, 0, 0, 2000)));
  }
}

TEST(Attack, DependsOnItsSeedButNotOnThreads) {
  const auto f = network::make_network({.family = network::Family::cnn, .depth = 4, .width = 24, .resolution = 8});
  const auto fq = quantize::quantize_layers(f.layers, {.bits = 3});
  const Box box = cube(tensor::elements(f.graph.input_shape()), 0.0, 1.0);
  const int threads = omp_get_max_threads();

  omp_set_num_threads(1);
  const AttackResult one = attack(f.graph, f.layers, fq, box, {.starts = 4, .steps = 4});
  omp_set_num_threads(2);
  const AttackResult two = attack(f.graph, f.layers, fq, box, {.starts = 4, .steps = 4});
  omp_set_num_threads(threads);
  const AttackResult other = attack(f.graph, f.layers, fq, box, {.starts = 4, .steps = 4, .seed = 2});

  EXPECT_EQ(one.deviation, two.deviation);
  EXPECT_EQ(one.output, two.output);
  EXPECT_EQ(one.point, two.point);
  EXPECT_NE(one.point, other.point);
}

TEST_F(AttackAlone, OfManyOutputsTheLargestIsClimbed) {
  NetworkBuilder b({4});
  const Index outputs = 300;
  const network::Network f =
      b.finish(b.dense(0, std::vector(static_cast<std::size_t>(4 * outputs), 0.0), std::vector(300, 0.0)));
  auto fq = f.layers;
  for (std::size_t i = 0; i < fq[0].weights.size(); ++i) fq[0].weights[i] = 0.001 * static_cast<double>(i % 7);
  for (std::size_t i = 0; i < 4; ++i) fq[0].weights[4 * 211 + i] = -1.0;
  const AttackResult result = attack(f.graph, f.layers, fq, cube(4, -1.0, 1.0), {.starts = 2, .steps = 10});
  EXPECT_EQ(result.output, 211);
  EXPECT_NEAR(result.deviation, 4.0, 1e-12);
}

TEST_F(AttackAlone, OfEqualNetworksAndOfAPointIsExact) {
  const auto f = network::make_network({.depth = 3, .width = 6, .inputs = 5});
  const Box box = cube(5, -1.0, 1.0);
  EXPECT_EQ(attack(f.graph, f.layers, f.layers, box, {.starts = 2, .steps = 5}).deviation, 0.0);

  const auto fq = quantize::quantize_layers(f.layers, {.bits = 3});
  const std::vector<double> x{0.1, -0.2, 0.3, 0.4, -0.5};
  const AttackResult result = attack(f.graph, f.layers, fq, {x, x}, {.starts = 3, .steps = 5});
  EXPECT_EQ(result.point, x);
  EXPECT_EQ(result.deviation, deviation_at(f, fq, x));
}

TEST(Attack, ValuesThatOverflowDoNotCount) {
  NetworkBuilder b({1});
  const NodeId large = b.relu(b.dense(0, {1e300}, {0.0}));
  const network::Network f = b.finish(b.dense(large, {1e300}, {0.0}));
  auto fq = f.layers;
  fq[1].weights[0] = 2e300;
  const AttackResult result = attack(f.graph, f.layers, fq, cube(1, -1.0, 1.0), {.starts = 2, .steps = 5});
  EXPECT_TRUE(std::isfinite(result.deviation));
}

TEST(Attack, NeedsABoundedBox) {
  const auto f = network::make_network({.depth = 2, .width = 3, .inputs = 2});
  Box box = cube(2, 0.0, 1.0);
  box.high[1] = std::numeric_limits<double>::infinity();
  EXPECT_THROW(attack(f.graph, f.layers, f.layers, box, {}), core::InputError);
}

/// Lower bounds by another program's projected gradients: ../shared/data/reference/peers_certify.csv.
TEST_F(AttackAlone, ReachesWhatOthersFoundOnAcas) {
  const std::filesystem::path data = QUANTBOUND_SHARED_DATA;
  if (!std::filesystem::exists(data)) GTEST_SKIP() << "no " << data;
  const auto f = network::read_network(data / "models/acasxu/ACASXU_run2a_1_1_batch_2000.nnet");
  struct Case {
    int bits, property;
    double pgd;
  };
  for (const Case& c : {Case{4, 1, 0.0841808}, Case{6, 3, 0.540027}, Case{8, 4, 0.159568}}) {
    const auto fq = quantize::quantize_layers(f.layers, {.bits = c.bits});
    const Box box =
        network::read_vnnlib_box(data / "vnnlib" / ("acasxu_prop_" + std::to_string(c.property) + ".vnnlib"), 5);
    const AttackResult result = attack(f.graph, f.layers, fq, box, {});
    expect_consistent(f, fq, box, result);
    EXPECT_GT(result.deviation, 0.99 * c.pgd) << c.bits << " bits, property " << c.property;
  }
}

// ------------------------------------------------------------------------------------------- in float, groups, stops

/// Small networks are climbed in float, too.
constexpr Index always_float = 0;

TEST_F(AttackAlone, InFloatReportsWhatTheDoublePassAttains) {
  for (const network::Family family : {network::Family::mlp, network::Family::cnn, network::Family::resnet}) {
    const auto f =
        network::make_network({.family = family, .depth = 8, .width = 4, .inputs = 12, .outputs = 4, .resolution = 6});
    for (const int bits : {3, 8}) {
      const auto fq = quantize::quantize_layers(f.layers, {.bits = bits});
      const Box box = cube(tensor::elements(f.graph.input_shape()), -1.0, 0.7);
      const AttackOptions options{.starts = 4, .steps = 40};
      AttackOptions in_float = options, looked = options;
      in_float.float_from = looked.float_from = always_float;
      looked.steps = 0;

      const AttackResult fast = attack(f.graph, f.layers, fq, box, in_float);
      const AttackResult exact = attack(f.graph, f.layers, fq, box, options);

      expect_consistent(f, fq, box, fast);
      EXPECT_FALSE(fast.stopped);
      EXPECT_GT(fast.deviation, 0.8 * exact.deviation) << bits << " bits";  // in a tenth of the steps
      EXPECT_GT(fast.deviation, 1.01 * attack(f.graph, f.layers, fq, box, looked).deviation) << bits << " bits";
    }
  }
}

TEST_F(AttackAlone, InFloatFindsTheCornerOfALinearDifference) {
  NetworkBuilder b({40});
  const network::Network f = b.finish(b.dense(0, std::vector(80, 0.0), {0.0, 0.0}));
  auto fq = f.layers;
  double largest = 0.0;
  for (std::size_t i = 0; i < 40; ++i) {
    fq[0].weights[40 + i] = (i % 3 == 0 ? -1.0 : 0.5) + 0.01 * static_cast<double>(i);
    largest += std::abs(fq[0].weights[40 + i]) * 0.1;
  }
  const Box box = cube(40, -0.1, 0.1);  // whose ends are no floats
  const AttackResult result =
      attack(f.graph, f.layers, fq, box, {.starts = 2, .steps = 30, .float_from = always_float});
  expect_consistent(f, fq, box, result);
  EXPECT_NEAR(result.deviation, largest, 1e-12 * largest);
}

TEST(Attack, InFloatDependsOnItsSeedButNotOnThreads) {
  const auto f = network::make_network({.family = network::Family::resnet, .depth = 8, .width = 8, .resolution = 8});
  const auto fq = quantize::quantize_layers(f.layers, {.bits = 4});
  const Box box = cube(tensor::elements(f.graph.input_shape()), 0.0, 1.0);
  const int threads = omp_get_max_threads();
  std::vector<AttackResult> results;
  for (const int count : {1, 2, 3}) {
    omp_set_num_threads(count);
    results.push_back(attack(f.graph, f.layers, fq, box, {.starts = 3, .steps = 8, .float_from = always_float}));
  }
  omp_set_num_threads(threads);
  const AttackResult other =
      attack(f.graph, f.layers, fq, box, {.starts = 3, .steps = 8, .seed = 2, .float_from = always_float});

  for (const AttackResult& result : results) {
    EXPECT_EQ(result.deviation, results[0].deviation);
    EXPECT_EQ(result.point, results[0].point);
  }
  EXPECT_NE(other.point, results[0].point);
}

TEST_F(AttackAlone, WhereFloatsOverflowThePointsAreStillEvaluated) {
  NetworkBuilder b({1});
  const NodeId large = b.dense(0, {1e30}, {1e30});
  const network::Network f = b.finish(b.dense(large, {1e30}, {0.0}));  // 1e60 is no float
  auto fq = f.layers;
  fq[1].weights[0] = 2e30;
  const Box box = cube(1, -1.0, 1.0);
  const AttackResult result = attack(f.graph, f.layers, fq, box, {.starts = 2, .steps = 5, .float_from = always_float});
  expect_consistent(f, fq, box, result);
  EXPECT_NEAR(result.deviation, 1e60, 1e50);
}

TEST(Attack, GroupsShareTheStartsOfTheSearch) {
  for (const Index starts : {1, 5, 16}) {
    const std::vector<Index> all = detail::own_points({.starts = starts});
    for (const Index groups : {1, 2, 3, 5, 16}) {
      if (groups > starts) continue;
      std::vector<Index> together;
      for (Index group = 0; group < groups; ++group) {
        const AttackOptions options{.starts = starts, .group = group, .groups = groups};
        const std::vector<Index> own = detail::own_points(options);
        const auto [first, last] = detail::own_starts(options);
        ASSERT_GT(last, first);
        for (Index start = first; start < last; ++start) EXPECT_EQ(own[static_cast<std::size_t>(start - first)], start);
        together.insert(together.end(), own.begin(), own.end());
      }
      std::sort(together.begin(), together.end());
      EXPECT_EQ(together, all) << starts << " starts in " << groups << " groups";
    }
  }
}

TEST_F(AttackAlone, GroupsAreIndependentSearches) {
  const auto f = network::make_network({.family = network::Family::cnn, .depth = 4, .width = 6, .resolution = 8});
  const auto fq = quantize::quantize_layers(f.layers, {.bits = 3});
  const Box box = cube(tensor::elements(f.graph.input_shape()), 0.0, 1.0);
  for (const Index from : {always_float, AttackOptions().float_from}) {
    std::vector<AttackResult> results;
    for (Index group = 0; group < 3; ++group) {
      const AttackOptions options{.starts = 5, .steps = 8, .group = group, .groups = 3, .float_from = from};
      results.push_back(attack(f.graph, f.layers, fq, box, options));
      expect_consistent(f, fq, box, results.back());
      EXPECT_EQ(attack(f.graph, f.layers, fq, box, options).point, results.back().point);
    }
    EXPECT_NE(results[0].point, results[1].point);
    const AttackResult best = best_of(results);
    for (const AttackResult& result : results) EXPECT_GE(best.deviation, result.deviation);
  }
}

TEST(Attack, OfEqualGroupsTheFirstIsTheBest) {
  const AttackResult a{.deviation = 1.0, .output = 3, .point = {0.0}}, b{.deviation = 2.0, .output = 1, .point = {1.0}};
  AttackResult c = b;
  c.output = 2;
  EXPECT_EQ(best_of(std::vector{a, b, c}).output, 1);
  EXPECT_EQ(best_of(std::vector{c, b, a}).output, 2);
  EXPECT_FALSE(best_of(std::vector{a, b}).stopped);
  c.stopped = true;
  EXPECT_TRUE(best_of(std::vector{a, b, c}).stopped);
}

TEST_F(AttackAlone, StopsBetweenStepsWithWhatItHas) {
  const auto f = network::make_network({.family = network::Family::cnn, .depth = 4, .width = 6, .resolution = 8});
  const auto fq = quantize::quantize_layers(f.layers, {.bits = 3});
  const Box box = cube(tensor::elements(f.graph.input_shape()), 0.0, 1.0);
  for (const Index from : {always_float, AttackOptions().float_from}) {
    for (const int patience : {0, 3, 10}) {
      int asked = 0;
      AttackOptions options{.starts = 2, .steps = 1000000, .float_from = from};
      options.stop = [&] { return ++asked > patience; };
      const AttackResult result = attack(f.graph, f.layers, fq, box, options);
      EXPECT_TRUE(result.stopped);
      EXPECT_EQ(asked, patience + 1);
      EXPECT_EQ(deviation_at(f, fq, result.point), result.deviation);
    }
    AttackOptions patient{.starts = 2, .steps = 3, .float_from = from};
    const AttackResult undisturbed = attack(f.graph, f.layers, fq, box, patient);
    patient.stop = [] { return false; };
    EXPECT_EQ(attack(f.graph, f.layers, fq, box, patient).point, undisturbed.point);
    EXPECT_FALSE(undisturbed.stopped);
  }
}

TEST_F(AttackAlone, InFloatFindsMoreThanRandomPointsOnARealNetwork) {
  const std::filesystem::path file =
      std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models/cifar10/resnet20_cifar10_folded.onnx";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
  const auto f = network::read_network(file);
  const auto fq = quantize::quantize_layers(f.layers, {.bits = 8});
  const Box box = cube(tensor::elements(f.graph.input_shape()), -0.02, 0.02);
  ASSERT_GT(detail::count_multiply_adds(f.graph), AttackOptions().float_from);
  const AttackResult result = attack(f.graph, f.layers, fq, box, {.starts = 1, .steps = 16});
  expect_consistent(f, fq, box, result);
  EXPECT_GT(result.deviation, 2.0 * deviation_at(f, fq, uniform_points(box, 3, 0, 0, 16)));
}

}  // namespace
}  // namespace quantbound::observe
