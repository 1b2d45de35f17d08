/// Which processors each rank may use, and how many threads that allows. Launchers bind ranks in surprising ways
/// (mpirun -n 2 gives every rank one core, -n 4 gives every rank all of them): the program says what it got.
/// Reads the affinity mask; sets nothing.
///
/// | function                                             | who calls it |
/// | local_binding, advised_threads, binding_warnings, describe | independent |
/// | gather_bindings                                      | collective |
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantbound/parallel/session.hpp"

namespace quantbound::parallel {

struct Binding {
  std::string host;
  std::vector<int> cpus;  ///< of the affinity mask, ascending
  int threads = 1;        ///< the rank is going to use

  bool operator==(const Binding&) const = default;
};

/// This process: its host and its affinity mask.
Binding local_binding(int threads);

/// Of every rank, by rank; on every rank.
std::vector<Binding> gather_bindings(Session& session, int threads);

/// Threads for a rank so that no processor gets more than one: processors of its mask, each divided by the number of
/// ranks of the same host that may use it; at least 1.
int advised_threads(std::span<const Binding> bindings, int rank);

/// One line per problem, for people: more threads than processors, processors shared by ranks. Empty when all is well.
std::vector<std::string> binding_warnings(std::span<const Binding> bindings);

/// "4 ranks on 2 hosts, 2 ranks per host, 8 threads and 16 processors per rank".
std::string describe(std::span<const Binding> bindings);

}  // namespace quantbound::parallel
