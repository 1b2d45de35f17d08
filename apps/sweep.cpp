// quantbound sweep: the whole study, under mpirun or alone. Rank 0 reads, checks and tells; every rank computes; the
// journal of each rank makes stopping harmless; rank 0 folds the journals into the result file.
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"
#include "quantbound/parallel/affinity.hpp"
#include "quantbound/parallel/collective.hpp"
#include "quantbound/parallel/scheduler.hpp"
#include "quantbound/parallel/session.hpp"
#include "quantbound/parallel/stop_token.hpp"
#include "quantbound/store/journal.hpp"
#include "quantbound/store/result_file.hpp"
#include "quantbound/store/shelf_directory.hpp"
#include "quantbound/sweep/assemble.hpp"
#include "quantbound/sweep/dataset_schema.hpp"
#include "quantbound/sweep/task.hpp"

#include "failure.hpp"
#include "network_options.hpp"
#include "progress.hpp"
#include "run_record.hpp"
#include "text_table.hpp"
#include "verb.hpp"

namespace quantbound::apps {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::system_clock;

options::options_description sweep_options() {
  options::options_description all("\nOptions", help_width);
  auto add = all.add_options();
  add("output,o", options::value<std::string>()->value_name("FILE.h5"),
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
  settings.command_line = command_line(call);
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

/// Whether every task of the network is finished: its weights are not needed any more.
std::vector<bool> finished_networks(const sweep::Plan& plan, const std::set<std::uint64_t>& finished) {
  std::vector<bool> result(plan.networks.size(), true);
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) {
    if (!finished.contains(t)) result[static_cast<std::size_t>(plan.tasks[t].network)] = false;
  }
  return result;
}

/// What is not in the journal, and reconstructions whose weights are needed but gone.
std::vector<std::size_t> missing_tasks(const sweep::Plan& plan, const store::JournalReader& journal,
                                       const sweep::Shelf& shelf) {
  const std::set<std::uint64_t> finished(journal.keys().begin(), journal.keys().end());
  const auto over = finished_networks(plan, finished);
  std::vector<std::size_t> missing;
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) {
    const sweep::Task& task = plan.tasks[t];
    const bool needed = reconstructs(task) && !over[static_cast<std::size_t>(task.network)];
    if (!finished.contains(t) || (needed && weights_are_missing(plan, shelf, task))) missing.push_back(t);
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

/// Everything that may differ between two equal runs.
void add_provenance(sweep::Dataset& dataset, const Settings& settings, const RunFacts& facts) {
  auto& group = dataset.group("provenance");
  add_run(group, settings.command_line, facts.start);
  sweep::set_attribute(group.attributes, "schedule", facts.schedule);
  sweep::set_attribute(group.attributes, "ranks", static_cast<std::int64_t>(facts.bindings.size()));
  sweep::set_attribute(group.attributes, "tasks_run", static_cast<std::int64_t>(facts.tasks_run));
  std::vector<std::int64_t> ranks, threads;
  std::vector<std::string> hosts;
  for (std::size_t r = 0; r < facts.bindings.size(); ++r) {
    ranks.push_back(static_cast<std::int64_t>(r));
    hosts.push_back(facts.bindings[r].host);
    threads.push_back(facts.bindings[r].threads);
  }
  using sweep::Place;
  group.add_axis(sweep::make_axis(Place::provenance, "rank", ranks));
  group.add_variable(sweep::make_variable(Place::provenance, "host", hosts));
  group.add_variable(sweep::make_variable(Place::provenance, "threads", threads));
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
  store::ShelfDirectory(journal, plan.hash).clear();
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

/// "resnet20, brecq/channel/2/seed 1: module 4/9 (layer2.0.conv1), iteration 4000/20000, loss 0.0123, 3 min 20 s left"
class ReconstructionTeller {
 public:
  explicit ReconstructionTeller(const sweep::Plan& plan) : plan_(plan) {}

  std::string tell(const sweep::ReconstructionProgress& at) {
    const auto& module = at.module;
    const double within =
        module.iterations > 0 ? static_cast<double>(module.iteration) / static_cast<double>(module.iterations) : 1.0;
    const double fraction = (static_cast<double>(module.module) + within) / static_cast<double>(module.modules);
    const auto now = std::chrono::steady_clock::now();
    if (std::pair(at.network, at.configuration) != task_) {
      task_ = {at.network, at.configuration};
      start_ = now;
      first_fraction_ = fraction;
    }
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const double gone = fraction - first_fraction_;
    const std::string iteration =
        module.iterations > 0 ? fmt::format(", iteration {}/{}", module.iteration, module.iterations) : "";
    return fmt::format("{}, {}: module {}/{} ({}){}, loss {:.4g}, {} left",
                       plan_.networks[static_cast<std::size_t>(at.network)].study.label,
                       label(plan_.study, at.configuration), module.module + 1, module.modules, module.name, iteration,
                       module.loss, gone > 0.0 ? duration(elapsed * (1.0 - fraction) / gone) : "?");
  }

 private:
  const sweep::Plan& plan_;
  std::pair<network::Index, network::Index> task_{-1, -1};
  std::chrono::steady_clock::time_point start_;
  double first_fraction_ = 0.0;
};

/// One rank's part of computing.
class Worker {
 public:
  Worker(parallel::Session& session, const Work& work, std::string schedule, parallel::StopToken& stop)
      : session_(session),
        work_(work),
        schedule_(std::move(schedule)),
        stop_(stop),
        shelf_(store::journal_directory(work.output), work.plan.hash),
        teller_(work.plan),
        runner_(work.plan, shelf_, watch()) {}

  /// Weights are reconstructed first; when all ranks have come to the end of that, everything else is computed.
  Exit compute() {
    const auto open = [&] {
      journal_.emplace(store::journal_directory(work_.output), session_.rank(), work_.plan.hash);
    };
    if (const Exit code = on_every_rank(session_, open); code != done) return code;
    std::vector<std::size_t> first, second;
    for (const auto task : work_.missing) (reconstructs(work_.plan.tasks[task]) ? first : second).push_back(task);
    const std::size_t finished = work_.plan.tasks.size() - work_.missing.size();
    const bool complete = run(first, finished) && run(second, finished + first.size());
    const auto close = [&] {
      if (failure_) std::rethrow_exception(failure_);
      journal_->close();
    };
    if (const Exit code = on_every_rank(session_, close); code != done) return code;
    return complete ? done : stopped_early;
  }

 private:
  sweep::TaskWatch watch() {
    sweep::TaskWatch watch{.stop = [this] { return stop_.stop_requested(); }, .progress = {}};
    // One rank that computes speaks of its own task: with the dynamic schedule rank 0 does not.
    const bool speaks = session_.rank() == (schedule_ == "dynamic" && session_.size() > 1 ? 1 : 0);
    if (speaks) {
      watch.progress = [this](const sweep::ReconstructionProgress& at) {
        const std::string said = teller_.tell(at);
        if (progress_) progress_->running(said);
      };
    }
    return watch;
  }

  /// A rank that cannot keep its records stops all of them in order, so that the others keep theirs.
  void execute(std::size_t task) {
    try {
      const auto record = runner_.run(task);
      dropped_ = dropped_ || !record;
      if (record) journal_->append(task, sweep::to_bytes(*record));
    } catch (...) {
      failure_ = std::current_exception();
      stop_.request_stop();
    }
  }

  /// Whether all of the tasks were finished, on every rank alike. All ranks come to the end together.
  bool run(const std::vector<std::size_t>& tasks, std::size_t finished) {
    if (tasks.empty()) return true;
    std::vector<double> costs;
    costs.reserve(tasks.size());
    for (const auto task : tasks) costs.push_back(work_.plan.tasks[task].cost);
    progress_.emplace(finished, work_.plan.tasks.size());
    const auto on_progress = [&](const parallel::Progress& p) { progress_->update(p.done, p.cost_done, p.cost_total); };
    const auto run = [&](std::size_t i) { execute(tasks[i]); };
    const auto outcome = schedule_ == "static" ? parallel::run_static(session_, costs, stop_, run, on_progress)
                                               : parallel::run_dynamic(session_, costs, stop_, run, on_progress);
    progress_->finish();
    // A failing rank has asked all others to stop, but perhaps after their last task.
    const bool here = outcome == parallel::Outcome::finished && !dropped_ && !failure_;
    return parallel::max_over_ranks(session_, here ? 0 : 1) == 0;
  }

  parallel::Session& session_;
  const Work& work_;
  std::string schedule_;
  parallel::StopToken& stop_;
  store::ShelfDirectory shelf_;
  ReconstructionTeller teller_;
  sweep::TaskRunner runner_;
  std::optional<store::JournalWriter> journal_;
  std::optional<ProgressPrinter> progress_;
  std::exception_ptr failure_;
  bool dropped_ = false;  ///< a task that the stop cut short
};

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
    const store::ShelfDirectory shelf(store::journal_directory(work.output), hash);
    work.missing = missing_tasks(work.plan, journal, shelf);
  });  // and everyone has read the journals before anyone writes
  if (code != done) return code;
  const int threads = choose_threads(session, settings.threads);
  omp_set_num_threads(threads);
  facts.bindings = report_binding(session, threads);
  facts.schedule = settings.schedule.value_or(session.size() <= 4 ? "static" : "dynamic");
  facts.tasks_run = work.missing.size();
  code = Worker(session, work, facts.schedule, stop).compute();
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

const Verb sweep_verb{
    .name = "sweep",
    .arguments = "STUDY",
    .summary = "evaluate a whole study (TOML), under mpirun or alone, into one HDF5 file",
    .options = sweep_options,
    .run = run_sweep,
    .ranks = Ranks::all,
    .description =
        R"(Every network of the study is quantized in every configuration; each pair is bounded by the
theories, certified, measured and attacked as the study says. The result is the same bytes whatever
the number of ranks and threads and however often the sweep was interrupted. SIGTERM, SIGUSR1 and
Ctrl-C stop it as --max-time does.
)",
    .files = R"(  STUDY            what to compute, TOML; names of files in it are relative to its folder
  FILE             the result, HDF5, for quantbound show, xarray, h5py and every reader of netCDF-4
  FILE.journal/    what is done so far, one file per rank; --resume reads it, the end removes it
  FILE.partial     the result while it is written; renamed when it is whole
)",
    .examples = R"(  quantbound sweep configs/quickstart.toml --output quickstart.h5
      alone, with all threads
  mpirun -n 2 quantbound sweep configs/quickstart.toml -o ranks.h5 --set quantization.bits=[4,8]
      on two ranks, with other bits than the study says
  quantbound sweep configs/quickstart.toml --output quickstart.h5 --resume
      goes on where an interrupted sweep stopped; a complete one is left as it is
)",
    .exits = R"(  3   done, but some tasks failed; quantbound show says which and why
  75  stopped early, progress is kept; run again with --resume
)"};

}  // namespace quantbound::apps
