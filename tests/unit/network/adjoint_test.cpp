// Derivatives by reverse accumulation against differences of the function itself.
#include "quantbound/network/adjoint.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/network/forward.hpp"

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

struct Differences {
  double left, right;  ///< difference quotients on both sides
};

Differences along(const Network& network, const std::vector<double>& x, const std::vector<double>& direction,
                  const std::vector<double>& weights, double step) {
  const auto at = [&](double t) {
    std::vector<double> moved = x;
    for (std::size_t i = 0; i < x.size(); ++i) moved[i] += t * direction[i];
    const std::vector<double> y = forward(network.graph, network.layers, moved, 1);
    return std::inner_product(y.begin(), y.end(), weights.begin(), 0.0);
  };
  const double here = at(0);
  return {(here - at(-step)) / step, (at(step) - here) / step};
}

/// The derivative along random directions at random points; where both sides differ, a kink lies between.
/// Returns how many directions had none.
int expect_derivatives(const Network& network, Draw& draw, int directions, const std::string& what) {
  const Index in = tensor::elements(network.graph.input_shape()), out = tensor::elements(network.graph.output_shape());
  int smooth = 0;
  for (int d = 0; d < directions; ++d) {
    const auto x = draw.normals(in), direction = draw.normals(in), weights = draw.normals(out);
    const Tape tape(network.graph, network.layers, x, 1);
    const std::vector<double> gradient = tape.pull_back(weights);
    EXPECT_EQ(gradient.size(), x.size());
    const double slope = std::inner_product(gradient.begin(), gradient.end(), direction.begin(), 0.0);
    const Differences quotient = along(network, x, direction, weights, 1e-6);
    const double size = 1.0 + std::abs(slope);
    if (std::abs(quotient.left - quotient.right) > 1e-4 * size) continue;
    ++smooth;
    EXPECT_NEAR(slope, (quotient.left + quotient.right) / 2, 2e-4 * size) << what;
  }
  return smooth;
}

TEST(Tape, ValuesAreTheBitsOfForwardOnRandomGraphs) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Network network = testing::random_network(seed);
    Draw draw(100 + seed);
    const auto x = draw.normals(3 * tensor::elements(network.graph.input_shape()));
    const Tape tape(network.graph, network.layers, x, 3);

    const std::vector<double> y(tape.output().begin(), tape.output().end());
    EXPECT_EQ(y, forward(network.graph, network.layers, x, 3)) << "seed " << seed;
    forward(network.graph, network.layers, x, 3, [&](Index layer, std::span<const double> values) {
      const auto kept = tape.value(network.graph.measured_output(layer));
      EXPECT_TRUE(std::equal(values.begin(), values.end(), kept.begin(), kept.end())) << "seed " << seed;
    });
  }
}

TEST(Tape, DerivativesOfEveryOperatorMatchDifferences) {
  Draw draw(7);
  const Shape image{4, 5, 6};
  const auto check = [&](const std::string& what, auto add) {
    Builder b(image, draw);
    add(b);
    EXPECT_GE(expect_derivatives(b.build(), draw, 12, what), 8) << what;
  };
  const tensor::Window window{
      .kernel_height = 3, .kernel_width = 2, .stride_height = 2, .stride_width = 1, .pad_top = 1, .pad_right = 1};
  check("Conv", [&](Builder& b) { b.convolution(0, 6, 2, window); });
  check("depthwise Conv", [&](Builder& b) { b.convolution(0, 8, 4, window); });
  check("Gemm", [](Builder& b) { b.dense(b.flatten(0), 7); });
  check("Add", [](Builder& b) { b.add(Add{}, {0, b.convolution(0, 4, 1, {})}); });
  check("Product", [](Builder& b) { b.add(Product{}, {0, b.convolution(0, 4, 1, {})}); });
  check("square", [](Builder& b) { b.add(Product{}, {0, 0}); });
  check("gate", [](Builder& b) { b.add(Product{}, {0, b.add(GlobalAveragePool{}, {0})}); });
  check("gate first", [](Builder& b) { b.add(Product{}, {b.add(GlobalAveragePool{}, {0}), 0}); });
  check("Concat", [](Builder& b) { b.add(Concat{1}, {0, b.convolution(0, 4, 1, {}), 0}); });
  check("MaxPool", [&](Builder& b) { b.add(MaxPool{window}, {0}); });
  check("AveragePool", [&](Builder& b) { b.add(AveragePool{window, false}, {0}); });
  check("AveragePool with pads", [&](Builder& b) { b.add(AveragePool{window, true}, {0}); });
  check("GlobalAveragePool", [](Builder& b) { b.add(GlobalAveragePool{}, {0}); });
  check("Pad", [](Builder& b) { b.add(Pad{{1, 0, 2}, {0, 1, 1}, 0.5}, {0}); });
  check("Slice", [](Builder& b) { b.add(Slice{{3, 0, 1}, {-1, 2, 1}, {4, 3, 4}}, {0}); });
  check("Transpose", [](Builder& b) { b.add(Permute{{2, 0, 1}}, {0}); });
  check("Reshape", [](Builder& b) { b.flatten(0); });
  check("scale of all", [](Builder& b) { b.add(ScaleShift{{-2}, {1}}, {0}); });
  check("scale per channel", [&](Builder& b) { b.add(ScaleShift{draw.normals(4), draw.normals(4)}, {0}); });
  check("scale per element", [&](Builder& b) { b.add(ScaleShift{draw.normals(120), draw.normals(120)}, {0}); });
}

TEST(Tape, DerivativesOfEveryActivationMatchDifferencesOnEveryPiece) {
  Draw draw(8);
  for (const Activation& op : {Activation{ActivationKind::relu}, Activation{ActivationKind::leaky_relu, 0.1},
                               Activation{ActivationKind::clip, -0.5, 1.5}, Activation{ActivationKind::sigmoid},
                               Activation{ActivationKind::tanh}, Activation{ActivationKind::hard_swish},
                               Activation{ActivationKind::hard_sigmoid, 0.2, 0.5}}) {
    Builder b({1}, draw);
    b.add(op, {0});
    const Network network = b.build();
    for (double x = -5.03; x < 5.0; x += 0.1) {
      const std::vector<double> at{x}, one{1.0};
      const double slope = Tape(network.graph, network.layers, at, 1).pull_back(one).front();
      const Differences quotient = along(network, at, one, one, 1e-6);
      EXPECT_NEAR(slope, (quotient.left + quotient.right) / 2, 1e-5) << to_string(op.kind) << " at " << x;
    }
  }
}

TEST(Tape, DerivativesOfRandomGraphsMatchDifferences) {
  int smooth = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Network network = testing::random_network(seed);
    Draw draw(200 + seed);
    smooth += expect_derivatives(network, draw, 5, "seed " + std::to_string(seed));
  }
  EXPECT_GT(smooth, 200) << "of 300";
}

TEST(Tape, AnOutputThatIsReadBeforeTheEndHasItsOwnGradientToo) {
  Draw draw(9);
  Builder b({3}, draw);
  const NodeId hidden = b.dense(0, 3);
  b.add(Activation{ActivationKind::relu}, {hidden});
  Network network = b.build();
  network.graph.output = hidden;  // the activation after it does not count
  const std::vector<double> x{0.3, -0.2, 0.7}, g{1, 0, 0};

  const std::vector<double> gradient = Tape(network.graph, network.layers, x, 1).pull_back(g);

  EXPECT_EQ(gradient, std::vector<double>(network.layers[0].weights.begin(), network.layers[0].weights.begin() + 3));
}

TEST(Tape, GradientsOfASampleDependNeitherOnItsBatchNorOnThreads) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const Network network = testing::random_network(seed);
    Draw draw(300 + seed);
    const Index batch = 40, in = tensor::elements(network.graph.input_shape());
    const Index out = tensor::elements(network.graph.output_shape());
    const auto x = draw.normals(batch * in), g = draw.normals(batch * out);
    const int threads = omp_get_max_threads();

    omp_set_num_threads(1);
    const auto one = Tape(network.graph, network.layers, x, batch).pull_back(g);
    omp_set_num_threads(2);
    const auto two = Tape(network.graph, network.layers, x, batch).pull_back(g);
    omp_set_num_threads(threads);

    EXPECT_EQ(one, two) << "seed " << seed;
    const auto part = [](const std::vector<double>& all, Index row, Index size) {
      return std::vector<double>(all.begin() + row * size, all.begin() + (row + 1) * size);
    };
    for (const Index n : {Index{0}, Index{17}, Index{39}})
      EXPECT_EQ(Tape(network.graph, network.layers, part(x, n, in), 1).pull_back(part(g, n, out)), part(one, n, in));
  }
}

}  // namespace
}  // namespace quantbound::network
