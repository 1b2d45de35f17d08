/// A pair that is a chain of dense layers with relu, leaky_relu or clip behind them, compiled for branch_dense.hpp:
/// weights of f, of f_q and their change, by rows and by columns, padded to whole lanes. Reshapes vanish; ScaleShift
/// before the first layer stays a map of the input. What does not fit is told in words, never approximated.
#pragma once

#include <string>
#include <vector>

#include "quantbound/certify/pair.hpp"

#include "dense_pair_kernels.hpp"

namespace quantbound::certify::detail {

/// Zeroed doubles on a cache line's boundary.
class AlignedDoubles {
 public:
  AlignedDoubles() = default;
  explicit AlignedDoubles(Index size);
  double* data() { return values_.empty() ? nullptr : values_.data()->v; }
  const double* data() const { return values_.empty() ? nullptr : values_.data()->v; }
  double& operator[](Index i) { return data()[i]; }
  double operator[](Index i) const { return data()[i]; }

 private:
  struct alignas(64) Line {
    double v[lane_count];
  };
  std::vector<Line> values_;
};

inline Index padded(Index size) { return (size + lane_count - 1) / lane_count * lane_count; }

/// s(x) = middle x between `low` and `high`; below `low` slope `below`, above `high` constant.
struct Hinges {
  double low, high;  ///< infinite where there is no hinge
  double below;      ///< slope left of `low`: 0, or that of leaky_relu

  double operator()(double x) const { return x < low ? low + below * (x - low) : x > high ? high : x; }
};

/// One network's weights of a layer: as {outputs, padded inputs}, as {inputs, padded outputs}, and per output.
struct DenseWeights {
  AlignedDoubles rows, columns, bias;
};

struct DenseLayer {
  Index inputs = 0, outputs = 0;
  DenseWeights f, fq, change;
  std::vector<char> unchanged;  ///< per output: no weight and no bias differs
  Hinges activation{};          ///< behind the layer

  Index input_stride() const { return padded(inputs); }
  Index output_stride() const { return padded(outputs); }
};

/// x_i -> scale_i x_i + shift_i.
struct InputMap {
  std::vector<double> scale, shift;
};

struct DensePair {
  Index inputs = 0, outputs = 0;
  Index width = 0;  ///< padded, of the widest layer
  std::vector<InputMap> maps;
  std::vector<DenseLayer> layers;
  bool identical = false;  ///< nothing differs
};

/// Most inputs and most outputs of a layer that the bounder's memory is meant for (tens of megabytes a thread).
constexpr Index max_dense_inputs = 1024, max_dense_outputs = 512;

/// Why the pair cannot be compiled, naming the node; empty when it can.
std::string not_dense(const Pair& pair);
/// @pre not_dense(pair) is empty
DensePair compile_dense_pair(const Pair& pair);

}  // namespace quantbound::certify::detail
