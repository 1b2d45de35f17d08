/// What the studies of several results have in common, from the resolved study that every result file carries. Used by
/// merge.cpp only.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantbound/sweep/merge.hpp"

namespace quantbound::sweep::detail {

struct CommonSettings {
  /// TOML: what every study says. Of one study, or of equal ones, that study.
  std::string toml;
  /// One line per setting that is no axis and differs, with the values.
  std::vector<std::string> notes;
};

/// Throws core::InputError where a part carries no TOML.
CommonSettings common_settings(std::span<const ResultPart> parts);

/// Results that share a network are about the same inputs: their studies have one seed (of uniform points and attacks),
/// the network one domain, and a sample set one way of being read. Throws core::InputError where they have not.
void require_same_inputs(std::span<const ResultPart> parts);

}  // namespace quantbound::sweep::detail
