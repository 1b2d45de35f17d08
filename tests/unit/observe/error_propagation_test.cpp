#include "quantbound/observe/error_propagation.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../../support/evaluation.hpp"
#include "../../support/network_builder.hpp"

namespace quantbound::observe {
namespace {

using network::LayerParameters;
using network::Network;
using network::NodeId;
using network::Shape;
using testing::Draws;
using testing::NetworkBuilder;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

double norm(std::span<const double> values) {
  double root = 0.0;
  for (const double value : values) root = std::hypot(root, value);
  return root;
}

std::vector<double> minus(std::vector<double> a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

/// LayerTerms and what it refers to: layer x sample.
struct Terms {
  Index layers = 0, samples = 0;
  std::vector<double> input, input_deviation, carried, local;

  LayerTerms view() const { return {layers, samples, input, input_deviation, carried, local}; }
};

/// The value of every node, as the output of a graph that ends there.
std::vector<std::vector<double>> node_values(Graph graph, std::span<const LayerParameters> layers,
                                             std::span<const double> x) {
  std::vector<std::vector<double>> values;
  for (NodeId v = 0; v < std::ssize(graph.nodes); ++v) {
    graph.output = v;
    values.push_back(network::forward(graph, layers, x, 1));
  }
  return values;
}

/// One weight layer alone, with other weights.
std::vector<double> apply_layer(const Graph& graph, NodeId node, const LayerParameters& layer,
                                const std::vector<double>& x) {
  NetworkBuilder builder(graph.nodes[at(graph.nodes[at(node)].inputs.front())].shape);
  network::Operator op = graph.nodes[at(node)].op;
  if (auto* dense = std::get_if<network::Dense>(&op)) dense->layer = 0;
  if (auto* convolution = std::get_if<network::Convolution>(&op)) convolution->layer = 0;
  Graph alone = builder.graph();
  alone.nodes.push_back({"layer", op, {0}, graph.nodes[at(node)].shape});
  alone.output = 1;
  return network::forward(alone, {&layer, 1}, x, 1);
}

/// Both networks at some points, node by node.
struct Measured {
  Terms terms;
  std::vector<std::vector<double>> deviation;  ///< node: ||Delta_v|| per sample
};

Measured measure(const Network& f, const std::vector<LayerParameters>& quantized, std::span<const double> points,
                 Index samples) {
  const auto nodes = f.graph.weight_layers();
  Measured result{{std::ssize(nodes), samples, {}, {}, {}, {}}, {}};
  const std::size_t size = nodes.size() * at(samples);
  for (auto* values : {&result.terms.input, &result.terms.input_deviation, &result.terms.carried, &result.terms.local})
    values->resize(size);
  result.deviation.assign(f.graph.nodes.size(), std::vector<double>(at(samples)));
  const std::size_t in = points.size() / at(samples);
  for (std::size_t i = 0; i < at(samples); ++i) {
    const auto values = node_values(f.graph, f.layers, points.subspan(i * in, in));
    const auto values_q = node_values(f.graph, quantized, points.subspan(i * in, in));
    for (std::size_t v = 0; v < values.size(); ++v) result.deviation[v][i] = norm(minus(values[v], values_q[v]));
    for (std::size_t l = 0; l < nodes.size(); ++l) {
      const std::size_t u = at(f.graph.nodes[at(nodes[l])].inputs.front()), term = l * at(samples) + i;
      const LayerParameters carrying{f.layers[l].weights, std::vector<double>(f.layers[l].bias.size(), 0.0)};
      const LayerParameters change{minus(f.layers[l].weights, quantized[l].weights),
                                   minus(f.layers[l].bias, quantized[l].bias)};
      const auto delta = minus(values[u], values_q[u]);
      result.terms.input[term] = norm(values_q[u]);
      result.terms.input_deviation[term] = norm(delta);
      result.terms.carried[term] = norm(apply_layer(f.graph, nodes[l], carrying, delta));
      result.terms.local[term] = norm(apply_layer(f.graph, nodes[l], change, values_q[u]));
    }
  }
  return result;
}

double share_sum(const PropagatedError& error, const Terms& terms, Index sample) {
  double sum = 0.0;
  for (Index l = 0; l < terms.layers; ++l) sum += error.share[at(l * terms.samples + sample)];
  return sum;
}

/// A chain of `layers` dense layers of one neuron: all that matters here is the graph.
Graph chain(Index layers) {
  NetworkBuilder builder({1});
  NodeId node = 0;
  for (Index l = 0; l < layers; ++l) {
    node = builder.dense(node, {1.0}, {0.0});
    if (l + 1 < layers) node = builder.relu(node);
  }
  return builder.finish(node).graph;
}

// ---- Lemma 1

TEST(PropagateErrors, IsLemma1OnAChain) {
  // G_1 = 3, G_2 = (8 / 2) 3 + 1 = 13, G_3 = (1 / 4) 13 + 0.75 = 4.
  const Terms terms{3, 1, {1, 1, 1}, {0, 2, 4}, {0, 8, 1}, {3, 1, 0.75}};

  const auto error = propagate_errors(chain(3), terms.view());

  ASSERT_TRUE(error);
  EXPECT_EQ(error->output, std::vector<double>{4.0});
  EXPECT_EQ(error->share, (std::vector<double>{3.0 / 4.0, 0.25 / 4.0, 0.75 / 4.0}));
}

TEST(PropagateErrors, CountsNoiseOfAnInputWithoutDeviationAsNothing) {
  const Terms terms{2, 2, {1, 1, 1, 1}, {0, 0, 0, 2}, {1e-9, 0, 1e-9, 4}, {3, 1, 2, 0}};

  const auto error = propagate_errors(chain(2), terms.view());

  EXPECT_EQ(error->output, (std::vector<double>{2.0, 2.0}));
  EXPECT_EQ(error->share, (std::vector<double>{0.0, 1.0, 1.0, 0.0}));
}

TEST(PropagateErrors, GivesNothingToNobodyWhereThereIsNoError) {
  const Terms terms{2, 1, {1, 1}, {0, 0}, {0, 0}, {0, 0}};

  const auto error = propagate_errors(chain(2), terms.view());

  EXPECT_EQ(error->output, std::vector<double>{0.0});
  EXPECT_EQ(error->share, (std::vector<double>{0.0, 0.0}));
}

/// Two layers on the input, and the operator that joins them.
Graph joined(const network::Operator& join) {
  NetworkBuilder builder({1});
  const NodeId left = builder.dense(0, {1.0}, {0.0}), right = builder.dense(0, {1.0}, {0.0});
  return builder.finish(builder.add(join, {left, right})).graph;
}

TEST(PropagateErrors, AddsAtSumsAndTakesTheRootOfSquaresAtConcatenations) {
  const Terms terms{2, 1, {1, 1}, {0, 0}, {0, 0}, {3, 4}};

  const auto sum = propagate_errors(joined(network::Add{}), terms.view());
  const auto side_by_side = propagate_errors(joined(network::Concat{0}), terms.view());

  EXPECT_EQ(sum->output, std::vector<double>{7.0});
  EXPECT_EQ(sum->share, (std::vector<double>{3.0 / 7.0, 4.0 / 7.0}));
  EXPECT_EQ(side_by_side->output, std::vector<double>{5.0});
  EXPECT_DOUBLE_EQ(side_by_side->share[0], 9.0 / 25.0);
  EXPECT_DOUBLE_EQ(side_by_side->share[1], 16.0 / 25.0);
  EXPECT_EQ(propagate_errors(joined(network::Product{}), terms.view()), std::nullopt);
}

class RandomNetworks : public ::testing::TestWithParam<int> {};

TEST_P(RandomNetworks, DeviateAtEveryNodeByWhatIsPropagatedAtMost) {
  testing::RandomNetwork random(static_cast<std::uint64_t>(GetParam()), {.extreme_probability = 0.0});
  const Network f = random.network();
  Draws& draws = random.draws();
  if (f.layers.empty()) GTEST_SKIP() << "no weights";
  const auto quantized = quantize::quantize_layers(f.layers, testing::random_configuration(draws));
  const Index samples = 3;
  const auto box = testing::box_around(tensor::elements(f.graph.input_shape()), draws);
  const Measured measured = measure(f, quantized, testing::points(box, samples, draws), samples);

  Graph graph = f.graph;
  for (NodeId v = 0; v < std::ssize(f.graph.nodes); ++v) {
    graph.output = v;
    const auto error = propagate_errors(graph, measured.terms.view());
    ASSERT_TRUE(error);
    for (Index i = 0; i < samples; ++i) {
      const double bound = error->output[at(i)];
      double scale = 0.0;  // rounding of the measurement itself
      for (const auto& deviations : measured.deviation) scale = std::max(scale, deviations[at(i)]);
      EXPECT_LE(measured.deviation[at(v)][at(i)], bound * (1.0 + 1e-9) + 1e-12 * scale) << f.graph.nodes[at(v)].name;
      EXPECT_NEAR(share_sum(*error, measured.terms, i), bound > 0.0 ? 1.0 : 0.0, 1e-12);
    }
  }
}

// The part of a layer is its local term times the derivative by it: measured by moving the term a little.
TEST_P(RandomNetworks, SharesAreWhatLocalTermsCause) {
  testing::RandomNetwork random(static_cast<std::uint64_t>(GetParam()) + 1000, {.extreme_probability = 0.0});
  const Network f = random.network();
  Draws& draws = random.draws();
  Terms terms{std::ssize(f.layers), 1, {}, {}, {}, {}};
  for (std::size_t l = 0; l < f.layers.size(); ++l) {
    terms.input.push_back(1.0);
    for (auto* values : {&terms.input_deviation, &terms.carried, &terms.local})
      values->push_back(draws.uniform(0.5, 2.0));
  }
  const auto error = propagate_errors(f.graph, terms.view());
  ASSERT_TRUE(error);
  for (std::size_t l = 0; l < f.layers.size(); ++l) {
    const double step = 1e-5;
    Terms more = terms, less = terms;
    more.local[l] *= 1.0 + step;
    less.local[l] *= 1.0 - step;
    const double change =
        propagate_errors(f.graph, more.view())->output[0] - propagate_errors(f.graph, less.view())->output[0];
    EXPECT_NEAR(error->share[l], change / (2.0 * step * error->output[0]), 1e-8);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomNetworks, ::testing::Range(0, 150));

// ---- Factors of operators

/// One operator as a network.
std::vector<double> apply(const network::Operator& op, const Shape& shape, const std::vector<double>& x) {
  NetworkBuilder builder(shape);
  const NodeId node = builder.add(op, {0});
  return network::forward(builder.finish(node).graph, {}, x, 1);
}

void expect_factor_holds(const network::Operator& op, const Shape& shape, Draws& draws) {
  const auto factor = amplification(op, shape);
  ASSERT_TRUE(factor);
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<double> x, y;
    const bool sparse = draws.chance(0.5);  // few elements differ, and much: the worst case of maxima
    for (Index i = 0; i < tensor::elements(shape); ++i) {
      x.push_back(draws.normal());
      y.push_back(x.back() + (sparse ? (draws.chance(0.05) ? 50.0 : 0.0) : draws.chance(0.5) ? 1.0 : draws.normal()));
    }
    const double difference = norm(minus(apply(op, shape, x), apply(op, shape, y)));
    EXPECT_LE(difference, *factor * norm(minus(x, y)) * (1.0 + 1e-12)) << network::operator_name(op);
  }
}

tensor::Window random_window(Draws& draws, const Shape& image) {
  tensor::Window window;
  window.kernel_height = draws.integer(1, std::min<Index>(4, image[1]));
  window.kernel_width = draws.integer(1, std::min<Index>(4, image[2]));
  window.stride_height = draws.integer(1, 3);
  window.stride_width = draws.integer(1, 3);
  window.pad_top = draws.integer(0, window.kernel_height - 1);
  window.pad_left = draws.integer(0, window.kernel_width - 1);
  window.pad_bottom = draws.integer(0, window.kernel_height - 1);
  window.pad_right = draws.integer(0, window.kernel_width - 1);
  if (draws.chance(0.2) && window.kernel_height == 2 && image[1] > 2) {
    window.dilation_height = 2;
    window.pad_top = window.pad_bottom = 0;
  }
  return window;
}

TEST(Amplification, HoldsForEveryOperator) {
  Draws draws(5, "amplification");
  for (int trial = 0; trial < 60; ++trial) {
    const Shape image{draws.integer(1, 2), draws.integer(1, 7), draws.integer(1, 7)};
    const tensor::Window window = random_window(draws, image);
    expect_factor_holds(network::MaxPool{window}, image, draws);
    expect_factor_holds(network::AveragePool{window, false}, image, draws);
    expect_factor_holds(network::AveragePool{window, true}, image, draws);
    expect_factor_holds(network::GlobalAveragePool{}, image, draws);
    expect_factor_holds(network::ScaleShift{{draws.normal()}, {draws.normal()}}, image, draws);
    expect_factor_holds(network::Pad{{0, 1, 2}, {0, 0, 1}, 3.0}, image, draws);
    expect_factor_holds(network::Permute{{2, 0, 1}}, image, draws);
    expect_factor_holds(network::Slice{{0, image[1] - 1, 0}, {1, -1, 1}, {1, image[1], image[2]}}, image, draws);
    for (const auto kind : {network::ActivationKind::relu, network::ActivationKind::hard_swish,
                            network::ActivationKind::sigmoid, network::ActivationKind::tanh}) {
      expect_factor_holds(network::Activation{kind}, image, draws);
    }
    expect_factor_holds(network::Activation{network::ActivationKind::leaky_relu, 3.0}, image, draws);
  }
}

TEST(Amplification, IsAttainedByPooling) {
  using tensor::Window;
  const auto factor = [](const network::Operator& op) { return *amplification(op, {2, 6, 6}); };
  const Window apart{.kernel_height = 2, .kernel_width = 3, .stride_height = 2, .stride_width = 3};
  EXPECT_EQ(factor(network::MaxPool{apart}), 1.0);
  EXPECT_DOUBLE_EQ(factor(network::AveragePool{apart, false}), 1.0 / std::sqrt(6.0));
  EXPECT_DOUBLE_EQ(factor(network::GlobalAveragePool{}), 1.0 / 6.0);
  // Windows of 3 with stride 2 overlap in one row and one column: a pixel there lies in four.
  const Window overlapping{.kernel_height = 3, .kernel_width = 3, .stride_height = 2, .stride_width = 2};
  EXPECT_EQ(factor(network::MaxPool{overlapping}), 2.0);
  std::vector<double> zeros(72, 0.0), peak = zeros;
  peak[2 * 6 + 2] = 1.0;
  EXPECT_EQ(norm(minus(apply(network::MaxPool{overlapping}, {2, 6, 6}, peak),
                       apply(network::MaxPool{overlapping}, {2, 6, 6}, zeros))),
            2.0);
  // Averages that count pads divide by 4 at corners too; others by what is inside, 1.
  const Window padded{.kernel_height = 2, .kernel_width = 2, .pad_top = 1, .pad_left = 1};
  EXPECT_LE(factor(network::AveragePool{padded, true}), 1.0);
  EXPECT_DOUBLE_EQ(factor(network::AveragePool{padded, false}), 1.5);  // 1 + 1/2 per axis at the corner
}

TEST(Amplification, IsNotDefinedForOperatorsOfSeveralInputsAndWeightLayers) {
  for (const network::Operator& op :
       std::vector<network::Operator>{network::Input{}, network::Dense{}, network::Convolution{}, network::Add{},
                                      network::Concat{}, network::Product{}}) {
    EXPECT_EQ(amplification(op, {1, 2, 2}), std::nullopt);
  }
}

// ---- Cantelli

TEST(CantelliUpper, IsMeanPlusDeviations) {
  EXPECT_DOUBLE_EQ(cantelli_upper(std::vector<double>{0.0, 2.0}, 0.5), 1.0 + std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(cantelli_upper(std::vector<double>{1.0, 2.0, 3.0}, 0.9), 2.0 + 3.0);
  EXPECT_EQ(cantelli_upper(std::vector<double>{5.0, 5.0, 5.0}, 0.99), 5.0);
  EXPECT_EQ(cantelli_upper(std::vector<double>{5.0}, 0.9), std::numeric_limits<double>::infinity());
}

using Draw = std::function<double(Draws&)>;

double rare(Draws& draws) { return draws.chance(0.06) ? 1.0 : 0.0; }
double lognormal(Draws& draws) { return std::exp(2.0 * draws.normal()); }

// Of a population whose moments are known exactly (here it is the values themselves), no more exceed the bound than
// stated, whatever the distribution. The two-point distribution makes it nearly an equality.
TEST(CantelliUpper, HoldsWithTheTrueMoments) {
  Draws draws(8, "cantelli");
  for (const Draw& draw : {Draw(rare), Draw(lognormal), Draw([](Draws& d) { return d.normal(); })}) {
    std::vector<double> population(20'000);
    for (double& value : population) value = draw(draws);
    for (const double confidence : {0.1, 0.5, 0.9, 0.939, 0.95, 0.999}) {
      const double bound = cantelli_upper(population, confidence);
      const auto above = std::ranges::count_if(population, [&](double value) { return value > bound; });
      EXPECT_LE(static_cast<double>(above), (1.0 - confidence) * 20'000.0);
    }
  }
}

// The caveat as a figure: 6 % of the population are 1, the others 0. The claim "at most 5 % exceed the bound" is wrong
// when 20 samples contain no 1, and that happens with probability 0.94^20 = 29 %.
TEST(CantelliUpper, WithMomentsOfSamplesFailsMoreOftenThanStated) {
  Draws draws(9, "plugged in");
  const int repetitions = 10'000;
  int failures = 0;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    std::vector<double> sample(20);
    for (double& value : sample) value = rare(draws);
    failures += cantelli_upper(sample, 0.95) < 1.0 ? 1 : 0;
  }
  const double rate = failures / static_cast<double>(repetitions), missed = std::pow(0.94, 20);
  EXPECT_GT(rate, missed - 0.02) << "docs/statistics.md states 29 %";
  EXPECT_GT(rate, 0.05) << "were it below the stated level, the caveat would be pointless";
}

// ---- Theorem 1

TEST(LayerwiseCantelli, IsTheFormulaForOneLayer) {
  // d = 0.25: B = 1, Y = 1, 3, so mean 2, variance 2, and sqrt(2 * 3).
  const Terms terms{1, 2, {1, 1}, {0, 0}, {0, 0}, {1, 3}};
  EXPECT_DOUBLE_EQ(*layerwise_cantelli(chain(1), terms.view(), 0.5), 2.0 + std::sqrt(6.0));
  // B is the 4th of 5 inputs, so the fifth sample is outside the event.
  const Terms outlier{1, 5, {1, 1, 2, 1, 100}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, {1, 2, 6, 2, 1000}};
  EXPECT_DOUBLE_EQ(*layerwise_cantelli(chain(1), outlier.view(), 0.5), 4.0 + std::sqrt(4.0 * 2.0 / 3.0 * 3.0));
}

TEST(LayerwiseCantelli, IsTheRecursionWhereNothingVaries) {
  const Terms terms{3, 2, {1, 1, 2, 2, 4, 4}, {0, 0, 2, 2, 4, 4}, {0, 0, 8, 8, 1, 1}, {3, 3, 1, 1, 0.75, 0.75}};
  EXPECT_EQ(layerwise_cantelli(chain(3), terms.view(), 0.9), propagate_errors(chain(3), terms.view())->output[0]);
  const Terms two{2, 2, {1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 0}, {3, 3, 4, 4}};
  EXPECT_EQ(layerwise_cantelli(joined(network::Add{}), two.view(), 0.9), 7.0);
  EXPECT_EQ(layerwise_cantelli(joined(network::Concat{0}), two.view(), 0.9), 5.0);
}

// One of 20 samples has a first error beyond A_1 = 1.05 + 2 sqrt(0.05): what it does in the second layer is left out.
TEST(LayerwiseCantelli, TakesMomentsWhereEarlierBoundsHeld) {
  Terms terms{2,
              20,
              std::vector<double>(40, 1.0),
              std::vector<double>(40, 0.0),
              std::vector<double>(40, 0.0),
              std::vector<double>(40, 0.0)};
  for (std::size_t i = 0; i < 20; ++i) {
    terms.local[i] = terms.input_deviation[20 + i] = i == 7 ? 2.0 : 1.0;
    terms.carried[20 + i] = i == 7 ? 2000.0 : 1.0;
  }
  EXPECT_NEAR(*layerwise_cantelli(chain(2), terms.view(), 0.2), 1.05 + 2.0 * std::sqrt(0.05), 1e-12);
}

TEST(LayerwiseCantelli, IsAbsentWhereTheTheoremOrTheSampleSaysNothing) {
  const Terms fine{2, 2, {1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 0}, {3, 3, 4, 4}};
  EXPECT_EQ(layerwise_cantelli(joined(network::Product{}), fine.view(), 0.9), std::nullopt);
  const Terms single{1, 1, {1}, {0}, {0}, {1}};
  EXPECT_EQ(layerwise_cantelli(chain(1), single.view(), 0.9), std::nullopt);
  EXPECT_EQ(layerwise_cantelli(chain(1), Terms{1, 0, {}, {}, {}, {}}.view(), 0.9), std::nullopt);
  const Terms bias_alone{1, 3, {1, 0, 1}, {0, 0, 0}, {0, 0, 0}, {1, 1, 1}};
  EXPECT_EQ(layerwise_cantelli(chain(1), bias_alone.view(), 0.9), std::nullopt);
}

/// A network of one neuron per layer with random weights and errors: all norms are absolute values, and what the
/// theorem bounds is known by simulation. Layer: X and Y are drawn, the input of f_q is drawn.
struct Synthetic {
  Index layers = 3;
  Draw amplification, relative_error, input;

  Terms draw(Index samples, Draws& draws, std::vector<double>& output) const {
    const std::size_t size = at(layers * samples);
    Terms terms{layers,
                samples,
                std::vector<double>(size),
                std::vector<double>(size),
                std::vector<double>(size),
                std::vector<double>(size)};
    std::vector<double> error(at(samples), 0.0);
    for (std::size_t term = 0; term < size; ++term) {
      double& deviation = error[term % at(samples)];
      terms.input[term] = input(draws);
      terms.input_deviation[term] = deviation;
      terms.carried[term] = amplification(draws) * deviation;
      terms.local[term] = relative_error(draws) * terms.input[term];
      deviation = terms.carried[term] + terms.local[term];
    }
    output = error;
    return terms;
  }
};

/// The fraction of `values` above `bound`.
double above(const std::vector<double>& values, double bound) {
  return static_cast<double>(std::ranges::count_if(values, [&](double value) { return value > bound; })) /
         static_cast<double>(values.size());
}

/// How often "at most 1 - confidence of the population exceeds the bound" is wrong.
double failure_rate(const Synthetic& data, Index samples, double confidence) {
  Draws draws(21, "layerwise");
  const Graph graph = chain(data.layers);
  std::vector<double> population, ignored;
  data.draw(50'000, draws, population);
  const int repetitions = 2000;
  int failures = 0;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const auto bound = layerwise_cantelli(graph, data.draw(samples, draws, ignored).view(), confidence);
    failures += bound && above(population, *bound) > 1.0 - confidence ? 1 : 0;
  }
  return failures / static_cast<double>(repetitions);
}

const Synthetic benign{.amplification = [](Draws& d) { return d.uniform(0.5, 1.5); },
                       .relative_error = [](Draws& d) { return 0.1 * std::exp(0.5 * d.normal()); },
                       .input = [](Draws& d) { return d.uniform(1.0, 2.0); }};
/// An error that 4 % of the samples show, in each layer: 11.5 % in one of three.
const Synthetic seldom{.amplification = [](Draws&) { return 1.0; },
                       .relative_error = [](Draws& d) { return d.chance(0.04) ? 1.0 : 0.0; },
                       .input = [](Draws&) { return 1.0; }};
const Synthetic heavy{.amplification = [](Draws& d) { return std::exp(d.normal()); },
                      .relative_error = [](Draws& d) { return std::exp(2.0 * d.normal()); },
                      .input = [](Draws& d) { return std::exp(d.normal()); }};

// 100,000 samples have nearly the true moments.
TEST(LayerwiseCantelli, HoldsWithTheTrueMoments) {
  Draws draws(22, "true moments");
  for (const Synthetic& data : {benign, seldom, heavy}) {
    for (const double confidence : {0.5, 0.9, 0.99}) {
      std::vector<double> ignored, population;
      const Terms terms = data.draw(100'000, draws, ignored);
      const auto bound = layerwise_cantelli(chain(data.layers), terms.view(), confidence);
      ASSERT_TRUE(bound);
      data.draw(100'000, draws, population);
      EXPECT_LE(above(population, *bound), 1.0 - confidence);
    }
  }
}

// The caveat as figures. Light tails: the inequality is so loose that the moments of 50 samples do. An error that a
// sample seldom shows: the claim is wrong whenever too few of it were drawn.
TEST(LayerwiseCantelli, WithMomentsOfSamplesMayFailMoreOftenThanStated) {
  EXPECT_EQ(failure_rate(benign, 50, 0.9), 0.0);
  EXPECT_EQ(failure_rate(heavy, 20, 0.9), 0.0);
  // Without an error in 10 samples of 3 layers the bound is 0, and 11.5 % exceed it.
  EXPECT_NEAR(failure_rate(seldom, 10, 0.9), std::pow(0.96, 30), 0.03) << "docs/statistics.md states 29 %";
}

}  // namespace
}  // namespace quantbound::observe
