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
#include "quantbound/reconstruct/capacity.hpp"
#include "quantbound/reconstruct/gptq.hpp"
#include "quantbound/reconstruct/module.hpp"

namespace quantbound::reconstruct {

using network::LayerParameters;
using network::Network;

/// round: to nearest, the baseline of all others. gptq: layer by layer on the second moments of the quantized inputs.
/// adaround: layer by layer, an activation that follows belonging to the loss. brecq: block by block. qdrop: brecq with
/// inputs mixed from f and the quantized prefix. mrecg: pairs of blocks chosen by their capacity, without data, joined.
/// mrecg_loss: runs of blocks chosen by the losses of a first pass joined.
enum class Method { round, gptq, adaround, brecq, qdrop, mrecg, mrecg_loss };
std::string_view to_string(Method method);
std::optional<Method> parse_method(std::string_view text);

/// cross_layer: quantize/equalization.hpp, before anything else.
enum class Equalization { none, cross_layer };
/// empirical: once a module is quantized, the mean over calibration samples of every row before its activation is that
/// of f (arXiv 1906.04721, section 4.2).
enum class BiasCorrection { none, empirical };
/// fisher: elements of a block's output count as the diagonal Fisher information says (docs/theory.md 7.3).
enum class Weighting { none, fisher };
/// How a module of one layer without an activation, whose loss is quadratic in its weights, is trained: on the second
/// moments of all samples, or by batches as any other.
enum class QuadraticLoss { moments, batches };

/// What the regularizer's factor is multiplied by. absolute: 1, as published (with a factor of 0.01); where the loss of
/// a module is far above 1 the regularizer is too weak then, and many roundings are undecided at the end. loss: the
/// module's loss with weights rounded to nearest, so that nothing depends on the scale of the network's values.
enum class RegularizationUnit { absolute, loss };

/// Which neighbouring modules are one, where Options::runs does not say: none, or those that mrecg chooses; or a scheme
/// drawn from the seed, all with runs up to longest_run as likely (arXiv 2303.11906, figure 3: the study of
/// granularity).
enum class Joining { by_method, random };

/// Of AdaRound and all that follow it; the published values but for the regularizer, whose unit is another.
struct Options {
  Index iterations = 20000;  ///< per module
  Index batch = 32;
  double learning_rate = 1e-3, regularization = 0.1;
  RegularizationUnit regularization_unit = RegularizationUnit::loss;
  double warm_up = 0.2;  ///< part of the iterations without regularizer
  double beta_first = 20.0, beta_last = 2.0;
  double drop = 0.5;  ///< qdrop: probability that an element of the input is the quantized prefix's
  Weighting weighting = Weighting::none;
  QuadraticLoss quadratic = QuadraticLoss::moments;
  Equalization equalization = Equalization::none;
  /// Biases are absorbed by the following layers as far as pre-activations stay above 0 by so many of their standard
  /// deviations (arXiv 1906.04721: 3), after equalization; none: they are not.
  std::optional<double> bias_absorption;
  BiasCorrection bias_correction = BiasCorrection::none;
  /// What round, brecq, qdrop and mrecg take for a module; gptq and adaround go by layers.
  ModuleKind modules = ModuleKind::block;
  std::vector<LayerRange> named;         ///< modules by name in place of a kind
  std::vector<Index> runs;               ///< brecq, qdrop, mrecg: so many modules each are one; empty: as joining says
  Joining joining = Joining::by_method;  ///< random: of brecq, qdrop, mrecg
  Method joint = Method::brecq;          ///< of mrecg and mrecg_loss: brecq or qdrop
  CapacityOptions capacity;
  Homogeneity homogeneity = Homogeneity::converted;  ///< mrecg: of the modules of a pair
  Index joins = 0;  ///< mrecg, mrecg_loss: neighbours that are joined; 0: a quarter of the pairs, at least one
  double join_penalty = 1.0;                 ///< SelectionOptions::penalty
  Index longest_run = 0;                     ///< of joined modules; 0: two for mrecg, else three
  double damping = 0.01;                     ///< gptq
  ColumnOrder order = ColumnOrder::natural;  ///< gptq
  std::uint64_t seed = 1;  ///< of batches, mixed inputs, random schemes and labels drawn for the Fisher information
};

/// The samples that a method is fitted to, as the float engine takes them: count x input elements.
struct Calibration {
  std::span<const float> inputs;
  Index count = 0;
};

struct Progress {
  Index pass = 0, passes = 1;           ///< mrecg_loss goes through the network twice
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
  double capacity = 0.0;       ///< ModCap, in bits (capacity.hpp)
  double loss_round = 0.0;     ///< with weights rounded to nearest, from the same prefix
  double loss = 0.0;           ///< never above loss_round: where a method does not improve on it, rounding is kept
  bool kept_rounding = false;  ///< the method's own weights were no better
  double settled = 1.0;        ///< fraction of soft roundings that are at 0 or 1 before the last, hard rounding
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

/// Throws the core::InputError that reconstruct() would throw for these options and so many samples.
void check_options(Method method, Index samples, const Options& options);

/// Bytes that a reconstruction from so many samples takes at most for the values of f and of the quantized network that
/// it holds at once, Fisher weights and second moments included; the caller's samples and the engines are not counted.
Index reconstruct_memory(const Graph& graph, Index samples, Method method, const Options& options);

}  // namespace quantbound::reconstruct
