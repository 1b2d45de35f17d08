// quantbound quantize: writes the quantized network as ONNX with integer weights, and says what became of every layer.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/quantized_writer.hpp"
#include "quantbound/quantize/integer_weights.hpp"

#include "json.hpp"
#include "network_options.hpp"
#include "text_table.hpp"

namespace quantbound::apps {
namespace {

namespace fs = std::filesystem;
using core::InputError;
using network::Index;
constexpr const char* here = "command line";

options::options_description quantize_options() {
  options::options_description all("\nOptions", help_width);
  auto add = all.add_options();
  add("output,o", options::value<std::string>()->value_name("OUT.onnx"), "the file to write");
  add("pack", options::value<std::string>()->default_value("bytes")->value_name("P"),
      "bytes, or int4: two weights of at most 4 bits in a byte (opset 21)");
  add_configuration_options(all);
  add_input_options(all);
  auto more = all.add_options();
  more("json", options::bool_switch(), "one JSON object on stdout");
  more("help,h", "this text");
  return all;
}

/// The file to write: one that can be read back, and not the one that is read.
fs::path read_output(const options::variables_map& values) {
  if (values.count("output") == 0) throw InputError("quantize needs -o OUT.onnx", here);
  const fs::path output = values["output"].as<std::string>();
  if (output.extension() != ".onnx") throw InputError("the name of the file to write must end in .onnx", output);
  std::error_code error;
  if (fs::equivalent(output, values["input"].as<std::string>(), error))
    throw InputError("this file is the network that is read; choose another name for -o", output);
  return output;
}

network::Packing read_packing(const options::variables_map& values, const quantize::Configuration& configuration) {
  const auto word = values["pack"].as<std::string>();
  if (word == "bytes") return network::Packing::bytes;
  if (word != "int4") throw InputError(fmt::format("--pack '{}' is not known; choose from: bytes, int4", word), here);
  if (configuration.bits > 4 && (configuration.edge_bits == 0 || configuration.edge_bits > 4))
    throw InputError("--pack int4 is for weights of at most 4 bits", here);
  return network::Packing::nibbles;
}

/// W' of every layer and the grids it lies on, however it was found.
struct QuantizedLayers {
  std::vector<network::LayerParameters> layers;
  std::vector<std::vector<quantize::RowGrid>> grids;
};

QuantizedLayers quantize_by_rule(const network::Network& network, const quantize::Configuration& configuration) {
  QuantizedLayers result;
  const Index count = std::ssize(network.layers);
  for (Index layer = 0; layer < count; ++layer) {
    const auto& parameters = network.layers[static_cast<std::size_t>(layer)];
    const auto own = quantize::at_layer(configuration, layer, count);
    auto grids = quantize::choose_grids(parameters, own);
    result.layers.push_back(quantize::quantize_layer(parameters, layer, own, grids));
    result.grids.push_back(std::move(grids.weights));
  }
  return result;
}

/// What is said about one layer.
struct LayerRow {
  std::string name, type;
  int bits = 0;
  Index weights = 0, bytes = 0;
  double least_step = 0.0, largest_step = 0.0;
  double error = 0.0, error_in_steps = 0.0;  ///< largest |w' - w|, of the weights that were written
};

struct Answer {
  network::Network written;
  fs::path output;
  std::vector<LayerRow> rows;
  std::vector<std::string> notes;
  std::uintmax_t bytes_before = 0, bytes_after = 0;
};

LayerRow describe(const std::string& name, int bits, const network::IntegerWeights& integers,
                  const std::vector<double>& original, const std::vector<double>& written) {
  LayerRow row{.name = name, .type = std::string(to_string(integers.type)), .bits = bits};
  row.weights = std::ssize(written);
  row.bytes = stored_bytes(integers);
  const auto [least, largest] = std::ranges::minmax(integers.scales);
  row.least_step = static_cast<double>(least);
  row.largest_step = static_cast<double>(largest);
  const std::size_t columns = written.size() / integers.scales.size();
  for (std::size_t i = 0; i < written.size(); ++i) {
    const double error = std::abs(written[i] - original[i]);
    row.error = std::max(row.error, error);
    row.error_in_steps = std::max(row.error_in_steps, error / static_cast<double>(integers.scales[i / columns]));
  }
  return row;
}

Answer write_quantized(const Call& call) {
  const fs::path output = read_output(call.values);
  const auto configuration = read_configuration(call.values);
  const network::Packing packing = read_packing(call.values, configuration);
  const network::Network original = read_network_argument(call.values);
  const QuantizedLayers quantized = quantize_by_rule(original, configuration);

  const auto nodes = original.graph.weight_layers();
  const auto name = [&](std::size_t l) { return original.graph.nodes[static_cast<std::size_t>(nodes[l])].name; };
  std::vector<int> bits;
  std::vector<network::IntegerWeights> integers;
  for (std::size_t l = 0; l < nodes.size(); ++l) {
    const auto own = quantize::at_layer(configuration, static_cast<Index>(l), std::ssize(nodes));
    bits.push_back(own.bits);
    integers.push_back(quantize::integer_weights(quantized.layers[l], quantized.grids[l], own, packing, name(l)));
  }
  Answer answer{.written = network::dequantized(original, integers), .output = output, .notes = original.notes};
  validate(answer.written, output.string());
  write_quantized_onnx(answer.written, integers, output);
  for (std::size_t l = 0; l < nodes.size(); ++l) {
    answer.rows.push_back(
        describe(name(l), bits[l], integers[l], original.layers[l].weights, answer.written.layers[l].weights));
  }
  answer.bytes_before = fs::file_size(call.values["input"].as<std::string>());
  answer.bytes_after = fs::file_size(output);
  return answer;
}

void print_json(const Answer& a, const quantize::Configuration& configuration) {
  std::vector<std::string> items;
  for (const LayerRow& row : a.rows) {
    JsonObject item;
    item.text("name", row.name).integer("bits", row.bits).text("type", row.type).integer("weights", row.weights);
    item.integer("bytes", row.bytes).number("step_min", row.least_step).number("step_max", row.largest_step);
    items.push_back(item.number("error_max", row.error).number("error_in_steps", row.error_in_steps).str());
  }
  JsonObject all;
  all.text("output", a.output.string()).text("configuration", label(configuration));
  all.integer("bytes_before", static_cast<long long>(a.bytes_before));
  all.integer("bytes_after", static_cast<long long>(a.bytes_after));
  fmt::print("{}\n", all.raw("layers", json_list(items)).str());
}

void print_text(const Answer& a, const quantize::Configuration& configuration) {
  fmt::print("{}: {} weight layers, {} parameters, {}\n", a.written.name, a.rows.size(), parameter_count(a.written),
             label(configuration));
  for (const auto& note : a.notes) fmt::print("note: {}\n", note);
  TextTable table(
      {"layer", "name", "weights", "bits", "type", "least step", "largest step", "largest error", "in steps"});
  for (std::size_t l = 0; l < a.rows.size(); ++l) {
    const LayerRow& row = a.rows[l];
    table.add({std::to_string(l), row.name, std::to_string(row.weights), std::to_string(row.bits), row.type,
               short_number(row.least_step), short_number(row.largest_step), short_number(row.error),
               fmt::format("{:.3f}", row.error_in_steps)});
  }
  const double ratio = static_cast<double>(a.bytes_after) / static_cast<double>(a.bytes_before);
  fmt::print("\n{}\n{}: {} bytes, {:.1f} % of the {} of the network that was read\n", table.str(), a.output.string(),
             a.bytes_after, 100.0 * ratio, a.bytes_before);
}

int run_quantize(const Call& call) {
  const Answer answer = write_quantized(call);
  const auto configuration = read_configuration(call.values);
  if (call.values["json"].as<bool>()) {
    print_json(answer, configuration);
  } else {
    print_text(answer, configuration);
  }
  return done;
}

}  // namespace

const Verb quantize_verb{.name = "quantize",
                         .arguments = "NETWORK",
                         .summary = "writes the quantized network as ONNX with integer weights",
                         .options = quantize_options,
                         .run = run_quantize};

}  // namespace quantbound::apps
