/// Who gives work to whom in a search that ranks share: decided by everyone alike from the same figures, without a
/// master. First the idle are fed by those who have most; then the best pieces are spread, so that no rank works on
/// what another would have left for later.
///
/// | function | who calls it |
/// | balance  | independent |
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quantbound::parallel {

/// What a rank has to do: how many pieces are open, and how much the best of them is worth (its bound).
struct Load {
  std::int64_t open = 0;
  double worth = 0.0;
};

/// `count` pieces go from one rank to another.
struct Transfer {
  int from = 0, to = 0;
  std::int64_t count = 0;
};

/// Every rank is in at most one transfer. The richest rank with the poorest, the next with the next: half of the
/// difference where the poorer has less than half; a few where only the worth differs. @pre worth is not NaN
std::vector<Transfer> balance(std::span<const Load> loads);

}  // namespace quantbound::parallel
