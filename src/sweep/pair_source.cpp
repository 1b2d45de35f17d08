#include "pair_source.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::sweep::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

}  // namespace

PairSource::PairSource(const Plan& plan, Index network, const Shelf& shelf)
    : plan_(&plan), shelf_(&shelf), index_(network), network_(load(plan.networks[at(network)])) {}

std::size_t PairSource::version_of(const PackedLayers& original) {
  if (original.empty()) return 0;
  const auto found = std::ranges::find(packed_versions_, original);
  const auto place = static_cast<std::size_t>(found - packed_versions_.begin());
  if (found == packed_versions_.end()) {
    packed_versions_.push_back(original);
    versions_.push_back(unpack(original));
  }
  return place + 1;
}

void PairSource::fetch(Index configuration) {
  if (!quantizer_of(plan_->study, configuration).method || pairs_.contains(configuration)) return;
  const auto bytes = shelf_->read(pair_name(index_, configuration));
  if (!bytes) {
    throw core::IoError(
        fmt::format(
            "the reconstructed weights of {} in {} are gone from the journal or damaged; run again with --resume",
            plan_->networks[at(index_)].study.label, label(plan_->study, configuration)),
        pair_name(index_, configuration));
  }
  StoredPair pair = stored_pair_from_bytes(*bytes);
  pairs_[configuration] = {.quantized = std::move(pair.quantized), .version = version_of(pair.original)};
}

std::size_t PairSource::version(Index configuration) const {
  const auto found = pairs_.find(configuration);
  return found == pairs_.end() ? 0 : found->second.version;
}

std::span<const LayerParameters> PairSource::original(Index configuration) const {
  const std::size_t number = version(configuration);
  return number == 0 ? network_.layers : versions_[number - 1];
}

LayerParameters PairSource::quantized_layer(Index configuration, Index layer) const {
  const auto found = pairs_.find(configuration);
  if (found != pairs_.end()) {
    return found->second.quantized.empty() ? network_.layers[at(layer)]
                                           : unpack_layer(found->second.quantized[at(layer)]);
  }
  return quantize::quantize_layer(
      network_.layers[at(layer)], layer,
      quantize::at_layer(plan_->configurations[at(configuration)], layer, std::ssize(network_.layers)));
}

std::vector<LayerParameters> PairSource::quantized(Index configuration) const {
  std::vector<LayerParameters> layers;
  for (Index layer = 0; layer < std::ssize(network_.layers); ++layer) {
    layers.push_back(quantized_layer(configuration, layer));
  }
  return layers;
}

}  // namespace quantbound::sweep::detail
