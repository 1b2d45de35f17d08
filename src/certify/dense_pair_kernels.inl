// One build of the loops of dense_pair_kernels.hpp. The including file defines QUANTBOUND_LOOP (a namespace),
// QUANTBOUND_TARGET (the instruction set as a function attribute), QUANTBOUND_BYTES (its vector length),
// QUANTBOUND_GROUPS (column groups of eight side by side, as registers allow) and QUANTBOUND_FUSED(a, b, c) for
// fma(a, b, c). NaN must survive to the final sum: positive() and negative() pass it on.
namespace QUANTBOUND_LOOP {

typedef double Vector __attribute__((vector_size(QUANTBOUND_BYTES)));
typedef long long Bits __attribute__((vector_size(QUANTBOUND_BYTES)));

constexpr Index width = QUANTBOUND_BYTES / static_cast<Index>(sizeof(double));
constexpr Index parts = lane_count / width;

#define QUANTBOUND_INLINE QUANTBOUND_TARGET [[gnu::always_inline]] inline

/// Eight doubles.
struct Lanes {
  Vector part[parts];
};

QUANTBOUND_INLINE Lanes load(const double* from) {
  Lanes x;
#pragma GCC unroll 8
  for (Index p = 0; p < parts; ++p) __builtin_memcpy(&x.part[p], from + p * width, sizeof(Vector));
  return x;
}
QUANTBOUND_INLINE void store(const Lanes& x, double* to) {
#pragma GCC unroll 8
  for (Index p = 0; p < parts; ++p) __builtin_memcpy(to + p * width, &x.part[p], sizeof(Vector));
}
QUANTBOUND_INLINE Lanes all(double value) {
  Lanes x;
#pragma GCC unroll 8
  for (Index p = 0; p < parts; ++p) x.part[p] = Vector{} + value;
  return x;
}
QUANTBOUND_INLINE Lanes fused(const Lanes& a, const Lanes& b, const Lanes& c) {
  Lanes x;
#pragma GCC unroll 8
  for (Index p = 0; p < parts; ++p) x.part[p] = QUANTBOUND_FUSED(a.part[p], b.part[p], c.part[p]);
  return x;
}
QUANTBOUND_INLINE Lanes absolute(const Lanes& a) {
  Lanes x;
#pragma GCC unroll 8
  for (Index p = 0; p < parts; ++p)
    x.part[p] = reinterpret_cast<Vector>(reinterpret_cast<Bits>(a.part[p]) & 0x7FFF'FFFF'FFFF'FFFFLL);
  return x;
}
#define QUANTBOUND_LANEWISE(NAME, EXPRESSION)                          \
  QUANTBOUND_INLINE Lanes NAME(const Lanes& left, const Lanes& right) { \
    Lanes x;                                                           \
    _Pragma("GCC unroll 8") for (Index p = 0; p < parts; ++p) {        \
      const Vector a = left.part[p], b = right.part[p];                \
      x.part[p] = EXPRESSION;                                          \
    }                                                                  \
    return x;                                                          \
  }
QUANTBOUND_LANEWISE(plus, a + b)
QUANTBOUND_LANEWISE(minus, a - b)
QUANTBOUND_LANEWISE(times, a* b)
QUANTBOUND_LANEWISE(larger, a > b ? a : b)
QUANTBOUND_LANEWISE(smaller, a < b ? a : b)
#undef QUANTBOUND_LANEWISE
QUANTBOUND_INLINE Lanes positive(const Lanes& a) { return larger(all(0.0), a); }   // max(0, NaN) is NaN
QUANTBOUND_INLINE Lanes negative(const Lanes& a) { return smaller(all(0.0), a); }
/// Where a <= b, x; elsewhere y.
QUANTBOUND_INLINE Lanes where_at_most(const Lanes& a, const Lanes& b, const Lanes& x, const Lanes& y) {
  Lanes result;
#pragma GCC unroll 8
  for (Index p = 0; p < parts; ++p) result.part[p] = a.part[p] <= b.part[p] ? x.part[p] : y.part[p];
  return result;
}
QUANTBOUND_INLINE double sum(const Lanes& x) {
  alignas(64) double v[lane_count];
  store(x, v);
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

QUANTBOUND_INLINE Index at(std::size_t i) { return static_cast<Index>(i); }

enum class Start { zero, given };

template <std::size_t rows, std::size_t groups, Start start>
QUANTBOUND_INLINE void tile(const double* a, Index a_stride, const std::int32_t* list, Index count, const double* w,
                            Index w_stride, double* c, Index c_stride) {
  Lanes sums[rows][groups];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t g = 0; g < groups; ++g)
      sums[r][g] = start == Start::zero ? all(0.0) : load(c + at(r) * c_stride + at(g) * lane_count);
  }
  for (Index i = 0; i < count; ++i) {
    const Index k = list[i];
    Lanes row[groups];
#pragma GCC unroll 8
    for (std::size_t g = 0; g < groups; ++g) row[g] = load(w + k * w_stride + at(g) * lane_count);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r) {
      const Lanes factor = all(a[at(r) * a_stride + k]);
#pragma GCC unroll 8
      for (std::size_t g = 0; g < groups; ++g) sums[r][g] = fused(factor, row[g], sums[r][g]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t g = 0; g < groups; ++g) store(sums[r][g], c + at(r) * c_stride + at(g) * lane_count);
  }
}

template <std::size_t rows, Start start>
QUANTBOUND_TARGET void row_band(const double* a, Index a_stride, const std::int32_t* list, Index count, const double* w,
                                Index columns, double* c, Index c_stride) {
  Index j = 0;
  for (; j + QUANTBOUND_GROUPS * lane_count <= columns; j += QUANTBOUND_GROUPS * lane_count)
    tile<rows, QUANTBOUND_GROUPS, start>(a, a_stride, list, count, w + j, columns, c + j, c_stride);
  if constexpr (QUANTBOUND_GROUPS > 1) {
    const Index left = (columns - j) / lane_count;
    if (left == 3) tile<rows, 3, start>(a, a_stride, list, count, w + j, columns, c + j, c_stride);
    if (left == 2) tile<rows, 2, start>(a, a_stride, list, count, w + j, columns, c + j, c_stride);
    if (left == 1) tile<rows, 1, start>(a, a_stride, list, count, w + j, columns, c + j, c_stride);
  }
}

template <Start start>
QUANTBOUND_TARGET void product(const RowBlock& a, const std::int32_t* list, Index count, const double* w, Index columns,
                               const RowBlock& c) {
  Index r = 0;
  for (; r + 6 <= a.rows; r += 6)
    row_band<6, start>(a.data + r * a.stride, a.stride, list, count, w, columns, c.data + r * c.stride, c.stride);
  if (r + 4 <= a.rows) {
    row_band<4, start>(a.data + r * a.stride, a.stride, list, count, w, columns, c.data + r * c.stride, c.stride);
    r += 4;
  }
  if (r + 2 <= a.rows) {
    row_band<2, start>(a.data + r * a.stride, a.stride, list, count, w, columns, c.data + r * c.stride, c.stride);
    r += 2;
  }
  if (r < a.rows)
    row_band<1, start>(a.data + r * a.stride, a.stride, list, count, w, columns, c.data + r * c.stride, c.stride);
}

QUANTBOUND_TARGET void relax(const RowBlock& a, Index columns, const LineView& lines, const RowSums& sums) {
  for (Index r = 0; r < a.rows; ++r) {
    double* row = a.data + r * a.stride;
    Lanes constant = all(0.0), mass = all(0.0);
    for (Index j = 0; j < columns; j += lane_count) {
      const Lanes value = load(row + j), up = positive(value), down = negative(value);
      store(fused(up, load(lines.slope_high + j), times(down, load(lines.slope_low + j))), row + j);
      constant = fused(up, load(lines.offset_high + j), constant);
      constant = fused(down, load(lines.offset_low + j), constant);
      mass = fused(absolute(value), load(lines.weight + j), mass);
    }
    sums.constant[r] += sum(constant);
    sums.mass[r] += sum(mass);
  }
}

QUANTBOUND_TARGET void relax_pair(const RowBlock& y, const RowBlock& d, Index columns, const PairLineView& lines,
                                  const RowSums& sums, const RowBlock& losses) {
  for (Index r = 0; r < y.rows; ++r) {
    double *y_row = y.data + r * y.stride, *d_row = d.data + r * d.stride;
    Lanes constant = all(0.0), mass = all(0.0);
    for (Index j = 0; j < columns; j += lane_count) {
      const Lanes a = load(y_row + j), b = load(d_row + j), apart = minus(a, b);
      const Lanes a_up = positive(a), a_down = negative(a), b_up = positive(b), b_down = negative(b);
      const Lanes apart_up = positive(apart), apart_down = negative(apart);
      const Lanes f_high = load(lines.f.slope_high + j), f_low = load(lines.f.slope_low + j);
      const Lanes f_gap_high = load(lines.f_gap_high + j), f_gap_low = load(lines.f_gap_low + j);
      // a s(y) + b e, e by d
      const Lanes joint_y = fused(a_up, f_high, times(a_down, f_low));
      const Lanes joint_d =
          fused(b_up, load(lines.difference.slope_high + j), times(b_down, load(lines.difference.slope_low + j)));
      const Lanes joint_loss = fused(absolute(b), load(lines.difference_gap + j),
                                     minus(times(a_up, f_gap_high), times(a_down, f_gap_low)));
      // (a - b) s(y) + b s'(y'), y' = y + d
      const Lanes merged_d = fused(b_up, load(lines.fq.slope_high + j), times(b_down, load(lines.fq.slope_low + j)));
      const Lanes merged_y = plus(merged_d, fused(apart_up, f_high, times(apart_down, f_low)));
      const Lanes merged_loss = plus(minus(times(apart_up, f_gap_high), times(apart_down, f_gap_low)),
                                     minus(times(b_up, load(lines.fq_gap_high + j)),
                                           times(b_down, load(lines.fq_gap_low + j))));
      const Lanes f_offset_high = load(lines.f.offset_high + j), f_offset_low = load(lines.f.offset_low + j);
      const Lanes joint_offset =
          fused(a_up, f_offset_high,
                fused(a_down, f_offset_low,
                      fused(b_up, load(lines.difference.offset_high + j),
                            times(b_down, load(lines.difference.offset_low + j)))));
      const Lanes merged_offset =
          fused(apart_up, f_offset_high,
                fused(apart_down, f_offset_low,
                      fused(b_up, load(lines.fq.offset_high + j), times(b_down, load(lines.fq.offset_low + j)))));
      const Lanes f_weight = load(lines.f.weight + j), fq_weight = load(lines.fq.weight + j);
      const Lanes joint_mass =
          fused(absolute(a), f_weight, times(absolute(b), load(lines.difference.weight + j)));
      const Lanes merged_mass = times(plus(absolute(apart), absolute(b)), plus(f_weight, fq_weight));
      const Lanes new_y = where_at_most(joint_loss, merged_loss, joint_y, merged_y);
      const Lanes new_d = where_at_most(joint_loss, merged_loss, joint_d, merged_d);
      store(new_y, y_row + j);
      store(new_d, d_row + j);
      store(where_at_most(joint_loss, merged_loss, joint_loss, merged_loss), losses.data + r * losses.stride + j);
      constant = plus(constant, where_at_most(joint_loss, merged_loss, joint_offset, merged_offset));
      constant = fused(new_y, load(lines.bias + j), constant);
      constant = fused(new_d, load(lines.bias_change + j), constant);
      mass = plus(mass, where_at_most(joint_loss, merged_loss, joint_mass, merged_mass));
    }
    sums.constant[r] += sum(constant);
    sums.mass[r] += sum(mass);
  }
}

template <std::size_t groups>
QUANTBOUND_INLINE void interval_tile(const double* w, Index columns, const std::int32_t* list, Index count,
                                     const double* center_in, const double* radius_in, double* center, double* radius,
                                     double* mass) {
  Lanes c[groups], r[groups], m[groups];
#pragma GCC unroll 8
  for (std::size_t g = 0; g < groups; ++g) {
    c[g] = load(center + at(g) * lane_count);
    r[g] = load(radius + at(g) * lane_count);
    m[g] = load(mass + at(g) * lane_count);
  }
  for (Index i = 0; i < count; ++i) {
    const Index k = list[i];
    const Lanes x = all(center_in[k]), x_radius = all(radius_in[k]), x_mass = absolute(x);
#pragma GCC unroll 8
    for (std::size_t g = 0; g < groups; ++g) {
      const Lanes factor = load(w + k * columns + at(g) * lane_count), magnitude = absolute(factor);
      c[g] = fused(factor, x, c[g]);
      r[g] = fused(magnitude, x_radius, r[g]);
      m[g] = fused(magnitude, x_mass, m[g]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t g = 0; g < groups; ++g) {
    store(c[g], center + at(g) * lane_count);
    store(r[g], radius + at(g) * lane_count);
    store(m[g], mass + at(g) * lane_count);
  }
}

QUANTBOUND_TARGET void interval(const double* w, Index columns, const std::int32_t* list, Index count,
                                const double* center_in, const double* radius_in, double* center, double* radius,
                                double* mass) {
  Index j = 0;
  for (; j + QUANTBOUND_GROUPS * lane_count <= columns; j += QUANTBOUND_GROUPS * lane_count)
    interval_tile<QUANTBOUND_GROUPS>(w + j, columns, list, count, center_in, radius_in, center + j, radius + j,
                                     mass + j);
  for (; j < columns; j += lane_count)
    interval_tile<1>(w + j, columns, list, count, center_in, radius_in, center + j, radius + j, mass + j);
}

QUANTBOUND_TARGET void affine(const double* w, Index columns, const std::int32_t* list, Index count, const double* x,
                              double* value) {
  for (Index j = 0; j < columns; j += lane_count) {
    Lanes total = load(value + j);
    for (Index i = 0; i < count; ++i) total = fused(load(w + list[i] * columns + j), all(x[list[i]]), total);
    store(total, value + j);
  }
}

constexpr DenseKernels kernels{product<Start::zero>, product<Start::given>, relax, relax_pair, interval, affine};

#undef QUANTBOUND_INLINE

}  // namespace QUANTBOUND_LOOP
