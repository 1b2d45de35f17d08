#include "show_layers.hpp"

#include <algorithm>
#include <cmath>

#include "json.hpp"
#include "text_table.hpp"

namespace quantbound::apps {

namespace {

using core::InputError;

std::size_t position(const std::vector<std::string>& labels, const std::string& label) {
  return static_cast<std::size_t>(std::ranges::find(labels, label) - labels.begin());
}

/// The set asked for, or the first that layers of the network were measured on.
std::size_t choose_samples(const StoredResult& result, const std::string& network,
                           const std::optional<std::string>& wanted) {
  const auto& sets = result.texts("samples");
  const std::size_t first = position(result.texts("network"), network) * sets.size();
  const auto counts = result.whole("layer_samples");
  const auto measured = [&](std::size_t s) { return counts[first + s] > 0; };
  std::vector<std::string> with_layers;
  for (std::size_t s = 0; s < sets.size(); ++s)
    if (measured(s)) with_layers.push_back(sets[s]);
  if (with_layers.empty()) {
    throw InputError(fmt::format("the layers of {} were not measured; layer_samples of [observe] was 0, or nothing was "
                                 "observed inside the domain",
                                 network),
                     "--layers");
  }
  if (wanted && std::ranges::find(with_layers, *wanted) == with_layers.end()) {
    throw InputError(fmt::format("the layers of {} were not measured on samples '{}', but on {}", network, *wanted,
                                 fmt::join(with_layers, ", ")),
                     "--samples");
  }
  return position(sets, wanted.value_or(with_layers.front()));
}

}  // namespace

ShownLayers read_layers(const StoredResult& result, const std::string& network, std::size_t configuration,
                        const std::optional<std::string>& samples) {
  const auto& sets = result.texts("samples");
  const std::size_t set = choose_samples(result, network, samples);
  const auto counts = result.whole("layer_samples");
  ShownLayers shown{.samples = sets[set],
                    .sample_count = counts[position(result.texts("network"), network) * sets.size() + set],
                    .layers = {}};
  const auto &owners = result.labels_of("layer_network"), &names = result.labels_of("layer_name"),
             &ops = result.labels_of("layer_op");
  const std::size_t configurations = result.values("delta_norm").size() / std::max<std::size_t>(owners.size(), 1);
  for (std::size_t l = 0; l < owners.size(); ++l) {
    if (owners[l] != network) continue;
    const std::size_t pair = l * configurations + configuration, measured = pair * sets.size() + set;
    shown.layers.push_back({.name = names[l],
                            .op = ops[l],
                            .weight_norm = result.values("weight_norm")[l],
                            .delta_norm = result.values("delta_norm")[pair],
                            .deviation = result.values("observed_layer_mean")[measured],
                            .amplification = result.values("error_amplification")[measured],
                            .local = result.values("error_local")[measured],
                            .share = result.values("error_share")[measured]});
  }
  return shown;
}

std::string to_text(const ShownLayers& shown) {
  TextTable table({"layer", "name", "op", "||W||", "||dW||", "deviation", "carries on", "adds", "share"});
  for (std::size_t l = 0; l < shown.layers.size(); ++l) {
    const ShownLayer& layer = shown.layers[l];
    table.add({std::to_string(l), layer.name, layer.op, short_number(layer.weight_norm), short_number(layer.delta_norm),
               short_number(layer.deviation), short_number(layer.amplification), short_number(layer.local),
               std::isnan(layer.share) ? "-" : fmt::format("{:.1f} %", 100.0 * layer.share)});
  }
  return table.str() +
         "\n||W||, ||dW||: operator norms inf->inf. deviation: of the layer's output, after its activation, inf-norm.\n"
         "carries on: factor on the deviation of its input; adds: by its own quantization (2-norms, arXiv "
         "2610.09877).\n"
         "share: part of the propagated error of the network's output that the layer's own quantization causes.\n";
}

std::string to_json(const ShownLayers& shown) {
  std::vector<std::string> items;
  for (const ShownLayer& layer : shown.layers) {
    JsonObject item;
    item.text("name", layer.name).text("op", layer.op).number("weight_norm", layer.weight_norm);
    item.number("delta_norm", layer.delta_norm).number("observed_layer_mean", layer.deviation);
    item.number("error_amplification", layer.amplification).number("error_local", layer.local);
    items.push_back(item.number("error_share", layer.share).str());
  }
  JsonObject all;
  all.text("samples", shown.samples).integer("layer_samples", shown.sample_count);
  return all.raw("layers", json_list(items)).str();
}

}  // namespace quantbound::apps
