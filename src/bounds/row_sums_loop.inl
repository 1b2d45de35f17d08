// One build of the loop of row_sums.hpp. The including file defines QUANTBOUND_LOOP (a namespace), QUANTBOUND_TARGET (the
// instruction set as a function attribute), QUANTBOUND_BYTES (its vector length), and QUANTBOUND_LARGER and
// QUANTBOUND_SMALLER (its instructions for a > b ? a : b and a < b ? a : b, which GCC 12 does not find by itself). Only arithmetic with one result on
// every machine is used: no reassociation, no contraction, rounding to integers by adding 1.5 * 2^52.
namespace QUANTBOUND_LOOP {

typedef double Vector __attribute__((vector_size(QUANTBOUND_BYTES)));
typedef long long Bits __attribute__((vector_size(QUANTBOUND_BYTES)));

constexpr std::size_t width = QUANTBOUND_BYTES / sizeof(double);
constexpr std::size_t parts = 2;  // vectors side by side: enough to hide the latency of the sums, few enough for registers
constexpr std::size_t lanes = width * parts;
static_assert(block_rows % lanes == 0);

#define QUANTBOUND_INLINE QUANTBOUND_TARGET [[gnu::always_inline]] inline

QUANTBOUND_INLINE Vector load(const double* from) { return *reinterpret_cast<const Vector*>(from); }
QUANTBOUND_INLINE void store(const Vector& value, double* to) { *reinterpret_cast<Vector*>(to) = value; }
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
/// Nearest integer, ties to even, for |x| < 2^51.
QUANTBOUND_INLINE Vector nearest(const Vector& x) { return (x + 0x1.8p52) - 0x1.8p52; }

/// Floor of the quotient; with a reciprocal it may be one off next to an integer, where the quotient is doubtful anyway.
template <Division division>
QUANTBOUND_INLINE Vector floor_of(const Vector& t) {
  if constexpr (division == Division::reciprocal) return nearest(t - 0.5);
  const Vector k = nearest(t);
  return k - one_where(k > t);
}

/// Running sums of `lanes` rows.
struct Sums {
  Vector error_sum[parts] = {}, error_squares[parts] = {}, error_max[parts] = {};
  Vector level_sum[parts] = {}, level_max[parts] = {};
  Vector distance[parts];         ///< smallest distance of a quotient from where k changes, where that is not clear from
  Vector nearest_error[parts] = {};  ///< the largest distance of a quotient from the nearest integer
};

template <quantize::Quantizer quantizer, Clip clip, Division division>
QUANTBOUND_INLINE void add_column(Sums& sums, std::size_t p, const Vector& quotient, const double* uniform,
                                  const double* low, const double* high) {
  using quantize::Quantizer;
  static_assert(clip == Clip::possible || quantizer != Quantizer::stochastic);
  constexpr bool reciprocal = division == Division::reciprocal;
  const Vector t = quantizer == Quantizer::truncate ? absolute(quotient) : quotient;  // truncate is odd
  Vector k, error;
  if constexpr (quantizer == Quantizer::round) {
    k = nearest(t);
    error = absolute(t - k);
    if constexpr (clip == Clip::possible && reciprocal) sums.nearest_error[p] = larger(error, sums.nearest_error[p]);
  } else {
    k = floor_of<division>(t);
    error = t - k;
    if constexpr (reciprocal) {
      sums.distance[p] = smaller(error, sums.distance[p]);
      if constexpr (clip == Clip::possible) sums.nearest_error[p] = larger(error, sums.nearest_error[p]);
    }
  }
  if constexpr (quantizer == Quantizer::stochastic) {
    const Vector u = load(uniform);
    if constexpr (reciprocal) sums.distance[p] = smaller(absolute(u - error), sums.distance[p]);
    k += one_where(u < error);
  }
  if constexpr (clip == Clip::possible) {
    const Vector least = load(low), most = load(high);
    if constexpr (quantizer == Quantizer::truncate) {
      // |k| was computed: the lowest level is used below zero, the highest above it.
      const Vector limit = quotient < 0.0 ? -least : most;
      k = smaller(k, limit);
    } else {
      k = smaller(larger(k, least), most);
    }
    error = absolute(t - k);
  }
  const Vector level = absolute(k);
  sums.error_sum[p] += error;
  sums.error_squares[p] += error * error;
  sums.error_max[p] = larger(error, sums.error_max[p]);
  sums.level_sum[p] += level;
  sums.level_max[p] = larger(level, sums.level_max[p]);
}

/// `lanes` rows, from row `first` of the block.
template <quantize::Quantizer quantizer, Clip clip, Division division>
QUANTBOUND_TARGET Certainty sum_lanes(const BlockTask& task, const BlockGrid& grid, std::size_t first, RowSums& result) {
  Sums sums;
  Vector factor[parts];
  for (std::size_t p = 0; p < parts; ++p) {
    sums.distance[p] = Vector{} + 1.0;
    factor[p] = load((division == Division::exact ? grid.step : grid.inverse_step).row + first + p * width);
  }
  for (std::size_t column = 0; column < task.columns; ++column) {
    const std::size_t offset = column * block_rows + first;
    for (std::size_t p = 0; p < parts; ++p) {
      const std::size_t lane = first + p * width;
      const Vector w = load(task.weights + offset + p * width);
      const Vector quotient = division == Division::exact ? w / factor[p] : w * factor[p];
      add_column<quantizer, clip, division>(sums, p, quotient, task.uniforms + offset + p * width, grid.low.row + lane,
                                            grid.high.row + lane);
    }
  }
  constexpr double margin = 1e-9;
  constexpr double far = (quantizer == quantize::Quantizer::round ? 0.5 : 1.0) - margin;
  bool certain = true;
  for (std::size_t p = 0; p < parts; ++p) {
    const std::size_t lane = first + p * width;
    store(sums.error_sum[p], result.error_sum.row + lane);
    store(sums.error_squares[p], result.error_squares.row + lane);
    store(sums.error_max[p], result.error_max.row + lane);
    store(sums.level_sum[p], result.level_sum.row + lane);
    store(sums.level_max[p], result.level_max.row + lane);
    const Vector& error = clip == Clip::possible ? sums.nearest_error[p] : sums.error_max[p];
    for (std::size_t i = 0; i < width; ++i) certain &= error[i] < far && sums.distance[p][i] > margin;
  }
  return certain || division == Division::exact ? Certainty::certain : Certainty::doubtful;
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

template <quantize::Quantizer quantizer>
Certainty dispatch(const BlockTask& task, const BlockGrid& grid, RowSums& sums) {
  if (task.division == Division::exact) return sum_block<quantizer, Clip::possible, Division::exact>(task, grid, sums);
  if constexpr (quantizer != quantize::Quantizer::stochastic) {
    if (task.clip == Clip::never) return sum_block<quantizer, Clip::never, Division::reciprocal>(task, grid, sums);
  }
  return sum_block<quantizer, Clip::possible, Division::reciprocal>(task, grid, sums);
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

#undef QUANTBOUND_INLINE

}  // namespace QUANTBOUND_LOOP
