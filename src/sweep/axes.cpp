#include "axes.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "quantbound/bounds/theory.hpp"

namespace quantbound::sweep::detail {

namespace {

template <class Enum>
std::vector<std::string> names(const std::vector<Enum>& values) {
  return collect(values, [](Enum value) { return std::string(to_string(value)); });
}

void add_coordinate(Group& root, std::string name, std::string axis, Data data, std::string_view long_name) {
  root.add_variable({.name = std::move(name),
                     .dimensions = {std::move(axis)},
                     .data = std::move(data),
                     .attributes = described(long_name),
                     .fill = {},
                     .role = Role::coordinate});
}

/// The family of a synthetic network; of a file, whether it has convolutions.
std::string family_of(const PlannedNetwork& planned) {
  if (const auto* point = std::get_if<network::FamilyPoint>(&planned.study.origin))
    return std::string(to_string(point->family));
  const bool convolutional =
      std::ranges::any_of(planned.layers, [](const LayerInfo& layer) { return layer.op == "Conv"; });
  return convolutional ? "convolutional file" : "dense file";
}

void add_network_coordinates(Group& root, const Plan& plan) {
  const auto& networks = plan.networks;
  const auto point = [](const PlannedNetwork& n) { return std::get_if<network::FamilyPoint>(&n.study.origin); };
  const auto whole = [&](const auto& projection) {
    return collect(networks, [&](const auto& n) { return static_cast<std::int64_t>(projection(n)); });
  };
  add_coordinate(root, "network_source", "network", collect(networks, [](const auto& n) { return n.study.source; }),
                 "file or family");
  add_coordinate(root, "network_depth", "network", whole([](const auto& n) { return n.layers.size(); }),
                 "number of weight layers L");
  add_coordinate(root, "network_width", "network", whole([](const auto& n) { return network::width(n.graph); }),
                 "largest number of elements that a weight layer reads or writes");
  add_coordinate(root, "network_family", "network", collect(networks, family_of),
                 "family of a synthetic network; what kind of layers a file has");
  add_coordinate(root, "network_parameters", "network", whole([](const auto& n) { return n.parameters; }),
                 "weights and biases");
  add_coordinate(root, "network_draw", "network",
                 whole([&](const auto& n) { return point(n) ? point(n)->draw : Index{0}; }),
                 "number of the draw of a synthetic network");
  add_coordinate(root, "network_sha256", "network", collect(networks, [](const auto& n) { return n.sha256; }),
                 "SHA-256 of the file, or of the description of a synthetic network");
}

void add_layer_coordinates(Group& root, const Plan& plan) {
  std::vector<std::string> network, name, op;
  std::vector<std::int64_t> layer_position, fan_in, fan_in_dense, parameters;
  for (const auto& planned : plan.networks) {
    for (std::size_t l = 0; l < planned.layers.size(); ++l) {
      const auto& layer = planned.layers[l];
      network.push_back(planned.study.label);
      name.push_back(layer.name);
      op.push_back(layer.op);
      layer_position.push_back(static_cast<std::int64_t>(l));
      fan_in.push_back(layer.fan_in);
      fan_in_dense.push_back(layer.fan_in_dense);
      parameters.push_back(layer.parameters);
    }
  }
  add_coordinate(root, "layer_network", "layer", network, "network of the layer");
  add_coordinate(root, "layer_name", "layer", name, "name of the node");
  add_coordinate(root, "layer_op", "layer", op, "operator");
  add_coordinate(root, "layer_position", "layer", layer_position, "number of the layer in its network, from 0");
  add_coordinate(root, "layer_fan_in", "layer", fan_in, "weights of an output: p^2 c / groups");
  add_coordinate(root, "layer_fan_in_dense", "layer", fan_in_dense, "p^2 c: the paper's count, which ignores groups");
  add_coordinate(root, "layer_parameters", "layer", parameters, "weights and biases");
}

double half_width(const Box& box) {
  double largest = 0.0;
  for (std::size_t i = 0; i < box.low.size(); ++i) largest = std::max(largest, 0.5 * (box.high[i] - box.low[i]));
  return largest;
}

void add_region_coordinates(Group& root, const Plan& plan) {
  std::vector<std::string> network, name;
  std::vector<double> radius;
  std::vector<std::int64_t> output_region, output_index;
  for (const auto& planned : plan.networks) {
    const auto* ball = std::get_if<BallDomain>(&planned.study.domain);
    for (std::size_t r = 0; r < planned.regions.size(); ++r) {
      for (Index i = 0; i < planned.outputs(); ++i) {
        output_region.push_back(static_cast<std::int64_t>(network.size()));
        output_index.push_back(i);
      }
      network.push_back(planned.study.label);
      name.push_back(planned.region_names[r]);
      radius.push_back(ball != nullptr ? ball->radius : half_width(planned.regions[r]));
    }
  }
  add_coordinate(root, "region_network", "region", network, "network of the region");
  add_coordinate(root, "region_name", "region", name, "box, file, name of the property, or set[row] of the centre");
  add_coordinate(root, "region_radius", "region", radius,
                 "radius of a ball before it is clipped; half the longest side of a box");
  add_coordinate(root, "region_output_region", "region_output", output_region,
                 "region of the output, a label of `region`");
  add_coordinate(root, "region_output_index", "region_output", output_index, "number of the output, from 0");
}

void add_sample_coordinates(Group& root, const Plan& plan) {
  std::vector<std::string> set;
  std::vector<std::int64_t> row;
  for (const auto& entry : plan.samples) {
    for (Index i = 0; i < entry.count; ++i) {
      set.push_back(entry.name);
      row.push_back(i);
    }
  }
  add_coordinate(root, "sample_set", "sample", set, "sample set of the sample");
  add_coordinate(root, "sample_row", "sample", row, "number of the sample in its set, from 0");
}

void add_module_coordinates(Group& root, const Plan& plan) {
  std::vector<std::string> network, name, kind;
  std::vector<std::int64_t> position, first_layer, layers;
  for (const auto& planned : plan.networks) {
    for (const auto& [module_kind, module_position, module] : planned.modules) {
      network.push_back(planned.study.label);
      name.push_back(module.name);
      kind.push_back(module_kind);
      position.push_back(module_position);
      first_layer.push_back(module.layers.front());
      layers.push_back(std::ssize(module.layers));
    }
  }
  add_coordinate(root, "module_network", "module", network, "network of the module");
  add_coordinate(root, "module_name", "module", name, "name of its first weight layer, or first..last");
  add_coordinate(root, "module_kind", "module", kind, "layer, block, stage, or named: by the study");
  add_coordinate(root, "module_position", "module", position,
                 "number of the module among those of its network and kind, from 0");
  add_coordinate(root, "module_first_layer", "module", first_layer, "layer_position of its first weight layer");
  add_coordinate(root, "module_layers", "module", layers, "number of its weight layers");
}

void add_equations(Group& root, const Study& study) {
  add_coordinate(
      root, "theory_equation", "theory",
      collect(study.theories, [](const auto& name) { return std::string(bounds::find_theory(name)->equation); }),
      "where the proved bound comes from");
  add_coordinate(root, "theory_formula", "theory",
                 collect(study.theories,
                         [](const auto& name) { return std::string(bounds::find_theory(name)->formula_equation); }),
                 "the published formula of log10_formula; empty where there is none");
  const auto equation_of = [](certify::Method method) {
    return std::string(std::ranges::find(certify::methods(), method, &certify::MethodInfo::method)->equation);
  };
  add_coordinate(root, "method_equation", "method", collect(study.methods, equation_of), "where the method comes from");
}

}  // namespace

RaggedAxes ragged_axes(const Plan& plan) {
  RaggedAxes axes;
  for (const auto& network : plan.networks) {
    axes.first_layer.push_back(axes.layers);
    axes.first_region.push_back(axes.regions);
    axes.first_output.push_back(axes.region_outputs);
    axes.layers += network.layers.size();
    axes.regions += network.regions.size();
    axes.first_module.push_back(axes.modules);
    axes.modules += network.modules.size();
    axes.region_outputs += network.regions.size() * static_cast<std::size_t>(network.outputs());
  }
  for (const auto& entry : plan.samples) {
    axes.first_sample.push_back(axes.samples);
    if (plan.study.per_sample) axes.samples += static_cast<std::size_t>(entry.count);
  }
  return axes;
}

std::vector<std::int64_t> counting(std::size_t count) {
  std::vector<std::int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return numbers;
}

Attributes described(std::string_view long_name) {
  return {{"long_name", std::string(long_name)}, {"units", std::string("1")}};
}

void add_axes(Group& root, const Plan& plan) {
  const Study& study = plan.study;
  const RaggedAxes ragged = ragged_axes(plan);
  root.add_axis({.name = "network",
                 .labels = collect(plan.networks, [](const auto& n) { return n.study.label; }),
                 .attributes = described("network")});
  root.add_axis({.name = "quantizer",
                 .labels = collect(study.quantizers, [](const auto& q) { return q.name; }),
                 .attributes = described("rounding rule or reconstruction method")});
  root.add_axis({.name = "granularity",
                 .labels = names(study.granularities),
                 .attributes = described("one step per tensor or per output channel")});
  root.add_axis({.name = "bits",
                 .labels = collect(study.bits, [](int b) { return std::int64_t{b}; }),
                 .attributes = described("bits of a weight")});
  root.add_axis({.name = "seed",
                 .labels = collect(study.seeds, [](std::uint64_t s) { return static_cast<std::int64_t>(s); }),
                 .attributes = described("seed of stochastic rounding and of reconstruction")});
  root.add_axis({.name = "layer",
                 .labels = counting(ragged.layers),
                 .attributes = described("weight layers of all networks, one after the other")});
  root.add_axis({.name = "theory", .labels = study.theories, .attributes = described("closed-form bound")});
  root.add_axis({.name = "method", .labels = names(study.methods), .attributes = described("analysis of the pair")});
  root.add_axis({.name = "region",
                 .labels = counting(ragged.regions),
                 .attributes = described("pieces of the domains of all networks, one after the other")});
  root.add_axis({.name = "region_output",
                 .labels = counting(ragged.region_outputs),
                 .attributes = described("outputs of the network of a region, region after region")});
  root.add_axis({.name = "samples",
                 .labels = collect(plan.samples, [](const auto& s) { return s.name; }),
                 .attributes = described("sample set")});
  root.add_axis({.name = "quantile", .labels = study.quantiles, .attributes = described("fraction of samples")});
  root.add_axis(
      {.name = "norm",
       .labels = std::vector<std::string>(norm_labels.begin(), norm_labels.end()),
       .attributes = described("2-norm of the deviation over outputs, and that over the 2-norm of the output")});
  if (reconstructs(study)) {
    root.add_axis({.name = "module",
                   .labels = counting(ragged.modules),
                   .attributes = described("modules of all networks, one after the other; of a network kind by kind")});
  }
  if (study.per_sample) {
    root.add_axis({.name = "sample",
                   .labels = counting(ragged.samples),
                   .attributes = described("samples of all sets, one after the other")});
  }
}

void add_coordinates(Group& root, const Plan& plan) {
  add_network_coordinates(root, plan);
  add_layer_coordinates(root, plan);
  add_region_coordinates(root, plan);
  add_equations(root, plan.study);
  if (reconstructs(plan.study)) add_module_coordinates(root, plan);
  if (plan.study.per_sample) add_sample_coordinates(root, plan);
}

}  // namespace quantbound::sweep::detail
