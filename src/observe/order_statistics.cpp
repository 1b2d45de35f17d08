#include "quantbound/observe/order_statistics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "quantbound/core/assert.hpp"

namespace quantbound::observe {

namespace {

/// The bits of a number, changed so that keys are in the order of the numbers.
using Key = std::uint64_t;

constexpr Key sign = Key{1} << 63;

Key key_of(double value) {
  const auto bits = std::bit_cast<Key>(value + 0.0);  // -0 becomes +0: equal numbers have equal keys
  return (bits & sign) != 0 ? ~bits : bits | sign;
}

double value_of(Key key) { return std::bit_cast<double>((key & sign) != 0 ? key & ~sign : ~key); }

// A key is read in four digits, from the most significant one. A bucket has 512 KiB either way: as a histogram of the
// next digit, or as keys.
constexpr int digit_bits = 16, digits = 64 / digit_bits;
constexpr std::size_t digit_values = std::size_t{1} << digit_bits;
constexpr Index most_collected = Index{1} << 16;

/// The first `digits` digits of a key.
Key prefix_of(Key key, int count) { return count == 0 ? 0 : key >> (64 - count * digit_bits); }

/// The values that share the first digits and among which wanted ranks lie.
struct Bucket {
  Key prefix = 0;
  Index below = 0, population = 0;    ///< how many values are smaller than all of the bucket, how many are in it
  std::vector<Index> histogram = {};  ///< of the next digit, or
  std::vector<Key> keys = {};         ///< all keys, where they are few

  Index settled = 0;  ///< keys before this one are at most as large as those behind

  bool collects() const { return population <= most_collected; }
  bool holds(Index rank) const { return rank >= below && rank < below + population; }
};

/// One replay: every bucket gets its keys or the histogram of its next digit. `depth` digits are known.
void fill(std::vector<Bucket>& buckets, int depth, const Replay& replay) {
  for (Bucket& bucket : buckets) {
    if (bucket.collects()) {
      bucket.keys.reserve(static_cast<std::size_t>(bucket.population));
    } else {
      bucket.histogram.assign(digit_values, 0);
    }
  }
  replay([&](std::span<const double> piece) {
    for (const double value : piece) {
      QUANTBOUND_ASSERT(!std::isnan(value));
      const Key key = key_of(value);
      for (Bucket& bucket : buckets) {
        if (prefix_of(key, depth) != bucket.prefix) continue;
        if (bucket.collects()) {
          bucket.keys.push_back(key);
        } else {
          ++bucket.histogram[prefix_of(key, depth + 1) % digit_values];
        }
      }
    }
  });
}

/// The part of `bucket` with one more digit in which `rank` lies.
Bucket refined(const Bucket& bucket, Index rank) {
  Index below = bucket.below;
  for (std::size_t digit = 0; digit < digit_values; ++digit) {
    const Index population = bucket.histogram[digit];
    if (rank < below + population) {
      return {.prefix = bucket.prefix << digit_bits | digit, .below = below, .population = population};
    }
    below += population;
  }
  // The replay gave fewer values than before.
  QUANTBOUND_ASSERT(false, rank, below, bucket.population);
  return {};
}

/// @pre the bucket collects, and the rank is no smaller than the one asked for before
double collected(Bucket& bucket, Index rank) {
  QUANTBOUND_ASSERT(std::ssize(bucket.keys) == bucket.population, bucket.keys.size(), bucket.population);
  const Index place = rank - bucket.below;
  std::nth_element(bucket.keys.begin() + bucket.settled, bucket.keys.begin() + place, bucket.keys.end());
  bucket.settled = place;
  return value_of(bucket.keys[static_cast<std::size_t>(place)]);
}

}  // namespace

std::vector<double> order_statistics(const Replay& replay, Index count, std::span<const Index> ranks) {
  for (const Index rank : ranks) QUANTBOUND_ASSERT(rank >= 0 && rank < count, rank, count);
  std::vector<double> result(ranks.size());
  std::vector<std::size_t> open(ranks.size());  // entries of `ranks` without a result, in the order of ranks
  for (std::size_t i = 0; i < open.size(); ++i) open[i] = i;
  std::ranges::sort(open, {}, [&](std::size_t i) { return ranks[i]; });

  std::vector<Bucket> buckets{{.population = count}};
  for (int depth = 0; !open.empty(); ++depth) {
    fill(buckets, depth, replay);
    std::vector<Bucket> next;
    std::vector<std::size_t> still_open;
    for (const std::size_t i : open) {
      const Index rank = ranks[i];
      Bucket& bucket = *std::ranges::find_if(buckets, [&](const Bucket& b) { return b.holds(rank); });
      if (bucket.collects()) {
        result[i] = collected(bucket, rank);
        continue;
      }
      if (next.empty() || !next.back().holds(rank)) next.push_back(refined(bucket, rank));
      if (depth + 1 == digits) {
        result[i] = value_of(next.back().prefix);
      } else {
        still_open.push_back(i);
      }
    }
    buckets = std::move(next);
    open = std::move(still_open);
  }
  return result;
}

std::vector<double> order_statistics_reference(const Replay& replay, std::span<const Index> ranks) {
  std::vector<double> values;
  replay([&](std::span<const double> piece) { values.insert(values.end(), piece.begin(), piece.end()); });
  std::ranges::sort(values);
  std::vector<double> result;
  result.reserve(ranks.size());
  for (const Index rank : ranks) result.push_back(values[static_cast<std::size_t>(rank)]);
  return result;
}

Index quantile_rank(Index count, double q) {
  QUANTBOUND_ASSERT(count > 0 && q >= 0.0 && q <= 1.0, count, q);
  // q is a rounded decimal and so is the product: together they are off by less than this.
  const double wanted = std::ceil(q * static_cast<double>(count) * (1.0 - 0x1p-51));
  return std::clamp<Index>(static_cast<Index>(wanted) - 1, 0, count - 1);
}

}  // namespace quantbound::observe
