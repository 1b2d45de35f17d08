/// The study file (docs/design.md 5): TOML to a checked, resolved description of what to compute. Unknown keys, wrong
/// types, empty lists, contradictions and missing files are core::InputError with file, line, column and the nearest
/// known key; nothing is computed before the whole file has been checked.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "quantbound/certify/method.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/observe/attack.hpp"
#include "quantbound/observe/deviation.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/quantize/configuration.hpp"
#include "quantbound/sweep/study_quantizer.hpp"

namespace quantbound::sweep {

using network::Index;
using network::Shape;

/// The box [low, high], one number for all inputs or one per input.
struct BoxDomain {
  std::vector<double> low, high;
};
/// The input box of a vnnlib property.
struct VnnlibDomain {
  std::string path;
};
/// Balls of the inf-norm around the first `count` samples of a set, clipped to a valid range where one is given.
struct BallDomain {
  std::string samples;
  double radius = 0.0;
  Index count = 1;
  std::optional<std::pair<double, double>> clip;
};
/// The box that the file itself brings (.nnet).
struct FileDomain {};
using Domain = std::variant<FileDomain, BoxDomain, VnnlibDomain, BallDomain>;

/// One network of the study: a file or one point of a family.
struct StudyNetwork {
  std::string label;   ///< unique on the `network` axis
  std::string source;  ///< the path as written in the study, or the family
  std::variant<std::filesystem::path, network::FamilyPoint> origin;
  std::optional<Shape> input_shape;
  Domain domain;
  std::vector<std::string> samples;  ///< the sample sets that apply to it
  std::string calibration;           ///< the set that methods are fitted to; empty: none does anything
  std::string where;                 ///< its place in the study file, for errors
};

struct Study {
  std::string name;
  std::uint64_t seed = 1;
  std::vector<StudyNetwork> networks;
  std::vector<observe::SampleSpec> samples;

  std::vector<StudyQuantizer> quantizers;
  std::vector<quantize::Granularity> granularities;
  std::vector<int> bits;
  std::vector<std::uint64_t> seeds;
  quantize::StepRule step_rule = quantize::StepRule::max;
  double fixed_step = 0.0;
  quantize::Grid grid = quantize::Grid::symmetric;
  int bias_bits = 0;
  int edge_bits = 0;

  reconstruct::Options reconstruct;  ///< what all methods of the quantizer axis share; the seed is the configuration's

  std::vector<std::string> theories;

  std::vector<certify::Method> methods;  ///< in the order of certify::methods(); empty: the stage is off
  certify::MethodOptions certify;        ///< the same for every pair and region; without a `stop`

  Index uniform_points = 0;
  std::vector<double> quantiles;
  double confidence = 0.99;  ///< of what samples prove about the distribution they come from
  observe::Precision precision = observe::Precision::automatic;
  Index layer_samples = 8;  ///< of every set: the first so many samples are measured layer by layer
  bool per_sample = false;  ///< whether the result file lists the deviation of every sample
  std::optional<observe::AttackOptions> attack;  ///< none: nothing is searched; its seed is set per region

  std::string toml;  ///< the study as resolved: the file with every --set applied
};

/// `key=value` of --set: a dotted key ("study.seed", "network.0.file"; the index may be left out where there is one
/// table) and a TOML value, or a bare string.
struct Override {
  std::string key, value;
};
/// Splits "key=value". Throws core::InputError where there is no '='.
Override parse_override(const std::string& text);

/// Reads and checks a study. Relative paths are relative to the study file; those of --set to the working directory.
Study read_study(const std::filesystem::path& path, std::span<const Override> overrides = {});

/// Keys of [reconstruct] without a study, for what fits one network: all that it takes but `samples`. The others keep
/// their defaults. Throws core::InputError naming the key.
reconstruct::Options read_reconstruct_options(std::span<const Override> settings);

/// All configurations: quantizer x granularity x bits x seed, in this order, the last axis fastest.
std::vector<quantize::Configuration> configurations(const Study& study);
/// The quantizer of a configuration. @pre 0 <= configuration < configurations(study).size()
const StudyQuantizer& quantizer_of(const Study& study, Index configuration);
/// "brecq/channel/4/seed 1": the configuration under the name of its quantizer, with the seed where it matters.
std::string label(const Study& study, Index configuration);
/// Whether a method stands on the quantizer axis.
bool reconstructs(const Study& study);

}  // namespace quantbound::sweep
