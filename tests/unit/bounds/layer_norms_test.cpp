#include "quantbound/bounds/layer_norms.hpp"

#include <algorithm>
#include <cmath>

#include <boost/multiprecision/cpp_int.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../../support/unrolled.hpp"

namespace quantbound::bounds {
namespace {

using network::LayerParameters;
using quantize::Configuration;
using quantize::Granularity;
using quantize::Grid;
using quantize::Quantizer;
using quantize::StepRule;
using Exact = boost::multiprecision::cpp_rational;

LayerParameters random_layer(const LayerShape& shape, std::uint64_t seed, double scale = 1.0) {
  const core::RandomStream random(seed, "layer-norms-test");
  LayerParameters layer;
  for (Index i = 0; i < shape.rows * shape.columns; ++i) {
    layer.weights.push_back(scale * random.normal(static_cast<std::uint64_t>(i)));
  }
  for (Index i = 0; i < shape.rows; ++i) {
    layer.bias.push_back(scale * random.normal(static_cast<std::uint64_t>(1000000 + i)));
  }
  return layer;
}

LayerShape dense_shape(Index rows, Index columns) { return layer_shape(network::Dense{0, columns, rows}); }

LayerShape convolution_shape(Index in, Index out, Index groups, Index kernel, Index stride) {
  network::Convolution convolution;
  convolution.geometry = {in, 11, 9, out, groups, {kernel, kernel, stride, stride, 1, 1, 1, 1, 1, 1}};
  return layer_shape(convolution);
}

std::vector<Configuration> many_configurations() {
  std::vector<Configuration> result;
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    for (const Granularity granularity : {Granularity::tensor, Granularity::channel}) {
      for (const int bits : {2, 3, 5, 8, 13, 16}) {
        for (const Grid grid : {Grid::symmetric, Grid::affine}) {
          result.push_back({.quantizer = quantizer, .granularity = granularity, .bits = bits, .grid = grid});
        }
      }
      result.push_back({.quantizer = quantizer,
                        .granularity = granularity,
                        .bits = 4,
                        .seed = 5,
                        .step_rule = StepRule::mse,
                        .bias_bits = 6});
      result.push_back({.quantizer = quantizer,
                        .granularity = granularity,
                        .bits = 4,
                        .seed = 5,
                        .step_rule = StepRule::fixed,
                        .fixed_step = 0.3,
                        .bias_bits = 3});
    }
  }
  return result;
}

void expect_close(double fast, double plain, double tolerance, const std::string& what) {
  EXPECT_LE(std::abs(fast - plain), tolerance * plain) << what << " " << fast << " " << plain;
}

void expect_agreement(const QuantizedLayerNorms& fast, const QuantizedLayerNorms& plain, const std::string& what) {
  EXPECT_EQ(fast.step_max, plain.step_max) << what;
  EXPECT_EQ(fast.weight_max, plain.weight_max) << what;
  EXPECT_EQ(fast.bias_norm, plain.bias_norm) << what;
  EXPECT_EQ(fast.delta_bias_max, plain.delta_bias_max) << what;
  EXPECT_EQ(fast.sign_compatible, plain.sign_compatible) << what;
  expect_close(fast.delta_max, plain.delta_max, 2e-10, what + " delta_max");
  expect_close(fast.delta_norm, plain.delta_norm, 2e-10, what + " delta_norm");
  expect_close(fast.weight_norm, plain.weight_norm, 1e-12, what + " weight_norm");
  expect_close(fast.augmented, plain.augmented, 1e-12, what + " augmented");
  expect_close(fast.two_norm, plain.two_norm, 1e-9, what + " two_norm");
  expect_close(fast.delta_two_norm, plain.delta_two_norm, 1e-8, what + " delta_two_norm");
  expect_close(fast.bias_two_norm, plain.bias_two_norm, 1e-12, what + " bias_two_norm");
  expect_close(fast.delta_bias_two_norm, plain.delta_bias_two_norm, 1e-12, what + " delta_bias_two_norm");
  for (const double s : {0.0, 0.3, 1.0, 50.0}) {
    const core::Upper at(s);
    expect_close(fast.head(at).to_double(), plain.head(at).to_double(), 1e-12, what + " head");
    expect_close(fast.delta(at).to_double(), plain.delta(at).to_double(), 2e-10, what + " delta");
  }
}

void expect_pass_equals_reference(const LayerParameters& layer, const LayerShape& shape,
                                  const std::vector<Configuration>& configurations) {
  const LayerReport fast = measure_layer(layer, shape, 3, configurations);
  const LayerReport plain = measure_layer_reference(layer, shape, 3, configurations);
  EXPECT_EQ(fast.norms, plain.norms);
  ASSERT_EQ(fast.quantized.size(), configurations.size());
  for (std::size_t i = 0; i < configurations.size(); ++i) {
    expect_agreement(fast.quantized[i], plain.quantized[i],
                     label(configurations[i]) + " " + std::string(to_string(configurations[i].grid)) + " " +
                         std::string(to_string(configurations[i].step_rule)));
  }
}

TEST(LayerNorms, TwoByTwoByHand) {
  const LayerParameters layer{{1.0, -2.0, 3.0, 0.5}, {10.0, -1.0}};

  const LayerNorms norms = measure_original(layer, dense_shape(2, 2), 0);

  EXPECT_NEAR(norms.weight_norm, 3.5, 1e-14);
  EXPECT_EQ(norms.bias_norm, 10.0);
  EXPECT_NEAR(norms.augmented, 13.0, 1e-13);
  EXPECT_EQ(norms.weight_max, 3.0);
  EXPECT_EQ(norms.fan_in, 2.0);
  EXPECT_EQ(norms.parameters, 6.0);
  // Frobenius is sqrt(14.25) = 3.775; sqrt(||W||_1 ||W||_inf) = sqrt(4 * 3.5) = 3.742; ||W||_2 = 3.285.
  EXPECT_NEAR(norms.two_norm, std::sqrt(14.0), 1e-13);
  EXPECT_NEAR(norms.bias_two_norm, std::sqrt(101.0), 1e-12);
}

TEST(LayerNorms, QuantizedTwoByTwoByHand) {
  // Two bits, round: eta = 3; W' = {0, -3, 3, 0}; dW = {-1, -1, 0, -0.5}.
  const LayerParameters layer{{1.0, -2.0, 3.0, 0.5}, {10.0, -1.0}};
  const std::vector<Configuration> configurations{{.quantizer = Quantizer::round, .bits = 2}};

  const QuantizedLayerNorms norms = measure_layer(layer, dense_shape(2, 2), 0, configurations).quantized.front();

  EXPECT_EQ(norms.step_max, 3.0);
  EXPECT_NEAR(norms.delta_max, 1.0, 1e-10);
  EXPECT_NEAR(norms.delta_norm, 2.0, 1e-10);
  EXPECT_NEAR(norms.weight_norm, 3.0, 1e-13);
  EXPECT_NEAR(norms.augmented, 13.0, 1e-13);
  EXPECT_EQ(norms.weight_max, 3.0);
  EXPECT_EQ(norms.delta_bias_max, 0.0);
  EXPECT_EQ(norms.sign_compatible, 1.0);
  EXPECT_NEAR(norms.delta_two_norm, 1.5, 1e-10);  // Frobenius, below sqrt(2 * 2.5)
}

TEST(LayerNorms, ConvolutionShapeCountsGroupsAndOverlap) {
  const LayerShape grouped = convolution_shape(6, 4, 2, 3, 2);
  EXPECT_EQ(grouped.columns, 27);
  EXPECT_EQ(grouped.columns_dense, 54);
  EXPECT_EQ(grouped.overlap, 4);  // ceil(3 / 2) per axis
  EXPECT_EQ(grouped.inputs, 6 * 11 * 9);
  EXPECT_EQ(convolution_shape(6, 6, 6, 3, 1).columns, 9);
  EXPECT_EQ(convolution_shape(6, 6, 6, 3, 1).overlap, 9);
}

TEST(LayerNorms, PassEqualsReferenceForDenseConvolutionalGroupedAndDepthwiseLayers) {
  const std::vector<LayerShape> shapes{dense_shape(1, 1),
                                       dense_shape(37, 53),
                                       dense_shape(3, 300),
                                       convolution_shape(4, 10, 1, 3, 1),
                                       convolution_shape(6, 4, 2, 3, 2),
                                       convolution_shape(33, 33, 33, 3, 1),
                                       convolution_shape(24, 50, 1, 1, 1)};
  std::uint64_t seed = 0;
  for (const LayerShape& shape : shapes) {
    for (const double scale : {1e-30, 1.0, 1e30}) {
      expect_pass_equals_reference(random_layer(shape, ++seed, scale), shape, many_configurations());
    }
  }
}

TEST(LayerNorms, PassEqualsReferenceForWeightsOnTheGridZerosAndPrunedRows) {
  const LayerShape shape = dense_shape(40, 64);
  LayerParameters layer = random_layer(shape, 9);
  for (std::size_t i = 0; i < layer.weights.size(); ++i) {
    if (i % 3 == 0) layer.weights[i] = 0.0;
    if (i / 64 == 5) layer.weights[i] = -0.0;
    if (i / 64 >= 20 && i / 64 < 36) layer.weights[i] = std::nearbyint(40.0 * layer.weights[i]) * 0x1p-6;
    if (i / 64 >= 36) layer.weights[i] = std::copysign(0.5, layer.weights[i]);
  }
  expect_pass_equals_reference(layer, shape, many_configurations());
}

TEST(LayerNorms, PassEqualsReferenceAtTheEdgesOfTheDoubles) {
  const LayerShape shape = dense_shape(18, 20);
  for (const double scale : {1e-321, 1e-310, 1e-290, 1e-270, 1e270, 1e290}) {
    std::vector<Configuration> configurations = many_configurations();
    std::erase_if(configurations, [](const Configuration& c) { return c.step_rule == StepRule::fixed; });
    const LayerParameters layer = random_layer(shape, 21, scale);
    const LayerReport fast = measure_layer(layer, shape, 3, configurations);
    const LayerReport plain = measure_layer_reference(layer, shape, 3, configurations);
    for (std::size_t i = 0; i < configurations.size(); ++i) {
      EXPECT_LE(std::abs(fast.quantized[i].delta_norm - plain.quantized[i].delta_norm),
                1e-9 * plain.quantized[i].delta_norm + 1e-321);
      EXPECT_EQ(fast.quantized[i].weight_max, plain.quantized[i].weight_max);
    }
  }
}

Exact exact_row_sum(std::span<const double> weights) {
  Exact sum = 0;
  for (const double w : weights) sum += abs(Exact(w));
  return sum;
}

TEST(LayerNorms, EveryNormIsAtLeastItsExactValue) {
  const LayerShape shape = convolution_shape(4, 18, 2, 3, 1);
  const auto columns = static_cast<std::size_t>(shape.columns);
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    const LayerParameters layer =
        random_layer(shape, 40 + seed, std::pow(10.0, 30.0 * static_cast<double>(seed) - 30.0));
    const std::vector<Configuration> configurations = many_configurations();

    const LayerReport report = measure_layer(layer, shape, 2, configurations);

    for (std::size_t c = 0; c < configurations.size(); ++c) {
      const LayerParameters quantized = quantize::quantize_layer(layer, 2, configurations[c]);
      Exact delta_norm = 0, weight_norm = 0, delta_max = 0, augmented = 0, delta_bias = 0, delta_squares = 0;
      for (std::size_t row = 0; row < layer.bias.size(); ++row) {
        Exact delta_sum = 0;
        for (std::size_t i = row * columns; i < (row + 1) * columns; ++i) {
          const Exact delta = abs(Exact(quantized.weights[i]) - Exact(layer.weights[i]));
          delta_sum += delta;
          delta_squares += delta * delta;
          if (delta > delta_max) delta_max = delta;
        }
        const Exact sum = exact_row_sum(std::span(quantized.weights).subspan(row * columns, columns));
        const Exact db = abs(Exact(quantized.bias[row]) - Exact(layer.bias[row]));
        if (delta_sum > delta_norm) delta_norm = delta_sum;
        if (sum > weight_norm) weight_norm = sum;
        if (sum + abs(Exact(quantized.bias[row])) > augmented) augmented = sum + abs(Exact(quantized.bias[row]));
        if (db > delta_bias) delta_bias = db;
        // The envelope at 2 covers this row.
        EXPECT_GE(Exact(report.quantized[c].delta(core::Upper(2.0)).to_double()), 2 * delta_sum + db);
      }
      EXPECT_GE(Exact(report.quantized[c].delta_norm), delta_norm);
      EXPECT_GE(Exact(report.quantized[c].delta_max), delta_max);
      EXPECT_GE(Exact(report.quantized[c].weight_norm), weight_norm);
      EXPECT_GE(Exact(report.quantized[c].augmented), augmented);
      EXPECT_GE(Exact(report.quantized[c].delta_bias_max), delta_bias);
      EXPECT_GE(Exact(report.norms.weight_norm), exact_row_sum(std::span(layer.weights).first(columns)));
    }
  }
}

/// ||A||_2 by many steps of the power method on A^T A: a lower bound up to rounding.
double spectral_norm(std::span<const double> matrix, std::size_t rows, std::size_t columns) {
  std::vector<double> x(columns, 1.0);
  for (std::size_t i = 0; i < columns; ++i) x[i] += 0.01 * static_cast<double>(i % 7);
  double norm = 0.0;
  for (int step = 0; step < 300; ++step) {
    std::vector<double> y(rows, 0.0), z(columns, 0.0);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) y[i] += matrix[i * columns + j] * x[j];
    }
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) z[j] += matrix[i * columns + j] * y[i];
    }
    double length = 0.0, image = 0.0;
    for (const double v : z) length += v * v;
    for (const double v : y) image += v * v;
    norm = std::sqrt(image);
    if (length == 0.0) return 0.0;
    for (std::size_t j = 0; j < columns; ++j) x[j] = z[j] / std::sqrt(length);
  }
  return norm;
}

TEST(LayerNorms, ConvolutionNormsAreThoseOfTheUnrolledMatrix) {
  const std::vector<tensor::Convolution> geometries{{3, 6, 6, 4, 1, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1}},
                                                    {4, 7, 5, 6, 2, {3, 2, 2, 1, 1, 0, 1, 1, 1, 1}},
                                                    {5, 6, 6, 5, 5, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1}},
                                                    {2, 9, 9, 3, 1, {3, 3, 2, 2, 2, 2, 2, 2, 2, 2}},
                                                    {2, 8, 8, 2, 1, {5, 5, 3, 2, 0, 0, 0, 0, 1, 1}}};
  std::uint64_t seed = 70;
  for (const tensor::Convolution& geometry : geometries) {
    const LayerShape shape = layer_shape(network::Convolution{0, geometry});
    const LayerParameters layer = random_layer(shape, ++seed);
    const std::vector<Configuration> configurations{{.quantizer = Quantizer::floor, .bits = 3}};
    const LayerReport report = measure_layer(layer, shape, 0, configurations);
    const LayerParameters quantized = quantize::quantize_layer(layer, 0, configurations.front());
    LayerParameters delta = quantized;
    for (std::size_t i = 0; i < delta.weights.size(); ++i) delta.weights[i] -= layer.weights[i];
    const auto inputs = static_cast<std::size_t>(shape.inputs);
    const auto row_norm = [&](const std::vector<double>& matrix) {
      double largest = 0.0;
      for (std::size_t first = 0; first < matrix.size(); first += inputs) {
        double sum = 0.0;
        for (std::size_t i = first; i < first + inputs; ++i) sum += std::abs(matrix[i]);
        largest = std::max(largest, sum);
      }
      return largest;
    };
    const auto two_norm = [&](const std::vector<double>& matrix) {
      return spectral_norm(matrix, matrix.size() / inputs, inputs);
    };
    const auto W = testing::unrolled(geometry, layer.weights), V = testing::unrolled(geometry, quantized.weights),
               dW = testing::unrolled(geometry, delta.weights);
    const QuantizedLayerNorms& norms = report.quantized.front();

    EXPECT_NEAR(report.norms.weight_norm, row_norm(W), 1e-12);
    EXPECT_NEAR(norms.weight_norm, row_norm(V), 1e-12);
    EXPECT_NEAR(norms.delta_norm, row_norm(dW), 1e-9);
    EXPECT_GE(report.norms.two_norm * (1.0 + 1e-12), two_norm(W));
    EXPECT_GE(norms.two_norm * (1.0 + 1e-12), two_norm(V));
    EXPECT_GE(norms.delta_two_norm * (1.0 + 1e-12), two_norm(dW));
    EXPECT_LE(report.norms.two_norm, 4.0 * two_norm(W));  // a bound, and not a useless one
  }
}

TEST(LayerNorms, WeightsOnTheGridHaveDeltasOfExactlyZero) {
  const LayerShape shape = dense_shape(17, 31);
  LayerParameters layer = random_layer(shape, 4);
  for (double& w : layer.weights) w = std::clamp(std::nearbyint(30.0 * w), -127.0, 127.0) * 0x1p-4;
  layer.weights[0] = 127.0 * 0x1p-4;
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    const std::vector<Configuration> configurations{{.quantizer = quantizer, .bits = 8}};
    const QuantizedLayerNorms norms = measure_layer(layer, shape, 0, configurations).quantized.front();
    EXPECT_EQ(norms.delta_max, 0.0);
    EXPECT_EQ(norms.delta_norm, 0.0);
    EXPECT_EQ(norms.delta_two_norm, 0.0);
    EXPECT_TRUE(norms.delta(core::Upper(3.0)).is_zero());
  }
}

TEST(LayerNorms, BitsDoNotDependOnThreads) {
  const LayerShape shape = convolution_shape(32, 100, 1, 3, 1);
  const LayerParameters layer = random_layer(shape, 15);
  const std::vector<Configuration> configurations = many_configurations();
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const LayerReport one = measure_layer(layer, shape, 0, configurations);
  omp_set_num_threads(3);
  const LayerReport three = measure_layer(layer, shape, 0, configurations);
  omp_set_num_threads(before);
  EXPECT_EQ(one, three);
}

TEST(LayerNorms, GivenLayersHaveTheReportOfTheReference) {
  const std::vector<LayerShape> shapes{dense_shape(37, 53), convolution_shape(6, 4, 2, 3, 2),
                                       convolution_shape(33, 33, 33, 3, 1)};
  const std::vector<Configuration> configurations = many_configurations();
  std::uint64_t seed = 100;
  for (const LayerShape& shape : shapes) {
    const LayerParameters layer = random_layer(shape, ++seed);
    std::vector<LayerParameters> quantized;
    for (const Configuration& configuration : configurations)
      quantized.push_back(quantize::quantize_layer(layer, 3, configuration));
    std::vector<GivenLayer> given;
    for (std::size_t i = 0; i < configurations.size(); ++i) {
      double step = 0.0;
      for (const auto& grid : quantize::choose_grids(layer.weights, shape.rows, configurations[i]))
        step = std::max(step, grid.step);
      given.push_back({quantized[i], step});
    }

    EXPECT_EQ(measure_given(layer, shape, 3, given), measure_layer_reference(layer, shape, 3, configurations));
  }
}

/// On the grid, but every weight on the wrong side of where it rounds to: what reconstruction may choose.
LayerParameters rounded_away(const LayerParameters& layer, const quantize::RowGrid& grid) {
  LayerParameters result = layer;
  for (double& w : result.weights) {
    const double down = std::floor(w / grid.step), nearest = std::nearbyint(w / grid.step);
    w = std::clamp(down == nearest ? down + 1.0 : down, grid.lowest, grid.highest) * grid.step;
  }
  return result;
}

TEST(LayerNorms, OfWeightsOnTheGridThatAreNotTheNearestAreBounds) {
  const LayerShape shape = dense_shape(9, 30);
  const LayerParameters layer = random_layer(shape, 31);
  const quantize::RowGrid grid = quantize::choose_grids(layer.weights, shape.rows, {.bits = 4}).front();
  const LayerParameters quantized = rounded_away(layer, grid);

  const std::vector<GivenLayer> given{{quantized, grid.step}};
  const QuantizedLayerNorms norms = measure_given(layer, shape, 0, given).quantized.front();

  Exact delta_norm = 0;
  for (std::size_t row = 0; row < 9; ++row) {
    Exact sum = 0;
    for (std::size_t i = 30 * row; i < 30 * row + 30; ++i)
      sum += abs(Exact(quantized.weights[i]) - Exact(layer.weights[i]));
    if (sum > delta_norm) delta_norm = sum;
  }
  EXPECT_GE(Exact(norms.delta_norm), delta_norm);
  EXPECT_LE(Exact(norms.delta_norm), delta_norm * Exact(1.0 + 1e-12));
  EXPECT_GT(norms.delta_max, 0.5 * grid.step);
  EXPECT_LE(norms.delta_max, grid.step * (1.0 + 1e-12));
  EXPECT_EQ(norms.step_max, grid.step);
}

TEST(LayerNorms, BytesComeBackAsTheSameReport) {
  const LayerShape shape = dense_shape(30, 20);
  const LayerReport report = measure_layer(random_layer(shape, 2), shape, 0, many_configurations());
  EXPECT_EQ(from_bytes(to_bytes(report)), report);
  const LayerReport none = measure_layer(random_layer(shape, 2), shape, 0, {});
  EXPECT_EQ(from_bytes(to_bytes(none)), none);
}

TEST(LayerNorms, NormsBeyondTheDoublesAreAnErrorNotAnInfinity) {
  const LayerShape shape = dense_shape(2, 3);
  const LayerParameters layer{std::vector<double>(6, 1e308), {0.0, 0.0}};
  const std::vector<Configuration> configurations{{.bits = 8}};
  EXPECT_THROW(measure_layer(layer, shape, 0, configurations), core::NumericalError);
}

TEST(LayerNorms, PairOfDifferentSignsIsNotSignCompatible) {
  const LayerShape shape = dense_shape(1, 2);
  const LayerParameters f{{1.0, -1.0}, {0.5}}, same{{0.5, 0.0}, {1.0}}, other{{0.5, 1e-300}, {1.0}};
  const LayerNorms norms = measure_original(f, shape, 0);
  EXPECT_EQ(measure_pair(f, norms, same, shape, 0).sign_compatible, 1.0);
  EXPECT_EQ(measure_pair(f, norms, other, shape, 0).sign_compatible, 0.0);
}

}  // namespace
}  // namespace quantbound::bounds
