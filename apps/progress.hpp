/// Progress of a sweep on rank 0, on stderr: a bar with rate and time left on a terminal, a line now and then in a log.
#pragma once

#include <chrono>
#include <string>

namespace quantbound::apps {

/// "42 s", "3 min 05 s", "2 h 07 min"
std::string duration(double seconds);

class ProgressPrinter {
 public:
  /// `earlier_tasks` were finished by an earlier run and count as done.
  ProgressPrinter(std::size_t earlier_tasks, std::size_t all_tasks);
  /// `cost_done` of `cost_total` is what this run has done of its own work.
  void update(std::size_t done, double cost_done, double cost_total);
  /// What the running task is at: behind the bar, or a line of its own now and then.
  void running(const std::string& what);
  /// Ends the line of the bar.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(std::size_t done, double fraction, double elapsed) const;
  void print_bar(const std::string& running) const;

  std::size_t earlier_tasks_, all_tasks_;
  bool terminal_;
  Clock::time_point start_ = Clock::now(), last_ = Clock::time_point::min();
  Clock::time_point last_running_ = Clock::now();
  std::size_t done_ = 0;
  double fraction_ = 0.0;
  double last_fraction_ = 0.0;
  bool printed_ = false;
};

}  // namespace quantbound::apps
