// quantbound merge: the results of several studies, or of the parts of one, as one result file.
#include "quantbound/sweep/merge.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"
#include "quantbound/store/journal.hpp"
#include "quantbound/store/result_file.hpp"

#include "run_record.hpp"
#include "text_table.hpp"
#include "verb.hpp"

namespace quantbound::apps {
namespace {

namespace fs = std::filesystem;
using core::InputError;

options::options_description merge_options() {
  options::options_description all("\nOptions", help_width);
  auto add = all.add_options();
  add("output,o", options::value<std::string>()->value_name("FILE"), "the merged result file (needed)");
  add("help,h", "this text");
  return all;
}

/// Before the files are read: the output can be written, and no sweep is at work on it.
void check_output(const fs::path& output) {
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) {
    throw InputError("the folder of the output does not exist; create it", folder.string());
  }
  if (fs::is_directory(output)) throw InputError("the output is a folder; name a file with -o", output.string());
  if (access(folder.c_str(), W_OK | X_OK) != 0 || (fs::exists(output) && access(output.c_str(), W_OK) != 0)) {
    throw InputError("the output cannot be written; choose another place with -o", output.string());
  }
  const fs::path journal = store::journal_directory(output);
  if (fs::exists(journal)) {
    throw InputError("an interrupted sweep left its journal here; choose another output, or remove the folder",
                     journal.string());
  }
}

std::vector<sweep::ResultPart> read_parts(const std::vector<std::string>& files) {
  std::vector<sweep::ResultPart> parts;
  std::set<fs::path> seen;
  for (const auto& file : files) {
    // What is there already says less than the journal beside it: the sweep that left it goes on.
    if (const fs::path journal = store::journal_directory(file); fs::exists(journal)) {
      throw InputError("this sweep is not finished; finish it with --resume", journal.string());
    }
    parts.push_back({.file = file, .dataset = store::read_result(file)});
    if (!seen.insert(fs::canonical(file)).second) throw InputError("this file is given twice", file);
  }
  return parts;
}

std::size_t count(const sweep::Dataset& dataset, const char* group, const char* axis) {
  const sweep::Group* found = dataset.find_group(group);
  const sweep::Axis* labels = found == nullptr ? nullptr : found->find_axis(axis);
  return labels == nullptr ? 0 : labels->size();
}

void tell(const std::string& output, const sweep::MergedResult& merged, std::size_t files) {
  for (const auto& note : merged.notes) fmt::print(stderr, "quantbound: note: {}\n", note);
  const auto title = sweep::text_attribute(merged.dataset.root.attributes, "title").value_or("");
  fmt::print("{} from {}: {}\n", output, counted(files, "file"), title);
  if (const std::size_t failures = count(merged.dataset, "failures", "failure"); failures > 0) {
    fmt::print("{} of work failed in them; quantbound show {} says which and why\n", counted(failures, "piece"),
               output);
  }
}

int run_merge(const Call& call) {
  const auto start = std::chrono::system_clock::now();
  const auto& files = call.values["input"].as<std::vector<std::string>>();
  if (call.values.count("output") == 0) throw InputError("merge needs -o FILE for its result", "command line");
  const auto output = call.values["output"].as<std::string>();
  check_output(output);
  sweep::MergedResult merged = sweep::merge_results(read_parts(files));
  add_run(merged.dataset.group("provenance"), command_line(call), start);
  store::write_result(output, merged.dataset);
  tell(output, merged, files.size());
  return done;
}

}  // namespace

const Verb merge_verb{
    .name = "merge",
    .arguments = "RESULTS...",
    .summary = "one result file from those of several studies, or of the parts of one",
    .options = merge_options,
    .run = run_merge,
    .inputs = Inputs::many,
    .description =
        R"(Axes become the union of the labels of all parts. Parts of one study, cut along any axis, become
what the study gives at once. Where no part has a combination, numbers are unknown and the status
is skipped. Parts that contradict each other are refused, with the labels.
)",
    .files = R"(  RESULTS  finished result files of quantbound sweep, or of quantbound merge
)",
    .examples = R"(  quantbound merge quickstart.h5 ranks.h5 -o both.h5
      two results of sweep as one file
)"};

}  // namespace quantbound::apps
