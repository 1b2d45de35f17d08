/// f and f_q of the configurations of one network, the same for all stages: rounded when they are asked for, or
/// reconstructed and read from the shelf. Where an exact equalization moved powers of two between f's layers, f as its
/// f_q is compared with it has those layers: the same function, other weights. A configuration whose reconstruction
/// failed is f itself here, so that units of several configurations keep their shape; nobody reports its numbers.
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/sweep/plan.hpp"
#include "quantbound/sweep/shelf.hpp"

#include "stored_pair.hpp"

namespace quantbound::sweep::detail {

using network::LayerParameters;

class PairSource {
 public:
  /// Reads the network. Plan and shelf must outlive the object.
  PairSource(const Plan& plan, Index network, const Shelf& shelf);

  const network::Network& network() const { return network_; }
  /// Makes sure that the configuration's weights are here: what follows is const and may be called by many threads.
  /// Throws core::IoError where they are gone from the shelf.
  void fetch(Index configuration);

  /// All below: @pre fetched
  bool is_reconstructed(Index configuration) const { return pairs_.contains(configuration); }
  /// Which of the versions of f's weights belongs to the configuration: 0 is the network's own.
  std::size_t version(Index configuration) const;
  std::span<const LayerParameters> original(Index configuration) const;
  LayerParameters quantized_layer(Index configuration, Index layer) const;
  std::vector<LayerParameters> quantized(Index configuration) const;

 private:
  struct Kept {
    PackedLayers quantized;  ///< empty: the reconstruction failed
    std::size_t version = 0;
  };
  std::size_t version_of(const PackedLayers& original);

  const Plan* plan_;
  const Shelf* shelf_;
  Index index_;
  network::Network network_;
  std::map<Index, Kept> pairs_;               ///< by configuration
  std::deque<PackedLayers> packed_versions_;  ///< of f's weights, from number 1 on
  std::deque<std::vector<LayerParameters>> versions_;
};

}  // namespace quantbound::sweep::detail
