#include "memory.hpp"

#include <algorithm>
#include <new>

#include <omp.h>

namespace quantbound::tensor::detail {

namespace {
constexpr std::align_val_t alignment{static_cast<std::size_t>(cache_line)};
}

void FreeAligned::operator()(float* data) const { ::operator delete[](data, alignment); }

AlignedFloats aligned_floats(Index size) {
  const auto count = static_cast<std::size_t>(std::max<Index>(size, 1));
  AlignedFloats floats(static_cast<float*>(::operator new[](count * sizeof(float), alignment)));
  std::fill_n(floats.get(), count, 0.0F);
  return floats;
}

SingleThread::SingleThread() : previous_(omp_get_max_threads()) { omp_set_num_threads(1); }
SingleThread::~SingleThread() { omp_set_num_threads(previous_); }

}  // namespace quantbound::tensor::detail
