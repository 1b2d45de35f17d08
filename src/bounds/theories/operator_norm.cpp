// Operator-norm telescoping, B4 of docs/theory.md 9.1: one scalar for the size of f_q and one for the error, from node
// to node,
//   s_l = max_i (sum_j |W'_ij| s_{l-1} + |b'_i|),   e_l = ||W_l||_inf e_{l-1} + max_i (sum_j |dW_ij| s_{l-1} + |db_i|).
// The maxima over rows are the envelopes of layer_norms.hpp. Activations: e <- k e, and s <- |sigma(0)| + k s but at
// most the largest value sigma takes; additions add, concatenations take the larger. No formula was published for it.
#include <algorithm>
#include <cmath>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/bounds/theory.hpp"

#include "norms_of_pair.hpp"

namespace quantbound::bounds {

using core::Upper;

namespace {

/// Bounds of |y'_v| and of |y'_v - y_v| at one node.
struct SizeAndError {
  Upper size, error;
};

class Telescoping {
 public:
  explicit Telescoping(const NormInput& input) : input_(input), at_(input.graph.nodes.size()) {
    for (std::size_t v = 0; v < at_.size(); ++v) {
      const auto node = static_cast<network::NodeId>(v);
      at_[v] =
          input.domain.precedes_weights(node)
              ? SizeAndError{Upper(input.domain.magnitude(node)), Upper()}
              : std::visit([&](const auto& op) { return apply(op, input.graph.nodes[v]); }, input.graph.nodes[v].op);
    }
  }

  Upper error_at_output() const { return at_[static_cast<std::size_t>(input_.graph.output)].error; }

 private:
  SizeAndError of_input(const network::Node& node, std::size_t which = 0) const {
    return at_[static_cast<std::size_t>(node.inputs[which])];
  }

  SizeAndError apply_layer(Index layer, const network::Node& node) const {
    const auto l = static_cast<std::size_t>(layer);
    const SizeAndError u = of_input(node);
    return {input_.quantized[l].head(u.size),
            Upper(input_.layers[l].weight_norm) * u.error + input_.quantized[l].delta(u.size)};
  }

  SizeAndError apply(const network::Convolution& op, const network::Node& node) const {
    return apply_layer(op.layer, node);
  }
  SizeAndError apply(const network::Dense& op, const network::Node& node) const { return apply_layer(op.layer, node); }

  SizeAndError apply(const network::Activation& op, const network::Node& node) const {
    const SizeAndError u = of_input(node);
    Upper size = op.fixes_zero() ? Upper(magnitude_gain(op)) * u.size
                                 : Upper(std::abs(op(0.0))) + Upper(op.lipschitz()) * u.size;
    if (const auto most = op.magnitude()) size = min(size, Upper(*most));
    return {size, Upper(op.lipschitz()) * u.error};
  }

  SizeAndError apply(const network::Add&, const network::Node& node) const {
    const SizeAndError a = of_input(node), b = of_input(node, 1);
    return {a.size + b.size, a.error + b.error};
  }

  SizeAndError apply(const network::Concat&, const network::Node& node) const {
    SizeAndError result;
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      const SizeAndError u = of_input(node, which);
      result = {max(result.size, u.size), max(result.error, u.error)};
    }
    return result;
  }

  SizeAndError apply(const network::Pad& op, const network::Node& node) const {
    const SizeAndError u = of_input(node);
    return {max(u.size, Upper(std::abs(op.value))), u.error};
  }

  SizeAndError apply(const network::ScaleShift& op, const network::Node& node) const {
    const SizeAndError u = of_input(node);
    Upper scale, shift;
    for (const double value : op.scale) scale = max(scale, Upper(std::abs(value)));
    for (const double value : op.shift) shift = max(shift, Upper(std::abs(value)));
    return {scale * u.size + shift, scale * u.error};
  }

  /// Pooling, reshapes, permutations and slices: averages, choices and copies. Products were refused before.
  template <class Operator>
  SizeAndError apply(const Operator&, const network::Node& node) const {
    return of_input(node);
  }

  const NormInput& input_;
  std::vector<SizeAndError> at_;
};

}  // namespace

TheoryResult operator_norm(const NormInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::no_product);
  if (!violation.empty()) return detail::not_applicable(std::move(violation));
  return {Telescoping(input).error_at_output(), {}, std::nullopt, {}};
}

}  // namespace quantbound::bounds
