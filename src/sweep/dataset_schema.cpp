#include "quantbound/sweep/dataset_schema.hpp"

#include <algorithm>
#include <array>
#include <sstream>

#include "quantbound/core/assert.hpp"

namespace quantbound::sweep {

namespace {

constexpr std::string_view proved = "proved", estimate = "estimate", observed = "observed";

constexpr std::array specs{
    VariableSpec{"status", "network C", "state of the tasks of a configuration", "1", "", ""},
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
                 "1", "", ""},
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
                 "1", "", ""},
    VariableSpec{"samples_in_domain", "network samples",
                 "samples inside the domain: those that deviations are taken over", "1", observed, ""},
    VariableSpec{"observed_max", "network C samples", "largest measured deviation of the output, inf-norm", "1",
                 observed, ""},
    VariableSpec{"observed_mean", "network C samples", "mean measured deviation of the output, inf-norm", "1", observed,
                 ""},
    VariableSpec{
        "observed_quantile", "network C samples quantile",
        "quantile of the measured deviation: the smallest value that at least this fraction of samples does not exceed",
        "1", observed, ""},
    VariableSpec{"observed_layer_max", "layer C samples",
                 "largest measured deviation after the weight layer and the activation that follows it", "1", observed,
                 ""},
    VariableSpec{"attacked", "region C", "largest output deviation that a search in the region found, inf-norm", "1",
                 observed, "projected sign-gradient ascent"},
    VariableSpec{"accuracy", "network C samples",
                 "fraction of labelled samples that the quantized network classifies right", "1", observed, ""},
    VariableSpec{"accuracy_reference", "network samples",
                 "fraction of labelled samples that the original network classifies right", "1", observed, ""},
    VariableSpec{"agreement", "network C samples",
                 "fraction of samples on which both networks rank the same output first", "1", observed, ""},
};

}  // namespace

std::span<const VariableSpec> variable_specs() { return specs; }

const VariableSpec& variable_spec(std::string_view name) {
  const auto found = std::ranges::find(specs, name, &VariableSpec::name);
  QUANTBOUND_ASSERT(found != specs.end(), name);
  return *found;
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
