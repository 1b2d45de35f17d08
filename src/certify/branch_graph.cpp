#include "branch_graph.hpp"

#include <algorithm>
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

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// One assumption as a word: never zero.
struct Assumption {
  NodeId node = 0;
  Index element = 0;
  bool quantized = false;    ///< of f_q's neuron
  bool second_kink = false;  ///< of a clip
  bool above = false;        ///< the kink, else below

  static Assumption unpack(std::uint64_t word) {
    return {static_cast<NodeId>(word >> 40), static_cast<Index>(word >> 4 & 0xFFFF'FFFFULL), (word & 8U) != 0,
            (word & 4U) != 0, (word & 2U) != 0};
  }
  std::uint64_t pack() const {
    return static_cast<std::uint64_t>(node) << 40 | static_cast<std::uint64_t>(element) << 4 |
           static_cast<std::uint64_t>(quantized) << 3 | static_cast<std::uint64_t>(second_kink) << 2 |
           static_cast<std::uint64_t>(above) << 1 | 1U;
  }
};

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
    if (split_ == GraphSplit::input) {
      const std::size_t i = at(*piece.split);
      piece.high[i] = other.low[i] = 0.5 * piece.low[i] + 0.5 * piece.high[i];
      return;
    }
    auto assumption = Assumption::unpack(static_cast<std::uint64_t>(*piece.split));
    const std::size_t free = at(std::find(piece.phases.begin(), piece.phases.end(), 0U) - piece.phases.begin());
    piece.phases[free] = assumption.pack();
    assumption.above = true;
    other.phases[free] = assumption.pack();
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
    auto start = bounds_at_start(piece);
    const auto proved = start ? difference_crown(pair_, std::move(*start)) : std::nullopt;
    if (!proved) {  // no point satisfies the assumptions
      std::fill(piece.bounds.begin(), piece.bounds.end(), -infinity);
      return Verdict::finished;
    }
    const Box& d = (*proved)[pair_.graph.output].difference;
    bool open = false;
    for (std::size_t i = 0; i < piece.bounds.size(); ++i) {
      const double reach = i % 2 == 0 ? d.high[i / 2] : -d.low[i / 2];
      piece.bounds[i] = std::min(piece.bounds[i], reach);
      open = open || piece.bounds[i] > levels[i];
    }
    if (!open) return Verdict::finished;
    return bounder_.split() == GraphSplit::input ? choose_input(piece) : choose_neuron(piece, *proved);
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
  /// Bounds of the region with the assumptions, or of the part of the input; nothing when they contradict each other.
  std::optional<PairBounds> bounds_at_start(const PieceView& piece) const {
    if (bounder_.split() == GraphSplit::input) {
      return difference_interval(pair_,
                                 Box{{piece.low.begin(), piece.low.end()}, {piece.high.begin(), piece.high.end()}});
    }
    PairBounds bounds = bounder_.known();
    for (const std::uint64_t word : piece.phases) {
      if (word == 0) break;
      const auto assumption = Assumption::unpack(word);
      const Kinks& kinks = *bounder_.kinks(assumption.node);
      const double kink = assumption.second_kink ? *kinks.second : kinks.first;
      PairBox& boxes = bounds[assumption.node];
      Box& box = assumption.quantized ? boxes.fq : boxes.f;
      const std::size_t i = at(assumption.element);
      if (assumption.above)
        box.low[i] = std::max(box.low[i], kink);
      else
        box.high[i] = std::min(box.high[i], kink);
      if (!(box.low[i] <= box.high[i])) return std::nullopt;
    }
    return bounds;
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
    *piece.split = chosen;
    return Verdict::open;
  }

  /// The neuron whose relaxation lifts the worst bound most, at a kink inside what is known of it.
  Verdict choose_neuron(const PieceView& piece, const PairBounds& proved) const {
    if (piece.phases.back() != 0) return Verdict::finished;
    for (const Influence& influence : influences(pair_, proved)) {
      if (const auto assumption = assumption_about(influence, proved)) {
        *piece.split = static_cast<std::int64_t>(assumption->pack());
        return Verdict::open;
      }
    }
    return Verdict::finished;
  }

  std::optional<Assumption> assumption_about(const Influence& influence, const PairBounds& proved) const {
    const auto& kinks = bounder_.kinks(influence.node);
    if (!kinks) return std::nullopt;
    const std::size_t i = at(influence.element);
    const auto inside = [&](const Box& box, double kink) { return box.low[i] < kink && kink < box.high[i]; };
    const PairBox& boxes = proved[influence.node];
    for (const bool quantized : {false, true}) {
      const Box& box = quantized ? boxes.fq : boxes.f;
      if (inside(box, kinks->first)) return Assumption{influence.node, influence.element, quantized, false, false};
      if (kinks->second && inside(box, *kinks->second))
        return Assumption{influence.node, influence.element, quantized, true, false};
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
