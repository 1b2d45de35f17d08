#include "double_difference.hpp"

#include <algorithm>
#include <exception>
#include <optional>

#include <omp.h>

#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/forward.hpp"

namespace quantbound::observe::detail {

namespace {

constexpr Index tape_values = Index{1} << 24;   // 128 MiB of each network
constexpr Index worth_waking = Index{1} << 23;  // multiply-adds of one pass: a few milliseconds of all passes

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// The calling thread alone works while this lives: for many small steps that are not worth waking others.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_;
};

void subtract(std::span<const double> a, std::span<const double> b, double* out) {
  for (std::size_t i = 0; i < a.size(); ++i) out[i] = a[i] - b[i];
}

}  // namespace

Index count_multiply_adds(const Graph& graph) {
  Index count = 1;
  for (const network::Node& node : graph.nodes) {
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op))
      count += convolution->geometry.multiply_adds();
    if (const auto* dense = std::get_if<network::Dense>(&node.op)) count += dense->inputs * dense->outputs;
  }
  return count;
}

Difference::Difference(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq)
    : graph_(graph),
      f_(f),
      fq_(fq),
      inputs_(tensor::elements(graph.input_shape())),
      outputs_(tensor::elements(graph.output_shape())),
      multiply_adds_(count_multiply_adds(graph)) {
  Index values = 1;
  for (const network::Node& node : graph.nodes) values += tensor::elements(node.shape);
  at_once_ = std::clamp<Index>(tape_values / values, 1, 32);
}

/// A few points at a time: each thread takes whole parts, and only a single part is left to the threads of the
/// kernels. Small networks stay with the calling thread: where other programs use the cores, waking threads for every
/// step takes ten times as long as the step.
template <class Evaluate>
void Difference::for_each_part(Index count, const Evaluate& evaluate) const {
  const Index parts = (count + at_once_ - 1) / at_once_;
  const bool is_small = count * multiply_adds_ < worth_waking;
  std::optional<OneThread> alone;
  if (is_small) alone.emplace();
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic) if (parts > 1 && !is_small)
  for (Index part = 0; part < parts; ++part) {
    try {
      evaluate(part * at_once_, std::min(at_once_, count - part * at_once_));
    } catch (...) {  // no exception may leave the loop of a thread
#pragma omp critical(quantbound_attack_failure)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

std::vector<double> Difference::values(std::span<const double> points) const {
  std::vector<double> result(index(std::ssize(points) / inputs_ * outputs_));
  for_each_part(std::ssize(points) / inputs_, [&](Index first, Index count) {
    const auto x = points.subspan(index(first * inputs_), index(count * inputs_));
    subtract(network::forward(graph_, fq_, x, count), network::forward(graph_, f_, x, count),
             result.data() + first * outputs_);
  });
  return result;
}

Slopes Difference::slopes(std::span<const double> points, std::span<const double> weights) const {
  Slopes all{std::vector<double>(weights.size()), std::vector<double>(points.size())};
  for_each_part(std::ssize(points) / inputs_, [&](Index first, Index count) {
    const auto x = points.subspan(index(first * inputs_), index(count * inputs_));
    const auto w = weights.subspan(index(first * outputs_), index(count * outputs_));
    const network::Tape tape(graph_, f_, x, count), quantized(graph_, fq_, x, count);
    subtract(quantized.output(), tape.output(), all.values.data() + first * outputs_);
    subtract(quantized.pull_back(w), tape.pull_back(w), all.gradients.data() + first * inputs_);
  });
  return all;
}

}  // namespace quantbound::observe::detail
