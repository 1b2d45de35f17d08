/// Progress of a sweep on rank 0, on stderr: a bar with rate and time left on a terminal, a line now and then in a log.
#pragma once

#include <chrono>
#include <string>

namespace quantbound::apps {

class ProgressPrinter {
 public:
  /// `earlier_tasks` were finished by an earlier run and count as done.
  ProgressPrinter(std::size_t earlier_tasks, std::size_t all_tasks);
  /// `cost_done` of `cost_total` is what this run has done of its own work.
  void update(std::size_t done, double cost_done, double cost_total);
  /// Ends the line of the bar.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(std::size_t done, double fraction, double elapsed) const;

  std::size_t earlier_tasks_, all_tasks_;
  bool terminal_;
  Clock::time_point start_ = Clock::now(), last_ = Clock::time_point::min();
  double last_fraction_ = 0.0;
  bool printed_ = false;
};

}  // namespace quantbound::apps
