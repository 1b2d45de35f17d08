#include "quantbound/sweep/dataset_schema.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <sstream>
#include <utility>

#include "quantbound/core/assert.hpp"

namespace quantbound::sweep {

namespace {

constexpr std::string_view proved = "proved", estimate = "estimate", observed = "observed";

constexpr std::array specs{
    VariableSpec{"status", "network C", "state of the tasks of a configuration", "1", "", "", Kind::flag},
    VariableSpec{"weight_norm", "layer", "operator norm inf->inf of the layer, biases left out", "1", proved,
                 "arXiv 2502.01156, Thm 4.4: largest l1 norm of a filter"},
    VariableSpec{"bias_norm", "layer", "largest absolute bias of the layer", "1", proved, ""},
    VariableSpec{"step_max", "layer C", "largest step of the quantization grids of the layer", "1", "",
                 "eta of arXiv 2502.01156"},
    VariableSpec{"delta_max", "layer C", "largest absolute change of a weight", "1", proved, "max |W' - W|"},
    VariableSpec{"delta_norm", "layer C", "operator norm inf->inf of the change of the weights", "1", proved,
                 "||W' - W||_inf"},
    VariableSpec{"r", "layer C",
                 "r_l: dominates the layer of the original and of the quantized network, biases included", "1", proved,
                 "arXiv 2502.01156, Thm 4.1: r_l over [W_l, b_l]"},
    VariableSpec{"r_max", "network C", "largest r_l", "1", proved, "arXiv 2502.01156"},
    VariableSpec{"r_mean", "network C", "geometric mean of the r_l over the sequence of weight layers", "1", estimate,
                 "arXiv 2502.01156, Thm 4.1"},
    VariableSpec{"r_conv", "network C",
                 "geometric mean of the layer norms without biases over the sequence of weight layers", "1", estimate,
                 "arXiv 2502.01156, Thm 4.4"},
    VariableSpec{"log10_bound", "network C theory", "log10 of the bound on the output deviation over the domain", "1",
                 proved, "see `theory_equation`"},
    VariableSpec{"bound_applicable", "network C theory", "whether the assumptions of the bound hold for this network",
                 "1", "", "", Kind::flag},
    VariableSpec{
        "log10_formula", "network C theory",
        "log10 of the published formula taken literally over the sequence of weight layers, assumptions or not", "1",
        estimate, "see `theory_formula`"},
    VariableSpec{"gain", "network C theory", "log10 of the gonon bound minus log10 of this bound", "1", estimate, ""},
    VariableSpec{"gain_formula", "network C theory",
                 "log10 of the literal gonon formula minus log10 of this literal formula", "1", estimate,
                 "the gain column of the table of arXiv 2502.01156"},
    VariableSpec{"certified", "region C method", "bound on the output deviation over the region, inf-norm, rounded up",
                 "1", proved, "see `method_equation`"},
    VariableSpec{"certified_output", "region_output C method", "bound on the deviation of the output over the region",
                 "1", proved, "see `method_equation`"},
    VariableSpec{"certified_lower", "region C", "largest output deviation that branch and bound proves to be attained",
                 "1", proved, "docs/theory.md 9.1, B10"},
    VariableSpec{"certify_boxes", "region C method", "regions or subproblems bounded; 0 where the method was not run",
                 "1", "", "", Kind::count},
    VariableSpec{"samples_in_domain", "network samples",
                 "samples inside the domain: those that deviations are taken over", "1", observed, "", Kind::count},
    VariableSpec{"observed_max", "network C samples", "largest measured deviation of the output, inf-norm", "1",
                 observed, ""},
    VariableSpec{"observed_mean", "network C samples", "mean measured deviation of the output, inf-norm", "1", observed,
                 ""},
    VariableSpec{
        "observed_quantile", "network C samples quantile",
        "quantile of the measured deviation: the smallest value that at least this fraction of samples does not exceed",
        "1", observed, ""},
    VariableSpec{"observed_quantile_upper", "network C samples quantile",
                 "upper confidence bound of the quantile of the distribution that the samples are drawn from, at "
                 "`confidence`; nothing where there are too few samples",
                 "1", estimate, "docs/statistics.md: order statistics, exact binomial"},
    VariableSpec{
        "observed_max_exceedance", "network samples",
        "with `confidence`, at most this part of the distribution that the samples are drawn from has a larger "
        "deviation than observed_max",
        "1", estimate, "docs/statistics.md: 1 - (1 - confidence)^(1/n)"},
    VariableSpec{"observed_norm_max", "network C samples norm", "largest measured deviation of the output in this norm",
                 "1", observed, ""},
    VariableSpec{"observed_norm_mean", "network C samples norm", "mean measured deviation of the output in this norm",
                 "1", observed, ""},
    VariableSpec{"observed_norm_quantile", "network C samples norm quantile",
                 "quantile of the measured deviation in this norm", "1", observed, ""},
    VariableSpec{"observed_sample", "network C sample",
                 "measured deviation of every sample, inf-norm; nothing outside the domain", "1", observed, "",
                 Kind::real, Presence::per_sample},
    VariableSpec{"observed_error", "network C samples",
                 "by how much observed deviations may be off because of the arithmetic of the measurement", "1",
                 estimate, "docs/theory.md 9.5"},
    VariableSpec{"observed_in_double", "network C samples", "samples inside the domain that were measured in double",
                 "1", "", "", Kind::count},
    VariableSpec{"layer_samples", "network samples",
                 "samples, the first of the set inside the domain, over which layers are measured", "1", "", "",
                 Kind::count},
    VariableSpec{"observed_layer_max", "layer C samples",
                 "largest measured deviation after the weight layer and the activation that follows it, over the layer "
                 "samples",
                 "1", observed, ""},
    VariableSpec{"observed_layer_mean", "layer C samples",
                 "mean measured deviation after the weight layer and the activation that follows it, over the layer "
                 "samples",
                 "1", observed, ""},
    VariableSpec{"error_amplification", "layer C samples",
                 "mean of X_l: what the layer makes of the deviation of its input, 2-norms", "1", observed,
                 "arXiv 2610.09877, Def. 1: ||W_l Delta_{l-1}|| / ||Delta_{l-1}||"},
    VariableSpec{"error_ratio", "layer C samples",
                 "mean of Y_l: the deviation that the layer's own quantization adds, over the norm of its input", "1",
                 observed, "arXiv 2610.09877, Def. 1: ||(W_l - W'_l) S'_{l-1}|| / ||S'_{l-1}||"},
    VariableSpec{"error_local", "layer C samples",
                 "mean 2-norm of the deviation that the layer's own quantization adds", "1", observed,
                 "arXiv 2610.09877, eq. 1: ||(W_l - W'_l) S'_{l-1}||"},
    VariableSpec{"error_share", "layer C samples",
                 "mean part of the propagated error G_L of the output that the layer's own quantization causes", "1",
                 observed, "arXiv 2610.09877, Lemma 1 and Table 4; docs/statistics.md"},
    VariableSpec{"cantelli_global", "network C samples",
                 "mean + deviation of the propagated error G_L, at `confidence`, with moments of the layer samples in "
                 "place of the true ones: no guarantee",
                 "1", estimate, "arXiv 2610.09877, Lemma 1"},
    VariableSpec{"cantelli_layerwise", "network C samples",
                 "layerwise Cantelli bound of the 2-norm of the deviation, at `confidence`, with moments of the layer "
                 "samples in place of the true ones: no guarantee",
                 "1", estimate, "arXiv 2610.09877, Thm 1"},
    VariableSpec{"attacked", "region C", "largest output deviation that a search in the region found, inf-norm", "1",
                 observed, "projected sign-gradient ascent"},
    VariableSpec{"accuracy", "network C samples",
                 "fraction of labelled samples that the quantized network classifies right", "1", observed, ""},
    VariableSpec{"accuracy_reference", "network samples",
                 "fraction of labelled samples that the original network classifies right", "1", observed, ""},
    VariableSpec{"accuracy_top5", "network C samples",
                 "fraction of labelled samples whose label is among the first five of the quantized network", "1",
                 observed, ""},
    VariableSpec{"accuracy_top5_reference", "network samples",
                 "fraction of labelled samples whose label is among the first five of the original network", "1",
                 observed, ""},
    VariableSpec{"agreement", "network C samples",
                 "fraction of samples on which both networks rank the same output first", "1", observed, ""},
    VariableSpec{"disagreement_upper", "network C samples",
                 "upper confidence bound of the part of the distribution that the samples are drawn from on which the "
                 "networks rank different outputs first, at `confidence`",
                 "1", estimate, "Clopper and Pearson 1934"},
    VariableSpec{"flips_lost", "network C samples",
                 "fraction of labelled samples that the original classifies right and the quantized network wrong", "1",
                 observed, ""},
    VariableSpec{"flips_won", "network C samples",
                 "fraction of labelled samples that the original classifies wrong and the quantized network right", "1",
                 observed, ""},
    VariableSpec{"margin_exceeded", "network C samples",
                 "fraction of samples whose deviation is at least half of the original's margin, so that the class can "
                 "flip",
                 "1", observed, ""},
    VariableSpec{"module_loss", "module C",
                 "reconstruction loss of the module on the calibration samples: mean over samples and positions of the "
                 "sum over channels of the squared deviation from f, the module reading the quantized network; of "
                 "modules that were reconstructed together, of all of them",
                 "1", observed, "arXiv 2303.11906, eq. 1", Kind::real, Presence::reconstruction},
    VariableSpec{"module_loss_round", "module C",
                 "the same with its weights rounded to nearest instead, behind the same quantized network", "1",
                 observed, "arXiv 2303.11906, eq. 1", Kind::real, Presence::reconstruction},
    VariableSpec{"module_capacity", "module C", "capacity of the module: bits of its weights, strided ones scaled", "1",
                 estimate, "arXiv 2303.11906, eq. 3", Kind::real, Presence::reconstruction},
    VariableSpec{"module_settled", "module C",
                 "fraction of the soft roundings that were at 0 or 1 before the last, hard rounding", "1", observed,
                 "arXiv 2004.10568, eq. 24", Kind::real, Presence::reconstruction},
    VariableSpec{"module_kept_rounding", "module C",
                 "whether its weights were left rounded to nearest, because the method found none with a smaller loss",
                 "1", "", "", Kind::flag, Presence::reconstruction},
    VariableSpec{"module_joined", "module C",
                 "modules of its kind that were reconstructed together with it, itself among them; 0: none", "1", "",
                 "", Kind::count, Presence::reconstruction},
    VariableSpec{"oscillation_max", "network C", "largest difference of the losses of adjacent modules", "1", observed,
                 "arXiv 2303.11906", Kind::real, Presence::reconstruction},
    VariableSpec{"oscillation_total", "network C", "sum of the absolute differences of the losses of adjacent modules",
                 "1", observed, "arXiv 2303.11906", Kind::real, Presence::reconstruction},
};

using enum Place;
constexpr auto reconstruction = Presence::reconstruction, per_sample = Presence::per_sample;

constexpr std::array fields{
    FieldSpec{axis, "network", "", "network"},
    FieldSpec{axis, "quantizer", "", "rounding rule or reconstruction method"},
    FieldSpec{axis, "granularity", "", "one step per tensor or per output channel"},
    FieldSpec{axis, "bits", "", "bits of a weight"},
    FieldSpec{axis, "seed", "", "seed of stochastic rounding and of reconstruction"},
    FieldSpec{axis, "layer", "", "weight layers of all networks, one after the other"},
    FieldSpec{axis, "theory", "", "closed-form bound"},
    FieldSpec{axis, "method", "", "analysis of the pair"},
    FieldSpec{axis, "region", "", "pieces of the domains of all networks, one after the other"},
    FieldSpec{axis, "region_output", "", "outputs of the network of a region, region after region"},
    FieldSpec{axis, "samples", "", "sample set"},
    FieldSpec{axis, "quantile", "", "fraction of samples"},
    FieldSpec{axis, "norm", "", "2-norm of the deviation over outputs, and that over the 2-norm of the output"},
    FieldSpec{axis, "module", "", "modules of all networks, one after the other; of a network kind by kind", "1",
              reconstruction},
    FieldSpec{axis, "sample", "", "samples of all sets, one after the other", "1", per_sample},

    FieldSpec{coordinate, "network_source", "network", "file or family"},
    FieldSpec{coordinate, "network_depth", "network", "number of weight layers L"},
    FieldSpec{coordinate, "network_width", "network", "largest number of elements that a weight layer reads or writes"},
    FieldSpec{coordinate, "network_family", "network", "family of a synthetic network; what kind of layers a file has"},
    FieldSpec{coordinate, "network_parameters", "network", "weights and biases"},
    FieldSpec{coordinate, "network_draw", "network", "number of the draw of a synthetic network"},
    FieldSpec{coordinate, "network_sha256", "network",
              "SHA-256 of the file, or of the description of a synthetic network"},
    FieldSpec{coordinate, "layer_network", "layer", "network of the layer"},
    FieldSpec{coordinate, "layer_name", "layer", "name of the node"},
    FieldSpec{coordinate, "layer_op", "layer", "operator"},
    FieldSpec{coordinate, "layer_position", "layer", "number of the layer in its network, from 0"},
    FieldSpec{coordinate, "layer_fan_in", "layer", "weights of an output: p^2 c / groups"},
    FieldSpec{coordinate, "layer_fan_in_dense", "layer", "p^2 c: the paper's count, which ignores groups"},
    FieldSpec{coordinate, "layer_parameters", "layer", "weights and biases"},
    FieldSpec{coordinate, "region_network", "region", "network of the region"},
    FieldSpec{coordinate, "region_name", "region", "box, file, name of the property, or set[row] of the centre"},
    FieldSpec{coordinate, "region_radius", "region",
              "radius of a ball before it is clipped; half the longest side of a box"},
    FieldSpec{coordinate, "region_output_region", "region_output", "region of the output, a label of `region`"},
    FieldSpec{coordinate, "region_output_index", "region_output", "number of the output, from 0"},
    FieldSpec{coordinate, "theory_equation", "theory", "where the proved bound comes from"},
    FieldSpec{coordinate, "theory_formula", "theory",
              "the published formula of log10_formula; empty where there is none"},
    FieldSpec{coordinate, "method_equation", "method", "where the method comes from"},
    FieldSpec{coordinate, "module_network", "module", "network of the module", "1", reconstruction},
    FieldSpec{coordinate, "module_name", "module", "name of its first weight layer, or first..last", "1",
              reconstruction},
    FieldSpec{coordinate, "module_kind", "module", "layer, block, stage, or named: by the study", "1", reconstruction},
    FieldSpec{coordinate, "module_position", "module",
              "number of the module among those of its network and kind, from 0", "1", reconstruction},
    FieldSpec{coordinate, "module_first_layer", "module", "layer_position of its first weight layer", "1",
              reconstruction},
    FieldSpec{coordinate, "module_layers", "module", "number of its weight layers", "1", reconstruction},
    FieldSpec{coordinate, "sample_set", "sample", "sample set of the sample", "1", per_sample},
    FieldSpec{coordinate, "sample_row", "sample", "number of the sample in its set, from 0", "1", per_sample},

    FieldSpec{note, "method_note", "network method", "why the method could not be applied; empty where it was"},

    FieldSpec{failures, "failure", "", "piece of work that failed"},
    FieldSpec{failures, "failure_task", "failure", "number of its task in the plan"},
    FieldSpec{failures, "failure_network", "failure", "network"},
    FieldSpec{failures, "failure_stage", "failure", "what was being done"},
    FieldSpec{failures, "failure_message", "failure", "what was wrong"},

    FieldSpec{provenance, "task", "", "task of the plan"},
    FieldSpec{provenance, "wall_time", "task", "seconds of the task", "s"},
    FieldSpec{provenance, "certify_time", "region C method", "seconds of a method for a pair over a region", "s"},
    FieldSpec{provenance, "stage", "", "stage"},
    FieldSpec{provenance, "stage_time", "stage", "seconds of the stage, over all tasks", "s"},
    FieldSpec{provenance, "rank", "", "process of the run that wrote the file"},
    FieldSpec{provenance, "host", "rank", "name of its machine"},
    FieldSpec{provenance, "threads", "rank", "its threads"},

    FieldSpec{sources, "source", "", "result file that was merged, in the order given"},
    FieldSpec{sources, "source_file", "source", "its name"},
    FieldSpec{sources, "source_study_hash", "source", "its study_hash"},
    FieldSpec{sources, "source_study_toml", "source", "its study_toml"},
    FieldSpec{sources, "task_source", "task", "source of the task"},
    FieldSpec{sources, "rank_source", "rank", "source of the rank"},
    FieldSpec{sources, "failure_source", "failure", "source of the failure"},

    FieldSpec{attribute, "Conventions", "", "CF-1.10"},
    FieldSpec{attribute, "schema", "", "quantbound-results"},
    FieldSpec{attribute, "schema_version", "", "of this page; the second number rises when something is added"},
    FieldSpec{attribute, "title", "", "name and size of the study"},
    FieldSpec{attribute, "source", "", "quantbound"},
    FieldSpec{attribute, "study_toml", "", "the study file with every --set applied"},
    FieldSpec{attribute, "study_hash", "",
              "of the study, the bytes of all files it names, the schema and the version of the program"},
    FieldSpec{attribute, "step", "", "max, mse, or fixed and the step"},
    FieldSpec{attribute, "grid", "", "symmetric or affine"},
    FieldSpec{attribute, "bias_bits", "", "bits of a bias; 0: biases are kept"},
    FieldSpec{attribute, "edge_bits", "", "bits of the first and the last layer; 0: as all others"},
    FieldSpec{attribute, "precision", "", "of the measurements: auto, float or double"},
    FieldSpec{attribute, "confidence", "",
              "of observed_quantile_upper, observed_max_exceedance, disagreement_upper and "
              "the Cantelli bounds"},
    FieldSpec{attribute, "complete", "", "1: every task of the plan ran"},

    FieldSpec{provenance_attribute, "software", "", "quantbound"},
    FieldSpec{provenance_attribute, "version", "", "of the program"},
    FieldSpec{provenance_attribute, "commit", "", "that it was built from"},
    FieldSpec{provenance_attribute, "compiler", "", "that it was built with"},
    FieldSpec{provenance_attribute, "build_type", "", "of CMake"},
    FieldSpec{provenance_attribute, "instruction_set", "", "that the compiler was allowed to use"},
    FieldSpec{provenance_attribute, "mpi_library", "", "name and version"},
    FieldSpec{provenance_attribute, "hdf5", "", "version"},
    FieldSpec{provenance_attribute, "command_line", "", "of the run that wrote the file"},
    FieldSpec{provenance_attribute, "schedule", "", "static or dynamic"},
    FieldSpec{provenance_attribute, "start", "", "of that run, UTC"},
    FieldSpec{provenance_attribute, "end", "", "of that run, UTC"},
    FieldSpec{provenance_attribute, "elapsed", "", "its time", "s"},
    FieldSpec{provenance_attribute, "ranks", "", "its processes"},
    FieldSpec{provenance_attribute, "tasks_run", "", "tasks that it ran itself; those of runs before it count as done"},
};

Attributes described(const FieldSpec& spec) {
  return {{"long_name", std::string(spec.long_name)}, {"units", std::string(spec.units)}};
}

}  // namespace

std::span<const VariableSpec> variable_specs() { return specs; }

const VariableSpec& variable_spec(std::string_view name) {
  const auto found = std::ranges::find(specs, name, &VariableSpec::name);
  QUANTBOUND_ASSERT(found != specs.end(), name);
  return *found;
}

std::span<const FieldSpec> field_specs() { return fields; }

const FieldSpec& field_spec(Place place, std::string_view name) {
  const auto found =
      std::ranges::find_if(fields, [&](const FieldSpec& spec) { return spec.place == place && spec.name == name; });
  QUANTBOUND_ASSERT(found != fields.end(), static_cast<int>(place), name);
  return *found;
}

Axis make_axis(Place place, std::string_view name, Labels labels) {
  return {.name = std::string(name), .labels = std::move(labels), .attributes = described(field_spec(place, name))};
}

Variable make_variable(Place place, std::string_view name, Data data) {
  const FieldSpec& spec = field_spec(place, name);
  const Role role = place == Place::coordinate ? Role::coordinate : Role::data;
  Fill fill;
  if (role == Role::data && std::holds_alternative<std::vector<double>>(data))
    fill = std::numeric_limits<double>::quiet_NaN();
  return {.name = std::string(name),
          .dimensions = dimensions_of(spec.dimensions),
          .data = std::move(data),
          .attributes = described(spec),
          .fill = fill,
          .role = role};
}

std::vector<std::string> dimensions_of(std::string_view names) {
  std::vector<std::string> dimensions;
  std::istringstream words{std::string(names)};
  for (std::string word; words >> word;) {
    if (word == "C") {
      dimensions.insert(dimensions.end(), {"quantizer", "granularity", "bits", "seed"});
    } else {
      dimensions.push_back(word);
    }
  }
  return dimensions;
}

}  // namespace quantbound::sweep
