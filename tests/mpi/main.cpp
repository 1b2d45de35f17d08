// Main of the tests that run under mpirun: all ranks run all tests together. Rank 0 prints as usual, the others only
// what fails; the exit code is the largest of all ranks. Tests use EXPECT, not ASSERT, around collective calls: a rank
// that leaves a test early would leave the others waiting.
#include <algorithm>
#include <cstdio>
#include <memory>

#include <gtest/gtest.h>

#include "quantbound/parallel/collective.hpp"

#include "mpi_session.hpp"

namespace quantbound::parallel {
namespace {

Session* the_session = nullptr;

class FailuresOnly : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", the_session->rank(), result.file_name(), result.line_number(),
                 result.message());
  }
};

int run_tests(Session& session) {
  the_session = &session;
  if (!session.is_root()) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);  // NOLINT(cppcoreguidelines-owning-memory): GoogleTest owns it
  }
  const int mine = RUN_ALL_TESTS();
  return max_over_ranks(session, mine);
}

}  // namespace

Session& test_session() { return *the_session; }

}  // namespace quantbound::parallel

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    quantbound::parallel::Session session(argc, argv);
    return quantbound::parallel::run_tests(session);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    quantbound::parallel::end_job(1);
    return 1;
  }
}
