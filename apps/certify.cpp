// quantbound certify: how far f_q can stray from f on a domain, proved, for one pair: by one pass of every method, and
// by a branch and bound that all ranks share.
#include <chrono>
#include <exception>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/writer.hpp"
#include "quantbound/parallel/launcher_rank.hpp"
#include "quantbound/parallel/stop_token.hpp"

#include "certify_checkpoint.hpp"
#include "certify_log.hpp"
#include "certify_problem.hpp"
#include "certify_report.hpp"
#include "certify_search.hpp"
#include "failure.hpp"
#include "network_options.hpp"
#include "team.hpp"

namespace quantbound::apps {
namespace {

using certify::Certificate;
using certify::Method;
using network::Box;
using Clock = std::chrono::steady_clock;

/// Everything the stages of one run share.
struct Run {
  Team& team;
  const CertifySettings& settings;
  const Problem& problem;
  parallel::StopToken& stop;
  CertifyAnswer answer;
};

core::Bytes to_bytes(const Certificate& c) {
  core::ByteWriter writer;
  writer.values(c.difference.low).values(c.difference.high).value(c.boxes).value(c.seconds).value(c.timed_out);
  return writer.take();
}

Certificate certificate_from(std::span<const std::byte> bytes) {
  core::ByteReader reader(bytes);
  Certificate c;
  c.difference.low = reader.values<double>();
  c.difference.high = reader.values<double>();
  c.boxes = reader.value<std::int64_t>();
  c.seconds = reader.value<double>();
  c.timed_out = reader.value<bool>();
  return c;
}

/// A smaller box of differences, or the first.
void narrow(CertifyAnswer& answer, const Box& difference) {
  answer.difference = answer.difference.low.empty() ? difference : certify::intersection(answer.difference, difference);
}

/// Proves the deviation at a point of the region.
void consider(Run& run, const std::vector<double>& x) {
  const Box at = certify::difference_at(run.problem.pair, x);
  double attained = 0.0;
  bool outside = false;
  for (std::size_t i = 0; i < at.low.size(); ++i) {
    attained = std::max({attained, at.low[i], -at.high[i]});
    if (run.problem.target)
      outside = outside || at.low[i] > run.problem.target->high[i] || at.high[i] < run.problem.target->low[i];
  }
  // A point that refutes what was asked counts for more than one with a larger deviation.
  if (outside != run.answer.refuted ? outside : attained > run.answer.lower) run.answer.witness = x;
  run.answer.lower = std::max(run.answer.lower, attained);
  run.answer.refuted = run.answer.refuted || outside;
}

void attack(Run& run) {
  if (run.settings.attack.starts == 0) return;
  const auto& pair = run.problem.pair;
  observe::AttackOptions options = run.settings.attack;
  options.stop = [&] { return run.stop.stop_requested(); };
  const auto found = observe::attack(pair.graph, pair.f, pair.fq, run.problem.region, options);  // holds if cut short
  run.answer.attacked = found.deviation;
  consider(run, found.point);
}

/// The methods of one pass: they need nothing of each other, so ranks take turns.
void run_methods(Run& run) {
  std::vector<Method> methods;
  for (const Method method : run.settings.methods)
    if (method != Method::branch_and_bound) methods.push_back(method);
  certify::MethodOptions limits = run.settings.limits;
  limits.stop = [&] { return run.stop.stop_requested(); };
  core::ByteWriter mine;
  for (std::size_t i = 0; i < methods.size(); ++i) {
    if (static_cast<int>(i) % run.team.size() != run.team.rank()) continue;
    mine.values(to_bytes(certify::certify(methods[i], run.problem.pair, run.problem.region, limits)));
  }
  const auto all = run.team.share(mine.take());
  std::vector<core::ByteReader> readers(all.begin(), all.end());
  for (std::size_t i = 0; i < methods.size(); ++i) {
    const auto bytes = readers[i % readers.size()].values<std::byte>();
    MethodResult result{.method = methods[i], .certificate = certificate_from(bytes), .remark = {}};
    if (result.certificate.timed_out) result.remark = "ended early, with what is proved by then";
    narrow(run.answer, result.certificate.difference);
    run.answer.results.push_back(std::move(result));
  }
}

std::string remark(const Problem& problem, const CertifySettings& settings, const SearchView& view) {
  switch (view.end) {
    case SearchEnd::converged:
      if (problem.target) return fmt::format("ended after {} boxes", view.boxes);
      if (view.upper > (1.0 + settings.limits.tolerance) * view.lower)
        return fmt::format("nothing left to divide after {} boxes", view.boxes);
      return fmt::format("within {:g} % after {} boxes", 100.0 * settings.limits.tolerance, view.boxes);
    case SearchEnd::out_of_time:
      return fmt::format("ended by --max-seconds after {} boxes, {} open", view.boxes, view.open);
    case SearchEnd::out_of_boxes:
      return fmt::format("ended by --max-boxes after {} boxes, {} open", view.boxes, view.open);
    case SearchEnd::stopped:
    case SearchEnd::running:
      break;
  }
  return fmt::format("stopped after {} boxes, {} open", view.boxes, view.open);
}

/// Saves what the search of all ranks knows, on the disk of rank 0. Often enough to lose little, seldom enough to cost
/// little.
class Saver {
 public:
  Saver(const Run& run) : path_(run.settings.checkpoint), hash_(problem_hash(run.problem, run.settings)) {}

  bool is_due() const { return path_ && seconds_since(last_) > std::max(interval, 20.0 * cost_); }
  /// Collective.
  void save(Run& run, SharedSearch& search) {
    if (!path_) return;
    const auto start = Clock::now();
    const core::Bytes state = search.save();
    if (run.team.is_root()) write_checkpoint(*path_, hash_, state);
    last_ = Clock::now();
    cost_ = seconds_since(start);
  }
  /// Returns false when there is nothing to go on from. Collective.
  bool load(Run& run, SharedSearch& search) const {
    const bool there = path_ && std::filesystem::exists(*path_);
    const core::Bytes told = run.team.broadcast(core::ByteWriter().value(there).take());
    if (!core::ByteReader(told).value<bool>()) return false;
    search.restore(run.team.is_root() ? read_checkpoint(*path_, hash_) : core::Bytes());
    return true;
  }
  void remove() const {
    std::error_code ignored;  // a checkpoint that stays is refused next time, with its name
    if (path_) std::filesystem::remove(*path_, ignored);
  }

 private:
  static constexpr double interval = 30.0;
  static double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }
  std::optional<std::filesystem::path> path_;
  std::string hash_;
  Clock::time_point last_ = Clock::now();
  double cost_ = 0.0;
};

certify::BranchOptions branch_options(const CertifySettings& settings, const Problem& problem, int ranks) {
  return {.split = settings.split,
          .tolerance = settings.limits.tolerance,
          .target = problem.target,
          .max_bytes = settings.limits.max_bytes / static_cast<std::size_t>(ranks),
          .seed = settings.seed};
}

SearchView drive(Run& run, SharedSearch& search, Saver& saver) {
  std::optional<SearchLog> log;
  if (run.team.is_root())
    log.emplace(run.settings.trace, run.settings.resume ? SearchLog::Trace::appends : SearchLog::Trace::fresh);
  const SearchLimits limits{run.settings.limits.max_seconds, run.settings.limits.max_boxes};
  SearchView view;
  while (view.end == SearchEnd::running) {
    view = search.round(limits, {.stop = run.stop.stop_requested(), .save = run.team.is_root() && saver.is_due()});
    if (log) log->update(view);
    const bool ended_early = view.end != SearchEnd::running && view.end != SearchEnd::converged;
    if (ended_early || (view.save_now && view.end == SearchEnd::running)) saver.save(run, search);
  }
  if (log) log->finish();
  return view;
}

void run_search(Run& run) {
  const auto start = Clock::now();
  SharedSearch search(run.team, run.problem.pair, run.problem.region,
                      branch_options(run.settings, run.problem, run.team.size()));
  Saver saver(run);
  if (run.settings.resume && !saver.load(run, search) && run.team.is_root())
    fmt::print(stderr, "quantbound: no checkpoint yet, the search starts from the beginning\n");
  if (!run.answer.witness.empty()) search.propose(run.answer.witness);
  const SearchView view = drive(run, search, saver);
  if (view.end == SearchEnd::converged && run.team.is_root()) saver.remove();
  MethodResult result{.method = Method::branch_and_bound, .certificate = {}, .remark = {}};
  result.certificate = {.difference = search.difference(), .lower = view.lower, .boxes = view.boxes};
  result.certificate.seconds = search.earlier_seconds() + std::chrono::duration<double>(Clock::now() - start).count();
  result.remark = remark(run.problem, run.settings, view);
  narrow(run.answer, result.certificate.difference);
  if (!search.witness().empty()) consider(run, search.witness());
  run.answer.search_end = view.end;
  run.answer.seconds += search.earlier_seconds();
  run.answer.results.push_back(std::move(result));
}

/// The exit code, with a word on stderr where it is not 0.
Exit outcome(const Run& run) {
  const auto end = run.answer.search_end.value_or(SearchEnd::converged);
  if (end == SearchEnd::converged) return done;
  if (run.settings.checkpoint) {
    if (run.team.is_root())
      fmt::print(stderr, "quantbound: stopped early, progress is saved; run the same command again with --resume\n");
    return stopped_early;
  }
  if (end != SearchEnd::stopped) return done;
  if (run.team.is_root()) print_error("stopped by a signal; with --checkpoint FILE the search can go on later");
  return failed;
}

int run_certify(const Call& call) {
  const auto start = Clock::now();
  CertifySettings settings = read_certify_settings(call.values);
  if (!parallel::launched() && parallel::launcher_rank() != 0)
    return done;  // several processes without MPI: one answers
  Team team(call);
  parallel::StopToken stop;
  Problem problem;
  Exit code = team.on_every_rank([&] {
    problem = read_problem(call.values, settings);
    settle_methods(settings, problem);
  });
  if (code == done)
    code = team.on_root([&] {
      check_outputs(settings);
      if (settings.resume && std::filesystem::exists(*settings.checkpoint))
        static_cast<void>(read_checkpoint(*settings.checkpoint, problem_hash(problem, settings)));
      if (settings.merged) network::write_onnx(merged_network(problem.pair), *settings.merged);
    });
  if (code != done) return code;
  omp_set_num_threads(team.choose_threads(settings.threads));
  Run run{.team = team, .settings = settings, .problem = problem, .stop = stop, .answer = {}};
  if (team.is_root()) attack(run);
  run_methods(run);
  if (settings.searches()) run_search(run);
  run.answer.seconds += std::chrono::duration<double>(Clock::now() - start).count();
  if (team.is_root())
    settings.json ? print_json(problem, settings, run.answer) : print_text(problem, settings, run.answer);
  return outcome(run);
}

}  // namespace

const Verb certify_verb{
    .name = "certify",
    .arguments = "NETWORK",
    .summary = "how far the quantized network can stray on a domain, proved, with the gap to what is attained",
    .options = certify_options,
    .run = run_certify,
    .ranks = Ranks::all,
    .description =
        R"(Every method proves an upper bound of |f_q - f| over the domain, rounding errors included; the
answer is the least. branch_and_bound closes the gap to a deviation that is attained, on all ranks
of mpirun. SIGTERM, SIGUSR1 and Ctrl-C end the search; what is proved by then is told.
)",
    .files = R"(  NETWORK  .onnx (opset 7 to 21), or .nnet, which brings its own domain
)",
    .examples =
        R"(  quantbound certify configs/models/digits_mlp_5.onnx --bits 6 --granularity channel \
      --around configs/models/digits_test_x.npy:3 --scale 16 --radius 0.02 --clip 0 1 \
      --threshold 0.5
      is the deviation at most 0.5 for every image near this one?
  quantbound certify configs/models/digits_cnn.onnx --box 0 1 --json --attack 0 \
      --method interval,difference_crown
      two methods and no search from below, for a script
)",
    .exits = R"(  75  stopped by a signal; with --checkpoint run again with --resume
)"};

}  // namespace quantbound::apps
