#include "../../../src/certify/dense_pair.hpp"

#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../../support/dense_pairs.hpp"

namespace quantbound::certify::detail {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomChain;

AlignedDoubles random_doubles(Index size, Draws& draws) {
  AlignedDoubles values(size);
  for (Index i = 0; i < size; ++i) values[i] = draws.chance(0.1) ? 0.0 : draws.normal();
  return values;
}

std::vector<std::int32_t> random_list(Index size, Draws& draws) {
  std::vector<std::int32_t> list;
  for (Index i = 0; i < size; ++i)
    if (draws.chance(0.6)) list.push_back(static_cast<std::int32_t>(i));
  return list;
}

bool same_bits(const AlignedDoubles& a, const AlignedDoubles& b, Index size) {
  return std::memcmp(a.data(), b.data(), static_cast<std::size_t>(size) * sizeof(double)) == 0;
}

TEST(DensePairKernels, ProductsAreThoseOfPlainLoops) {
  Draws draws(1, "kernels");
  for (int n = 0; n < 100; ++n) {
    const Index rows = draws.integer(1, 15), depth = draws.integer(1, 40), columns = 8 * draws.integer(1, 9);
    const Index stride = padded(depth);
    const AlignedDoubles a = random_doubles(rows * stride, draws), w = random_doubles(depth * columns, draws);
    const AlignedDoubles before = random_doubles(rows * columns, draws);
    const auto list = random_list(depth, draws);
    AlignedDoubles product(rows * columns), sum = before;
    for (Index r = 0; r < rows; ++r)
      for (Index j = 0; j < columns; ++j)
        for (const Index k : list) {
          product[r * columns + j] = std::fma(a[r * stride + k], w[k * columns + j], product[r * columns + j]);
          sum[r * columns + j] = std::fma(a[r * stride + k], w[k * columns + j], sum[r * columns + j]);
        }
    for (const NamedKernels& variant : kernel_variants()) {
      AlignedDoubles input = a, c = before, added = before;
      const RowBlock block{input.data(), stride, rows};
      variant.kernels->multiply(block, list.data(), std::ssize(list), w.data(), columns, {c.data(), columns, rows});
      variant.kernels->add_product(block, list.data(), std::ssize(list), w.data(), columns,
                                   {added.data(), columns, rows});
      EXPECT_TRUE(same_bits(c, product, rows * columns)) << variant.name;
      EXPECT_TRUE(same_bits(added, sum, rows * columns)) << variant.name;
    }
  }
}

TEST(DensePairKernels, IntervalsAreThoseOfPlainLoops) {
  Draws draws(2, "kernels");
  for (int n = 0; n < 100; ++n) {
    const Index inputs = draws.integer(1, 40), columns = 8 * draws.integer(1, 9);
    const AlignedDoubles w = random_doubles(inputs * columns, draws), x = random_doubles(inputs, draws);
    AlignedDoubles radius = random_doubles(inputs, draws);
    for (Index i = 0; i < inputs; ++i) radius[i] = std::abs(radius[i]);
    const auto list = random_list(inputs, draws);
    AlignedDoubles center(columns), reach(columns), mass(columns);
    for (Index j = 0; j < columns; ++j)
      for (const Index k : list) {
        const double weight = w[k * columns + j];
        center[j] = std::fma(weight, x[k], center[j]);
        reach[j] = std::fma(std::abs(weight), radius[k], reach[j]);
        mass[j] = std::fma(std::abs(weight), std::abs(x[k]), mass[j]);
      }
    for (const NamedKernels& variant : kernel_variants()) {
      AlignedDoubles c(columns), r(columns), m(columns), value(columns);
      variant.kernels->interval(w.data(), columns, list.data(), std::ssize(list), x.data(), radius.data(), c.data(),
                                r.data(), m.data());
      variant.kernels->affine(w.data(), columns, list.data(), std::ssize(list), x.data(), value.data());
      EXPECT_TRUE(same_bits(c, center, columns)) << variant.name;
      EXPECT_TRUE(same_bits(r, reach, columns)) << variant.name;
      EXPECT_TRUE(same_bits(m, mass, columns)) << variant.name;
      EXPECT_TRUE(same_bits(value, center, columns)) << variant.name;
    }
  }
}

/// Arrays for one relaxation, at random.
struct Lines {
  AlignedDoubles values[5];
  Lines(Index columns, Draws& draws) {
    for (AlignedDoubles& v : values) {
      v = random_doubles(columns, draws);
      for (Index j = 0; j < columns; ++j) v[j] = std::abs(v[j]);
    }
  }
  LineView view() const {
    return {values[0].data(), values[1].data(), values[2].data(), values[3].data(), values[4].data()};
  }
};

TEST(DensePairKernels, RelaxationsOfEveryVariantAreEqualBitForBit) {
  Draws draws(3, "kernels");
  for (int n = 0; n < 100; ++n) {
    const Index rows = draws.integer(1, 9), columns = 8 * draws.integer(1, 6), size = rows * columns;
    const Lines f(columns, draws), fq(columns, draws), difference(columns, draws), gaps(columns, draws);
    const AlignedDoubles bias = random_doubles(columns, draws), change = random_doubles(columns, draws);
    const PairLineView view{f.view(),
                            fq.view(),
                            difference.view(),
                            gaps.values[0].data(),
                            gaps.values[1].data(),
                            gaps.values[2].data(),
                            gaps.values[3].data(),
                            gaps.values[4].data(),
                            bias.data(),
                            change.data()};
    const AlignedDoubles y = random_doubles(size, draws), d = random_doubles(size, draws);
    std::vector<AlignedDoubles> results;
    for (const NamedKernels& variant : kernel_variants()) {
      AlignedDoubles all(6 * size + 4 * rows);
      double* at = all.data();
      std::copy_n(y.data(), size, at);
      std::copy_n(y.data(), size, at + size);
      std::copy_n(d.data(), size, at + 2 * size);
      const RowSums single{at + 4 * size, at + 4 * size + rows},
          pair{at + 4 * size + 2 * rows, at + 4 * size + 3 * rows};
      variant.kernels->relax({at, columns, rows}, columns, f.view(), single);
      variant.kernels->relax_pair({at + size, columns, rows}, {at + 2 * size, columns, rows}, columns, view, pair,
                                  {at + 3 * size, columns, rows});
      results.push_back(std::move(all));
    }
    for (std::size_t v = 1; v < results.size(); ++v)
      EXPECT_TRUE(same_bits(results[0], results[v], 4 * size + 4 * rows)) << kernel_variants()[v].name;
  }
}

TEST(DensePair, KeepsWeightsByRowsAndByColumns) {
  const Pair pair = RandomChain(7, {.map_probability = 0.0}).pair();
  const DensePair compiled = compile_dense_pair(pair);
  ASSERT_EQ(std::ssize(compiled.layers), std::ssize(pair.f));
  for (std::size_t l = 0; l < pair.f.size(); ++l) {
    const DenseLayer& layer = compiled.layers[l];
    for (Index i = 0; i < layer.outputs; ++i) {
      EXPECT_EQ(layer.change.bias[i], pair.change[l].bias[static_cast<std::size_t>(i)]);
      for (Index j = 0; j < layer.inputs; ++j) {
        const double weight = pair.fq[l].weights[static_cast<std::size_t>(i * layer.inputs + j)];
        EXPECT_EQ(layer.fq.rows[i * layer.input_stride() + j], weight);
        EXPECT_EQ(layer.fq.columns[j * layer.output_stride() + i], weight);
      }
    }
  }
}

std::string reason(network::Network network) { return not_dense(make_pair(network, quantize::Configuration{})); }

TEST(DensePair, SaysWhatItDoesNotTake) {
  NetworkBuilder smooth({2});
  EXPECT_THAT(
      reason(smooth.finish(smooth.activation(smooth.dense(0, {1.0, 2.0}, {0.0}), network::ActivationKind::tanh))),
      ::testing::HasSubstr("not piecewise linear"));
  NetworkBuilder residual({2});
  const auto dense = residual.dense(0, {1.0, 2.0, 3.0, 4.0}, {0.0, 0.0});
  EXPECT_THAT(reason(residual.finish(residual.add(network::Add{}, {dense, 0}))), ::testing::HasSubstr("not a chain"));
  NetworkBuilder leaky({1});
  EXPECT_THAT(
      reason(leaky.finish(leaky.activation(leaky.dense(0, {1.0}, {0.0}), network::ActivationKind::leaky_relu, 2.0))),
      ::testing::HasSubstr("slope"));
  NetworkBuilder late({1});
  EXPECT_THAT(reason(late.finish(late.add(network::ScaleShift{{2.0}, {1.0}}, {late.dense(0, {1.0}, {0.0})}))),
              ::testing::HasSubstr("ScaleShift"));
}

}  // namespace
}  // namespace quantbound::certify::detail
