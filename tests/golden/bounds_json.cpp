/// Test helper: the bounds of a fully connected ReLU network as JSON on stdout, and its weights as bytes in a file, for
/// theories_golden.py to hold against checks/bounds_reference.py.
///   bounds_json NETWORK QUANTIZER BITS (file | LOW HIGH) DUMP
/// Bounds are printed exactly, as [mantissa in hexadecimal, exponent of two]. Exit code 3: not such a network.
#include <cstdlib>
#include <fstream>
#include <iostream>

#include <fmt/format.h>

#include "quantbound/bounds/bound_table.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace {

using namespace quantbound;

bool is_relu_chain(const network::Graph& graph) {
  for (const network::Node& node : graph.nodes) {
    if (std::holds_alternative<network::Input>(node.op) || std::holds_alternative<network::Dense>(node.op) ||
        std::holds_alternative<network::Reshape>(node.op) || std::holds_alternative<network::ScaleShift>(node.op)) {
      continue;
    }
    const auto* activation = std::get_if<network::Activation>(&node.op);
    if (activation == nullptr || activation->kind != network::ActivationKind::relu) return false;
  }
  return graph.is_chain();
}

void write(std::ofstream& file, const std::vector<double>& values) {
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(double)));
}

/// The box that enters the first weight layer, then W, b, W' of every layer.
void dump(const char* path, const network::Network& f, const bounds::Domain& domain,
          const std::vector<network::LayerParameters>& quantized) {
  std::ofstream file(path, std::ios::binary);
  const network::Node& first = f.graph.nodes[static_cast<std::size_t>(f.graph.weight_layers().front())];
  const network::Box& box = domain.boxes[static_cast<std::size_t>(first.inputs.front())];
  write(file, box.low);
  write(file, box.high);
  for (std::size_t l = 0; l < f.layers.size(); ++l) {
    write(file, f.layers[l].weights);
    write(file, f.layers[l].bias);
    write(file, quantized[l].weights);
  }
}

int run(const std::vector<std::string>& arguments) {
  const network::Network f = network::read_network(arguments[0]);
  if (!is_relu_chain(f.graph)) return 3;
  const quantize::Configuration configuration{.quantizer = quantize::parse_quantizer(arguments[1]).value(),
                                              .bits = std::stoi(arguments[2])};
  network::Box box;
  if (arguments[3] == "file") {
    box = f.domain.value();
  } else {
    const auto count = static_cast<std::size_t>(tensor::elements(f.graph.input_shape()));
    box = {std::vector<double>(count, std::stod(arguments[3])), std::vector<double>(count, std::stod(arguments[4]))};
  }
  const bounds::Domain domain = bounds::make_domain(f.graph, box);
  const auto quantized = quantize::quantize_layers(f.layers, configuration);
  const auto shapes = bounds::layer_shapes(f.graph);
  std::vector<bounds::LayerNorms> norms;
  std::vector<bounds::QuantizedLayerNorms> pair;
  std::string sizes;
  for (std::size_t l = 0; l < shapes.size(); ++l) {
    const auto report =
        bounds::measure_layer(f.layers[l], shapes[l], static_cast<network::Index>(l), std::span(&configuration, 1));
    norms.push_back(report.norms);
    pair.push_back(report.quantized.front());
    sizes += fmt::format("{}[{}, {}]", l > 0 ? ", " : "", shapes[l].rows, shapes[l].columns);
  }
  const bounds::NormInput norm_input{f.graph, domain, norms, pair};
  const bounds::WeightInput weight_input{f.graph, domain, f.layers, quantized};
  dump(arguments.back().c_str(), f, domain, quantized);
  std::cout << "{\"layers\": [" << sizes << "], \"bounds\": {";
  for (const bounds::Theory& theory : bounds::theories()) {
    const bounds::TheoryResult result =
        theory.reads_weights() ? evaluate(theory, weight_input) : evaluate(theory, norm_input);
    const std::string value = result.applicable()
                                  ? fmt::format("[\"{:a}\", {}]", result.bound->mantissa(), result.bound->exponent())
                                  : fmt::format("\"{}\"", result.reason);
    std::cout << (&theory == bounds::theories().data() ? "" : ", ") << '"' << theory.name << "\": " << value;
  }
  const bounds::PaperNorms paper = bounds::paper_norms(norm_input);
  std::cout << fmt::format("}}, \"r_max\": {}, \"r_mean\": {}}}\n", paper.r_max, paper.r_mean);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 && argc != 7) {
    std::cerr << "usage: bounds_json NETWORK QUANTIZER BITS (file | LOW HIGH) DUMP\n";
    return 2;
  }
  try {
    return run({argv + 1, argv + argc});
  } catch (const core::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
