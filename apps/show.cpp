// quantbound show: the summary of a result file for people, or the same table as JSON.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

#include "json.hpp"
#include "show_layers.hpp"
#include "stored_result.hpp"
#include "text_table.hpp"
#include "verb.hpp"

namespace quantbound::apps {
namespace {

using core::InputError;

options::options_description show_options() {
  options::options_description all("\nOptions", help_width);
  auto add = all.add_options();
  add("network", options::value<std::string>()->value_name("NAME"), "only this network");
  add("quantizer", options::value<std::string>()->value_name("Q"), "only this quantizer");
  add("granularity", options::value<std::string>()->value_name("G"), "only this granularity");
  add("bits", options::value<int>()->value_name("B"), "only this number of bits");
  add("layers", options::bool_switch(),
      "the layers of one network in one configuration: what each adds to the deviation");
  add("samples", options::value<std::string>()->value_name("NAME"),
      "with --layers: the sample set (default: the first that layers were measured on)");
  add("json", options::bool_switch(), "one JSON object on stdout");
  add("help,h", "this text");
  return all;
}

/// One line of the summary: a network in one configuration.
struct Row {
  std::string network, quantizer, granularity;
  std::int64_t bits = 0, seed = 0, depth = 0;
  std::size_t configuration = 0;  ///< its number among the configurations of a network
  bool skipped = false;           ///< no study had the pair: what a merged result may have holes of
  double r_max = 0, r_mean = 0, r_conv = 0;
  double gonon = 0, houache = 0, tightest = 0;  ///< log10
  std::string tightest_theory;
  double observed_max = 0, accuracy = 0;
  double certified = std::numeric_limits<double>::quiet_NaN(), attacked = certified;  ///< the largest over the regions
  std::string certified_method;                             ///< the tightest in the region that decides
  double module_loss = certified, oscillation = certified;  ///< of the last module; between adjacent modules

  double gap() const { return attacked > 0.0 ? certified / attacked : std::numeric_limits<double>::quiet_NaN(); }
};

/// Position of a label on an axis, or NaN-giving absence.
std::optional<std::size_t> position(const std::vector<std::string>& labels, std::string_view label) {
  const auto found = std::ranges::find(labels, label);
  if (found == labels.end()) return std::nullopt;
  return static_cast<std::size_t>(found - labels.begin());
}

double largest_over_samples(const StoredResult& result, const char* variable, std::size_t pair, std::size_t samples) {
  double largest = std::numeric_limits<double>::quiet_NaN();
  if (!result.has(variable)) return largest;
  for (std::size_t s = 0; s < samples; ++s) largest = std::fmax(largest, result.values(variable)[pair * samples + s]);
  return largest;
}

void fill_bounds(Row& row, const StoredResult& result, std::size_t pair) {
  const auto& theories = result.texts("theory");
  const auto& bounds = result.values("log10_bound");
  const auto at = [&](std::string_view name) {
    const auto t = position(theories, name);
    return t ? bounds[pair * theories.size() + *t] : std::numeric_limits<double>::quiet_NaN();
  };
  row.gonon = at("gonon");
  row.houache = at("houache_mean");
  row.tightest = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t t = 0; t < theories.size(); ++t) {
    const double value = bounds[pair * theories.size() + t];
    if (std::isnan(value) || value >= row.tightest) continue;
    row.tightest = value;
    row.tightest_theory = theories[t];
  }
}

/// Where the regions of every network begin: networks and their regions come in the same order.
std::vector<std::size_t> first_regions(const StoredResult& result) {
  const auto& owners = result.labels_of("region_network");
  std::vector<std::size_t> first;
  std::size_t region = 0;
  for (const auto& network : result.texts("network")) {
    first.push_back(region);
    while (region < owners.size() && owners[region] == network) ++region;
  }
  first.push_back(region);
  return first;
}

/// The domain of a network is the union of its regions: the largest of their best certificates holds over all of it.
/// @param configuration its number among `configurations` per region
void fill_certificates(Row& row, const StoredResult& result, std::size_t first_region, std::size_t last_region,
                       std::size_t configuration, std::size_t configurations) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto& methods = result.texts("method");
  const auto &certified = result.values("certified"), &attacked = result.values("attacked");
  for (std::size_t region = first_region; region < last_region; ++region) {
    const std::size_t pair = region * configurations + configuration;
    row.attacked = std::fmax(row.attacked, attacked[pair]);
    double best = nan;
    std::size_t tightest = 0;
    for (std::size_t m = 0; m < methods.size(); ++m) {
      const double value = certified[pair * methods.size() + m];
      if (std::isnan(value) || value >= best) continue;
      best = value;
      tightest = m;
    }
    if (std::isnan(best)) {  // nothing holds over this region, so nothing over all
      row.certified = nan;
      row.certified_method.clear();
      break;
    }
    if (best <= row.certified) continue;
    row.certified = best;
    row.certified_method = methods[tightest];
  }
}

/// What is left of the deviation from f after the last module, and how much the losses went up and down.
void fill_modules(Row& row, const StoredResult& result, std::size_t pair, std::size_t configurations) {
  const auto& owners = result.labels_of("module_network");
  const auto& losses = result.values("module_loss");
  for (std::size_t m = 0; m < owners.size(); ++m) {
    const double loss = losses[m * configurations + row.configuration];
    if (owners[m] == row.network && !std::isnan(loss)) row.module_loss = loss;
  }
  row.oscillation = result.values("oscillation_max")[pair];
}

constexpr std::int8_t skipped_pair = 4;  ///< flag of `status`

std::vector<Row> read_rows(const StoredResult& result) {
  const auto& status = result.flags("status");
  const auto &networks = result.texts("network"), &quantizers = result.texts("quantizer"),
             &granularities = result.texts("granularity");
  const auto &bits = result.integers("bits"), &seeds = result.integers("seed");
  const std::size_t samples = result.root().find_axis("samples") == nullptr ? 0 : result.texts("samples").size();
  const auto depths = result.whole("network_depth");
  const bool has_certificates = result.has("certified");  // results of version 1.0 have none
  const auto regions = has_certificates ? first_regions(result) : std::vector<std::size_t>(networks.size() + 1, 0);
  const bool has_modules = result.has("module_loss");  // results of studies without methods have none
  const std::size_t configurations = quantizers.size() * granularities.size() * bits.size() * seeds.size();
  std::vector<Row> rows;
  for (std::size_t n = 0; n < networks.size(); ++n) {
    for (const auto& quantizer : quantizers) {
      for (const auto& granularity : granularities) {
        for (const auto b : bits) {
          for (const auto seed : seeds) {
            const std::size_t pair = rows.size();
            Row row{.network = networks[n],
                    .quantizer = quantizer,
                    .granularity = granularity,
                    .bits = b,
                    .seed = seed,
                    .depth = depths[n],
                    .configuration = pair % configurations,
                    .skipped = status[pair] == skipped_pair};
            row.r_max = result.values("r_max")[pair];
            row.r_mean = result.values("r_mean")[pair];
            row.r_conv = result.values("r_conv")[pair];
            fill_bounds(row, result, pair);
            row.observed_max = largest_over_samples(result, "observed_max", pair, samples);
            row.accuracy = largest_over_samples(result, "accuracy", pair, samples);
            if (has_certificates) {
              fill_certificates(row, result, regions[n], regions[n + 1], row.configuration, configurations);
            }
            if (has_modules) fill_modules(row, result, pair, configurations);
            rows.push_back(std::move(row));
          }
        }
      }
    }
  }
  return rows;
}

template <class T>
bool wanted(const options::variables_map& values, const char* option, const T& value) {
  return values.count(option) == 0 || values[option].as<T>() == value;
}

/// Applies the options; where too much is left for a screen, keeps the smallest, the middle and the largest bits.
std::vector<Row> select(std::vector<Row> rows, const options::variables_map& values) {
  std::erase_if(rows, [&](const Row& row) {
    return row.skipped || !wanted(values, "network", row.network) || !wanted(values, "quantizer", row.quantizer) ||
           !wanted(values, "granularity", row.granularity) || !wanted(values, "bits", static_cast<int>(row.bits));
  });
  if (rows.empty()) throw InputError("nothing in the file fits the options", "command line");
  return rows;
}

std::set<std::int64_t> few_bits(const std::vector<Row>& rows) {
  std::set<std::int64_t> all;
  for (const auto& row : rows) all.insert(row.bits);
  if (rows.size() <= 48 || all.size() <= 3) return all;
  const std::vector<std::int64_t> sorted(all.begin(), all.end());
  return {sorted.front(), sorted[sorted.size() / 2], sorted.back()};
}

/// What failed in the networks shown, one line each, and how many there are more.
void print_failures(const StoredResult& result, const std::vector<Row>& rows) {
  constexpr std::size_t shown = 10;
  const auto networks = result.failures("failure_network"), stages = result.failures("failure_stage"),
             messages = result.failures("failure_message");
  std::size_t count = 0;
  for (std::size_t f = 0; f < networks.size(); ++f) {
    if (std::ranges::find(rows, networks[f], &Row::network) == rows.end()) continue;
    if (++count <= shown)
      fmt::print("{}failed: {}, {}: {}\n", count == 1 ? "\n" : "", networks[f], stages[f], messages[f]);
  }
  if (count > shown) fmt::print("... and {} more in group /failures\n", count - shown);
}

/// Which stages the rows shown have numbers of.
struct Columns {
  bool certified = false, attacked = false, modules = false;
};

Columns columns_of(const std::vector<Row>& rows) {
  const auto any = [&](auto value) {
    return std::ranges::any_of(rows, [&](const Row& row) { return !std::isnan(row.*value); });
  };
  return {.certified = any(&Row::certified), .attacked = any(&Row::attacked), .modules = any(&Row::module_loss)};
}

std::vector<std::string> cells(const Row& row, const Columns& columns) {
  const auto name = [](const std::string& text) { return text.empty() ? "-" : text; };
  std::vector<std::string> line{row.network,
                                std::to_string(row.depth),
                                row.quantizer,
                                row.granularity,
                                std::to_string(row.bits),
                                short_number(row.r_max),
                                short_number(row.r_mean),
                                short_number(row.r_conv),
                                power_of_ten(row.gonon),
                                power_of_ten(row.houache),
                                power_of_ten(row.tightest),
                                name(row.tightest_theory)};
  if (columns.certified) line.insert(line.end(), {short_number(row.certified), name(row.certified_method)});
  if (columns.attacked) line.push_back(short_number(row.attacked));
  if (columns.certified && columns.attacked) line.push_back(short_number(row.gap()));
  if (columns.modules) line.insert(line.end(), {short_number(row.module_loss), short_number(row.oscillation)});
  line.insert(line.end(), {short_number(row.observed_max), short_number(row.accuracy)});
  return line;
}

void print_text(const StoredResult& result, const std::vector<Row>& rows, const std::string& path) {
  const auto shown_bits = few_bits(rows);
  const Columns columns = columns_of(rows);
  std::vector<std::string> head{"network", "L",      "quantizer", "granularity",  "bits",     "r_max",
                                "r_mean",  "r_conv", "gonon",     "houache_mean", "tightest", "theory"};
  if (columns.certified) head.insert(head.end(), {"certified", "method"});
  if (columns.attacked) head.emplace_back("attacked");
  if (columns.certified && columns.attacked) head.emplace_back("gap");
  if (columns.modules) head.insert(head.end(), {"loss", "oscillation"});
  head.insert(head.end(), {"observed", "accuracy"});
  TextTable table(head);
  std::size_t hidden = 0;
  for (const auto& row : rows) {
    if (!shown_bits.contains(row.bits)) {
      ++hidden;
      continue;
    }
    table.add(cells(row, columns));
  }
  fmt::print("{}: {}\n\n{}", path, sweep::text_attribute(result.root().attributes, "title").value_or("a result file"),
             table.str());
  if (hidden > 0)
    fmt::print("\n{} more rows with other bits; choose with --bits, --network, --quantizer, --granularity\n", hidden);
  print_failures(result, rows);
  fmt::print("\nBounds hold over the domain for every input (10^x){}; observed is the largest deviation measured.\n",
             columns.certified ? ", and so does certified" : "");
  if (columns.attacked)
    fmt::print("attacked is the largest deviation that a search found{}.\n",
               columns.certified ? "; gap is certified / attacked" : "");
  if (columns.modules)
    fmt::print(
        "loss is that of the last module on the calibration samples; oscillation is the largest difference of "
        "the losses of adjacent modules.\n");
}

void print_json(const std::vector<Row>& rows) {
  std::vector<std::string> items;
  for (const auto& row : rows) {
    JsonObject item;
    item.text("network", row.network).integer("depth", row.depth).text("quantizer", row.quantizer);
    item.text("granularity", row.granularity).integer("bits", row.bits).integer("seed", row.seed);
    item.number("r_max", row.r_max).number("r_mean", row.r_mean).number("r_conv", row.r_conv);
    item.number("log10_gonon", row.gonon)
        .number("log10_houache_mean", row.houache)
        .number("log10_tightest", row.tightest);
    item.number("certified", row.certified).text("certified_method", row.certified_method);
    item.number("attacked", row.attacked).number("gap", row.gap());
    item.text("tightest_theory", row.tightest_theory)
        .number("observed_max", row.observed_max)
        .number("accuracy", row.accuracy)
        .number("module_loss", row.module_loss)
        .number("oscillation_max", row.oscillation);
    items.push_back(item.str());
  }
  fmt::print("{}\n", JsonObject().raw("rows", json_list(items)).str());
}

int print_chosen_layers(const StoredResult& result, const std::vector<Row>& rows,
                        const options::variables_map& values) {
  if (rows.size() > 1) {
    throw InputError(fmt::format("--layers shows one network in one configuration, but {} fit the options; choose with "
                                 "--network, --quantizer, --granularity, --bits",
                                 rows.size()),
                     "command line");
  }
  const auto samples = values.count("samples") != 0 ? std::optional(values["samples"].as<std::string>()) : std::nullopt;
  const auto table = read_layers(result, rows.front().network, rows.front().configuration, samples);
  if (values["json"].as<bool>()) {
    fmt::print("{}\n", to_json(table));
  } else {
    const Row& row = rows.front();
    fmt::print("{}, {}, one step per {}, {} bits; means over {} of {}\n\n{}", row.network, row.quantizer,
               row.granularity, row.bits, counted(static_cast<std::size_t>(table.sample_count), "sample"),
               table.samples, to_text(table));
  }
  return done;
}

int run_show(const Call& call) {
  const auto path = call.values["input"].as<std::string>();
  const StoredResult result(path);
  const auto rows = select(read_rows(result), call.values);
  if (call.values["layers"].as<bool>()) return print_chosen_layers(result, rows, call.values);
  if (call.values.count("samples") != 0) throw InputError("--samples is for --layers", "command line");
  if (call.values["json"].as<bool>()) {
    print_json(rows);
  } else {
    print_text(result, rows, path);
  }
  return done;
}

}  // namespace

const Verb show_verb{.name = "show",
                     .arguments = "RESULTS",
                     .summary = "summary of a result file for people",
                     .options = show_options,
                     .run = run_show,
                     .description =
                         R"(A row per network and configuration: norms, bounds, certificate, attack, measurement;
and what failed.
)",
                     .files = R"(  RESULTS  result file of quantbound sweep
)",
                     .examples = R"(  quantbound show quickstart.h5 --quantizer round --granularity channel --bits 4
      one configuration of every network
  quantbound show quickstart.h5 --layers --network digits_cnn --quantizer round \
      --granularity channel --bits 4
      what each layer of one network adds to the deviation
)"};

}  // namespace quantbound::apps
