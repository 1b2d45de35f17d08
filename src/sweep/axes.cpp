#include "axes.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "quantbound/bounds/theory.hpp"

namespace quantbound::sweep::detail {

namespace {

template <class Enum>
std::vector<std::string> names(const std::vector<Enum>& values) {
  return collect(values, [](Enum value) { return std::string(to_string(value)); });
}

void add_coordinate(Group& root, std::string_view name, Data data) {
  root.add_variable(make_variable(Place::coordinate, name, std::move(data)));
}

void add_axis(Group& root, std::string_view name, Labels labels) {
  root.add_axis(make_axis(Place::axis, name, std::move(labels)));
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
  add_coordinate(root, "network_source", collect(networks, [](const auto& n) { return n.study.source; }));
  add_coordinate(root, "network_depth", whole([](const auto& n) { return n.layers.size(); }));
  add_coordinate(root, "network_width", whole([](const auto& n) { return network::width(n.graph); }));
  add_coordinate(root, "network_family", collect(networks, family_of));
  add_coordinate(root, "network_parameters", whole([](const auto& n) { return n.parameters; }));
  add_coordinate(root, "network_draw", whole([&](const auto& n) { return point(n) ? point(n)->draw : Index{0}; }));
  add_coordinate(root, "network_sha256", collect(networks, [](const auto& n) { return n.sha256; }));
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
  add_coordinate(root, "layer_network", network);
  add_coordinate(root, "layer_name", name);
  add_coordinate(root, "layer_op", op);
  add_coordinate(root, "layer_position", layer_position);
  add_coordinate(root, "layer_fan_in", fan_in);
  add_coordinate(root, "layer_fan_in_dense", fan_in_dense);
  add_coordinate(root, "layer_parameters", parameters);
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
  add_coordinate(root, "region_network", network);
  add_coordinate(root, "region_name", name);
  add_coordinate(root, "region_radius", radius);
  add_coordinate(root, "region_output_region", output_region);
  add_coordinate(root, "region_output_index", output_index);
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
  add_coordinate(root, "sample_set", set);
  add_coordinate(root, "sample_row", row);
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
  add_coordinate(root, "module_network", network);
  add_coordinate(root, "module_name", name);
  add_coordinate(root, "module_kind", kind);
  add_coordinate(root, "module_position", position);
  add_coordinate(root, "module_first_layer", first_layer);
  add_coordinate(root, "module_layers", layers);
}

void add_equations(Group& root, const Study& study) {
  add_coordinate(root, "theory_equation", collect(study.theories, [](const auto& name) {
                   return std::string(bounds::find_theory(name)->equation);
                 }));
  add_coordinate(root, "theory_formula", collect(study.theories, [](const auto& name) {
                   return std::string(bounds::find_theory(name)->formula_equation);
                 }));
  const auto equation_of = [](certify::Method method) {
    return std::string(std::ranges::find(certify::methods(), method, &certify::MethodInfo::method)->equation);
  };
  add_coordinate(root, "method_equation", collect(study.methods, equation_of));
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

std::string size_in_words(std::size_t networks, std::size_t configurations) {
  return fmt::format("{} network{} x {} configuration{}", networks, networks == 1 ? "" : "s", configurations,
                     configurations == 1 ? "" : "s");
}

std::vector<std::int64_t> counting(std::size_t count) {
  std::vector<std::int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return numbers;
}

void add_axes(Group& root, const Plan& plan) {
  const Study& study = plan.study;
  const RaggedAxes ragged = ragged_axes(plan);
  add_axis(root, "network", collect(plan.networks, [](const auto& n) { return n.study.label; }));
  add_axis(root, "quantizer", collect(study.quantizers, [](const auto& q) { return q.name; }));
  add_axis(root, "granularity", names(study.granularities));
  add_axis(root, "bits", collect(study.bits, [](int b) { return std::int64_t{b}; }));
  add_axis(root, "seed", collect(study.seeds, [](std::uint64_t s) { return static_cast<std::int64_t>(s); }));
  add_axis(root, "layer", counting(ragged.layers));
  add_axis(root, "theory", study.theories);
  add_axis(root, "method", names(study.methods));
  add_axis(root, "region", counting(ragged.regions));
  add_axis(root, "region_output", counting(ragged.region_outputs));
  add_axis(root, "samples", collect(plan.samples, [](const auto& s) { return s.name; }));
  add_axis(root, "quantile", study.quantiles);
  add_axis(root, "norm", std::vector<std::string>(norm_labels.begin(), norm_labels.end()));
  if (reconstructs(study)) {
    add_axis(root, "module", counting(ragged.modules));
  }
  if (study.per_sample) {
    add_axis(root, "sample", counting(ragged.samples));
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
