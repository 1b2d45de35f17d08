#include "quantbound/reconstruct/module.hpp"

#include <algorithm>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

#include "../../support/network_builder.hpp"
#include "../network/random_graph.hpp"

namespace quantbound::reconstruct {
namespace {

using network::LayerParameters;
using network::Network;
using ::testing::ElementsAre;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<std::string> names(const std::vector<Module>& modules) {
  std::vector<std::string> result;
  for (const Module& module : modules) result.push_back(module.name);
  return result;
}

/// Number of weight layers of every module.
std::vector<std::size_t> sizes(const std::vector<Module>& modules) {
  std::vector<std::size_t> result;
  for (const Module& module : modules) result.push_back(module.layers.size());
  return result;
}

std::vector<double> value_of(const Network& network, NodeId node, std::span<const double> x, Index batch) {
  Graph prefix{{network.graph.nodes.begin(), network.graph.nodes.begin() + node + 1}, node};
  const auto layers = std::span(network.layers).first(prefix.weight_layers().size());
  return forward(prefix, layers, x, batch);
}

void expect_in_order_once(const Graph& graph, const std::vector<Module>& modules) {
  std::vector<Index> layers, expected;
  for (Index layer = 0; layer < std::ssize(graph.weight_layers()); ++layer) expected.push_back(layer);
  for (const Module& module : modules) layers.insert(layers.end(), module.layers.begin(), module.layers.end());
  EXPECT_EQ(layers, expected);
}

/// Every module makes its captured output from its captured input, bit for bit.
void expect_faithful(const Network& network, const std::vector<Module>& modules) {
  const Index batch = 2;
  testing::Draws draws(11, "module test");
  std::vector<double> x(at(batch * tensor::elements(network.graph.input_shape())));
  for (double& value : x) value = draws.normal();
  for (const Module& module : modules) {
    SCOPED_TRACE(module.name);
    const Graph part = module_graph(network.graph, module);
    ASSERT_NO_THROW(network::validate(part, "module"));
    std::vector<LayerParameters> layers;
    for (const Index layer : module.layers) layers.push_back(network.layers[at(layer)]);
    const std::vector<double> input = value_of(network, module.input, x, batch);
    EXPECT_EQ(forward(part, layers, input, batch), value_of(network, module.output, x, batch));
  }
}

void expect_modules_of_every_kind(const Network& network) {
  for (const ModuleKind kind : {ModuleKind::layer, ModuleKind::block, ModuleKind::stage}) {
    SCOPED_TRACE(to_string(kind));
    const std::vector<Module> modules = find_modules(network.graph, kind);
    expect_in_order_once(network.graph, modules);
    expect_faithful(network, modules);
  }
}

TEST(Modules, OfRandomGraphsCoverTheLayersAndMakeTheCapturedValuesBitForBit) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    expect_modules_of_every_kind(network::testing::random_network(seed));
  }
}

TEST(Modules, OfRandomNetworksCoverTheLayersAndMakeTheCapturedValuesBitForBit) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    testing::RandomNetwork random(seed, {.extreme_probability = 0.0});
    expect_modules_of_every_kind(random.network());
  }
}

Network family(network::Family family, Index depth, Index width, Index resolution) {
  network::FamilyPoint point;
  point.family = family;
  point.depth = depth;
  point.width = width;
  point.resolution = resolution;
  point.inputs = 12;
  return network::make_network(point);
}

TEST(Modules, OfTheFamiliesCoverTheLayersAndMakeTheCapturedValuesBitForBit) {
  expect_modules_of_every_kind(family(network::Family::mlp, 5, 9, 1));
  expect_modules_of_every_kind(family(network::Family::cnn, 7, 4, 16));
  expect_modules_of_every_kind(family(network::Family::resnet, 14, 4, 16));
  expect_modules_of_every_kind(family(network::Family::mobilenet_v2, 26, 8, 32));
}

TEST(Blocks, OfAChainAreItsLayersWithTheirActivations) {
  const Graph graph = family(network::Family::mlp, 4, 9, 1).graph;

  EXPECT_EQ(find_modules(graph, ModuleKind::block), find_modules(graph, ModuleKind::layer));
}

TEST(Blocks, OfAResNetAreItsResidualBlocksWithTheActivationBehindTheSum) {
  const Graph graph = family(network::Family::resnet, 14, 4, 16).graph;
  const std::vector<Module> blocks = find_modules(graph, ModuleKind::block);

  EXPECT_THAT(
      names(blocks),
      ElementsAre("conv", "stage0.block0.conv0..stage0.block0.conv1", "stage0.block1.conv0..stage0.block1.conv1",
                  "stage1.block0.conv0..stage1.block0.conv1", "stage1.block1.conv0..stage1.block1.conv1",
                  "stage2.block0.conv0..stage2.block0.conv1", "stage2.block1.conv0..stage2.block1.conv1", "fc"));
  EXPECT_EQ(graph.nodes[at(blocks[3].output)].name, "stage1.block0.relu1");
  EXPECT_EQ(graph.nodes[at(blocks[6].output)].name, "stage2.block1.relu1") << "not the pooling behind it";
  EXPECT_EQ(blocks[3].input, blocks[2].output);
}

TEST(Stages, AreRunsOfBlocksOfOneSize) {
  const Graph graph = family(network::Family::resnet, 14, 4, 16).graph;

  EXPECT_THAT(names(find_modules(graph, ModuleKind::stage)),
              ElementsAre("conv..stage0.block1.conv1", "stage1.block0.conv0..stage1.block1.conv1",
                          "stage2.block0.conv0..stage2.block1.conv1", "fc"));
}

TEST(Blocks, OfMobileNetV2AreInvertedResidualsWithAndWithoutSkip) {
  const Graph graph = family(network::Family::mobilenet_v2, 53, 8, 32).graph;
  const std::vector<Module> blocks = find_modules(graph, ModuleKind::block);

  ASSERT_EQ(blocks.size(), 20U);
  EXPECT_EQ(blocks[1].name, "stage0.block0.depthwise..stage0.block0.project");
  for (std::size_t i = 2; i < 18; ++i) EXPECT_EQ(blocks[i].layers.size(), 3U) << blocks[i].name;
  EXPECT_EQ(blocks[2].name, "stage1.block0.expand..stage1.block0.project");
  EXPECT_EQ(blocks[18].name, "last");
}

std::string error_of(const Graph& graph, const std::vector<LayerRange>& ranges) {
  try {
    named_modules(graph, ranges, "study.toml:3:1");
  } catch (const core::InputError& error) {
    return error.what();
  }
  return "no error";
}

/// A small network node by node.
class SmallBlocks : public ::testing::Test {
 protected:
  NodeId conv(NodeId in, Index channels, Index kernel, Index groups = 1) {
    const Index pad = kernel / 2;
    return b_.convolution(in, channels, groups,
                          {.kernel_height = kernel,
                           .kernel_width = kernel,
                           .pad_top = pad,
                           .pad_left = pad,
                           .pad_bottom = pad,
                           .pad_right = pad});
  }
  NodeId relu(NodeId in) { return b_.add(network::Activation{}, {in}); }
  std::vector<std::size_t> block_sizes() {
    const Network network = b_.build();
    expect_modules_of_every_kind(network);
    return sizes(find_modules(network.graph, ModuleKind::block));
  }

  network::testing::Draw draw_{5};
  network::testing::Builder b_{{4, 6, 6}, draw_};
};

TEST_F(SmallBlocks, DepthwisePointwisePairsAreNotMistakenForInvertedResiduals) {
  NodeId at = relu(conv(0, 8, 3));
  for (int pair = 0; pair < 3; ++pair) at = relu(conv(relu(conv(at, 8, 3, 8)), 8, 1));

  EXPECT_THAT(block_sizes(), ElementsAre(1, 2, 2, 2));
}

TEST_F(SmallBlocks, APointwiseLayerBeforeAPairWithActivationStandsAlone) {
  relu(conv(relu(conv(relu(conv(0, 8, 1)), 8, 3, 8)), 6, 1));

  EXPECT_THAT(block_sizes(), ElementsAre(1, 2));
}

TEST_F(SmallBlocks, AnInvertedResidualMayBePaddedAndScaled) {
  NodeId at = relu(conv(0, 8, 1));
  at = b_.add(network::Pad{{0, 0, 0}, {0, 1, 1}, 0.0}, {at});
  at = conv(relu(b_.convolution(at, 8, 8, {.kernel_height = 3, .kernel_width = 3})), 5, 1);
  b_.add(network::ScaleShift{{2.0}, {1.0}}, {at});

  EXPECT_THAT(block_sizes(), ElementsAre(3));
}

TEST_F(SmallBlocks, PoolingSeparatesWhatWouldBeABlock) {
  NodeId at = relu(conv(0, 4, 3, 4));
  at = b_.add(network::MaxPool{{.kernel_height = 2, .kernel_width = 2}}, {at});
  relu(conv(at, 6, 1));

  EXPECT_THAT(block_sizes(), ElementsAre(1, 1));
}

TEST_F(SmallBlocks, AGateBelongsToTheBlockAroundIt) {
  const NodeId wide = relu(conv(relu(conv(0, 8, 1)), 8, 3, 8));
  NodeId gate = relu(conv(b_.add(network::GlobalAveragePool{}, {wide}), 2, 1));
  gate = b_.add(network::Activation{network::ActivationKind::hard_sigmoid, 0.2, 0.5}, {conv(gate, 8, 1)});
  conv(b_.add(network::Product{}, {wide, gate}), 4, 1);

  EXPECT_THAT(block_sizes(), ElementsAre(5));
}

TEST_F(SmallBlocks, AFireModuleIsItsSqueezeAndItsBranches) {
  NodeId at = relu(conv(0, 6, 3));
  for (int fire = 0; fire < 2; ++fire) {
    const NodeId squeezed = relu(conv(at, 2, 1));
    at = b_.add(network::Concat{0}, {relu(conv(squeezed, 3, 1)), relu(conv(squeezed, 3, 3))});
  }

  EXPECT_THAT(block_sizes(), ElementsAre(1, 3, 3));
}

TEST_F(SmallBlocks, APointwiseLayerThatDoesNotNarrowIsNoSqueeze) {
  const NodeId wide = relu(conv(0, 6, 1));
  b_.add(network::Concat{0}, {relu(conv(wide, 3, 1)), relu(conv(wide, 3, 3))});

  EXPECT_THAT(block_sizes(), ElementsAre(1, 2));
}

TEST_F(SmallBlocks, ANetworkWithoutWeightsHasNoModules) {
  relu(0);

  EXPECT_THAT(block_sizes(), ElementsAre());
  EXPECT_EQ(error_of(b_.build().graph, {{"conv", "conv"}}),
            "the network has no weight layers: it has no modules (study.toml:3:1)");
}

TEST_F(SmallBlocks, ALayerOfADenseBlockKeepsItsBottleneckAndNoMore) {
  NodeId at = relu(conv(relu(conv(0, 6, 3)), 5, 1));  // narrows, but is no squeeze
  for (int layer = 0; layer < 2; ++layer) at = b_.add(network::Concat{0}, {at, relu(conv(relu(conv(at, 4, 1)), 2, 3))});

  EXPECT_THAT(block_sizes(), ElementsAre(1, 1, 2, 2));
}

TEST_F(SmallBlocks, AnActivationMadeOfSeveralNodesBelongsToTheLayer) {
  const NodeId first = conv(0, 5, 3);
  const NodeId gate = b_.add(network::Activation{network::ActivationKind::sigmoid}, {first});
  const NodeId swish = b_.add(network::Product{}, {first, gate});
  conv(swish, 3, 3);
  const std::vector<Module> blocks = find_modules(b_.build().graph, ModuleKind::block);

  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(blocks[0].output, swish);
}

TEST(Merge, JoinsRunsOfModules) {
  const Network network = family(network::Family::resnet, 14, 4, 16);
  const std::vector<Module> blocks = find_modules(network.graph, ModuleKind::block);
  const std::vector<Module> merged = merge(blocks, std::vector<Index>{1, 3, 2, 1, 1});

  EXPECT_THAT(sizes(merged), ElementsAre(1, 6, 4, 2, 1));
  EXPECT_EQ(merged[1].name, "stage0.block0.conv0..stage1.block0.conv1");
  EXPECT_EQ(merged[1].input, blocks[1].input);
  EXPECT_EQ(merged[1].output, blocks[3].output);
  expect_in_order_once(network.graph, merged);
  expect_faithful(network, merged);
}

TEST(Merge, IsFaithfulAcrossPoolingInRandomGraphs) {
  Index joined = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const Network network = network::testing::random_network(seed);
    const std::vector<Module> blocks = find_modules(network.graph, ModuleKind::block);
    for (std::size_t i = 1; i < blocks.size(); ++i) EXPECT_TRUE(may_merge(network.graph, blocks[i - 1], blocks[i]));
    std::vector<Index> runs(blocks.size() / 2, 2);
    if (blocks.size() % 2 == 1) runs.push_back(1);
    const std::vector<Module> merged = merge(blocks, runs);
    joined += std::ssize(blocks) - std::ssize(merged);
    expect_faithful(network, merged);
  }
  EXPECT_GT(joined, 40);
}

TEST(Merge, OfLayersIsAllowedInAChainButNotAcrossAShortcutNorOfBranches) {
  const Graph graph = family(network::Family::resnet, 14, 4, 16).graph;
  const std::vector<Module> layers = find_modules(graph, ModuleKind::layer);
  EXPECT_TRUE(may_merge(graph, layers[1], layers[2]));  // conv0, conv1 of a block, without the sum
  EXPECT_FALSE(may_merge(graph, layers[2], layers[3])) << "the shortcut comes from before";
  EXPECT_FALSE(may_merge(graph, layers[0], layers[1])) << "the value between is read by the shortcut";

  network::testing::Draw draw(1);
  network::testing::Builder b({4, 6, 6}, draw);
  b.add(network::Concat{0}, {b.convolution(0, 2, 1, {}), b.convolution(0, 3, 1, {})});
  const Graph branches = b.build().graph;
  const std::vector<Module> both = find_modules(branches, ModuleKind::layer);
  EXPECT_FALSE(may_merge(branches, both[0], both[1]));
}

TEST(NamedModules, TakeNamedLayersTogetherAndLeaveTheOthersSingle) {
  const Network network = family(network::Family::resnet, 14, 4, 16);
  const std::vector<LayerRange> ranges{
      {"stage0.block0.conv0", "stage1.block0.conv1"}, {"stage2.block0.conv0", "stage2.block0.conv1"}, {"fc", "fc"}};
  const std::vector<Module> modules = named_modules(network.graph, ranges, "");

  EXPECT_THAT(sizes(modules), ElementsAre(1, 6, 1, 1, 2, 1, 1, 1));
  EXPECT_EQ(network.graph.nodes[at(modules[1].output)].name, "stage1.block0.relu1");
  EXPECT_EQ(network.graph.nodes[at(modules[4].output)].name, "stage2.block0.conv1") << "a module without the sum";
  expect_in_order_once(network.graph, modules);
  expect_faithful(network, modules);
}

TEST(NamedModules, NamingABlockGivesTheBlockThatIsFound) {
  const Graph graph = family(network::Family::mobilenet_v2, 26, 8, 32).graph;
  for (const Module& block : find_modules(graph, ModuleKind::block)) {
    const auto name = [&](Index layer) { return graph.nodes[at(graph.weight_layers()[at(layer)])].name; };
    const std::vector<LayerRange> ranges{{name(block.layers.front()), name(block.layers.back())}};
    const std::vector<Module> modules = named_modules(graph, ranges, "");
    const auto found = std::find_if(modules.begin(), modules.end(),
                                    [&](const Module& module) { return module.layers == block.layers; });
    ASSERT_NE(found, modules.end());
    EXPECT_EQ(found->input, block.input);
    EXPECT_EQ(found->name, block.name);
  }
}

TEST(NamedModules, ErrorsNameTheNearestLayerTheOrderAndTheBlockAround) {
  const Graph graph = family(network::Family::resnet, 14, 4, 16).graph;

  EXPECT_EQ(error_of(graph, {{"stage0.blok0.conv0", "fc"}}),
            "no weight layer is named 'stage0.blok0.conv0'; did you mean 'stage0.block0.conv0'? (study.toml:3:1)");
  EXPECT_EQ(error_of(graph, {{"entirely other", "fc"}}),
            "no weight layer is named 'entirely other'; the first is 'conv', the last 'fc' (study.toml:3:1)");
  EXPECT_EQ(error_of(graph, {{"fc", "conv"}}),
            "layer 'fc' comes after 'conv'; name the first layer of a module first (study.toml:3:1)");
  EXPECT_EQ(error_of(graph, {{"conv", "stage0.block0.conv1"}, {"stage0.block0.conv1", "fc"}}),
            "layer 'stage0.block0.conv1' is in two modules, or modules are not in the order of the network "
            "(study.toml:3:1)");
  EXPECT_EQ(error_of(graph, {{"stage0.block0.conv1", "stage0.block1.conv0"}}),
            "the layers 'stage0.block0.conv1..stage0.block1.conv0' share a block with others; the smallest module that "
            "holds them is 'stage0.block0.conv0..stage0.block1.conv1' (study.toml:3:1)");
}

TEST(ModuleKinds, AreParsedByTheirNames) {
  for (const ModuleKind kind : {ModuleKind::layer, ModuleKind::block, ModuleKind::stage})
    EXPECT_EQ(parse_module_kind(to_string(kind)), kind);
  EXPECT_EQ(parse_module_kind("net"), std::nullopt);
}

// ---- real networks -------------------------------------------------------------------------------------------------

const std::filesystem::path models = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models";

std::vector<std::size_t> real_block_sizes(const std::string& file) {
  const Graph graph = network::read_network(models / file).graph;
  const std::vector<Module> blocks = find_modules(graph, ModuleKind::block);
  expect_in_order_once(graph, blocks);
  return sizes(blocks);
}

std::vector<std::size_t> counts(std::size_t first, std::size_t times, std::size_t each,
                                const std::vector<std::size_t>& last) {
  std::vector<std::size_t> result{first};
  result.insert(result.end(), times, each);
  result.insert(result.end(), last.begin(), last.end());
  return result;
}

TEST(RealBlocks, OfResNetsAreOnePlusNineOrMoreResidualBlocksPlusOne) {
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "no " << models;
  for (const std::string form : {"bn", "folded"}) {
    EXPECT_EQ(real_block_sizes("cifar10/resnet20_cifar10_" + form + ".onnx"), counts(1, 9, 2, {1}));
    EXPECT_EQ(real_block_sizes("cifar10/resnet44_cifar10_" + form + ".onnx"), counts(1, 21, 2, {1}));
  }
}

TEST(RealBlocks, OfMobileNetsAreTheirPairsAndInvertedResiduals) {
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "no " << models;
  for (const std::string file : {"imagenet/mbv1_0.25_224_float_bn.onnx", "imagenet/mbv1_0.25_224_float_folded.onnx",
                                 "imagenet/mbv1_0.25_128_qat_deq.onnx", "tiny/mlperf_vww_mbv1_0.25_96_float.onnx"})
    EXPECT_EQ(real_block_sizes(file), counts(1, 13, 2, {1})) << file;
  std::vector<std::size_t> v2 = counts(1, 1, 2, {});
  v2.insert(v2.end(), 16, 3);
  v2.insert(v2.end(), 2, 1);
  EXPECT_EQ(real_block_sizes("imagenet/mbv2_1.0_tv_float_folded.onnx"), v2);
}

TEST(RealBlocks, OfSqueezeNetAreItsFireModules) {
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "no " << models;
  EXPECT_EQ(real_block_sizes("imagenet/squeezenet1.1_float.onnx"), counts(1, 8, 3, {1}));
}

TEST(RealBlocks, OfResNet20MakeTheCapturedValuesBitForBit) {
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "no " << models;
  const Network network = network::read_network(models / "cifar10/resnet20_cifar10_folded.onnx");
  expect_faithful(network, find_modules(network.graph, ModuleKind::block));
}

}  // namespace
}  // namespace quantbound::reconstruct
