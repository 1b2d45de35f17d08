#include "star_relaxation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"
#include "quantbound/tensor/rearrange.hpp"

#include "star_lines.hpp"

namespace quantbound::certify::linear {

namespace {

using core::add_up;
using core::multiply_up;

constexpr double infinity = std::numeric_limits<double>::infinity();

double add_down(double a, double b) { return -add_up(-a, -b); }
double multiply_down(double a, double b) { return -multiply_up(-a, b); }
std::size_t index(Index i) { return static_cast<std::size_t>(i); }
bool finite(Interval i) { return std::isfinite(i.low) && std::isfinite(i.high); }
bool point(Interval i) { return i.low == i.high; }

Interval hull(Interval a, Interval b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }

/// Where each element of a node that only moves elements comes from; -1 for the value of a pad.
struct Moves {
  const network::Graph& graph;
  const network::Node& node;

  std::vector<std::pair<NodeId, Index>> from_first(const tensor::Rearrangement& rearrangement) const {
    std::vector<std::pair<NodeId, Index>> sources(index(tensor::elements(node.shape)), {-1, -1});
    place(rearrangement, 0, sources);
    return sources;
  }

  void place(const tensor::Rearrangement& rearrangement, std::size_t which,
             std::vector<std::pair<NodeId, Index>>& sources) const {
    const NodeId from = node.inputs[which];
    std::vector<double> numbers(index(tensor::elements(graph.nodes[index(from)].shape)));
    std::iota(numbers.begin(), numbers.end(), 0.0);
    std::vector<double> moved(sources.size(), -1.0);
    tensor::rearrange(rearrangement, numbers.data(), moved.data());
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (moved[i] >= 0.0) sources[i] = {from, static_cast<Index>(moved[i])};
    }
  }

  const network::Shape& in(std::size_t which = 0) const { return graph.nodes[index(node.inputs[which])].shape; }

  std::vector<std::pair<NodeId, Index>> operator()(const network::Reshape&) const {
    return from_first(tensor::placement({tensor::elements(in())}, {tensor::elements(in())}, std::vector<Index>{0}));
  }
  std::vector<std::pair<NodeId, Index>> operator()(const network::Permute& op) const {
    return from_first(tensor::permutation(in(), op.axes));
  }
  std::vector<std::pair<NodeId, Index>> operator()(const network::Slice& op) const {
    return from_first(tensor::slice(in(), op.start, op.step, op.count));
  }
  std::vector<std::pair<NodeId, Index>> operator()(const network::Pad& op) const {
    return from_first(tensor::placement(in(), node.shape, op.before));
  }
  std::vector<std::pair<NodeId, Index>> operator()(const network::Concat& op) const {
    std::vector<std::pair<NodeId, Index>> sources(index(tensor::elements(node.shape)), {-1, -1});
    std::vector<Index> before(node.shape.size(), 0);
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      place(tensor::placement(in(which), node.shape, before), which, sources);
      before[index(op.axis)] += in(which)[index(op.axis)];
    }
    return sources;
  }
  template <class Other>
  std::vector<std::pair<NodeId, Index>> operator()(const Other&) const {
    return {};
  }
};

}  // namespace

/// A linear form of values, with its constant part in an interval.
class StarRelaxation::Row {
 public:
  Row& add(double coefficient, StarValue value) {
    if (coefficient == 0.0) return *this;
    if (value.is_variable()) {
      terms_.push_back({value.variable, coefficient});
    } else {
      add_constant({multiply_down(coefficient, value.constant), multiply_up(coefficient, value.constant)});
    }
    return *this;
  }
  Row& add_constant(Interval constant) {
    constant_ = {add_down(constant_.low, constant.low), add_up(constant_.high, constant.high)};
    return *this;
  }
  /// Every term of another form, times a coefficient whose products must be exact: 1, -1, or a form of coefficients 1.
  Row& add(double coefficient, const Row& other) {
    for (const Term& term : other.terms_) terms_.push_back({term.variable, coefficient * term.coefficient});
    const double a = other.constant_.low, b = other.constant_.high;
    if (a == 0.0 && b == 0.0) return *this;
    return add_constant({std::min(multiply_down(coefficient, a), multiply_down(coefficient, b)),
                         std::max(multiply_up(coefficient, a), multiply_up(coefficient, b))});
  }
  /// low <= form <= high becomes a row, unless it says nothing or cannot be said in finite numbers.
  bool add_to(LinearProgram& program, Interval limits) const {
    const Interval shifted{add_down(limits.low, -constant_.high), add_up(limits.high, -constant_.low)};
    const bool all_finite =
        std::all_of(terms_.begin(), terms_.end(), [](const Term& term) { return std::isfinite(term.coefficient); });
    const bool says = std::isfinite(shifted.low) || std::isfinite(shifted.high);
    if (terms_.empty() || !all_finite || !says || !(shifted.low <= shifted.high)) return false;
    program.add_row(terms_, shifted);
    return true;
  }

 private:
  std::vector<Term> terms_;
  Interval constant_;
};

/// divisor * output = sum of weight * element + bias, in f and in f_q.
struct StarRelaxation::Weighted {
  NodeId node;
  Index element;
  double f, fq;
};
struct StarRelaxation::Affine {
  std::vector<Weighted> inputs;
  double bias_f = 0.0, bias_fq = 0.0;
  double divisor = 1.0;
};

StarRelaxation::StarRelaxation(const Pair& pair, PairBounds bounds, NodeId first)
    : pair_(&pair), bounds_(std::move(bounds)), first_(first) {
  for (const network::Node& node : pair.graph.nodes) {
    const std::size_t elements = index(tensor::elements(node.shape));
    f_.push_back({std::vector<StarValue>(elements), std::vector<bool>(elements, false)});
    difference_.push_back(f_.back());
    sources_.push_back(std::visit(Moves{pair.graph, node}, node.op));
  }
}

StarRelaxation::Known& StarRelaxation::known(NodeId node, StarPart part) {
  return (part == StarPart::f ? f_ : difference_)[index(node)];
}

Interval StarRelaxation::limits(NodeId node, Index element, StarPart part) const {
  const Box& box = part == StarPart::f ? bounds_[node].f : bounds_[node].difference;
  return {box.low[index(element)], box.high[index(element)]};
}

Interval StarRelaxation::limits_of_fq(NodeId node, Index element) const {
  const Box& box = bounds_[node].fq;
  return {box.low[index(element)], box.high[index(element)]};
}

StarValue StarRelaxation::variable(NodeId node, Index element, StarPart part) {
  return {program_.add_variable(limits(node, element, part)), 0.0};
}

StarValue StarRelaxation::value(NodeId node, Index element, StarPart part) {
  if (known(node, part).known[index(element)]) return known(node, part).values[index(element)];
  const Interval interval = limits(node, element, part);
  const StarValue value = point(interval) ? StarValue{-1, interval.low} : define(node, element, part);
  if (value.is_variable()) program_.tighten(value.variable, interval);
  known(node, part).known[index(element)] = true;
  known(node, part).values[index(element)] = value;
  return value;
}

void StarRelaxation::tighten(NodeId node, Index element, const PairBox& proved) {
  const auto meet = [&](Box& box, const Box& better) {
    double& low = box.low[index(element)];
    double& high = box.high[index(element)];
    const double new_low = std::max(low, better.low[0]), new_high = std::min(high, better.high[0]);
    if (new_low <= new_high) {
      low = new_low;
      high = new_high;
    }
  };
  PairBox& box = bounds_[node];
  meet(box.f, proved.f);
  meet(box.fq, proved.fq);
  meet(box.difference, proved.difference);
  for (const StarPart part : {StarPart::f, StarPart::difference}) {
    const Known& of_part = known(node, part);
    if (!of_part.known[index(element)] || !of_part.values[index(element)].is_variable()) continue;
    program_.tighten(of_part.values[index(element)].variable, limits(node, element, part));
  }
}

StarValue StarRelaxation::define(NodeId node, Index element, StarPart part) {
  if (node < first_ || node == 0) return variable(node, element, part);
  const network::Operator& op = at(node).op;
  if (!sources_[index(node)].empty()) {
    const auto [from, which] = sources_[index(node)][index(element)];
    if (from >= 0) return value(from, which, part);
    return {-1, part == StarPart::f ? std::get<network::Pad>(op).value : 0.0};
  }
  if (is_affine(node)) return define_affine(node, element, part);
  if (std::holds_alternative<network::Activation>(op)) {
    return part == StarPart::f ? define_activation(node, element) : define_activation_difference(node, element);
  }
  if (std::holds_alternative<network::MaxPool>(op)) {
    return part == StarPart::f ? define_maximum(node, element) : define_maximum_difference(node, element);
  }
  return variable(node, element, part);
}

// ---- affine operators ----

bool StarRelaxation::is_affine(NodeId node) const {
  const network::Operator& op = at(node).op;
  return std::holds_alternative<network::Dense>(op) || std::holds_alternative<network::Convolution>(op) ||
         std::holds_alternative<network::Add>(op) || std::holds_alternative<network::ScaleShift>(op) ||
         std::holds_alternative<network::AveragePool>(op) || std::holds_alternative<network::GlobalAveragePool>(op);
}

namespace {

/// The positions of a window's place that lie in the image: tap and pixel.
template <class Visit>
void for_each_tap(const tensor::Window& window, Index height, Index width, Index row, Index column, Visit visit) {
  for (Index i = 0; i < window.kernel_height; ++i) {
    const Index y = row * window.stride_height + i * window.dilation_height - window.pad_top;
    if (y < 0 || y >= height) continue;
    for (Index j = 0; j < window.kernel_width; ++j) {
      const Index x = column * window.stride_width + j * window.dilation_width - window.pad_left;
      if (x >= 0 && x < width) visit(i * window.kernel_width + j, y * width + x);
    }
  }
}

/// Channel, row and column of an element.
struct Place {
  Index channel, row, column;
  Place(Index element, const network::Shape& shape)
      : channel(element / (shape[1] * shape[2])), row(element / shape[2] % shape[1]), column(element % shape[2]) {}
};

/// Elements of the input that a pooling window covers.
std::vector<Index> covered(const tensor::Window& window, const network::Shape& in, const network::Shape& out,
                           Index element) {
  const Place place(element, out);
  std::vector<Index> elements;
  for_each_tap(window, in[1], in[2], place.row, place.column,
               [&](Index, Index pixel) { elements.push_back(place.channel * in[1] * in[2] + pixel); });
  return elements;
}

}  // namespace

StarRelaxation::Affine StarRelaxation::affine(NodeId id, Index element) const {
  const network::Node& node = at(id);
  const NodeId from = node.inputs.front();
  const network::Shape& in = at(from).shape;
  Affine result;
  if (const auto* dense = std::get_if<network::Dense>(&node.op)) {
    const LayerParameters &f = pair_->f[index(dense->layer)], &fq = pair_->fq[index(dense->layer)];
    for (Index j = 0; j < dense->inputs; ++j) {
      const std::size_t at_weight = index(element * dense->inputs + j);
      result.inputs.push_back({from, j, f.weights[at_weight], fq.weights[at_weight]});
    }
    result.bias_f = f.bias.empty() ? 0.0 : f.bias[index(element)];
    result.bias_fq = fq.bias.empty() ? 0.0 : fq.bias[index(element)];
  } else if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) {
    const tensor::Convolution& g = convolution->geometry;
    const LayerParameters &f = pair_->f[index(convolution->layer)], &fq = pair_->fq[index(convolution->layer)];
    const Place place(element, node.shape);
    const Index channels = g.channels_in / g.groups, taps = g.window.kernel_height * g.window.kernel_width;
    const Index first_channel = place.channel / (g.channels_out / g.groups) * channels;
    for (Index c = 0; c < channels; ++c) {
      for_each_tap(g.window, g.height, g.width, place.row, place.column, [&](Index tap, Index pixel) {
        const std::size_t at_weight = index((place.channel * channels + c) * taps + tap);
        result.inputs.push_back(
            {from, (first_channel + c) * g.height * g.width + pixel, f.weights[at_weight], fq.weights[at_weight]});
      });
    }
    result.bias_f = f.bias.empty() ? 0.0 : f.bias[index(place.channel)];
    result.bias_fq = fq.bias.empty() ? 0.0 : fq.bias[index(place.channel)];
  } else if (const auto* affine = std::get_if<network::ScaleShift>(&node.op)) {
    const Index elements = tensor::elements(node.shape);
    const double scale = affine->scale[index(element / (elements / std::ssize(affine->scale)))];
    const double shift = affine->shift[index(element / (elements / std::ssize(affine->shift)))];
    result.inputs.push_back({from, element, scale, scale});
    result.bias_f = result.bias_fq = shift;
  } else if (const auto* pool = std::get_if<network::AveragePool>(&node.op)) {
    const std::vector<Index> elements = covered(pool->window, in, node.shape, element);
    for (const Index i : elements) result.inputs.push_back({from, i, 1.0, 1.0});
    result.divisor = static_cast<double>(
        pool->divisor_includes_pads ? pool->window.kernel_height * pool->window.kernel_width : std::ssize(elements));
  } else if (std::holds_alternative<network::GlobalAveragePool>(node.op)) {
    const Index pixels = in[1] * in[2];
    for (Index i = 0; i < pixels; ++i) result.inputs.push_back({from, element * pixels + i, 1.0, 1.0});
    result.divisor = static_cast<double>(pixels);
  } else {
    QUANTBOUND_ASSERT(std::holds_alternative<network::Add>(node.op), node.name);
    for (const NodeId input : node.inputs) result.inputs.push_back({input, element, 1.0, 1.0});
  }
  return result;
}

namespace {

/// to - from as the nearest double and a bound of what that is off by; exact differences have error 0.
struct Change {
  double nearest, error;
};
Change change(double from, double to) {
  const double nearest = to - from;
  const double up = add_up(to, -from), down = add_down(to, -from);
  return {nearest, up == down ? 0.0 : add_up(up, -down)};
}

}  // namespace

StarValue StarRelaxation::define_affine(NodeId node, Index element, StarPart part) {
  const Affine form = affine(node, element);
  Row row;
  for (const Weighted& input : form.inputs) {
    if (part == StarPart::f) {
      if (input.f != 0.0) row.add(input.f, value(input.node, input.element, StarPart::f));
      continue;
    }
    if (input.fq != 0.0) row.add(input.fq, value(input.node, input.element, StarPart::difference));
    const Change changed = change(input.f, input.fq);
    if (changed.nearest == 0.0) continue;
    row.add(changed.nearest, value(input.node, input.element, StarPart::f));
    if (changed.error == 0.0) continue;
    const Interval y = limits(input.node, input.element, StarPart::f);
    const double slack = multiply_up(changed.error, std::max(std::abs(y.low), std::abs(y.high)));
    row.add_constant({-slack, slack});
  }
  if (part == StarPart::f) {
    row.add_constant({form.bias_f, form.bias_f});
  } else {
    row.add_constant({add_down(form.bias_fq, -form.bias_f), add_up(form.bias_fq, -form.bias_f)});
  }
  const StarValue output = variable(node, element, part);
  row.add(-form.divisor, output).add_to(program_, {0.0, 0.0});
  return output;
}

// ---- activations ----

StarValue StarRelaxation::define_activation(NodeId node, Index element) {
  const auto& activation = std::get<network::Activation>(at(node).op);
  const NodeId from = at(node).inputs.front();
  const Interval input_limits = limits(from, element, StarPart::f);
  if (!finite(input_limits)) return variable(node, element, StarPart::f);

  const auto piece = single_piece(activation, input_limits);
  if (piece && piece->slope == 0.0) return {-1, piece->offset};
  const StarValue input = value(from, element, StarPart::f);
  if (piece && piece->slope == 1.0 && piece->offset == 0.0) return input;
  const StarValue output = variable(node, element, StarPart::f);
  if (piece) {
    Row().add(1.0, output).add(-piece->slope, input).add_to(program_, {piece->offset, piece->offset});
    return output;
  }
  const Lines lines = activation_lines(activation, input_limits);
  for (const Line& line : lines.above) {
    Row().add(1.0, output).add(-line.slope, input).add_to(program_, {-infinity, line.offset});
  }
  for (const Line& line : lines.below) {
    Row().add(1.0, output).add(-line.slope, input).add_to(program_, {line.offset, infinity});
  }
  relaxes_ = true;
  return output;
}

/// Rows between f_q's input y + d and its output, as forms with coefficients 1.
void StarRelaxation::relate_fq(NodeId node, Index element, const Row& output, const Row& input) {
  const auto& grid = pair_->activation_grids.empty() ? std::nullopt : pair_->activation_grids[index(node)];
  const Interval input_limits = limits_of_fq(at(node).inputs.front(), element);
  if (!finite(input_limits)) return;
  // Rounding to a grid and clamping is clamping, and at most half a step beside it.
  const auto activation = grid ? network::Activation{network::ActivationKind::clip, grid->low, grid->high}
                               : std::get<network::Activation>(at(node).op);
  const double aside = grid ? core::next_up(grid->step / 2.0) : 0.0;
  const auto add = [&](double slope, Interval offsets) {
    Row row = output;
    row.add(-slope, input).add_to(program_, {add_down(offsets.low, -aside), add_up(offsets.high, aside)});
  };
  if (const auto piece = single_piece(activation, input_limits)) {
    add(piece->slope, {piece->offset, piece->offset});
    return;
  }
  const Lines lines = activation_lines(activation, input_limits);
  for (const Line& line : lines.above) add(line.slope, {-infinity, line.offset});
  for (const Line& line : lines.below) add(line.slope, {line.offset, infinity});
  add(0.0, limits_of_fq(node, element));
}

StarValue StarRelaxation::define_activation_difference(NodeId node, Index element) {
  const auto& activation = std::get<network::Activation>(at(node).op);
  const bool rounded = !pair_->activation_grids.empty() && pair_->activation_grids[index(node)].has_value();
  const NodeId from = at(node).inputs.front();
  const Interval of_f = limits(from, element, StarPart::f), of_fq = limits_of_fq(from, element);
  const Interval of_difference = limits(from, element, StarPart::difference);
  if (!finite(of_f) || !finite(of_fq) || !finite(of_difference)) return variable(node, element, StarPart::difference);

  const auto piece = single_piece(activation, hull(of_f, of_fq));
  if (piece && !rounded) {
    if (piece->slope == 0.0) return {-1, 0.0};
    const StarValue input = value(from, element, StarPart::difference);
    if (piece->slope == 1.0) return input;
    const StarValue output = variable(node, element, StarPart::difference);
    Row().add(1.0, output).add(-piece->slope, input).add_to(program_, {0.0, 0.0});
    return output;
  }
  const StarValue a = value(from, element, StarPart::f), da = value(from, element, StarPart::difference);
  const StarValue y = value(node, element, StarPart::f);
  const StarValue d = variable(node, element, StarPart::difference);
  relate_fq(node, element, Row().add(1.0, y).add(1.0, d), Row().add(1.0, a).add(1.0, da));
  if (const auto slopes = slope_range(activation, hull(of_f, of_fq)); slopes && !rounded) {
    const Lines lines = slope_lines(*slopes, of_difference);
    for (const Line& line : lines.above)
      Row().add(1.0, d).add(-line.slope, da).add_to(program_, {-infinity, line.offset});
    for (const Line& line : lines.below)
      Row().add(1.0, d).add(-line.slope, da).add_to(program_, {line.offset, infinity});
  }
  relaxes_ = true;
  return d;
}

// ---- largest of a window ----

namespace {

/// The elements that can be the largest, and the one with the largest lower limit among them.
struct Candidates {
  std::vector<std::size_t> which;
  std::size_t surest = 0;
};

Candidates candidates(const std::vector<Interval>& limits) {
  Candidates result;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    if (limits[i].low > limits[result.surest].low) result.surest = i;
  }
  for (std::size_t i = 0; i < limits.size(); ++i) {
    if (i == result.surest || limits[i].high > limits[result.surest].low) result.which.push_back(i);
  }
  return result;
}

/// max v <= sum of the candidates - sum of the lower limits of all but the surest: the largest plus numbers >= 0.
double excess(const Candidates& of, const std::vector<Interval>& limits) {
  double sum = 0.0;
  for (const std::size_t i : of.which) {
    if (i != of.surest) sum = add_up(sum, -limits[i].low);
  }
  return sum;
}

std::vector<Interval> mirrored(std::vector<Interval> limits) {
  for (Interval& i : limits) i = {-i.high, -i.low};
  return limits;
}

}  // namespace

StarValue StarRelaxation::define_maximum(NodeId node, Index element) {
  const NodeId from = at(node).inputs.front();
  const auto elements =
      covered(std::get<network::MaxPool>(at(node).op).window, at(from).shape, at(node).shape, element);
  std::vector<Interval> intervals;
  intervals.reserve(elements.size());
  for (const Index i : elements) intervals.push_back(limits(from, i, StarPart::f));
  const Candidates can = candidates(intervals);
  if (can.which.size() == 1) return value(from, elements[can.surest], StarPart::f);

  Row sum;
  const StarValue output = variable(node, element, StarPart::f);
  for (const std::size_t i : can.which) {
    const StarValue input = value(from, elements[i], StarPart::f);
    Row().add(1.0, output).add(-1.0, input).add_to(program_, {0.0, infinity});
    sum.add(-1.0, input);
  }
  sum.add(1.0, output).add_to(program_, {-infinity, excess(can, intervals)});
  relaxes_ = true;
  return output;
}

StarValue StarRelaxation::define_maximum_difference(NodeId node, Index element) {
  const NodeId from = at(node).inputs.front();
  const auto elements =
      covered(std::get<network::MaxPool>(at(node).op).window, at(from).shape, at(node).shape, element);
  std::vector<Interval> of_f, of_fq, of_difference;
  for (const Index i : elements) {
    of_f.push_back(limits(from, i, StarPart::f));
    of_fq.push_back(limits_of_fq(from, i));
  }
  const Candidates f = candidates(of_f), fq = candidates(of_fq);
  if (f.which.size() == 1 && fq.which == f.which) return value(from, elements[f.surest], StarPart::difference);

  const StarValue y = value(node, element, StarPart::f), d = variable(node, element, StarPart::difference);
  Row sum;
  for (const std::size_t i : fq.which) {
    const StarValue input = value(from, elements[i], StarPart::f), di = value(from, elements[i], StarPart::difference);
    Row().add(1.0, y).add(1.0, d).add(-1.0, input).add(-1.0, di).add_to(program_, {0.0, infinity});
    sum.add(-1.0, input).add(-1.0, di);
  }
  sum.add(1.0, y).add(1.0, d).add_to(program_, {-infinity, excess(fq, of_fq)});

  // Where y' is largest, y is at least its own: d <= max of the differences, and d >= min likewise.
  for (const Index i : elements) of_difference.push_back(limits(from, i, StarPart::difference));
  for (const double sign : {1.0, -1.0}) {
    const auto intervals = sign > 0.0 ? of_difference : mirrored(of_difference);
    const Candidates can = candidates(intervals);
    Row row;
    row.add(sign, d);
    for (const std::size_t i : can.which) row.add(-sign, value(from, elements[i], StarPart::difference));
    row.add_to(program_, {-infinity, excess(can, intervals)});
  }
  relaxes_ = true;
  return d;
}

}  // namespace quantbound::certify::linear
