#include "run_record.hpp"

#include <string_view>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "quantbound/core/version.hpp"
#include "quantbound/parallel/session.hpp"

namespace quantbound::apps {

std::string command_line(const Call& call) {
  std::string line;
  for (int i = 0; i < call.argc; ++i) line += (i == 0 ? "" : " ") + std::string(call.argv[i]);
  return line;
}

void add_run(sweep::Group& provenance, const std::string& command_line, std::chrono::system_clock::time_point start) {
  const auto add = [&](const char* name, std::string_view value) {
    sweep::set_attribute(provenance.attributes, name, std::string(value));
  };
  const core::Version version = core::version();
  add("software", "quantbound");
  add("version", version.version);
  add("commit", version.commit);
  add("compiler", version.compiler);
  add("build_type", version.build_type);
  add("instruction_set", version.instruction_set);
  add("mpi_library", parallel::mpi_library());
  add("hdf5", version.hdf5);
  add("command_line", command_line);
  add("start", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(start)));
  const auto end = std::chrono::system_clock::now();
  add("end", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(end)));
  sweep::set_attribute(provenance.attributes, "elapsed", std::chrono::duration<double>(end - start).count());
}

}  // namespace quantbound::apps
