/// C += A B in double, with a fixed meaning of every bit: each element of C is continued by one fused multiply-add per
/// inner index, in order. Blocking, instruction set, position and number of columns cannot change the result, which a
/// library's product does not promise (Eigen's and OpenBLAS's bits follow alignment, cache sizes and core type).
#pragma once

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor::detail {

/// Element (i, j) is data[i * row_stride + j * column_stride].
template <class Element>
struct Strided {
  Element* data;
  Index rows, columns;
  Index row_stride, column_stride;
};

/// @pre a.column_stride == 1, and the shapes fit
void add_product(const Strided<const double>& a, const Strided<const double>& b, const Strided<double>& c);

/// The same by three plain loops.
void add_product_reference(const Strided<const double>& a, const Strided<const double>& b, const Strided<double>& c);

}  // namespace quantbound::tensor::detail
