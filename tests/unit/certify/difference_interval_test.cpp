#include "quantbound/certify/difference_interval.hpp"

#include <cmath>

#include <gtest/gtest.h>
#include <omp.h>

#include "../../../src/certify/intervals.hpp"
#include "../../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::box_around;
using quantbound::testing::Draws;
using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomNetwork;

/// Absolute sizes and errors at every node of a dense ReLU chain (docs/theory.md 9.1), in plain doubles.
struct Absolute {
  std::vector<double> size, error;
};

enum class Ranges { ignored, used };

/// AMP, or AMP with ranges and gates: sizes limited by the ranges of f_q, errors zero where neither is active.
std::vector<double> absolute_product(const Pair& pair, const Box& box, Ranges ranges) {
  const PairBounds apart = separate_intervals(pair, box);
  Absolute at{magnitudes(box), std::vector<double>(box.low.size(), 0.0)};
  for (std::size_t v = 1; v < pair.graph.nodes.size(); ++v) {
    if (const auto* dense = std::get_if<network::Dense>(&pair.graph.nodes[v].op)) {
      const auto layer = static_cast<std::size_t>(dense->layer), inputs = static_cast<std::size_t>(dense->inputs);
      Absolute next;
      for (std::size_t o = 0; o < static_cast<std::size_t>(dense->outputs); ++o) {
        double size = std::abs(pair.fq[layer].bias[o]), error = std::abs(pair.change[layer].bias[o]);
        for (std::size_t i = 0; i < inputs; ++i) {
          size += std::abs(pair.fq[layer].weights[o * inputs + i]) * at.size[i];
          error += std::abs(pair.f[layer].weights[o * inputs + i]) * at.error[i] +
                   std::abs(pair.change[layer].weights[o * inputs + i]) * at.size[i];
        }
        next.size.push_back(size);
        next.error.push_back(error);
      }
      at = std::move(next);
    }
    if (ranges == Ranges::ignored) continue;
    const std::vector<double> largest = magnitudes(apart.nodes[v].fq);
    for (std::size_t i = 0; i < largest.size(); ++i) {
      at.size[i] = std::min(at.size[i], largest[i]);
      const bool inactive = largest[i] == 0.0 && apart.nodes[v].f.low[i] == 0.0 && apart.nodes[v].f.high[i] == 0.0;
      if (inactive) at.error[i] = 0.0;
    }
  }
  return at.error;
}

Pair random_chain(std::uint64_t seed, Draws& draws) {
  Draws weights(seed, "weights");
  const double scale = std::pow(10.0, draws.uniform(-1.0, 0.5));
  NetworkBuilder builder({draws.integer(1, 6)});
  NodeId node = 0;
  const Index depth = draws.integer(1, 5);
  for (Index l = 0; l < depth; ++l) {
    const Index inputs = tensor::elements(builder.shape(node)), outputs = draws.integer(1, 8);
    std::vector<double> w, b;
    for (Index i = 0; i < inputs * outputs; ++i) w.push_back(scale * weights.normal());
    for (Index i = 0; i < outputs; ++i) b.push_back(scale * weights.normal());
    node = builder.dense(l == 0 ? node : builder.relu(node), w, b);
  }
  const auto quantizer = draws.chance(0.5) ? quantize::Quantizer::round : quantize::Quantizer::floor;
  return make_pair(builder.finish(node),
                   quantize::Configuration{.quantizer = quantizer, .bits = static_cast<int>(draws.integer(2, 10))});
}

TEST(DifferenceInterval, IsNeverWiderThanAbsoluteProductsWithRangesNorTheseThanWithout) {
  double sum_of_gains = 0.0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Draws draws(seed, "chain");
    const Pair pair = random_chain(seed, draws);
    const Box box = box_around(tensor::elements(pair.graph.input_shape()), draws);
    const std::vector<double> plain = absolute_product(pair, box, Ranges::ignored),
                              ranged = absolute_product(pair, box, Ranges::used),
                              ours = magnitudes(difference_interval(pair, box)[pair.graph.output].difference);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      EXPECT_LE(ranged[i], plain[i] * (1 + 1e-12)) << seed;
      EXPECT_LE(ours[i], ranged[i] * (1 + 1e-12)) << seed;
      if (ours[i] > 0.0) sum_of_gains += std::log(plain[i] / ours[i]);
    }
  }
  EXPECT_GT(sum_of_gains, 300.0);  // and as a rule it is far narrower
}

TEST(DifferenceInterval, IsNeverWiderThanTheTwoApart) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomNetwork random(seed);
    const network::Network network = random.network();
    const Pair pair = make_pair(network, quantize::Configuration{.bits = 3});
    const Box box = box_around(tensor::elements(network.graph.input_shape()), random.draws());
    const PairBounds together = difference_interval(pair, box), apart = separate_intervals(pair, box);
    for (std::size_t v = 0; v < apart.nodes.size(); ++v) {
      const PairBox &a = together.nodes[v], &b = apart.nodes[v];
      const double slack = 1e-12 * (largest_magnitude(b.f) + largest_magnitude(b.fq));
      for (std::size_t i = 0; i < a.f.low.size(); ++i) {
        EXPECT_GE(a.difference.low[i], b.difference.low[i] - slack) << seed << ' ' << v;
        EXPECT_LE(a.difference.high[i], b.difference.high[i] + slack) << seed << ' ' << v;
        EXPECT_GE(a.fq.low[i], b.fq.low[i] - slack);
        EXPECT_LE(a.fq.high[i], b.fq.high[i] + slack);
      }
    }
  }
}

TEST(DifferenceInterval, OneIdentityIsWiderThanBothAndHoldsTheSame) {
  double narrower = 0.0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.7});
    const network::Network network = random.network();
    const Pair pair = make_pair(network, quantize::Configuration{.bits = 4});
    const Box box = box_around(tensor::elements(network.graph.input_shape()), random.draws());
    const PairBounds bounds = difference_interval(pair, box);
    detail::Workspace work;
    std::size_t layer = 0;
    for (const NodeId v : pair.graph.weight_layers()) {
      const network::Node& node = pair.graph.nodes[static_cast<std::size_t>(v)];
      const PairBox& in = bounds[node.inputs.front()];
      const detail::LinearMap map(node.op);
      const auto image = [&](Index most_for_both) {
        return detail::pair_image(map, pair.f[layer], pair.fq[layer], pair.change[layer], in, work, most_for_both);
      };
      const PairBox both = image(Index{1} << 18), one = image(0);
      EXPECT_EQ(one.f.low, both.f.low);
      EXPECT_EQ(one.fq.high, both.fq.high);
      for (std::size_t i = 0; i < both.f.low.size(); ++i) {
        EXPECT_LE(one.difference.low[i], both.difference.low[i]);
        EXPECT_GE(one.difference.high[i], both.difference.high[i]);
        const double gain =
            (one.difference.high[i] - one.difference.low[i]) - (both.difference.high[i] - both.difference.low[i]);
        if (std::isfinite(gain)) narrower += gain;
      }
      ++layer;
    }
  }
  EXPECT_GT(narrower, 0.0);
}

/// Large enough for blocks of channels and for threads.
TEST(DifferenceInterval, ChannelsThatAreApartHaveTheBoundsOfChannelsAlone) {
  constexpr Index channels = 7, side = 40, plane = side * side;
  Draws draws(1, "channels apart");
  const auto convolution = [](Index count) {
    return network::Convolution{
        0,
        {.channels_in = count,
         .height = side,
         .width = side,
         .channels_out = 2 * count,
         .groups = count,
         .window = {
             .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}}};
  };
  const auto normals = [&](Index count) {
    std::vector<double> values;
    for (Index i = 0; i < count; ++i) values.push_back(draws.normal());
    return values;
  };
  const auto around = [&](Index count) {
    Box box{normals(count), {}};
    for (const double low : box.low) box.high.push_back(low + std::abs(draws.normal()));
    return box;
  };
  const network::LayerParameters f{normals(18 * channels), normals(2 * channels)},
      fq{normals(18 * channels), normals(2 * channels)};
  network::LayerParameters change = fq;
  for (std::size_t i = 0; i < f.weights.size(); ++i) change.weights[i] -= f.weights[i];
  for (std::size_t i = 0; i < f.bias.size(); ++i) change.bias[i] -= f.bias[i];
  PairBox in{around(channels * plane), around(channels * plane), {}};
  in.difference = detail::separate_difference(in.fq, in.f);
  detail::Workspace work;

  const int threads_before = omp_get_max_threads();
  omp_set_num_threads(3);
  const PairBox all = detail::pair_image(detail::LinearMap(convolution(channels)), f, fq, change, in, work, 0);
  omp_set_num_threads(threads_before);

  const auto part = [](const std::vector<double>& of, Index channel, Index count) {
    return std::vector<double>(of.begin() + channel * count, of.begin() + (channel + 1) * count);
  };
  const auto box_part = [&](const Box& box, Index channel, Index count) {
    return Box{part(box.low, channel, count), part(box.high, channel, count)};
  };
  const auto layer_part = [&](const network::LayerParameters& layer, Index channel) {
    return network::LayerParameters{part(layer.weights, channel, 18), part(layer.bias, channel, 2)};
  };
  for (Index c = 0; c < channels; ++c) {
    const PairBox alone = detail::pair_image(
        detail::LinearMap(convolution(1)), layer_part(f, c), layer_part(fq, c), layer_part(change, c),
        {box_part(in.f, c, plane), box_part(in.fq, c, plane), box_part(in.difference, c, plane)}, work, 0);
    EXPECT_EQ(part(all.f.low, c, 2 * plane), alone.f.low);
    EXPECT_EQ(part(all.f.high, c, 2 * plane), alone.f.high);
    EXPECT_EQ(part(all.fq.low, c, 2 * plane), alone.fq.low);
    EXPECT_EQ(part(all.fq.high, c, 2 * plane), alone.fq.high);
    EXPECT_EQ(part(all.difference.low, c, 2 * plane), alone.difference.low);
    EXPECT_EQ(part(all.difference.high, c, 2 * plane), alone.difference.high);
  }
}

TEST(DifferenceInterval, AtTheOutputAloneIsTheSame) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    RandomNetwork random(seed);
    const network::Network network = random.network();
    const Pair pair = make_pair(network, quantize::Configuration{.bits = 4});
    const Box box = box_around(tensor::elements(network.graph.input_shape()), random.draws());
    const PairBox alone = output_interval(pair, box), among = difference_interval(pair, box)[pair.graph.output];
    EXPECT_EQ(alone.difference.low, among.difference.low);
    EXPECT_EQ(alone.difference.high, among.difference.high);
    EXPECT_EQ(alone.fq.high, among.fq.high);
  }
}

TEST(DifferenceInterval, DoesNotDependOnThreads) {
  NetworkBuilder builder({8, 40, 40});
  Draws draws(5, "threads");
  const tensor::Convolution geometry{
      8,  40, 40,
      16, 1,  {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}};
  std::vector<double> weights;
  for (Index i = 0; i < geometry.weight_count(); ++i) weights.push_back(draws.normal());
  const network::Network network =
      builder.finish(builder.relu(builder.convolution(0, geometry, weights, std::vector<double>(16, 0.1))));
  const Pair pair = make_pair(network, quantize::Configuration{});
  const Box box = box_around(8 * 40 * 40, draws);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const Box one = output_interval(pair, box).difference;
  omp_set_num_threads(3);
  const Box three = output_interval(pair, box).difference;
  omp_set_num_threads(threads);
  EXPECT_EQ(one.low, three.low);
  EXPECT_EQ(one.high, three.high);
}

}  // namespace
}  // namespace quantbound::certify
