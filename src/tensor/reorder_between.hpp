/// A reorder between places that change with every call, for samples and weights of the caller. A call allocates
/// nothing of ours (dnnl::reorder::execute makes a table of its arguments).
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "layout.hpp"

namespace quantbound::tensor::detail {

class ReorderBetween {
 public:
  ReorderBetween(const dnnl::engine& engine, const Descriptor& from, const Descriptor& to);
  /// Throws core::Error where oneDNN fails.
  void operator()(const float* from, float* to);

 private:
  dnnl::stream stream_;
  dnnl::memory from_, to_;
  dnnl::reorder reorder_;
};

}  // namespace quantbound::tensor::detail
