/// When to stop early: SIGTERM, SIGUSR1 or SIGINT arrived, --max-time is over, or another rank said so. The signal
/// handler sets a flag and nothing else; work is stopped at the next good place by whoever asks stop_requested(). A
/// second SIGINT or SIGTERM ends the process at once, unless it comes within a second of the first (launchers and batch
/// systems deliver one stop twice). All functions are independent; the scheduler carries a stop from rank to rank.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string_view>

namespace quantbound::parallel {

enum class StopReason { none, signal, time_is_up, another_rank };
std::string_view to_string(StopReason reason);

/// Seconds since the operating system started this process (not since main or MPI_Init, which can take long).
std::chrono::duration<double> time_since_process_start();

/// Installs the handlers on construction, puts the former ones back on destruction. One at a time per process.
class StopToken {
 public:
  /// `max_time` counts from the start of the process; none: no limit.
  explicit StopToken(std::optional<std::chrono::duration<double>> max_time = std::nullopt);
  ~StopToken();
  StopToken(const StopToken&) = delete;
  StopToken& operator=(const StopToken&) = delete;

  /// Cheap enough for every iteration of a loop, from any thread.
  bool stop_requested() const { return reason() != StopReason::none; }
  StopReason reason() const;
  /// Asks for a stop from inside: another rank has stopped.
  void request_stop();
  /// Time left until the deadline; none: no limit.
  std::optional<std::chrono::duration<double>> time_left() const;

 private:
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  std::atomic<bool> requested_ = false;
};

}  // namespace quantbound::parallel
