// quantbound inspect: the weight layers of a network: operator, shape, fan-in, norm, and the share of the layerwise
// error bound that each is to blame for in one configuration.
#include <cmath>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/bounds/layer_shares.hpp"

#include "json.hpp"
#include "network_options.hpp"
#include "text_table.hpp"

namespace quantbound::apps {
namespace {

options::options_description inspect_options() {
  options::options_description all("\nOptions", help_width);
  add_configuration_options(all);
  add_input_options(all);
  auto add = all.add_options();
  add("json", options::bool_switch(), "one JSON object on stdout");
  add("help,h", "this text");
  return all;
}

struct LayerRow {
  std::string name, op, shape;
  network::Index fan_in = 0, parameters = 0;
  double norm = 0.0, share = 0.0;
};

std::vector<LayerRow> layer_rows(const network::Network& network, const quantize::Configuration& configuration) {
  const auto shapes = bounds::layer_shapes(network.graph);
  const auto nodes = network.graph.weight_layers();
  std::vector<bounds::LayerNorms> original;
  std::vector<bounds::QuantizedLayerNorms> quantized;
  std::vector<LayerRow> rows;
  for (std::size_t l = 0; l < nodes.size(); ++l) {
    const auto& node = network.graph.nodes[static_cast<std::size_t>(nodes[l])];
    const auto layer = static_cast<network::Index>(l);
    const auto here = quantize::at_layer(configuration, layer, std::ssize(shapes));
    auto report = bounds::measure_layer(network.layers[l], shapes[l], layer, std::span(&here, 1));
    original.push_back(report.norms);
    quantized.push_back(std::move(report.quantized.front()));
    rows.push_back({.name = node.name,
                    .op = std::string(operator_name(node.op)),
                    .shape = tensor::to_string(node.shape),
                    .fan_in = shapes[l].columns,
                    .parameters = shapes[l].rows * (shapes[l].columns + 1),
                    .norm = original.back().weight_norm});
  }
  // The shares do not depend on the size of the domain, and hardly on its shape: the unit box stands for it.
  const auto inputs = static_cast<std::size_t>(tensor::elements(network.graph.input_shape()));
  const auto domain =
      bounds::make_domain(network.graph, {std::vector<double>(inputs, -1.0), std::vector<double>(inputs, 1.0)});
  const auto shares = bounds::layer_shares({network.graph, domain, original, quantized});
  for (std::size_t l = 0; l < rows.size(); ++l) rows[l].share = shares ? (*shares)[l] : std::nan("");
  return rows;
}

void print_json(const std::vector<LayerRow>& rows, const network::Network& network) {
  std::vector<std::string> items;
  for (const auto& row : rows) {
    JsonObject item;
    item.text("name", row.name).text("op", row.op).text("shape", row.shape).integer("fan_in", row.fan_in);
    items.push_back(
        item.number("norm", row.norm).integer("parameters", row.parameters).number("share", row.share).str());
  }
  JsonObject all;
  all.text("input", tensor::to_string(network.graph.input_shape()));
  all.text("output", tensor::to_string(network.graph.output_shape()));
  fmt::print("{}\n", all.raw("layers", json_list(items)).integer("parameters", parameter_count(network)).str());
}

void print_text(const std::vector<LayerRow>& rows, const network::Network& network,
                const quantize::Configuration& configuration) {
  TextTable table({"layer", "name", "op", "output", "fan-in", "parameters", "norm", "share"});
  for (std::size_t l = 0; l < rows.size(); ++l) {
    const auto& row = rows[l];
    table.add({std::to_string(l), row.name, row.op, row.shape, std::to_string(row.fan_in),
               std::to_string(row.parameters), short_number(row.norm),
               std::isnan(row.share) ? "-" : fmt::format("{:.1f} %", 100.0 * row.share)});
  }
  fmt::print("{}: input {}, output {}, {} weight layers, {} parameters\n", network.name,
             tensor::to_string(network.graph.input_shape()), tensor::to_string(network.graph.output_shape()),
             rows.size(), parameter_count(network));
  for (const auto& note : network.notes) fmt::print("note: {}\n", note);
  fmt::print(
      "\n{}\nnorm: largest absolute row sum (operator norm inf->inf); share: of the layerwise bound (Houache) at {}\n",
      table.str(), label(configuration));
}

int run_inspect(const Call& call) {
  const auto network = read_network_argument(call.values);
  const auto configuration = read_configuration(call.values);
  const auto rows = layer_rows(network, configuration);
  if (call.values["json"].as<bool>()) {
    print_json(rows, network);
  } else {
    print_text(rows, network, configuration);
  }
  return done;
}

}  // namespace

const Verb inspect_verb{
    .name = "inspect",
    .arguments = "NETWORK",
    .summary = "the layers of a network: shapes, norms, share of the error",
    .options = inspect_options,
    .run = run_inspect,
    .description = R"(The share is that of the layerwise bound for the configuration that the options give.
)",
    .files = R"(  NETWORK  .onnx (opset 7 to 21), or .nnet
)",
    .examples = R"(  quantbound inspect configs/models/digits_cnn.onnx --bits 4
      which layer is to blame for how much of the bound
)"};

}  // namespace quantbound::apps
