#include "quantbound/network/float_forward.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"
#include "quantbound/network/segments.hpp"

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

std::vector<float> samples_for(const Graph& graph, Index batch, std::uint64_t seed) {
  Draw draw(seed);
  std::vector<float> x(static_cast<std::size_t>(batch * tensor::elements(graph.input_shape())));
  for (float& value : x) value = static_cast<float>(draw.normal());
  return x;
}

double largest_magnitude(std::span<const double> values) {
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// The same network with other weights.
Network redrawn(Network network, std::uint64_t seed) {
  Draw draw(seed);
  for (LayerParameters& layer : network.layers) {
    for (double& weight : layer.weights) weight *= 1.0 + 0.1 * draw.normal();
    for (double& bias : layer.bias) bias += 0.1 * draw.normal();
  }
  return network;
}

/// A few wide layers on images large enough that the engine takes few samples at a time, then more.
Network large_network(std::uint64_t seed) {
  Draw draw(seed);
  Builder b({3, 64, 64}, draw);
  const tensor::Window same{
      .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const Activation relu{};
  NodeId at = b.add(relu, {b.convolution(0, 48, 1, same)});
  at = b.add(relu, {b.add(Add{}, {b.convolution(at, 48, 1, same), at})});
  at = b.add(relu, {b.convolution(at, 64, 1, {.stride_height = 2, .stride_width = 2})});
  NodeId shortcut = at;
  at = b.add(relu, {b.convolution(at, 64, 64, same)});
  at = b.add(relu, {b.add(Add{}, {b.convolution(at, 64, 1, {}), shortcut})});
  at = b.add(MaxPool{{.kernel_height = 2, .kernel_width = 2, .stride_height = 2, .stride_width = 2}}, {at});
  shortcut = at;
  at = b.add(relu, {b.convolution(at, 64, 1, same)});
  at = b.add(Concat{0}, {at, shortcut});
  b.dense(b.flatten(
              b.add(AveragePool{{.kernel_height = 4, .kernel_width = 4, .stride_height = 4, .stride_width = 4}}, {at})),
          10);
  return b.build();
}

enum class Captured { nothing, measured_outputs, all };

std::vector<NodeId> nodes_of(Captured captured, const Network& network) {
  std::vector<NodeId> nodes;
  if (captured == Captured::measured_outputs)
    for (Index layer = 0; layer < std::ssize(network.layers); ++layer)
      nodes.push_back(network.graph.measured_output(layer));
  if (captured == Captured::all)
    for (NodeId node = 1; node < std::ssize(network.graph.nodes); ++node) nodes.push_back(node);
  return nodes;
}

/// An engine with weights of its own.
FloatForward engine_for(const Network& network, Index batch, Captured captured) {
  FloatForward engine(network.graph, batch, nodes_of(captured, network));
  engine.use(engine.make_weights(network.layers));
  return engine;
}

constexpr std::array every_capture{Captured::nothing, Captured::measured_outputs, Captured::all};

/// Engine and double forward agree to 1e-4 of the largest output.
void expect_agreement(const Network& network, Index batch, Captured captured, std::uint64_t seed) {
  const std::vector<float> x = samples_for(network.graph, batch, 5000 + seed);
  FloatForward engine = engine_for(network, batch, captured);

  const std::span<const float> fast = engine.run(x);
  const std::vector<double> exact =
      forward(network.graph, network.layers, std::vector<double>(x.begin(), x.end()), batch);

  ASSERT_EQ(fast.size(), exact.size());
  const double tolerance = 1e-4 * largest_magnitude(exact);
  for (std::size_t i = 0; i < exact.size(); ++i)
    ASSERT_NEAR(static_cast<double>(fast[i]), exact[i], tolerance) << "seed " << seed << " at " << i;
}

TEST(FloatForward, AgreesWithTheDoubleForwardOnRandomGraphs) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    const Network network = testing::random_network(seed);
    for (const Captured captured : every_capture)
      expect_agreement(network, static_cast<Index>(1 + seed % 6), captured, seed);
  }
}

TEST(FloatForward, AgreesWithTheDoubleForwardOnOneSampleOfOneChannel) {
  // Broadcast products where every extent is 1: wrong on blocked layouts when oneDNN 2.6 multiplies in place.
  for (const std::uint64_t seed : {1827U, 2853U})
    for (const Captured captured : every_capture) expect_agreement(testing::random_network(seed), 1, captured, seed);
}

TEST(FloatForward, AgreesWithTheDoubleForwardWhereThePaceChangesWithinTheNetwork) {
  for (const Index batch : {1, 6, 8, 13})
    for (const Captured captured : every_capture) expect_agreement(large_network(1), batch, captured, 1);
}

TEST(FloatForward, GivesTheSameBitsInEveryRunAndWithAnyNumberOfThreads) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Network network = seed == 0 ? large_network(2) : testing::random_network(seed);
    const std::vector<float> x = samples_for(network.graph, 8, seed), other = samples_for(network.graph, 8, 77 + seed);
    const int threads = omp_get_max_threads();
    std::vector<std::vector<float>> outputs;
    for (const int count : {1, 2, 5}) {
      omp_set_num_threads(count);
      FloatForward engine = engine_for(network, 8, Captured::nothing);
      for (const auto& input : {x, other, x}) {
        const auto y = engine.run(input);
        outputs.emplace_back(y.begin(), y.end());
      }
      EXPECT_EQ(omp_get_max_threads(), count) << "the engine must restore the caller's setting";
    }
    omp_set_num_threads(threads);
    for (std::size_t i = 0; i < outputs.size(); ++i) EXPECT_EQ(outputs[i], outputs[i % 3 == 1 ? 1 : 0]) << "run " << i;
  }
}

TEST(FloatForward, GivesTheSameBitsInsideAParallelRegion) {
  const Network network = large_network(3);
  const std::vector<float> x = samples_for(network.graph, 4, 9);
  FloatForward alone = engine_for(network, 4, Captured::nothing);
  const auto y = alone.run(x);
  std::vector<std::vector<float>> outputs(4);

#pragma omp parallel for num_threads(2)
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    FloatForward engine = engine_for(network, 4, Captured::nothing);
    const auto result = engine.run(x);
    outputs[i].assign(result.begin(), result.end());
  }

  for (const auto& output : outputs) EXPECT_TRUE(std::equal(y.begin(), y.end(), output.begin(), output.end()));
}

TEST(FloatForward, ReplacedParametersGiveTheBitsOfANewEngine) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Network first = testing::random_network(seed), second = redrawn(first, 100 + seed);
    const std::vector<float> x = samples_for(first.graph, 3, seed);
    FloatForward reused = engine_for(first, 3, Captured::measured_outputs);
    FloatForward fresh = engine_for(second, 3, Captured::measured_outputs);
    const auto before = reused.run(x);
    const std::vector<float> old(before.begin(), before.end());

    reused.use(reused.make_weights(second.layers));
    const auto y = reused.run(x), expected = fresh.run(x);

    EXPECT_TRUE(std::equal(y.begin(), y.end(), expected.begin(), expected.end())) << "seed " << seed;
    EXPECT_FALSE(std::equal(y.begin(), y.end(), old.begin(), old.end())) << "seed " << seed;
  }
}

TEST(FloatForward, WeightsAreSharedAndExchangedWithoutATrace) {
  const Network first = large_network(5), second = redrawn(first, 6);
  const Index batch = 8;
  const std::vector<float> x = samples_for(first.graph, batch, 7);
  FloatForward one = engine_for(first, batch, Captured::nothing), other = engine_for(second, batch, Captured::nothing);
  const auto output = [&](FloatForward& engine) {
    const auto y = engine.run(x);
    return std::vector<float>(y.begin(), y.end());
  };
  const std::vector<float> of_first = output(one), of_second = output(other);
  ASSERT_NE(of_first, of_second);

  const auto weights = one.make_weights(first.layers), exchanged = other.make_weights(second.layers);
  one.use(exchanged);
  other.use(weights);
  EXPECT_EQ(output(one), of_second);
  EXPECT_EQ(output(other), of_first);
  one.use(weights);

  std::array<std::vector<float>, 2> together;
#pragma omp parallel for num_threads(2)
  for (std::size_t i = 0; i < together.size(); ++i) together[i] = output(i == 0 ? one : other);
  EXPECT_EQ(together[0], of_first);
  EXPECT_EQ(together[1], of_first);
}

TEST(FloatForward, LayersSetByManyThreadsAreThoseSetByOne) {
  const Network network = large_network(8);
  const std::vector<float> x = samples_for(network.graph, 4, 9);
  FloatForward engine = engine_for(network, 4, Captured::nothing);
  const auto y = engine.run(x);
  const std::vector<float> expected(y.begin(), y.end());

  const auto weights = engine.make_weights();
#pragma omp parallel for num_threads(4)
  for (std::size_t layer = 0; layer < network.layers.size(); ++layer)
    weights->set(static_cast<Index>(layer), network.layers[layer]);
  engine.use(weights);

  const auto z = engine.run(x);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), z.begin(), z.end()));
}

TEST(FloatForward, StatesItsMemoryBeforeItRuns) {
  const Network network = large_network(9);
  Index weight_bytes = 0;
  for (const LayerParameters& layer : network.layers)
    weight_bytes += static_cast<Index>((layer.weights.size() + layer.bias.size()) * sizeof(float));
  const FloatForward few(network.graph, 8), many(network.graph, 8, nodes_of(Captured::measured_outputs, network));
  Index captured_bytes = 0;
  for (const NodeId node : nodes_of(Captured::measured_outputs, network))
    captured_bytes += 8 * static_cast<Index>(sizeof(float)) *
                      tensor::elements(network.graph.nodes[static_cast<std::size_t>(node)].shape);

  EXPECT_GE(few.memory().weights, weight_bytes);
  EXPECT_LE(few.memory().weights, 5 * weight_bytes) << "Winograd's algorithm makes 36 numbers of 9, layouts fill up";
  EXPECT_EQ(few.memory().weights, few.make_weights()->bytes());
  EXPECT_GE(many.memory().activations, captured_bytes);
  EXPECT_LT(few.memory().activations, captured_bytes) << "without captures the arena is shared";
}

/// The sums of the absolute values of a batch: comparable between layouts, as padding is zero.
double absolute_sum(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += std::abs(static_cast<double>(value));
  return sum;
}

TEST(FloatForward, CapturedNodesThatLeadNowhereAreComputedAndOthersAreNot) {
  Draw draw(10);
  Builder b({6, 9, 9}, draw);
  const tensor::Window same{
      .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const NodeId trunk = b.add(Activation{}, {b.convolution(0, 16, 1, same)});
  const NodeId aside = b.convolution(trunk, 16, 1, same);  // reads an intermediate value
  const NodeId sum = b.add(Add{}, {b.convolution(trunk, 16, 1, same), trunk});
  const NodeId out = b.dense(b.flatten(sum), 3);
  Network network = b.build();
  network.graph.output = out;
  const std::vector<float> x = samples_for(network.graph, 3, 11);
  const std::vector<double> exact_x(x.begin(), x.end());
  const auto absolute_sum_at = [&](NodeId node) {
    Graph graph = network.graph;
    graph.output = node;
    double sum_of_values = 0.0;
    for (const double value : forward(graph, network.layers, exact_x, 3)) sum_of_values += std::abs(value);
    return sum_of_values;
  };

  FloatForward engine(network.graph, 3, std::vector<NodeId>{aside, trunk});
  engine.use(engine.make_weights(network.layers));
  const auto y = engine.run(x);
  const std::vector<float> output(y.begin(), y.end());
  for (const auto& [which, node] : {std::pair<Index, NodeId>{0, aside}, {1, trunk}}) {
    const double expected = absolute_sum_at(node);
    EXPECT_NEAR(absolute_sum(engine.captured(which)), expected, 1e-5 * expected);
  }

  // Not captured, the dead end costs nothing and its weights are not wanted; the output does not notice.
  FloatForward lean(network.graph, 3);
  EXPECT_LT(lean.memory().weights, engine.memory().weights);
  EXPECT_LT(lean.memory().activations, engine.memory().activations);
  lean.use(lean.make_weights(network.layers));
  const auto z = lean.run(x);
  for (std::size_t i = 0; i < output.size(); ++i) EXPECT_NEAR(z[i], output[i], 1e-4F * std::abs(output[i]) + 1e-5F);
}

/// A layer's values without the zeros that a blocked layout may add, in any order.
std::vector<double> sorted_without_zeros(const std::vector<double>& values) {
  std::vector<double> kept;
  for (const double value : values)
    if (value != 0.0) kept.push_back(value);
  std::sort(kept.begin(), kept.end());
  return kept;
}

TEST(FloatForward, LayerOutputsAreTheMeasuredOutputsUpToTheirOrder) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Network network = seed == 0 ? large_network(4) : testing::random_network(seed);
    const Index batch = seed == 0 ? 6 : 3;
    const std::vector<float> x = samples_for(network.graph, batch, 300 + seed);
    FloatForward engine = engine_for(network, batch, Captured::measured_outputs);
    engine.run(x);

    forward(network.graph, network.layers, std::vector<double>(x.begin(), x.end()), batch,
            [&](Index layer, std::span<const double> exact) {
              const std::span<const float> fast = engine.captured(layer);
              ASSERT_GE(fast.size(), exact.size());
              ASSERT_EQ(fast.size() % static_cast<std::size_t>(batch), 0U);
              const double tolerance = 1e-4 * largest_magnitude(exact);
              const std::size_t per_sample = exact.size() / static_cast<std::size_t>(batch);
              const std::size_t fast_per_sample = fast.size() / static_cast<std::size_t>(batch);
              for (std::size_t n = 0; n < static_cast<std::size_t>(batch); ++n) {
                auto wanted = sorted_without_zeros({exact.begin() + static_cast<std::ptrdiff_t>(n * per_sample),
                                                    exact.begin() + static_cast<std::ptrdiff_t>((n + 1) * per_sample)});
                auto given =
                    sorted_without_zeros({fast.begin() + static_cast<std::ptrdiff_t>(n * fast_per_sample),
                                          fast.begin() + static_cast<std::ptrdiff_t>((n + 1) * fast_per_sample)});
                // A tiny value may round to zero on one side: fill the shorter list up at zero.
                auto& shorter = wanted.size() < given.size() ? wanted : given;
                const std::size_t longer = std::max(wanted.size(), given.size());
                ASSERT_LE(longer - shorter.size(), 1 + longer / 100) << "seed " << seed << " layer " << layer;
                shorter.resize(longer, 0.0);
                std::sort(shorter.begin(), shorter.end());
                for (std::size_t i = 0; i < longer; ++i)
                  ASSERT_NEAR(given[i], wanted[i], tolerance) << "seed " << seed << " layer " << layer;
              }
            });
  }
}

TEST(FloatForward, EnginesOfOneGraphHaveEqualLayouts) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    // Two weight sets that differ in one row of one layer: elementwise comparison must see one channel, everywhere else
    // equal bits.
    const Network network = testing::random_network(seed);
    Network changed = network;
    const auto last = changed.layers.size() - 1;
    changed.layers[last].bias[0] += 1.0;
    const std::vector<float> x = samples_for(network.graph, 4, 400 + seed);
    FloatForward one = engine_for(network, 4, Captured::measured_outputs);
    FloatForward two = engine_for(changed, 4, Captured::measured_outputs);
    one.run(x);
    two.run(x);

    for (std::size_t layer = 0; layer < network.layers.size(); ++layer) {
      const auto a = one.captured(static_cast<Index>(layer)), b = two.captured(static_cast<Index>(layer));
      ASSERT_EQ(a.size(), b.size());
      std::size_t different = 0;
      for (std::size_t i = 0; i < a.size(); ++i) different += a[i] != b[i];
      EXPECT_EQ(different, layer == last ? 4U : 0U) << "seed " << seed << " layer " << layer;
    }
  }
}

TEST(FloatForward, PadsBeforeConvolutionsAreMergedWithoutChangingTheValue) {
  Draw draw(6);
  for (const double value : {0.0, 0.25}) {
    Builder b({5, 9, 8}, draw);
    const NodeId padded = b.add(Pad{{0, 2, 1}, {0, 1, 2}, value}, {0});
    const NodeId left = b.convolution(padded, 7, 1, {.kernel_height = 3, .kernel_width = 3});
    const NodeId right = b.convolution(padded, 7, 1, {.kernel_height = 3, .kernel_width = 3});
    b.add(Add{}, {left, right});
    for (const Captured captured : every_capture) expect_agreement(b.build(), 2, captured, 7);
  }
}

TEST(FloatForward, ResidualSumsAgreeInEveryPositionOfTheOperands) {
  Draw draw(7);
  const tensor::Window same{
      .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  for (int variant = 0; variant < 5; ++variant) {
    Builder b({16, 6, 6}, draw);
    const NodeId stem = b.add(Activation{}, {b.convolution(0, 16, 1, same)});
    const NodeId main = b.convolution(stem, 16, 1, same);
    const NodeId other = variant == 0   ? stem                            // the convolution's own input
                         : variant == 1 ? b.convolution(stem, 16, 1, {})  // two convolutions
                         : variant == 2 ? b.add(Slice{{15, 0, 0}, {-1, 1, 1}, {16, 6, 6}}, {stem})  // later than both
                         : variant == 3 ? NodeId{0}  // the caller's samples
                                        : b.add(Activation{ActivationKind::tanh}, {stem});
    const NodeId sum = b.add(Add{}, variant % 2 == 0 ? std::vector{main, other} : std::vector{other, main});
    NodeId out = b.add(Activation{}, {sum});
    if (variant == 4) out = b.add(Add{}, {out, other});  // the summand is read again
    b.dense(b.flatten(out), 3);
    for (const Captured captured : every_capture) expect_agreement(b.build(), 3, captured, 8);
  }
}

TEST(FloatForward, NetworksWithoutWeightsAndTheIdentityWork) {
  Draw draw(8);
  Builder identity({2, 3, 3}, draw);
  identity.flatten(0);
  expect_agreement(identity.build(), 3, Captured::nothing, 1);
  expect_agreement(identity.build(), 3, Captured::all, 1);
  Builder pointwise({4}, draw);
  pointwise.add(Activation{ActivationKind::hard_sigmoid, 0.2, 0.5}, {0});
  expect_agreement(pointwise.build(), 3, Captured::nothing, 2);
}

TEST(FloatForward, HalvesOfANetworkAgreeWithTheWhole) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const Network network = testing::random_network(seed);
    const Index batch = 3;
    const std::vector<float> x = samples_for(network.graph, batch, 600 + seed);
    FloatForward whole = engine_for(network, batch, Captured::nothing);
    const auto y = whole.run(x);
    const double tolerance = 1e-4 * largest_magnitude(std::vector<double>(y.begin(), y.end()));
    for (const NodeId cut : cut_points(network.graph)) {  // the ends too: one half is the Input alone
      const Halves halves = split(network.graph, cut);
      const auto head_layers = halves.head.weight_layers().size();
      FloatForward head(halves.head, batch), tail(halves.tail, batch);
      head.use(head.make_weights(std::span(network.layers).first(head_layers)));
      tail.use(tail.make_weights(std::span(network.layers).subspan(head_layers)));

      const auto z = tail.run(head.run(x));

      ASSERT_EQ(z.size(), y.size());
      for (std::size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(z[i], y[i], tolerance) << "seed " << seed << " cut " << cut;
    }
  }
}

TEST(FloatForward, AgreesWithTheDoubleForwardOnRealNetworks) {
  const std::filesystem::path models = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << models << " is not there";
  for (const std::string file :
       {"imagenet/mbv2_1.0_tv_float_folded.onnx", "imagenet/squeezenet1.1_float.onnx",
        "imagenet/mbv1_0.25_128_qat_deq.onnx", "cifar10/resnet44_cifar10_folded.onnx",
        "cifar10/mlperf_resnet8_float.onnx", "cifar10/resnet_4b.onnx", "mnist/verivital_convnet_avgpool.onnx",
        "mnist/ffnnSIGMOID_6x200.onnx", "tiny/mlperf_ad01_fp32.onnx", "tiny/mlperf_vww_mbv1_0.25_96_float.onnx",
        "acasxu/ACASXU_run2a_1_1_batch_2000.onnx"}) {
    SCOPED_TRACE(file);
    const Network network = read_network(models / file);
    for (const Captured captured : every_capture) expect_agreement(network, 2, captured, 11);
  }
}

TEST(FloatForward, KeepsDenormalsAndLeavesTheCallersSamplesAlone) {
  Draw draw(9);
  Builder b({1}, draw);
  b.dense(0, 1);
  Network network = b.build();
  network.layers[0] = {{0x1p-130}, {0.0}};
  const std::vector<float> x{0.5F};
  FloatForward engine = engine_for(network, 1, Captured::nothing);

  const auto y = engine.run(x);

  EXPECT_EQ(y[0], 0x1p-131F);
  EXPECT_EQ(x[0], 0.5F);
}

}  // namespace
}  // namespace quantbound::network
