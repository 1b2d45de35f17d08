#include "branch_graph.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "quantbound/certify/crown.hpp"
#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/forward.hpp"

namespace quantbound::certify::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Assumptions that a piece can carry; what would need more is finished.
constexpr Index depth = 96;
/// Steps of the optimiser for the bounds of the whole region, which every piece starts from.
constexpr Index root_steps = 20;
/// For the bounds of a piece.
constexpr Index steps = 40;
/// Of the worst excess over a level: functionals with less are not bounded in a piece.
constexpr double urgency = 0.8;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// A split as a word: halving an input (even), or dividing at a kink of a neuron (odd, never zero). An assumption is
/// the latter with its side.
struct NeuronSplit {
  NodeId node = 0;
  Index element = 0;
  bool quantized = false;    ///< of f_q's neuron
  bool second_kink = false;  ///< of a clip
  bool above = false;        ///< the kink, else below

  static NeuronSplit unpack(std::uint64_t word) {
    return {static_cast<NodeId>(word >> 40), static_cast<Index>(word >> 4 & 0xFFFF'FFFFULL), (word & 8U) != 0,
            (word & 4U) != 0, (word & 2U) != 0};
  }
  std::uint64_t pack() const {
    return static_cast<std::uint64_t>(node) << 40 | static_cast<std::uint64_t>(element) << 4 |
           static_cast<std::uint64_t>(quantized) << 3 | static_cast<std::uint64_t>(second_kink) << 2 |
           static_cast<std::uint64_t>(above) << 1 | 1U;
  }
};

bool halves_input(std::int64_t split) { return split % 2 == 0; }

struct Kinks {
  double first = 0.0;
  std::optional<double> second;
};

/// Kinks of the activation that reads a node; none for smooth ones.
std::optional<Kinks> kinks_behind(const Graph& graph, NodeId node, std::span<const NodeId> readers) {
  for (const NodeId reader : readers) {
    const auto* activation = std::get_if<network::Activation>(&graph.nodes[at(reader)].op);
    if (activation == nullptr || node != graph.nodes[at(reader)].inputs.front()) continue;
    if (activation->kind == network::ActivationKind::relu || activation->kind == network::ActivationKind::leaky_relu)
      return Kinks{0.0, std::nullopt};
    if (activation->kind == network::ActivationKind::clip) return Kinks{activation->alpha, activation->beta};
  }
  return std::nullopt;
}

class GraphBounder final : public BranchBounder {
 public:
  GraphBounder(const Pair& pair, const Box& region, GraphSplit split)
      : pair_(pair),
        split_(split),
        known_(split == GraphSplit::activation ? alpha_crown(pair, region, root_steps)
                                               : difference_crown(pair, region)) {
    const auto consumers = pair.graph.consumers();
    for (NodeId node = 0; node < std::ssize(pair.graph.nodes); ++node)
      kinks_.push_back(kinks_behind(pair.graph, node, consumers[at(node)]));
  }

  PieceShape shape() const override {
    const Index outputs = tensor::elements(pair_.graph.output_shape());
    return {tensor::elements(pair_.graph.input_shape()), 2 * outputs, split_ == GraphSplit::activation ? depth : 1};
  }
  std::size_t batch() const override { return 4; }

  void make_root(const Box& region, const PieceView& piece) const override {
    std::copy(region.low.begin(), region.low.end(), piece.low.begin());
    std::copy(region.high.begin(), region.high.end(), piece.high.begin());
    std::fill(piece.bounds.begin(), piece.bounds.end(), infinity);
    std::fill(piece.phases.begin(), piece.phases.end(), 0);
    *piece.split = 0;
  }

  void divide(const PieceView& piece, const PieceView& other) const override {
    std::copy(piece.low.begin(), piece.low.end(), other.low.begin());
    std::copy(piece.high.begin(), piece.high.end(), other.high.begin());
    std::copy(piece.bounds.begin(), piece.bounds.end(), other.bounds.begin());
    std::copy(piece.phases.begin(), piece.phases.end(), other.phases.begin());
    *other.split = *piece.split;
    if (halves_input(*piece.split)) {
      const std::size_t i = at(*piece.split / 2);
      piece.high[i] = other.low[i] = 0.5 * piece.low[i] + 0.5 * piece.high[i];
      return;
    }
    auto split = NeuronSplit::unpack(static_cast<std::uint64_t>(*piece.split));
    const std::size_t free = at(std::find(piece.phases.begin(), piece.phases.end(), 0U) - piece.phases.begin());
    piece.phases[free] = split.pack();
    split.above = true;
    other.phases[free] = split.pack();
  }

  std::unique_ptr<BranchWorker> make_worker() const override;

  const Pair& pair() const { return pair_; }
  GraphSplit split() const { return split_; }
  const PairBounds& known() const { return known_; }
  const std::optional<Kinks>& kinks(NodeId node) const { return kinks_[at(node)]; }

 private:
  const Pair& pair_;
  GraphSplit split_;
  PairBounds known_;  ///< over the whole region
  std::vector<std::optional<Kinks>> kinks_;
};

class GraphWorker final : public BranchWorker {
 public:
  explicit GraphWorker(const GraphBounder& bounder)
      : bounder_(bounder), pair_(bounder.pair()), candidate_(bounder.known()[0].f.low) {}

  Verdict bound(const PieceView& piece, std::span<const double> levels) override {
    for (std::size_t i = 0; i < candidate_.size(); ++i) candidate_[i] = 0.5 * piece.low[i] + 0.5 * piece.high[i];
    return bounder_.split() == GraphSplit::input ? bound_box(piece, levels) : bound_phases(piece, levels);
  }

  std::span<const double> candidate() const override { return candidate_; }

  std::span<const double> deviation(std::span<const double> x) override {
    deviation_ = network::forward(pair_.graph, pair_.fq, x, 1);
    const auto y = network::forward(pair_.graph, pair_.f, x, 1);
    for (std::size_t i = 0; i < y.size(); ++i) deviation_[i] -= y[i];
    return deviation_;
  }

  std::span<const double> gradient(std::span<const double> x, Index output) override {
    std::vector<double> choice(at(tensor::elements(pair_.graph.output_shape())), 0.0);
    choice[at(output)] = 1.0;
    gradient_ = network::Tape(pair_.graph, pair_.fq, x, 1).pull_back(choice);
    const auto of_f = network::Tape(pair_.graph, pair_.f, x, 1).pull_back(choice);
    for (std::size_t i = 0; i < of_f.size(); ++i) gradient_[i] -= of_f[i];
    return gradient_;
  }

  Box enclose(std::span<const double> x) override { return difference_at(pair_, x); }

 private:
  static Verdict empty(const PieceView& piece) {
    std::fill(piece.bounds.begin(), piece.bounds.end(), -infinity);
    return Verdict::finished;
  }

  static void lower_bounds(const PieceView& piece, const Box& d) {
    for (std::size_t i = 0; i < piece.bounds.size(); ++i)
      piece.bounds[i] = std::min(piece.bounds[i], i % 2 == 0 ? d.high[i / 2] : -d.low[i / 2]);
  }

  /// The functional that is farthest above its level; nothing when none is above.
  static std::optional<std::size_t> worst_functional(const PieceView& piece, std::span<const double> levels) {
    std::optional<std::size_t> worst;
    for (std::size_t i = 0; i < levels.size(); ++i)
      if (piece.bounds[i] > levels[i] &&
          (!worst || piece.bounds[i] - levels[i] > piece.bounds[*worst] - levels[*worst]))
        worst = i;
    return worst;
  }

  /// Outputs of functionals nearly as far above their levels as the worst: others wait until they are the worst.
  static std::vector<Index> urgent_outputs(const PieceView& piece, std::span<const double> levels, std::size_t worst) {
    const double urgent = urgency * (piece.bounds[worst] - levels[worst]);
    std::vector<Index> outputs;
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const auto output = static_cast<Index>(i / 2);
      const bool counted = !outputs.empty() && outputs.back() == output;
      if ((i == worst || piece.bounds[i] - levels[i] >= urgent) && !counted) outputs.push_back(output);
    }
    return outputs;
  }

  Verdict bound_box(const PieceView& piece, std::span<const double> levels) const {
    const auto proved = difference_crown(pair_, difference_interval(pair_, box_of(piece)));
    if (!proved) return empty(piece);
    lower_bounds(piece, (*proved)[pair_.graph.output].difference);
    return worst_functional(piece, levels) ? choose_input(piece) : Verdict::finished;
  }

  Verdict bound_phases(const PieceView& piece, std::span<const double> levels) {
    PairBounds known = bounder_.known();
    if (!intersect_part(known, piece)) return empty(piece);
    const NodeId output = pair_.graph.output;
    lower_bounds(piece, known[output].difference);
    const auto before = worst_functional(piece, levels);
    if (!before) return Verdict::finished;
    const auto outputs = urgent_outputs(piece, levels, *before);
    const auto proved = beta_crown(pair_, std::move(known), assumptions(piece), outputs, steps);
    if (!proved) return empty(piece);
    lower_bounds(piece, proved->bounds[output].difference);
    const auto worst = worst_functional(piece, levels);
    if (!worst) return Verdict::finished;
    const auto place = std::find(outputs.begin(), outputs.end(), static_cast<Index>(*worst / 2));
    if (place != outputs.end()) {
      const std::size_t row = 2 * at(place - outputs.begin()) + *worst % 2;
      const double* attained_at = proved->inputs.data() + row * candidate_.size();
      for (std::size_t i = 0; i < candidate_.size(); ++i)
        candidate_[i] = std::clamp(attained_at[i], piece.low[i], piece.high[i]);
    }
    if (choose_neuron(piece, *proved)) return Verdict::open;
    return attained(piece, *worst) ? Verdict::finished : choose_input(piece);
  }

  /// But for rounding.
  bool attained(const PieceView& piece, std::size_t functional) {
    const double there = deviation(candidate_)[functional / 2], bound = piece.bounds[functional];
    return (functional % 2 == 0 ? there : -there) >= bound - 1e-12 * (1.0 + std::abs(bound));
  }

  static Box box_of(const PieceView& piece) {
    return {{piece.low.begin(), piece.low.end()}, {piece.high.begin(), piece.high.end()}};
  }

  /// What is known over the part of the region that the piece's box is; false when nothing is left.
  bool intersect_part(PairBounds& known, const PieceView& piece) const {
    const Box box = box_of(piece);
    if (box.low == known[0].f.low && box.high == known[0].f.high) return true;
    const PairBounds part = difference_interval(pair_, box);
    bool possible = true;
    for (NodeId node = 0; node < std::ssize(pair_.graph.nodes); ++node)
      for (Box PairBox::*of : {&PairBox::f, &PairBox::fq, &PairBox::difference}) {
        Box& all = known[node].*of;
        const Box& here = part[node].*of;
        for (std::size_t i = 0; i < all.low.size(); ++i) {
          all.low[i] = std::max(all.low[i], here.low[i]);
          all.high[i] = std::min(all.high[i], here.high[i]);
          possible = possible && all.low[i] <= all.high[i];
        }
      }
    return possible;
  }

  std::vector<Assumption> assumptions(const PieceView& piece) const {
    std::vector<Assumption> result;
    for (const std::uint64_t word : piece.phases) {
      if (word == 0) break;
      const auto split = NeuronSplit::unpack(word);
      const Kinks& kinks = *bounder_.kinks(split.node);
      result.push_back({split.node, split.element, split.quantized ? Network::fq : Network::f,
                        split.second_kink ? *kinks.second : kinks.first, split.above ? Side::above : Side::below});
    }
    return result;
  }

  /// The widest input, relative to the region.
  Verdict choose_input(const PieceView& piece) const {
    const Box& region = bounder_.known()[0].f;
    double widest = 0.0;
    Index chosen = -1;
    for (std::size_t i = 0; i < piece.low.size(); ++i) {
      const double middle = 0.5 * piece.low[i] + 0.5 * piece.high[i];
      if (!(piece.low[i] < middle && middle < piece.high[i])) continue;
      const double width = (piece.high[i] - piece.low[i]) / (region.high[i] - region.low[i]);
      if (width > widest) widest = width, chosen = static_cast<Index>(i);
    }
    if (chosen < 0) return Verdict::finished;
    *piece.split = 2 * chosen;
    return Verdict::open;
  }

  /// The neuron whose relaxation lifts the worst bound most, at a kink inside what is known of it.
  bool choose_neuron(const PieceView& piece, const AssumedBounds& proved) const {
    if (piece.phases.back() != 0) return false;
    for (const Influence& influence : proved.influences) {
      if (const auto split = split_of(influence, proved.bounds)) {
        *piece.split = static_cast<std::int64_t>(split->pack());
        return true;
      }
    }
    return false;
  }

  std::optional<NeuronSplit> split_of(const Influence& influence, const PairBounds& proved) const {
    const auto& kinks = bounder_.kinks(influence.node);
    if (!kinks) return std::nullopt;
    const std::size_t i = at(influence.element);
    const auto inside = [&](const Box& box, double kink) { return box.low[i] < kink && kink < box.high[i]; };
    const PairBox& boxes = proved[influence.node];
    for (const bool quantized : {false, true}) {
      const Box& box = quantized ? boxes.fq : boxes.f;
      if (inside(box, kinks->first)) return NeuronSplit{influence.node, influence.element, quantized, false, false};
      if (kinks->second && inside(box, *kinks->second))
        return NeuronSplit{influence.node, influence.element, quantized, true, false};
    }
    return std::nullopt;
  }

  const GraphBounder& bounder_;
  const Pair& pair_;
  std::vector<double> candidate_, deviation_, gradient_;
};

std::unique_ptr<BranchWorker> GraphBounder::make_worker() const { return std::make_unique<GraphWorker>(*this); }

}  // namespace

std::unique_ptr<BranchBounder> make_graph_bounder(const Pair& pair, const Box& region, GraphSplit split) {
  return std::make_unique<GraphBounder>(pair, region, split);
}

}  // namespace quantbound::certify::detail
