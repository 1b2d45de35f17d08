/// Bounds of f_q - f by linear programs over a relaxation of both networks on their shared input: approximate star sets
/// (Tran et al., CAV 2020) with the differences of all neurons tied in (QEBVerif's "Diff" encoding without integers,
/// docs/theory.md 5.2, 5.5). Unstable neurons are bounded layer by layer by linear programs of the layers before, where
/// their number allows, then the outputs. CLP proposes, proved_minimum of src/certify/linear_program.hpp decides: the
/// result holds in floating point whatever the solver does, and is never looser than what it starts from. Dense,
/// convolutional, residual and pooling networks with relu, leaky_relu, clip, hard_sigmoid, sigmoid and tanh; what goes
/// through Product or hard_swish keeps its interval.
#pragma once

#include "quantbound/certify/method.hpp"
#include "quantbound/certify/pair_bounds.hpp"

namespace quantbound::certify {

struct StarBounds {
  Box difference;          ///< f_q(x) - f(x) per output
  bool timed_out = false;  ///< max_seconds or `stop` ended something early: neurons may use a part of the time only
};

/// f_q(x) - f(x) per output for x in `input`. Honours options.max_seconds, stop and max_bytes: what is proved by then
/// is returned. @pre input finite, low <= high, sizes as the graph's input
StarBounds star_bounds(const Pair& pair, const Box& input, const MethodOptions& options);
Box star(const Pair& pair, const Box& input, const MethodOptions& options);

/// The same from bounds of every node that are known already.
Box star(const Pair& pair, const PairBounds& start, const MethodOptions& options);

}  // namespace quantbound::certify
