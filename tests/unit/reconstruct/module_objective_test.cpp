#include "quantbound/reconstruct/module_objective.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/random.hpp"

namespace quantbound::reconstruct {
namespace {

using network::Graph;
using network::LayerParameters;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

template <class Number>
std::vector<Number> normals(Index count, std::uint64_t key, double scale = 1.0) {
  const core::RandomStream random(7, "module-objective-test", key);
  std::vector<Number> values(at(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<Number>(scale * random.normal(i));
  return values;
}

struct TestModule {
  Graph graph;
  std::vector<LayerParameters> layers;
};

constexpr tensor::Window same{
    .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

/// Appends nodes; weights are floats, so that nothing is lost on the way to the objective.
class Maker {
 public:
  explicit Maker(tensor::Shape input) { module_.graph.nodes.push_back({"in", network::Input{}, {}, std::move(input)}); }

  network::NodeId add(network::Operator op, std::vector<network::NodeId> inputs) {
    std::vector<tensor::Shape> shapes;
    for (const network::NodeId input : inputs) shapes.push_back(module_.graph.nodes[at(input)].shape);
    const std::string name = "n" + std::to_string(module_.graph.nodes.size());
    const tensor::Shape shape = network::infer_shape(op, shapes, name, "test");
    module_.graph.nodes.push_back({name, std::move(op), std::move(inputs), shape});
    module_.graph.output = std::ssize(module_.graph.nodes) - 1;
    return module_.graph.output;
  }
  network::NodeId convolution(network::NodeId in, Index channels, Index groups, tensor::Window window) {
    const tensor::Shape& image = module_.graph.nodes[at(in)].shape;
    const tensor::Convolution geometry{image[0], image[1], image[2], channels, groups, window};
    return add(network::Convolution{add_layer(channels, geometry.fan_in()), geometry}, {in});
  }
  network::NodeId dense(network::NodeId in, Index outputs) {
    const Index inputs = module_.graph.nodes[at(in)].shape.front();
    return add(network::Dense{add_layer(outputs, inputs), inputs, outputs}, {in});
  }
  network::NodeId relu(network::NodeId in) { return add(network::Activation{network::ActivationKind::relu}, {in}); }
  TestModule take() { return std::move(module_); }

 private:
  Index add_layer(Index rows, Index fan_in) {
    const auto layer = std::ssize(module_.layers);
    const auto key = static_cast<std::uint64_t>(100 + 2 * layer);
    const std::vector<float> weights = normals<float>(rows * fan_in, key, std::sqrt(2.0 / static_cast<double>(fan_in))),
                             bias = normals<float>(rows, key + 1, 0.3);
    module_.layers.push_back({{weights.begin(), weights.end()}, {bias.begin(), bias.end()}});
    return layer;
  }
  TestModule module_;
};

TestModule layer_module() {
  Maker m({12, 9, 7});
  m.add(network::Activation{network::ActivationKind::tanh}, {m.convolution(0, 20, 1, same)});
  return m.take();
}
TestModule residual_block(Index channels, Index size) {
  Maker m({channels, size, size});
  const auto main = m.convolution(m.relu(m.convolution(0, channels, 1, same)), channels, 1, same);
  m.relu(m.add(network::Add{}, {main, 0}));
  return m.take();
}
TestModule inverted_residual() {
  Maker m({8, 10, 10});
  const network::Activation clip{network::ActivationKind::clip, 0.0, 6.0};
  tensor::Window strided = same;
  strided.stride_height = strided.stride_width = 2;
  const auto wide = m.add(clip, {m.convolution(0, 24, 1, {})});
  m.convolution(m.add(clip, {m.convolution(wide, 24, 24, strided)}), 12, 1, {});
  return m.take();
}
TestModule dense_module() {
  Maker m({50});
  m.relu(m.dense(0, 30));
  return m.take();
}
/// Reads one value twice, concatenates, pools.
TestModule fire_module() {
  Maker m({6, 8, 8});
  const auto squeeze = m.relu(m.convolution(0, 5, 1, {}));
  const auto both =
      m.add(network::Concat{0}, {m.relu(m.convolution(squeeze, 7, 1, {})), m.relu(m.convolution(squeeze, 9, 1, same))});
  m.add(network::MaxPool{{.kernel_height = 2, .kernel_width = 2, .stride_height = 2, .stride_width = 2}}, {both});
  return m.take();
}

struct Data {
  std::vector<float> inputs, targets, weights;
  std::vector<Index> rows;
};
/// More rows than the batch takes, in no order.
Data data_for(const TestModule& module, Index batch) {
  const Index count = batch + 3;
  Data data{normals<float>(count * tensor::elements(module.graph.input_shape()), 1),
            normals<float>(count * tensor::elements(module.graph.output_shape()), 2),
            normals<float>(count * tensor::elements(module.graph.output_shape()), 3),
            {}};
  for (float& w : data.weights) w = (std::abs(w) + 1.0F) * (std::abs(w) + 1.0F);
  for (Index s = 0; s < batch; ++s) data.rows.push_back((s * 5 + 2) % count);
  return data;
}

/// Floats that live as long as the views of them.
struct FloatLayers {
  explicit FloatLayers(std::span<const LayerParameters> layers) {
    for (const LayerParameters& layer : layers) {
      std::vector<float> weights, bias;
      for (const double w : layer.weights) weights.push_back(static_cast<float>(w));
      for (const double b : layer.bias) bias.push_back(static_cast<float>(b));
      values.push_back({std::move(weights), std::move(bias)});
    }
    for (const auto& [weights, bias] : values) views.push_back({weights, bias});
  }
  std::vector<std::pair<std::vector<float>, std::vector<float>>> values;
  std::vector<FloatLayer> views;
};

double relative_error(std::span<const float> a, std::span<const double> b) {
  double error = 0.0, size = 0.0;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < b.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += b[i] * b[i];
  }
  return std::sqrt(error / size);
}

void expect_reference(const TestModule& module, Index batch, const ObjectiveSamples& samples, double tolerance) {
  const FloatLayers floats(module.layers);
  ModuleObjective objective(module.graph, batch);
  const double value = objective.evaluate(floats.views, samples);
  const ObjectiveReference exact = objective_reference(module.graph, module.layers, samples, batch);
  EXPECT_NEAR(value, exact.objective, 1e-5 * exact.objective);
  for (std::size_t layer = 0; layer < module.layers.size(); ++layer) {
    const auto id = static_cast<Index>(layer);
    EXPECT_LT(relative_error(objective.weight_gradient(id), exact.gradients[layer].weights), tolerance) << layer;
    EXPECT_LT(relative_error(objective.bias_gradient(id), exact.gradients[layer].bias), tolerance) << layer;
  }
}

TEST(ModuleObjective, AgreesWithThePlainLoops) {
  for (const TestModule& module : {layer_module(), residual_block(16, 8), residual_block(32, 14), inverted_residual(),
                                   dense_module(), fire_module()}) {
    SCOPED_TRACE(module.graph.nodes.size());
    for (const Index batch : {1, 6, 8}) {
      const Data data = data_for(module, batch);
      const double tolerance = 2e-3;  // of values at the kinks of ReLU
      expect_reference(module, batch, {data.inputs, data.targets, {}, {}}, tolerance);
      expect_reference(module, batch, {data.inputs, data.targets, {}, data.rows}, tolerance);
      expect_reference(module, batch, {data.inputs, data.targets, data.weights, data.rows}, tolerance);
    }
  }
}

TEST(ModuleObjective, OfASmoothModuleAgreesToRounding) {
  const TestModule module = layer_module();
  const Data data = data_for(module, 8);
  expect_reference(module, 8, {data.inputs, data.targets, data.weights, data.rows}, 1e-5);
}

TEST(ModuleObjective, IsSummedOverChannelsAndAveragedOverTheRest) {
  // A layer without weights gives its bias b; the target is 0: the objective is sum_c b_c^2, however large image and
  // batch are.
  Maker m({3, 5, 4});
  m.convolution(0, 2, 1, same);
  TestModule module = m.take();
  std::fill(module.layers[0].weights.begin(), module.layers[0].weights.end(), 0.0);
  module.layers[0].bias = {2.0, -3.0};
  const FloatLayers floats(module.layers);
  for (const Index batch : {1, 4}) {
    const std::vector<float> inputs(at(batch * 60), 1.0F), targets(at(batch * 40), 0.0F);
    ModuleObjective objective(module.graph, batch);
    EXPECT_DOUBLE_EQ(objective.evaluate(floats.views, {inputs, targets, {}, {}}), 13.0);
    EXPECT_FLOAT_EQ(objective.bias_gradient(0)[0], 4.0F);
    EXPECT_FLOAT_EQ(objective.bias_gradient(0)[1], -6.0F);
  }
}

TEST(ModuleObjective, ItsGradientIsThatOfFiniteDifferences) {
  const TestModule module = layer_module();
  constexpr Index batch = 4;
  const Data data = data_for(module, batch);
  const ObjectiveSamples samples{data.inputs, data.targets, data.weights, data.rows};
  ModuleObjective objective(module.graph, batch);
  objective.evaluate(FloatLayers(module.layers).views, samples);
  const auto gradient = objective.weight_gradient(0);
  for (std::uint64_t key = 50; key < 54; ++key) {
    const std::vector<double> direction = normals<double>(std::ssize(gradient), key);
    constexpr double step = 1e-5;
    const auto moved = [&](double by) {
      std::vector<LayerParameters> layers = module.layers;
      for (std::size_t i = 0; i < direction.size(); ++i) layers[0].weights[i] += by * direction[i];
      return objective_reference(module.graph, layers, samples, batch).objective;
    };
    double slope = 0.0;
    for (std::size_t i = 0; i < direction.size(); ++i) slope += static_cast<double>(gradient[i]) * direction[i];
    const double quotient = (moved(step) - moved(-step)) / (2.0 * step);
    EXPECT_NEAR(slope, quotient, 1e-4 * std::abs(quotient) + 1e-5);
  }
}

struct Outcome {
  double value;
  std::vector<std::vector<float>> gradients;
  bool operator==(const Outcome&) const = default;
};

Outcome evaluate_with(const TestModule& module, Index batch, const Data& data, int threads) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  const FloatLayers floats(module.layers);
  ModuleObjective objective(module.graph, batch);
  Outcome outcome{};
  for (int round = 0; round < 2; ++round) {  // the second with other samples behind it
    outcome = {objective.evaluate(floats.views, {data.inputs, data.targets, data.weights, data.rows}), {}};
    for (Index layer = 0; layer < std::ssize(module.layers); ++layer) {
      for (const auto& g : {objective.weight_gradient(layer), objective.bias_gradient(layer)})
        outcome.gradients.emplace_back(g.begin(), g.end());
    }
    if (round == 0) objective.evaluate(floats.views, {data.inputs, data.targets, {}, {}});
  }
  omp_set_num_threads(before);
  return outcome;
}

TEST(ModuleObjective, ItsBitsDoNotDependOnThreads) {
  for (const TestModule& module : {residual_block(32, 14), inverted_residual(), dense_module()}) {
    constexpr Index batch = 12;
    const Data data = data_for(module, batch);
    ASSERT_GT(ModuleObjective(module.graph, batch).parts(), 2);
    const Outcome one = evaluate_with(module, batch, data, 1);
    for (const int threads : {2, 3, 5}) EXPECT_EQ(evaluate_with(module, batch, data, threads), one) << threads;
  }
}

TEST(ModuleObjective, WorksInsideAParallelRegion) {
  const TestModule module = fire_module();
  const Data data = data_for(module, 8);
  const Outcome alone = evaluate_with(module, 8, data, 2);
  std::vector<Outcome> results(3);
#pragma omp parallel for num_threads(2)
  for (std::size_t i = 0; i < results.size(); ++i) results[i] = evaluate_with(module, 8, data, 2);
  for (const Outcome& result : results) EXPECT_EQ(result, alone);
}

}  // namespace
}  // namespace quantbound::reconstruct
