#include "product.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <immintrin.h>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor::detail {

namespace {

constexpr Index tile_rows = 12, tile_columns = 16;  // 24 accumulators of 8 doubles: all but a few registers of AVX-512
constexpr Index depth_piece = 256;                  // a packed piece of B takes 32 KiB

constexpr Index row_piece = 192;  // of these rows, A's piece (384 KiB) stays in the second-level cache

using Panel = std::array<double, depth_piece * tile_columns>;
using Tile = std::array<double, tile_rows * tile_columns>;

/// tile += (rows of A) (panel) over `depth` inner indices, for `rows` of 1, 4 or 12.
using Kernel = void (*)(const double* a, Index a_stride, const double* panel, Index depth, double* tile);
struct Kernels {
  Kernel one, four, twelve;
};

template <Index rows>
void plain_kernel(const double* a, Index a_stride, const double* panel, Index depth, double* tile) {
  for (Index k = 0; k < depth; ++k)
    for (Index r = 0; r < rows; ++r)
      for (Index j = 0; j < tile_columns; ++j)
        tile[r * tile_columns + j] =
            std::fma(a[r * a_stride + k], panel[k * tile_columns + j], tile[r * tile_columns + j]);
}

#if defined(__x86_64__)
template <std::size_t rows>
[[gnu::target("avx512f")]] void avx512_kernel(const double* a, Index a_stride, const double* panel, Index depth,
                                              double* tile) {
  __m512d sums[rows][2];
#pragma GCC unroll 12
  for (std::size_t r = 0; r < rows; ++r) {
    sums[r][0] = _mm512_loadu_pd(tile + r * tile_columns);
    sums[r][1] = _mm512_loadu_pd(tile + r * tile_columns + 8);
  }
  for (Index k = 0; k < depth; ++k, panel += tile_columns) {
    const __m512d left = _mm512_loadu_pd(panel), right = _mm512_loadu_pd(panel + 8);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < rows; ++r) {
      const __m512d factor = _mm512_set1_pd(a[static_cast<Index>(r) * a_stride + k]);
      sums[r][0] = _mm512_fmadd_pd(factor, left, sums[r][0]);
      sums[r][1] = _mm512_fmadd_pd(factor, right, sums[r][1]);
    }
  }
#pragma GCC unroll 12
  for (std::size_t r = 0; r < rows; ++r) {
    _mm512_storeu_pd(tile + r * tile_columns, sums[r][0]);
    _mm512_storeu_pd(tile + r * tile_columns + 8, sums[r][1]);
  }
}

/// `rows` x 8 of the tile, since AVX2 has half the registers of half the size.
template <std::size_t rows>
[[gnu::target("avx2,fma")]] void avx2_half(const double* a, Index a_stride, const double* panel, Index depth,
                                           double* tile) {
  __m256d sums[rows][2];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
    sums[r][0] = _mm256_loadu_pd(tile + r * tile_columns);
    sums[r][1] = _mm256_loadu_pd(tile + r * tile_columns + 4);
  }
  for (Index k = 0; k < depth; ++k, panel += tile_columns) {
    const __m256d left = _mm256_loadu_pd(panel), right = _mm256_loadu_pd(panel + 4);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) {
      const __m256d factor = _mm256_set1_pd(a[static_cast<Index>(r) * a_stride + k]);
      sums[r][0] = _mm256_fmadd_pd(factor, left, sums[r][0]);
      sums[r][1] = _mm256_fmadd_pd(factor, right, sums[r][1]);
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
    _mm256_storeu_pd(tile + r * tile_columns, sums[r][0]);
    _mm256_storeu_pd(tile + r * tile_columns + 4, sums[r][1]);
  }
}

template <std::size_t rows>
[[gnu::target("avx2,fma")]] void avx2_kernel(const double* a, Index a_stride, const double* panel, Index depth,
                                             double* tile) {
  constexpr std::size_t step = rows < 4 ? rows : 4;
  for (Index r = 0; r < static_cast<Index>(rows); r += static_cast<Index>(step))
    for (Index j = 0; j < tile_columns; j += 8)
      avx2_half<step>(a + r * a_stride, a_stride, panel + j, depth, tile + r * tile_columns + j);
}
#endif

Kernels choose_kernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {avx512_kernel<1>, avx512_kernel<4>, avx512_kernel<12>};
  if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2"))
    return {avx2_kernel<1>, avx2_kernel<4>, avx2_kernel<12>};
#endif
  return {plain_kernel<1>, plain_kernel<4>, plain_kernel<12>};
}

/// target[k * tile_columns + j] = source[k * row_stride + j * column_stride], in blocks that stay in registers.
void transpose(const double* source, Index row_stride, Index column_stride, Index depth, Index columns,
               double* target) {
  constexpr Index block = 4;
  Index k = 0;
  for (; k + block <= depth; k += block) {
    Index j = 0;
    for (; j + block <= columns; j += block) {
      double values[block][block];
      for (Index c = 0; c < block; ++c)
        for (Index r = 0; r < block; ++r) values[r][c] = source[(k + r) * row_stride + (j + c) * column_stride];
      for (Index r = 0; r < block; ++r) std::copy_n(values[r], block, target + (k + r) * tile_columns + j);
    }
    for (; j < columns; ++j)
      for (Index r = 0; r < block; ++r)
        target[(k + r) * tile_columns + j] = source[(k + r) * row_stride + j * column_stride];
  }
  for (; k < depth; ++k)
    for (Index j = 0; j < columns; ++j) target[k * tile_columns + j] = source[k * row_stride + j * column_stride];
}

/// B[first_k, first_k + depth) x [first_column, first_column + columns) with zeros behind the last column.
void pack(const Strided<const double>& b, Index first_k, Index depth, Index first_column, Index columns, Panel& panel) {
  const double* source = b.data + first_k * b.row_stride + first_column * b.column_stride;
  if (columns < tile_columns) std::fill_n(panel.begin(), depth * tile_columns, 0.0);
  if (b.column_stride == 1) {
    for (Index k = 0; k < depth; ++k) std::copy_n(source + k * b.row_stride, columns, panel.data() + k * tile_columns);
  } else {
    transpose(source, b.row_stride, b.column_stride, depth, columns, panel.data());
  }
}

void load_tile(const Strided<double>& c, Index row, Index rows, Tile& tile) {
  for (Index r = 0; r < rows; ++r) {
    const double* source = c.data + (row + r) * c.row_stride;
    double* target = tile.data() + r * tile_columns;
    for (Index j = 0; j < c.columns; ++j) target[j] = source[j * c.column_stride];
  }
}

void store_tile(const Strided<double>& c, Index row, Index rows, const Tile& tile) {
  for (Index r = 0; r < rows; ++r) {
    double* target = c.data + (row + r) * c.row_stride;
    const double* source = tile.data() + r * tile_columns;
    for (Index j = 0; j < c.columns; ++j) target[j * c.column_stride] = source[j];
  }
}

/// At most tile_columns columns of C, all its rows.
void multiply_panel(const Kernels& kernels, const double* a, Index a_stride, const Panel& panel, Index depth,
                    const Strided<double>& c) {
  alignas(64) Tile tile{};
  for (Index row = 0; row < c.rows;) {
    const Index left = c.rows - row, rows = left >= 12 ? 12 : left >= 4 ? 4 : 1;
    const Kernel kernel = rows == 12 ? kernels.twelve : rows == 4 ? kernels.four : kernels.one;
    load_tile(c, row, rows, tile);
    kernel(a + row * a_stride, a_stride, panel.data(), depth, tile.data());
    store_tile(c, row, rows, tile);
    row += rows;
  }
}

}  // namespace

void add_product(const Strided<const double>& a, const Strided<const double>& b, const Strided<double>& c) {
  QUANTBOUND_ASSERT(a.column_stride == 1 && a.columns == b.rows && a.rows == c.rows && b.columns == c.columns,
                    a.columns, b.rows, a.rows, c.rows, b.columns, c.columns);
  const Kernels kernels = choose_kernels();
  alignas(64) Panel panel;
  for (Index k = 0; k < a.columns; k += depth_piece) {
    const Index depth = std::min(depth_piece, a.columns - k);
    for (Index row = 0; row < a.rows; row += row_piece) {
      const Index rows = std::min(row_piece, a.rows - row);
      for (Index column = 0; column < b.columns; column += tile_columns) {
        const Index columns = std::min(tile_columns, b.columns - column);
        pack(b, k, depth, column, columns, panel);
        multiply_panel(
            kernels, a.data + row * a.row_stride + k, a.row_stride, panel, depth,
            {c.data + row * c.row_stride + column * c.column_stride, rows, columns, c.row_stride, c.column_stride});
      }
    }
  }
}

void add_product_reference(const Strided<const double>& a, const Strided<const double>& b, const Strided<double>& c) {
  for (Index i = 0; i < c.rows; ++i)
    for (Index j = 0; j < c.columns; ++j) {
      double& sum = c.data[i * c.row_stride + j * c.column_stride];
      for (Index k = 0; k < a.columns; ++k)
        sum = std::fma(a.data[i * a.row_stride + k * a.column_stride], b.data[k * b.row_stride + j * b.column_stride],
                       sum);
    }
}

}  // namespace quantbound::tensor::detail
