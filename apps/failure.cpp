#include "failure.hpp"

#include <algorithm>
#include <exception>
#include <iostream>
#include <new>
#include <vector>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/parallel/collective.hpp"

namespace quantbound::apps {

namespace {

Failure attempt(const std::function<void()>& action) {
  try {
    action();
    return {};
  } catch (...) {
    return current_failure();
  }
}

/// The failures of all ranks in one line. What every rank says alike needs no rank.
std::string summary(const std::vector<std::string>& messages) {
  const auto failed = [](const std::string& message) { return !message.empty(); };
  const auto first = std::ranges::find_if(messages, failed);
  if (std::ranges::count(messages, *first) == std::ssize(messages)) return *first;
  const auto others = std::ranges::count_if(messages, failed) - 1;
  const std::string more = others > 0 ? fmt::format(" (and {} more)", others) : "";
  return fmt::format("rank {}{}: {}", first - messages.begin(), more, *first);
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const options::error& error) {
    return {.code = usage, .message = std::string(error.what()) + "; see quantbound VERB --help"};
  } catch (const core::InputError& error) {
    return {.code = usage, .message = error.what()};
  } catch (const std::bad_alloc&) {
    return {.code = failed, .message = "out of memory; use fewer ranks per node"};
  } catch (const std::exception& error) {
    return {.code = failed, .message = error.what()};
  }
}

void print_error(const std::string& message) {
  std::string line = "quantbound: error: " + message;
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  std::cerr << line + "\n" << std::flush;
}

Exit on_root(parallel::Session& session, const std::function<void()>& action) {
  const Failure failure = session.is_root() ? attempt(action) : Failure();
  if (failure.code != done) print_error(failure.message);
  return static_cast<Exit>(parallel::max_over_ranks(session, failure.code));
}

Exit on_every_rank(parallel::Session& session, const std::function<void()>& action) {
  const Failure failure = attempt(action);
  const auto code = static_cast<Exit>(parallel::max_over_ranks(session, failure.code));
  if (code == done) return done;
  const auto messages = parallel::gather(session, failure.message);
  if (session.is_root()) print_error(summary(messages));
  return code;
}

}  // namespace quantbound::apps
