/// What `certify` found, as text for people and as JSON for scripts. Numbers that are proved are printed rounded to the
/// side on which they stay proved.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "certify_problem.hpp"
#include "certify_search.hpp"

namespace quantbound::apps {

enum class Verdict { not_asked, proved, refuted, bound_reached };

/// One row of the table.
struct MethodResult {
  certify::Method method = certify::Method::interval;
  certify::Certificate certificate;
  std::string remark;  ///< how it ended, where that is worth a word
};

struct CertifyAnswer {
  std::vector<MethodResult> results;
  network::Box difference;  ///< the intersection of all: f_q - f lies in here
  double lower = 0.0;       ///< attained at `witness`, proved
  std::vector<double> witness;
  double attacked = 0.0;  ///< what the attack found, as computed
  std::optional<SearchEnd> search_end;
  bool refuted = false;  ///< f_q - f at `witness` is proved to leave the target
  double seconds = 0.0;
};

Verdict verdict(const Problem& problem, const CertifyAnswer& answer);
/// Whether every point of `inner` lies in `outer`.
bool contains(const network::Box& outer, const network::Box& inner);

void print_text(const Problem& problem, const CertifySettings& settings, const CertifyAnswer& answer);
void print_json(const Problem& problem, const CertifySettings& settings, const CertifyAnswer& answer);

/// Significant digits, not below or not above the value.
std::string number_above(double value, int digits = 5);
std::string number_below(double value, int digits = 5);

}  // namespace quantbound::apps
