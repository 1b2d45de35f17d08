#include "quantbound/parallel/balance.hpp"

#include <algorithm>
#include <numeric>

namespace quantbound::parallel {

namespace {

/// Ranks that the transfers leave alone, sorted by `before(a, b)`, ties by rank.
template <class Before>
std::vector<int> sorted_ranks(std::span<const Load> loads, const std::vector<bool>& taken, Before before) {
  std::vector<int> ranks;
  for (std::size_t rank = 0; rank < loads.size(); ++rank) {
    if (!taken[rank]) ranks.push_back(static_cast<int>(rank));
  }
  std::stable_sort(ranks.begin(), ranks.end(), [&](int a, int b) {
    return before(loads[static_cast<std::size_t>(a)], loads[static_cast<std::size_t>(b)]);
  });
  return ranks;
}

/// Pairs first with last; `count_of(rich, poor)` says how many pieces move, 0 for none.
template <class CountOf>
void pair_up(std::span<const Load> loads, const std::vector<int>& ranks, CountOf count_of, std::vector<bool>& taken,
             std::vector<Transfer>& transfers) {
  for (std::size_t i = 0, j = ranks.size(); i + 1 < j; ++i) {
    const int rich = ranks[i], poor = ranks[--j];
    const auto count = count_of(loads[static_cast<std::size_t>(rich)], loads[static_cast<std::size_t>(poor)]);
    if (count <= 0) continue;
    transfers.push_back({rich, poor, count});
    taken[static_cast<std::size_t>(rich)] = taken[static_cast<std::size_t>(poor)] = true;
  }
}

/// Few: pieces are large, and the next round can move more.
constexpr std::int64_t spread_at_once = 64;

std::int64_t to_feed(const Load& rich, const Load& poor) {
  return rich.open >= 2 && poor.open < rich.open / 2 ? (rich.open - poor.open + 1) / 2 : 0;
}

/// A tenth: smaller differences cost no more work than they would save.
std::int64_t to_spread(const Load& rich, const Load& poor) {
  if (rich.open < 2 || rich.worth <= 0.0 || poor.worth > 0.9 * rich.worth) return 0;
  return std::min(spread_at_once, rich.open / 2);
}

}  // namespace

std::vector<Transfer> balance(std::span<const Load> loads) {
  std::vector<bool> taken(loads.size(), false);
  std::vector<Transfer> transfers;
  pair_up(loads, sorted_ranks(loads, taken, [](const Load& a, const Load& b) { return a.open > b.open; }), to_feed,
          taken, transfers);
  pair_up(loads, sorted_ranks(loads, taken, [](const Load& a, const Load& b) { return a.worth > b.worth; }), to_spread,
          taken, transfers);
  return transfers;
}

}  // namespace quantbound::parallel
