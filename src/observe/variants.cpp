#include "variants.hpp"

#include "quantbound/core/assert.hpp"

#include "threads.hpp"

namespace quantbound::observe::detail {

LayerParameters Variants::quantized(Index variant, Index layer) const {
  QUANTBOUND_ASSERT(variant > 0 && variant < count(), variant, count());
  return sources_[static_cast<std::size_t>(variant - 1)](layer);
}

std::vector<LayerParameters> Variants::quantized(Index variant, Index first, Index count) const {
  std::vector<LayerParameters> result(static_cast<std::size_t>(count));
  parallel_for(count,
               [&](Index i, std::size_t) { result[static_cast<std::size_t>(i)] = quantized(variant, first + i); });
  return result;
}

}  // namespace quantbound::observe::detail
