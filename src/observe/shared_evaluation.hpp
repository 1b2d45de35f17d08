/// All variants on one block, depth first over their common beginnings: each segment is evaluated once for all variants
/// that agree up to its end. Values are kept at the cuts on the way down only.
#pragma once

#include <algorithm>
#include <iterator>
#include <numeric>
#include <span>
#include <vector>

#include "evaluation.hpp"
#include "shared_prefixes.hpp"

namespace quantbound::observe::detail {

/// `Evaluation` is FloatEvaluation or DoubleEvaluation. The receiver is told
///   outputs(variants, values): the outputs of the block, the same for these variants; f is among the first ones;
///   alarm(variant, batch):     a batch rang the alarm (Values::alarms) in the layers that the variant begins with.
template <class Evaluation, class Receiver>
class SharedEvaluation {
 public:
  using Real = typename Evaluation::Real;

  /// All arguments must outlive the object.
  SharedEvaluation(std::span<const Segment> segments, const SharedPrefixes& prefixes, Evaluation& evaluation,
                   Receiver& receiver)
      : segments_(segments), prefixes_(prefixes), evaluation_(evaluation), receiver_(receiver) {}

  void run(std::span<const Real> inputs) {
    std::vector<Index> all(static_cast<std::size_t>(prefixes_.variants()));
    std::iota(all.begin(), all.end(), Index{0});
    descend(0, all, inputs);
  }

 private:
  /// Variants that agree up to a segment, where they have the values `input`.
  void descend(std::size_t segment, std::span<const Index> variants, std::span<const Real> input) {
    const Index layers = segments_[segment].end();
    for (const Index variant : variants) {
      if (prefixes_.representative(variant, layers) != variant) continue;
      std::vector<Index> same;
      std::ranges::copy_if(variants, std::back_inserter(same),
                           [&](Index other) { return prefixes_.representative(other, layers) == variant; });
      const auto values = evaluation_.run(segment, variant, input);
      for (const Index batch : values.alarms) receiver_.alarm(variant, batch);
      if (segment + 1 < segments_.size()) {
        descend(segment + 1, same, values.values);
      } else {
        receiver_.outputs(same, std::span<const Real>(values.values));
      }
    }
  }

  std::span<const Segment> segments_;
  const SharedPrefixes& prefixes_;
  Evaluation& evaluation_;
  Receiver& receiver_;
};

}  // namespace quantbound::observe::detail
