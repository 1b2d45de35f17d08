#include "quantbound/quantize/equalization.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"

#include "layer_layout.hpp"

namespace quantbound::quantize {

namespace {

using detail::for_each_weight;
using detail::LayerLayout;
using network::Graph;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<LayerLayout> layouts(const Graph& graph) {
  std::vector<LayerLayout> result;
  for (const network::NodeId node : graph.weight_layers())
    result.push_back(detail::layout_of(graph.nodes[at(node)].op));
  return result;
}

/// What every row and every input channel of a layer is multiplied by.
template <class Number>
struct Factors {
  std::vector<Number> rows, channels;
};

/// The factors of layer number `layer`: those of the link it makes values for and of the link it reads, `neutral`
/// elsewhere. `made` gives the factor of a row from the link's scale, `read` that of an input channel.
template <class Number, class Made, class Read>
Factors<Number> factors_of(Index layer, const LayerLayout& layout, std::span<const Link> links,
                           const std::vector<std::vector<Number>>& scales, Number neutral, Made made, Read read) {
  Factors<Number> factors{std::vector<Number>(at(layout.rows), neutral),
                          std::vector<Number>(at(layout.channels), neutral)};
  for (std::size_t k = 0; k < links.size(); ++k) {
    if (links[k].first == layer) std::ranges::transform(scales[k], factors.rows.begin(), made);
    if (links[k].second != layer) continue;
    for (std::size_t channel = 0; channel < links[k].rows.size(); ++channel) {
      const Index row = links[k].rows[channel];
      if (row >= 0) factors.channels[channel] = read(scales[k][at(row)]);
    }
  }
  return factors;
}

/// Whether a range can take part: products of three stay far from both ends of the doubles.
bool usable(double range) { return range >= 0x1p-300 && range <= 0x1p300; }

/// The nearest power of two, in the ratio; of two equally near ones the smaller.
int nearest_exponent(double scale) {
  int exponent = 0;
  const double fraction = std::frexp(scale, &exponent);  // in [1/2, 1)
  return fraction * fraction <= 0.5 ? exponent - 1 : exponent;
}

/// What both sides of a channel come to with the scale 2^e: what makes it is divided, what reads it multiplied.
struct Sides {
  std::vector<double> made, read;

  bool usable(std::size_t i) const { return quantize::usable(made[i]) && quantize::usable(read[i]); }
  /// Product of the largest weights of both layers.
  double steps(std::span<const int> exponents) const {
    double first = 0.0, second = 0.0;
    for (std::size_t i = 0; i < made.size(); ++i) {
      first = std::max(first, std::ldexp(made[i], -exponents[i]));
      second = std::max(second, std::ldexp(read[i], exponents[i]));
    }
    return first * second;
  }
};

/// The scales of all links as real numbers, round after round (docs/theory.md 7.5).
class ScaleSearch {
 public:
  ScaleSearch(const Graph& graph, std::span<const LayerParameters> layers, std::span<const Link> links,
              const EqualizationOptions& options)
      : layouts_(layouts(graph)), layers_(layers), links_(links), limit_(std::ldexp(1.0, options.largest_exponent)) {
    for (const Link& link : links) scales_.emplace_back(at(layouts_[at(link.first)].rows), 1.0);
    find_units();
  }

  /// One round over all links. Returns by which factor, minus one, a scale changed at most.
  double round() {
    double change = 0.0;
    for (const auto& [link, next] : units_) change = std::max(change, next < 0 ? pair(link) : triple(link, next));
    return change;
  }

  /// Replaces the scales by powers of two, link after link: those before are rounded already, and what that cost is
  /// made up for as far as it can be.
  std::vector<std::vector<int>> round_to_powers() {
    std::vector<std::vector<int>> result;
    for (std::size_t k = 0; k < links_.size(); ++k) {
      result.push_back(best_exponents({made(links_[k]), read(links_[k])}));
      std::ranges::transform(result.back(), scales_[k].begin(), [](int e) { return std::ldexp(1.0, e); });
    }
    return result;
  }

 private:
  struct Unit {
    Index link, next;  ///< next: the link behind a depthwise layer, or -1
  };

  /// A link into a depthwise layer goes together with the link out of it.
  void find_units() {
    std::vector<char> taken(links_.size(), 0);
    for (std::size_t k = 0; k < links_.size(); ++k) {
      if (taken[k] != 0) continue;
      Unit unit{static_cast<Index>(k), -1};
      if (channel_by_channel(links_[k])) {
        const auto next = std::ranges::find(links_, links_[k].second, &Link::first) - links_.begin();
        if (next < std::ssize(links_) && taken[at(next)] == 0) unit.next = next;
      }
      if (unit.next >= 0) taken[at(unit.next)] = 1;
      units_.push_back(unit);
    }
  }

  bool channel_by_channel(const Link& link) const {
    if (!layouts_[at(link.second)].depthwise()) return false;
    for (Index channel = 0; channel < std::ssize(link.rows); ++channel) {
      if (link.rows[at(channel)] != channel) return false;
    }
    return std::ssize(link.rows) == layouts_[at(link.first)].rows;
  }

  Factors<double> factors(Index layer) const {
    return factors_of(
        layer, layouts_[at(layer)], links_, scales_, 1.0, [](double s) { return 1.0 / s; }, [](double s) { return s; });
  }

  /// Largest weight of every row of the link's first layer, but for what the link itself does to it.
  std::vector<double> made(const Link& link) const {
    const Factors<double> factor = factors(link.first);
    std::vector<double> ranges(factor.rows.size(), 0.0);
    for_each_weight(layers_[at(link.first)].weights, layouts_[at(link.first)],
                    [&](double weight, std::size_t row, std::size_t channel) {
                      ranges[row] = std::max(ranges[row], std::abs(weight) * factor.channels[channel]);
                    });
    return ranges;
  }

  /// For every row of the link's first layer, the largest weight that reads it, but for what the link does to it.
  std::vector<double> read(const Link& link) const {
    const Factors<double> factor = factors(link.second);
    std::vector<double> channels(factor.channels.size(), 0.0);
    for_each_weight(layers_[at(link.second)].weights, layouts_[at(link.second)],
                    [&](double weight, std::size_t row, std::size_t channel) {
                      channels[channel] = std::max(channels[channel], std::abs(weight) * factor.rows[row]);
                    });
    std::vector<double> ranges(at(layouts_[at(link.first)].rows), 0.0);
    for (std::size_t channel = 0; channel < channels.size(); ++channel) {
      const Index row = link.rows[channel];
      if (row >= 0) ranges[at(row)] = std::max(ranges[at(row)], channels[channel]);
    }
    return ranges;
  }

  /// Largest weight of every channel of a depthwise layer.
  std::vector<double> taps(Index layer) const {
    std::vector<double> ranges(at(layouts_[at(layer)].rows), 0.0);
    for_each_weight(layers_[at(layer)].weights, layouts_[at(layer)], [&](double weight, std::size_t row, std::size_t) {
      ranges[row] = std::max(ranges[row], std::abs(weight));
    });
    return ranges;
  }

  double pair(Index k) {
    const std::vector<double> first = made(links_[at(k)]), second = read(links_[at(k)]);
    double change = 0.0;
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (!usable(first[i]) || !usable(second[i])) continue;
      change = std::max(change, set(scales_[at(k)][i], std::sqrt(first[i] / second[i])));
    }
    return change;
  }

  double triple(Index k, Index next) {
    const std::vector<double> first = made(links_[at(k)]), middle = taps(links_[at(k)].second),
                              last = read(links_[at(next)]);
    double change = 0.0;
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (!usable(first[i]) || !usable(middle[i]) || !usable(last[i])) continue;
      const double common = std::cbrt(first[i] * middle[i] * last[i]);
      change = std::max(change, set(scales_[at(k)][i], first[i] / common));
      change = std::max(change, set(scales_[at(next)][i], common / last[i]));
    }
    return change;
  }

  /// A factor that is common to all channels of a link scales both steps and changes no rounding: several are tried
  /// before the scales are rounded. The least product of the two steps wins, which is the paper's objective; 2^0 for
  /// all channels where that is as good.
  std::vector<int> best_exponents(const Sides& sides) const {
    std::vector<int> best(sides.made.size(), 0);
    double least = sides.steps(best);
    const double eighth = std::sqrt(std::sqrt(std::sqrt(2.0)));
    double up = 1.0;
    for (int step = 0; step <= 4; ++step, up *= eighth) {
      for (const double offset : {up, 1.0 / up}) {
        const std::vector<int> exponents = nearest_exponents(sides, offset);
        const double product = sides.steps(exponents);
        if (product < least * (1.0 - 1e-9)) {
          least = product;
          best = exponents;
        }
      }
    }
    return best;
  }

  std::vector<int> nearest_exponents(const Sides& sides, double offset) const {
    std::vector<int> exponents(sides.made.size(), 0);
    for (std::size_t i = 0; i < exponents.size(); ++i) {
      if (!sides.usable(i)) continue;
      const double scale = std::clamp(std::sqrt(sides.made[i] / sides.read[i]) * offset, 1.0 / limit_, limit_);
      exponents[i] = nearest_exponent(scale);
    }
    return exponents;
  }

  double set(double& scale, double wanted) const {
    const double before = scale;
    scale = std::clamp(wanted, 1.0 / limit_, limit_);
    return std::max(scale / before, before / scale) - 1.0;
  }

  std::vector<LayerLayout> layouts_;
  std::span<const LayerParameters> layers_;
  std::span<const Link> links_;
  double limit_;
  std::vector<Unit> units_;
  std::vector<std::vector<double>> scales_;
};

std::vector<Factors<int>> exponents_of_layers(const std::vector<LayerLayout>& layouts, std::span<const Link> links,
                                              const std::vector<std::vector<int>>& exponents) {
  std::vector<Factors<int>> result;
  for (Index layer = 0; layer < std::ssize(layouts); ++layer) {
    result.push_back(factors_of(
        layer, layouts[at(layer)], links, exponents, 0, [](int e) { return -e; }, [](int e) { return e; }));
  }
  return result;
}

/// |e| <= 120: the power and its inverse are normal doubles, so one multiplication scales with one rounding.
double scaled(double value, int exponent) { return value * std::ldexp(1.0, exponent); }

bool exact(double value, int exponent) {
  const double result = scaled(value, exponent);
  return std::isfinite(result) && scaled(result, -exponent) == value;
}

/// Calls visit(value, exponent) for every weight and bias.
template <class Layers, class Visit>
void for_each_exponent(const Graph& graph, Layers& layers, const Equalization& equalization, Visit visit) {
  const std::vector<LayerLayout> layout = layouts(graph);
  const auto exponents = exponents_of_layers(layout, equalization.links, equalization.exponents);
  for (std::size_t layer = 0; layer < layout.size(); ++layer) {
    const Factors<int>& exponent = exponents[layer];
    for_each_weight(layers[layer].weights, layout[layer], [&](auto& weight, std::size_t row, std::size_t channel) {
      visit(weight, exponent.rows[row] + exponent.channels[channel]);
    });
    for (std::size_t row = 0; row < layers[layer].bias.size(); ++row)
      visit(layers[layer].bias[row], exponent.rows[row]);
  }
}

/// Takes back what would cost a bit: no scale for the channels of weights that do not scale exactly, until all do.
class ExactScales {
 public:
  ExactScales(const Graph& graph, std::span<const LayerParameters> layers, Equalization& equalization)
      : layouts_(layouts(graph)), layers_(layers), equalization_(equalization) {}

  void keep_exact() {
    do {
      changed_ = false;
      const auto exponents = exponents_of_layers(layouts_, equalization_.links, equalization_.exponents);
      for (Index layer = 0; layer < std::ssize(layouts_); ++layer) check(layer, exponents[at(layer)]);
    } while (changed_);  // every turn but the last removes a scale
  }

 private:
  void check(Index layer, const Factors<int>& exponents) {
    const LayerParameters& parameters = layers_[at(layer)];
    for_each_weight(parameters.weights, layouts_[at(layer)], [&](double weight, std::size_t row, std::size_t channel) {
      const int exponent = exponents.rows[row] + exponents.channels[channel];
      if (exponent == 0 || exact(weight, exponent)) return;
      drop_row(layer, row);
      drop_channel(layer, channel);
    });
    for (std::size_t row = 0; row < parameters.bias.size(); ++row) {
      if (!exact(parameters.bias[row], exponents.rows[row])) drop_row(layer, row);
    }
  }

  void drop_row(Index layer, std::size_t row) {
    for (std::size_t k = 0; k < equalization_.links.size(); ++k) {
      if (equalization_.links[k].first == layer) drop(equalization_.exponents[k][row]);
    }
  }
  void drop_channel(Index layer, std::size_t channel) {
    for (std::size_t k = 0; k < equalization_.links.size(); ++k) {
      const Link& link = equalization_.links[k];
      if (link.second == layer && link.rows[channel] >= 0) drop(equalization_.exponents[k][at(link.rows[channel])]);
    }
  }
  void drop(int& exponent) {
    changed_ |= exponent != 0;
    exponent = 0;
  }

  std::vector<LayerLayout> layouts_;
  std::span<const LayerParameters> layers_;
  Equalization& equalization_;
  bool changed_ = false;
};

}  // namespace

Equalization find_equalization(const Graph& graph, std::span<const LayerParameters> layers,
                               const EqualizationOptions& options) {
  QUANTBOUND_ASSERT(options.rounds > 0 && options.settled >= 0.0, options.rounds, options.settled);
  QUANTBOUND_ASSERT(0 <= options.largest_exponent && options.largest_exponent <= 60, options.largest_exponent);
  Equalization result;
  result.links = find_links(graph).links;
  ScaleSearch search(graph, layers, result.links, options);
  double change = 0.0;
  do {
    change = search.round();
    ++result.rounds;
  } while (change > options.settled && result.rounds < options.rounds);
  result.settled = change <= options.settled;
  result.exponents = search.round_to_powers();
  ExactScales(graph, layers, result).keep_exact();
  return result;
}

std::vector<LayerParameters> equalized(const Graph& graph, std::span<const LayerParameters> layers,
                                       const Equalization& equalization) {
  QUANTBOUND_ASSERT(scales_exactly(graph, layers, equalization));
  std::vector<LayerParameters> result(layers.begin(), layers.end());
  for_each_exponent(graph, result, equalization, [](double& value, int exponent) { value = scaled(value, exponent); });
  return result;
}

bool scales_exactly(const Graph& graph, std::span<const LayerParameters> layers, const Equalization& equalization) {
  bool all = true;
  for_each_exponent(graph, layers, equalization, [&](double value, int exponent) { all &= exact(value, exponent); });
  return all;
}

Equalization inverse(const Equalization& equalization) {
  Equalization result = equalization;
  for (auto& link : result.exponents) {
    for (int& exponent : link) exponent = -exponent;
  }
  return result;
}

}  // namespace quantbound::quantize
