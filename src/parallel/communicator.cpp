#include "communicator.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <thread>

#include "quantbound/core/error.hpp"
#include "quantbound/parallel/launcher_rank.hpp"

namespace quantbound::parallel::detail {

void verify(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  const std::string cause(text.data(), static_cast<std::size_t>(length));
  throw core::IoError(std::string(what) + " failed: " + cause, "rank " + std::to_string(launcher_rank()));
}

void Backoff::pause() {
  std::this_thread::sleep_for(delay_);
  delay_ = std::min(2 * delay_, longest);
}

bool is_complete(MPI_Request& request) {
  int flag = 0;
  verify(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), "MPI_Test");
  return flag != 0;
}

void arrive_together(const Communicator& communicator) {
  MPI_Request request = MPI_REQUEST_NULL;
  verify(MPI_Ibarrier(communicator.handle, &request), "MPI_Ibarrier");
  for (Backoff backoff; !is_complete(request);) backoff.pause();
}

}  // namespace quantbound::parallel::detail
