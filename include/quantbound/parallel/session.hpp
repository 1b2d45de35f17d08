/// The MPI session: MPI_Init_thread (FUNNELED: only the main thread speaks MPI) to MPI_Finalize, with errors as
/// exceptions instead of aborts inside the library. It finalizes only when no exception is on its way out: the other
/// ranks may sit in a collective call, so an unwinding rank leaves it to main to print the cause and to call end_job.
///
/// | function                  | who calls it |
/// | Session(), ~Session()     | collective |
/// | rank, size, is_root, host | independent |
/// | hosts                     | collective, once; independent afterwards |
/// | end_job                   | independent: one rank ends all |
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace quantbound::parallel {

namespace detail {
struct Communicator;  // src/parallel/communicator.hpp
}

class Session {
 public:
  /// Throws core::InputError where the launcher and the MPI library do not belong together (every rank would believe to
  /// be alone), core::IoError with the text of MPI where MPI fails. One session per process.
  Session(int& argc, char**& argv);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  int rank() const;
  int size() const;
  bool is_root() const { return rank() == 0; }
  /// Name of this host.
  const std::string& host() const;
  /// Name of the host of every rank, by rank; on every rank.
  const std::vector<std::string>& hosts() const;

  /// For the sources of this room.
  detail::Communicator& communicator() const { return *communicator_; }

 private:
  std::unique_ptr<detail::Communicator> communicator_;
};

/// Ends all ranks with this exit code when MPI is running (does not return then); does nothing when it is not.
void end_job(int exit_code);

/// "Open MPI v4.1.4, ...": for /provenance. Needs no session.
std::string mpi_library();

}  // namespace quantbound::parallel
