/// One block of samples, observed in parts that each hold some of the configurations. Used by task.cpp only.
#pragma once

#include <vector>

#include "quantbound/observe/deviation.hpp"

namespace quantbound::sweep::detail {

struct ObservedPart {
  std::vector<observe::Index> positions;  ///< of the configurations among all
  observe::BlockObservation observation;
};

/// All configurations in their order. What does not depend on the configuration comes from the first part.
/// @pre the positions of all parts are 0, 1, 2, ..., each once; the samples are the same
observe::BlockObservation merge(std::vector<ObservedPart> parts);

}  // namespace quantbound::sweep::detail
