// The synthetic families: their shapes against the papers', their laws, and that any layer can be made alone.
#include "quantbound/network/families.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include <Eigen/Dense>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/forward.hpp"

namespace quantbound::network {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Index count_parameters(const Graph& graph) {
  Index count = 0;
  for (const NodeId v : graph.weight_layers()) {
    const Operator& op = graph.nodes[static_cast<std::size_t>(v)].op;
    const auto* convolution = std::get_if<Convolution>(&op);
    count += convolution != nullptr ? convolution->geometry.weight_count()
                                    : std::get<Dense>(op).inputs * std::get<Dense>(op).outputs;
  }
  return count;
}

TEST(Families, MlpHasTheDepthAndWidthAskedFor) {
  const Network network = make_network({.depth = 5, .width = 16, .inputs = 7, .outputs = 3});
  EXPECT_EQ(network.name, "mlp-depth5-width16-he_normal-0");
  EXPECT_EQ(network.layers.size(), 5U);
  EXPECT_EQ(parameter_count(network), (7 + 1) * 16 + 3 * (16 + 1) * 16 + (16 + 1) * 3);
  EXPECT_EQ(network.graph.input_shape(), Shape{7});
  EXPECT_EQ(network.graph.output_shape(), Shape{3});
  EXPECT_TRUE(network.graph.is_chain());
  EXPECT_EQ(make_network({.depth = 1, .inputs = 7, .outputs = 3}).layers.size(), 1U);
}

TEST(Families, AThousandLayersAreMade) {
  const FamilyPoint point{.depth = 1000, .width = 8, .inputs = 4, .outputs = 2};
  const Network network = make_network(point);
  EXPECT_EQ(network.layers.size(), 1000U);
  EXPECT_EQ(network.graph.measured_output(998), 1998);
}

TEST(Families, CnnDoublesItsChannelsTwice) {
  const Graph graph = make_graph({.family = Family::cnn, .depth = 7, .width = 8, .outputs = 10});
  std::vector<Shape> shapes;
  for (const NodeId v : graph.weight_layers()) shapes.push_back(graph.nodes[static_cast<std::size_t>(v)].shape);
  EXPECT_THAT(shapes, ElementsAre(Shape{8, 32, 32}, Shape{8, 32, 32}, Shape{16, 16, 16}, Shape{16, 16, 16},
                                  Shape{32, 8, 8}, Shape{32, 8, 8}, Shape{10}));
  for (Index depth = 2; depth < 12; ++depth)
    EXPECT_EQ(std::ssize(make_graph({.family = Family::cnn, .depth = depth}).weight_layers()), depth);
}

TEST(Families, ResNet20IsThatOfThePaper) {
  const FamilyPoint point{.family = Family::resnet, .depth = 20, .width = 16};
  const Graph graph = make_graph(point);
  EXPECT_EQ(graph.weight_layers().size(), 20U);
  EXPECT_EQ(count_parameters(graph), 268336) << "0.27M (He et al. 2016, table 6): weights alone";
  const auto additions = std::count_if(graph.nodes.begin(), graph.nodes.end(),
                                       [](const Node& n) { return std::holds_alternative<Add>(n.op); });
  EXPECT_EQ(additions, 9);
  for (const Index depth : {8, 14, 32, 44, 56, 110})
    EXPECT_EQ(std::ssize(make_graph({.family = Family::resnet, .depth = depth}).weight_layers()), depth);
}

TEST(Families, MobileNetV2AtWidth32AndDepth53IsThatOfThePaper) {
  const Graph graph =
      make_graph({.family = Family::mobilenet_v2, .depth = 53, .width = 32, .outputs = 1000, .resolution = 224});
  EXPECT_EQ(graph.weight_layers().size(), 53U);
  EXPECT_EQ(count_parameters(graph), 3469760) << "torchvision's 3504872 less 34112 of BatchNorm and 1000 biases";
  Index multiply_adds = 0;
  for (const NodeId v : graph.weight_layers()) {
    const Operator& op = graph.nodes[static_cast<std::size_t>(v)].op;
    const auto* convolution = std::get_if<Convolution>(&op);
    multiply_adds += convolution != nullptr ? convolution->geometry.multiply_adds() : 1280 * 1000;
  }
  EXPECT_NEAR(static_cast<double>(multiply_adds), 300e6, 2e6) << "300M (Sandler et al. 2018, table 4)";
}

TEST(Families, MobileNetV2ScalesInWidthAndDepth) {
  for (const Index depth : {5, 8, 23, 26, 50, 56, 101}) {
    for (const Index width : {8, 16, 48}) {
      const Graph graph = make_graph({.family = Family::mobilenet_v2, .depth = depth, .width = width});
      EXPECT_EQ(std::ssize(graph.weight_layers()), depth);
      EXPECT_NO_THROW(validate(graph, ""));
    }
  }
}

TEST(Families, DepthsThatCannotBeBuiltNameTheNearest) {
  const auto message = [](Family family, Index depth) -> std::string {
    try {
      make_graph({.family = family, .depth = depth});
    } catch (const core::InputError& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(message(Family::resnet, 18),
              HasSubstr("depth 18 cannot be built (depths are 6n + 2); the nearest is 14 or 20"));
  EXPECT_THAT(message(Family::resnet, 2), HasSubstr("the nearest is 8"));
  EXPECT_THAT(message(Family::mobilenet_v2, 52), HasSubstr("the nearest is 50 or 53"));
  EXPECT_THAT(message(Family::cnn, 1), HasSubstr("the nearest is 2"));
  EXPECT_THAT(message(Family::mlp, 0), HasSubstr("the nearest is 1"));
  EXPECT_THAT(message(Family::mlp, INT64_MAX), HasSubstr("beyond"));
}

TEST(Families, SizesOutOfRangeAreErrors) {
  EXPECT_THROW(make_graph({.width = 0}), core::InputError);
  EXPECT_THROW(make_graph({.draw = -1}), core::InputError);
  EXPECT_THROW(make_graph({.inputs = 0}), core::InputError);
  EXPECT_THROW(make_graph({.outputs = -3}), core::InputError);
  EXPECT_THROW(make_graph({.family = Family::cnn, .resolution = 0}), core::InputError);
  EXPECT_THROW(make_graph({.width = 1 << 20}), core::InputError) << "2^40 weights in a layer";
}

TEST(Families, NamesParseBack) {
  for (const Family family : {Family::mlp, Family::cnn, Family::resnet, Family::mobilenet_v2})
    EXPECT_EQ(parse_family(to_string(family)), family);
  for (const WeightLaw law :
       {WeightLaw::he_normal, WeightLaw::he_uniform, WeightLaw::xavier_normal, WeightLaw::orthogonal})
    EXPECT_EQ(parse_weight_law(to_string(law)), law);
  EXPECT_FALSE(parse_family("MLP").has_value());
  EXPECT_FALSE(parse_weight_law("he").has_value());
}

// ---- weights -------------------------------------------------------------------------------------------------------

TEST(Weights, AnyLayerCanBeMadeAloneAndFollowsFromItsPoint) {
  const FamilyPoint point{.family = Family::resnet, .depth = 8, .width = 4, .law = WeightLaw::orthogonal};
  const Network network = make_network(point);
  for (const Index layer : {7, 0, 3}) {
    const LayerParameters alone = make_layer(point, make_graph(point), layer);
    EXPECT_EQ(alone.weights, network.layers[static_cast<std::size_t>(layer)].weights);
    EXPECT_EQ(alone.bias, network.layers[static_cast<std::size_t>(layer)].bias);
    EXPECT_TRUE(std::all_of(alone.bias.begin(), alone.bias.end(), [](double b) { return b == 0.0; }));
  }
}

TEST(Weights, DifferInEveryPartOfTheirKey) {
  const FamilyPoint point{.depth = 3, .width = 8, .inputs = 8, .outputs = 8};
  const auto first_weight = [](const FamilyPoint& p, Index layer) {
    return make_layer(p, make_graph(p), layer).weights[0];
  };
  std::set<double> seen{first_weight(point, 0), first_weight(point, 1), first_weight(point, 2)};
  FamilyPoint other = point;
  other.seed = 2;
  seen.insert(first_weight(other, 0));
  other = point;
  other.draw = 1;
  seen.insert(first_weight(other, 0));
  other = point;
  other.depth = 4;
  seen.insert(first_weight(other, 0));
  other = point;
  other.outputs = 9;
  seen.insert(first_weight(other, 0));
  EXPECT_EQ(seen.size(), 7U);
}

struct Moments {
  double mean, variance, largest;
};

Moments moments(const std::vector<double>& values) {
  Moments result{0, 0, 0};
  for (const double v : values) {
    result.mean += v / static_cast<double>(values.size());
    result.variance += v * v / static_cast<double>(values.size());
    result.largest = std::max(result.largest, std::abs(v));
  }
  return result;
}

TEST(Weights, HaveTheVarianceOfTheirLaw) {
  // A dense layer 300 -> 200 and a convolution 3x3 from 64 to 128 channels.
  const FamilyPoint dense{.depth = 2, .width = 200, .inputs = 300};
  FamilyPoint image{.family = Family::cnn, .depth = 3, .width = 64, .resolution = 8};
  const auto check = [](FamilyPoint point, Index layer, WeightLaw law, double variance, double limit) {
    point.law = law;
    const Moments m = moments(make_layer(point, make_graph(point), layer).weights);
    EXPECT_NEAR(m.variance, variance, 0.03 * variance) << to_string(law);
    EXPECT_NEAR(m.mean, 0.0, 5 * std::sqrt(variance / 60000)) << to_string(law);
    if (limit > 0) {
      EXPECT_LE(m.largest, limit);
      EXPECT_GE(m.largest, 0.999 * limit);
    }
  };
  check(dense, 0, WeightLaw::he_normal, 2.0 / 300, 0);
  check(dense, 0, WeightLaw::he_uniform, 2.0 / 300, std::sqrt(6.0 / 300));
  check(dense, 0, WeightLaw::xavier_normal, 2.0 / 500, 0);
  check(image, 1, WeightLaw::he_normal, 2.0 / (9 * 64), 0);
  check(image, 1, WeightLaw::xavier_normal, 2.0 / (9 * 64 + 9 * 128), 0);
}

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

double distance_from_identity(const Matrix& gram) {
  return (gram - Matrix::Identity(gram.rows(), gram.cols())).cwiseAbs().maxCoeff();
}

TEST(Weights, OrthogonalLayersHaveOrthonormalRowsOrColumns) {
  const FamilyPoint point{.depth = 3, .width = 20, .law = WeightLaw::orthogonal, .inputs = 30, .outputs = 5};
  const Graph graph = make_graph(point);
  const std::vector<std::pair<Index, Index>> sizes{{20, 30}, {20, 20}, {5, 20}};
  for (Index l = 0; l < 3; ++l) {
    const LayerParameters layer = make_layer(point, graph, l);
    const auto [rows, columns] = sizes[static_cast<std::size_t>(l)];
    const Eigen::Map<const Matrix> w(layer.weights.data(), rows, columns);
    EXPECT_LE(distance_from_identity(w * w.transpose()), 1e-13);
  }
  FamilyPoint tall = point;
  tall.inputs = 6;
  const LayerParameters layer = make_layer(tall, make_graph(tall), 0);
  const Eigen::Map<const Matrix> w(layer.weights.data(), 20, 6);
  EXPECT_LE(distance_from_identity(w.transpose() * w), 1e-13);
}

TEST(Weights, OrthogonalDepthwiseLayersHaveKernelsOfNormOne) {
  const FamilyPoint point{.family = Family::mobilenet_v2, .depth = 5, .width = 8, .law = WeightLaw::orthogonal};
  const LayerParameters layer = make_layer(point, make_graph(point), 1);
  ASSERT_EQ(layer.weights.size(), 8U * 9U);
  for (std::size_t c = 0; c < 8; ++c) {
    double squares = 0;
    for (std::size_t i = 0; i < 9; ++i) squares += layer.weights[c * 9 + i] * layer.weights[c * 9 + i];
    EXPECT_NEAR(squares, 1.0, 1e-13);
  }
}

TEST(Families, EveryFamilyCanBeEvaluated) {
  for (const Family family : {Family::mlp, Family::cnn, Family::resnet, Family::mobilenet_v2}) {
    const FamilyPoint point{.family = family, .depth = 8, .width = 8, .inputs = 12, .resolution = 16};
    const Network network = make_network(point);
    const std::vector<double> x(static_cast<std::size_t>(tensor::elements(network.graph.input_shape())), 0.5);
    const std::vector<double> y = forward(network.graph, network.layers, x, 1);
    EXPECT_EQ(y.size(), 10U);
    EXPECT_TRUE(std::all_of(y.begin(), y.end(), [](double v) { return std::isfinite(v) && v != 0.0; }));
  }
}

}  // namespace
}  // namespace quantbound::network
