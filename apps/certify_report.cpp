#include "certify_report.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "quantbound/network/forward.hpp"

#include "json.hpp"
#include "text_table.hpp"

namespace quantbound::apps {

namespace {

using certify::Method;
using network::Box;

/// Outputs and inputs that people want to read at once; --json has all.
constexpr std::size_t listed = 16;

double upper_of(const CertifyAnswer& answer) { return certify::largest_magnitude(answer.difference); }

std::int64_t boxes_of(const CertifyAnswer& answer) {
  return std::accumulate(answer.results.begin(), answer.results.end(), std::int64_t{0},
                         [](std::int64_t sum, const MethodResult& r) { return sum + r.certificate.boxes; });
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::not_asked:
      return "";
    case Verdict::proved:
      return "proved";
    case Verdict::refuted:
      return "refuted";
    case Verdict::bound_reached:
      return "bound reached";
  }
  return "?";
}

/// f and f_q at the witness, as computed.
std::vector<double> outputs_at(const Problem& problem, const std::vector<network::LayerParameters>& layers,
                               std::span<const double> x) {
  return network::forward(problem.pair.graph, layers, x, 1);
}

std::string numbers(std::span<const double> values) {
  std::vector<std::string> words;
  for (const double value : values.first(std::min(values.size(), listed))) words.push_back(fmt::format("{}", value));
  return fmt::format("{}{}", fmt::join(words, " "), values.size() > listed ? " ... (--json has all)" : "");
}

void print_domain(const Problem& problem) {
  const Box& box = problem.region;
  double narrow = box.high[0] - box.low[0], wide = narrow;
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    narrow = std::min(narrow, box.high[i] - box.low[i]);
    wide = std::max(wide, box.high[i] - box.low[i]);
  }
  std::string widths = short_number(wide);
  if (short_number(narrow) != widths) widths = fmt::format("{} to {}", short_number(narrow), widths);
  fmt::print("domain: {} of width {}\n\n", counted(box.low.size(), "input"), widths);
}

void print_outputs(const Box& difference) {
  std::vector<std::size_t> order(difference.low.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto largest = certify::magnitudes(difference);
  if (order.size() > listed) {
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return largest[a] > largest[b]; });
    order.resize(listed);
  }
  TextTable table({"output", "f_q - f from", "to"});
  for (const std::size_t i : order)
    table.add({fmt::format("{}", i), number_below(difference.low[i]), number_above(difference.high[i])});
  fmt::print("{}", table.str());
  if (largest.size() > listed) fmt::print("({} more; --json has all)\n", largest.size() - listed);
}

void print_verdict(const Problem& problem, const CertifySettings& settings, const CertifyAnswer& answer) {
  const Verdict said = verdict(problem, answer);
  if (said == Verdict::not_asked) return;
  const std::string claim = settings.limits.threshold ? fmt::format("|f_q - f| <= {}", *settings.limits.threshold)
                                                      : std::string("the property");
  if (said == Verdict::proved) fmt::print("\nproved: {} on the whole domain\n", claim);
  if (said == Verdict::bound_reached)
    fmt::print(
        "\nbound reached: {} is neither proved nor refuted; raise --max-seconds or --max-boxes, take a smaller "
        "domain, or try --method branch_and_bound\n",
        claim);
  if (said != Verdict::refuted) return;
  fmt::print("\nrefuted: {} does not hold at\n  x    {}\n  f    {}\n  f_q  {}\n", claim, numbers(answer.witness),
             numbers(outputs_at(problem, problem.pair.f, answer.witness)),
             numbers(outputs_at(problem, problem.pair.fq, answer.witness)));
}

std::string json_numbers(std::span<const double> values) {
  std::vector<std::string> words;
  for (const double value : values) words.push_back(json_number(value));
  return json_list(words);
}

/// The decimal with so many digits on the wanted side of the value.
std::string rounded(double value, int digits, double direction) {
  if (!std::isfinite(value) || value == 0.0) return fmt::format("{}", value);
  double decimal = std::stod(fmt::format("{:.{}e}", value, digits - 1));
  if ((decimal - value) * direction < 0.0) {
    decimal += direction * std::pow(10.0, std::floor(std::log10(std::abs(decimal))) - (digits - 1));
    decimal = std::stod(fmt::format("{:.{}e}", decimal, digits - 1));
  }
  return fmt::format("{:.{}g}", decimal, digits);
}

}  // namespace

std::string number_above(double value, int digits) { return rounded(value, digits, 1.0); }
std::string number_below(double value, int digits) { return rounded(value, digits, -1.0); }

bool contains(const Box& outer, const Box& inner) {
  for (std::size_t i = 0; i < inner.low.size(); ++i) {
    if (!(inner.low[i] >= outer.low[i] && inner.high[i] <= outer.high[i])) return false;
  }
  return true;
}

Verdict verdict(const Problem& problem, const CertifyAnswer& answer) {
  if (!problem.target) return Verdict::not_asked;
  if (answer.refuted) return Verdict::refuted;
  return contains(*problem.target, answer.difference) ? Verdict::proved : Verdict::bound_reached;
}

void print_text(const Problem& problem, const CertifySettings& settings, const CertifyAnswer& answer) {
  const auto& pair = problem.pair;
  fmt::print("{}: {} weight layers, {}\n", pair.name, pair.f.size(), problem.description);
  for (const auto& note : problem.notes) fmt::print("note: {}\n", note);
  print_domain(problem);
  TextTable table({"method", "upper", "seconds", "what"});
  for (const auto& result : answer.results) {
    const auto info = std::ranges::find(certify::methods(), result.method, &certify::MethodInfo::method);
    table.add({std::string(info->name), number_above(certify::largest_magnitude(result.certificate.difference)),
               fmt::format("{:.2g}", result.certificate.seconds),
               std::string(result.remark.empty() ? info->summary : result.remark)});
  }
  fmt::print("{}\n", table.str());
  const double upper = upper_of(answer);
  fmt::print("upper  {:<12}  proved: no input of the domain deviates more\n", number_above(upper, 8));
  fmt::print("lower  {:<12}  attained by one, proved\n", number_below(answer.lower, 8));
  if (answer.lower > 0.0) fmt::print("gap    {:<12}  upper / lower\n", number_above(upper / answer.lower, 4));
  fmt::print("\n");
  print_outputs(answer.difference);
  print_verdict(problem, settings, answer);
}

void print_json(const Problem& problem, const CertifySettings& settings, const CertifyAnswer& answer) {
  JsonObject methods;
  for (const auto& result : answer.results)
    methods.number(certify::to_string(result.method), certify::largest_magnitude(result.certificate.difference));
  std::vector<std::string> outputs;
  for (std::size_t i = 0; i < answer.difference.low.size(); ++i) {
    outputs.push_back(
        JsonObject().number("lower", answer.difference.low[i]).number("upper", answer.difference.high[i]).str());
  }
  JsonObject json;
  json.number("upper", upper_of(answer)).number("lower", answer.lower).number("seconds", answer.seconds);
  json.integer("boxes", boxes_of(answer)).raw("method", methods.str()).raw("outputs", json_list(outputs));
  json.number("attacked", answer.attacked).raw("witness", json_numbers(answer.witness));
  if (const Verdict said = verdict(problem, answer); said != Verdict::not_asked) {
    json.text("verdict", to_string(said));
    if (settings.limits.threshold) json.number("threshold", *settings.limits.threshold);
    if (said == Verdict::refuted) {
      json.raw("f", json_numbers(outputs_at(problem, problem.pair.f, answer.witness)));
      json.raw("f_q", json_numbers(outputs_at(problem, problem.pair.fq, answer.witness)));
    }
  }
  fmt::print("{}\n", json.str());
}

}  // namespace quantbound::apps
