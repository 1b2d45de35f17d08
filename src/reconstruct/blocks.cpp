#include "blocks.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/segments.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

bool is_weight_layer(const network::Node& node) {
  return std::holds_alternative<network::Convolution>(node.op) || std::holds_alternative<network::Dense>(node.op);
}

bool is_elementwise(const network::Node& node) {
  return std::holds_alternative<network::Activation>(node.op) || std::holds_alternative<network::ScaleShift>(node.op) ||
         std::holds_alternative<network::Add>(node.op) || std::holds_alternative<network::Product>(node.op);
}

/// What a segment is to the patterns.
enum class Role {
  other,
  pointwise,  ///< a 1x1 convolution
  depthwise,
  gate,     ///< ends in a product, with weights in a branch: squeeze-excite
  branches  ///< branches side by side, each with weights in it
};

/// A piece between two neighbouring cut points with weights in it, and the elementwise pieces that follow.
struct Piece {
  NodeId input = 0, body = 0, output = 0;  ///< body: where the elementwise pieces begin
  Index layers = 0;
  Role role = Role::other;
};

class Blocks {
 public:
  explicit Blocks(const Graph& graph) : graph_(graph) {
    const std::vector<NodeId> cuts = network::cut_points(graph);
    QUANTBOUND_ASSERT(cuts.back() == graph.output, cuts.back(), graph.output);
    for (std::size_t i = 1; i < cuts.size(); ++i) append(cuts[i - 1], cuts[i]);
  }

  std::vector<Module> modules() const {
    std::vector<Module> modules;
    Index layer = 0;
    for (std::size_t i = 0; i < pieces_.size();) {
      const std::size_t count = pattern(i);
      Module& module = modules.emplace_back();
      module.input = pieces_[i].input;
      module.output = pieces_[i + count - 1].output;
      for (const std::size_t end = i + count; i < end; ++i)
        for (Index of_piece = pieces_[i].layers; of_piece > 0; --of_piece) module.layers.push_back(layer++);
      module.name = label(graph_, module.layers);
    }
    return modules;
  }

 private:
  const network::Node& node(NodeId id) const { return graph_.nodes[at(id)]; }

  void append(NodeId from, NodeId to) {
    const auto nodes = std::span(graph_.nodes).subspan(at(from) + 1, at(to - from));
    const Index layers = std::count_if(nodes.begin(), nodes.end(), is_weight_layer);
    if (layers > 0) pieces_.push_back({from, to, behind_elementwise(graph_, to), layers, role(from, to, layers)});
  }

  Role role(NodeId from, NodeId to, Index layers) const {
    if (const auto* convolution = std::get_if<network::Convolution>(&node(to).op); convolution && layers == 1) {
      const tensor::Convolution& geometry = convolution->geometry;
      if (geometry.groups > 1 && geometry.groups == geometry.channels_in) return Role::depthwise;
      const bool one_by_one = geometry.window.kernel_height == 1 && geometry.window.kernel_width == 1;
      return one_by_one && geometry.groups == 1 ? Role::pointwise : Role::other;
    }
    if (std::holds_alternative<network::Product>(node(to).op)) return Role::gate;
    if (!std::holds_alternative<network::Concat>(node(to).op)) return Role::other;
    const auto& joined = node(to).inputs;
    return std::find(joined.begin(), joined.end(), from) == joined.end() ? Role::branches : Role::other;
  }

  bool is(std::size_t i, Role role) const { return i < pieces_.size() && pieces_[i].role == role; }

  /// Whether piece i reads what piece i - 1 makes, padded at most.
  bool follows(std::size_t i) const {
    for (NodeId id = pieces_[i].input; id != pieces_[i - 1].output; id = node(id).inputs.front())
      if (!std::holds_alternative<network::Pad>(node(id).op)) return false;
    return true;
  }
  bool in_a_row(std::size_t first, std::size_t end) const {
    for (std::size_t i = first + 1; i < end; ++i)
      if (!follows(i)) return false;
    return true;
  }

  /// No activation behind the weights.
  bool is_linear(std::size_t i) const {
    for (NodeId id = pieces_[i].body + 1; id <= pieces_[i].output; ++id)
      if (!std::holds_alternative<network::ScaleShift>(node(id).op)) return false;
    return true;
  }

  bool narrows(std::size_t i) const {
    const tensor::Convolution& geometry = std::get<network::Convolution>(node(pieces_[i].body).op).geometry;
    return geometry.channels_out < geometry.channels_in;
  }

  /// Number of pieces of the block that begins with piece i.
  std::size_t pattern(std::size_t i) const {
    if (is(i, Role::pointwise)) {
      if (is(i + 1, Role::branches) && narrows(i) && in_a_row(i, i + 2)) return 2;
      const std::size_t separable = is(i + 1, Role::depthwise) ? depthwise_pointwise(i + 1) : 0;
      if (separable > 0 && is_linear(i + separable) && in_a_row(i, i + 1 + separable)) return 1 + separable;
    }
    if (is(i, Role::depthwise)) return std::max<std::size_t>(depthwise_pointwise(i), 1);
    return 1;
  }

  /// Number of pieces of the pair at i, gates included; 0 where there is none.
  std::size_t depthwise_pointwise(std::size_t i) const {
    std::size_t last = i + 1;
    if (is(last, Role::gate)) ++last;
    if (!is(last, Role::pointwise)) return 0;
    return in_a_row(i, last + 1) ? last + 1 - i : 0;
  }

  const Graph& graph_;
  std::vector<Piece> pieces_;
};

}  // namespace

std::string label(const Graph& graph, std::span<const Index> layers) {
  const std::vector<NodeId> nodes = graph.weight_layers();
  const std::string& first = graph.nodes[at(nodes[at(layers.front())])].name;
  return layers.size() == 1 ? first : first + ".." + graph.nodes[at(nodes[at(layers.back())])].name;
}

NodeId behind_elementwise(const Graph& graph, NodeId cut) {
  const std::vector<NodeId> cuts = network::cut_points(graph);
  NodeId last = cut;
  for (auto next = std::upper_bound(cuts.begin(), cuts.end(), cut); next != cuts.end(); ++next) {
    const auto nodes = std::span(graph.nodes).subspan(at(last) + 1, at(*next - last));
    const bool same = graph.nodes[at(*next)].shape == graph.nodes[at(cut)].shape;
    if (!same || !std::all_of(nodes.begin(), nodes.end(), is_elementwise)) break;
    last = *next;
  }
  return last;
}

std::vector<Module> find_blocks(const Graph& graph) {
  std::vector<Module> blocks = Blocks(graph).modules();
  std::size_t layers = 0;
  for (const Module& block : blocks) layers += block.layers.size();
  QUANTBOUND_ASSERT(layers == graph.weight_layers().size(), layers, graph.weight_layers().size());
  return blocks;
}

}  // namespace quantbound::reconstruct::detail
