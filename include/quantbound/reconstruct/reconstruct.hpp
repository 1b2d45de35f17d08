/// Post-training reconstruction of a whole network: module after module in order, W~ on the grids of its configuration
/// is chosen so that the module, fed by the already quantized prefix, gives what it gives in f: AdaRound (arXiv
/// 2004.10568), BRECQ (2102.05426), QDrop (2203.05740), MRECG (2303.11906), GPTQ (2210.17323); docs/theory.md 6 and 7.
/// Bits depend on the arguments alone, never on threads. What it does not do: quantize activations, train with labels,
/// read files, prove anything; losses are measured in float on the calibration samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/quantize/configuration.hpp"
#include "quantbound/reconstruct/module.hpp"

namespace quantbound::reconstruct {

using network::LayerParameters;
using network::Network;

/// round: to nearest, the baseline of all others.
enum class Method { round };
std::string_view to_string(Method method);
std::optional<Method> parse_method(std::string_view text);

struct Options {
  ModuleKind modules = ModuleKind::layer;  ///< what is measured and reconstructed together
};

/// The samples that a method is fitted to, as the float engine takes them: count x input elements.
struct Calibration {
  std::span<const float> inputs;
  Index count = 0;
};

struct Progress {
  Index module = 0, modules = 0;        ///< number of the module, and how many there are
  Index iteration = 0, iterations = 0;  ///< of this module
  double loss = 0.0;                    ///< of the last batch; at the end of a module its loss on all samples
  std::string_view name;                ///< of the module
};

/// How a caller looks on. All members are called from the calling thread; any may be empty.
struct Watch {
  std::function<void(const Progress&)> progress;         ///< several times a second at most, and after every module
  std::function<bool()> stop;                            ///< true: end as soon as possible
  std::function<void(std::span<const std::byte>)> save;  ///< the state, now and then and when stopped
  std::vector<std::byte> saved;                          ///< a state to go on from: the result is that of one run
  double save_seconds = 300.0;                           ///< between two calls of save
};

/// Losses are means over samples (and positions) of the sum over channels of (f's value - the quantized value)^2 at the
/// module's output, over all calibration samples, the quantized module reading the quantized prefix.
struct ModuleReport {
  Module module;
  double loss_round = 0.0;  ///< with weights rounded to nearest, from the same prefix
  double loss = 0.0;        ///< never above loss_round: where a method does not improve on it, rounding is kept
  bool kept_rounding = false;
  double settled = 1.0;  ///< fraction of soft roundings that are at 0 or 1 before the last, hard rounding
  Index iterations = 0;
  bool operator==(const ModuleReport&) const = default;
};

struct Reconstruction {
  /// f as it is compared with: the network's own layers, or those after an exact equalization.
  std::vector<LayerParameters> original;
  std::vector<LayerParameters> quantized;  ///< every weight on its grid
  std::vector<ModuleReport> modules;
  bool stopped = false;  ///< Watch::stop ended it: the modules after the last report hold f's weights
};

/// The configuration's quantizer is not read: every method starts from round to nearest.
/// Throws core::InputError where options, samples and network do not go together, core::NumericalError where a loss is
/// not finite.
Reconstruction reconstruct(const Network& network, const quantize::Configuration& configuration, Method method,
                           const Calibration& calibration, const Options& options, const Watch& watch);

/// Bytes that the values held for so many samples take at most (the caller's samples not counted).
Index reconstruct_memory(const Graph& graph, Index samples, const Options& options);

}  // namespace quantbound::reconstruct
