// Synthetic families. Only the shape of a layer and its key decide its weights, so that any rank makes any layer alone.
// There is no BatchNormalization and biases are zero: weights are exactly as drawn, in residual branches too, where
// He's law lets the scale grow with depth.
#include "quantbound/network/families.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <Eigen/Dense>
#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/core/random.hpp"

namespace quantbound::network {

namespace {

constexpr Index max_weights = Index{1} << 30;  // of one layer

[[noreturn]] void fail(const FamilyPoint& point, const std::string& message) {
  throw core::InputError(message, fmt::format("family {}", to_string(point.family)));
}

/// Grows a graph node after node; shapes come from infer_shape.
class Builder {
 public:
  Builder(const FamilyPoint& point, Shape input) : point_(point) {
    graph_.nodes.push_back({"input", Input{}, {}, std::move(input)});
  }

  NodeId add(std::string node_name, Operator op, std::vector<NodeId> inputs) {
    std::vector<Shape> shapes;
    shapes.reserve(inputs.size());
    for (const NodeId input : inputs) shapes.push_back(shape(input));
    Shape out = infer_shape(op, shapes, node_name, name(point_));
    graph_.nodes.push_back({std::move(node_name), std::move(op), std::move(inputs), std::move(out)});
    return std::ssize(graph_.nodes) - 1;
  }

  struct Kernel {
    Index size = 3, stride = 1, groups = 1;
  };
  NodeId convolution(const std::string& node_name, NodeId input, Index channels, Kernel kernel) {
    const Shape in = shape(input);
    const Index pad = kernel.size / 2;
    tensor::Convolution geometry;
    geometry.channels_in = in[0];
    geometry.height = in[1];
    geometry.width = in[2];
    geometry.channels_out = channels;
    geometry.groups = kernel.groups;
    geometry.window = {.kernel_height = kernel.size,
                       .kernel_width = kernel.size,
                       .stride_height = kernel.stride,
                       .stride_width = kernel.stride,
                       .pad_top = pad,
                       .pad_left = pad,
                       .pad_bottom = pad,
                       .pad_right = pad};
    if (geometry.channels_out > max_weights / geometry.fan_in()) fail(point_, "a layer has more than 2^30 weights");
    return add(node_name, Convolution{layers_++, geometry}, {input});
  }

  NodeId dense(const std::string& node_name, NodeId input, Index outputs) {
    const Index inputs = shape(input).front();
    if (outputs > max_weights / inputs) fail(point_, "a layer has more than 2^30 weights");
    return add(node_name, Dense{layers_++, inputs, outputs}, {input});
  }

  NodeId relu(const std::string& node_name, NodeId input) { return add(node_name, Activation{}, {input}); }
  NodeId relu6(const std::string& node_name, NodeId input) {
    return add(node_name, Activation{ActivationKind::clip, 0.0, 6.0}, {input});
  }

  /// Global average, flattened, and the last matrix.
  NodeId classifier(NodeId input) {
    const NodeId mean = add("pool", GlobalAveragePool{}, {input});
    const NodeId flat = add("flatten", Reshape{}, {mean});
    return dense("fc", flat, point_.outputs);
  }

  const Shape& shape(NodeId node) const { return graph_.nodes[static_cast<std::size_t>(node)].shape; }

  Graph finish(NodeId output) {
    graph_.output = output;
    return std::move(graph_);
  }

 private:
  const FamilyPoint& point_;
  Graph graph_;
  Index layers_ = 0;
};

// ---- the four families ---------------------------------------------------------------------------------------------

/// `depth` matrices: inputs -> width -> ... -> width -> outputs.
Graph make_mlp(const FamilyPoint& point) {
  Builder build(point, {point.inputs});
  NodeId last = 0;
  for (Index l = 0; l + 1 < point.depth; ++l) {
    last = build.relu(fmt::format("relu{}", l), build.dense(fmt::format("fc{}", l), last, point.width));
  }
  return build.finish(build.dense(fmt::format("fc{}", point.depth - 1), last, point.outputs));
}

/// depth - 1 convolutions 3x3 in three stages of equal length, each stage after the first at half the resolution and
/// with twice the channels; then the classifier.
Graph make_cnn(const FamilyPoint& point) {
  Builder build(point, {3, point.resolution, point.resolution});
  const Index convolutions = point.depth - 1;
  NodeId last = 0;
  Index channels = point.width, stage = 0;
  for (Index l = 0; l < convolutions; ++l) {
    const bool starts_stage = 3 * l / convolutions > stage;
    if (starts_stage) {
      ++stage;
      channels *= 2;
    }
    last = build.convolution(fmt::format("conv{}", l), last, channels, {.stride = starts_stage ? 2 : 1});
    last = build.relu(fmt::format("relu{}", l), last);
  }
  return build.finish(build.classifier(last));
}

/// The shortcut of option A (He et al. 2016): every second pixel, new channels zero, half of them on either side.
NodeId shortcut(Builder& build, const std::string& block, NodeId input, Index channels, Index stride) {
  const Shape in = build.shape(input);
  if (stride == 1 && in[0] == channels) return input;
  const Slice slice{
      {0, 0, 0}, {1, stride, stride}, {in[0], (in[1] + stride - 1) / stride, (in[2] + stride - 1) / stride}};
  const NodeId sliced = build.add(block + ".slice", slice, {input});
  const Index added = channels - in[0];
  return build.add(block + ".pad", Pad{{added / 2, 0, 0}, {added - added / 2, 0, 0}, 0.0}, {sliced});
}

/// CIFAR ResNets (He et al. 2016, section 4.2): 6n + 2 layers.
Graph make_resnet(const FamilyPoint& point) {
  Builder build(point, {3, point.resolution, point.resolution});
  NodeId last = build.relu("relu", build.convolution("conv", 0, point.width, {}));
  const Index blocks = (point.depth - 2) / 6;
  for (Index b = 0; b < 3 * blocks; ++b) {
    const Index stage = b / blocks, channels = point.width << stage;
    const Index stride = stage > 0 && b % blocks == 0 ? 2 : 1;
    const std::string block = fmt::format("stage{}.block{}", stage, b % blocks);
    NodeId branch = build.convolution(block + ".conv0", last, channels, {.stride = stride});
    branch = build.convolution(block + ".conv1", build.relu(block + ".relu0", branch), channels, {});
    const NodeId sum = build.add(block + ".add", Add{}, {branch, shortcut(build, block, last, channels, stride)});
    last = build.relu(block + ".relu1", sum);
  }
  return build.finish(build.classifier(last));
}

/// A row of table 2 of MobileNetV2 (Sandler et al. 2018).
struct MobileStage {
  Index expansion, channels, repeats, stride;
};
constexpr std::array<MobileStage, 7> mobile_stages{
    {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}}};
constexpr Index mobile_stem = 32, mobile_last = 1280, mobile_blocks = 17;

/// Blocks per stage for `blocks` in all: the table's 17 scaled by largest remainder, one at least; fewer than seven
/// blocks take one stage each, from the first.
std::array<Index, 7> blocks_per_stage(Index blocks) {
  std::array<Index, 7> count{};
  for (std::size_t s = 0; s < count.size() && static_cast<Index>(s) < blocks; ++s) count[s] = 1;
  const Index extra = std::max(blocks - 7, Index{0}), table_extra = mobile_blocks - 7;
  std::array<Index, 7> remainder{};
  Index given = 0;
  for (std::size_t s = 0; s < count.size(); ++s) {
    const Index share = extra * (mobile_stages[s].repeats - 1);
    count[s] += share / table_extra;
    given += share / table_extra;
    remainder[s] = share % table_extra;
  }
  for (; given < extra; ++given) {
    const auto largest = std::max_element(remainder.begin(), remainder.end());
    ++count[static_cast<std::size_t>(largest - remainder.begin())];
    *largest = -1;
  }
  return count;
}

/// `channels` of the table at this width, a multiple of 8 and at least 8, never below 90 % of the exact number.
Index scaled_channels(Index channels, Index width) {
  const Index exact_times_stem = channels * width;
  Index scaled = std::max(Index{8}, (exact_times_stem + 4 * mobile_stem) / (8 * mobile_stem) * 8);
  if (10 * scaled * mobile_stem < 9 * exact_times_stem) scaled += 8;
  return scaled;
}

NodeId inverted_residual(Builder& build, const std::string& block, NodeId input, const MobileStage& stage,
                         Index channels) {
  const Index in = build.shape(input)[0], hidden = in * stage.expansion;
  NodeId last = input;
  if (stage.expansion != 1) {
    last = build.relu6(block + ".relu0", build.convolution(block + ".expand", last, hidden, {.size = 1}));
  }
  last = build.convolution(block + ".depthwise", last, hidden, {.stride = stage.stride, .groups = hidden});
  last = build.convolution(block + ".project", build.relu6(block + ".relu1", last), channels, {.size = 1});
  const bool has_skip = stage.stride == 1 && in == channels;
  return has_skip ? build.add(block + ".add", Add{}, {input, last}) : last;
}

/// MobileNetV2: `width` channels in the stem (32 in the paper), 3 blocks + 2 layers (17 blocks in the paper).
Graph make_mobilenet_v2(const FamilyPoint& point) {
  Builder build(point, {3, point.resolution, point.resolution});
  NodeId last = build.relu6("stem.relu", build.convolution("stem", 0, point.width, {.stride = 2}));
  const auto blocks = blocks_per_stage((point.depth - 2) / 3);
  for (std::size_t s = 0; s < blocks.size(); ++s) {
    MobileStage stage = mobile_stages[s];
    for (Index b = 0; b < blocks[s]; ++b) {
      const Index channels = scaled_channels(stage.channels, point.width);
      last = inverted_residual(build, fmt::format("stage{}.block{}", s, b), last, stage, channels);
      stage.stride = 1;
    }
  }
  last = build.convolution("last", last, scaled_channels(mobile_last, point.width), {.size = 1});
  return build.finish(build.classifier(build.relu6("last.relu", last)));
}

// ---- what can be built ---------------------------------------------------------------------------------------------

struct DepthRule {
  Index first, step;
  std::string_view formula;
};

DepthRule depth_rule(Family family) {
  switch (family) {
    case Family::mlp:
      return {1, 1, "at least 1"};
    case Family::cnn:
      return {2, 1, "at least 2"};
    case Family::resnet:
      return {8, 6, "6n + 2"};
    case Family::mobilenet_v2:
      return {5, 3, "3n + 2"};
  }
  return {1, 1, ""};
}

void check_depth(const FamilyPoint& point) {
  constexpr Index deepest = 1000000;
  const DepthRule rule = depth_rule(point.family);
  if (point.depth > deepest) fail(point, fmt::format("depth {} is beyond {}", point.depth, deepest));
  if (point.depth >= rule.first && (point.depth - rule.first) % rule.step == 0) return;
  const Index below = point.depth < rule.first ? rule.first : point.depth - (point.depth - rule.first) % rule.step;
  const std::string nearest =
      point.depth < rule.first ? std::to_string(below) : fmt::format("{} or {}", below, below + rule.step);
  fail(point,
       fmt::format("depth {} cannot be built (depths are {}); the nearest is {}", point.depth, rule.formula, nearest));
}

void check(const FamilyPoint& point) {
  constexpr Index largest = Index{1} << 24;
  check_depth(point);
  const std::array<std::pair<std::string_view, Index>, 4> sizes{
      {{"width", point.width}, {"inputs", point.inputs}, {"outputs", point.outputs}, {"resolution", point.resolution}}};
  for (const auto& [what, size] : sizes) {
    if (size < 1 || size > largest) fail(point, fmt::format("{} {} is not within 1 and {}", what, size, largest));
  }
  if (point.draw < 0) fail(point, fmt::format("draw {} is negative", point.draw));
}

// ---- weights -------------------------------------------------------------------------------------------------------

/// A weight layer as a matrix per group: rows outputs of one group, columns the inputs of one output.
struct LayerShape {
  Index groups, rows, columns, area;

  double fan_in() const { return static_cast<double>(columns); }
  double fan_out() const { return static_cast<double>(rows * area); }
  Index weights() const { return groups * rows * columns; }
};

LayerShape layer_shape(const Graph& graph, Index layer) {
  const NodeId node = graph.weight_layers()[static_cast<std::size_t>(layer)];
  const Operator& op = graph.nodes[static_cast<std::size_t>(node)].op;
  if (const auto* dense = std::get_if<Dense>(&op)) return {1, dense->outputs, dense->inputs, 1};
  const tensor::Convolution& geometry = std::get<Convolution>(op).geometry;
  return {geometry.groups, geometry.channels_out / geometry.groups, geometry.fan_in(),
          geometry.window.kernel_height * geometry.window.kernel_width};
}

core::RandomStream stream_of(const FamilyPoint& point, Index layer) {
  FamilyPoint first = point;
  first.draw = 0;
  const std::string key = fmt::format("{}/{}/{}/{}", name(first), point.inputs, point.outputs, point.resolution);
  return {point.seed, "weights", core::hash64(key), static_cast<std::uint64_t>(point.draw),
          static_cast<std::uint64_t>(layer)};
}

std::vector<double> normal(const core::RandomStream& random, Index count, double deviation) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = deviation * random.normal(i);
  return values;
}

std::vector<double> uniform(const core::RandomStream& random, Index count, double limit) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = limit * (2.0 * random.uniform(i) - 1.0);
  return values;
}

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A matrix with orthonormal rows, or columns where there are fewer of them: Q of a normal matrix, with the signs of
/// R's diagonal moved into Q, which makes it uniform (Mezzadri 2007).
RowMatrix orthogonal(const RowMatrix& gaussian) {
  const bool is_wide = gaussian.cols() > gaussian.rows();
  const Eigen::MatrixXd tall = is_wide ? Eigen::MatrixXd(gaussian.transpose()) : Eigen::MatrixXd(gaussian);
  const Eigen::HouseholderQR<Eigen::MatrixXd> qr(tall);
  Eigen::MatrixXd q = qr.householderQ() * Eigen::MatrixXd::Identity(tall.rows(), tall.cols());
  for (Index column = 0; column < q.cols(); ++column) {
    if (qr.matrixQR()(column, column) < 0.0) q.col(column) *= -1.0;
  }
  return is_wide ? RowMatrix(q.transpose()) : RowMatrix(q);
}

std::vector<double> orthogonal_weights(const core::RandomStream& random, const LayerShape& shape) {
  std::vector<double> values = normal(random, shape.weights(), 1.0);
  for (Index g = 0; g < shape.groups; ++g) {
    Eigen::Map<RowMatrix> group(values.data() + g * shape.rows * shape.columns, shape.rows, shape.columns);
    group = orthogonal(group);
  }
  return values;
}

}  // namespace

std::string_view to_string(Family family) {
  switch (family) {
    case Family::mlp:
      return "mlp";
    case Family::cnn:
      return "cnn";
    case Family::resnet:
      return "resnet";
    case Family::mobilenet_v2:
      return "mobilenet_v2";
  }
  return "?";
}

std::string_view to_string(WeightLaw law) {
  switch (law) {
    case WeightLaw::he_normal:
      return "he_normal";
    case WeightLaw::he_uniform:
      return "he_uniform";
    case WeightLaw::xavier_normal:
      return "xavier_normal";
    case WeightLaw::orthogonal:
      return "orthogonal";
  }
  return "?";
}

std::optional<Family> parse_family(std::string_view text) {
  for (const Family family : {Family::mlp, Family::cnn, Family::resnet, Family::mobilenet_v2}) {
    if (to_string(family) == text) return family;
  }
  return std::nullopt;
}

std::optional<WeightLaw> parse_weight_law(std::string_view text) {
  for (const WeightLaw law :
       {WeightLaw::he_normal, WeightLaw::he_uniform, WeightLaw::xavier_normal, WeightLaw::orthogonal}) {
    if (to_string(law) == text) return law;
  }
  return std::nullopt;
}

std::string name(const FamilyPoint& point) {
  return fmt::format("{}-depth{}-width{}-{}-{}", to_string(point.family), point.depth, point.width,
                     to_string(point.law), point.draw);
}

Graph make_graph(const FamilyPoint& point) {
  check(point);
  switch (point.family) {
    case Family::mlp:
      return make_mlp(point);
    case Family::cnn:
      return make_cnn(point);
    case Family::resnet:
      return make_resnet(point);
    case Family::mobilenet_v2:
      return make_mobilenet_v2(point);
  }
  fail(point, "unknown family");
}

LayerParameters make_layer(const FamilyPoint& point, const Graph& graph, Index layer) {
  const LayerShape shape = layer_shape(graph, layer);
  const core::RandomStream random = stream_of(point, layer);
  LayerParameters parameters;
  parameters.bias.assign(static_cast<std::size_t>(shape.groups * shape.rows), 0.0);
  switch (point.law) {
    case WeightLaw::he_normal:
      parameters.weights = normal(random, shape.weights(), std::sqrt(2.0 / shape.fan_in()));
      break;
    case WeightLaw::he_uniform:
      parameters.weights = uniform(random, shape.weights(), std::sqrt(6.0 / shape.fan_in()));
      break;
    case WeightLaw::xavier_normal:
      parameters.weights = normal(random, shape.weights(), std::sqrt(2.0 / (shape.fan_in() + shape.fan_out())));
      break;
    case WeightLaw::orthogonal:
      parameters.weights = orthogonal_weights(random, shape);
      break;
  }
  return parameters;
}

Network make_network(const FamilyPoint& point) {
  Network network{name(point), make_graph(point), {}, {}, {}};
  const Index layers = std::ssize(network.graph.weight_layers());
  for (Index l = 0; l < layers; ++l) network.layers.push_back(make_layer(point, network.graph, l));
  validate(network.graph, network.name);
  validate(network, network.name);
  return network;
}

}  // namespace quantbound::network
