#include "quantbound/certify/branch_and_bound.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <omp.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "branch_dense.hpp"
#include "branch_graph.hpp"
#include "branch_pieces.hpp"

#pragma GCC diagnostic ignored "-Wstringop-overflow"  // false alarm of GCC 12 on ByteWriter's vector::insert

namespace quantbound::certify {

namespace {

using detail::BranchBounder;
using detail::BranchWorker;
using detail::PiecePool;
using detail::PieceView;
using detail::Verdict;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int starting_points = 48;

struct Entry {
  double priority;
  std::uint64_t sequence;
  PiecePool::Id id;

  /// Of two pieces the worse comes first, of equal ones the older.
  bool operator<(const Entry& other) const {
    return priority != other.priority ? priority < other.priority : sequence > other.sequence;
  }
};

constexpr Index few_inputs = 10;  // so many dimensions can be halved often enough to matter

bool has_kinks(const Graph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [](const network::Node& node) {
    using network::ActivationKind;
    const auto* activation = std::get_if<network::Activation>(&node.op);
    return activation != nullptr &&
           (activation->kind == ActivationKind::relu || activation->kind == ActivationKind::clip ||
            activation->kind == ActivationKind::leaky_relu);
  });
}

std::unique_ptr<BranchBounder> make_bounder(const Pair& pair, const Box& region, Split split) {
  if (split == Split::automatic) split = automatic_split(pair);
  if (split == Split::input && detail::not_dense(pair).empty()) return detail::make_dense_bounder(pair);
  return detail::make_graph_bounder(pair, region,
                                    split == Split::input ? detail::GraphSplit::input : detail::GraphSplit::activation);
}

/// The functional 2 i or 2 i + 1 of a deviation.
double functional(std::span<const double> d, std::size_t index) {
  return index % 2 == 0 ? d[index / 2] : -d[index / 2];
}

}  // namespace

Split automatic_split(const Pair& pair) {
  const bool few = tensor::elements(pair.graph.input_shape()) <= few_inputs;
  return few || !has_kinks(pair.graph) ? Split::input : Split::activation;
}

struct BranchAndBound::Impl {
  Impl(const Pair& of_pair, const Box& of_region, const BranchOptions& of_options);

  void start_from_root();
  void advance_batch(std::size_t count);
  std::vector<PiecePool::Id> divide_best(std::size_t count);
  void bound_all(std::span<const PiecePool::Id> pieces);
  void settle(PiecePool::Id id, Verdict verdict);
  void close(PiecePool::Id id);
  void push(PiecePool::Id id);

  bool over_memory() const { return pool.used() * pool.piece_bytes() > options.max_bytes; }
  bool waiting() const { return !heap.empty() || !dive.empty(); }
  double priority(const PieceView& piece) const;
  void set_levels();
  double worst_open() const;
  bool done() const;
  Box hull();
  SearchState state();

  /// What the search wants large at a point: the deviation, or how far it is outside the target.
  struct Objective {
    double value = -infinity;
    std::size_t functional = 0;
  };
  Objective objective(std::span<const double> deviation) const;
  bool prove(std::span<const double> x);
  std::vector<double> climb(BranchWorker& worker, std::vector<double> x) const;
  void try_point(std::span<const double> x);
  void choose_start(std::size_t count);
  void start_climbs();

  void make_workers();
  core::Bytes fingerprint() const;

  Box region;
  BranchOptions options;
  std::unique_ptr<BranchBounder> bounder;
  PiecePool pool;
  std::vector<Entry> heap;  ///< a binary heap, the worst piece first
  std::vector<Entry> dive;  ///< a stack, filled and used while memory is short
  std::uint64_t next_sequence = 0;
  std::vector<double> closed;  ///< per functional, over the closed pieces
  std::vector<double> levels;
  std::vector<double> witness;
  double lower = 0.0, best_objective = -infinity;
  bool refuted = false;
  std::int64_t boxes = 0;

  std::vector<std::unique_ptr<BranchWorker>> workers;
  std::vector<Verdict> verdicts;
  std::vector<double> candidates, candidate_values;
  std::vector<double> start;  ///< of the next climb: the best candidate of the last batch; empty when it was used
};

BranchAndBound::Impl::Impl(const Pair& pair, const Box& of_region, const BranchOptions& of_options)
    : region(of_region),
      options(of_options),
      bounder(make_bounder(pair, of_region, of_options.split)),
      pool(bounder->shape()) {
  const auto shape = bounder->shape();
  QUANTBOUND_ASSERT(std::ssize(region.low) == shape.inputs && std::ssize(region.high) == shape.inputs,
                    region.low.size(), shape.inputs);
  closed.assign(static_cast<std::size_t>(shape.functionals), -infinity);
  levels.assign(static_cast<std::size_t>(shape.functionals), 0.0);
  candidates.resize(2 * bounder->batch() * static_cast<std::size_t>(shape.inputs));
  candidate_values.resize(2 * bounder->batch());
  verdicts.resize(2 * bounder->batch());
  make_workers();
  set_levels();
}

void BranchAndBound::Impl::make_workers() {
  while (workers.size() < static_cast<std::size_t>(omp_get_max_threads())) workers.push_back(bounder->make_worker());
}

void BranchAndBound::Impl::start_from_root() {
  start_climbs();
  set_levels();
  const PiecePool::Id root = pool.allocate();
  bounder->make_root(region, pool.view(root));
  bound_all(std::span(&root, 1));
  set_levels();
  settle(root, verdicts[0]);
}

/// A functional at or below its level needs no more work.
void BranchAndBound::Impl::set_levels() {
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (!options.target)
      levels[i] = (1.0 + options.tolerance) * lower;
    else
      levels[i] = i % 2 == 0 ? options.target->high[i / 2] : -options.target->low[i / 2];
  }
}

double BranchAndBound::Impl::priority(const PieceView& piece) const {
  double worst = -infinity;
  for (std::size_t i = 0; i < levels.size(); ++i)
    worst = std::max(worst, options.target ? piece.bounds[i] - levels[i] : piece.bounds[i]);
  return worst;
}

void BranchAndBound::Impl::push(PiecePool::Id id) {
  const Entry entry{priority(pool.view(id)), next_sequence++, id};
  if (over_memory()) {
    dive.push_back(entry);
  } else {
    heap.push_back(entry);
    std::push_heap(heap.begin(), heap.end());
  }
}

void BranchAndBound::Impl::close(PiecePool::Id id) {
  const PieceView piece = pool.view(id);
  for (std::size_t i = 0; i < closed.size(); ++i) closed[i] = std::max(closed[i], piece.bounds[i]);
  pool.release(id);
}

void BranchAndBound::Impl::settle(PiecePool::Id id, Verdict verdict) {
  const PieceView piece = pool.view(id);
  bool proved = true;
  for (std::size_t i = 0; i < levels.size(); ++i) proved = proved && piece.bounds[i] <= levels[i];
  if (proved || verdict == Verdict::finished)
    close(id);
  else
    push(id);
}

/// Largest priority among the open pieces.
double BranchAndBound::Impl::worst_open() const {
  double worst = heap.empty() ? -infinity : heap.front().priority;
  for (const Entry& entry : dive) worst = std::max(worst, entry.priority);
  return worst;
}

bool BranchAndBound::Impl::done() const {
  if (refuted || !waiting()) return true;
  if (options.target) return false;
  return std::max(worst_open(), *std::max_element(closed.begin(), closed.end())) <= (1.0 + options.tolerance) * lower;
}

std::vector<PiecePool::Id> BranchAndBound::Impl::divide_best(std::size_t count) {
  std::vector<PiecePool::Id> children;
  for (std::size_t i = 0; i < count && waiting(); ++i) {
    Entry entry;
    if (!dive.empty()) {
      entry = dive.back();
      dive.pop_back();
    } else {
      std::pop_heap(heap.begin(), heap.end());
      entry = heap.back();
      heap.pop_back();
    }
    if (!options.target && entry.priority <= levels[0]) {  // the lower bound has risen since
      close(entry.id);
      continue;
    }
    const PiecePool::Id other = pool.allocate();
    bounder->divide(pool.view(entry.id), pool.view(other));
    children.push_back(entry.id);
    children.push_back(other);
  }
  return children;
}

/// All pieces at once; beside them the local search goes on from the best point of the batch before.
void BranchAndBound::Impl::bound_all(std::span<const PiecePool::Id> pieces) {
  make_workers();
  const auto count = static_cast<std::int64_t>(pieces.size());
  const std::size_t inputs = region.low.size();
#pragma omp parallel for schedule(dynamic, 1) if (count > 1)
  for (std::int64_t i = -1; i < count; ++i) {
    BranchWorker& worker = *workers[static_cast<std::size_t>(omp_get_thread_num())];
    if (i < 0) {
      if (!start.empty()) start = climb(worker, std::move(start));
      continue;
    }
    const auto at = static_cast<std::size_t>(i);
    verdicts[at] = worker.bound(pool.view(pieces[at]), levels);
    const auto point = worker.candidate();
    std::copy(point.begin(), point.end(), candidates.begin() + static_cast<std::ptrdiff_t>(at * inputs));
    candidate_values[at] = objective(worker.deviation(point)).value;
  }
  boxes += count;
  if (!start.empty()) try_point(start);
  choose_start(pieces.size());
}

void BranchAndBound::Impl::advance_batch(std::size_t count) {
  const auto children = divide_best(count);
  if (children.empty()) return;
  bound_all(children);
  set_levels();
  for (std::size_t i = 0; i < children.size(); ++i) settle(children[i], verdicts[i]);
}

// ---- points

BranchAndBound::Impl::Objective BranchAndBound::Impl::objective(std::span<const double> deviation) const {
  Objective best;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double value = functional(deviation, i) - (options.target ? levels[i] : 0.0);
    if (value > best.value) best = {value, i};
  }
  return best;
}

/// Counts the point when its proved deviation is the largest so far, or outside the target.
bool BranchAndBound::Impl::prove(std::span<const double> x) {
  if (refuted) return false;
  const Box d = workers[0]->enclose(x);
  double attained = 0.0, outside = -infinity;
  for (std::size_t i = 0; i < d.low.size(); ++i) {
    attained = std::max({attained, d.low[i], -d.high[i]});
    if (options.target)
      outside = std::max({outside, d.low[i] - options.target->high[i], options.target->low[i] - d.high[i]});
  }
  refuted = outside > 0.0;
  best_objective = std::max(best_objective, options.target ? outside : attained);
  if (!refuted && attained <= lower) return false;
  lower = attained;
  witness.assign(x.begin(), x.end());
  return true;
}

/// Sign ascent along the gradient of the linear piece at x, with steps that halve when they do not help.
std::vector<double> BranchAndBound::Impl::climb(BranchWorker& worker, std::vector<double> x) const {
  Objective best = objective(worker.deviation(x));
  std::vector<double> next(x.size());
  for (double step = 0.25; step > 1e-3;) {
    const auto slopes = worker.gradient(x, static_cast<Index>(best.functional / 2));
    const double sign = best.functional % 2 == 0 ? step : -step;
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double reach = (region.high[j] - region.low[j]) * sign;
      const double move = slopes[j] > 0.0 ? reach : slopes[j] < 0.0 ? -reach : 0.0;
      next[j] = std::clamp(x[j] + move, region.low[j], region.high[j]);
    }
    const Objective there = objective(worker.deviation(next));
    if (there.value > best.value) {
      best = there;
      std::swap(x, next);
    } else {
      step *= 0.5;
    }
  }
  return x;
}

/// Proves the point if plain arithmetic promises more than is known.
void BranchAndBound::Impl::try_point(std::span<const double> x) {
  if (objective(workers[0]->deviation(x)).value > best_objective) prove(x);
}

void BranchAndBound::Impl::choose_start(std::size_t count) {
  const auto best =
      std::max_element(candidate_values.begin(), candidate_values.begin() + static_cast<std::ptrdiff_t>(count));
  const std::size_t inputs = region.low.size();
  const auto first = candidates.begin() + (best - candidate_values.begin()) * static_cast<std::ptrdiff_t>(inputs);
  start.assign(first, first + static_cast<std::ptrdiff_t>(inputs));
  try_point(start);
}

void BranchAndBound::Impl::start_climbs() {
  const core::RandomStream random(options.seed, "branch and bound");
  std::uint64_t draw = 0;
  for (int i = 0; i < starting_points; ++i) {
    std::vector<double> x(region.low.size());
    for (std::size_t j = 0; j < x.size(); ++j)
      x[j] = std::clamp(region.low[j] + random.uniform(draw++) * (region.high[j] - region.low[j]), region.low[j],
                        region.high[j]);
    if (draw == x.size()) prove(x);
    try_point(climb(*workers[0], std::move(x)));
  }
}

// ---- what is known

Box BranchAndBound::Impl::hull() {
  std::vector<double> reach = closed;
  const auto include = [&](const Entry& entry) {
    const PieceView piece = pool.view(entry.id);
    for (std::size_t i = 0; i < reach.size(); ++i) reach[i] = std::max(reach[i], piece.bounds[i]);
  };
  std::for_each(heap.begin(), heap.end(), include);
  std::for_each(dive.begin(), dive.end(), include);
  Box box;
  for (std::size_t i = 0; i < reach.size(); i += 2) {
    box.low.push_back(-reach[i + 1]);
    box.high.push_back(reach[i]);
  }
  return box;
}

SearchState BranchAndBound::Impl::state() {
  SearchState now;
  if (options.target) {
    const Box all = hull();
    for (std::size_t i = 0; i < all.low.size(); ++i) now.upper = std::max({now.upper, all.high[i], -all.low[i]});
  } else {
    now.upper = std::max({0.0, worst_open(), *std::max_element(closed.begin(), closed.end())});
  }
  now.lower = lower;
  now.boxes = boxes;
  now.open = std::ssize(heap) + std::ssize(dive);
  now.refuted = refuted;
  return now;
}

core::Bytes BranchAndBound::Impl::fingerprint() const {
  const auto shape = bounder->shape();
  core::ByteWriter out;
  out.value(shape.inputs).value(shape.functionals).value(shape.phase_words).values(region.low).values(region.high);
  return out.take();
}

// ---- the class

BranchAndBound::BranchAndBound(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BranchAndBound::BranchAndBound(const Pair& pair, const Box& region, const BranchOptions& options)
    : impl_(std::make_unique<Impl>(pair, region, options)) {
  impl_->start_from_root();
}
BranchAndBound BranchAndBound::without_root(const Pair& pair, const Box& region, const BranchOptions& options) {
  return BranchAndBound(std::make_unique<Impl>(pair, region, options));
}
BranchAndBound::BranchAndBound(BranchAndBound&&) noexcept = default;
BranchAndBound& BranchAndBound::operator=(BranchAndBound&&) noexcept = default;
BranchAndBound::~BranchAndBound() = default;

void BranchAndBound::advance(std::int64_t max_boxes, double seconds) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t last = max_boxes > std::numeric_limits<std::int64_t>::max() - impl_->boxes
                                ? std::numeric_limits<std::int64_t>::max()
                                : impl_->boxes + max_boxes;
  while (!impl_->done() && impl_->boxes < last) {
    const auto left = static_cast<std::uint64_t>(last - impl_->boxes);
    impl_->advance_batch(static_cast<std::size_t>(std::min<std::uint64_t>(impl_->bounder->batch(), (left + 1) / 2)));
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() >= seconds) return;
  }
}

bool BranchAndBound::done() const { return impl_->done(); }
SearchState BranchAndBound::state() const { return impl_->state(); }
Box BranchAndBound::difference() const { return impl_->hull(); }
std::span<const double> BranchAndBound::witness() const { return impl_->witness; }
void BranchAndBound::propose(std::span<const double> x) {
  QUANTBOUND_ASSERT(x.size() == impl_->region.low.size(), x.size(), impl_->region.low.size());
  impl_->prove(x);
  impl_->set_levels();
}

core::Bytes BranchAndBound::give(std::int64_t count) {
  Impl& self = *impl_;
  for (const Entry& entry : self.dive) {
    self.heap.push_back(entry);
    std::push_heap(self.heap.begin(), self.heap.end());
  }
  self.dive.clear();
  std::vector<Entry> kept, given;
  const bool all = count >= std::ssize(self.heap);
  while (!self.heap.empty() && std::ssize(given) < count) {
    std::pop_heap(self.heap.begin(), self.heap.end());
    (all || kept.size() > given.size() ? given : kept).push_back(self.heap.back());
    self.heap.pop_back();
  }
  for (const Entry& entry : kept) {
    self.heap.push_back(entry);
    std::push_heap(self.heap.begin(), self.heap.end());
  }
  core::ByteWriter out;
  out.value(static_cast<std::uint64_t>(given.size()));
  for (const Entry& entry : given) {
    self.pool.write(entry.id, out);
    self.pool.release(entry.id);
  }
  return out.take();
}

void BranchAndBound::take(std::span<const std::byte> pieces) {
  core::ByteReader in(pieces);
  for (auto left = in.value<std::uint64_t>(); left > 0; --left) impl_->push(impl_->pool.read(in));
}

core::Bytes BranchAndBound::save() const {
  Impl& self = *impl_;
  core::ByteWriter out;
  out.values(self.fingerprint()).values(self.closed).values(self.witness).values(self.start);
  out.value(self.lower).value(self.best_objective).value(self.refuted).value(self.boxes).value(self.next_sequence);
  for (const std::vector<Entry>* entries : {&self.heap, &self.dive}) {
    out.value(static_cast<std::uint64_t>(entries->size()));
    for (const Entry& entry : *entries) {
      out.value(entry.priority).value(entry.sequence);
      self.pool.write(entry.id, out);
    }
  }
  return out.take();
}

void BranchAndBound::restore(std::span<const std::byte> saved) {
  Impl& self = *impl_;
  core::ByteReader in(saved);
  if (in.values<std::byte>() != self.fingerprint())
    throw core::Error("a stored search belongs to another pair or region", "start the search anew");
  for (std::vector<Entry>* entries : {&self.heap, &self.dive}) {
    for (const Entry& entry : *entries) self.pool.release(entry.id);
    entries->clear();
  }
  self.closed = in.values<double>();
  self.witness = in.values<double>();
  self.start = in.values<double>();
  self.lower = in.value<double>();
  self.best_objective = in.value<double>();
  self.refuted = in.value<bool>();
  self.boxes = in.value<std::int64_t>();
  self.next_sequence = in.value<std::uint64_t>();
  for (std::vector<Entry>* entries : {&self.heap, &self.dive}) {
    for (auto left = in.value<std::uint64_t>(); left > 0; --left) {
      Entry entry{};
      entry.priority = in.value<double>();
      entry.sequence = in.value<std::uint64_t>();
      entry.id = self.pool.read(in);
      entries->push_back(entry);
    }
  }
  self.set_levels();
}

}  // namespace quantbound::certify
