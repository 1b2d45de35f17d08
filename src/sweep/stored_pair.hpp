/// What a reconstruction leaves on the shelf: its result, and the weights that the tasks of other stages read; or why
/// there are none.
#pragma once

#include <optional>
#include <string>

#include "quantbound/reconstruct/reconstruct.hpp"
#include "quantbound/sweep/plan.hpp"
#include "quantbound/sweep/record.hpp"
#include "quantbound/sweep/shelf.hpp"

#include "packed_layers.hpp"

namespace quantbound::sweep::detail {

struct StoredPair {
  std::string failure = {};  ///< not empty: there are no weights
  ReconstructResult result = {};
  PackedLayers original = {};  ///< f as f_q is compared with it; empty: the network's own weights
  PackedLayers quantized = {};
};

core::Bytes to_bytes(const StoredPair& pair);
/// Throws core::Error where the bytes are damaged.
StoredPair stored_pair_from_bytes(std::span<const std::byte> bytes);

/// Names on the shelf: of the finished pair, and of the state of an unfinished reconstruction.
std::string pair_name(Index network, Index configuration);
std::string state_name(Index network, Index configuration);

}  // namespace quantbound::sweep::detail
