#include "quantbound/parallel/stop_token.hpp"

#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "quantbound/core/assert.hpp"

namespace quantbound::parallel {

namespace {

// A signal belongs to the process, and its handler gets no argument of ours: the one place for state of the process.
constexpr std::array stopping_signals = {SIGTERM, SIGUSR1, SIGINT};
std::atomic<bool> is_installed = false;
std::atomic<bool> signal_arrived = false;
std::atomic<std::int64_t> first_request = 0;  ///< time of the first SIGINT or SIGTERM, in nanoseconds
std::array<struct sigaction, stopping_signals.size()> former_handlers;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free);

const std::chrono::steady_clock::time_point loaded = std::chrono::steady_clock::now();

std::int64_t clock_nanoseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

/// The default action, as if we had never been there: the process ends.
void end_by(int number) {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(number, &action, nullptr);
  raise(number);
}

/// Only calls that POSIX allows in a handler.
void on_signal(int number) {
  constexpr std::int64_t one_second = 1'000'000'000;
  const int former_errno = errno;
  if (number != SIGUSR1) {
    const std::int64_t now = clock_nanoseconds(CLOCK_MONOTONIC);
    std::int64_t first = 0;
    if (!first_request.compare_exchange_strong(first, now) && now - first > one_second) end_by(number);
  }
  signal_arrived = true;
  errno = former_errno;
}

/// Start of this process after boot, in clock ticks: field 22 of /proc/self/stat, the 20th after the name.
std::optional<std::int64_t> start_ticks() {
  std::ifstream file("/proc/self/stat");
  const std::string line{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i < 22; ++i) fields >> skipped;
  std::int64_t ticks = 0;
  fields >> ticks;
  return fields ? std::optional(ticks) : std::nullopt;
}

}  // namespace

std::string_view to_string(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::signal:
      return "signal";
    case StopReason::time_is_up:
      return "time is up";
    case StopReason::another_rank:
      return "another rank";
  }
  return "?";
}

std::chrono::duration<double> time_since_process_start() {
  const std::optional<std::int64_t> ticks = start_ticks();
  if (!ticks) return std::chrono::steady_clock::now() - loaded;
  const double started = static_cast<double>(*ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
  const double now = static_cast<double>(clock_nanoseconds(CLOCK_BOOTTIME)) * 1e-9;
  return std::chrono::duration<double>(now > started ? now - started : 0.0);
}

StopToken::StopToken(std::optional<std::chrono::duration<double>> max_time) {
  const bool was_installed = is_installed.exchange(true);
  QUANTBOUND_ASSERT(!was_installed, "two stop tokens");
  signal_arrived = false;
  first_request = 0;
  if (max_time) {
    const auto left = *max_time - time_since_process_start();
    deadline_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(left);
  }
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < stopping_signals.size(); ++i) {
    sigaction(stopping_signals[i], &action, &former_handlers[i]);
  }
}

StopToken::~StopToken() {
  for (std::size_t i = 0; i < stopping_signals.size(); ++i) {
    sigaction(stopping_signals[i], &former_handlers[i], nullptr);
  }
  is_installed = false;
}

StopReason StopToken::reason() const {
  if (signal_arrived) return StopReason::signal;
  if (requested_) return StopReason::another_rank;
  if (deadline_ && std::chrono::steady_clock::now() >= *deadline_) return StopReason::time_is_up;
  return StopReason::none;
}

void StopToken::request_stop() { requested_ = true; }

std::optional<std::chrono::duration<double>> StopToken::time_left() const {
  if (!deadline_) return std::nullopt;
  return *deadline_ - std::chrono::steady_clock::now();
}

}  // namespace quantbound::parallel
