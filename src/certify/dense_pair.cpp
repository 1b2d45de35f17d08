#include "dense_pair.hpp"

#include <algorithm>
#include <limits>
#include <variant>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"

namespace quantbound::certify::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Hinges no_activation{-infinity, infinity, 0.0};

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

std::string unfit(const network::Activation& activation) {
  using network::ActivationKind;
  const double a = activation.alpha;
  switch (activation.kind) {
    case ActivationKind::relu:
    case ActivationKind::clip:
      return "";
    case ActivationKind::leaky_relu:
      return a >= 0.0 && a <= 1.0 ? "" : "its slope is not between 0 and 1";
    default:
      return fmt::format("{} is not piecewise linear", network::to_string(activation.kind));
  }
}

Hinges hinges(const network::Activation& activation) {
  using network::ActivationKind;
  switch (activation.kind) {
    case ActivationKind::leaky_relu:
      return {0.0, infinity, activation.alpha};
    case ActivationKind::clip:
      return {activation.alpha, activation.beta, 0.0};
    default:
      return {0.0, infinity, 0.0};
  }
}

/// Walks the chain and says what keeps it from being compiled.
class Inspection {
 public:
  std::string operator()(const Pair& pair) {
    if (pair.rounds_activations()) return "activations of the second network are rounded";
    if (!pair.graph.is_chain()) return "the graph is not a chain";
    for (const network::Node& node : pair.graph.nodes) {
      const std::string reason = std::visit([&](const auto& op) { return inspect(op); }, node.op);
      if (!reason.empty()) return fmt::format("{}: {}", node.name, reason);
    }
    return dense_layers_ > 0 ? "" : "there is no dense layer";
  }

 private:
  std::string inspect(const network::Input&) { return ""; }
  std::string inspect(const network::Reshape&) { return ""; }
  std::string inspect(const network::ScaleShift&) const {
    return dense_layers_ == 0 ? "" : "a ScaleShift behind a dense layer";
  }
  std::string inspect(const network::Dense& dense) {
    ++dense_layers_;
    hinged_ = false;
    if (dense.inputs > max_dense_inputs) return fmt::format("more than {} inputs", max_dense_inputs);
    return dense.outputs > max_dense_outputs ? fmt::format("more than {} outputs", max_dense_outputs) : "";
  }
  std::string inspect(const network::Activation& activation) {
    if (dense_layers_ == 0) return "an activation before the first dense layer";
    if (hinged_) return "two activations in a row";
    hinged_ = true;
    return unfit(activation);
  }
  template <class Other>
  std::string inspect(const Other& op) const {
    return fmt::format("{} is not a dense layer", network::operator_name(network::Operator(op)));
  }

  Index dense_layers_ = 0;
  bool hinged_ = false;
};

DenseWeights pack(const LayerParameters& layer, Index inputs, Index outputs) {
  const Index in_stride = padded(inputs), out_stride = padded(outputs);
  DenseWeights packed{AlignedDoubles(outputs * in_stride), AlignedDoubles(inputs * out_stride),
                      AlignedDoubles(out_stride)};
  for (Index i = 0; i < outputs; ++i) {
    packed.bias[i] = layer.bias[static_cast<std::size_t>(i)];
    for (Index j = 0; j < inputs; ++j) {
      const double weight = layer.weights[static_cast<std::size_t>(i * inputs + j)];
      packed.rows[i * in_stride + j] = weight;
      packed.columns[j * out_stride + i] = weight;
    }
  }
  return packed;
}

std::vector<char> unchanged_rows(const LayerParameters& change, Index inputs, Index outputs) {
  std::vector<char> unchanged(static_cast<std::size_t>(outputs));
  for (Index i = 0; i < outputs; ++i) {
    const auto row = change.weights.begin() + i * inputs;
    const bool weights = std::all_of(row, row + inputs, [](double weight) { return weight == 0.0; });
    unchanged[static_cast<std::size_t>(i)] = weights && change.bias[static_cast<std::size_t>(i)] == 0.0;
  }
  return unchanged;
}

InputMap input_map(const network::ScaleShift& op, const network::Shape& shape) {
  const Index size = tensor::elements(shape);
  const auto spread = [&](const std::vector<double>& values) {
    const Index count = std::ssize(values);
    const Index each = count == 0 ? 0 : size / count;
    QUANTBOUND_ASSERT(count > 0 && each * count == size, count, size);
    std::vector<double> all(static_cast<std::size_t>(size));
    for (Index i = 0; i < size; ++i) all[static_cast<std::size_t>(i)] = values[static_cast<std::size_t>(i / each)];
    return all;
  };
  return {spread(op.scale), spread(op.shift)};
}

}  // namespace

AlignedDoubles::AlignedDoubles(Index size) : values_(static_cast<std::size_t>(padded(size) / lane_count), Line{}) {}

std::string not_dense(const Pair& pair) { return Inspection{}(pair); }

DensePair compile_dense_pair(const Pair& pair) {
  DensePair compiled;
  compiled.inputs = tensor::elements(pair.graph.input_shape());
  compiled.identical = true;
  const auto add_layer = [&](const network::Dense& dense) {
    const auto l = static_cast<std::size_t>(dense.layer);
    compiled.layers.push_back({dense.inputs, dense.outputs, pack(pair.f[l], dense.inputs, dense.outputs),
                               pack(pair.fq[l], dense.inputs, dense.outputs),
                               pack(pair.change[l], dense.inputs, dense.outputs),
                               unchanged_rows(pair.change[l], dense.inputs, dense.outputs), no_activation});
    compiled.identical = compiled.identical && !pair.changes(dense.layer);
    compiled.width = std::max({compiled.width, padded(dense.inputs), padded(dense.outputs)});
  };
  for (const network::Node& node : pair.graph.nodes) {
    std::visit(Overloaded{[&](const network::Dense& dense) { add_layer(dense); },
                          [&](const network::Activation& op) { compiled.layers.back().activation = hinges(op); },
                          [&](const network::ScaleShift& op) { compiled.maps.push_back(input_map(op, node.shape)); },
                          [](const auto&) {}},
               node.op);
  }
  compiled.outputs = compiled.layers.back().outputs;
  return compiled;
}

}  // namespace quantbound::certify::detail
