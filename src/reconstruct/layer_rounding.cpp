#include "quantbound/reconstruct/layer_rounding.hpp"

#include <algorithm>
#include <numeric>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "packed_matrix.hpp"

namespace quantbound::reconstruct {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

double sum(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

std::vector<double> nearest(std::span<const double> weights, std::span<const quantize::RowGrid> grids) {
  const std::size_t columns = weights.size() / grids.size();
  std::vector<double> result;
  result.reserve(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i)
    result.push_back(quantize::quantize_value(weights[i], grids[i / columns], quantize::Quantizer::round, 0.0));
  return result;
}

}  // namespace

/// The moments as the iterations read them, and what these write.
struct LayerRounding::Products {
  explicit Products(const Gram& gram) : change(gram.residual.size()), image(gram.residual.size()) {
    moments.reserve(at(gram.groups));
    for (Index group = 0; group < gram.groups; ++group) moments.emplace_back(gram.moments_of(group), gram.columns);
    residual.reserve(gram.residual.size());
    for (const double value : gram.residual) residual.push_back(static_cast<float>(value));
  }

  std::vector<detail::PackedMatrix> moments;
  std::vector<float> residual, change, image;
};

LayerRounding::LayerRounding(std::span<const double> weights, Gram gram, std::span<const quantize::RowGrid> grids,
                             const SoftRoundingOptions& options)
    : gram_(std::move(gram)),
      weights_(weights.begin(), weights.end()),
      grids_(grids.begin(), grids.end()),
      soft_(weights, grids, options),
      products_(std::make_unique<Products>(gram_)) {
  QUANTBOUND_ASSERT(std::ssize(weights) == gram_.rows * gram_.columns && std::ssize(grids) == gram_.rows,
                    weights.size(), grids.size(), gram_.rows, gram_.columns);
}

LayerRounding::~LayerRounding() = default;
LayerRounding::LayerRounding(LayerRounding&&) noexcept = default;
LayerRounding& LayerRounding::operator=(LayerRounding&&) noexcept = default;

void LayerRounding::iterate() {
  std::vector<float>&change = products_->change, &gradient = products_->image;
  const std::span<const float> soft = soft_.weights();
  for (std::size_t i = 0; i < change.size(); ++i)
    change[i] = static_cast<float>(static_cast<double>(soft[i]) - weights_[i]);
  const std::size_t group = at(gram_.group_rows() * gram_.columns);
#pragma omp parallel for schedule(static) if (gram_.groups > 1 && tensor::worth_threads(std::ssize(change)))
  for (Index g = 0; g < gram_.groups; ++g) {
    const std::size_t first = at(g) * group;
    products_->moments[at(g)].multiply(std::span<const float>(change).subspan(first, group),
                                       std::span(gradient).subspan(first, group));
  }
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = 2.0F * (gradient[i] + products_->residual[i]);
  soft_.update(gradient);
}

double LayerRounding::loss() const {
  const std::vector<double> soft(soft_.weights().begin(), soft_.weights().end());
  return sum(row_losses(gram_, weights_, soft));
}

RoundedLayer LayerRounding::finish() const {
  RoundedLayer result{.weights = soft_.rounded(), .settled = soft_.fraction_settled()};
  const std::vector<double> plain = nearest(weights_, grids_);
  std::vector<double> losses = row_losses(gram_, weights_, result.weights);
  const std::vector<double> plain_losses = row_losses(gram_, weights_, plain);
  for (Index row = 0; row < gram_.rows; ++row) {
    if (losses[at(row)] <= plain_losses[at(row)]) continue;
    std::copy_n(plain.begin() + row * gram_.columns, gram_.columns, result.weights.begin() + row * gram_.columns);
    losses[at(row)] = plain_losses[at(row)];
    ++result.rows_kept_nearest;
  }
  result.loss = sum(losses);
  result.loss_nearest = sum(plain_losses);
  return result;
}

RoundedLayer round_layer(std::span<const double> weights, Gram gram, std::span<const quantize::RowGrid> grids,
                         const SoftRoundingOptions& options) {
  LayerRounding rounding(weights, std::move(gram), grids, options);
  while (rounding.rounding().iteration() < options.iterations) rounding.iterate();
  return rounding.finish();
}

}  // namespace quantbound::reconstruct
