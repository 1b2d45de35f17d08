/// The session of the test program: there is one per process, and main holds it.
#pragma once

#include "quantbound/parallel/session.hpp"

namespace quantbound::parallel {

Session& test_session();

}  // namespace quantbound::parallel
