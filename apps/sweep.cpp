// quantbound sweep: the whole study, under mpirun or alone. Rank 0 reads, checks and tells; every rank computes; the
// journal of each rank makes stopping harmless; rank 0 folds the journals into the result file.
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/version.hpp"
#include "quantbound/parallel/affinity.hpp"
#include "quantbound/parallel/collective.hpp"
#include "quantbound/parallel/scheduler.hpp"
#include "quantbound/parallel/session.hpp"
#include "quantbound/parallel/stop_token.hpp"
#include "quantbound/store/journal.hpp"
#include "quantbound/store/result_file.hpp"
#include "quantbound/sweep/assemble.hpp"
#include "quantbound/sweep/task.hpp"

#include "failure.hpp"
#include "network_options.hpp"
#include "progress.hpp"
#include "text_table.hpp"
#include "verb.hpp"

namespace quantbound::apps {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::system_clock;

options::options_description sweep_options() {
  options::options_description all("\nOptions", help_width);
  auto add = all.add_options();
  add("output,o", options::value<std::string>()->value_name("FILE"),
      "result file (default: NAME.h5, NAME from the study)");
  add("resume", options::bool_switch(), "continue an interrupted sweep of the same study");
  add("max-time", options::value<double>()->value_name("MINUTES"),
      "stop after this many minutes, with exit code 75 and all progress kept");
  add("threads", options::value<int>()->value_name("N"),
      "OpenMP threads of each rank (default: OMP_NUM_THREADS, else what its processors allow)");
  add("schedule", options::value<std::string>()->value_name("S"), "static or dynamic (default: static up to 4 ranks)");
  add("set", options::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "change one key of the study, e.g. --set quantization.bits=[4,8]");
  add("help,h", "this text");
  return all;
}

struct Settings {
  std::string study;
  std::vector<sweep::Override> overrides;
  std::optional<std::string> output, schedule;
  std::optional<double> max_minutes;
  std::optional<int> threads;
  bool resume = false;
  std::string command_line;
};

template <class T>
std::optional<T> given(const options::variables_map& values, const char* key) {
  return values.count(key) != 0 ? std::optional(values[key].as<T>()) : std::nullopt;
}

Settings read_settings(const Call& call) {
  Settings settings{.study = call.values["input"].as<std::string>()};
  for (const auto& text : given<std::vector<std::string>>(call.values, "set").value_or(std::vector<std::string>())) {
    settings.overrides.push_back(sweep::parse_override(text));
  }
  settings.output = given<std::string>(call.values, "output");
  settings.schedule = given<std::string>(call.values, "schedule");
  settings.max_minutes = given<double>(call.values, "max-time");
  settings.threads = read_threads(call.values);
  settings.resume = call.values["resume"].as<bool>();
  if (settings.schedule && *settings.schedule != "static" && *settings.schedule != "dynamic") {
    throw core::InputError(fmt::format("--schedule is static or dynamic, not '{}'", *settings.schedule),
                           "command line");
  }
  if (settings.max_minutes && *settings.max_minutes <= 0.0) {
    throw core::InputError("--max-time must be positive", "command line");
  }
  for (int i = 0; i < call.argc; ++i) settings.command_line += (i == 0 ? "" : " ") + std::string(call.argv[i]);
  return settings;
}

/// The output can be created, and --resume and what is there agree. Returns true when the result is complete already.
bool check_output(const fs::path& output, const sweep::Plan& plan, bool resume) {
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder))
    throw core::InputError("the folder of the output does not exist; create it", folder.string());
  if (fs::is_directory(output))
    throw core::InputError("the output is a folder; name a file with --output", output.string());
  if (access(folder.c_str(), W_OK | X_OK) != 0 || (fs::exists(output) && access(output.c_str(), W_OK) != 0)) {
    throw core::InputError("the output cannot be written; choose another place with --output", output.string());
  }
  const fs::path journal = store::journal_directory(output);
  if (resume && fs::exists(output)) {
    const auto attributes = store::read_result_attributes(output);
    if (sweep::text_attribute(attributes, "study_hash") != plan.hash) {
      throw core::InputError(
          "--resume, but the output belongs to another study or to changed input files; choose another --output",
          output.string());
    }
    return !fs::exists(journal);
  }
  if (!resume && fs::exists(journal)) {
    throw core::InputError(
        "an interrupted sweep left its journal here; continue it with --resume, or remove the folder",
        journal.string());
  }
  return false;
}

std::vector<std::size_t> missing_tasks(const sweep::Plan& plan, const store::JournalReader& journal) {
  const std::set<std::uint64_t> finished(journal.keys().begin(), journal.keys().end());
  std::vector<std::size_t> missing;
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) {
    if (!finished.contains(t)) missing.push_back(t);
  }
  return missing;
}

/// Threads for this rank: as asked, as OMP_NUM_THREADS says, or as many as its processors allow.
int choose_threads(parallel::Session& session, const std::optional<int>& asked) {
  if (asked) return *asked;
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return omp_get_max_threads();
  const auto bindings = parallel::gather_bindings(session, 1);
  return parallel::advised_threads(bindings, session.rank());
}

std::vector<parallel::Binding> report_binding(parallel::Session& session, int threads) {
  auto bindings = parallel::gather_bindings(session, threads);
  if (session.is_root()) {
    fmt::print(stderr, "quantbound: {}\n", parallel::describe(bindings));
    for (const auto& warning : parallel::binding_warnings(bindings))
      fmt::print(stderr, "quantbound: warning: {}\n", warning);
  }
  return bindings;
}

struct RunFacts {
  std::string schedule;
  std::vector<parallel::Binding> bindings;
  Clock::time_point start;
  std::size_t tasks_run = 0;
};

void add_text(sweep::Group& group, const char* name, std::string_view value) {
  sweep::set_attribute(group.attributes, name, std::string(value));
}

/// Everything that may differ between two equal runs.
void add_provenance(sweep::Dataset& dataset, const Settings& settings, const RunFacts& facts) {
  auto& group = dataset.group("provenance");
  const core::Version version = core::version();
  add_text(group, "software", "quantbound");
  add_text(group, "version", version.version);
  add_text(group, "commit", version.commit);
  add_text(group, "compiler", version.compiler);
  add_text(group, "build_type", version.build_type);
  add_text(group, "instruction_set", version.instruction_set);
  add_text(group, "mpi_library", parallel::mpi_library());
  add_text(group, "hdf5", version.hdf5);
  add_text(group, "command_line", settings.command_line);
  add_text(group, "schedule", facts.schedule);
  add_text(group, "start", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(facts.start)));
  add_text(group, "end", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(Clock::now())));
  sweep::set_attribute(group.attributes, "ranks", static_cast<std::int64_t>(facts.bindings.size()));
  sweep::set_attribute(group.attributes, "tasks_run", static_cast<std::int64_t>(facts.tasks_run));
  std::vector<std::int64_t> ranks, threads;
  std::vector<std::string> hosts;
  for (std::size_t r = 0; r < facts.bindings.size(); ++r) {
    ranks.push_back(static_cast<std::int64_t>(r));
    hosts.push_back(facts.bindings[r].host);
    threads.push_back(facts.bindings[r].threads);
  }
  group.add_axis({.name = "rank", .labels = ranks, .attributes = {}});
  group.add_variable({.name = "host", .dimensions = {"rank"}, .data = hosts, .attributes = {}, .fill = {}});
  group.add_variable({.name = "threads", .dimensions = {"rank"}, .data = threads, .attributes = {}, .fill = {}});
}

/// Journals to result file, on rank 0. Returns how many units failed.
std::size_t write_results(const fs::path& output, const sweep::Plan& plan, const Settings& settings,
                          const RunFacts& facts) {
  const fs::path journal = store::journal_directory(output);
  const store::JournalReader records(journal, plan.hash);
  sweep::Assembler assembler(plan);
  records.for_each([&](std::uint64_t key, std::span<const std::byte> payload) {
    assembler.add(static_cast<std::size_t>(key), sweep::record_from_bytes(payload));
  });
  sweep::Dataset dataset = assembler.finish();
  add_provenance(dataset, settings, facts);
  store::write_result(output, dataset);
  for (const auto& note : assembler.notes()) {
    fmt::print(stderr, "quantbound: note: {} is not applied to {}: {}\n", to_string(note.method),
               plan.networks[static_cast<std::size_t>(note.network)].study.label, note.text);
  }
  store::remove_journals(journal);
  return assembler.failures().size();
}

void tell_end(const fs::path& output, std::size_t failures) {
  if (failures == 0) {
    fmt::print("{0} is complete; see it with: quantbound show {0}\n", output.string());
  } else {
    fmt::print("{0} is written, but {1} of work failed; quantbound show {0} says which and why\n", output.string(),
               counted(failures, "piece"));
  }
}

/// What all ranks agreed on before anything is computed.
struct Work {
  sweep::Plan plan;
  fs::path output;
  std::vector<std::size_t> missing;
};

/// Runs what is missing. A rank that cannot keep its records stops all of them in order, so that the others keep
/// theirs.
Exit compute(parallel::Session& session, const Work& work, const std::string& schedule, parallel::StopToken& stop) {
  const sweep::Plan& plan = work.plan;  // no structured binding: clang 14 cannot capture one
  const std::vector<std::size_t>& missing = work.missing;
  std::optional<store::JournalWriter> journal;
  const auto open = [&] { journal.emplace(store::journal_directory(work.output), session.rank(), plan.hash); };
  if (const Exit code = on_every_rank(session, open); code != done) return code;
  sweep::TaskRunner runner(plan, [&] { return stop.stop_requested(); });
  std::vector<double> costs;
  costs.reserve(missing.size());
  for (const auto task : missing) costs.push_back(plan.tasks[task].cost);
  std::exception_ptr failure;
  bool dropped = false;  // a task that the stop cut short
  const auto execute = [&](std::size_t i) {
    try {
      const auto record = runner.run(missing[i]);
      dropped = dropped || !record;
      if (record) journal->append(missing[i], sweep::to_bytes(*record));
    } catch (...) {
      failure = std::current_exception();
      stop.request_stop();
    }
  };
  ProgressPrinter progress(plan.tasks.size() - missing.size(), plan.tasks.size());
  const auto on_progress = [&](const parallel::Progress& p) { progress.update(p.done, p.cost_done, p.cost_total); };
  const auto outcome = schedule == "static" ? parallel::run_static(session, costs, stop, execute, on_progress)
                                            : parallel::run_dynamic(session, costs, stop, execute, on_progress);
  progress.finish();
  const auto close = [&] {
    if (failure) std::rethrow_exception(failure);
    journal->close();
  };
  if (const Exit code = on_every_rank(session, close); code != done) return code;
  const bool complete =
      outcome == parallel::Outcome::finished && parallel::max_over_ranks(session, dropped ? 1 : 0) == 0;
  return complete ? done : stopped_early;
}

/// Fails where this rank reads other files than rank 0.
void require_same(const sweep::Plan& plan, const std::string& hash_of_root) {
  if (plan.hash == hash_of_root) return;
  throw core::InputError(
      "this rank sees another study than rank 0; check that every node reads the same study, networks and samples",
      parallel::local_binding(1).host);
}

int run_sweep(const Call& call) {
  const Settings settings = read_settings(call);
  RunFacts facts{.start = Clock::now()};
  parallel::Session session(call.argc, call.argv);
  parallel::StopToken stop(
      settings.max_minutes ? std::optional(std::chrono::duration<double>(60.0 * *settings.max_minutes)) : std::nullopt);
  Work work;
  Exit code = on_every_rank(
      session, [&] { work.plan = sweep::make_plan(sweep::read_study(settings.study, settings.overrides)); });
  if (code != done) return code;
  work.output = settings.output.value_or(work.plan.study.name + ".h5");
  const std::string hash = parallel::broadcast(session, work.plan.hash);
  bool complete = false;
  code = on_root(session, [&] { complete = check_output(work.output, work.plan, settings.resume); });
  if (code != done) return code;
  if (parallel::max_over_ranks(session, complete ? 1 : 0) == 1) {
    if (session.is_root()) fmt::print("{} is complete already\n", work.output.string());
    return done;
  }
  code = on_every_rank(session, [&] {
    require_same(work.plan, hash);
    const store::JournalReader journal(store::journal_directory(work.output), hash);
    work.missing = missing_tasks(work.plan, journal);
  });  // and everyone has read the journals before anyone writes
  if (code != done) return code;
  const int threads = choose_threads(session, settings.threads);
  omp_set_num_threads(threads);
  facts.bindings = report_binding(session, threads);
  facts.schedule = settings.schedule.value_or(session.size() <= 4 ? "static" : "dynamic");
  facts.tasks_run = work.missing.size();
  code = compute(session, work, facts.schedule, stop);
  if (code == stopped_early && session.is_root()) {
    fmt::print(stderr, "quantbound: stopped early, progress is saved; run the same command again with --resume\n");
  }
  if (code != done) return code;
  std::size_t failures = 0;
  code = on_root(session, [&] { failures = write_results(work.output, work.plan, settings, facts); });
  if (code != done) return code;
  if (session.is_root()) tell_end(work.output, failures);
  return parallel::max_over_ranks(session, failures > 0 ? some_failed : done);
}

}  // namespace

const Verb sweep_verb{.name = "sweep",
                      .arguments = "STUDY",
                      .summary = "evaluate a whole study (TOML), under mpirun or alone, into one HDF5 file",
                      .options = sweep_options,
                      .run = run_sweep,
                      .ranks = Ranks::all};

}  // namespace quantbound::apps
