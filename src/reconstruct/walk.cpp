#include "walk.hpp"

#include "quantbound/core/assert.hpp"

#include "evaluate.hpp"
#include "fisher.hpp"
#include "options.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<LayerParameters> layers_of(const Module& module, std::span<const LayerParameters> layers) {
  std::vector<LayerParameters> result;
  for (const Index layer : module.layers) result.push_back(layers[at(layer)]);
  return result;
}

TrainingOptions training_options(Method method, const Options& options) {
  return {.rounding = {.iterations = options.iterations,
                       .warm_up = options.warm_up,
                       .learning_rate = options.learning_rate,
                       .regularization = options.regularization,
                       .beta_first = options.beta_first,
                       .beta_last = options.beta_last},
          .batch = options.batch,
          .seed = options.seed,
          .drop = method == Method::qdrop ? std::optional(options.drop) : std::nullopt};
}

constexpr double telling_seconds = 0.2;

}  // namespace

Pace::Pace(double seconds) : pause_(seconds), last_(std::chrono::steady_clock::now()) {}

bool Pace::due() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < pause_) return false;
  last_ = now;
  return true;
}

Walk::Walk(const Task& task, std::span<const Module> modules, State& state)
    : task_(task),
      modules_(modules),
      state_(state),
      values_(task.graph, modules, task.calibration),
      telling_(telling_seconds),
      saving_(task.watch.save_seconds) {}

bool Walk::run() {
  const Index done = std::ssize(state_.reports);
  for (Index number = 0; number < done; ++number) replay(number);
  for (Index number = done; number < std::ssize(modules_); ++number) {
    if (!stopped() && solve(number)) continue;
    store();
    return false;
  }
  return true;
}

std::vector<float> Walk::target_of(Index number, const Graph& graph) const {
  const Module& module = modules_[at(number)];
  return evaluate(graph, layers_of(module, task_.original), values_.original(module.input), task_.calibration.count);
}

/// The values behind a module that was done before.
void Walk::replay(Index number) {
  const Module& module = modules_[at(number)];
  const Graph graph = module_graph(task_.graph, module);
  values_.reach(number);
  Pair pair;
  pair.original = target_of(number, graph);
  pair.quantized =
      evaluate(graph, layers_of(module, state_.layers), values_.quantized(module.input), task_.calibration.count);
  values_.finish(number, std::move(pair));
}

ModuleProblem Walk::problem_of(Index number, std::span<const float> target) const {
  const Module& module = modules_[at(number)];
  ModuleProblem problem{.module = module,
                        .graph = module_graph(task_.graph, module),
                        .original = layers_of(module, task_.original),
                        .samples = task_.calibration.count,
                        .original_input = values_.original(module.input),
                        .quantized_input = values_.quantized(module.input),
                        .target = target};
  for (std::size_t i = 0; i < module.layers.size(); ++i) {
    problem.settings.push_back(quantize::at_layer(task_.configuration, module.layers[i], std::ssize(task_.original)));
    problem.grids.push_back(quantize::choose_grids(problem.original[i], problem.settings[i]));
  }
  return problem;
}

/// False where it was stopped: nothing is kept then but the state.
bool Walk::solve(Index number) {
  values_.reach(number);
  std::vector<float> target = target_of(number, module_graph(task_.graph, modules_[at(number)]));
  const ModuleProblem problem = problem_of(number, target);
  const BiasCorrection correction = task_.options.bias_correction;
  Candidate kept = make_candidate(problem, rounded_weights(problem), correction);
  ModuleReport report{.module = problem.module, .loss_round = kept.loss, .loss = kept.loss};
  if (task_.method != Method::round) {
    auto weights = found_weights(problem, std::move(kept), report);
    if (!weights) return false;
    Candidate found = make_candidate(problem, std::move(*weights), correction);
    report.kept_rounding = found.loss >= report.loss_round;
    kept = report.kept_rounding ? make_candidate(problem, rounded_weights(problem), correction) : std::move(found);
    report.loss = kept.loss;
  }
  Pair pair{std::move(target), std::move(kept.output)};
  finish(problem, std::move(report), std::move(kept));
  values_.finish(number, std::move(pair));
  return true;
}

std::optional<std::vector<std::vector<double>>> Walk::found_weights(const ModuleProblem& problem, Candidate nearest,
                                                                    ModuleReport& report) {
  if (task_.method != Method::gptq) return trained_weights(problem, std::move(nearest), report);
  const GptqOptions options{.damping = task_.options.damping, .order = task_.options.order};
  return {
      {gptq(problem.original.front().weights, moments_of(problem), problem.grids.front().weights, options).weights}};
}

std::optional<std::vector<std::vector<double>>> Walk::trained_weights(const ModuleProblem& problem, Candidate nearest,
                                                                      ModuleReport& report) {
  const Options& options = task_.options;
  TrainingOptions settings = training_options(task_.method, options);
  std::vector<float> fisher;
  if (options.weighting == Weighting::fisher) {
    fisher = fisher_weights(task_.graph, task_.original, problem.module, problem.target, problem.samples, options.seed);
  }
  if (options.regularization_unit == RegularizationUnit::loss) {
    settings.rounding.regularization *= mean_loss(problem.graph.output_shape(), problem.target, nearest.output, fisher,
                                                  problem.samples, problem.module.name);
  }
  nearest = {};  // a training needs the memory; made again where it is wanted
  const auto training = uses_moments(task_.method, options) && is_quadratic(problem)
                            ? train_on_moments(problem, settings)
                            : train_on_batches(problem, fisher, settings);
  if (!state_.training.empty()) training->restore(state_.training);
  while (training->iteration() < options.iterations) {
    if (stopped()) {
      state_.training = training->state();
      return std::nullopt;
    }
    training->advance();
    if (telling_.due()) tell(problem.module, training->iteration(), training->loss());
    if (task_.watch.save && saving_.due()) {
      state_.training = training->state();
      store();
    }
  }
  report.iterations = training->iteration();
  report.settled = training->fraction_settled();
  return training->rounded();
}

void Walk::finish(const ModuleProblem& problem, ModuleReport report, Candidate kept) {
  QUANTBOUND_ASSERT(problem.module.layers.front() == std::ssize(state_.layers), problem.module.layers.front(),
                    state_.layers.size());
  for (LayerParameters& layer : kept.layers) state_.layers.push_back(std::move(layer));
  state_.training.clear();
  tell(problem.module, report.iterations, report.loss);
  state_.reports.push_back(std::move(report));
}

void Walk::store() {
  if (task_.watch.save) task_.watch.save(to_bytes(state_, task_.identity));
}

void Walk::tell(const Module& module, Index iteration, double loss) const {
  if (!task_.watch.progress) return;
  task_.watch.progress({.pass = state_.pass,
                        .passes = task_.passes,
                        .module = std::ssize(state_.reports),
                        .modules = std::ssize(modules_),
                        .iteration = iteration,
                        .iterations = is_trained(task_.method) ? task_.options.iterations : 0,
                        .loss = loss,
                        .name = module.name});
}

}  // namespace quantbound::reconstruct::detail
