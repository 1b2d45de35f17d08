#include "quantbound/reconstruct/reconstruct.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/equalization.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::reconstruct {
namespace {

constexpr Index samples = 48;

/// Threads of OpenMP as they were, at the end.
class Threads {
 public:
  explicit Threads(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { omp_set_num_threads(before_); }

 private:
  int before_;
};

/// A network and samples for it. These networks are so small that one thread is best.
class ReconstructTest : public ::testing::Test {
 protected:
  void take(Network network) {
    network_ = std::move(network);
    inputs_.resize(static_cast<std::size_t>(samples * tensor::elements(network_.graph.input_shape())));
    const core::RandomStream stream(5, "reconstruct test");
    for (std::size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = static_cast<float>(stream.normal(i));
  }
  void take_resnet() {
    take(network::make_network({.family = network::Family::resnet, .depth = 8, .width = 4, .resolution = 8}));
  }
  void take_mobilenet() {
    take(network::make_network({.family = network::Family::mobilenet_v2, .depth = 8, .width = 4, .resolution = 8}));
  }
  void take_mlp(Index depth) { take(network::make_network({.depth = depth, .width = 24, .inputs = 16, .outputs = 8})); }

  static Options quick(Index iterations) { return {.iterations = iterations, .batch = 16, .learning_rate = 1e-2}; }
  static Options quick() { return quick(60); }
  Reconstruction run(Method method, const Options& options, const Watch& watch = {}) const {
    return reconstruct(network_, configuration_, method, {inputs_, samples}, options, watch);
  }
  Reconstruction run(Method method) const { return run(method, quick()); }

  std::vector<double> outputs(std::span<const LayerParameters> layers) const {
    return network::forward(network_.graph, layers, std::vector<double>(inputs_.begin(), inputs_.end()), samples);
  }
  double squared_error(const Reconstruction& result) const {
    const auto f = outputs(network_.layers), q = outputs(result.quantized);
    double total = 0.0;
    for (std::size_t i = 0; i < f.size(); ++i) total += (f[i] - q[i]) * (f[i] - q[i]);
    return total / static_cast<double>(samples);
  }

  Threads one_{1};
  Network network_;
  std::vector<float> inputs_;
  quantize::Configuration configuration_{
      .granularity = quantize::Granularity::channel, .bits = 3, .step_rule = quantize::StepRule::mse, .edge_bits = 8};
};

const std::vector<Method> all_methods{Method::round, Method::gptq,  Method::adaround,  Method::brecq,
                                      Method::qdrop, Method::mrecg, Method::mrecg_loss};

void expect_equal(const Reconstruction& a, const Reconstruction& b) {
  EXPECT_EQ(a.modules, b.modules);
  ASSERT_EQ(a.quantized.size(), b.quantized.size());
  for (std::size_t i = 0; i < a.quantized.size(); ++i) {
    EXPECT_EQ(a.quantized[i].weights, b.quantized[i].weights) << "layer " << i;
    EXPECT_EQ(a.quantized[i].bias, b.quantized[i].bias) << "layer " << i;
  }
}

TEST_F(ReconstructTest, RoundIsRoundingOfEveryLayer) {
  take_resnet();
  configuration_.bias_bits = 6;
  const auto result = run(Method::round);
  const auto expected = quantize::quantize_layers(network_.layers, configuration_);
  ASSERT_EQ(result.quantized.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(result.quantized[i].weights, expected[i].weights);
    EXPECT_EQ(result.quantized[i].bias, expected[i].bias);
  }
}

TEST_F(ReconstructTest, ModulesHoldEveryLayerOnce) {
  take_resnet();
  for (const Method method : all_methods) {
    const auto result = run(method, quick(1));
    std::vector<Index> layers;
    for (const ModuleReport& report : result.modules) {
      layers.insert(layers.end(), report.module.layers.begin(), report.module.layers.end());
      EXPECT_GT(report.capacity, 0.0);
    }
    std::vector<Index> all(network_.layers.size());
    std::iota(all.begin(), all.end(), Index{0});
    EXPECT_EQ(layers, all) << to_string(method);
  }
}

/// Whatever lies between the modules: the loss of the last one is the mean squared error of the network.
TEST_F(ReconstructTest, LastLossIsTheErrorOfTheNetwork) {
  for (const auto prepare : {&ReconstructTest_LastLossIsTheErrorOfTheNetwork_Test::take_resnet,
                             &ReconstructTest_LastLossIsTheErrorOfTheNetwork_Test::take_mobilenet}) {
    (this->*prepare)();
    for (const Method method : all_methods) {
      const auto result = run(method, quick(20));
      const double error = squared_error(result);
      EXPECT_NEAR(result.modules.back().loss, error, 1e-4 * error) << to_string(method);
    }
  }
}

TEST_F(ReconstructTest, NoModuleIsWorseThanRoundingFromTheSamePrefix) {
  take_resnet();
  for (const Method method : all_methods) {
    Options options = quick(20);
    options.learning_rate = 0.3;  // too fast on purpose
    for (const ModuleReport& report : run(method, options).modules) {
      EXPECT_LE(report.loss, report.loss_round) << to_string(method) << ' ' << report.module.name;
      EXPECT_TRUE(!report.kept_rounding || report.loss == report.loss_round);
    }
  }
}

TEST_F(ReconstructTest, EveryWeightIsOnItsGrid) {
  take_mobilenet();
  for (const auto grid : {quantize::Grid::symmetric, quantize::Grid::affine}) {
    configuration_.grid = grid;
    for (const Method method : all_methods) {
      const auto result = run(method, quick(20));
      for (std::size_t layer = 0; layer < network_.layers.size(); ++layer) {
        const auto own = quantize::at_layer(configuration_, static_cast<Index>(layer), std::ssize(network_.layers));
        const auto grids = quantize::choose_grids(network_.layers[layer], own);
        const auto& weights = result.quantized[layer].weights;
        const std::size_t columns = weights.size() / grids.weights.size();
        for (std::size_t i = 0; i < weights.size(); ++i) {
          const quantize::RowGrid& row = grids.weights[i / columns];
          const double level = row.step == 0.0 ? 0.0 : std::round(weights[i] / row.step);
          ASSERT_EQ(weights[i], level * row.step) << to_string(method) << " layer " << layer << " weight " << i;
          ASSERT_GE(level, row.lowest - row.zero_point);
          ASSERT_LE(level, row.highest - row.zero_point);
        }
      }
    }
  }
}

/// At 3 bits, where rounding is bad, and with iterations enough for these small networks.
TEST_F(ReconstructTest, LearnedRoundingsHaveLessErrorThanRounding) {
  take_resnet();
  const double rounding = run(Method::round).modules.back().loss;
  for (const Method method : all_methods) {
    if (method == Method::round) continue;
    EXPECT_LT(run(method, quick(200)).modules.back().loss, 0.8 * rounding) << to_string(method);
  }
}

TEST_F(ReconstructTest, WithOneLayerBrecqIsAdaround) {
  take_mlp(1);
  configuration_.edge_bits = 0;
  for (const auto quadratic : {QuadraticLoss::moments, QuadraticLoss::batches}) {
    Options options = quick();
    options.quadratic = quadratic;
    expect_equal(run(Method::brecq, options), run(Method::adaround, options));
  }
  // And where every block is a layer with its activation.
  take_mlp(3);
  expect_equal(run(Method::brecq), run(Method::adaround));
}

TEST_F(ReconstructTest, QdropWithoutDropsIsBrecq) {
  take_resnet();
  Options options = quick();
  options.quadratic = QuadraticLoss::batches;
  options.drop = 1.0;
  expect_equal(run(Method::qdrop, options), run(Method::brecq, options));
}

TEST_F(ReconstructTest, BitsDoNotDependOnThreads) {
  take_resnet();
  for (const Method method : all_methods) {
    Options options = quick(10);
    options.bias_correction = BiasCorrection::empirical;
    if (method == Method::brecq) options.weighting = Weighting::fisher;
    const auto alone = run(method, options);
    const Threads two(2);
    expect_equal(run(method, options), alone);
  }
}

TEST_F(ReconstructTest, SeedsDrawOtherBatches) {
  take_resnet();
  Options options = quick(20);
  const auto first = run(Method::brecq, options);
  expect_equal(run(Method::brecq, options), first);
  options.seed = 2;
  EXPECT_NE(run(Method::brecq, options).modules.back().loss, first.modules.back().loss);
}

// ---- stopping and going on -----------------------------------------------------------------------------------------

/// Stops after so many questions, keeps the state, and goes on from it until the end.
Reconstruction in_pieces(const std::function<Reconstruction(const Watch&)>& run, Index patience, Index& pieces) {
  std::vector<std::byte> saved;
  for (pieces = 1;; ++pieces) {
    Index asked = 0;
    Watch watch{.stop = [&] { return ++asked > patience; },
                .save = [&](std::span<const std::byte> bytes) { saved.assign(bytes.begin(), bytes.end()); },
                .saved = saved};
    Reconstruction result = run(watch);
    if (!result.stopped) return result;
  }
}

TEST_F(ReconstructTest, StoppedAndResumedGivesTheBitsOfOneRun) {
  take_resnet();
  for (const Method method : all_methods) {
    const auto whole = run(method, quick(10));
    for (const int threads : {1, 2}) {
      const Threads some(threads);
      Index pieces = 0;
      const auto result = in_pieces([&](const Watch& watch) { return run(method, quick(10), watch); }, 13, pieces);
      expect_equal(result, whole);
      EXPECT_GT(pieces, method == Method::round || method == Method::gptq ? 0 : 2) << to_string(method);
    }
  }
}

TEST_F(ReconstructTest, StoppedKeepsWhatWasDone) {
  take_resnet();
  Index asked = 0;
  const auto result = run(Method::brecq, quick(10), {.stop = [&] { return ++asked > 15; }});
  EXPECT_TRUE(result.stopped);
  ASSERT_EQ(result.modules.size(), 1U);
  EXPECT_NE(result.quantized[0].weights, network_.layers[0].weights);
  EXPECT_EQ(result.quantized[1].weights, network_.layers[1].weights);
}

TEST_F(ReconstructTest, SavedWhileRunningIsAsGoodAsStopped) {
  take_mlp(3);
  std::vector<std::vector<std::byte>> states;
  const auto whole =
      run(Method::brecq, quick(5),
          {.save = [&](std::span<const std::byte> bytes) { states.emplace_back(bytes.begin(), bytes.end()); },
           .save_seconds = 0.0});
  ASSERT_GE(states.size(), 10U);
  for (const auto& state : {states[0], states[7], states.back()}) {
    expect_equal(run(Method::brecq, quick(5), {.saved = state}), whole);
  }
}

TEST_F(ReconstructTest, AStateOfAnotherReconstructionIsRefused) {
  take_mlp(3);
  std::vector<std::byte> saved;
  static_cast<void>(run(Method::brecq, quick(5),
                        {.stop = [] { return true; },
                         .save = [&](std::span<const std::byte> bytes) { saved.assign(bytes.begin(), bytes.end()); }}));
  ASSERT_FALSE(saved.empty());
  EXPECT_THROW(run(Method::qdrop, quick(5), {.saved = saved}), core::InputError);
  EXPECT_THROW(run(Method::brecq, quick(6), {.saved = saved}), core::InputError);
  configuration_.bits = 4;
  EXPECT_THROW(run(Method::brecq, quick(5), {.saved = saved}), core::InputError);
  configuration_.bits = 3;
  const float before = std::exchange(inputs_[3], 0.125F);
  EXPECT_THROW(run(Method::brecq, quick(5), {.saved = saved}), core::InputError);
  inputs_[3] = before;
  EXPECT_THROW(run(Method::brecq, quick(5), {.saved = {saved.begin(), saved.end() - 1}}), core::Error);
  EXPECT_FALSE(run(Method::brecq, quick(5), {.saved = saved}).stopped);
}

TEST_F(ReconstructTest, ProgressTellsOfEveryModule) {
  take_resnet();
  std::vector<Index> modules;
  const auto result = run(Method::brecq, quick(5), {.progress = [&](const Progress& progress) {
                            if (progress.iteration == progress.iterations) modules.push_back(progress.module);
                            EXPECT_EQ(progress.modules, 5);
                          }});
  EXPECT_EQ(modules, (std::vector<Index>{0, 1, 2, 3, 4}));
}

// ---- schemes -------------------------------------------------------------------------------------------------------

std::vector<std::size_t> sizes(const Reconstruction& result) {
  std::vector<std::size_t> sizes;
  for (const ModuleReport& report : result.modules) sizes.push_back(report.module.layers.size());
  return sizes;
}

TEST_F(ReconstructTest, RunsJoinModules) {
  take_resnet();
  Options options = quick(5);
  options.runs = {1, 2, 2};
  EXPECT_EQ(sizes(run(Method::brecq, options)), (std::vector<std::size_t>{1, 4, 3}));
  options.runs = {1, 2, 1};
  EXPECT_THROW(run(Method::brecq, options), core::InputError);
}

TEST_F(ReconstructTest, MrecgJoinsPairsAndReportsJointCapacity) {
  take(network::make_network({.family = network::Family::resnet, .depth = 14, .width = 4, .resolution = 8}));
  const auto single = run(Method::brecq, quick(1)), joint = run(Method::mrecg, quick(1));
  EXPECT_LT(joint.modules.size(), single.modules.size());
  const auto total = [](const Reconstruction& result) {
    double sum = 0.0;
    for (const ModuleReport& report : result.modules) sum += report.capacity;
    return sum;
  };
  EXPECT_DOUBLE_EQ(total(joint), total(single));
  // The modules before the first joint one are those of brecq, bit for bit.
  for (std::size_t i = 0; joint.modules[i].module == single.modules[i].module; ++i) {
    EXPECT_EQ(joint.modules[i], single.modules[i]);
  }
}

TEST_F(ReconstructTest, MrecgJoinsNoEqualModulesHoweverManyJoinsAreWanted) {
  take(network::make_network({.family = network::Family::resnet, .depth = 14, .width = 4, .resolution = 8}));
  Options options = quick(1);
  options.joins = 100;
  const auto single = run(Method::brecq, options), joint = run(Method::mrecg, options);
  std::size_t next = 0, joins = 0;
  for (const ModuleReport& report : joint.modules) {
    const std::size_t first = next;
    for (std::size_t layers = 0; layers < report.module.layers.size(); ++next)
      layers += single.modules[next].module.layers.size();
    for (std::size_t i = first; i + 1 < next; ++i, ++joins)
      EXPECT_NE(single.modules[i].capacity, single.modules[i + 1].capacity) << report.module.name;
  }
  EXPECT_GT(joins, 0U);
}

/// The leading modules that both passes share are taken over from the first: as if they were made anew.
TEST_F(ReconstructTest, MrecgByLossesIsBrecqWithTheRunsItChose) {
  take(network::make_network({.family = network::Family::resnet, .depth = 14, .width = 4, .resolution = 8}));
  const auto chosen = run(Method::mrecg_loss, quick(15));
  const auto single = run(Method::brecq, quick(15));
  Options options = quick(15);
  std::size_t next = 0;
  for (const ModuleReport& report : chosen.modules) {
    Index run = 0;
    for (std::size_t layers = 0; layers < report.module.layers.size(); ++run) {
      layers += single.modules[next++].module.layers.size();
    }
    options.runs.push_back(run);
  }
  EXPECT_LT(options.runs.size(), single.modules.size());
  EXPECT_EQ(options.runs.front(), 1) << "the stem stays alone";
  EXPECT_EQ(options.runs.back(), 1) << "and the classifier";
  expect_equal(run(Method::brecq, options), chosen);
}

TEST_F(ReconstructTest, RandomRunsAreDrawnFromTheSeed) {
  take(network::make_network({.family = network::Family::resnet, .depth = 14, .width = 4, .resolution = 8}));
  Options options = quick(1);
  options.joining = Joining::random;
  std::set<std::vector<std::size_t>> schemes;
  for (options.seed = 1; options.seed <= 8; ++options.seed) {
    const Reconstruction result = run(Method::brecq, options);
    const auto drawn = sizes(result);
    schemes.insert(drawn);
    EXPECT_EQ(std::accumulate(drawn.begin(), drawn.end(), std::size_t{0}), network_.graph.weight_layers().size());
    expect_equal(run(Method::brecq, options), result);
  }
  EXPECT_GT(schemes.size(), 4U);
}

TEST_F(ReconstructTest, MrecgOfQdropMixesInputs) {
  take_resnet();
  Options options = quick(10);
  options.runs = {2, 2, 1};
  options.joint = Method::qdrop;
  expect_equal(run(Method::mrecg, options), run(Method::qdrop, options));
}

TEST_F(ReconstructTest, ModulesMayBeNamed) {
  take_resnet();
  Options options = quick(1);
  options.named = {{"stage0.block0.conv0", "stage1.block0.conv1"}};
  EXPECT_EQ(sizes(run(Method::brecq, options)), (std::vector<std::size_t>{1, 4, 1, 1, 1}));
}

// ---- weights and biases --------------------------------------------------------------------------------------------

TEST_F(ReconstructTest, FisherWeightsChangeWhatIsLearned) {
  take_resnet();
  Options options = quick(100);
  const auto plain = run(Method::brecq, options);
  options.weighting = Weighting::fisher;
  const auto weighted = run(Method::brecq, options);
  Index different = 0;
  for (std::size_t i = 0; i < plain.quantized.size(); ++i) {
    for (std::size_t w = 0; w < plain.quantized[i].weights.size(); ++w) {
      different += plain.quantized[i].weights[w] == weighted.quantized[i].weights[w] ? 0 : 1;
    }
  }
  EXPECT_GT(different, 10);
}

TEST_F(ReconstructTest, FisherWeightsNeedOutputsThatNoEdgePassesBy) {
  take_resnet();
  Options options = quick(1);
  options.weighting = Weighting::fisher;
  options.modules = ModuleKind::layer;
  EXPECT_THROW(run(Method::brecq, options), core::InputError);
}

/// The same roundings for networks whose values have another scale.
TEST_F(ReconstructTest, RegularizerInUnitsOfTheLossDoesNotDependOnTheScaleOfValues) {
  take_mlp(1);
  configuration_.edge_bits = 0;
  Options options = quick();
  options.quadratic = QuadraticLoss::batches;
  const auto plain = run(Method::adaround, options);
  options.regularization_unit = RegularizationUnit::absolute;
  const auto absolute = run(Method::adaround, options);
  for (auto* values : {&network_.layers[0].weights, &network_.layers[0].bias}) {
    for (double& value : *values) value *= 1024.0;
  }
  const auto absolute_large = run(Method::adaround, options);
  options.regularization_unit = RegularizationUnit::loss;
  const auto large = run(Method::adaround, options);
  EXPECT_EQ(plain.modules[0].settled, large.modules[0].settled);
  EXPECT_LT(absolute_large.modules[0].settled, absolute.modules[0].settled);
  for (std::size_t i = 0; i < plain.quantized[0].weights.size(); ++i) {
    EXPECT_EQ(large.quantized[0].weights[i], 1024.0 * plain.quantized[0].weights[i]);
  }
}

TEST_F(ReconstructTest, EqualizationGivesTheSameFunctionAndLessRoundingError) {
  take_mlp(4);
  configuration_.granularity = quantize::Granularity::tensor;
  configuration_.step_rule = quantize::StepRule::max;
  configuration_.edge_bits = 0;
  configuration_.bits = 6;
  for (std::size_t row = 0; row < 24; ++row) {  // channels of very different size
    for (std::size_t i = 0; i < 16; ++i) network_.layers[0].weights[row * 16 + i] *= std::pow(2.0, double(row % 8));
    for (std::size_t i = 0; i < 24; ++i) network_.layers[1].weights[i * 24 + row] /= std::pow(2.0, double(row % 8));
  }
  Options options;
  options.equalization = Equalization::cross_layer;
  const auto plain = run(Method::round), equalized = run(Method::round, options);
  EXPECT_EQ(outputs(equalized.original), outputs(network_.layers));
  EXPECT_NE(equalized.original[0].weights, network_.layers[0].weights);
  EXPECT_LT(equalized.modules.back().loss, 0.5 * plain.modules.back().loss);
}

/// Pre-activations far above 0, and the same for every input but for little: the error of the second layer's weights is
/// nearly constant, and absorbing the biases takes that part away.
TEST_F(ReconstructTest, AbsorptionTakesTheConstantPartOfTheErrorAway) {
  take_mlp(3);
  for (double& bias : network_.layers[0].bias) bias = 50.0;
  Options options = quick();
  options.bias_absorption = 3.0;
  const auto plain = run(Method::round), absorbed = run(Method::round, options);
  EXPECT_LT(squared_error(absorbed), 0.1 * squared_error(plain));
  EXPECT_EQ(outputs(absorbed.original), outputs(network_.layers)) << "what f_q is compared with stays f";
  for (std::size_t layer = 0; layer < network_.layers.size(); ++layer)
    EXPECT_EQ(absorbed.quantized[layer].weights, plain.quantized[layer].weights);
  options.bias_absorption = 1000.0;  // nothing is so far above 0
  EXPECT_EQ(outputs(run(Method::round, options).quantized), outputs(plain.quantized));
}

TEST_F(ReconstructTest, BiasCorrectionTakesTheMeanErrorAway) {
  take_resnet();
  Options options = quick();
  options.bias_correction = BiasCorrection::empirical;
  for (const Method method : {Method::round, Method::brecq}) {
    const auto result = run(method, options);
    const auto f = outputs(network_.layers), q = outputs(result.quantized);
    for (std::size_t output = 0; output < 10; ++output) {
      double mean = 0.0, size = 0.0;
      for (std::size_t s = 0; s < samples; ++s) {
        mean += q[s * 10 + output] - f[s * 10 + output];
        size += std::fabs(q[s * 10 + output] - f[s * 10 + output]);
      }
      EXPECT_LT(std::fabs(mean), 1e-4 * size) << to_string(method) << " output " << output;
    }
  }
}

// ---- what does not go together -------------------------------------------------------------------------------------

TEST_F(ReconstructTest, OptionsThatDoNotGoTogetherAreErrors) {
  take_mlp(3);
  const auto refused = [&](Method method, const std::function<void(Options&)>& change) {
    Options options = quick();
    change(options);
    EXPECT_THROW(run(method, options), core::InputError) << to_string(method);
  };
  refused(Method::brecq, [](Options& o) { o.batch = samples + 1; });
  refused(Method::brecq, [](Options& o) { o.batch = 0; });
  refused(Method::brecq, [](Options& o) { o.iterations = 0; });
  refused(Method::brecq, [](Options& o) { o.learning_rate = 0.0; });
  refused(Method::brecq, [](Options& o) { o.warm_up = 1.0; });
  refused(Method::brecq, [](Options& o) { o.beta_last = 1.0; });
  refused(Method::qdrop, [](Options& o) { o.drop = 1.5; });
  refused(Method::gptq, [](Options& o) { o.damping = 0.0; });
  refused(Method::adaround, [](Options& o) { o.runs = {1, 2}; });
  refused(Method::mrecg_loss, [](Options& o) { o.runs = {1, 2}; });
  for (const Method method : {Method::gptq, Method::adaround, Method::round, Method::mrecg_loss}) {
    refused(method, [](Options& o) { o.joining = Joining::random; });
  }
  refused(Method::round, [](Options& o) { o.bias_absorption = -1.0; });
  refused(Method::brecq, [](Options& o) {
    o.joining = Joining::random;
    o.runs = {1, 2};
  });
  refused(Method::adaround, [](Options& o) { o.weighting = Weighting::fisher; });
  refused(Method::mrecg, [](Options& o) { o.joint = Method::adaround; });
  refused(Method::mrecg, [](Options& o) { o.longest_run = 1; });
  refused(Method::gptq, [](Options& o) { o.named = {{"fc0", "fc0"}}; });
  inputs_.clear();
  EXPECT_THROW(reconstruct(network_, configuration_, Method::round, {inputs_, 0}, {}, {}), core::InputError);
}

/// 16 inputs, then 24, 24 and 8 values, of f and of the quantized network: at most 24 + 24 of each at once.
TEST_F(ReconstructTest, MemoryIsThatOfTheValuesHeld) {
  take_mlp(3);
  const Graph& graph = network_.graph;
  Options options;
  options.quadratic = QuadraticLoss::batches;
  EXPECT_EQ(reconstruct_memory(graph, 100, Method::brecq, options), 2 * 48 * 100 * 4);
  options.weighting = Weighting::fisher;
  EXPECT_EQ(reconstruct_memory(graph, 100, Method::brecq, options), (2 * 48 + 24) * 100 * 4);
  EXPECT_EQ(reconstruct_memory(graph, 100, Method::gptq, {}), 2 * 48 * 100 * 4 + 4 * 24 * 24 * 8);
}

TEST(MethodNames, AreReadAsTheyAreWritten) {
  for (const Method method : all_methods) EXPECT_EQ(parse_method(to_string(method)), method);
  EXPECT_EQ(parse_method("adarond"), std::nullopt);
}

}  // namespace
}  // namespace quantbound::reconstruct
