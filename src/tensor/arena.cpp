#include "arena.hpp"

#include <algorithm>
#include <numeric>

namespace quantbound::tensor::detail {

ArenaPlan plan_arena(const std::vector<Lifetime>& buffers, Index alignment) {
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return buffers[a].size > buffers[b].size; });

  ArenaPlan plan{std::vector<Index>(buffers.size(), 0), 0};
  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t id : order) {
    const Lifetime& buffer = buffers[id];
    Index offset = 0;
    for (const std::size_t other : placed) {
      const bool together = buffers[other].first <= buffer.last && buffer.first <= buffers[other].last;
      if (!together) continue;
      if (plan.offsets[other] >= offset + buffer.size) break;
      const Index end = plan.offsets[other] + buffers[other].size;
      offset = std::max(offset, (end + alignment - 1) / alignment * alignment);
    }
    plan.offsets[id] = offset;
    plan.size = std::max(plan.size, offset + buffer.size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), id,
                                   [&](std::size_t a, std::size_t b) { return plan.offsets[a] < plan.offsets[b]; }),
                  id);
  }
  return plan;
}

}  // namespace quantbound::tensor::detail
