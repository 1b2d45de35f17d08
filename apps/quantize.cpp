// quantbound quantize: writes the quantized network as ONNX with integer weights, and says what became of every layer.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/quantized_writer.hpp"
#include "quantbound/quantize/equalization.hpp"
#include "quantbound/quantize/integer_weights.hpp"

#include "failure.hpp"
#include "json.hpp"
#include "network_options.hpp"
#include "reconstruction.hpp"
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
  add_configuration_options(all, quantizer_words);
  add_input_options(all);
  add_reconstruction_options(all);
  auto more = all.add_options();
  more("json", options::bool_switch(), "one JSON object on stdout");
  more("help,h", "this text");
  return all;
}

/// The file to write: one that can be read back, and not the one that is read.
fs::path read_output(const options::variables_map& values) {
  if (values.count("output") == 0) throw InputError("quantize needs -o OUT.onnx", here);
  fs::path output = values["output"].as<std::string>();
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

/// f and W' of every layer, however it was found.
struct Quantization {
  std::vector<network::LayerParameters> original;  ///< f's own, or those after an exact equalization
  std::vector<network::LayerParameters> quantized;
  std::vector<reconstruct::ModuleReport> modules;  ///< of methods
};

/// None where a signal ended it.
std::optional<Quantization> quantize_network(const network::Network& network, const WeightChoice& choice,
                                             const options::variables_map& values) {
  if (choice.method) {
    auto result = run_reconstruction(network, choice, values, read_reconstruction(values, choice));
    if (result.stopped) return std::nullopt;
    return Quantization{std::move(result.original), std::move(result.quantized), std::move(result.modules)};
  }
  Quantization result{.original = network.layers};
  if (choice.equalization == reconstruct::Equalization::cross_layer) {
    result.original =
        quantize::equalized(network.graph, network.layers, quantize::find_equalization(network.graph, network.layers));
  }
  result.quantized = quantize::quantize_layers(result.original, choice.configuration);
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
  std::string label;
  std::vector<LayerRow> rows;
  std::vector<reconstruct::ModuleReport> modules;
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

/// The integers of every layer. The grids are chosen once more from the same weights.
std::vector<network::IntegerWeights> integers_of(const network::Graph& graph, const Quantization& quantization,
                                                 const quantize::Configuration& configuration,
                                                 network::Packing packing) {
  const auto nodes = graph.weight_layers();
  std::vector<network::IntegerWeights> integers;
  for (std::size_t l = 0; l < nodes.size(); ++l) {
    const auto own = quantize::at_layer(configuration, static_cast<Index>(l), std::ssize(nodes));
    const auto grids = quantize::choose_grids(quantization.original[l], own);
    integers.push_back(quantize::integer_weights(quantization.quantized[l], grids.weights, own, packing,
                                                 graph.nodes[static_cast<std::size_t>(nodes[l])].name));
  }
  return integers;
}

/// None where a signal ended it: nothing is written then.
std::optional<Answer> write_quantized(const Call& call) {
  const fs::path output = read_output(call.values);
  const WeightChoice choice = read_weight_choice(call.values);
  const network::Packing packing = read_packing(call.values, choice.configuration);
  network::Network network = read_network_argument(call.values);
  auto quantization = quantize_network(network, choice, call.values);
  if (!quantization) return std::nullopt;

  const auto integers = integers_of(network.graph, *quantization, choice.configuration, packing);
  network.layers = std::move(quantization->quantized);
  Answer answer{.written = network::dequantized(std::move(network), integers),
                .output = output,
                .label = choice.label,
                .modules = std::move(quantization->modules)};
  validate(answer.written, output.string());
  write_quantized_onnx(answer.written, integers, output);

  const auto nodes = answer.written.graph.weight_layers();
  for (std::size_t l = 0; l < nodes.size(); ++l) {
    const auto own = quantize::at_layer(choice.configuration, static_cast<Index>(l), std::ssize(nodes));
    answer.rows.push_back(describe(answer.written.graph.nodes[static_cast<std::size_t>(nodes[l])].name, own.bits,
                                   integers[l], quantization->original[l].weights, answer.written.layers[l].weights));
  }
  answer.bytes_before = fs::file_size(call.values["input"].as<std::string>());
  answer.bytes_after = fs::file_size(output);
  return answer;
}

std::string modules_json(const Answer& a) {
  std::vector<std::string> items;
  for (const reconstruct::ModuleReport& report : a.modules) {
    JsonObject item;
    item.text("name", report.module.name).number("loss_round", report.loss_round).number("loss", report.loss);
    items.push_back(item.number("settled", report.settled).integer("iterations", report.iterations).str());
  }
  return json_list(items);
}

void print_json(const Answer& a) {
  std::vector<std::string> items;
  for (const LayerRow& row : a.rows) {
    JsonObject item;
    item.text("name", row.name).integer("bits", row.bits).text("type", row.type).integer("weights", row.weights);
    item.integer("bytes", row.bytes).number("step_min", row.least_step).number("step_max", row.largest_step);
    items.push_back(item.number("error_max", row.error).number("error_in_steps", row.error_in_steps).str());
  }
  JsonObject all;
  all.text("output", a.output.string()).text("configuration", a.label);
  all.integer("bytes_before", static_cast<long long>(a.bytes_before));
  all.integer("bytes_after", static_cast<long long>(a.bytes_after)).raw("layers", json_list(items));
  if (!a.modules.empty()) all.raw("modules", modules_json(a));
  fmt::print("{}\n", all.str());
}

std::string layer_table(const Answer& a) {
  TextTable table(
      {"layer", "name", "weights", "bits", "type", "least step", "largest step", "largest error", "in steps"});
  for (std::size_t l = 0; l < a.rows.size(); ++l) {
    const LayerRow& row = a.rows[l];
    table.add({std::to_string(l), row.name, std::to_string(row.weights), std::to_string(row.bits), row.type,
               short_number(row.least_step), short_number(row.largest_step), short_number(row.error),
               fmt::format("{:.3f}", row.error_in_steps)});
  }
  return table.str();
}

std::string module_table(const Answer& a) {
  TextTable table({"module", "loss of rounding", "loss", "settled", "iterations"});
  for (const reconstruct::ModuleReport& report : a.modules) {
    table.add({report.module.name, short_number(report.loss_round), short_number(report.loss),
               fmt::format("{:.1f} %", 100.0 * report.settled), std::to_string(report.iterations)});
  }
  return table.str();
}

void print_text(const Answer& a) {
  fmt::print("{}: {} weight layers, {} parameters, {}\n", a.written.name, a.rows.size(), parameter_count(a.written),
             a.label);
  for (const auto& note : a.written.notes) fmt::print("note: {}\n", note);
  fmt::print("\n{}\n", layer_table(a));
  if (!a.modules.empty()) fmt::print("{}\n", module_table(a));
  const double ratio = static_cast<double>(a.bytes_after) / static_cast<double>(a.bytes_before);
  fmt::print("{}: {} bytes, {:.1f} % of the {} of the network that was read\n", a.output.string(), a.bytes_after,
             100.0 * ratio, a.bytes_before);
}

Exit report_stop(const Call& call) {
  if (call.values.count("checkpoint") != 0) {
    fmt::print(stderr, "quantbound: stopped early, progress is saved; run the same command again with --resume\n");
    return stopped_early;
  }
  print_error("stopped by a signal, nothing is written; with --checkpoint FILE the work can go on later");
  return failed;
}

int run_quantize(const Call& call) {
  if (const auto threads = read_threads(call.values)) omp_set_num_threads(*threads);
  const auto answer = write_quantized(call);
  if (!answer) return report_stop(call);
  if (call.values["json"].as<bool>()) {
    print_json(*answer);
  } else {
    print_text(*answer);
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
