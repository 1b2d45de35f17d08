/// A loop over the caller's OpenMP threads that lets an exception out: the one of the smallest index, so that the same
/// failure is reported for any number of threads.
#pragma once

#include <cstddef>
#include <exception>
#include <limits>
#include <mutex>

#include <omp.h>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::reconstruct::detail {

using tensor::Index;

/// Calls body(i, thread) once for every i < count; threads are numbered below omp_get_max_threads().
template <class Body>
void parallel_for(Index count, const Body& body) {
  Index failed = std::numeric_limits<Index>::max();
  std::exception_ptr failure;
  std::mutex guard;
#pragma omp parallel for schedule(dynamic, 1)
  for (Index i = 0; i < count; ++i) {
    try {
      body(i, static_cast<std::size_t>(omp_get_thread_num()));
    } catch (...) {
      const std::lock_guard lock(guard);
      if (i < failed) failure = std::current_exception();
      failed = i < failed ? i : failed;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace quantbound::reconstruct::detail
