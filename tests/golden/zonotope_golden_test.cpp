// docs/theory.md 9.2: the 3 x 100 ReLU network of ReluDiff on MNIST, weights rounded symmetrically per tensor, over all
// inputs and over a ball around the first test image. The reference is VeryDiff in plain doubles (THEORY.md 9.2).
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/zonotope.hpp"
#include "quantbound/network/readers.hpp"

namespace quantbound::certify {
namespace {

const std::filesystem::path shared = QUANTBOUND_SHARED_DATA;

std::vector<double> first_test_image() {
  std::ifstream file(shared / "data" / "mnist" / "t10k-images-idx3-ubyte", std::ios::binary);
  file.seekg(16);
  std::string bytes(784, '\0');
  file.read(bytes.data(), 784);
  EXPECT_TRUE(file);
  std::vector<double> pixels;
  for (const char byte : bytes) pixels.push_back(static_cast<unsigned char>(byte) / 255.0);
  return pixels;
}

TEST(DifferenceZonotopeGolden, IsNoLooserThanTheReferenceOnMnist) {
  const auto file = shared / "models" / "mnist" / "reludiff_mnist_relu_3_100.nnet";
  if (!exists(file)) GTEST_SKIP() << "no shared data at " << shared;
  const network::Network f = network::read_network(file);
  Box whole{std::vector<double>(784, 0.0), std::vector<double>(784, 1.0)}, ball;
  for (const double pixel : first_test_image()) {
    ball.low.push_back(std::max(0.0, pixel - 3.0 / 255.0));
    ball.high.push_back(std::min(1.0, pixel + 3.0 / 255.0));
  }
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);  // small: threads would wait more than work
  struct Expected {
    int bits;
    double whole, ball;                // THEORY.md 9.2
    double whole_attack, ball_attack;  // lower bounds found there
  };
  for (const Expected& expected : {Expected{4, 654, 2.28, 21.2, 0.810}, Expected{6, 150, 0.595, 3.97, 0.329},
                                   Expected{8, 37.0, 0.156, 0.96, 0.0293}, Expected{10, 9.51, 0.0435, 0.22, 0.0093}}) {
    const Pair pair = make_pair(f, quantize::Configuration{.bits = expected.bits});
    const auto bound = [&](const Box& box) {
      return largest_magnitude(difference_zonotope(pair, box, 2000)[pair.graph.output].difference);
    };
    const double on_whole = bound(whole), on_ball = bound(ball);
    EXPECT_LE(on_whole, expected.whole) << expected.bits;
    EXPECT_GE(on_whole, expected.whole_attack) << expected.bits;
    EXPECT_LE(on_ball, expected.ball) << expected.bits;
    EXPECT_GE(on_ball, expected.ball_attack) << expected.bits;
  }
  omp_set_num_threads(threads);
}

}  // namespace
}  // namespace quantbound::certify
