/// What all of the float engine needs: memory on cache lines, and oneDNN on one thread.
#pragma once

#include <memory>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor::detail {

constexpr Index cache_line = 64;  // bytes
constexpr Index floats_per_line = cache_line / static_cast<Index>(sizeof(float));

/// Memory for `size` floats on a cache line, zero at first.
struct FreeAligned {
  void operator()(float* data) const;
};
using AlignedFloats = std::unique_ptr<float[], FreeAligned>;
AlignedFloats aligned_floats(Index size);

/// oneDNN takes its number of threads from OpenMP: one while an object of this class lives.
class SingleThread {
 public:
  SingleThread();
  ~SingleThread();
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int previous_;
};

}  // namespace quantbound::tensor::detail
