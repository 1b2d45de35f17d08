#include "reorder_between.hpp"

#include <array>
#include <string>

#include "quantbound/core/error.hpp"

namespace quantbound::tensor::detail {

ReorderBetween::ReorderBetween(const dnnl::engine& engine, const Descriptor& from, const Descriptor& to)
    : stream_(engine), from_(from, engine, nullptr), to_(to, engine, nullptr), reorder_(from_, to_) {}

void ReorderBetween::operator()(const float* from, float* to) {
  // oneDNN's C interface: that of C++ makes strings and tables on the way.
  const std::array<dnnl_exec_arg_t, 2> arguments{{{DNNL_ARG_FROM, from_.get()}, {DNNL_ARG_TO, to_.get()}}};
  const std::array statuses{
      dnnl_memory_set_data_handle(from_.get(), const_cast<float*>(from)),  // NOLINT: oneDNN only reads it
      dnnl_memory_set_data_handle(to_.get(), to),
      dnnl_primitive_execute(reorder_.get(), stream_.get(), 2, arguments.data())};
  for (const dnnl_status_t status : statuses)
    if (status != dnnl_success)
      throw core::Error("oneDNN failed with status " + std::to_string(status) + " to reorder", "float engine");
}

}  // namespace quantbound::tensor::detail
