#include "quantbound/network/float_gradient.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

std::vector<float> normals(Index count, std::uint64_t seed) {
  Draw draw(seed);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = static_cast<float>(draw.normal());
  return x;
}

std::vector<double> as_doubles(std::span<const float> x) { return {x.begin(), x.end()}; }
std::vector<float> copied(std::span<const float> x) { return {x.begin(), x.end()}; }

Index inputs_of(const Network& network) { return tensor::elements(network.graph.input_shape()); }
Index outputs_of(const Network& network) { return tensor::elements(network.graph.output_shape()); }

/// |a - b| / |b|, in the 2-norm.
double relative_error(std::span<const float> a, std::span<const double> b) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += b[i] * b[i];
  }
  return size == 0.0 ? std::sqrt(error) : std::sqrt(error / size);
}

/// Values and gradients against the tape in double. A sample whose value lies closer to a kink than floats tell has
/// another slope there: `tolerance` is for all but few samples.
struct Agreement {
  Index samples = 0, exceptions = 0;
  double largest = 0.0;
};

void compare(const Network& network, Index batch, std::uint64_t seed, double tolerance, Agreement& all) {
  const Index inputs = inputs_of(network), outputs = outputs_of(network);
  const std::vector<float> x = normals(batch * inputs, 900 + seed), w = normals(batch * outputs, 40 + seed);
  FloatGradient engine(network.graph, batch);
  engine.use(engine.make_weights(network.layers));
  const auto y = copied(engine.run(x)), g = copied(engine.pull_back(w));

  const Tape tape(network.graph, network.layers, as_doubles(x), batch);
  const std::vector<double> exact = tape.pull_back(as_doubles(w));
  ASSERT_EQ(y.size(), tape.output().size());
  ASSERT_EQ(g.size(), exact.size());
  ASSERT_LT(relative_error(y, tape.output()), 1e-4) << "seed " << seed;
  for (Index s = 0; s < batch; ++s) {
    const auto first = static_cast<std::size_t>(s * inputs), count = static_cast<std::size_t>(inputs);
    const double error = relative_error(std::span(g).subspan(first, count), std::span(exact).subspan(first, count));
    ++all.samples;
    all.exceptions += error > tolerance ? 1 : 0;
    if (error <= tolerance) all.largest = std::max(all.largest, error);
    EXPECT_LT(error, 0.5) << "seed " << seed << " sample " << s;
  }
}

TEST(FloatGradient, AgreesWithTheTapeOnRandomGraphs) {
  Agreement all;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    compare(testing::random_network(seed), static_cast<Index>(1 + seed % 5), seed, 1e-4, all);
  }
  EXPECT_LE(all.exceptions, all.samples / 50) << all.samples << " samples";
}

}  // namespace
}  // namespace quantbound::network
