#include "quantbound/observe/error_propagation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/observe/order_statistics.hpp"

namespace quantbound::observe {

namespace {

using network::Node;
using network::NodeId;
using network::Shape;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// One axis of a pooling window that slides over `size` positions.
struct Axis {
  Index size, kernel, stride, pad, dilation, places;

  /// Calls visit(place, position) for every position inside that a place of the window covers.
  template <class Visit>
  void for_each_covered(const Visit& visit) const {
    for (Index place = 0; place < places; ++place) {
      for (Index k = 0; k < kernel; ++k) {
        const Index position = place * stride - pad + k * dilation;
        if (position >= 0 && position < size) visit(at(place), at(position));
      }
    }
  }
};

/// What counts how much a place of the window: 1, or 1 over the number of positions in it.
enum class PlaceWeight { one, inverse_of_inside, inverse_of_kernel };

/// The largest row sum and the largest column sum of the matrix places x positions of one axis.
struct AxisNorms {
  double rows = 0.0, columns = 0.0;
};

AxisNorms axis_norms(const Axis& axis, PlaceWeight weighting) {
  std::vector<double> inside(at(axis.places), 0.0), columns(at(axis.size), 0.0);
  axis.for_each_covered([&](std::size_t place, std::size_t) { inside[place] += 1.0; });
  const auto weight = [&](std::size_t place) {
    if (weighting == PlaceWeight::one) return 1.0;
    return 1.0 / (weighting == PlaceWeight::inverse_of_inside ? inside[place] : static_cast<double>(axis.kernel));
  };
  AxisNorms norms;
  axis.for_each_covered([&](std::size_t place, std::size_t position) { columns[position] += weight(place); });
  for (std::size_t place = 0; place < inside.size(); ++place) {
    if (inside[place] > 0.0) norms.rows = std::max(norms.rows, inside[place] * weight(place));
  }
  for (const double column : columns) norms.columns = std::max(norms.columns, column);
  return norms;
}

/// The matrix of a window is the Kronecker product of those of its axes, so its row and column sums are products.
AxisNorms window_norms(const tensor::Window& w, const Shape& image, PlaceWeight weighting) {
  const AxisNorms y = axis_norms(
      {image[1], w.kernel_height, w.stride_height, w.pad_top, w.dilation_height, w.out_height(image[1])}, weighting);
  const AxisNorms x = axis_norms(
      {image[2], w.kernel_width, w.stride_width, w.pad_left, w.dilation_width, w.out_width(image[2])}, weighting);
  return {y.rows * x.rows, y.columns * x.columns};
}

/// The factor of each operator (docs/theory.md 1.6).
struct Amplification {
  using Factor = std::optional<double>;
  const Shape& input;

  Factor operator()(const network::Input&) const { return std::nullopt; }
  Factor operator()(const network::Convolution&) const { return std::nullopt; }
  Factor operator()(const network::Dense&) const { return std::nullopt; }
  Factor operator()(const network::Add&) const { return std::nullopt; }
  Factor operator()(const network::Product&) const { return std::nullopt; }
  Factor operator()(const network::Concat&) const { return std::nullopt; }
  Factor operator()(const network::Activation& op) const { return op.lipschitz(); }
  Factor operator()(const network::MaxPool& op) const {
    return std::sqrt(window_norms(op.window, input, PlaceWeight::one).columns);
  }
  Factor operator()(const network::AveragePool& op) const {
    const AxisNorms norms = window_norms(
        op.window, input, op.divisor_includes_pads ? PlaceWeight::inverse_of_kernel : PlaceWeight::inverse_of_inside);
    return std::sqrt(norms.rows * norms.columns);
  }
  Factor operator()(const network::GlobalAveragePool&) const {
    return 1.0 / std::sqrt(static_cast<double>(input[1] * input[2]));
  }
  Factor operator()(const network::Pad&) const { return 1.0; }
  Factor operator()(const network::Slice&) const { return 1.0; }
  Factor operator()(const network::Permute&) const { return 1.0; }
  Factor operator()(const network::Reshape&) const { return 1.0; }
  Factor operator()(const network::ScaleShift& op) const {
    double largest = 0.0;
    for (const double scale : op.scale) largest = std::max(largest, std::abs(scale));
    return largest;
  }
};

/// How a node's bound follows from those of its inputs.
struct Rule {
  enum class Kind { source, weight_layer, factor, sum, root_of_squares };
  Kind kind = Kind::source;
  double factor = 0.0;
  Index layer = -1;
};

Rule rule_of(const Graph& graph, const Node& node) {
  if (std::holds_alternative<network::Input>(node.op)) return {};
  if (const auto* op = std::get_if<network::Dense>(&node.op)) return {Rule::Kind::weight_layer, 0.0, op->layer};
  if (const auto* op = std::get_if<network::Convolution>(&node.op)) return {Rule::Kind::weight_layer, 0.0, op->layer};
  if (std::holds_alternative<network::Add>(node.op)) return {Rule::Kind::sum};
  if (std::holds_alternative<network::Concat>(node.op)) return {Rule::Kind::root_of_squares};
  const auto factor = amplification(node.op, graph.nodes[at(node.inputs.front())].shape);
  QUANTBOUND_ASSERT(factor.has_value(), node.name);
  return {Rule::Kind::factor, *factor};
}

/// The rules of all nodes; nothing where a Product has none.
std::optional<std::vector<Rule>> rules_of(const Graph& graph) {
  std::vector<Rule> rules;
  rules.reserve(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    if (std::holds_alternative<network::Product>(node.op)) return std::nullopt;
    rules.push_back(rule_of(graph, node));
  }
  return rules;
}

/// The bound of a node that is no weight layer, from the bounds of all earlier nodes.
double passed_on(const Rule& rule, const Node& node, std::span<const double> bounds) {
  switch (rule.kind) {
    case Rule::Kind::factor:
      return rule.factor * bounds[at(node.inputs.front())];
    case Rule::Kind::sum: {
      double sum = 0.0;
      for (const NodeId input : node.inputs) sum += bounds[at(input)];
      return sum;
    }
    case Rule::Kind::root_of_squares: {
      double root = 0.0;
      for (const NodeId input : node.inputs) root = std::hypot(root, bounds[at(input)]);
      return root;
    }
    case Rule::Kind::source:
    case Rule::Kind::weight_layer:
      break;
  }
  return 0.0;
}

/// X_l. An input without deviation cannot carry any: what is not 0 there is rounding noise.
double realized_amplification(double carried, double input_deviation) {
  return input_deviation > 0.0 ? carried / input_deviation : 0.0;
}

void check(const Graph& graph, const LayerTerms& terms) {
  QUANTBOUND_ASSERT(terms.layers == std::ssize(graph.weight_layers()), terms.layers, graph.weight_layers().size());
  const std::size_t size = at(terms.layers) * at(terms.samples);
  for (const auto& values : {terms.input, terms.input_deviation, terms.carried, terms.local}) {
    QUANTBOUND_ASSERT(values.size() == size, values.size(), terms.layers, terms.samples);
  }
}

/// Lemma 1's recursion for one sample after the other, forwards for the bound and backwards for the shares.
class Recursion {
 public:
  Recursion(const Graph& graph, const std::vector<Rule>& rules, const LayerTerms& terms)
      : graph_(graph), rules_(rules), terms_(terms), bound_(rules.size()), weight_(rules.size()) {}

  /// G at the output for sample `sample`.
  double output_bound(Index sample) {
    for (std::size_t v = 0; v < rules_.size(); ++v) {
      const Node& node = graph_.nodes[v];
      if (rules_[v].kind == Rule::Kind::weight_layer) {
        const std::size_t term = term_of(v, sample);
        bound_[v] = amplification_of(term) * bound_[at(node.inputs.front())] + terms_.local[term];
      } else {
        bound_[v] = passed_on(rules_[v], node, bound_);
      }
    }
    return bound_[at(graph_.output)];
  }

  /// Calls use(term, part) for every layer: its part of the bound that output_bound(sample) just gave.
  ///
  /// G is homogeneous of degree 1 in the local terms c_l (sums, products with constants, roots of sums of squares), so
  /// G = sum_l c_l dG/dc_l (Euler). The derivatives come from the output backwards: weight_[v] is dG/d bound_[v].
  template <class Use>
  void for_each_part(Index sample, const Use& use) {
    std::ranges::fill(weight_, 0.0);
    weight_[at(graph_.output)] = 1.0;
    for (std::size_t v = rules_.size(); v-- > 0;) {
      if (weight_[v] == 0.0) continue;
      const bool is_layer = rules_[v].kind == Rule::Kind::weight_layer;
      if (is_layer) use(term_of(v, sample), weight_[v] * terms_.local[term_of(v, sample)]);
      for (const NodeId input : graph_.nodes[v].inputs) {
        weight_[at(input)] += weight_[v] * (is_layer ? amplification_of(term_of(v, sample)) : derivative(v, at(input)));
      }
    }
  }

 private:
  std::size_t term_of(std::size_t node, Index sample) const { return at(rules_[node].layer * terms_.samples + sample); }

  double amplification_of(std::size_t term) const {
    return realized_amplification(terms_.carried[term], terms_.input_deviation[term]);
  }

  /// Of the bound of node v by that of one of its inputs.
  double derivative(std::size_t v, std::size_t input) const {
    switch (rules_[v].kind) {
      case Rule::Kind::factor:
        return rules_[v].factor;
      case Rule::Kind::sum:
        return 1.0;
      case Rule::Kind::root_of_squares:
        return bound_[v] > 0.0 ? bound_[input] / bound_[v] : 0.0;
      case Rule::Kind::source:
      case Rule::Kind::weight_layer:
        break;
    }
    return 0.0;
  }

  const Graph& graph_;
  const std::vector<Rule>& rules_;
  const LayerTerms& terms_;
  std::vector<double> bound_, weight_;
};

struct Moments {
  double mean = 0.0, variance = 0.0;  ///< n - 1 below
};

/// @pre at least two values
Moments moments_of(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  Moments moments;
  for (const double value : values) moments.mean += value / n;
  for (const double value : values) moments.variance += (value - moments.mean) * (value - moments.mean) / (n - 1.0);
  return moments;
}

/// Cantelli's inequality: a variable with these moments exceeds this with probability `failure` at most.
double cantelli(const Moments& moments, double failure) {
  return moments.mean + std::sqrt(moments.variance * (1.0 - failure) / failure);
}

/// Theorem 1 node by node. `held` is the event that all bounds so far held, as far as samples can tell.
class LayerwiseBound {
 public:
  LayerwiseBound(const Graph& graph, const std::vector<Rule>& rules, const LayerTerms& terms, double failure)
      : graph_(graph), rules_(rules), terms_(terms), failure_(failure), bound_(rules.size()) {
    for (Index i = 0; i < terms.samples; ++i) held_.push_back(i);
  }

  std::optional<double> run() {
    for (std::size_t v = 0; v < rules_.size(); ++v) {
      const Node& node = graph_.nodes[v];
      if (rules_[v].kind != Rule::Kind::weight_layer) {
        bound_[v] = passed_on(rules_[v], node, bound_);
      } else if (const auto bound = layer_bound(rules_[v].layer, bound_[at(node.inputs.front())])) {
        bound_[v] = *bound;
      } else {
        return std::nullopt;
      }
    }
    return bound_[at(graph_.output)];
  }

 private:
  std::span<const double> row(std::span<const double> values, Index layer) const {
    return values.subspan(at(layer * terms_.samples), at(terms_.samples));
  }

  /// A_l from A_u, the bound of the deviation of what the layer reads.
  std::optional<double> layer_bound(Index layer, double input_deviation_bound) {
    const auto input = row(terms_.input, layer), input_deviation = row(terms_.input_deviation, layer),
               carried = row(terms_.carried, layer), local = row(terms_.local, layer);
    if (terms_.samples == 0) return std::nullopt;
    const Index rank = quantile_rank(terms_.samples, 1.0 - failure_);
    std::vector<double> sorted(input.begin(), input.end());
    std::ranges::nth_element(sorted, sorted.begin() + rank);
    const double input_bound = sorted[at(rank)];
    std::erase_if(
        held_, [&](Index i) { return input[at(i)] > input_bound || input_deviation[at(i)] > input_deviation_bound; });
    std::vector<double> terms;
    for (const Index i : held_) {
      if (input[at(i)] == 0.0 && local[at(i)] > 0.0) return std::nullopt;  // Y_l is not defined
      const double y = local[at(i)] > 0.0 ? local[at(i)] / input[at(i)] : 0.0;
      terms.push_back(realized_amplification(carried[at(i)], input_deviation[at(i)]) * input_deviation_bound +
                      y * input_bound);
    }
    if (terms.size() < 2) return std::nullopt;
    return cantelli(moments_of(terms), failure_);
  }

  const Graph& graph_;
  const std::vector<Rule>& rules_;
  const LayerTerms& terms_;
  double failure_;
  std::vector<double> bound_;  ///< A of every node
  std::vector<Index> held_;    ///< samples on which all bounds so far held
};

}  // namespace

std::optional<double> amplification(const network::Operator& op, const Shape& input) {
  return std::visit(Amplification{input}, op);
}

std::optional<PropagatedError> propagate_errors(const Graph& graph, const LayerTerms& terms) {
  check(graph, terms);
  const auto rules = rules_of(graph);
  if (!rules) return std::nullopt;
  PropagatedError result{std::vector<double>(at(terms.samples)), std::vector<double>(terms.local.size(), 0.0)};
  Recursion recursion(graph, *rules, terms);
  for (Index i = 0; i < terms.samples; ++i) {
    const double bound = recursion.output_bound(i);
    result.output[at(i)] = bound;
    if (bound > 0.0 && std::isfinite(bound)) {
      recursion.for_each_part(i, [&](std::size_t term, double part) { result.share[term] = part / bound; });
    }
  }
  return result;
}

double cantelli_upper(std::span<const double> values, double confidence) {
  QUANTBOUND_ASSERT(confidence > 0.0 && confidence < 1.0, confidence);
  if (values.size() < 2) return std::numeric_limits<double>::infinity();
  return cantelli(moments_of(values), 1.0 - confidence);
}

std::optional<double> layerwise_cantelli(const Graph& graph, const LayerTerms& terms, double confidence) {
  check(graph, terms);
  QUANTBOUND_ASSERT(confidence > 0.0 && confidence < 1.0, confidence);
  const auto rules = rules_of(graph);
  if (!rules) return std::nullopt;
  if (terms.layers == 0) return 0.0;
  const double failure = (1.0 - confidence) / (2.0 * static_cast<double>(terms.layers));
  return LayerwiseBound(graph, *rules, terms, failure).run();
}

}  // namespace quantbound::observe
