#include "quantbound/parallel/launcher_rank.hpp"

#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

namespace quantbound::parallel {

namespace {

/// The first of the variables that is set to a whole number.
std::optional<int> first_number(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    const std::string_view digits(text);
    int number = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (result.ec == std::errc() && result.ptr == digits.data() + digits.size()) return number;
  }
  return std::nullopt;
}

}  // namespace

int launcher_rank() {
  return first_number({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}).value_or(0);
}

// SLURM_NTASKS is not asked: it is also set in a batch script, whose one process is no rank of anything.
std::optional<int> launcher_size() { return first_number({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}); }

bool launched() { return first_number({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}).has_value(); }

}  // namespace quantbound::parallel
