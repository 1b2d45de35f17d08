/// A verb of the command line: its name, one line about it, its options, and what it does. main.cpp keeps the table.
#pragma once

#include <string_view>

#include <boost/program_options.hpp>

namespace quantbound::apps {

namespace options = boost::program_options;

/// docs/design.md section 7.
enum Exit : int { done = 0, failed = 1, usage = 2, some_failed = 3, stopped_early = 75 };

/// Columns of the text of --help.
inline constexpr unsigned help_width = 100;

/// What a verb gets to run with. argc and argv are for MPI_Init and for the record.
struct Call {
  const options::variables_map& values;
  int& argc;
  char**& argv;
};

/// Who works when a launcher starts several processes: all together, or the first alone.
enum class Ranks { all, first };

/// How many words a verb takes besides its options, as the option `input`: a std::string, or a list of them.
enum class Inputs { one, many };

struct Verb {
  std::string_view name;
  std::string_view arguments;  ///< "STUDY", "NETWORK"
  std::string_view summary;
  options::options_description (*options)();
  int (*run)(const Call& call);
  Ranks ranks = Ranks::first;
  Inputs inputs = Inputs::one;
  // The rest of --help, of which scripts/package makes the manual page and the completion: plain lines of at most 100
  // characters that end with a newline.
  std::string_view description;  ///< paragraphs after the summary
  std::string_view files = {};   ///< "  NAME  what it is" per line
  std::string_view examples;     ///< "  command", and what it is for, indented more; a test runs them
  std::string_view exits = {};   ///< exit codes besides 0, 1 and 2, one per line
};

extern const Verb sweep_verb, plan_verb, inspect_verb, bound_verb, certify_verb, quantize_verb, show_verb, merge_verb;

}  // namespace quantbound::apps
