// Which weight layers follow each other with nothing between that minds a positive factor per channel. A value is
// followed from the layer that makes it to the layer that reads it, with the row of the first layer that each element
// comes from beside it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/quantize/equalization.hpp"
#include "quantbound/tensor/rearrange.hpp"

namespace quantbound::quantize {

namespace {

using network::Activation;
using network::ActivationKind;
using network::Graph;
using network::Node;
using network::NodeId;
using network::Shape;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::string describe(const Node& node) { return fmt::format("{} '{}'", network::operator_name(node.op), node.name); }

constexpr double zero_row = -1.0;

/// Of every element of a value the row it comes from; zero_row where it is constantly zero. Doubles, because that is
/// what tensor::rearrange moves.
using Rows = std::vector<double>;

/// The common row of some elements; nothing where there are two.
std::optional<double> common_row(std::span<const double> rows) {
  double common = zero_row;
  for (const double row : rows) {
    if (row == zero_row) continue;
    if (common != zero_row && common != row) return std::nullopt;
    common = row;
  }
  return common;
}

/// The common row of each of `channels` equal parts of a value; nothing where a part has two.
std::optional<std::vector<double>> rows_of_channels(const Rows& rows, Index channels) {
  const std::size_t pixels = rows.size() / at(channels);
  std::vector<double> result;
  result.reserve(at(channels));
  for (std::size_t first = 0; first < rows.size(); first += pixels) {
    const auto common = common_row(std::span(rows).subspan(first, pixels));
    if (!common) return std::nullopt;
    result.push_back(*common);
  }
  return result;
}

bool positively_homogeneous(const Activation& activation) {
  if (activation.kind == ActivationKind::relu || activation.kind == ActivationKind::leaky_relu) return true;
  const auto scale_free = [](double bound) {
    return bound == 0.0 || std::abs(bound) > std::numeric_limits<double>::max();
  };
  return activation.kind == ActivationKind::clip && scale_free(activation.alpha) && scale_free(activation.beta);
}

/// Carries rows through one operator; says why where that cannot be done.
class Carrier {
 public:
  Carrier(const Shape& in, const Shape& out) : in_(in), out_(out) {}

  std::string operator()(const Activation& op) {
    return positively_homogeneous(op) ? "" : "is not positively homogeneous";
  }
  std::string operator()(const network::MaxPool&) { return pool(); }
  std::string operator()(const network::AveragePool&) { return pool(); }
  std::string operator()(const network::GlobalAveragePool&) { return pool(); }
  std::string operator()(const network::Reshape&) { return {}; }
  std::string operator()(const network::Pad& op) {
    return op.value == 0.0 ? move(tensor::placement(in_, out_, op.before)) : "adds a constant";
  }
  std::string operator()(const network::Slice& op) { return move(tensor::slice(in_, op.start, op.step, op.count)); }
  std::string operator()(const network::Permute& op) { return move(tensor::permutation(in_, op.axes)); }
  std::string operator()(const network::ScaleShift& op) {
    return std::ranges::all_of(op.shift, [](double shift) { return shift == 0.0; }) ? "" : "adds a constant";
  }
  template <class Other>
  std::string operator()(const Other&) {
    return "joins it with another value";  // Add, Product, Concat
  }

  Rows rows;

 private:
  std::string move(const tensor::Rearrangement& rearrangement) {
    Rows moved(at(tensor::elements(out_)), zero_row);
    tensor::rearrange(rearrangement, rows.data(), moved.data());
    rows = std::move(moved);
    return {};
  }

  std::string pool() {
    const auto channels = rows_of_channels(rows, in_.front());
    if (!channels) return "pools several rows together";
    const Index pixels = tensor::elements(out_) / out_.front();
    rows.clear();
    for (const double row : *channels) rows.insert(rows.end(), at(pixels), row);
    return {};
  }

  const Shape& in_;
  const Shape& out_;
};

Rows rows_of_layer(const Node& node) {
  const Index rows = node.shape.front(), pixels = tensor::elements(node.shape) / rows;
  Rows result;
  result.reserve(at(rows * pixels));
  for (Index row = 0; row < rows; ++row) result.insert(result.end(), at(pixels), static_cast<double>(row));
  return result;
}

/// Follows the values of one weight layer to the next.
struct Walk {
  const Graph& graph;
  const std::vector<std::vector<NodeId>>& consumers;
  Index layer;
  std::optional<Link> link;
  std::string reason;

  void go(NodeId from) {
    Rows rows = rows_of_layer(graph.nodes[at(from)]);
    for (NodeId v = from; !link && reason.empty();) {
      const Node& node = graph.nodes[at(v)];
      const auto& readers = consumers[at(v)];
      if (v == graph.output) {
        reason = fmt::format("{} is the output of the network", describe(node));
      } else if (readers.size() != 1) {
        reason = fmt::format("{} is read {} times", describe(node), readers.size());
      } else {
        v = readers.front();
        step(graph.nodes[at(v)], node.shape, rows);
      }
    }
  }

 private:
  void step(const Node& node, const Shape& in, Rows& rows) {
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) {
      const auto channels = rows_of_channels(rows, convolution->geometry.channels_in);
      channels ? connect(convolution->layer, *channels)
               : refuse(fmt::format("{} reads several rows as one channel", describe(node)));
    } else if (const auto* dense = std::get_if<network::Dense>(&node.op)) {
      connect(dense->layer, rows);
    } else {
      Carrier carrier(in, node.shape);
      carrier.rows = std::move(rows);
      const std::string obstacle = std::visit(carrier, node.op);
      rows = std::move(carrier.rows);
      if (!obstacle.empty()) refuse(fmt::format("{} {}", describe(node), obstacle));
    }
  }

  void connect(Index second, std::span<const double> rows) {
    link = Link{.first = layer, .second = second, .rows = {}};
    link->rows.reserve(rows.size());
    for (const double row : rows) link->rows.push_back(static_cast<Index>(row));
  }
  void refuse(std::string why) { reason = std::move(why); }
};

}  // namespace

Links find_links(const Graph& graph) {
  const auto consumers = graph.consumers();
  Links result;
  for (const NodeId node : graph.weight_layers()) {
    const Index layer = std::ssize(result.links) + std::ssize(result.unlinked);
    Walk walk{graph, consumers, layer, std::nullopt, {}};
    walk.go(node);
    if (walk.link) {
      result.links.push_back(std::move(*walk.link));
    } else {
      result.unlinked.push_back({layer, std::move(walk.reason)});
    }
  }
  return result;
}

}  // namespace quantbound::quantize
