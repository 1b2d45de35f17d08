#include "progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

namespace quantbound::apps {

std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

ProgressPrinter::ProgressPrinter(std::size_t earlier_tasks, std::size_t all_tasks)
    : earlier_tasks_(earlier_tasks), all_tasks_(all_tasks), terminal_(isatty(STDERR_FILENO) == 1) {}

std::string ProgressPrinter::line(std::size_t done, double fraction, double elapsed) const {
  const std::string left = fraction > 0.0 && elapsed > 1.0 ? duration(elapsed * (1.0 - fraction) / fraction) : "?";
  const double rate = elapsed > 0.0 ? static_cast<double>(done) / elapsed : 0.0;
  return fmt::format("{}/{} tasks, {:.1f} tasks/s, {} elapsed, {} left", earlier_tasks_ + done, all_tasks_, rate,
                     duration(elapsed), left);
}

void ProgressPrinter::update(std::size_t done, double cost_done, double cost_total) {
  const auto now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double fraction = cost_total > 0.0 ? cost_done / cost_total : 1.0;
  const double since_last = printed_ ? std::chrono::duration<double>(now - last_).count() : elapsed;
  const bool last = earlier_tasks_ + done == all_tasks_;
  done_ = done;
  fraction_ = fraction;
  // In a log: at most a line every 10 s and per percent; the end is told by the summary.
  const bool due = terminal_ ? since_last >= 0.1 || last : since_last >= 10.0 && fraction - last_fraction_ >= 0.01;
  if (!due) return;
  if (terminal_) {
    print_bar("");
  } else {
    fmt::print(stderr, "quantbound: {:3.0f} %  {}\n", 100.0 * fraction, line(done, fraction, elapsed));
  }
  std::fflush(stderr);
  last_ = now;
  last_fraction_ = fraction;
  printed_ = true;
}

void ProgressPrinter::print_bar(const std::string& running) const {
  constexpr int cells = 24;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const int full = static_cast<int>(std::lround(std::clamp(fraction_, 0.0, 1.0) * cells));
  fmt::print(stderr, "\r\033[K[{}{}] {}{}{}", std::string(static_cast<std::size_t>(full), '#'),
             std::string(static_cast<std::size_t>(cells - full), '.'), line(done_, fraction_, elapsed),
             running.empty() ? "" : "; ", running);
}

void ProgressPrinter::running(const std::string& what) {
  const auto now = Clock::now();
  const double since_last = std::chrono::duration<double>(now - last_running_).count();
  if (since_last < (terminal_ ? 0.1 : 10.0)) return;
  if (terminal_) {
    print_bar(what);
    printed_ = true;
  } else {
    fmt::print(stderr, "quantbound:        {}\n", what);
  }
  std::fflush(stderr);
  last_running_ = now;
}

void ProgressPrinter::finish() {
  if (terminal_ && printed_) fmt::print(stderr, "\n");
}

}  // namespace quantbound::apps
