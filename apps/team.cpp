#include "team.hpp"

#include <cstdlib>

#include <omp.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/parallel/affinity.hpp"
#include "quantbound/parallel/collective.hpp"
#include "quantbound/parallel/launcher_rank.hpp"

#include "failure.hpp"

namespace quantbound::apps {

Team::Team(const Call& call) {
  if (parallel::launched()) session_.emplace(call.argc, call.argv);
}

std::vector<core::Bytes> Team::share(std::span<const std::byte> mine) {
  if (session_) return parallel::share(*session_, mine);
  return {core::Bytes(mine.begin(), mine.end())};
}

std::vector<core::Bytes> Team::gather(std::span<const std::byte> mine) {
  if (session_) return parallel::gather(*session_, mine);
  return {core::Bytes(mine.begin(), mine.end())};
}

core::Bytes Team::broadcast(core::Bytes bytes) {
  return session_ ? parallel::broadcast(*session_, std::move(bytes)) : bytes;
}

void Team::send(int to, std::span<const std::byte> message) {
  QUANTBOUND_ASSERT(session_.has_value(), to);
  parallel::send(*session_, to, message);
}

core::Bytes Team::receive(int from) {
  QUANTBOUND_ASSERT(session_.has_value(), from);
  return parallel::receive(*session_, from);
}

Exit Team::on_root(const std::function<void()>& action) {
  if (session_) return apps::on_root(*session_, action);
  action();
  return done;
}

Exit Team::on_every_rank(const std::function<void()>& action) {
  if (session_) return apps::on_every_rank(*session_, action);
  action();
  return done;
}

int Team::choose_threads(const std::optional<int>& asked) {
  if (asked) return *asked;
  if (!session_ || std::getenv("OMP_NUM_THREADS") != nullptr) return omp_get_max_threads();
  const auto bindings = parallel::gather_bindings(*session_, 1);
  return parallel::advised_threads(bindings, session_->rank());
}

}  // namespace quantbound::apps
