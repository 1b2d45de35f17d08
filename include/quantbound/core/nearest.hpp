/// "did you mean": the known word that is nearest to a misspelt one, in edit distance (Levenshtein).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quantbound::core {

/// The candidate nearest to `word`, if any is near enough to be a slip.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace quantbound::core
