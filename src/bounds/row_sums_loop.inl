// One build of the loop of row_sums.hpp. The including file defines QUANTBOUND_LOOP (a namespace), QUANTBOUND_TARGET
// (the instruction set as a function attribute), QUANTBOUND_BYTES (its vector length), and its instructions that GCC 12
// does not find by itself: QUANTBOUND_LARGER for a > b ? a : b, QUANTBOUND_SMALLER, and QUANTBOUND_FUSED for fma(a, b,
// c). Only arithmetic with one result on every machine is used: no reassociation, no contraction, rounding to integers
// by adding 1.5 * 2^52.
namespace QUANTBOUND_LOOP {

typedef double Vector __attribute__((vector_size(QUANTBOUND_BYTES)));
typedef long long Bits __attribute__((vector_size(QUANTBOUND_BYTES)));

constexpr std::size_t width = QUANTBOUND_BYTES / sizeof(double);
constexpr std::size_t parts =
    2;  // vectors side by side: enough to hide the latency of the sums, few enough for registers
constexpr std::size_t lanes = width * parts;
static_assert(block_rows % lanes == 0);

#define QUANTBOUND_INLINE QUANTBOUND_TARGET [[gnu::always_inline]] inline

QUANTBOUND_INLINE Vector load(const double* from) {
  Vector value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
QUANTBOUND_INLINE void store(const Vector& value, double* to) { __builtin_memcpy(to, &value, sizeof value); }
QUANTBOUND_INLINE Vector absolute(const Vector& x) {
  return reinterpret_cast<Vector>(reinterpret_cast<Bits>(x) & 0x7FFF'FFFF'FFFF'FFFFLL);
}
QUANTBOUND_INLINE Vector larger(const Vector& a, const Vector& b) { return QUANTBOUND_LARGER(a, b); }
QUANTBOUND_INLINE Vector smaller(const Vector& a, const Vector& b) { return QUANTBOUND_SMALLER(a, b); }
/// 1 where the condition holds, else 0.
QUANTBOUND_INLINE Vector one_where(const Bits& condition) {
  const Vector one = Vector{} + 1.0;
  return reinterpret_cast<Vector>(reinterpret_cast<Bits>(one) & condition);
}
QUANTBOUND_INLINE Vector fused(const Vector& a, const Vector& b, const Vector& c) { return QUANTBOUND_FUSED(a, b, c); }
/// Adding and subtracting it rounds to the nearest integer, ties to even, where |x| < 2^51.
QUANTBOUND_INLINE Vector rounder() { return Vector{} + 0x1.8p52; }

/// w * y with y = 1/step rounded; products are never rounded before they are used.
struct ByReciprocal {
  Vector w, y;
  QUANTBOUND_INLINE Vector nearest() const { return fused(w, y, rounder()) - rounder(); }
  /// May be one off next to an integer, where the quotient is doubtful anyway.
  QUANTBOUND_INLINE Vector floor() const { return (fused(w, y, Vector{} - 0.5) + rounder()) - rounder(); }
  QUANTBOUND_INLINE Vector minus(const Vector& k) const { return fused(w, y, -k); }
};

/// w / step.
struct ByDivision {
  Vector t;
  QUANTBOUND_INLINE Vector nearest() const { return (t + rounder()) - rounder(); }
  QUANTBOUND_INLINE Vector floor() const {
    const Vector k = nearest();
    return k - one_where(k > t);
  }
  QUANTBOUND_INLINE Vector minus(const Vector& k) const { return t - k; }
};

/// What one column needs of `width` rows.
struct Column {
  Vector weight, step, inverse;
  const double* uniform;
  const double* low;
  const double* high;
};

template <quantize::Quantizer quantizer, Clip clip>
QUANTBOUND_INLINE Column column_of(const BlockTask& task, const BlockGrid& grid, std::size_t column, std::size_t row,
                                   const Vector& step, const Vector& inverse) {
  const std::size_t offset = column * block_rows + row;
  Column result{load(task.weights + offset), step, inverse, nullptr, nullptr, nullptr};
  if constexpr (quantizer == quantize::Quantizer::stochastic) result.uniform = task.uniforms + offset;
  if constexpr (clip == Clip::possible) {
    result.low = grid.low + row;
    result.high = grid.high + row;
  }
  return result;
}

/// The integers before a level limits them, and |quotient - k| (for stochastic rounding: of the integer below).
struct Rounded {
  Vector k, error;
};

template <quantize::Quantizer quantizer, class Quotient>
QUANTBOUND_INLINE Rounded round_weights(const Quotient& t) {
  if constexpr (quantizer == quantize::Quantizer::round) {
    const Vector k = t.nearest();
    return {k, absolute(t.minus(k))};
  }
  const Vector k = t.floor();
  return {k, t.minus(k)};
}

/// The random step up and the limits of the grid.
template <quantize::Quantizer quantizer, Clip clip, class Quotient>
QUANTBOUND_INLINE Rounded finished(const Rounded& rounded, const Quotient& t, const Column& column) {
  using quantize::Quantizer;
  Vector k = rounded.k;
  if constexpr (quantizer == Quantizer::stochastic) k += one_where(load(column.uniform) < rounded.error);
  if constexpr (clip == Clip::never) return {k, rounded.error};
  const Vector least = load(column.low), most = load(column.high);
  // Truncation is odd: |k| was computed, and the lowest level limits it for negative weights.
  k = quantizer == Quantizer::truncate ? smaller(k, column.weight < 0.0 ? -least : most)
                                       : smaller(larger(k, least), most);
  return {k, absolute(t.minus(k))};
}

/// Distance of a quotient from where k changes.
template <quantize::Quantizer quantizer>
QUANTBOUND_INLINE Vector distance_of(const Rounded& rounded, const Column& column) {
  using quantize::Quantizer;
  if constexpr (quantizer == Quantizer::round) return Vector{} + 0.5 - rounded.error;
  const Vector distance = smaller(rounded.error, Vector{} + 1.0 - rounded.error);
  if constexpr (quantizer == Quantizer::stochastic) {
    return smaller(distance, absolute(load(column.uniform) - rounded.error));
  }
  return distance;
}

/// Running sums of `lanes` rows, and for reciprocals alone how near to where k changes a quotient came: from above or
/// across (`distance`), from below (`farthest`, the largest |quotient - k|; without clipping error_max is the same).
struct Sums {
  Vector error_sum[parts] = {}, error_squares[parts] = {}, error_max[parts] = {};
  Vector level_sum[parts] = {}, level_max[parts] = {};
  Vector distance[parts];
  Vector farthest[parts] = {};
};

QUANTBOUND_INLINE void add(Sums& sums, std::size_t p, const Rounded& rounded) {
  const Vector level = absolute(rounded.k);
  sums.error_sum[p] += rounded.error;
  sums.error_squares[p] = fused(rounded.error, rounded.error, sums.error_squares[p]);
  sums.error_max[p] = larger(rounded.error, sums.error_max[p]);
  sums.level_sum[p] += level;
  sums.level_max[p] = larger(level, sums.level_max[p]);
}

constexpr double margin = 1e-9;

template <quantize::Quantizer quantizer, Clip clip>
QUANTBOUND_INLINE void note_doubt(Sums& sums, std::size_t p, const Rounded& rounded, const Column& column) {
  using quantize::Quantizer;
  if constexpr (quantizer != Quantizer::round) sums.distance[p] = smaller(rounded.error, sums.distance[p]);
  if constexpr (clip == Clip::possible) sums.farthest[p] = larger(rounded.error, sums.farthest[p]);
  if constexpr (quantizer == Quantizer::stochastic) {
    sums.distance[p] = smaller(absolute(load(column.uniform) - rounded.error), sums.distance[p]);
  }
}

template <quantize::Quantizer quantizer, Clip clip>
QUANTBOUND_INLINE bool any_doubt(const Sums& sums) {
  constexpr double far = (quantizer == quantize::Quantizer::round ? 0.5 : 1.0) - margin;
  bool doubt = false;
  for (std::size_t p = 0; p < parts; ++p) {
    const Vector& error = clip == Clip::possible ? sums.farthest[p] : sums.error_max[p];
    for (std::size_t i = 0; i < width; ++i) doubt |= !(error[i] < far && sums.distance[p][i] > margin);
  }
  return doubt;
}

/// `lanes` rows, from row `first` of the block.
template <quantize::Quantizer quantizer, Clip clip, Division division>
QUANTBOUND_TARGET Certainty sum_lanes(const BlockTask& task, const BlockGrid& grid, std::size_t first,
                                      RowSums& result) {
  using quantize::Quantizer;
  static_assert(clip == Clip::possible || quantizer != Quantizer::stochastic);
  Sums sums;
  Vector step[parts], inverse[parts];
  for (std::size_t p = 0; p < parts; ++p) {
    sums.distance[p] = Vector{} + 1.0;
    step[p] = load(grid.step + first + p * width);
    inverse[p] = load(grid.inverse_step + first + p * width);
  }
  for (std::size_t i = 0; i < task.columns; ++i) {
    Rounded rounded[parts];
    Vector distance[parts], nearest = Vector{} + 1.0;
    for (std::size_t p = 0; p < parts; ++p) {
      const Column column = column_of<quantizer, clip>(task, grid, i, first + p * width, step[p], inverse[p]);
      const ByReciprocal t{quantizer == Quantizer::truncate ? absolute(column.weight) : column.weight, column.inverse};
      const Rounded first_guess = round_weights<quantizer>(t);
      if constexpr (division == Division::checked) {
        distance[p] = distance_of<quantizer>(first_guess, column);
        nearest = smaller(distance[p], nearest);
      } else {
        note_doubt<quantizer, clip>(sums, p, first_guess, column);
      }
      rounded[p] = finished<quantizer, clip>(first_guess, t, column);
    }
    if (division == Division::checked && QUANTBOUND_ANY_LESS(nearest, Vector{} + margin)) {
      for (std::size_t p = 0; p < parts; ++p) {
        const Column column = column_of<quantizer, clip>(task, grid, i, first + p * width, step[p], inverse[p]);
        const ByDivision t{(quantizer == Quantizer::truncate ? absolute(column.weight) : column.weight) / column.step};
        const Rounded exact = finished<quantizer, clip>(round_weights<quantizer>(t), t, column);
        const Bits doubtful = distance[p] < margin;  // the other rows keep their bits, whatever the vector length
        rounded[p] = {doubtful ? exact.k : rounded[p].k, doubtful ? exact.error : rounded[p].error};
      }
    }
    for (std::size_t p = 0; p < parts; ++p) add(sums, p, rounded[p]);
  }
  for (std::size_t p = 0; p < parts; ++p) {
    const std::size_t lane = first + p * width;
    store(sums.error_sum[p], result.error_sum.row + lane);
    store(sums.error_squares[p], result.error_squares.row + lane);
    store(sums.error_max[p], result.error_max.row + lane);
    store(sums.level_sum[p], result.level_sum.row + lane);
    store(sums.level_max[p], result.level_max.row + lane);
  }
  return division == Division::reciprocal && any_doubt<quantizer, clip>(sums) ? Certainty::doubtful
                                                                              : Certainty::certain;
}

template <quantize::Quantizer quantizer, Clip clip, Division division>
Certainty sum_block(const BlockTask& task, const BlockGrid& grid, RowSums& sums) {
  Certainty certainty = Certainty::certain;
  for (std::size_t first = 0; first < block_rows; first += lanes) {
    if (sum_lanes<quantizer, clip, division>(task, grid, first, sums) == Certainty::doubtful) {
      certainty = Certainty::doubtful;
    }
  }
  return certainty;
}

template <quantize::Quantizer quantizer, Clip clip>
Certainty dispatch(const BlockTask& task, const BlockGrid& grid, RowSums& sums) {
  return task.division == Division::checked ? sum_block<quantizer, clip, Division::checked>(task, grid, sums)
                                            : sum_block<quantizer, clip, Division::reciprocal>(task, grid, sums);
}

template <quantize::Quantizer quantizer>
Certainty dispatch(const BlockTask& task, const BlockGrid& grid, RowSums& sums) {
  if constexpr (quantizer != quantize::Quantizer::stochastic) {
    if (task.clip == Clip::never) return dispatch<quantizer, Clip::never>(task, grid, sums);
  }
  return dispatch<quantizer, Clip::possible>(task, grid, sums);
}

Certainty sum_rows(const BlockTask& task, const BlockGrid& grid, RowSums& sums) {
  using quantize::Quantizer;
  switch (task.quantizer) {
    case Quantizer::floor:
      return dispatch<Quantizer::floor>(task, grid, sums);
    case Quantizer::round:
      return dispatch<Quantizer::round>(task, grid, sums);
    case Quantizer::truncate:
      return dispatch<Quantizer::truncate>(task, grid, sums);
    case Quantizer::stochastic:
      break;
  }
  return dispatch<Quantizer::stochastic>(task, grid, sums);
}

QUANTBOUND_TARGET quantize::Range extremes(std::span<const double> weights) {
  Vector low[4] = {}, high[4] = {};
  const double* at = weights.data();
  const double* const end = at + weights.size();
  for (; end - at >= static_cast<std::ptrdiff_t>(4 * width); at += 4 * width) {
    for (std::size_t part = 0; part < 4; ++part) {
      low[part] = smaller(load(at + part * width), low[part]);
      high[part] = larger(load(at + part * width), high[part]);
    }
  }
  for (; end - at >= static_cast<std::ptrdiff_t>(width); at += width) {
    low[0] = smaller(load(at), low[0]);
    high[0] = larger(load(at), high[0]);
  }
  for (std::size_t part = 1; part < 4; ++part) {
    low[0] = smaller(low[0], low[part]);
    high[0] = larger(high[0], high[part]);
  }
  quantize::Range result;
  for (std::size_t i = 0; i < width; ++i) {
    result.low = low[0][i] < result.low ? low[0][i] : result.low;
    result.high = high[0][i] > result.high ? high[0][i] : result.high;
  }
  for (; at < end; ++at) {
    result.low = *at < result.low ? *at : result.low;
    result.high = *at > result.high ? *at : result.high;
  }
  return result;
}

#undef QUANTBOUND_INLINE

}  // namespace QUANTBOUND_LOOP
