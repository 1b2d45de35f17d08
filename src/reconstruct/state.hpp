/// Where a reconstruction stands, as bytes: what was decided for the modules before, and the variables of the module at
/// hand. Values of samples are not kept: the quantized prefix makes them again, bit for bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantbound/core/bytes.hpp"
#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::reconstruct::detail {

struct State {
  Index pass = 0;                       ///< mrecg_loss goes through the network twice
  std::vector<double> losses;           ///< of the first pass, once that is complete
  std::vector<LayerParameters> layers;  ///< of the modules that are done, in order
  std::vector<ModuleReport> reports;    ///< of those; their modules and capacities are not stored
  core::Bytes training;                 ///< of the next module; empty: not begun
};

/// What a state depends on: everything that the caller gave.
std::uint64_t identity(const Network& network, const quantize::Configuration& configuration, Method method,
                       const Calibration& calibration, const Options& options);

core::Bytes to_bytes(const State& state, std::uint64_t identity);
/// Throws core::InputError where the state is of another reconstruction, core::Error where it is damaged.
State from_bytes(std::span<const std::byte> bytes, std::uint64_t identity);

}  // namespace quantbound::reconstruct::detail
