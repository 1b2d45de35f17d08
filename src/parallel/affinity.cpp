#include "quantbound/parallel/affinity.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/parallel/collective.hpp"

namespace quantbound::parallel {

namespace {

/// Processors of the affinity mask of the calling thread. The system tells by EINVAL that its masks are larger.
std::vector<int> allowed_cpus() {
  for (std::size_t most = 1024; most <= (std::size_t{1} << 20); most *= 2) {
    std::vector<unsigned long> mask(most / (8 * sizeof(unsigned long)));
    auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
    const std::size_t size = mask.size() * sizeof(unsigned long);
    if (sched_getaffinity(0, size, set) == 0) {
      std::vector<int> cpus;
      for (std::size_t cpu = 0; cpu < most; ++cpu) {
        if (CPU_ISSET_S(cpu, size, set)) cpus.push_back(static_cast<int>(cpu));
      }
      return cpus;
    }
    if (errno != EINVAL) break;
  }
  throw core::IoError("the affinity mask of the process cannot be read", "sched_getaffinity");
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string("unknown");
}

/// A binding as words: threads, processors.
std::string encode(const Binding& binding) {
  return fmt::format("{} {}", binding.threads, fmt::join(binding.cpus, " "));
}

Binding decode(const std::string& host, const std::string& line) {
  Binding binding{host, {}, 1};
  std::istringstream words(line);
  words >> binding.threads;
  for (int cpu = 0; words >> cpu;) binding.cpus.push_back(cpu);
  return binding;
}

/// Ranks by host, hosts in order of their first rank.
struct Host {
  std::string name;
  std::vector<std::size_t> ranks;
};

std::vector<Host> by_host(std::span<const Binding> bindings) {
  std::vector<Host> hosts;
  for (std::size_t rank = 0; rank < bindings.size(); ++rank) {
    const auto same = [&](const Host& host) { return host.name == bindings[rank].host; };
    auto found = std::find_if(hosts.begin(), hosts.end(), same);
    if (found == hosts.end()) found = hosts.insert(hosts.end(), {bindings[rank].host, {}});
    found->ranks.push_back(rank);
  }
  return hosts;
}

/// "1 thread", "8 threads".
template <class Number>
std::string count_of(Number count, const std::string& unit) {
  return fmt::format("{} {}{}", count, unit, count == 1 ? "" : "s");
}

/// "8 threads" or "1 to 8 threads".
template <class Values>
std::string range_of(const Values& values, const std::string& unit) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return (*low == *high ? "" : fmt::format("{} to ", *low)) + count_of(*high, unit);
}

}  // namespace

Binding local_binding(int threads) { return {host_name(), allowed_cpus(), threads}; }

std::vector<Binding> gather_bindings(Session& session, int threads) {
  const std::vector<std::string> lines = gather(session, encode(local_binding(threads)));
  std::istringstream all(broadcast(session, fmt::format("{}", fmt::join(lines, "\n"))));
  std::vector<Binding> bindings;
  for (const std::string& host : session.hosts()) {
    std::string line;
    std::getline(all, line);
    bindings.push_back(decode(host, line));
  }
  return bindings;
}

int advised_threads(std::span<const Binding> bindings, int rank) {
  QUANTBOUND_ASSERT(rank >= 0 && static_cast<std::size_t>(rank) < bindings.size(), rank, bindings.size());
  const Binding& mine = bindings[static_cast<std::size_t>(rank)];
  std::map<int, int> users;
  for (const Binding& other : bindings) {
    if (other.host != mine.host) continue;
    for (const int cpu : other.cpus) ++users[cpu];
  }
  double share = 0.0;
  for (const int cpu : mine.cpus) share += 1.0 / users[cpu];
  return std::max(1, static_cast<int>(share + 1e-6));
}

std::vector<std::string> binding_warnings(std::span<const Binding> bindings) {
  std::vector<std::string> warnings;
  std::vector<std::size_t> crowded;
  for (std::size_t rank = 0; rank < bindings.size(); ++rank) {
    if (bindings[rank].threads > static_cast<int>(bindings[rank].cpus.size())) crowded.push_back(rank);
  }
  if (!crowded.empty()) {
    const Binding& first = bindings[crowded.front()];
    warnings.push_back(
        fmt::format("{} of {} with more threads than processors (rank {} on {}: {}, {}); bind wider "
                    "(mpirun --map-by slot:PE={} --bind-to core) or use --threads",
                    crowded.size(), count_of(bindings.size(), "rank"), crowded.front(), first.host,
                    count_of(first.threads, "thread"), count_of(first.cpus.size(), "processor"), first.threads));
  }
  for (const Host& host : by_host(bindings)) {
    std::set<int> cpus;
    int threads = 0;
    for (const std::size_t rank : host.ranks) {
      cpus.insert(bindings[rank].cpus.begin(), bindings[rank].cpus.end());
      threads += bindings[rank].threads;
    }
    if (host.ranks.size() < 2 || threads <= static_cast<int>(cpus.size())) continue;
    warnings.push_back(fmt::format("{}: {} ranks with {} together share {}; start fewer ranks or use --threads",
                                   host.name, host.ranks.size(), count_of(threads, "thread"),
                                   count_of(cpus.size(), "processor")));
  }
  return warnings;
}

std::string describe(std::span<const Binding> bindings) {
  std::vector<std::size_t> per_host, cpus;
  std::vector<int> threads;
  const std::vector<Host> hosts = by_host(bindings);
  for (const Host& host : hosts) per_host.push_back(host.ranks.size());
  for (const Binding& binding : bindings) {
    threads.push_back(binding.threads);
    cpus.push_back(binding.cpus.size());
  }
  const std::string where = hosts.size() == 1 ? hosts.front().name : fmt::format("{} hosts", hosts.size());
  const std::string spread = hosts.size() == 1 ? "" : range_of(per_host, "rank") + " per host, ";
  return fmt::format("{} on {}, {}{} and {} per rank", count_of(bindings.size(), "rank"), where, spread,
                     range_of(threads, "thread"), range_of(cpus, "processor"));
}

}  // namespace quantbound::parallel
