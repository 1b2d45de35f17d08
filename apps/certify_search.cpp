#include "certify_search.hpp"

#include <algorithm>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/parallel/balance.hpp"

namespace quantbound::apps {

namespace {

using certify::BranchAndBound;
using network::Box;
using Clock = std::chrono::steady_clock;

/// Seconds of work between exchanges. The first are short: at the start one rank has all the work. Later they grow
/// where ranks wait for each other, as on machines that have other work too.
constexpr double first_slice = 0.002, usual_slice = 0.05, longest_slice = 0.25, slice_alone = 0.1;
constexpr double much_waiting = 0.1, little_waiting = 0.02;

/// Element by element; a box without elements is what no piece came to.
void extend(Box& hull, const Box& box) {
  if (box.low.empty()) return;
  if (hull.low.empty()) {
    hull = box;
    return;
  }
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    hull.low[i] = std::min(hull.low[i], box.low[i]);
    hull.high[i] = std::max(hull.high[i], box.high[i]);
  }
}

core::Bytes to_bytes(const Box& box) { return core::ByteWriter().values(box.low).values(box.high).take(); }

Box box_from(core::ByteReader& reader) {
  Box box;
  box.low = reader.values<double>();
  box.high = reader.values<double>();
  return box;
}

}  // namespace

/// What a rank tells all others.
struct SharedSearch::Record {
  struct Numbers {
    double upper, lower, seconds, waited;
    std::int64_t boxes, open;
    bool done, refuted, stop, save, time_is_up;
  } numbers{};
  std::vector<double> witness;  ///< when it is better than what all know
};

SharedSearch::SharedSearch(Team& team, const certify::Pair& pair, const Box& region, certify::BranchOptions options)
    : team_(&team),
      pair_(&pair),
      region_(&region),
      options_(std::move(options)),
      search_(team.is_root() ? BranchAndBound(pair, region, options_)
                             : BranchAndBound::without_root(pair, region, options_)),
      slice_(team.size() > 1 ? first_slice : slice_alone) {}

double SharedSearch::elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void SharedSearch::propose(std::span<const double> x) { search_.propose(x); }

std::vector<SharedSearch::Record> SharedSearch::exchange(Wish wish, bool time_is_up) {
  const auto state = search_.state();
  Record mine;
  const bool better = !refuted_ && (state.refuted || state.lower > witness_lower_);
  if (better) mine.witness.assign(search_.witness().begin(), search_.witness().end());
  mine.numbers = {.upper = std::max(state.upper, settled_upper_),
                  .lower = std::max(state.lower, witness_lower_),
                  .seconds = elapsed(),
                  .waited = waited_,
                  .boxes = state.boxes + settled_boxes_,
                  .open = state.open,
                  .done = state.open == 0 || search_.done(),
                  .refuted = refuted_ || state.refuted,
                  .stop = wish.stop,
                  .save = wish.save,
                  .time_is_up = time_is_up};
  const auto start = Clock::now();
  const auto all = team_->share(core::ByteWriter().value(mine.numbers).values(mine.witness).take());
  waited_ = std::chrono::duration<double>(Clock::now() - start).count();
  std::vector<Record> records;
  records.reserve(all.size());
  for (const auto& bytes : all) {
    core::ByteReader reader(bytes);
    Record record{.numbers = reader.value<Record::Numbers>()};
    record.witness = reader.values<double>();
    records.push_back(std::move(record));
  }
  return records;
}

/// The best of the witnesses told, ties to the lowest rank; one that refutes before all others.
void SharedSearch::adopt_witness(const std::vector<Record>& records) {
  const Record* best = nullptr;
  for (const Record& record : records) {
    if (record.witness.empty()) continue;
    const auto rank_of = [](const Record& r) { return std::pair(r.numbers.refuted, r.numbers.lower); };
    if (best == nullptr || rank_of(record) > rank_of(*best)) best = &record;
  }
  if (best == nullptr) return;
  witness_ = best->witness;
  witness_lower_ = best->numbers.lower;
  refuted_ = best->numbers.refuted;
  search_.propose(witness_);
}

void SharedSearch::move_pieces(const std::vector<Record>& records) {
  std::vector<parallel::Load> loads;
  loads.reserve(records.size());
  for (const Record& r : records) loads.push_back({r.numbers.done ? 0 : r.numbers.open, r.numbers.upper});
  for (const auto& transfer : parallel::balance(loads)) {
    if (transfer.from == team_->rank()) team_->send(transfer.to, search_.give(transfer.count));
    if (transfer.to == team_->rank()) search_.take(team_->receive(transfer.from));
  }
}

/// From what the ranks with work to do waited in the round before.
void SharedSearch::adapt_slice(const std::vector<Record>& records) {
  double waited = 0.0, working = 0.0;
  for (const Record& r : records) {
    if (r.numbers.done) continue;
    waited += r.numbers.waited;
    working += 1.0;
  }
  const double part = waited / (std::max(working, 1.0) * slice_);
  if (slice_ < usual_slice || part > much_waiting) {
    slice_ = std::min(2.0 * slice_, longest_slice);
  } else if (part < little_waiting) {
    slice_ = std::max(0.5 * slice_, usual_slice);
  }
}

SearchView SharedSearch::round(const SearchLimits& limits, Wish wish) {
  const double left = limits.max_seconds - elapsed();
  const std::int64_t boxes_left = limits.max_boxes - boxes_this_run_;
  const std::int64_t share = boxes_left / team_->size() + (boxes_left % team_->size() > 0 ? 1 : 0);
  if (left > 0.0 && share > 0 && !wish.stop) search_.advance(share, std::min(slice_, left));
  const auto records = exchange(wish, elapsed() >= limits.max_seconds);
  adopt_witness(records);

  SearchView view{.upper = 0.0, .seconds = seconds_before_ + records.front().numbers.seconds};
  bool all_done = true, stop = false;
  for (const Record& r : records) {
    view.upper = std::max(view.upper, r.numbers.upper);
    view.lower = std::max(view.lower, r.numbers.lower);
    view.boxes += r.numbers.boxes;
    view.open += r.numbers.open;
    all_done = all_done && r.numbers.done;
    stop = stop || r.numbers.stop;
  }
  boxes_this_run_ = view.boxes - boxes_before_;
  view.save_now = records.front().numbers.save;
  if (all_done || refuted_) {
    view.end = SearchEnd::converged;
  } else if (stop) {
    view.end = SearchEnd::stopped;
  } else if (records.front().numbers.time_is_up) {
    view.end = SearchEnd::out_of_time;
  } else if (boxes_this_run_ >= limits.max_boxes) {
    view.end = SearchEnd::out_of_boxes;
  } else if (team_->size() > 1) {
    move_pieces(records);
    adapt_slice(records);
  }
  return view;
}

Box SharedSearch::difference() {
  Box mine = search_.difference();
  extend(mine, settled_);
  Box hull;
  for (const auto& bytes : team_->share(to_bytes(mine))) {
    core::ByteReader reader(bytes);
    extend(hull, box_from(reader));
  }
  return hull;
}

// The state of all ranks: what they have in common, then one part per rank.

core::Bytes SharedSearch::save() {
  core::ByteWriter mine;
  const core::Bytes state = search_.save();
  mine.values(settled_.low).values(settled_.high).value(settled_upper_).value(settled_boxes_).values(state);
  const auto parts = team_->gather(mine.take());
  if (!team_->is_root()) return {};
  core::ByteWriter all;
  all.value(seconds_before_ + elapsed()).value(boxes_before_ + boxes_this_run_);
  all.values(witness_).value(witness_lower_).value(refuted_);
  all.value(static_cast<std::uint64_t>(parts.size()));
  for (const auto& part : parts) all.values(part);
  return all.take();
}

/// The first part of a rank becomes its search, exactly; of further ones it takes the open pieces and keeps what is
/// settled.
void SharedSearch::absorb(std::span<const std::byte> part, bool is_first) {
  core::ByteReader reader(part);
  extend(settled_, box_from(reader));
  settled_upper_ = std::max(settled_upper_, reader.value<double>());
  settled_boxes_ += reader.value<std::int64_t>();
  const auto state = reader.values<std::byte>();
  if (is_first) {
    search_.restore(state);
    return;
  }
  auto other = BranchAndBound::without_root(*pair_, *region_, options_);
  other.restore(state);
  while (other.state().open > 0) {
    const std::int64_t before = other.state().open;
    search_.take(other.give(before));
    QUANTBOUND_ASSERT(other.state().open < before, before, other.state().open);
  }
  extend(settled_, other.difference());
  settled_upper_ = std::max(settled_upper_, other.state().upper);
  settled_boxes_ += other.state().boxes;
}

void SharedSearch::restore(const core::Bytes& saved) {
  core::ByteReader reader(saved);
  core::ByteWriter common;
  std::uint64_t count = 0;
  if (team_->is_root()) {
    common.value(reader.value<double>()).value(reader.value<std::int64_t>());
    common.values(reader.values<double>()).value(reader.value<double>()).value(reader.value<bool>());
    count = reader.value<std::uint64_t>();
    common.value(count);
  }
  const core::Bytes told = team_->broadcast(common.take());
  core::ByteReader all(told);
  seconds_before_ = all.value<double>();
  boxes_before_ = all.value<std::int64_t>();
  witness_ = all.values<double>();
  witness_lower_ = all.value<double>();
  refuted_ = all.value<bool>();
  count = all.value<std::uint64_t>();
  search_ = BranchAndBound::without_root(*pair_, *region_, options_);
  for (std::uint64_t i = 0; i < count; ++i) {
    const int owner = static_cast<int>(i % static_cast<std::uint64_t>(team_->size()));
    const core::Bytes part = team_->is_root() ? reader.values<std::byte>() : core::Bytes();
    if (owner == team_->rank())
      absorb(team_->is_root() ? part : team_->receive(0), i < static_cast<std::uint64_t>(team_->size()));
    if (team_->is_root() && owner != 0) team_->send(owner, part);
  }
  if (!witness_.empty()) search_.propose(witness_);
}

}  // namespace quantbound::apps
