#include "quantbound/quantize/instruction_set.hpp"

#include "weight_loops.hpp"

namespace quantbound::quantize {

std::string_view instruction_set() { return detail::instruction_sets().front().name; }

}  // namespace quantbound::quantize
