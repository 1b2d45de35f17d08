/// `quantbound help study` and `quantbound help result`: the keys of a study file and the contents of a result file,
/// printed from the tables that the parser and the writer go by, as text that is Markdown, too (docs/study.md,
/// docs/result.md).
#pragma once

#include <ostream>
#include <span>
#include <string_view>

namespace quantbound::apps {

struct Reference {
  std::string_view topic;  ///< of `quantbound help TOPIC`
  std::string_view summary;
  void (*print)(std::ostream& out);
};

std::span<const Reference> references();
/// nullptr where there is none about it.
const Reference* find_reference(std::string_view topic);

}  // namespace quantbound::apps
