#include "quantbound/observe/deviation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/quantize/quantize.hpp"
#include "quantbound/tensor/convolution.hpp"

#include "../network/random_graph.hpp"

namespace quantbound::observe {
namespace {

using network::Family;
using network::Network;
using network::NodeId;
using network::Tape;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

Network small(Family family) {
  return network::make_network({.family = family,
                                .depth = family == Family::resnet ? 8 : 4,
                                .width = 8,
                                .inputs = 12,
                                .outputs = 7,
                                .resolution = 8});
}

std::vector<double> points(const Network& network, Index count) {
  const auto inputs = at(tensor::elements(network.graph.input_shape()));
  return uniform_points({.low = std::vector<double>(inputs, -1.0), .high = std::vector<double>(inputs, 1.0)}, 5, 0, 0,
                        count);
}

const std::vector<Configuration> configurations{
    {.bits = 3},
    {.quantizer = quantize::Quantizer::floor, .granularity = quantize::Granularity::channel, .bits = 5},
    {.bits = 4, .bias_bits = 6, .edge_bits = 8}};

// ------------------------------------------------------------------------------ the definitions, one number at a time

double norm(std::span<const double> x) { return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0)); }

std::vector<double> minus(std::span<const double> a, std::span<const double> b) {
  std::vector<double> result;
  for (std::size_t i = 0; i < a.size(); ++i) result.push_back(a[i] - b[i]);
  return result;
}

double largest(std::span<const double> x) {
  double result = 0.0;
  for (const double value : x) result = std::max(result, std::abs(value));
  return result;
}

/// The layer of a node with these parameters.
std::vector<double> apply(const network::Node& node, const LayerParameters& p, std::span<const double> x) {
  if (const auto* convolution = std::get_if<network::Convolution>(&node.op))
    return tensor::convolve_reference(convolution->geometry, p.weights, p.bias, x, 1);
  std::vector<double> y = p.bias;
  for (std::size_t row = 0; row < y.size(); ++row) {
    for (std::size_t k = 0; k < x.size(); ++k) y[row] += p.weights[row * x.size() + k] * x[k];
  }
  return y;
}

std::size_t rank(std::span<const double> outputs, Index label) {
  std::vector<Index> order(outputs.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::stable_sort(order, [&](Index a, Index b) { return outputs[at(a)] > outputs[at(b)]; });
  return at(std::ranges::find(order, label) - order.begin());
}

/// What observe() should say, from two passes per sample that keep everything.
BlockObservation definition(const Network& network, std::span<const double> inputs, std::span<const Index> labels,
                            Index layer_samples) {
  const auto& graph = network.graph;
  const auto size = at(tensor::elements(graph.input_shape()));
  const auto layer_nodes = graph.weight_layers();
  BlockObservation result{.samples = static_cast<Index>(inputs.size() / size)};
  result.layers.samples = layer_samples;
  for (std::size_t c = 0; c < configurations.size(); ++c) {
    const auto quantized = quantize::quantize_layers(network.layers, configurations[c]);
    RankingCounts counts;
    std::vector<std::vector<double>> terms[5];  // per kind, layer and sample
    for (auto& kind : terms) kind.resize(layer_nodes.size());
    for (Index i = 0; i < result.samples; ++i) {
      const auto x = inputs.subspan(at(i) * size, size);
      const Tape f(graph, network.layers, x, 1), f_q(graph, quantized, x, 1);
      const auto difference = minus(f_q.output(), f.output());
      const double deviation = largest(difference);
      result.deviation.push_back(deviation);
      result.deviation_2.push_back(norm(difference));
      result.relative.push_back(deviation == 0.0 ? 0.0 : norm(difference) / norm(f.output()));
      std::vector<double> sorted(f.output().begin(), f.output().end());
      std::ranges::sort(sorted, std::greater{});
      const auto first = std::ranges::max_element(f.output()) - f.output().begin();
      counts.margin_exceeded += sorted.size() > 1 && deviation >= (sorted[0] - sorted[1]) / 2.0 ? 1 : 0;
      counts.agree += rank(f_q.output(), first) == 0 ? 1 : 0;
      if (!labels.empty()) {
        const auto before = rank(f.output(), labels[at(i)]), after = rank(f_q.output(), labels[at(i)]);
        counts.correct += after == 0 ? 1 : 0;
        counts.correct_top5 += after < 5 ? 1 : 0;
        counts.lost += before == 0 && after != 0 ? 1 : 0;
        counts.won += before != 0 && after == 0 ? 1 : 0;
        if (c == 0) result.correct_reference += before == 0 ? 1 : 0;
        if (c == 0) result.correct_top5_reference += before < 5 ? 1 : 0;
      }
      for (std::size_t l = 0; l < layer_nodes.size() && i < layer_samples; ++l) {
        const auto& node = graph.nodes[at(layer_nodes[l])];
        const NodeId measured = graph.measured_output(static_cast<Index>(l)), input = node.inputs.front();
        LayerParameters linear{network.layers[l].weights, std::vector<double>(network.layers[l].bias.size(), 0.0)};
        const LayerParameters change{minus(network.layers[l].weights, quantized[l].weights),
                                     minus(network.layers[l].bias, quantized[l].bias)};
        terms[0][l].push_back(largest(minus(f_q.value(measured), f.value(measured))));
        terms[1][l].push_back(norm(f_q.value(input)));
        terms[2][l].push_back(norm(minus(f.value(input), f_q.value(input))));
        terms[3][l].push_back(norm(apply(node, linear, minus(f.value(input), f_q.value(input)))));
        terms[4][l].push_back(norm(apply(node, change, f_q.value(input))));
      }
    }
    result.counts.push_back(counts);
    std::vector<double>* places[] = {&result.layers.deviation, &result.layers.input, &result.layers.input_deviation,
                                     &result.layers.carried, &result.layers.local};
    for (std::size_t kind = 0; kind < 5; ++kind) {
      for (const auto& layer : terms[kind]) {
        for (const double value : layer) places[kind]->push_back(value);
      }
    }
  }
  return result;
}

void expect_near(std::span<const double> values, std::span<const double> expected, double relative, double absolute,
                 const std::string& what) {
  ASSERT_EQ(values.size(), expected.size()) << what;
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(values[i], expected[i], relative * std::abs(expected[i]) + absolute) << what << ' ' << i;
}

void expect_near(const BlockObservation& block, const BlockObservation& expected, double tolerance, double size) {
  EXPECT_EQ(block.samples, expected.samples);
  expect_near(block.deviation, expected.deviation, 0.0, tolerance * size, "deviation");
  expect_near(block.deviation_2, expected.deviation_2, 0.0, 3.0 * tolerance * size, "deviation_2");
  expect_near(block.relative, expected.relative, 30.0 * tolerance, 0.0, "relative");
  ASSERT_EQ(block.layers.samples, expected.layers.samples);
  const double layer_size = std::max(1.0, largest(expected.layers.input));
  expect_near(block.layers.deviation, expected.layers.deviation, tolerance, tolerance * layer_size, "layer deviation");
  expect_near(block.layers.input, expected.layers.input, tolerance, tolerance * layer_size, "input");
  expect_near(block.layers.input_deviation, expected.layers.input_deviation, tolerance, tolerance * layer_size,
              "input deviation");
  expect_near(block.layers.carried, expected.layers.carried, tolerance, 3.0 * tolerance * layer_size, "carried");
  expect_near(block.layers.local, expected.layers.local, tolerance, tolerance * layer_size, "local");
}

double largest_output(const Network& network, std::span<const double> inputs) {
  const Tape tape(network.graph, network.layers, inputs,
                  std::ssize(inputs) / tensor::elements(network.graph.input_shape()));
  return largest(tape.output());
}

std::vector<Network> networks() {
  std::vector<Network> result{small(Family::mlp), small(Family::cnn), small(Family::resnet)};
  for (std::uint64_t seed = 0; seed < 12; ++seed) result.push_back(network::testing::random_network(seed));
  return result;
}

/// Labels that f gets right but for every fourth sample.
std::vector<Index> labels_of(const Network& network, std::span<const double> inputs) {
  const auto size = at(tensor::elements(network.graph.input_shape()));
  const Index outputs = tensor::elements(network.graph.output_shape());
  std::vector<Index> labels;
  for (std::size_t first = 0; first < inputs.size(); first += size) {
    const Tape f(network.graph, network.layers, inputs.subspan(first, size), 1);
    const Index right = std::ranges::max_element(f.output()) - f.output().begin();
    labels.push_back(labels.size() % 4 == 3 ? (right + 1) % outputs : right);
  }
  return labels;
}

// ------------------------------------------------------------------------------------------------------------- tests

TEST(Observe, InDoubleIsTheDefinition) {
  for (const Network& network : networks()) {
    const Index count = 37, layer_samples = 5;
    const auto inputs = points(network, count);
    const auto labels = labels_of(network, inputs);

    const auto block = observe(network.graph, network.layers, configurations, inputs, labels,
                               {.precision = Precision::float64, .layer_samples = layer_samples});

    const auto expected = definition(network, inputs, labels, layer_samples);
    expect_near(block, expected, 1e-10, 1.0 + largest_output(network, inputs));
    EXPECT_EQ(block.counts, expected.counts);
    EXPECT_EQ(block.correct_reference, expected.correct_reference);
    EXPECT_EQ(block.correct_top5_reference, expected.correct_top5_reference);
    EXPECT_EQ(block.in_double, std::vector<Index>(configurations.size(), count));
  }
}

TEST(Observe, InFloatIsNearTheDefinition) {
  for (const Network& network : networks()) {
    const Index count = 21, layer_samples = 6;
    const auto inputs = points(network, count);

    const auto block = observe(network.graph, network.layers, configurations, inputs, {},
                               {.precision = Precision::float32, .layer_samples = layer_samples});

    expect_near(block, definition(network, inputs, {}, layer_samples), 2e-5, 1.0 + largest_output(network, inputs));
    EXPECT_EQ(block.in_double, std::vector<Index>(configurations.size(), 0));
  }
}

TEST(Observe, TheStatedErrorCoversTheDifferenceToDouble) {
  for (const Network& network : networks()) {
    const Index count = 40;
    const auto inputs = points(network, count);
    const auto rough =
        observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float32});
    const auto fine =
        observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float64});
    for (std::size_t c = 0; c < configurations.size(); ++c) {
      EXPECT_GT(fine.error[c], 0.0);
      EXPECT_LT(fine.error[c], 1e-6 * rough.error[c]);
      for (std::size_t i = 0; i < at(count); ++i) {
        EXPECT_NEAR(rough.deviation[c * at(count) + i], fine.deviation[c * at(count) + i], rough.error[c]);
      }
    }
  }
}

/// A chain of dense layers with ReLU between them, in the 64 bits of long double.
std::vector<long double> in_extended_precision(std::span<const LayerParameters> layers, std::span<const double> x) {
  std::vector<long double> value(x.begin(), x.end());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    std::vector<long double> next(layers[l].bias.begin(), layers[l].bias.end());
    for (std::size_t row = 0; row < next.size(); ++row) {
      for (std::size_t k = 0; k < value.size(); ++k)
        next[row] += static_cast<long double>(layers[l].weights[row * value.size() + k]) * value[k];
      if (l + 1 < layers.size()) next[row] = std::max(next[row], 0.0L);
    }
    value = std::move(next);
  }
  return value;
}

TEST(Observe, TheStatedErrorOfDoubleCoversTheDifferenceToMoreBits) {
  for (const Index depth : {2, 5, 12}) {
    const Network network =
        network::make_network({.family = Family::mlp, .depth = depth, .width = 60, .inputs = 40, .outputs = 3});
    const Index count = 30;
    const auto inputs = points(network, count);
    const auto block =
        observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float64});
    for (std::size_t c = 0; c < configurations.size(); ++c) {
      const auto quantized = quantize::quantize_layers(network.layers, configurations[c]);
      double worst = 0.0;
      for (std::size_t i = 0; i < at(count); ++i) {
        const auto x = std::span(inputs).subspan(i * 40, 40);
        const auto f = in_extended_precision(network.layers, x), f_q = in_extended_precision(quantized, x);
        long double deviation = 0.0L;
        for (std::size_t k = 0; k < f.size(); ++k) deviation = std::max(deviation, std::abs(f_q[k] - f[k]));
        const auto off = static_cast<double>(deviation - static_cast<long double>(block.deviation[c * at(count) + i]));
        worst = std::max(worst, std::abs(off));
      }
      EXPECT_LE(worst, block.error[c]) << depth;
      EXPECT_GE(worst, 1e-3 * block.error[c]) << depth << ": an error that says nothing";
    }
  }
}

TEST(Observe, HasTheSameBitsForAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const Network& network : networks()) {
    const auto inputs = points(network, 300);  // a whole batch and a rest of the larger ones
    const auto labels = labels_of(network, inputs);
    for (const Precision precision : {Precision::float32, Precision::float64}) {
      const auto run = [&](int threads) {
        omp_set_num_threads(threads);
        return observe(network.graph, network.layers, configurations, inputs, labels,
                       {.precision = precision, .layer_samples = 6});
      };
      const auto one = run(1), three = run(3);
      EXPECT_EQ(one.deviation, three.deviation);
      EXPECT_EQ(one.deviation_2, three.deviation_2);
      EXPECT_EQ(one.relative, three.relative);
      EXPECT_EQ(one.error, three.error);
      EXPECT_EQ(one.counts, three.counts);
      EXPECT_EQ(one.layers.deviation, three.layers.deviation);
      EXPECT_EQ(one.layers.input_deviation, three.layers.input_deviation);
      EXPECT_EQ(one.layers.carried, three.layers.carried);
      EXPECT_EQ(one.layers.local, three.layers.local);
    }
  }
  omp_set_num_threads(before);
}

TEST(Observe, AConfigurationAmongOthersIsMeasuredAsAlone) {
  const Network network = network::make_network({.family = Family::mlp, .depth = 4, .width = 32, .inputs = 300});
  const auto inputs = points(network, 50);
  std::vector<Configuration> all;
  for (int bits = 2; bits <= 6; ++bits) all.push_back({.bits = bits, .edge_bits = 8});  // the first layer in common
  all.push_back(all.front());
  for (const auto& [precision, tolerance] : {std::pair{Precision::float64, 0.0}, std::pair{Precision::float32, 1e-5}}) {
    const auto together = observe(network.graph, network.layers, all, inputs, {}, {.precision = precision});
    for (std::size_t c = 0; c < all.size(); ++c) {
      const auto alone =
          observe(network.graph, network.layers, std::span(all).subspan(c, 1), inputs, {}, {.precision = precision});
      expect_near(std::span(together.deviation).subspan(c * 50, 50), alone.deviation, 0.0, tolerance, "deviation");
    }
    EXPECT_TRUE(std::equal(together.deviation.begin(), together.deviation.begin() + 50, together.deviation.end() - 50));
  }
}

TEST(Observe, GivenWeightsAreMeasuredAsTheConfigurationThatRoundsToThem) {
  for (const Family family : {Family::mlp, Family::resnet}) {
    const Network network = small(family);
    const auto inputs = points(network, 9);
    for (const auto precision : {Precision::float32, Precision::float64}) {
      const ObserveOptions options{.precision = precision, .layer_samples = 4};
      const auto wanted = observe(network.graph, network.layers, configurations, inputs, {}, options);
      std::vector<std::vector<LayerParameters>> given;
      std::vector<LayerSource> sources;
      for (const auto& c : configurations) given.push_back(quantize::quantize_layers(network.layers, c));
      for (std::size_t c = 0; c < given.size(); ++c) {
        sources.emplace_back([&given, c](Index layer) { return given[c][at(layer)]; });
      }
      const auto found = observe(network.graph, network.layers, sources, inputs, {}, options);
      EXPECT_EQ(found.deviation, wanted.deviation);
      EXPECT_EQ(found.error, wanted.error);
      EXPECT_EQ(found.counts, wanted.counts);
      EXPECT_EQ(found.layers.deviation, wanted.layers.deviation);
      EXPECT_EQ(found.layers.local, wanted.layers.local);
    }
  }
}

TEST(Observe, AConfigurationThatChangesNothingDeviatesByNothing) {
  for (const Family family : {Family::mlp, Family::resnet}) {
    auto network = small(family);
    for (auto& layer : network.layers) {
      for (double& w : layer.weights) w = std::nearbyint(w * 16.0) / 16.0;
    }
    const Configuration exact{.bits = 16, .step_rule = quantize::StepRule::fixed, .fixed_step = 0x1p-8};
    for (const Precision precision : {Precision::automatic, Precision::float32, Precision::float64}) {
      const auto block = observe(network.graph, network.layers, std::vector{Configuration{.bits = 2}, exact},
                                 points(network, 300), {}, {.precision = precision, .layer_samples = 3});

      EXPECT_EQ(std::ranges::max(std::span(block.deviation).subspan(300)), 0.0);
      EXPECT_EQ(std::ranges::max(std::span(block.relative).subspan(300)), 0.0);
      EXPECT_EQ(block.error[1], 0.0);
      EXPECT_EQ(block.counts[1].agree, 300);
      const auto second = at(3 * std::ssize(network.layers));
      for (const auto* values :
           {&block.layers.deviation, &block.layers.input_deviation, &block.layers.carried, &block.layers.local})
        EXPECT_EQ(std::ranges::max(std::span(*values).subspan(second)), 0.0);
      EXPECT_GT(std::ranges::min(std::span(block.layers.input).subspan(second)), 0.0);
    }
  }
}

/// f(x) = W_2 relu(W_1 x): weights on the grid of thirds become multiples of one half.
Network two_layers() {
  Network network;
  network.graph.nodes = {{"x", network::Input{}, {}, {2}},
                         {"1", network::Dense{0, 2, 2}, {0}, {2}},
                         {"relu", network::Activation{network::ActivationKind::relu, 0.0, 0.0}, {1}, {2}},
                         {"2", network::Dense{1, 2, 1}, {2}, {1}}};
  network.graph.output = 3;
  network.layers = {{{1.25, 0.0, 0.0, 2.0}, {0.0, 0.0}}, {{3.0, -1.25}, {0.0}}};
  return network;
}

TEST(Observe, AttributesTheDeviationOfTwoLayersAsByHand) {
  const Network network = two_layers();
  // floor to multiples of one half: W_1' = diag(1, 2), W_2' = (3, -1.5)
  const Configuration floor{
      .quantizer = quantize::Quantizer::floor, .bits = 8, .step_rule = quantize::StepRule::fixed, .fixed_step = 0.5};
  const std::vector<double> x{4.0, 1.0};  // f: (5, 2) -> 12.5; f_q: (4, 2) -> 9
  for (const Precision precision : {Precision::float32, Precision::float64}) {
    const auto block =
        observe(network.graph, network.layers, std::vector{floor}, x, {}, {.precision = precision, .layer_samples = 1});
    EXPECT_EQ(block.deviation, std::vector{3.5});
    EXPECT_EQ(block.deviation_2, std::vector{3.5});
    EXPECT_EQ(block.relative, std::vector{3.5 / 12.5});
    EXPECT_EQ(block.layers.deviation, (std::vector{1.0, 3.5}));
    EXPECT_EQ(block.layers.input, (std::vector{std::sqrt(17.0), std::sqrt(20.0)}));
    EXPECT_EQ(block.layers.input_deviation, (std::vector{0.0, 1.0}));
    EXPECT_EQ(block.layers.carried, (std::vector{0.0, 3.0}));  // W_2 (1, 0)
    EXPECT_EQ(block.layers.local, (std::vector{1.0, 0.5}));    // 0.25 * 4; 0.25 * 2
    EXPECT_EQ(block.counts[0].margin_exceeded, 0) << "one output has no rival";
  }
}

TEST(Observe, MeasuresInDoubleWhatFloatDoesNotResolve) {
  const Network network = network::make_network(
      {.family = Family::cnn, .depth = 4, .width = 48, .outputs = 10, .resolution = 16});  // too large for double
  const auto inputs = points(network, 20);
  const std::vector<Configuration> coarse_and_fine{{.bits = 3}, {.bits = 16}};

  const auto block = observe(network.graph, network.layers, coarse_and_fine, inputs, {}, {});

  const auto exact =
      observe(network.graph, network.layers, coarse_and_fine, inputs, {}, {.precision = Precision::float64});
  EXPECT_EQ(block.in_double[0], 0);
  EXPECT_GT(block.in_double[1], 0);
  const auto rough =
      observe(network.graph, network.layers, coarse_and_fine, inputs, {}, {.precision = Precision::float32});
  Index equal = 0;
  for (std::size_t i = 20; i < 40; ++i) {
    const bool in_double = rough.deviation[i] < 8.0 * rough.error[1];
    EXPECT_EQ(block.deviation[i], in_double ? exact.deviation[i] : rough.deviation[i]);
    equal += in_double ? 1 : 0;
  }
  EXPECT_EQ(block.in_double[1], equal);
  if (equal < 20) {
    EXPECT_EQ(block.error[1], rough.error[1]);
  } else {
    EXPECT_LT(block.error[1], 1e-6 * rough.error[1]);
  }
}

TEST(Observe, OverflowIsAFailureAndNeverANumber) {
  auto network = small(Family::mlp);
  for (double& w : network.layers[0].weights) w *= 1e25;
  for (double& w : network.layers[1].weights) w *= 1e25;
  const auto inputs = points(network, 8);
  const auto measure = [&](Precision precision, Index layer_samples) {
    return observe(network.graph, network.layers, configurations, inputs, {}, {precision, layer_samples});
  };

  EXPECT_THROW(measure(Precision::float32, 0), core::NumericalError);
  EXPECT_TRUE(std::isfinite(measure(Precision::float64, 4).deviation[0]));
  for (double& w : network.layers[2].weights) w *= 1e300;
  EXPECT_THROW(measure(Precision::float64, 0), core::NumericalError);
}

// The outputs are finite: a clip hides what overflowed.
TEST(Observe, AnOverflowThatAClipHidesIsAFailureToo) {
  network::testing::Draw draw(3);
  network::testing::Builder b({40}, draw);
  const NodeId first = b.dense(0, 40);
  const NodeId second = b.dense(first, 40);
  b.dense(b.add(network::Activation{network::ActivationKind::clip, 0.0, 6.0}, {second}), 3);
  Network network = b.build();
  for (std::size_t layer : {0U, 1U}) {
    for (double& w : network.layers[layer].weights) w *= 1e25;
  }
  const auto inputs = points(network, 8);

  EXPECT_THROW(observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float32}),
               core::NumericalError);
  EXPECT_NO_THROW(
      observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float64}));
}

TEST(Observe, ASaturatedSigmoidIsNoOverflow) {
  network::testing::Draw draw(4);
  network::testing::Builder b({6}, draw);
  b.dense(b.add(network::Activation{network::ActivationKind::sigmoid, 0.0, 0.0}, {b.dense(0, 9)}), 3);
  Network network = b.build();
  for (double& w : network.layers[0].weights) w *= 1e4;
  const auto inputs = points(network, 50);

  for (const Precision precision : {Precision::float32, Precision::float64}) {
    const auto block = observe(network.graph, network.layers, configurations, inputs, {}, {.precision = precision});
    EXPECT_TRUE(std::isfinite(std::ranges::max(block.deviation)));
  }
}

TEST(Observe, InputsThatAreNoNumbersAreRefused) {
  const auto network = small(Family::mlp);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e300}) {
    auto inputs = points(network, 3);
    inputs[14] = bad;
    EXPECT_THROW(observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float32}),
                 core::NumericalError);
  }
}

TEST(Observe, NoSamplesGiveNothing) {
  const auto network = small(Family::mlp);
  for (const Precision precision : {Precision::float32, Precision::float64}) {
    const auto block =
        observe(network.graph, network.layers, configurations, {}, {}, {.precision = precision, .layer_samples = 3});
    EXPECT_EQ(block.samples, 0);
    EXPECT_TRUE(block.deviation.empty());
    EXPECT_EQ(block.counts.size(), configurations.size());
    EXPECT_EQ(block.layers.samples, 0);
  }
}

TEST(Observe, NoConfigurationsStillMeasureF) {
  const auto network = small(Family::cnn);
  const auto inputs = points(network, 8);
  const auto block = observe(network.graph, network.layers, std::span<const Configuration>(), inputs,
                             labels_of(network, inputs), {.layer_samples = 2});
  EXPECT_EQ(block.correct_reference, 6);
  EXPECT_EQ(block.correct_top5_reference, 8);
  EXPECT_TRUE(block.error.empty());
}

}  // namespace
}  // namespace quantbound::observe
