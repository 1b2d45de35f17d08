#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/float_gradient.hpp"
#include "quantbound/network/forward.hpp"

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<float> normals(Index count, std::uint64_t seed) {
  Draw draw(seed);
  std::vector<float> x(at(count));
  for (float& value : x) value = static_cast<float>(draw.normal());
  return x;
}

std::vector<double> as_doubles(std::span<const float> x) { return {x.begin(), x.end()}; }
std::vector<float> as_floats(std::span<const double> x) {
  std::vector<float> floats;
  for (const double value : x) floats.push_back(static_cast<float>(value));
  return floats;
}

Index inputs_of(const Network& network) { return tensor::elements(network.graph.input_shape()); }
Index outputs_of(const Network& network) { return tensor::elements(network.graph.output_shape()); }

/// |a - b| / |b|, in the 2-norm; b where a is empty (the output does not depend on the layer).
double relative_error(std::span<const float> a, std::span<const double> b) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    error += std::pow((a.empty() ? 0.0 : static_cast<double>(a[i])) - b[i], 2);
    size += b[i] * b[i];
  }
  return size == 0.0 ? std::sqrt(error) : std::sqrt(error / size);
}

/// The largest error over all layers.
double layer_error(const FloatGradient& engine, std::span<const LayerParameters> exact) {
  double largest = 0.0;
  for (std::size_t layer = 0; layer < exact.size(); ++layer) {
    const auto weights = engine.weight_gradient(static_cast<Index>(layer)),
               bias = engine.bias_gradient(static_cast<Index>(layer));
    EXPECT_TRUE(weights.empty() || weights.size() == exact[layer].weights.size());
    largest =
        std::max({largest, relative_error(weights, exact[layer].weights), relative_error(bias, exact[layer].bias)});
  }
  return largest;
}

/// Weight gradients of pull_back() against the tape's.
double error_of(const Network& network, Index batch, std::uint64_t seed, Derivatives derivatives) {
  const std::vector<float> x = normals(batch * inputs_of(network), 900 + seed),
                           w = normals(batch * outputs_of(network), 40 + seed);
  FloatGradient engine(network.graph, batch, derivatives);
  engine.use(engine.make_weights(network.layers));
  engine.run(x);
  const auto to_samples = engine.pull_back(w);
  const Tape tape(network.graph, network.layers, as_doubles(x), batch);
  const double error = layer_error(engine, tape.pull_back_to_layers(as_doubles(w)));
  if (derivatives == Derivatives::weights) {
    EXPECT_TRUE(to_samples.empty());
    return error;
  }
  return std::max(error, relative_error(to_samples, tape.pull_back(as_doubles(w))));
}

TEST(WeightGradient, AgreesWithTheTapeOnRandomGraphs) {
  // Where a float lies on the other side of a kink the slope differs, so a few may be off.
  int exceptions = 0;
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    const double error = error_of(testing::random_network(seed), static_cast<Index>(1 + seed % 5), seed,
                                  seed % 2 == 0 ? Derivatives::weights : Derivatives::both);
    exceptions += error > 1e-4 ? 1 : 0;
    EXPECT_LT(error, 0.3);
  }
  EXPECT_LE(exceptions, 8);
}

constexpr tensor::Window same{
    .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

TEST(WeightGradient, AgreesWithTheTapeOnEveryConvolution) {
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
      b.add(Activation{ActivationKind::tanh}, {b.convolution(0, out, groups, window)});
      SCOPED_TRACE(std::to_string(in) + " to " + std::to_string(out) + " in " + std::to_string(groups));
      EXPECT_LT(error_of(b.build(), 2, 5, Derivatives::weights), 2e-5);
    }
  }
}

/// As large as Winograd's algorithm wants: two convolutions and a residual sum.
Network residual_block(Draw& draw, Index channels, Index size) {
  Builder b({channels, size, size}, draw);
  const NodeId middle = b.add(Activation{ActivationKind::relu}, {b.convolution(0, channels, 1, same)});
  b.add(Activation{ActivationKind::relu}, {b.add(Add{}, {b.convolution(middle, channels, 1, same), 0})});
  return b.build();
}

TEST(WeightGradient, AgreesWithTheTapeWhereWinogradsAlgorithmIsUsed) {
  Draw draw(6);
  EXPECT_LT(error_of(residual_block(draw, 32, 17), 4, 1, Derivatives::both), 1e-3);  // ReLU: values at kinks
  Builder smooth({48, 16, 16}, draw);
  const NodeId middle = smooth.add(Activation{ActivationKind::tanh}, {smooth.convolution(0, 32, 1, same)});
  smooth.convolution(middle, 64, 1, same);
  EXPECT_LT(error_of(smooth.build(), 4, 2, Derivatives::both), 5e-5);
}

/// The error sum w (f - t)^2 as its definition says, in double.
double error_sum(const Network& network, std::span<const LayerParameters> layers, std::span<const float> x,
                 std::span<const float> targets, std::span<const float> weights, Index batch) {
  const std::vector<double> y = forward(network.graph, layers, as_doubles(x), batch);
  double sum = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i)
    sum +=
        (weights.empty() ? 1.0 : static_cast<double>(weights[i])) * std::pow(y[i] - static_cast<double>(targets[i]), 2);
  return sum;
}

std::vector<const float*> rows(std::span<const float> values, Index count) {
  std::vector<const float*> pointers;
  for (Index i = 0; i < count; ++i) pointers.push_back(values.data() + i * (std::ssize(values) / count));
  return pointers;
}

enum class Weights { none, squares };

/// fit() against the definition: the error, and its derivative along random directions by central differences.
void expect_fit(const Network& network, Index batch, std::uint64_t seed, Weights kind) {
  const std::vector<float> x = normals(batch * inputs_of(network), seed),
                           t = normals(batch * outputs_of(network), seed + 1);
  std::vector<float> w = normals(kind == Weights::squares ? batch * outputs_of(network) : 0, seed + 2);
  for (float& value : w) value *= value;
  constexpr double factor = 0.25;
  FloatGradient engine(network.graph, batch, Derivatives::weights);
  engine.use(engine.make_weights(network.layers));
  const auto px = rows(x, batch), pt = rows(t, batch),
             pw = kind == Weights::squares ? rows(w, batch) : std::vector<const float*>{};
  const double sum = engine.fit({px, pt, pw}, factor);
  const double exact = error_sum(network, network.layers, x, t, w, batch);
  EXPECT_NEAR(sum, exact, 1e-5 * exact);

  for (std::size_t layer = 0; layer < network.layers.size(); ++layer) {
    const auto gradient = engine.weight_gradient(static_cast<Index>(layer)),
               bias = engine.bias_gradient(static_cast<Index>(layer));
    const std::vector<float> direction = normals(std::ssize(gradient), seed + 10 + layer);
    constexpr double step = 1e-6;
    const auto moved = [&](double by) {
      std::vector<LayerParameters> layers = network.layers;
      for (std::size_t i = 0; i < direction.size(); ++i)
        layers[layer].weights[i] += by * static_cast<double>(direction[i]);
      for (double& b : layers[layer].bias) b += by;
      return factor * error_sum(network, layers, x, t, w, batch);
    };
    double slope = 0.0, size = 0.0;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      slope += static_cast<double>(gradient[i]) * static_cast<double>(direction[i]);
      size += std::pow(static_cast<double>(gradient[i]), 2);
    }
    for (const float b : bias) slope += static_cast<double>(b), size += std::pow(static_cast<double>(b), 2);
    EXPECT_NEAR(slope, (moved(step) - moved(-step)) / (2.0 * step), 1e-4 * std::sqrt(size)) << "layer " << layer;
  }
}

TEST(WeightGradient, OfASquaredErrorAgreesWithFiniteDifferences) {
  Draw draw(5);
  Builder smooth({3, 8, 8}, draw);
  NodeId node = smooth.add(Activation{ActivationKind::tanh}, {smooth.convolution(0, 12, 1, same)});
  node = smooth.add(Activation{ActivationKind::leaky_relu, 0.5}, {smooth.convolution(node, 12, 12, same)});
  node = smooth.add(Product{}, {node, smooth.convolution(smooth.add(GlobalAveragePool{}, {node}), 12, 1, {})});
  node =
      smooth.add(AveragePool{{.kernel_height = 2, .kernel_width = 2, .stride_height = 2, .stride_width = 2}}, {node});
  smooth.dense(smooth.flatten(node), 4);
  Builder image({5, 9, 7}, draw);  // its output has no full block of channels
  image.add(
      Concat{0},
      {image.convolution(0, 7, 1, same),
       image.convolution(
           0, 4, 1,
           {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1})});
  for (const Weights kind : {Weights::none, Weights::squares}) {
    expect_fit(smooth.build(), 3, 70, kind);
    expect_fit(image.build(), 2, 80, kind);
  }
}

TEST(WeightGradient, AFitIsARunAndAPullBack) {
  // Many begin with an operator that writes over its samples.
  Draw draw(9);
  std::vector<Network> networks{residual_block(draw, 32, 12)};
  for (std::uint64_t seed = 0; seed < 30; ++seed) networks.push_back(testing::random_network(seed));
  for (const Network& network : networks) {
    const Index batch = 4;
    const std::vector<float> x = normals(batch * inputs_of(network), 1), t = normals(batch * outputs_of(network), 2);
    FloatGradient engine(network.graph, batch, Derivatives::weights);
    engine.use(engine.make_weights(network.layers));
    const auto px = rows(x, batch), pt = rows(t, batch);
    engine.fit({px, pt, {}}, 0.5);
    std::vector<std::vector<float>> fitted;
    for (std::size_t layer = 0; layer < network.layers.size(); ++layer) {
      const auto g = engine.weight_gradient(static_cast<Index>(layer));
      fitted.emplace_back(g.begin(), g.end());
    }
    const auto y = engine.run(x);
    std::vector<float> seed(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) seed[i] = y[i] - t[i];
    engine.pull_back(seed);
    for (std::size_t layer = 0; layer < network.layers.size(); ++layer) {
      const auto g = engine.weight_gradient(static_cast<Index>(layer));
      EXPECT_EQ(fitted[layer], std::vector<float>(g.begin(), g.end())) << "layer " << layer;
    }
  }
}

TEST(WeightGradient, WeightsSetFromFloatsAreThoseSetFromDoubles) {
  const Network network = testing::random_network(11);
  const std::vector<float> x = normals(2 * inputs_of(network), 1), t = normals(2 * outputs_of(network), 2);
  FloatGradient engine(network.graph, 2, Derivatives::weights);
  const auto doubles = engine.make_weights(network.layers), floats = engine.make_weights();
  const auto px = rows(x, 2), pt = rows(t, 2);
  engine.use(doubles);
  const double expected = engine.fit({px, pt, {}}, 1.0);
  for (int round = 0; round < 2; ++round) {  // the second from memory of its own
    for (std::size_t layer = 0; layer < network.layers.size(); ++layer)
      floats->set(static_cast<Index>(layer), as_floats(network.layers[layer].weights),
                  as_floats(network.layers[layer].bias));
    engine.use(floats);
    EXPECT_EQ(engine.fit({px, pt, {}}, 1.0), expected);
  }
}

}  // namespace
}  // namespace quantbound::network
