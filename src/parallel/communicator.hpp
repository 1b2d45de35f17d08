/// MPI as this room uses it: one communicator of our own whose errors come back as codes and leave as exceptions, and
/// waiting that sleeps. Open MPI waits by spinning, which takes the processor from ranks and threads that compute.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <mpi.h>

namespace quantbound::parallel::detail {

struct Communicator {
  MPI_Comm handle = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
  std::vector<std::string> hosts;
};

/// Throws core::IoError with the text of MPI unless the code is MPI_SUCCESS.
void verify(int code, const char* what);

/// Pauses between looks at something: short at first, a millisecond in the end.
class Backoff {
 public:
  void pause();
  void reset() { delay_ = shortest; }

 private:
  static constexpr std::chrono::microseconds shortest{20}, longest{1000};
  std::chrono::microseconds delay_ = shortest;
};

bool is_complete(MPI_Request& request);
/// Waits for all ranks with pauses. What follows in the same order on every rank may then block: nobody is late.
void arrive_together(const Communicator& communicator);

}  // namespace quantbound::parallel::detail
