#include "quantbound/sweep/dataset_schema.hpp"

#include <algorithm>
#include <array>
#include <sstream>

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
    VariableSpec{"r_mean", "network C", "geometric mean of the r_l over the sequence of weight layers", "1", proved,
                 "arXiv 2502.01156, Thm 4.1"},
    VariableSpec{"r_conv", "network C",
                 "geometric mean of the layer norms without biases over the sequence of weight layers", "1", proved,
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
                 "measured deviation of every sample, inf-norm; nothing outside the domain", "1", observed, ""},
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
                 "1", observed, "arXiv 2303.11906, eq. 1"},
    VariableSpec{"module_loss_round", "module C",
                 "the same with its weights rounded to nearest instead, behind the same quantized network", "1",
                 observed, "arXiv 2303.11906, eq. 1"},
    VariableSpec{"module_capacity", "module C", "capacity of the module: bits of its weights, strided ones scaled", "1",
                 estimate, "arXiv 2303.11906, eq. 3"},
    VariableSpec{"module_settled", "module C",
                 "fraction of the soft roundings that were at 0 or 1 before the last, hard rounding", "1", observed,
                 "arXiv 2004.10568, eq. 24"},
    VariableSpec{"module_kept_rounding", "module C",
                 "whether its weights were left rounded to nearest, because the method found none with a smaller loss",
                 "1", "", "", Kind::flag},
    VariableSpec{"module_joined", "module C",
                 "modules of its kind that were reconstructed together with it, itself among them; 0: none", "1", "",
                 "", Kind::count},
    VariableSpec{"oscillation_max", "network C", "largest difference of the losses of adjacent modules", "1", observed,
                 "arXiv 2303.11906"},
    VariableSpec{"oscillation_total", "network C", "sum of the absolute differences of the losses of adjacent modules",
                 "1", observed, "arXiv 2303.11906"},
};

}  // namespace

std::span<const VariableSpec> variable_specs() { return specs; }

const VariableSpec& variable_spec(std::string_view name) {
  const auto found = std::ranges::find(specs, name, &VariableSpec::name);
  QUANTBOUND_ASSERT(found != specs.end(), name);
  return *found;
}

bool is_about_reconstruction(const VariableSpec& spec) {
  return spec.name.starts_with("module_") || spec.name.starts_with("oscillation_");
}

std::vector<std::string> dimensions_of(const VariableSpec& spec) {
  std::vector<std::string> dimensions;
  std::istringstream words{std::string(spec.dimensions)};
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
