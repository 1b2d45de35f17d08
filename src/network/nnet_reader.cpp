// The .nnet format of Reluplex and its successors (Julian, Stanford 2016): comment lines, sizes, input box, means and
// ranges, then per layer its weight rows and its biases, one row or bias a line. Every hidden layer is followed by
// Relu.
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"

#include "text_file.hpp"

namespace quantbound::network {

namespace {

constexpr Index max_size = Index{1} << 30;

/// Goes through the lines of a file; comments (//) and blank lines are skipped.
class Lines {
 public:
  Lines(std::string_view text, std::string file) : rest_(text), file_(std::move(file)) {}

  /// The next line with content; nothing at the end of the file.
  std::optional<std::string_view> next() {
    while (!rest_.empty()) {
      const std::size_t end = rest_.find('\n');
      const std::string_view line = detail::trimmed(rest_.substr(0, end));
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
      ++number_;
      if (!line.empty() && !line.starts_with("//")) return line;
    }
    ++number_;
    return std::nullopt;
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw core::InputError(message, fmt::format("{}:{}", file_, number_));
  }

 private:
  std::string_view rest_;
  std::string file_;
  std::size_t number_ = 0;
};

/// The numbers of the next line, separated by commas; one comma may follow the last.
std::vector<double> numbers(Lines& lines, std::string_view what) {
  const auto line = lines.next();
  if (!line) lines.fail(fmt::format("the file ends where {} should be; it is cut off", what));
  std::vector<double> values;
  std::string_view rest = *line;
  while (!detail::trimmed(rest).empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view field = rest.substr(0, comma);
    const auto value = detail::parse_number(field);
    if (!value) {
      lines.fail(fmt::format("'{}' is not a number; {} should be here", detail::trimmed(field).substr(0, 40), what));
    }
    values.push_back(*value);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  return values;
}

std::vector<Index> sizes(Lines& lines, std::string_view what, std::size_t at_least) {
  std::vector<Index> out;
  for (const double value : numbers(lines, what)) {
    if (value < 0.0 || value > static_cast<double>(max_size) || value != std::floor(value)) {
      lines.fail(fmt::format("{} is not a size; {} should be here", value, what));
    }
    out.push_back(static_cast<Index>(value));
  }
  if (out.size() < at_least) {
    lines.fail(fmt::format("{} numbers, {} need {}", out.size(), what, at_least));
  }
  return out;
}

/// One header line with a number per input. Some tools append values for the outputs; they are not ours.
std::vector<double> per_input(Lines& lines, std::string_view what, Index inputs) {
  std::vector<double> values = numbers(lines, what);
  if (std::ssize(values) < inputs) {
    lines.fail(fmt::format("{} numbers, {} need one for each of {} inputs", values.size(), what, inputs));
  }
  values.resize(static_cast<std::size_t>(inputs));
  return values;
}

std::vector<Index> layer_sizes(Lines& lines) {
  const std::vector<Index> header = sizes(lines, "layer count, input size, output size", 3);
  const Index layers = header[0];
  if (layers < 1) lines.fail("a network needs at least one layer");
  std::vector<Index> widths = sizes(lines, "layer sizes", 2);
  if (std::ssize(widths) != layers + 1) {
    lines.fail(fmt::format("{} sizes for {} layers; one more than layers is needed", widths.size(), layers));
  }
  for (const Index width : widths) {
    if (width < 1) lines.fail("a layer without neurons");
  }
  if (widths.front() != header[1] || widths.back() != header[2]) {
    lines.fail(fmt::format("sizes run from {} to {}, the line before says {} to {}", widths.front(), widths.back(),
                           header[1], header[2]));
  }
  return widths;
}

/// The input box in normalised units; none where the file writes "unbounded" as the largest float.
std::optional<Box> read_domain(Lines& lines, Index inputs) {
  const std::vector<double> low = per_input(lines, "input minima", inputs);
  const std::vector<double> high = per_input(lines, "input maxima", inputs);
  const std::vector<double> mean = per_input(lines, "means", inputs);
  const std::vector<double> range = per_input(lines, "ranges", inputs);
  constexpr double unbounded = 3.4e38;
  Box box;
  bool is_bounded = true;
  for (std::size_t i = 0; i < low.size(); ++i) {
    if (range[i] <= 0.0) lines.fail(fmt::format("range {} of input {} is not positive", range[i], i));
    if (low[i] > high[i]) lines.fail(fmt::format("input {} has minimum {} above maximum {}", i, low[i], high[i]));
    is_bounded = is_bounded && low[i] > -unbounded && high[i] < unbounded;
    box.low.push_back((low[i] - mean[i]) / range[i]);
    box.high.push_back((high[i] - mean[i]) / range[i]);
    if (!std::isfinite(box.low.back()) || !std::isfinite(box.high.back())) {
      lines.fail(fmt::format("range {} of input {} makes its normalised box infinite", range[i], i));
    }
  }
  return is_bounded ? std::optional(std::move(box)) : std::nullopt;
}

LayerParameters read_layer(Lines& lines, Index layer, Index inputs, Index outputs) {
  LayerParameters parameters;
  for (Index row = 0; row < outputs; ++row) {
    const std::vector<double> values = numbers(lines, fmt::format("row {} of the weights of layer {}", row, layer));
    if (std::ssize(values) != inputs) {
      lines.fail(fmt::format("{} weights in row {} of layer {}, {} are needed", values.size(), row, layer, inputs));
    }
    parameters.weights.insert(parameters.weights.end(), values.begin(), values.end());
  }
  for (Index row = 0; row < outputs; ++row) {
    const std::vector<double> values = numbers(lines, fmt::format("bias {} of layer {}", row, layer));
    if (values.size() != 1)
      lines.fail(fmt::format("{} numbers where bias {} of layer {} should be", values.size(), row, layer));
    parameters.bias.push_back(values.front());
  }
  return parameters;
}

void append(Graph& graph, std::string name, Operator op, Index size) {
  const std::vector<NodeId> inputs = graph.nodes.empty() ? std::vector<NodeId>{} : std::vector{graph.output};
  graph.nodes.push_back({std::move(name), std::move(op), inputs, {size}});
  graph.output = std::ssize(graph.nodes) - 1;
}

}  // namespace

Network read_nnet(const std::filesystem::path& path) {
  const std::string text = detail::read_file(path);
  Lines lines(text, path.string());
  const std::vector<Index> widths = layer_sizes(lines);
  static_cast<void>(numbers(lines, "the flag 'symmetric' (unused)"));
  Network network;
  network.name = path.stem().string();
  network.domain = read_domain(lines, widths.front());
  if (!network.domain) network.notes.emplace_back("the file states no bounded input range");
  append(network.graph, "input", Input{}, widths.front());
  for (Index l = 0; l + 1 < std::ssize(widths); ++l) {
    const Index inputs = widths[static_cast<std::size_t>(l)], outputs = widths[static_cast<std::size_t>(l) + 1];
    if (l > 0) append(network.graph, fmt::format("relu{}", l - 1), Activation{}, inputs);
    append(network.graph, fmt::format("layer{}", l), Dense{l, inputs, outputs}, outputs);
    network.layers.push_back(read_layer(lines, l, inputs, outputs));
  }
  if (lines.next()) lines.fail("there is more in the file than its layer sizes say");
  validate(network.graph, path.string());
  validate(network, path.string());
  return network;
}

}  // namespace quantbound::network
