#include "../../../src/tensor/product.hpp"

#include <gtest/gtest.h>

#include "random_geometry.hpp"

namespace quantbound::tensor {
namespace {

using testing::Draw;

TEST(Product, HasTheBitsOfThePlainLoopsForEveryShapeAndStride) {
  Draw draw(31);
  for (int trial = 0; trial < 200; ++trial) {
    const Index rows = draw.integer(1, trial % 20 == 0 ? 400 : 40), columns = draw.integer(1, 40);
    const Index depth = draw.integer(1, trial % 10 == 0 ? 600 : 40), slack = draw.integer(0, 3);
    const auto a = draw.normals(rows * (depth + slack)), b = draw.normals((depth + slack) * (columns + slack));
    auto fast = draw.normals((rows + slack) * (columns + slack));
    auto plain = fast;
    const bool transposed = trial % 2 == 1;
    const detail::Strided<const double> left{a.data(), rows, depth, depth + slack, 1};
    const detail::Strided<const double> right{b.data(), depth, columns, transposed ? 1 : columns + slack,
                                              transposed ? depth + slack : 1};
    const Index row_stride = transposed ? 1 : columns + slack, column_stride = transposed ? rows + slack : 1;

    detail::add_product(left, right, {fast.data(), rows, columns, row_stride, column_stride});
    detail::add_product_reference(left, right, {plain.data(), rows, columns, row_stride, column_stride});

    ASSERT_EQ(fast, plain) << "trial " << trial;
  }
}

}  // namespace
}  // namespace quantbound::tensor
