#include "quantbound/parallel/session.hpp"

#include <array>
#include <exception>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/parallel/launcher_rank.hpp"

#include "communicator.hpp"

namespace quantbound::parallel {

namespace {

/// Name of the host of every rank.
std::vector<std::string> gather_hosts(const detail::Communicator& communicator) {
  constexpr std::size_t width = MPI_MAX_PROCESSOR_NAME;
  std::array<char, width> mine{};
  int length = 0;
  detail::verify(MPI_Get_processor_name(mine.data(), &length), "MPI_Get_processor_name");
  std::vector<char> all(width * static_cast<std::size_t>(communicator.size), '\0');
  detail::verify(MPI_Allgather(mine.data(), width, MPI_CHAR, all.data(), width, MPI_CHAR, communicator.handle),
                 "MPI_Allgather");
  std::vector<std::string> hosts;
  for (std::size_t start = 0; start < all.size(); start += width) hosts.emplace_back(all.data() + start);
  return hosts;
}

/// The mpirun of another MPI starts n processes that each believe to be alone; they would all write one output.
void check_launcher(int size) {
  const int expected = launcher_size().value_or(size);
  if (size == expected) return;
  throw core::InputError(fmt::format("started as {} processes, but MPI sees {}: this program uses {}; start it with "
                                     "the mpirun that belongs to it",
                                     expected, size, mpi_library()),
                         "");
}

}  // namespace

Session::Session(int& argc, char**& argv) : communicator_(std::make_unique<detail::Communicator>()) {
  int provided = MPI_THREAD_SINGLE;
  detail::verify(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  detail::verify(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_FUNNELED) {
    throw core::IoError("this MPI cannot be used beside threads (MPI_THREAD_FUNNELED)", mpi_library());
  }
  detail::Communicator& own = *communicator_;
  detail::verify(MPI_Comm_dup(MPI_COMM_WORLD, &own.handle), "MPI_Comm_dup");
  detail::verify(MPI_Comm_rank(own.handle, &own.rank), "MPI_Comm_rank");
  detail::verify(MPI_Comm_size(own.handle, &own.size), "MPI_Comm_size");
  check_launcher(own.size);
  own.hosts = gather_hosts(own);
}

Session::~Session() {
  if (std::uncaught_exceptions() > 0) return;
  MPI_Comm_free(&communicator_->handle);
  MPI_Finalize();
}

int Session::rank() const { return communicator_->rank; }
int Session::size() const { return communicator_->size; }
const std::string& Session::host() const { return communicator_->hosts[static_cast<std::size_t>(rank())]; }
const std::vector<std::string>& Session::hosts() const { return communicator_->hosts; }

void end_job(int exit_code) {
  int is_up = 0, is_down = 0;
  MPI_Initialized(&is_up);
  MPI_Finalized(&is_down);
  if (is_up != 0 && is_down == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string version(text.data());
  return version.substr(0, version.find_first_of("\r\n"));
}

}  // namespace quantbound::parallel
