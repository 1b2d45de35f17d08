#include "quantbound/tensor/matrix.hpp"

#include <algorithm>
#include <cmath>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "product.hpp"

namespace quantbound::tensor {

namespace {

Index inputs_of(Index outputs, std::span<const double> weights, std::span<const double> bias,
                std::span<const double> input, Index batch) {
  QUANTBOUND_ASSERT(outputs > 0 && std::ssize(weights) % outputs == 0, outputs, weights.size());
  const Index inputs = std::ssize(weights) / outputs;
  QUANTBOUND_ASSERT(bias.empty() || std::ssize(bias) == outputs, bias.size(), outputs);
  QUANTBOUND_ASSERT(std::ssize(input) == batch * inputs, input.size(), batch, inputs);
  return inputs;
}

constexpr Index block_samples = 192;  // what the product multiplies with one packed piece of its right side
constexpr Index few_samples = 32;

}  // namespace

void dense(Index outputs, std::span<const double> weights, std::span<const double> bias, std::span<const double> input,
           Index batch, std::span<double> output) {
  const Index inputs = inputs_of(outputs, weights, bias, input, batch);
  QUANTBOUND_ASSERT(std::ssize(output) == batch * outputs, output.size(), batch, outputs);
#pragma omp parallel for schedule(static) if (worth_threads(batch * std::ssize(weights)))
  for (Index first = 0; first < batch; first += block_samples) {
    const Index count = std::min(block_samples, batch - first);
    double* y = output.data() + first * outputs;
    std::fill_n(y, count * outputs, 0.0);
    if (!bias.empty())
      for (Index n = 0; n < count; ++n) std::copy(bias.begin(), bias.end(), y + n * outputs);
    const double* x = input.data() + first * inputs;
    if (count >= few_samples) {
      detail::add_product({x, count, inputs, inputs, 1}, {weights.data(), inputs, outputs, 1, inputs},
                          {y, count, outputs, outputs, 1});
    } else {  // y^T += W x^T, which packs the samples instead of the weights; the bits are the same
      detail::add_product({weights.data(), outputs, inputs, inputs, 1}, {x, inputs, count, 1, inputs},
                          {y, outputs, count, 1, outputs});
    }
  }
}

std::vector<double> dense(Index outputs, std::span<const double> weights, std::span<const double> bias,
                          std::span<const double> input, Index batch) {
  std::vector<double> output(static_cast<std::size_t>(batch * outputs));
  dense(outputs, weights, bias, input, batch, output);
  return output;
}

std::vector<double> dense_reference(Index outputs, std::span<const double> weights, std::span<const double> bias,
                                    std::span<const double> input, Index batch) {
  const Index inputs = inputs_of(outputs, weights, bias, input, batch);
  std::vector<double> output;
  output.reserve(static_cast<std::size_t>(batch * outputs));
  for (Index n = 0; n < batch; ++n)
    for (Index o = 0; o < outputs; ++o) {
      double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(o)];
      for (Index i = 0; i < inputs; ++i)
        sum = std::fma(weights[static_cast<std::size_t>(o * inputs + i)],
                       input[static_cast<std::size_t>(n * inputs + i)], sum);
      output.push_back(sum);
    }
  return output;
}

}  // namespace quantbound::tensor
