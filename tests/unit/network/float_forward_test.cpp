#include "quantbound/network/float_forward.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/network/forward.hpp"

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

std::vector<float> samples_for(const Graph& graph, Index batch, std::uint64_t seed) {
  Draw draw(seed);
  std::vector<float> x(static_cast<std::size_t>(batch * tensor::elements(graph.input_shape())));
  for (float& value : x) value = static_cast<float>(draw.normal());
  return x;
}

double largest_magnitude(std::span<const double> values) {
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// Engine and double forward agree to 1e-4 of the largest output.
void expect_agreement(const Network& network, Index batch, Capture capture, std::uint64_t seed) {
  const std::vector<float> x = samples_for(network.graph, batch, 5000 + seed);
  FloatForward engine(network.graph, network.layers, batch, capture);

  const std::span<const float> fast = engine.run(x);
  const std::vector<double> exact =
      forward(network.graph, network.layers, std::vector<double>(x.begin(), x.end()), batch);

  ASSERT_EQ(fast.size(), exact.size());
  const double tolerance = 1e-4 * largest_magnitude(exact);
  for (std::size_t i = 0; i < exact.size(); ++i)
    ASSERT_NEAR(static_cast<double>(fast[i]), exact[i], tolerance) << "seed " << seed << " at " << i;
}

TEST(FloatForward, AgreesWithTheDoubleForwardOnRandomGraphs) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    const Network network = testing::random_network(seed);
    for (const Capture capture : {Capture::output_only, Capture::layers})
      expect_agreement(network, static_cast<Index>(1 + seed % 6), capture, seed);
  }
}

}  // namespace
}  // namespace quantbound::network
