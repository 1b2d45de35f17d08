/// When a loop is worth the threads of the caller: waking them takes microseconds, and far longer while other programs
/// use the cores. Decides where the work runs, never what it computes.
#pragma once

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

/// `operations`: multiply-adds or elements moved, roughly.
inline bool worth_threads(Index operations) { return operations > 50000; }

}  // namespace quantbound::tensor
