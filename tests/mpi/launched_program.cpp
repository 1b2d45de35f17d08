// What launch_test.py starts under mpirun: a program built like quantbound's main, that throws or works until stopped.
#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "quantbound/core/error.hpp"
#include "quantbound/parallel/collective.hpp"
#include "quantbound/parallel/launcher_rank.hpp"
#include "quantbound/parallel/scheduler.hpp"
#include "quantbound/parallel/session.hpp"

namespace {

using namespace quantbound::parallel;

/// A minute of tasks, unless something happens: "throw": rank 1 throws in its third.
int work(Session& session, const std::string& what, const std::string& schedule, double max_seconds) {
  StopToken stop(max_seconds > 0 ? std::optional(std::chrono::duration<double>(max_seconds)) : std::nullopt);
  const std::vector<double> costs(6000 * static_cast<std::size_t>(session.size()), 1.0);
  int done = 0;
  const auto execute = [&](std::size_t) {
    if (what == "throw" && session.rank() == session.size() - 1 && ++done == 3) throw std::runtime_error("broken node");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  };
  const auto on_progress = [](const Progress&) {
    std::printf("working\n");
    std::fflush(stdout);
  };
  const auto run = schedule == "static" ? run_static : run_dynamic;
  const Outcome outcome = run(session, costs, stop, execute, on_progress);
  if (session.is_root()) std::printf("%s by %s\n", to_string(outcome).data(), to_string(stop.reason()).data());
  return outcome == Outcome::finished ? 0 : 75;
}

int run(int argc, char** argv) {
  Session session(argc, argv);
  return work(session, argv[1], argv[2], std::stod(argv[3]));
}

}  // namespace

int main(int argc, char** argv) {
  int code = 1;
  try {
    return run(argc, argv);
  } catch (const quantbound::core::InputError& error) {
    if (launcher_rank() == 0) std::fprintf(stderr, "error: %s\n", error.what());
    code = 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: rank %d: %s\n", launcher_rank(), error.what());
  }
  end_job(code);
  return code;
}
