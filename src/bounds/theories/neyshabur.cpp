// Neyshabur, Bhojanapalli, Srebro (arXiv 1707.09564), Lemma 2, without its condition on the perturbation and with
// biases (docs/theory.md 3): in the 2-norm, one scalar for the size of f_q and one for the error from node to node,
//   s_l = ||W'_l|| s_{l-1} + ||b'_l||,   e_l = ||W_l|| e_{l-1} + ||dW_l|| s_{l-1} + ||db_l||,   s_0 = sqrt(N_0) D,
// unrolled without biases: B sum_l prod_{k>l} ||W_k|| ||dW_l|| prod_{k<l} ||W'_k||. The inf-norm of the output is at
// most its 2-norm. Pooling multiplies by the 2-norm of the pooling map, a concatenation adds squares. The formula is
// the lemma: e B prod_l ||W_l|| sum_l ||dW_l|| / ||W_l||, with our upper bounds of the spectral norms.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/bounds/theory.hpp"
#include "quantbound/core/rounding.hpp"

#include "norms_of_pair.hpp"

namespace quantbound::bounds {

using core::Upper;

namespace {

using network::Node;

/// The places of a window along one axis of an image.
struct AxisWindow {
  Index size, kernel, stride, pad_before, dilation, places;
};

std::pair<AxisWindow, AxisWindow> axes_of(const tensor::Window& window, const network::Shape& image) {
  const Index height = image[1], width = image[2];
  return {{height, window.kernel_height, window.stride_height, window.pad_top, window.dilation_height,
           window.out_height(height)},
          {width, window.kernel_width, window.stride_width, window.pad_left, window.dilation_width,
           window.out_width(width)}};
}

/// Largest sum over the places that contain one element of the weight of the place, where `weight` takes the number of
/// taps that lie inside the image.
template <class Weight>
double largest_column_sum(const AxisWindow& axis, Weight weight) {
  std::vector<double> sums(static_cast<std::size_t>(axis.size), 0.0);
  const auto for_each_inside = [&](Index place, auto visit) {
    for (Index tap = 0; tap < axis.kernel; ++tap) {
      const Index element = place * axis.stride + tap * axis.dilation - axis.pad_before;
      if (element >= 0 && element < axis.size) visit(static_cast<std::size_t>(element));
    }
  };
  for (Index place = 0; place < axis.places; ++place) {
    Index inside = 0;
    for_each_inside(place, [&](std::size_t) { ++inside; });
    for_each_inside(place, [&](std::size_t element) { sums[element] = core::add_up(sums[element], weight(inside)); });
  }
  return *std::max_element(sums.begin(), sums.end());
}

/// Every element takes part in at most this many maxima, so |max a - max b|_2^2 <= count |a - b|_2^2.
Upper max_pool_norm(const tensor::Window& window, const network::Shape& image) {
  const auto [rows, columns] = axes_of(window, image);
  const auto one = [](Index) { return 1.0; };
  return (Upper(largest_column_sum(rows, one)) * Upper(largest_column_sum(columns, one))).sqrt();
}

/// ||A||_2^2 <= ||A||_1 ||A||_inf, where the rows of an average sum to at most 1 and its columns factor over the axes.
Upper average_pool_norm(const network::AveragePool& pool, const network::Shape& image) {
  const auto [rows, columns] = axes_of(pool.window, image);
  const auto column_sum = [&](const AxisWindow& axis) {
    return Upper(largest_column_sum(axis, [&](Index inside) {
      return core::divide_up(1.0, static_cast<double>(pool.divisor_includes_pads ? axis.kernel : inside));
    }));
  };
  return (column_sum(rows) * column_sum(columns)).sqrt();
}

/// Bounds of ||y'_v||_2 and of ||y'_v - y_v||_2 at one node.
struct SizeAndError {
  Upper size, error;
};

class EuclideanRecursion {
 public:
  explicit EuclideanRecursion(const NormInput& input) : input_(input), at_(input.graph.nodes.size()) {
    for (std::size_t v = 0; v < at_.size(); ++v) {
      const auto node = static_cast<network::NodeId>(v);
      if (!input.domain.precedes_weights(node)) continue;
      const auto elements = static_cast<double>(input.domain.boxes[v].low.size());
      at_[v] = {Upper(elements).sqrt() * Upper(input.domain.magnitude(node)), Upper()};
    }
    for (const network::NodeId v : affected_nodes(input.graph, input.domain)) {
      const Node& node = input.graph.nodes[static_cast<std::size_t>(v)];
      at_[static_cast<std::size_t>(v)] = std::visit([&](const auto& op) { return apply(op, node); }, node.op);
    }
  }

  Upper error_at_output() const { return at_[static_cast<std::size_t>(input_.graph.output)].error; }

 private:
  SizeAndError of_input(const Node& node, std::size_t which = 0) const {
    return at_[static_cast<std::size_t>(node.inputs[which])];
  }
  const network::Shape& input_shape(const Node& node) const {
    return input_.graph.nodes[static_cast<std::size_t>(node.inputs.front())].shape;
  }
  SizeAndError times(Upper gain, const Node& node) const {
    const SizeAndError u = of_input(node);
    return {gain * u.size, gain * u.error};
  }

  SizeAndError apply_layer(Index layer, const Node& node) const {
    const LayerNorms& f = input_.layers[static_cast<std::size_t>(layer)];
    const QuantizedLayerNorms& q = input_.quantized[static_cast<std::size_t>(layer)];
    const SizeAndError u = of_input(node);
    return {Upper(q.two_norm) * u.size + Upper(q.bias_two_norm),
            Upper(f.two_norm) * u.error + Upper(q.delta_two_norm) * u.size + Upper(q.delta_bias_two_norm)};
  }

  SizeAndError apply(const network::Convolution& op, const Node& node) const { return apply_layer(op.layer, node); }
  SizeAndError apply(const network::Dense& op, const Node& node) const { return apply_layer(op.layer, node); }

  SizeAndError apply(const network::Activation& op, const Node& node) const {
    const SizeAndError u = of_input(node);
    return {Upper(magnitude_gain(op)) * u.size, Upper(op.lipschitz()) * u.error};
  }

  SizeAndError apply(const network::Add&, const Node& node) const {
    const SizeAndError a = of_input(node), b = of_input(node, 1);
    return {a.size + b.size, a.error + b.error};
  }

  SizeAndError apply(const network::Concat&, const Node& node) const {
    SizeAndError squares;
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      const SizeAndError u = of_input(node, which);
      squares = {squares.size + u.size * u.size, squares.error + u.error * u.error};
    }
    return {squares.size.sqrt(), squares.error.sqrt()};
  }

  SizeAndError apply(const network::MaxPool& op, const Node& node) const {
    return times(max_pool_norm(op.window, input_shape(node)), node);
  }
  SizeAndError apply(const network::AveragePool& op, const Node& node) const {
    return times(average_pool_norm(op, input_shape(node)), node);
  }
  SizeAndError apply(const network::GlobalAveragePool&, const Node& node) const {
    const network::Shape& image = input_shape(node);
    const network::Index pixels = tensor::elements(image) / image[0];
    // Every row is 1 / pixels, and rows are disjoint.
    return times(Upper(core::divide_up(1.0, static_cast<double>(pixels))).sqrt(), node);
  }

  SizeAndError apply(const network::Pad& op, const Node& node) const {
    const SizeAndError u = of_input(node);
    const Index added = tensor::elements(node.shape) - tensor::elements(input_shape(node));
    const Upper constant = Upper(static_cast<double>(std::max<Index>(added, 0))).sqrt() * Upper(std::abs(op.value));
    return {u.size + constant, u.error};
  }

  SizeAndError apply(const network::ScaleShift& op, const Node& node) const {
    const SizeAndError u = of_input(node);
    Upper scale, squares;
    for (const double value : op.scale) scale = max(scale, Upper(std::abs(value)));
    for (const double value : op.shift) squares += Upper(std::abs(value)) * Upper(std::abs(value));
    const Index repeats = tensor::elements(node.shape) / std::ssize(op.shift);
    const Upper shift = (squares * Upper(static_cast<double>(repeats))).sqrt();
    return {scale * u.size + shift, scale * u.error};
  }

  /// Reshapes, permutations and slices. Products were refused before.
  template <class Operator>
  SizeAndError apply(const Operator&, const Node& node) const {
    return of_input(node);
  }

  const NormInput& input_;
  std::vector<SizeAndError> at_;
};

core::Estimate formula(const NormInput& input) {
  std::vector<double> norms;
  for (const LayerNorms& layer : input.layers) norms.push_back(layer.two_norm);
  std::vector<double> terms = detail::log10_all_but_one(norms);
  for (std::size_t l = 0; l < terms.size(); ++l) terms[l] += std::log10(input.quantized[l].delta_two_norm);
  const auto inputs = static_cast<double>(tensor::elements(input.graph.input_shape()));
  return {std::log10(std::numbers::e) + 0.5 * std::log10(inputs) + std::log10(input.domain.radius) +
          detail::log10_sum(terms)};
}

}  // namespace

TheoryResult neyshabur(const NormInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::fixes_zero);
  if (!violation.empty()) return detail::not_applicable(std::move(violation), formula(input));
  return {EuclideanRecursion(input).error_at_output(), {}, formula(input), {}};
}

}  // namespace quantbound::bounds
