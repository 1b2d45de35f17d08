/// Failures as the user sees them: one line `quantbound: error: WHAT (WHERE)` on stderr and an exit code, whatever was
/// thrown and on however many ranks.
#pragma once

#include <functional>
#include <string>

#include "quantbound/parallel/session.hpp"

#include "verb.hpp"

namespace quantbound::apps {

struct Failure {
  Exit code = done;  ///< done: there is none
  std::string message;
};

/// What the exception that is being handled means. @pre called in a catch block
Failure current_failure();
/// Prints the line. Control characters, which names in files may have, become '?'.
void print_error(const std::string& message);

/// Runs `action` on rank 0, tells its failure once and gives all ranks its exit code. Collective.
Exit on_root(parallel::Session& session, const std::function<void()>& action);
/// Runs `action` on every rank; tells once, with rank and cause, what failed, and gives all ranks the same exit code.
/// `action` does not speak MPI. Collective.
Exit on_every_rank(parallel::Session& session, const std::function<void()>& action);

}  // namespace quantbound::apps
