#include "packed_matrix.hpp"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/worth_threads.hpp"

namespace quantbound::reconstruct::detail {

namespace {

constexpr Index panel_columns = 32;
constexpr Index rows_at_once = 48;  // of a thread: the panel stays in its second-level cache

/// result = left * panel: some rows by 32 columns.
using Kernel = void (*)(const float* left, Index size, const float* panel, float* result);
struct Kernels {
  Kernel one, four, twelve;
};

template <Index rows>
void plain_kernel(const float* left, Index size, const float* panel, float* result) {
  for (Index r = 0; r < rows; ++r) {
    float* sums = result + r * panel_columns;
    std::fill_n(sums, panel_columns, 0.0F);
    for (Index k = 0; k < size; ++k)
      for (Index j = 0; j < panel_columns; ++j)
        sums[j] = std::fma(left[r * size + k], panel[k * panel_columns + j], sums[j]);
  }
}

#if defined(__x86_64__)
template <std::size_t rows>
[[gnu::target("avx512f")]] void avx512_kernel(const float* left, Index size, const float* panel, float* result) {
  __m512 sums[rows][2];
#pragma GCC unroll 12
  for (std::size_t r = 0; r < rows; ++r) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
  for (Index k = 0; k < size; ++k, panel += panel_columns) {
    const __m512 a = _mm512_loadu_ps(panel), b = _mm512_loadu_ps(panel + 16);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < rows; ++r) {
      const __m512 factor = _mm512_set1_ps(left[static_cast<Index>(r) * size + k]);
      sums[r][0] = _mm512_fmadd_ps(factor, a, sums[r][0]);
      sums[r][1] = _mm512_fmadd_ps(factor, b, sums[r][1]);
    }
  }
#pragma GCC unroll 12
  for (std::size_t r = 0; r < rows; ++r) {
    _mm512_storeu_ps(result + r * panel_columns, sums[r][0]);
    _mm512_storeu_ps(result + r * panel_columns + 16, sums[r][1]);
  }
}

/// `rows` x 16, since AVX2 has half the registers of half the size.
template <std::size_t rows>
[[gnu::target("avx2,fma")]] void avx2_half(const float* left, Index size, const float* panel, float* result) {
  __m256 sums[rows][2];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_ps();
  for (Index k = 0; k < size; ++k, panel += panel_columns) {
    const __m256 a = _mm256_loadu_ps(panel), b = _mm256_loadu_ps(panel + 8);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) {
      const __m256 factor = _mm256_set1_ps(left[static_cast<Index>(r) * size + k]);
      sums[r][0] = _mm256_fmadd_ps(factor, a, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(factor, b, sums[r][1]);
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
    _mm256_storeu_ps(result + r * panel_columns, sums[r][0]);
    _mm256_storeu_ps(result + r * panel_columns + 8, sums[r][1]);
  }
}

template <std::size_t rows>
[[gnu::target("avx2,fma")]] void avx2_kernel(const float* left, Index size, const float* panel, float* result) {
  constexpr std::size_t step = rows < 4 ? rows : 4;
  for (Index r = 0; r < static_cast<Index>(rows); r += static_cast<Index>(step))
    for (Index j = 0; j < panel_columns; j += 16)
      avx2_half<step>(left + r * size, size, panel + j, result + r * panel_columns + j);
}
#endif

std::vector<Kernels> find_kernels() {
  std::vector<Kernels> sets;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) sets.push_back({avx512_kernel<1>, avx512_kernel<4>, avx512_kernel<12>});
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    sets.push_back({avx2_kernel<1>, avx2_kernel<4>, avx2_kernel<12>});
#endif
  sets.push_back({plain_kernel<1>, plain_kernel<4>, plain_kernel<12>});
  return sets;
}

const std::vector<Kernels>& kernels() {
  static const std::vector<Kernels> sets = find_kernels();
  return sets;
}

}  // namespace

Index product_instruction_sets() { return std::ssize(kernels()); }

void multiply_panel(Index set, const float* left, Index rows, Index size, const float* panel, float* result) {
  const Kernels& of_set = kernels()[static_cast<std::size_t>(set)];
  for (Index row = 0; row < rows;) {
    const Index rest = rows - row, count = rest >= 12 ? 12 : rest >= 4 ? 4 : 1;
    const Kernel kernel = count == 12 ? of_set.twelve : count == 4 ? of_set.four : of_set.one;
    kernel(left + row * size, size, panel, result + row * panel_columns);
    row += count;
  }
}

PackedMatrix::PackedMatrix(std::span<const double> matrix, Index size) : size_(size) {
  QUANTBOUND_ASSERT(size > 0 && std::ssize(matrix) == size * size, matrix.size(), size);
  const Index panels = (size + panel_columns - 1) / panel_columns;
  panels_.resize(static_cast<std::size_t>(panels * size * panel_columns));
  for (Index row = 0; row < size; ++row)
    for (Index column = 0; column < size; ++column)
      panels_[static_cast<std::size_t>((column / panel_columns * size + row) * panel_columns +
                                       column % panel_columns)] =
          static_cast<float>(matrix[static_cast<std::size_t>(row * size + column)]);
}

void PackedMatrix::multiply(std::span<const float> left, std::span<float> result) const {
  QUANTBOUND_ASSERT(left.size() == result.size() && std::ssize(left) % size_ == 0, left.size(), result.size(), size_);
  const Index rows = std::ssize(left) / size_, panels = (size_ + panel_columns - 1) / panel_columns;
  const Index parts = (rows + rows_at_once - 1) / rows_at_once;
  constexpr Index faster = 16;  // a multiply-add costs so much less than what worth_threads counts
#pragma omp parallel for schedule(static) if (tensor::worth_threads(rows * size_ * size_ / faster))
  for (Index task = 0; task < panels * parts; ++task) {
    const Index panel = task / parts, first = task % parts * rows_at_once;
    const Index count = std::min(rows_at_once, rows - first);
    const Index columns = std::min(panel_columns, size_ - panel * panel_columns);
    alignas(64) float tile[rows_at_once * panel_columns];
    multiply_panel(0, left.data() + first * size_, count, size_, panels_.data() + panel * size_ * panel_columns, tile);
    for (Index row = 0; row < count; ++row)
      std::copy_n(tile + row * panel_columns, columns, result.data() + (first + row) * size_ + panel * panel_columns);
  }
}

void PackedMatrix::multiply_reference(std::span<const float> left, std::span<float> result) const {
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  for (Index row = 0; row < std::ssize(left) / size_; ++row)
    for (Index column = 0; column < size_; ++column) {
      float sum = 0.0F;
      for (Index k = 0; k < size_; ++k)
        sum = std::fma(left[at(row * size_ + k)],
                       panels_[at((column / panel_columns * size_ + k) * panel_columns + column % panel_columns)], sum);
      result[at(row * size_ + column)] = sum;
    }
}

}  // namespace quantbound::reconstruct::detail
