/// The rank as the launcher states it in the environment, before and without MPI_Init: --help and --version answer once
/// and at once, and errors before MPI starts are told by one process.
#pragma once

#include <optional>

namespace quantbound::parallel {

/// 0 outside a launcher.
int launcher_rank();
/// Number of processes the launcher started; nothing outside a launcher (a batch script alone is no launcher).
std::optional<int> launcher_size();

/// Whether a launcher that speaks MPI started this process: MPI works without one too, but its start takes time.
bool launched();

}  // namespace quantbound::parallel
