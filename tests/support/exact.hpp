/// f in rational arithmetic: the real-arithmetic function of the stored weights, element by element, for graphs without
/// sigmoid and tanh. Slow and obvious.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>

#include "network_builder.hpp"

namespace quantbound::testing {

using Rational = boost::multiprecision::cpp_rational;
using Rationals = std::vector<Rational>;

class ExactForward {
 public:
  ExactForward(const network::Graph& graph, std::span<const network::LayerParameters> layers)
      : graph_(graph), layers_(layers) {}

  /// The value of every node.
  std::vector<Rationals> run(std::span<const double> x) {
    values_.assign(1, Rationals(x.begin(), x.end()));
    for (std::size_t v = 1; v < graph_.nodes.size(); ++v) {
      const network::Node& node = graph_.nodes[v];
      values_.push_back(std::visit([&](const auto& op) { return apply(op, node); }, node.op));
    }
    return values_;
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  const Rationals& in(const network::Node& node, std::size_t which = 0) const {
    return values_[at(node.inputs[which])];
  }
  const network::Shape& shape(const network::Node& node, std::size_t which = 0) const {
    return graph_.nodes[at(node.inputs[which])].shape;
  }

  Rationals apply(const network::Dense& op, const network::Node& node) const {
    const network::LayerParameters& layer = layers_[at(op.layer)];
    Rationals out(layer.bias.begin(), layer.bias.end());
    for (std::size_t o = 0; o < out.size(); ++o) {
      for (std::size_t i = 0; i < at(op.inputs); ++i)
        out[o] += Rational(layer.weights[o * at(op.inputs) + i]) * in(node)[i];
    }
    return out;
  }

  Rationals apply(const network::Convolution& op, const network::Node& node) const {
    const tensor::Convolution& g = op.geometry;
    const network::LayerParameters& layer = layers_[at(op.layer)];
    const Index in_group = g.channels_in / g.groups, out_group = g.channels_out / g.groups;
    Rationals out;
    for (Index o = 0; o < g.channels_out; ++o)
      for (Index y = 0; y < g.out_height(); ++y)
        for (Index x = 0; x < g.out_width(); ++x) {
          Rational sum(layer.bias[at(o)]);
          for (Index c = 0; c < in_group; ++c)
            for_each_tap(g.window, g.height, g.width, y, x, [&](Index tap, Index place) {
              const Index weight = (o * in_group + c) * g.window.kernel_height * g.window.kernel_width + tap;
              const Index channel = o / out_group * in_group + c;
              sum += Rational(layer.weights[at(weight)]) * in(node)[at(channel * g.height * g.width + place)];
            });
          out.push_back(sum);
        }
    return out;
  }

  /// Calls use(tap, y * width + x) for the positions of a window inside the image.
  template <class Use>
  static void for_each_tap(const tensor::Window& w, Index height, Index width, Index y, Index x, Use use) {
    for (Index ky = 0; ky < w.kernel_height; ++ky)
      for (Index kx = 0; kx < w.kernel_width; ++kx) {
        const Index in_y = y * w.stride_height - w.pad_top + ky * w.dilation_height;
        const Index in_x = x * w.stride_width - w.pad_left + kx * w.dilation_width;
        if (in_y >= 0 && in_y < height && in_x >= 0 && in_x < width) use(ky * w.kernel_width + kx, in_y * width + in_x);
      }
  }

  Rationals apply(const network::Activation& op, const network::Node& node) const {
    Rationals out = in(node);
    const auto clamp = [](const Rational& x, const Rational& low, const Rational& high) {
      return x < low ? low : (x > high ? high : x);
    };
    for (Rational& x : out) {
      switch (op.kind) {
        case network::ActivationKind::relu:
          x = x < 0 ? Rational(0) : x;
          break;
        case network::ActivationKind::leaky_relu:
          x = x < 0 ? Rational(x * Rational(op.alpha)) : x;
          break;
        case network::ActivationKind::clip:
          x = clamp(x, Rational(op.alpha), Rational(op.beta));
          break;
        case network::ActivationKind::hard_sigmoid:
          x = clamp(x * Rational(op.alpha) + Rational(op.beta), 0, 1);
          break;
        case network::ActivationKind::hard_swish:
          x = x * clamp(x / 6 + Rational(1, 2), 0, 1);
          break;
        default:
          throw std::logic_error("no exact value of this activation");
      }
    }
    return out;
  }

  Rationals apply(const network::Add&, const network::Node& node) const {
    Rationals out = in(node);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += in(node, 1)[i];
    return out;
  }

  Rationals apply(const network::Product&, const network::Node& node) const {
    const std::size_t size = at(tensor::elements(node.shape));
    Rationals out(size);
    for (std::size_t i = 0; i < size; ++i) {
      out[i] = in(node, 0)[i * in(node, 0).size() / size] * in(node, 1)[i * in(node, 1).size() / size];
    }
    return out;
  }

  template <class Reduce>
  Rationals pool(const tensor::Window& w, const network::Node& node, Reduce reduce) const {
    Rationals out;
    for (Index c = 0; c < shape(node)[0]; ++c)
      for (Index y = 0; y < w.out_height(shape(node)[1]); ++y)
        for (Index x = 0; x < w.out_width(shape(node)[2]); ++x) {
          Rationals window;
          for_each_tap(w, shape(node)[1], shape(node)[2], y, x, [&](Index, Index place) {
            window.push_back(in(node)[at(c * shape(node)[1] * shape(node)[2] + place)]);
          });
          out.push_back(reduce(window));
        }
    return out;
  }

  static Rational sum_of(const Rationals& values) {
    Rational sum = 0;
    for (const Rational& value : values) sum += value;
    return sum;
  }

  Rationals apply(const network::MaxPool& op, const network::Node& node) const {
    return pool(op.window, node,
                [](const Rationals& window) { return *std::max_element(window.begin(), window.end()); });
  }
  Rationals apply(const network::AveragePool& op, const network::Node& node) const {
    return pool(op.window, node, [&](const Rationals& window) {
      const Index area = op.window.kernel_height * op.window.kernel_width;
      return Rational(sum_of(window) / (op.divisor_includes_pads ? area : std::ssize(window)));
    });
  }
  Rationals apply(const network::GlobalAveragePool&, const network::Node& node) const {
    const tensor::Window whole{.kernel_height = shape(node)[1], .kernel_width = shape(node)[2]};
    return pool(whole, node, [](const Rationals& window) { return Rational(sum_of(window) / std::ssize(window)); });
  }

  /// Calls use(multi-index, flat index) for every element of a shape.
  template <class Use>
  static void for_each_place(const network::Shape& of, Use use) {
    network::Shape place(of.size(), 0);
    for (Index flat = 0; flat < tensor::elements(of); ++flat) {
      use(place, flat);
      for (std::size_t axis = of.size(); axis-- > 0;) {
        if (++place[axis] < of[axis]) break;
        place[axis] = 0;
      }
    }
  }
  static Index flat(const network::Shape& of, const network::Shape& place) {
    Index result = 0;
    for (std::size_t axis = 0; axis < of.size(); ++axis) result = result * of[axis] + place[axis];
    return result;
  }

  Rationals apply(const network::Concat& op, const network::Node& node) const {
    Rationals out(at(tensor::elements(node.shape)));
    Index before = 0;
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      for_each_place(shape(node, which), [&](network::Shape place, Index i) {
        place[at(op.axis)] += before;
        out[at(flat(node.shape, place))] = in(node, which)[at(i)];
      });
      before += shape(node, which)[at(op.axis)];
    }
    return out;
  }
  Rationals apply(const network::Pad& op, const network::Node& node) const {
    Rationals out(at(tensor::elements(node.shape)), Rational(op.value));
    for_each_place(shape(node), [&](network::Shape place, Index i) {
      for (std::size_t axis = 0; axis < place.size(); ++axis) place[axis] += op.before[axis];
      out[at(flat(node.shape, place))] = in(node)[at(i)];
    });
    return out;
  }
  Rationals apply(const network::Slice& op, const network::Node& node) const {
    Rationals out;
    for_each_place(node.shape, [&](network::Shape place, Index) {
      for (std::size_t axis = 0; axis < place.size(); ++axis)
        place[axis] = op.start[axis] + op.step[axis] * place[axis];
      out.push_back(in(node)[at(flat(shape(node), place))]);
    });
    return out;
  }
  Rationals apply(const network::Permute& op, const network::Node& node) const {
    Rationals out;
    for_each_place(node.shape, [&](const network::Shape& place, Index) {
      network::Shape source(place.size());
      for (std::size_t axis = 0; axis < place.size(); ++axis) source[at(op.axes[axis])] = place[axis];
      out.push_back(in(node)[at(flat(shape(node), source))]);
    });
    return out;
  }
  Rationals apply(const network::Reshape&, const network::Node& node) const { return in(node); }
  Rationals apply(const network::ScaleShift& op, const network::Node& node) const {
    Rationals out = in(node);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t k = i * op.scale.size() / out.size();
      out[i] = out[i] * Rational(op.scale[k]) + Rational(op.shift[k]);
    }
    return out;
  }
  Rationals apply(const network::Input&, const network::Node&) const { return {}; }

  const network::Graph& graph_;
  std::span<const network::LayerParameters> layers_;
  std::vector<Rationals> values_;
};

}  // namespace quantbound::testing
