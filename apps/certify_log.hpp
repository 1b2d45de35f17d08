/// How a branch and bound is going, on rank 0: a line on stderr (over itself on a terminal, now and then in a log) and
/// the trace file of --trace.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>

#include "certify_search.hpp"

namespace quantbound::apps {

class SearchLog {
 public:
  /// `appends`: the trace of an earlier run goes on.
  enum class Trace { fresh, appends };
  /// Throws core::IoError where the trace cannot be opened.
  SearchLog(const std::optional<std::filesystem::path>& trace, Trace mode);

  /// Throws core::IoError where the trace cannot be written.
  void update(const SearchView& view);
  /// Ends the line on the terminal.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void print(const SearchView& view);
  void write(const SearchView& view);

  bool terminal_;
  Clock::time_point last_ = Clock::now();
  double rate_seconds_ = 0.0, rate_ = 0.0;
  std::int64_t rate_boxes_ = 0;
  bool printed_ = false;
  std::filesystem::path trace_path_;
  std::ofstream trace_;
  double next_row_ = 0.0;
};

}  // namespace quantbound::apps
