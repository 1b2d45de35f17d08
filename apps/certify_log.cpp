#include "certify_log.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"

#include "text_table.hpp"

namespace quantbound::apps {

SearchLog::SearchLog(const std::optional<std::filesystem::path>& trace, Trace mode)
    : terminal_(isatty(STDERR_FILENO) == 1) {
  if (!trace) return;
  trace_path_ = *trace;
  std::error_code error;
  const bool goes_on = mode == Trace::appends && std::filesystem::file_size(*trace, error) > 0 && !error;
  trace_.open(*trace, goes_on ? std::ios::app : std::ios::trunc);
  if (!goes_on) trace_ << "seconds,boxes,upper,lower,open\n";
  if (!trace_.flush()) {
    throw core::IoError("cannot write the trace: " + std::generic_category().message(errno), trace_path_.string());
  }
}

void SearchLog::update(const SearchView& view) {
  print(view);
  if (trace_.is_open()) write(view);
}

void SearchLog::print(const SearchView& view) {
  const auto now = Clock::now();
  const double since_last = std::chrono::duration<double>(now - last_).count();
  if (since_last < (terminal_ ? 0.2 : 10.0)) return;
  const double seconds = view.seconds - rate_seconds_;
  if (seconds > 0.0) rate_ = static_cast<double>(view.boxes - rate_boxes_) / seconds;
  rate_seconds_ = view.seconds;
  rate_boxes_ = view.boxes;
  const std::string line =
      fmt::format("{:.1f} s: upper {}, lower {}, gap {}, {} boxes, {:.0f} boxes/s, {} open", view.seconds,
                  short_number(view.upper), short_number(view.lower),
                  view.lower > 0.0 ? short_number(view.upper / view.lower) : "-", view.boxes, rate_, view.open);
  fmt::print(stderr, "{}{}{}", terminal_ ? "\r\033[K" : "quantbound: ", line, terminal_ ? "" : "\n");
  std::fflush(stderr);
  last_ = now;
  printed_ = true;
}

/// Rows lie closer at the start: what matters is the picture over a logarithm of time.
void SearchLog::write(const SearchView& view) {
  if (view.seconds < next_row_ && view.end == SearchEnd::running) return;
  next_row_ = std::max(1.03 * view.seconds, view.seconds + 0.01);
  trace_ << fmt::format("{:.6f},{},{},{},{}\n", view.seconds, view.boxes, view.upper, view.lower, view.open);
  if (!trace_.flush()) {
    throw core::IoError("cannot write the trace: " + std::generic_category().message(errno), trace_path_.string());
  }
}

void SearchLog::finish() {
  if (terminal_ && printed_) fmt::print(stderr, "\n");
}

}  // namespace quantbound::apps
