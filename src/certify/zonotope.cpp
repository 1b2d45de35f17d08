#include "quantbound/certify/zonotope.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/rearrange.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "zonotope_form.hpp"
#include "zonotope_relaxation.hpp"

namespace quantbound::certify {

namespace {

using detail::ActivationLines;
using detail::Form;
using detail::LayerMap;
using detail::NoiseId;
using detail::PairInterval;
using network::Node;
using network::Shape;

constexpr double infinity = std::numeric_limits<double>::infinity();

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

tensor::Image image_of(const Shape& shape) {
  QUANTBOUND_ASSERT(shape.size() == 3, tensor::to_string(shape));
  return {shape[0], shape[1], shape[2]};
}

/// Element each element of the result comes from, -1 for none.
std::vector<Index> sources(const tensor::Rearrangement& move, Index in_elements, Index out_elements) {
  std::vector<double> in(at(in_elements)), out(at(out_elements), -1.0);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<double>(i);
  tensor::rearrange(move, in.data(), out.data());
  std::vector<Index> result;
  result.reserve(out.size());
  for (const double source : out) result.push_back(static_cast<Index>(source));
  return result;
}

PairInterval element(const PairBox& box, std::size_t i) {
  return {box.f.low[i], box.f.high[i], box.fq.low[i], box.fq.high[i], box.difference.low[i], box.difference.high[i]};
}

PairBox pair_box(std::span<const PairInterval> elements) {
  PairBox box;
  for (const PairInterval& x : elements) {
    box.f.low.push_back(x.f_low);
    box.f.high.push_back(x.f_high);
    box.fq.low.push_back(x.fq_low);
    box.fq.high.push_back(x.fq_high);
    box.difference.low.push_back(x.d_low);
    box.difference.high.push_back(x.d_high);
  }
  return box;
}

void narrow(double& low, double& high, double other_low, double other_high) {
  if (std::isfinite(other_low)) low = std::max(low, other_low);
  if (std::isfinite(other_high)) high = std::min(high, other_high);
}

double down(double a, double b) { return -core::add_up(-a, -b); }

/// Each of y, y' and y' - y from the other two.
void tighten(PairBox& box) {
  for (std::size_t i = 0; i < box.f.low.size(); ++i) {
    double &f_low = box.f.low[i], &f_high = box.f.high[i], &q_low = box.fq.low[i], &q_high = box.fq.high[i];
    double &d_low = box.difference.low[i], &d_high = box.difference.high[i];
    narrow(d_low, d_high, down(q_low, -f_high), core::add_up(q_high, -f_low));
    narrow(f_low, f_high, down(q_low, -d_high), core::add_up(q_high, -d_low));
    narrow(q_low, q_high, down(f_low, d_low), core::add_up(f_high, d_high));
    QUANTBOUND_ASSERT(d_low <= d_high && f_low <= f_high && q_low <= q_high, i, f_low, f_high, q_low, q_high, d_low,
                      d_high);
  }
}

/// The forms of one value: y, y', and d by each rule.
struct Forms {
  Form f, fq;
  std::vector<Form> d;

  /// The same operation on every form.
  template <class Operation>
  Forms each(Operation operation) const {
    Forms result{operation(f), operation(fq), {}};
    for (const Form& form : d) result.d.push_back(operation(form));
    return result;
  }
};

bool rounds(const Pair& pair, std::size_t v) { return !pair.activation_grids.empty() && pair.activation_grids[v]; }

/// Both functions of an activation, where both are piecewise linear.
std::optional<detail::PiecewisePair> piecewise(const Pair& pair, const network::Activation& op, std::size_t v) {
  const auto f = detail::pieces_of(op);
  if (!f) return std::nullopt;
  if (!rounds(pair, v)) return detail::PiecewisePair{*f, *f, 0.0, true};
  const ActivationGrid& grid = *pair.activation_grids[v];
  return detail::PiecewisePair{*f, *detail::pieces_of(grid), grid.step / 2.0, false};
}

/// What an activation makes of the intervals of its input joins what is known of its output.
void narrow_by_image(const Pair& pair, std::size_t v, PairBounds& known) {
  const auto* activation = std::get_if<network::Activation>(&pair.graph.nodes[v].op);
  const auto functions = activation ? piecewise(pair, *activation, v) : std::nullopt;
  if (!functions) return;
  const PairBox& before = known[pair.graph.nodes[v].inputs.front()];
  std::vector<PairInterval> images(before.f.low.size());
#pragma omp parallel for schedule(static) if (tensor::worth_threads(100 * std::ssize(images)))
  for (std::size_t i = 0; i < images.size(); ++i) images[i] = detail::image(*functions, element(before, i));
  known.nodes[v] = intersection(known.nodes[v], pair_box(images));
  tighten(known.nodes[v]);
}

/// One family of forms through the graph, node after node; forms are dropped when their last reader has run. Reads and
/// narrows what is known of the nodes, which it shares with the other families.
class Family {
 public:
  Family(const Pair& pair, const Box& input, Index generators, detail::Style style, PairBounds& known)
      : pair_(pair),
        graph_(pair.graph),
        most_(generators),
        style_(style),
        rules_(detail::rules_of(style)),
        known_(known),
        forms_(graph_.nodes.size()),
        readers_(graph_.nodes.size(), 0) {
    for (const Node& node : graph_.nodes)
      for (const NodeId input_node : node.inputs) ++readers_[at(input_node)];
    forms_.front() = input_forms(input);
  }

  void step(std::size_t v) {
    const Node& node = graph_.nodes[v];
    forms_[v] = std::visit([&](const auto& op) { return apply(op, node, v); }, node.op);
    enclose(forms_[v], known_.nodes[v]);
    for (const NodeId input : node.inputs)
      if (--readers_[at(input)] == 0) forms_[at(input)] = {};
    if (readers_[v] == 0) forms_[v] = {};
  }

 private:
  const Forms& of_input(const Node& node, std::size_t which = 0) const { return forms_[at(node.inputs[which])]; }
  const PairBox& known_of_input(const Node& node) const { return known_[node.inputs.front()]; }
  const Shape& input_shape(const Node& node, std::size_t which = 0) const {
    return graph_.nodes[at(node.inputs[which])].shape;
  }

  Forms zeros(std::size_t n) const {
    const Form zero = detail::constant(std::vector<double>(n, 0.0));
    return {zero, zero, std::vector<Form>(rules_.size(), zero)};
  }

  Forms input_forms(const Box& input) {
    Forms forms = zeros(input.low.size());
    std::vector<detail::Noise> noises;
    for (std::size_t i = 0; i < input.low.size(); ++i) {
      const detail::Ball ball = detail::ball(input.low[i], input.high[i]);
      forms.f.center[i] = ball.center;
      if (ball.radius > 0.0)
        noises.push_back({next_noise_ + static_cast<NoiseId>(i), static_cast<Index>(i), ball.radius});
    }
    next_noise_ += forms.f.size();
    detail::add_noises(forms.f, std::move(noises), most_);
    forms.fq = forms.f;
    return forms;
  }

  /// What the forms prove joins what is known; forms that overflowed are replaced by it.
  void enclose(Forms& forms, PairBox& known) const {
    const auto enclosed = [&](Form& form) {
      if (form.noises() > most_) detail::add_noises(form, {}, most_);
      form.radius = detail::radii(form);
      return detail::enclosure(form, form.radius);
    };
    known.f = intersection(known.f, enclosed(forms.f));
    known.fq = intersection(known.fq, enclosed(forms.fq));
    for (Form& d : forms.d) known.difference = intersection(known.difference, enclosed(d));
    const Form apart = detail::difference(forms.f, forms.fq);
    known.difference = intersection(known.difference, detail::enclosure(apart, detail::radii(apart)));
    tighten(known);
    detail::replace_overflown(forms.f, known.f);
    detail::replace_overflown(forms.fq, known.fq);
    for (Form& d : forms.d) detail::replace_overflown(d, known.difference);
  }

  // ---- weight layers

  Forms apply(const network::Dense& op, const Node& node, std::size_t) const {
    const LayerMap map{[&](auto weights, auto bias, auto values, Index batch) {
                         return tensor::dense(op.outputs, weights, bias, values, batch);
                       },
                       op.inputs};
    return apply_layer(map, op.layer, of_input(node));
  }

  Forms apply(const network::Convolution& op, const Node& node, std::size_t) const {
    const LayerMap map{[&](auto weights, auto bias, auto values, Index batch) {
                         return tensor::convolve(op.geometry, weights, bias, values, batch);
                       },
                       op.geometry.fan_in()};
    return apply_layer(map, op.layer, of_input(node));
  }

  /// d by one identity or the other: a mixture, element by element, would lose what cancels later.
  Forms apply_layer(const LayerMap& map, Index layer, const Forms& in) const {
    const auto &w = pair_.f[at(layer)], &wq = pair_.fq[at(layer)], &dw = pair_.change[at(layer)];
    Forms out;
    out.f = detail::affine(map, w.weights, w.bias, in.f);
    out.fq = detail::affine(map, wq.weights, wq.bias, in.fq);
    for (std::size_t k = 0; k < rules_.size(); ++k) {
      const bool by_f = rules_[k] != detail::Rule::mirrored;
      const Form carried = detail::affine(map, by_f ? wq.weights : w.weights, {}, in.d[k]);
      out.d.push_back(detail::add(carried, detail::affine(map, dw.weights, dw.bias, by_f ? in.f : in.fq)));
    }
    return out;
  }

  // ---- activations

  Forms apply(const network::Activation& op, const Node& node, std::size_t v) {
    const PairBox &before = known_of_input(node), &after = known_.nodes[v];
    const auto functions = piecewise(pair_, op, v);
    const bool smooth =
        !rounds(pair_, v) && (op.kind == network::ActivationKind::sigmoid || op.kind == network::ActivationKind::tanh);
    std::vector<ActivationLines> lines(before.f.low.size());
#pragma omp parallel for schedule(static) if (tensor::worth_threads(100 * std::ssize(lines)))
    for (std::size_t i = 0; i < lines.size(); ++i) {
      lines[i] = functions ? detail::relax(*functions, element(before, i), element(after, i), style_)
                 : smooth  ? detail::relax_smooth(op.kind, element(before, i), element(after, i))
                           : detail::boxes(element(after, i));
    }
    return apply_lines(of_input(node), lines);
  }

  /// Lines become forms; every line with a noise brings a new one, and f's and f_q's are shared with the difference.
  Forms apply_lines(const Forms& in, std::span<const ActivationLines> lines) {
    const std::size_t n = lines.size();
    const auto each = [&](auto get) {
      std::vector<double> values(n);
      for (std::size_t i = 0; i < n; ++i) values[i] = get(lines[i]);
      return values;
    };
    using Parts = std::vector<detail::Part>;
    const auto f = each([](const auto&l) { return l.f.slope; }), fq = each([](const auto&l) { return l.fq.slope; });
    Forms out;
    out.f = detail::combine(Parts{{in.f, f}}, each([](const auto& l) { return l.f.offset; }));
    out.fq = detail::combine(Parts{{in.fq, fq}}, each([](const auto& l) { return l.fq.offset; }));
    for (std::size_t k = 0; k < rules_.size(); ++k) {
      const auto d_f = each([&](const auto& l) { return l.difference[k].f; });
      const auto d_fq = each([&](const auto& l) { return l.difference[k].fq; });
      const auto d = each([&](const auto& l) { return l.difference[k].d; });
      out.d.push_back(detail::combine(Parts{{in.f, d_f}, {in.fq, d_fq}, {in.d[k], d}},
                                      each([&](const auto& l) { return l.difference[k].offset; })));
    }
    add_noises_of(lines, out);
    return out;
  }

  void add_noises_of(std::span<const ActivationLines> lines, Forms& out) {
    const auto count = static_cast<NoiseId>(lines.size());
    const auto collect = [&](Form& form, auto coefficients) {
      std::vector<detail::Noise> noises;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::array<double, 3> of_line = coefficients(lines[i]);
        for (NoiseId which = 0; which < 3; ++which) {
          const double coefficient = of_line[static_cast<std::size_t>(which)];
          const NoiseId id = next_noise_ + which * count + static_cast<NoiseId>(i);
          if (coefficient != 0.0) noises.push_back({id, static_cast<Index>(i), coefficient});
        }
      }
      detail::add_noises(form, std::move(noises), most_);
    };
    collect(out.f, [](const ActivationLines& l) { return std::array{l.f.noise, 0.0, 0.0}; });
    collect(out.fq, [](const ActivationLines& l) { return std::array{0.0, l.fq.noise, 0.0}; });
    for (std::size_t k = 0; k < out.d.size(); ++k) {
      for (std::size_t i = 0; i < lines.size(); ++i) {
        out.d[k].slack[i] = core::add_up(out.d[k].slack[i], lines[i].difference[k].error);
      }
      collect(out.d[k], [k](const ActivationLines& l) {
        const detail::DifferenceLine& d = l.difference[k];
        return std::array{d.f_noise == 0.0 ? 0.0 : d.f_noise * l.f.noise,
                          d.fq_noise == 0.0 ? 0.0 : d.fq_noise * l.fq.noise, d.noise};
      });
    }
    next_noise_ += 3 * count;
  }

  // ---- maxima

  struct Places {
    const network::MaxPool& op;
    tensor::Image image;
    /// Elements of the input under the window of output element i.
    std::vector<Index> of(Index i) const {
      const tensor::Window& w = op.window;
      const Index out_width = w.out_width(image.width), places = w.out_height(image.height) * out_width;
      const Index channel = i / places, top = i % places / out_width * w.stride_height - w.pad_top,
                  left = i % out_width * w.stride_width - w.pad_left;
      std::vector<Index> result;
      for (Index ky = 0; ky < w.kernel_height; ++ky)
        for (Index kx = 0; kx < w.kernel_width; ++kx) {
          const Index y = top + ky * w.dilation_height, x = left + kx * w.dilation_width;
          if (y < 0 || y >= image.height || x < 0 || x >= image.width) continue;
          result.push_back((channel * image.height + y) * image.width + x);
        }
      return result;
    }
  };

  Forms apply(const network::MaxPool& op, const Node& node, std::size_t v) {
    const Places places{op, image_of(input_shape(node))};
    const PairBox& before = known_of_input(node);
    const std::size_t n = at(tensor::elements(node.shape));
    std::vector<Index> f(n), fq(n);
    std::vector<ActivationLines> lines(n);
    for (std::size_t i = 0; i < n; ++i) {
      const auto candidates = places.of(static_cast<Index>(i));
      const detail::Largest of_f = detail::largest(before.f, candidates),
                            of_fq = detail::largest(before.fq, candidates);
      f[i] = of_f.element;
      fq[i] = of_fq.element;
      const PairInterval taken{before.f.low[at(f[i])],          before.f.high[at(f[i])],
                               before.fq.low[at(fq[i])],        before.fq.high[at(fq[i])],
                               before.difference.low[at(f[i])], before.difference.high[at(f[i])]};
      lines[i] = detail::relax_largest(of_f, of_fq, taken, element(known_.nodes[v], i));
    }
    const Forms& in = of_input(node);
    Forms taken{detail::gather(in.f, f, 0.0), detail::gather(in.fq, fq, 0.0), {}};
    for (const Form& d : in.d) taken.d.push_back(detail::gather(d, f, 0.0));
    return apply_lines(taken, lines);
  }

  // ---- linear operators without weights

  Forms apply(const network::Add&, const Node& node, std::size_t) const {
    const Forms &a = of_input(node), &b = of_input(node, 1);
    Forms out{detail::add(a.f, b.f), detail::add(a.fq, b.fq), {}};
    for (std::size_t k = 0; k < a.d.size(); ++k) out.d.push_back(detail::add(a.d[k], b.d[k]));
    return out;
  }

  Forms apply(const network::ScaleShift& op, const Node& node, std::size_t) const {
    const Index n = tensor::elements(node.shape);
    const Index per_scale = n / std::ssize(op.scale), per_shift = n / std::ssize(op.shift);
    std::vector<double> scale(at(n)), shift(at(n)), zero(at(n), 0.0);
    for (Index i = 0; i < n; ++i) {
      scale[at(i)] = op.scale[at(i / per_scale)];
      shift[at(i)] = op.shift[at(i / per_shift)];
    }
    const Forms& in = of_input(node);
    using Parts = std::vector<detail::Part>;
    Forms out{detail::combine(Parts{{in.f, scale}}, shift), detail::combine(Parts{{in.fq, scale}}, shift), {}};
    for (const Form& d : in.d) out.d.push_back(detail::combine(Parts{{d, scale}}, zero));
    return out;
  }

  template <class Pool>
  Forms averaged(const Node& node, Pool pool, Index terms) const {
    return of_input(node).each([&](const Form& form) { return detail::average(form, pool, terms); });
  }

  Forms apply(const network::AveragePool& op, const Node& node, std::size_t) const {
    const auto divisor = op.divisor_includes_pads ? tensor::Divisor::window : tensor::Divisor::inside;
    return averaged(
        node,
        [&, image = image_of(input_shape(node))](std::span<const double> values, Index batch) {
          return tensor::average_pool(op.window, image, divisor, values, batch);
        },
        op.window.kernel_height * op.window.kernel_width);
  }

  Forms apply(const network::GlobalAveragePool&, const Node& node, std::size_t) const {
    const tensor::Image image = image_of(input_shape(node));
    return averaged(
        node,
        [&](std::span<const double> values, Index batch) { return tensor::global_average_pool(image, values, batch); },
        image.pixels());
  }

  // ---- moves

  Forms moved(const Node& node, const tensor::Rearrangement& move, double fill, std::size_t which = 0) const {
    const auto source = sources(move, tensor::elements(input_shape(node, which)), tensor::elements(node.shape));
    const Forms& in = of_input(node, which);
    Forms out{detail::gather(in.f, source, fill), detail::gather(in.fq, source, fill), {}};
    for (const Form& d : in.d) out.d.push_back(detail::gather(d, source, 0.0));
    return out;
  }

  Forms apply(const network::Pad& op, const Node& node, std::size_t) const {
    return moved(node, tensor::placement(input_shape(node), node.shape, op.before), op.value);
  }
  Forms apply(const network::Slice& op, const Node& node, std::size_t) const {
    return moved(node, tensor::slice(input_shape(node), op.start, op.step, op.count), 0.0);
  }
  Forms apply(const network::Permute& op, const Node& node, std::size_t) const {
    return moved(node, tensor::permutation(input_shape(node), op.axes), 0.0);
  }
  Forms apply(const network::Reshape&, const Node& node, std::size_t) {
    Forms& in = forms_[at(node.inputs.front())];
    return readers_[at(node.inputs.front())] == 1 ? std::move(in) : in;
  }

  Forms apply(const network::Concat& op, const Node& node, std::size_t) const {
    std::vector<Forms> placed;
    std::vector<std::uint8_t> choice(at(tensor::elements(node.shape)), 0);
    Forms out;
    std::vector<Index> before(node.shape.size(), 0);
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      const auto move = tensor::placement(input_shape(node, which), node.shape, before);
      before[at(op.axis)] += input_shape(node, which)[at(op.axis)];
      Forms part = moved(node, move, 0.0, which);
      if (which == 0) {
        out = std::move(part);
        continue;
      }
      const auto source = sources(move, tensor::elements(input_shape(node, which)), tensor::elements(node.shape));
      for (std::size_t i = 0; i < choice.size(); ++i) choice[i] = source[i] >= 0 ? 1 : 0;
      const auto join = [&](Form& target, const Form& other) {
        target = detail::choose(std::vector<const Form*>{&target, &other}, choice);
      };
      join(out.f, part.f);
      join(out.fq, part.fq);
      for (std::size_t k = 0; k < out.d.size(); ++k) join(out.d[k], part.d[k]);
    }
    return out;
  }

  // ---- operators whose correlations are forgotten

  Forms apply(const network::Product&, const Node& node, std::size_t v) {
    return apply_boxes(at(tensor::elements(node.shape)), v);
  }

  Forms apply_boxes(std::size_t n, std::size_t v) {
    std::vector<ActivationLines> lines(n);
    for (std::size_t i = 0; i < n; ++i) lines[i] = detail::boxes(element(known_.nodes[v], i));
    return apply_lines(zeros(n), lines);
  }

  Forms apply(const network::Input&, const Node& node, std::size_t) const {
    QUANTBOUND_ASSERT(false, node.name);  // Only node 0 is an Input.
    return {};
  }

  const Pair& pair_;
  const Graph& graph_;
  Index most_;
  detail::Style style_;
  std::span<const detail::Rule> rules_;
  PairBounds& known_;
  std::vector<Forms> forms_;
  std::vector<Index> readers_;  ///< of each value, still to run
  NoiseId next_noise_ = 0;
};

}  // namespace

PairBounds difference_zonotope(const Pair& pair, const Box& input, Index generators) {
  QUANTBOUND_ASSERT(generators >= 1 && std::ssize(input.low) == tensor::elements(pair.graph.input_shape()) &&
                        input.low.size() == input.high.size(),
                    generators, input.low.size(), input.high.size(), tensor::to_string(pair.graph.input_shape()));
  PairBounds known = difference_interval(pair, input);
  std::vector<Family> families;
  families.reserve(std::size(detail::styles));
  for (const detail::Style style : detail::styles) families.emplace_back(pair, input, generators, style, known);
  for (std::size_t v = 1; v < pair.graph.nodes.size(); ++v) {
    narrow_by_image(pair, v, known);
    for (Family& family : families) family.step(v);
  }
  return known;
}

std::size_t difference_zonotope_bytes(const Pair& pair, Index generators) {
  Index noises = tensor::elements(pair.graph.input_shape()), widest = noises;
  for (const Node& node : pair.graph.nodes) {
    const Index n = tensor::elements(node.shape);
    widest = std::max(widest, n);
    const bool relaxed = std::holds_alternative<network::Activation>(node.op) ||
                         std::holds_alternative<network::MaxPool>(node.op) ||
                         std::holds_alternative<network::Product>(node.op);
    if (relaxed) noises += 3 * n;
  }
  // The seven forms of all families before and after a node, and a sum of twice the noises with its two terms.
  constexpr std::size_t forms = 18;
  return forms * at(std::min(noises, generators)) * at(widest) * sizeof(double);
}

}  // namespace quantbound::certify
