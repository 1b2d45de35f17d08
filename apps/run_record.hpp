/// What a run that writes a result file says of itself in /provenance: program, libraries, command line, when.
#pragma once

#include <chrono>
#include <string>

#include "quantbound/sweep/dataset.hpp"

#include "verb.hpp"

namespace quantbound::apps {

/// The words of the call with blanks between them.
std::string command_line(const Call& call);

/// As attributes of the group; the end is now.
void add_run(sweep::Group& provenance, const std::string& command_line, std::chrono::system_clock::time_point start);

}  // namespace quantbound::apps
