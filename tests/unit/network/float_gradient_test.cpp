#include "quantbound/network/float_gradient.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

std::vector<float> normals(Index count, std::uint64_t seed) {
  Draw draw(seed);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = static_cast<float>(draw.normal());
  return x;
}

std::vector<double> as_doubles(std::span<const float> x) { return {x.begin(), x.end()}; }
std::vector<float> copied(std::span<const float> x) { return {x.begin(), x.end()}; }

Index inputs_of(const Network& network) { return tensor::elements(network.graph.input_shape()); }
Index outputs_of(const Network& network) { return tensor::elements(network.graph.output_shape()); }

/// |a - b| / |b|, in the 2-norm.
double relative_error(std::span<const float> a, std::span<const double> b) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += b[i] * b[i];
  }
  return size == 0.0 ? std::sqrt(error) : std::sqrt(error / size);
}

/// Values and gradients against the tape in double. A sample whose value lies closer to a kink than floats tell has
/// another slope there: `tolerance` is for all but few samples.
struct Agreement {
  Index samples = 0, exceptions = 0;
  double largest = 0.0;
};

void compare(const Network& network, Index batch, std::uint64_t seed, double tolerance, Agreement& all) {
  const Index inputs = inputs_of(network), outputs = outputs_of(network);
  const std::vector<float> x = normals(batch * inputs, 900 + seed), w = normals(batch * outputs, 40 + seed);
  FloatGradient engine(network.graph, batch);
  engine.use(engine.make_weights(network.layers));
  const auto y = copied(engine.run(x)), g = copied(engine.pull_back(w));

  const Tape tape(network.graph, network.layers, as_doubles(x), batch);
  const std::vector<double> exact = tape.pull_back(as_doubles(w));
  ASSERT_EQ(y.size(), tape.output().size());
  ASSERT_EQ(g.size(), exact.size());
  ASSERT_LT(relative_error(y, tape.output()), 1e-4) << "seed " << seed;
  for (Index s = 0; s < batch; ++s) {
    const auto first = static_cast<std::size_t>(s * inputs), count = static_cast<std::size_t>(inputs);
    const double error = relative_error(std::span(g).subspan(first, count), std::span(exact).subspan(first, count));
    ++all.samples;
    all.exceptions += error > tolerance ? 1 : 0;
    if (error <= tolerance) all.largest = std::max(all.largest, error);
    EXPECT_LT(error, 0.5) << "seed " << seed << " sample " << s;
  }
}

TEST(FloatGradient, AgreesWithTheTapeOnRandomGraphs) {
  Agreement all;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    compare(testing::random_network(seed), static_cast<Index>(1 + seed % 5), seed, 1e-4, all);
  }
  EXPECT_LE(all.exceptions, all.samples / 50) << all.samples << " samples";
}

/// One network, whose samples all agree.
void expect_agreement(const Network& network, Index batch, std::uint64_t seed, double tolerance) {
  Agreement all;
  compare(network, batch, seed, tolerance, all);
  EXPECT_EQ(all.exceptions, 0);
}

constexpr tensor::Window same{
    .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

TEST(FloatGradient, AgreesWithTheTapeOnEveryConvolution) {
  Draw draw(3);
  const std::vector<tensor::Window> windows{
      {},
      same,
      {.kernel_height = 3, .kernel_width = 5, .stride_height = 2, .stride_width = 3, .pad_top = 2, .pad_right = 1},
      {.kernel_height = 3, .kernel_width = 3, .dilation_height = 2, .dilation_width = 3},
      {.kernel_height = 2, .kernel_width = 3, .stride_height = 2, .stride_width = 1, .pad_left = 1, .pad_bottom = 1},
      {.kernel_height = 3,
       .kernel_width = 3,
       .stride_height = 2,
       .stride_width = 2,
       .pad_top = 1,
       .pad_left = 1,
       .dilation_height = 2,
       .dilation_width = 2}};
  for (const tensor::Window& window : windows) {
    for (const auto& [in, out, groups] : {std::array<Index, 3>{3, 8, 1},
                                          {16, 32, 1},
                                          {12, 12, 12},
                                          {16, 32, 16},
                                          {8, 24, 4},
                                          {32, 32, 32},
                                          {5, 7, 1}}) {
      Builder b({in, 11, 13}, draw);
      b.convolution(0, out, groups, window);
      SCOPED_TRACE(std::to_string(in) + " to " + std::to_string(out) + " in " + std::to_string(groups));
      expect_agreement(b.build(), 2, 5, 1e-5);
    }
  }
}

TEST(FloatGradient, AgreesWithTheTapeWhereGradientsMeet) {
  Draw draw(4);
  for (int variant = 0; variant < 6; ++variant) {
    Builder b({16, 6, 6}, draw);
    const NodeId stem = b.add(Activation{ActivationKind::tanh}, {b.convolution(0, 16, 1, same)});
    const NodeId left = b.convolution(stem, 16, 1, same);
    NodeId out = left;
    if (variant == 0) out = b.add(Add{}, {stem, stem});                        // twice the same
    if (variant == 1) out = b.add(Add{}, {b.add(Add{}, {left, stem}), stem});  // three ways into one value
    if (variant == 2) out = b.add(Product{}, {b.add(Add{}, {left, stem}), b.add(Add{}, {stem, left})});
    if (variant == 3) {  // a sum that is read by a convolution, by a sum and by a product
      const NodeId sum = b.add(Add{}, {left, stem});
      out = b.add(Add{}, {b.add(Product{}, {sum, stem}), b.add(Add{}, {b.convolution(sum, 16, 1, {}), sum})});
    }
    if (variant == 4) out = b.add(Concat{0}, {left, stem, left});
    if (variant == 5) out = b.add(Add{}, {b.add(Activation{ActivationKind::hard_swish}, {left}), 0});
    b.dense(b.flatten(out), 5);
    SCOPED_TRACE(variant);
    expect_agreement(b.build(), 3, 6, 1e-4);
  }
}

TEST(FloatGradient, AgreesWithFiniteDifferences) {
  // Smooth operators only, so that the quotient converges: central, along random directions.
  Draw draw(5);
  Builder b({3, 8, 8}, draw);
  NodeId at = b.add(Activation{ActivationKind::tanh}, {b.convolution(0, 12, 1, same)});
  at = b.add(Activation{ActivationKind::sigmoid}, {b.convolution(at, 12, 12, same)});
  at = b.add(Product{}, {at, b.convolution(b.add(GlobalAveragePool{}, {at}), 12, 1, {})});
  at = b.add(AveragePool{{.kernel_height = 2, .kernel_width = 2, .stride_height = 2, .stride_width = 2}}, {at});
  b.dense(b.flatten(at), 4);
  const Network network = b.build();
  const Index inputs = inputs_of(network);
  FloatGradient engine(network.graph, 1);
  engine.use(engine.make_weights(network.layers));
  const std::vector<float> x = normals(inputs, 1), w = normals(4, 2);
  engine.run(x);
  const std::vector<float> g = copied(engine.pull_back(w));

  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const std::vector<float> direction = normals(inputs, 50 + seed);
    constexpr double step = 1e-5;
    const auto value = [&](double t) {
      std::vector<double> moved = as_doubles(x);
      for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += t * static_cast<double>(direction[i]);
      const std::vector<double> y = forward(network.graph, network.layers, moved, 1);
      double sum = 0.0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(w[i]) * y[i];
      return sum;
    };
    double slope = 0.0, size = 0.0;
    for (std::size_t i = 0; i < g.size(); ++i) {
      slope += static_cast<double>(g[i]) * static_cast<double>(direction[i]);
      size += std::abs(static_cast<double>(g[i]));
    }
    EXPECT_NEAR(slope, (value(step) - value(-step)) / (2.0 * step), 1e-5 * size);
  }
}

TEST(FloatGradient, GivesTheSameBitsInEveryRunAndInsideAParallelRegion) {
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
    const Network network = testing::random_network(seed);
    const std::vector<float> x = normals(3 * inputs_of(network), seed), other = normals(3 * inputs_of(network), 9);
    const std::vector<float> w = normals(3 * outputs_of(network), 10 + seed);
    FloatGradient first(network.graph, 3);
    const auto weights = first.make_weights(network.layers);
    first.use(weights);
    first.run(x);
    const std::vector<float> expected = copied(first.pull_back(w));
    first.run(other);
    first.pull_back(w);
    first.run(x);
    EXPECT_EQ(copied(first.pull_back(w)), expected) << "seed " << seed;

    std::vector<std::vector<float>> results(4);
#pragma omp parallel for num_threads(2)
    for (std::size_t i = 0; i < results.size(); ++i) {
      FloatGradient engine(network.graph, 3);
      engine.use(weights);
      engine.run(x);
      results[i] = copied(engine.pull_back(w));
    }
    for (const auto& result : results) EXPECT_EQ(result, expected) << "seed " << seed;
  }
}

TEST(FloatGradient, EnginesShareWeightsAndSwapThem) {
  const Network a = testing::random_network(11);
  Network b = a;
  for (LayerParameters& layer : b.layers)
    for (double& weight : layer.weights) weight *= 1.25;
  const std::vector<float> x = normals(2 * inputs_of(a), 1), w = normals(2 * outputs_of(a), 2);
  FloatGradient one(a.graph, 2), two(a.graph, 2);
  const auto of_a = one.make_weights(a.layers), of_b = one.make_weights(b.layers);
  EXPECT_EQ(of_a->bytes(), one.memory().weights);
  const auto gradient = [&](FloatGradient& engine, const std::shared_ptr<FloatWeights>& weights) {
    engine.use(weights);
    engine.run(x);
    return copied(engine.pull_back(w));
  };
  const auto ga = gradient(one, of_a), gb = gradient(one, of_b);
  EXPECT_NE(ga, gb);
  EXPECT_EQ(gradient(two, of_b), gb);
  EXPECT_EQ(gradient(one, of_a), ga);
}

TEST(FloatGradient, TheIdentityAndAnIgnoredInputWork) {
  Draw draw(8);
  Builder identity({2, 3, 3}, draw);
  identity.flatten(0);
  expect_agreement(identity.build(), 3, 1, 1e-6);
  Builder ignored({4}, draw);
  ignored.dense(0, 3);
  Network network = ignored.build();
  network.layers[0].weights.assign(network.layers[0].weights.size(), 0.0);
  expect_agreement(network, 2, 1, 1e-6);
}

TEST(FloatGradient, AgreesWithTheTapeOnRealNetworks) {
  const std::filesystem::path models = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << models << " is not there";
  // Deep ReLU networks have values at kinks: where a float rounds to the other side, one path of many differs.
  for (const std::string file :
       {"imagenet/mbv2_1.0_tv_float_folded.onnx", "imagenet/squeezenet1.1_float.onnx",
        "cifar10/resnet20_cifar10_folded.onnx", "cifar10/mlperf_resnet8_float.onnx", "mnist/ffnnSIGMOID_6x200.onnx",
        "mnist/verivital_convnet_avgpool.onnx", "acasxu/ACASXU_run2a_1_1_batch_2000.onnx"}) {
    SCOPED_TRACE(file);
    expect_agreement(read_network(models / file), file.starts_with("imagenet") ? 1 : 3, 12, 2e-2);
  }
}

}  // namespace
}  // namespace quantbound::network
