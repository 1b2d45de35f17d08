#include <csignal>
#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include "quantbound/core/error.hpp"
#include "quantbound/observe/order_statistics.hpp"

#include "../store/temporary.hpp"

namespace quantbound::observe {
namespace {

using ::testing::HasSubstr;

double value_at(Index row, Index column) { return static_cast<double>(row) + 1e-6 * static_cast<double>(column); }

std::vector<double> block_of(Index rows, Index first, Index columns) {
  std::vector<double> block;
  for (Index row = 0; row < rows; ++row) {
    for (Index column = first; column < first + columns; ++column) block.push_back(value_at(row, column));
  }
  return block;
}

std::vector<double> collected(const SpillTable& table, Index row) {
  std::vector<double> values;
  table.row(row)([&](std::span<const double> piece) { values.insert(values.end(), piece.begin(), piece.end()); });
  return values;
}

/// Blocks of 1, 2, ..., 13, 1, ... columns until there are `columns` of them.
SpillTable filled(Index rows, Index columns, Index memory_bytes) {
  SpillTable table(rows, memory_bytes);
  for (Index size = 1; table.columns() < columns; size = size % 13 + 1) {
    table.append(block_of(rows, table.columns(), std::min(size, columns - table.columns())));
  }
  return table;
}

void expect_all(const SpillTable& table, Index columns) {
  ASSERT_EQ(table.columns(), columns);
  for (Index row = 0; row < table.rows(); ++row) {
    std::vector<double> expected;
    for (Index column = 0; column < columns; ++column) expected.push_back(value_at(row, column));
    EXPECT_EQ(collected(table, row), expected);
  }
}

/// Sets a variable of the environment for as long as it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* former = std::getenv(name)) former_ = former;
    ::setenv(name, value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { former_.empty() ? ::unsetenv(name_) : ::setenv(name_, former_.c_str(), 1); }

 private:
  const char* name_;
  std::string former_;
};

TEST(SpillTable, GivesBackWhatWasAppendedWhateverTheBudget) {
  const Index rows = 7, columns = 400, row_bytes = columns * 8;
  for (const Index budget : {Index{0}, Index{8}, row_bytes / 3, row_bytes, 3 * row_bytes, 100 * row_bytes}) {
    SCOPED_TRACE(budget);
    const SpillTable table = filled(rows, columns, budget);
    expect_all(table, columns);
    EXPECT_EQ(table.spilled_bytes() == 0, budget == 100 * row_bytes);
  }
}

TEST(SpillTable, CanBeReadBetweenAppends) {
  SpillTable table(3, 400);
  for (Index column = 0; column < 60; ++column) {
    table.append(block_of(3, column, 1));
    expect_all(table, column + 1);
  }
  table.append({});
  expect_all(table, 60);
}

TEST(SpillTable, KeepsTheOrderOfBlocksThatAreLargerThanTheBudget) {
  SpillTable table(2, 100);
  Index columns = 0;
  for (const Index size : {2, 3, 200'000, 1, 50, 4}) {
    table.append(block_of(2, columns, size));
    columns += size;
  }
  expect_all(table, columns);
}

TEST(SpillTable, FeedsOrderStatistics) {
  const Index rows = 3, columns = 100'000;
  SpillTable table(rows, 1 << 20);
  for (Index first = 0; first < columns; first += 64) {
    table.append(block_of(rows, first, std::min<Index>(64, columns - first)));
  }
  ASSERT_GT(table.spilled_bytes(), 0);

  const std::vector<Index> ranks{columns - 1, 0, columns / 2};

  EXPECT_EQ(order_statistics(table.row(1), columns, ranks),
            (std::vector<double>{value_at(1, columns - 1), value_at(1, 0), value_at(1, columns / 2)}));
}

TEST(SpillTable, LeavesNoFileBehindEvenWhileItLives) {
  const store::TemporaryDirectory place;
  const Environment here("TMPDIR", place.path().string());

  const SpillTable table = filled(5, 100, 100);

  EXPECT_GT(table.spilled_bytes(), 0);
  EXPECT_TRUE(store::names_in(place.path()).empty());
}

// The allocator of the address sanitizer does not count.
#ifdef __SANITIZE_ADDRESS__
constexpr bool allocations_are_counted = false;
#else
constexpr bool allocations_are_counted = true;
#endif

Index allocated_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<Index>(info.uordblks + info.hblkhd);
}

TEST(SpillTable, StaysWithinItsMemory) {
  if (!allocations_are_counted) GTEST_SKIP() << "built with the address sanitizer";
  const Index rows = 1000, columns = 4096, budget = 2 << 20;
  const auto block = block_of(rows, 0, 64);
  const Index before = allocated_bytes();
  SpillTable table(rows, budget);
  Index most = 0;

  while (table.columns() < columns) {
    table.append(block);
    most = std::max(most, allocated_bytes() - before);
  }
  table.row(rows - 1)([&](std::span<const double>) { most = std::max(most, allocated_bytes() - before); });

  EXPECT_GE(table.spilled_bytes(), rows * columns * 8 - budget);
  EXPECT_LE(most, budget + (1 << 20));
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::IoError& error) {
    return error.what();
  }
  return "no error";
}

TEST(SpillTable, SaysWhereAndWhatToDoWhenThereIsNoTemporaryDirectory) {
  const store::TemporaryDirectory place;
  const std::string absent = (place.path() / "absent").string();
  const Environment here("TMPDIR", absent);

  const std::string message = error_of([] { filled(5, 100, 100); });

  EXPECT_THAT(message, HasSubstr("cannot create a temporary file: No such file or directory; set TMPDIR"));
  EXPECT_THAT(message, HasSubstr("(" + absent + ")"));
}

TEST(SpillTable, AFullDiskIsAnErrorAndLosesNothing) {
  const store::TinyDisk disk("64k");
  if (!disk.reason().empty()) GTEST_SKIP() << disk.reason();
  const Environment here("TMPDIR", disk.path().string());
  SpillTable table(4, 16 << 10);
  std::string message;
  while (message.empty()) {
    const Index columns = table.columns();
    try {
      table.append(block_of(4, columns, 64));
    } catch (const core::IoError& error) {
      message = error.what();
      EXPECT_EQ(table.columns(), columns);
    }
  }

  EXPECT_THAT(message, HasSubstr("No space left on device; set TMPDIR to a directory with more room (" +
                                 disk.path().string() + ")"));
  expect_all(table, table.columns());
}

TEST(SpillTable, ALimitOnFileSizesIsAnErrorAndWhatIsLiftedGoesOn) {
  rlimit former{};
  getrlimit(RLIMIT_FSIZE, &former);
  const auto former_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{3000, former.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  SpillTable table(5, 1000);

  const std::string message = error_of([&] {
    while (table.columns() < 1000) table.append(block_of(5, table.columns(), 7));
  });

  setrlimit(RLIMIT_FSIZE, &former);
  std::signal(SIGXFSZ, former_handler);
  EXPECT_THAT(message, HasSubstr("cannot write to the temporary file: File too large; raise the limit"));
  expect_all(table, table.columns());
  while (table.columns() < 200) table.append(block_of(5, table.columns(), 1));
  expect_all(table, 200);
}

}  // namespace
}  // namespace quantbound::observe
