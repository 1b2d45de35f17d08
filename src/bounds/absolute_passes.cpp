#include "absolute_passes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/rearrange.hpp"

#include "lane_sums.hpp"

namespace quantbound::bounds::detail {

namespace {

using network::Node;
using network::NodeId;
using tensor::Image;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::size_t elements(const Node& node) { return at(tensor::elements(node.shape)); }

bool all_zero(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0.0; });
}

Image image_of(const network::Shape& shape) {
  QUANTBOUND_ASSERT(shape.size() == 3, tensor::to_string(shape));
  return {shape[0], shape[1], shape[2]};
}

/// Whether a computed zero may stand for a positive number. Where it cannot, zero stays zero: dead paths have no error.
enum class Underflow { impossible, possible };

double inflate(double computed, std::size_t terms, Underflow underflow) {
  return computed == 0.0 && underflow == Underflow::impossible ? 0.0 : core::sum_up(computed, terms);
}

/// Sums of nonnegative products that a node adds up: the parts, and of how many terms each element consists.
class Accumulation {
 public:
  explicit Accumulation(std::size_t size) : size_(size) {}

  /// `part` as computed, each element from `terms` products.
  void add(ScaledVector part, std::size_t terms, Underflow underflow) {
    parts_.push_back(std::move(part));
    terms_ += terms;
    if (underflow == Underflow::possible) underflow_ = underflow;
  }

  /// Upper bound of the sum. Bringing a part to the common power of two counts as one more product of each.
  ScaledVector total() const {
    ScaledVector sum{std::vector<double>(size_, 0.0), 0};
    if (parts_.empty()) return sum;
    sum.exponent = parts_.front().exponent;
    for (const ScaledVector& part : parts_) sum.exponent = std::max(sum.exponent, part.exponent);
    for (const ScaledVector& part : parts_) {
      const std::vector<double> values = values_at(part, sum.exponent);
      for (std::size_t i = 0; i < size_; ++i) sum.values[i] += values[i];
    }
    for (double& value : sum.values) value = inflate(value, terms_ + parts_.size(), underflow_);
    return normalized(std::move(sum));
  }

 private:
  std::size_t size_;
  std::vector<ScaledVector> parts_;
  std::size_t terms_ = 0;
  Underflow underflow_ = Underflow::impossible;
};

/// Sizes and errors at one node.
struct State {
  ScaledVector size;
  std::vector<ScaledVector> errors;
};

class Passes {
 public:
  Passes(const network::Graph& graph, const Domain& domain, Pooling pooling,
         const std::function<LayerMagnitudes(std::size_t)>& magnitudes)
      : graph_(graph),
        domain_(domain),
        pooling_(pooling),
        magnitudes_(magnitudes),
        states_(graph.nodes.size()),
        readers_(graph.nodes.size(), 0) {}

  std::vector<ScaledVector> run() {
    const std::vector<NodeId> affected = affected_nodes(graph_, domain_);
    for (const NodeId v : affected) {
      for (const NodeId input : graph_.nodes[at(v)].inputs) ++readers_[at(input)];
    }
    ++readers_[at(graph_.output)];
    for (const NodeId v : affected) {
      const Node& node = graph_.nodes[at(v)];
      for (const NodeId input : node.inputs) enter_domain(input);
      states_[at(v)] = std::visit([&](const auto& op) { return apply(op, node); }, node.op);
      for (const NodeId input : node.inputs) {
        if (--readers_[at(input)] == 0) states_[at(input)] = {};
      }
    }
    enter_domain(graph_.output);
    std::vector<ScaledVector> errors = std::move(states_[at(graph_.output)].errors);
    if (errors.empty()) errors.push_back({std::vector<double>(elements(graph_.nodes[at(graph_.output)]), 0.0), 0});
    return errors;
  }

 private:
  /// A node before the weights: sizes from its box, and no errors yet.
  void enter_domain(NodeId v) {
    if (!domain_.precedes_weights(v) || !states_[at(v)].size.values.empty()) return;
    const network::Box& box = domain_.boxes[at(v)];
    ScaledVector size{std::vector<double>(box.low.size()), 0};
    for (std::size_t i = 0; i < size.values.size(); ++i) {
      size.values[i] = std::max(std::abs(box.low[i]), std::abs(box.high[i]));
    }
    states_[at(v)].size = normalized(std::move(size));
  }

  const State& of_input(const Node& node, std::size_t which = 0) const { return states_[at(node.inputs[which])]; }
  const network::Shape& input_shape(const Node& node, std::size_t which = 0) const {
    return graph_.nodes[at(node.inputs[which])].shape;
  }

  /// The state of the input with every vector passed through `transform`; vectors of zeros only change their length.
  template <class Transform>
  State each_vector(const Node& node, Transform transform) const {
    State result;
    const auto pass = [&](const ScaledVector& vector) {
      if (vector.is_zero()) return ScaledVector{std::vector<double>(elements(node), 0.0), 0};
      return normalized(transform(vector));
    };
    result.size = pass(of_input(node).size);
    for (const ScaledVector& error : of_input(node).errors) result.errors.push_back(pass(error));
    return result;
  }

  // ---- weight layers

  State apply(const network::Convolution& op, const Node& node) const {
    return apply_layer(node, op.layer, op.geometry.fan_in(), [&](const auto& weights, const auto& values) {
      return tensor::convolve(op.geometry, weights, {}, values, 1);
    });
  }

  State apply(const network::Dense& op, const Node& node) const {
    return apply_layer(node, op.layer, op.inputs, [&](const auto& weights, const auto& values) {
      std::vector<double> result(at(op.outputs));
      for (std::size_t row = 0; row < result.size(); ++row) {
        result[row] = dot_in_lanes(weights.data() + row * values.size(), values.data(), values.size());
      }
      return result;
    });
  }

  template <class Product>
  State apply_layer(const Node& node, Index layer, Index terms, Product product) const {
    const LayerMagnitudes magnitudes = magnitudes_(at(layer));
    const State& input = of_input(node);
    // What multiplies zeros, or is zero, is left out: it would leave denormal traces in a sum that is exactly zero.
    const auto add_product = [&](Accumulation& sum, const std::vector<double>& weights, const ScaledVector& vector) {
      const Extremes extremes = extremes_in_lanes(weights);
      if (vector.is_zero() || extremes.largest == 0.0) return;
      const double smallest_value = extremes_in_lanes(vector.values).smallest_positive;
      const auto underflow = [&](double smallest_weight) {
        return smallest_weight * smallest_value < 0x1p-1000 ? Underflow::possible : Underflow::impossible;
      };
      // Weights are left as they are unless products with numbers near 1 could overflow or lose precision.
      if (extremes.largest > 0x1p-300 && extremes.largest < 0x1p300) {
        sum.add({product(weights, vector.values), vector.exponent}, at(terms), underflow(extremes.smallest_positive));
        return;
      }
      const ScaledVector scaled = normalized({weights, 0});
      sum.add({product(scaled.values, vector.values), scaled.exponent + vector.exponent}, at(terms),
              underflow(extremes_in_lanes(scaled.values).smallest_positive));
    };
    const auto add_bias = [&](Accumulation& sum, const std::vector<double>& bias) {
      if (!all_zero(bias)) sum.add(repeated(bias, elements(node)), 1, Underflow::impossible);
    };
    State result;
    Accumulation size(elements(node));
    add_product(size, magnitudes.size.weights, input.size);
    add_bias(size, magnitudes.size.bias);
    result.size = size.total();
    for (std::size_t k = 0; k < magnitudes.errors.size(); ++k) {
      Accumulation error(elements(node));
      if (k < input.errors.size()) add_product(error, magnitudes.errors[k].tail, input.errors[k]);
      add_product(error, magnitudes.errors[k].delta.weights, input.size);
      add_bias(error, magnitudes.errors[k].delta.bias);
      result.errors.push_back(error.total());
    }
    return result;
  }

  static ScaledVector repeated(const std::vector<double>& bias, std::size_t size) {
    ScaledVector vector{std::vector<double>(size), 0};
    const std::size_t positions = size / bias.size();
    for (std::size_t i = 0; i < size; ++i) vector.values[i] = bias[i / positions];
    return normalized(std::move(vector));
  }

  // ---- functions of one value

  State apply(const network::Activation& op, const Node& node) const {
    State result = each_vector(node, [&](const ScaledVector& vector) { return times(vector, op.lipschitz()); });
    if (op.fixes_zero()) {
      result.size = times(of_input(node).size, magnitude_gain(op));
    } else {
      const std::vector<double> at_zero(elements(node), std::abs(op(0.0)));
      result.size = sum_up(result.size, normalized({at_zero, 0}));
    }
    if (const auto most = op.magnitude()) result.size = limited(std::move(result.size), *most);
    return result;
  }

  static ScaledVector times(ScaledVector vector, double factor) {
    if (factor == 1.0) return vector;
    for (double& value : vector.values) value = core::multiply_up(value, factor);
    return normalized(std::move(vector));
  }

  static ScaledVector limited(ScaledVector vector, double most) {
    const double limit = core::Upper(most).scaled(-vector.exponent).to_double();
    for (double& value : vector.values) value = std::min(value, limit);
    return normalized(std::move(vector));
  }

  State apply(const network::ScaleShift& op, const Node& node) const {
    State result = each_vector(node, [&](const ScaledVector& vector) {
      ScaledVector scaled = vector;
      const std::size_t repeats = scaled.values.size() / op.scale.size();
      for (std::size_t i = 0; i < scaled.values.size(); ++i) {
        scaled.values[i] = core::multiply_up(scaled.values[i], std::abs(op.scale[i / repeats]));
      }
      return scaled;
    });
    std::vector<double> shift(elements(node));
    const std::size_t repeats = shift.size() / op.shift.size();
    for (std::size_t i = 0; i < shift.size(); ++i) shift[i] = std::abs(op.shift[i / repeats]);
    result.size = sum_up(result.size, normalized({std::move(shift), 0}));
    return result;
  }

  // ---- pooling

  /// What pooling made of `input`: sums of up to `terms` values, possibly divided.
  static ScaledVector inflated(const ScaledVector& input, std::vector<double> values, Index terms) {
    const Underflow underflow =
        extremes_in_lanes(input.values).smallest_positive < 0x1p-900 ? Underflow::possible : Underflow::impossible;
    for (double& value : values) value = inflate(value, at(terms) + 2, underflow);
    return {std::move(values), input.exponent};
  }

  State apply(const network::MaxPool& op, const Node& node) const {
    const Image image = image_of(input_shape(node));
    return each_vector(node, [&](const ScaledVector& vector) {
      if (pooling_ == Pooling::largest) {
        return ScaledVector{tensor::max_pool(op.window, image, vector.values, 1), vector.exponent};
      }
      return inflated(vector, tensor::sum_pool(op.window, image, vector.values, 1),
                      op.window.kernel_height * op.window.kernel_width);
    });
  }

  State apply(const network::AveragePool& op, const Node& node) const {
    const auto divisor = op.divisor_includes_pads ? tensor::Divisor::window : tensor::Divisor::inside;
    const Image image = image_of(input_shape(node));
    return each_vector(node, [&](const ScaledVector& vector) {
      return inflated(vector, tensor::average_pool(op.window, image, divisor, vector.values, 1),
                      op.window.kernel_height * op.window.kernel_width);
    });
  }

  State apply(const network::GlobalAveragePool&, const Node& node) const {
    const Image image = image_of(input_shape(node));
    return each_vector(node, [&](const ScaledVector& vector) {
      return inflated(vector, tensor::global_average_pool(image, vector.values, 1), image.pixels());
    });
  }

  // ---- several inputs

  State apply(const network::Add&, const Node& node) const {
    return joined(node, [](const std::vector<const ScaledVector*>& inputs) { return sum_up(*inputs[0], *inputs[1]); });
  }

  State apply(const network::Concat& op, const Node& node) const {
    return joined(node, [&](const std::vector<const ScaledVector*>& inputs) {
      ScaledVector result{std::vector<double>(elements(node), 0.0), std::numeric_limits<std::int64_t>::min()};
      for (const ScaledVector* input : inputs) {
        if (!input->is_zero()) result.exponent = std::max(result.exponent, input->exponent);
      }
      std::vector<Index> before(node.shape.size(), 0);
      for (std::size_t which = 0; which < inputs.size(); ++which) {
        const network::Shape& shape = input_shape(node, which);
        if (!inputs[which]->is_zero()) {
          const std::vector<double> values = values_at(*inputs[which], result.exponent);
          tensor::rearrange(tensor::placement(shape, node.shape, before), values.data(), result.values.data());
        }
        before[at(op.axis)] += shape[at(op.axis)];
      }
      return normalized(std::move(result));
    });
  }

  /// Joins sizes with sizes and each kind of error with its like; inputs before the weights have no errors.
  template <class Join>
  State joined(const Node& node, Join join) const {
    std::vector<const ScaledVector*> sizes;
    std::size_t kinds = 0;
    std::vector<ScaledVector> zeros;
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      sizes.push_back(&of_input(node, which).size);
      kinds = std::max(kinds, of_input(node, which).errors.size());
      zeros.push_back({std::vector<double>(at(tensor::elements(input_shape(node, which))), 0.0), 0});
    }
    State result{join(sizes), {}};
    for (std::size_t k = 0; k < kinds; ++k) {
      std::vector<const ScaledVector*> errors;
      for (std::size_t which = 0; which < node.inputs.size(); ++which) {
        const State& input = of_input(node, which);
        errors.push_back(k < input.errors.size() ? &input.errors[k] : &zeros[which]);
      }
      result.errors.push_back(join(errors));
    }
    return result;
  }

  // ---- moving elements

  State moved(const Node& node, const tensor::Rearrangement& rearrangement) const {
    return each_vector(node, [&](const ScaledVector& vector) {
      ScaledVector result{std::vector<double>(elements(node), 0.0), vector.exponent};
      tensor::rearrange(rearrangement, vector.values.data(), result.values.data());
      return result;
    });
  }

  State apply(const network::Pad& op, const Node& node) const {
    State result = moved(node, tensor::placement(input_shape(node), node.shape, op.before));
    if (op.value == 0.0) return result;
    std::vector<double> constant(elements(node), std::abs(op.value));
    const std::vector<double> none(at(tensor::elements(input_shape(node))), 0.0);
    tensor::rearrange(tensor::placement(input_shape(node), node.shape, op.before), none.data(), constant.data());
    result.size = sum_up(result.size, normalized({std::move(constant), 0}));
    return result;
  }

  State apply(const network::Slice& op, const Node& node) const {
    return moved(node, tensor::slice(input_shape(node), op.start, op.step, op.count));
  }
  State apply(const network::Permute& op, const Node& node) const {
    return moved(node, tensor::permutation(input_shape(node), op.axes));
  }
  State apply(const network::Reshape&, const Node& node) const { return of_input(node); }

  State apply(const network::Input&, const Node& node) const { return unreachable(node); }    // precedes the weights
  State apply(const network::Product&, const Node& node) const { return unreachable(node); }  // refused by the caller
  static State unreachable(const Node& node) {
    QUANTBOUND_ASSERT(false, node.name);
    return {};
  }

  const network::Graph& graph_;
  const Domain& domain_;
  Pooling pooling_;
  const std::function<LayerMagnitudes(std::size_t)>& magnitudes_;
  std::vector<State> states_;
  std::vector<Index> readers_;  ///< of each state, still to come
};

}  // namespace

std::vector<ScaledVector> absolute_passes(const network::Graph& graph, const Domain& domain, Pooling pooling,
                                          const std::function<LayerMagnitudes(std::size_t layer)>& magnitudes) {
  return Passes(graph, domain, pooling, magnitudes).run();
}

}  // namespace quantbound::bounds::detail
