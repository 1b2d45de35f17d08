/// Segments of a network evaluated at the samples of a block, for one variant after the other: samples in fixed batches
/// over the caller's threads, in float by one engine per thread and in double by the reference forward pass. Batches
/// depend on the graph and the number of samples alone, so the bits do not depend on threads.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "quantbound/network/float_forward.hpp"
#include "quantbound/observe/deviation.hpp"

#include "shared_prefixes.hpp"

namespace quantbound::observe::detail {

/// What the passes over a block compute with.
enum class Arithmetic { float32, float64 };
/// "float", "double"
std::string_view to_string(Arithmetic arithmetic);
double largest_number(Arithmetic arithmetic);
/// Half the distance from 1 to the next number.
double roundoff(Arithmetic arithmetic);
/// With Precision::automatic small networks are measured in double, others in float.
Arithmetic arithmetic_of(const Graph& graph, Precision precision);

/// The samples of a block in batches of one size, the last one shorter where it does not come out even.
struct Batches {
  Index samples = 0, size = 1;
  Index count() const { return (samples + size - 1) / size; }
  Index first(Index batch) const { return batch * size; }
  Index length(Index batch) const { return std::min(size, samples - batch * size); }
  Index rest() const { return samples % size; }
};

/// Values at the end of a segment, samples x elements.
template <class Value>
struct Values {
  std::vector<Value> values;
  /// Batches in which the processor noticed an overflow or an operation without a result. It may have been harmless (a
  /// sigmoid of a large number) but what it left need not show: a maximum may drop a NaN.
  std::vector<Index> alarms;
};

class FloatEvaluation {
 public:
  using Real = float;
  static Index batch_size(const Graph& graph) { return micro_batch(graph); }

  /// segments and variants must outlive the object.
  FloatEvaluation(std::span<const Segment> segments, const Variants& variants, const Batches& batches);

  /// `input` holds samples x input elements of the segment.
  Values<float> run(std::size_t segment, Index variant, std::span<const float> input);

 private:
  /// Engines for batches of one size, and the weights they share.
  struct Kind {
    std::vector<std::unique_ptr<network::FloatForward>> engines;  ///< per thread, made when first needed
    std::shared_ptr<network::FloatWeights> weights;
  };
  struct Engines {
    Kind whole, rest;
  };

  Kind make_kind(const Segment& segment, Index batch) const;
  void set_weights(const Segment& segment, Engines& engines, Index variant) const;

  std::span<const Segment> segments_;
  const Variants& variants_;
  Batches batches_;
  std::vector<Engines> engines_;  ///< per segment
};

class DoubleEvaluation {
 public:
  using Real = double;
  /// So many that the values of a layer stay near 8 MiB.
  static Index batch_size(const Graph& graph);

  DoubleEvaluation(std::span<const Segment> segments, const Variants& variants, const Batches& batches)
      : segments_(segments), variants_(variants), batches_(batches) {}

  Values<double> run(std::size_t segment, Index variant, std::span<const double> input) const;

 private:
  std::span<const Segment> segments_;
  const Variants& variants_;
  Batches batches_;
};

}  // namespace quantbound::observe::detail
