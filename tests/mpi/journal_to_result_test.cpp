#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"
#include "quantbound/parallel/collective.hpp"
#include "quantbound/parallel/scheduler.hpp"
#include "quantbound/store/journal.hpp"
#include "quantbound/store/result_file.hpp"

#include "mpi_session.hpp"

namespace quantbound::parallel {
namespace {

constexpr std::size_t tasks = 60;
constexpr const char* study = "journal_to_result_test";

double value_of(std::size_t task) { return core::RandomStream(1, study).normal(task); }

sweep::Dataset dataset_of(const std::vector<double>& values) {
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < values.size(); ++i) labels.push_back(static_cast<std::int64_t>(i));
  sweep::Dataset dataset;
  dataset.root.add_axis({"task", labels, {}});
  dataset.root.add_variable({"value", {"task"}, values, {{"units", "1"}}, {}});
  return dataset;
}

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Runs what the journals do not hold yet; `most` tasks on this rank, then stops.
Outcome run_missing(Session& session, const std::filesystem::path& journals, std::size_t most) {
  std::vector<std::size_t> missing;
  std::vector<bool> is_done(tasks, false);
  for (const std::uint64_t key : store::JournalReader(journals, study).keys()) is_done[key] = true;
  for (std::size_t task = 0; task < tasks; ++task) {
    if (!is_done[task]) missing.push_back(task);
  }
  barrier(session);
  store::JournalWriter writer(journals, session.rank(), study);
  StopToken stop;
  std::size_t done = 0;
  const Outcome outcome = run_dynamic(session, std::vector<double>(missing.size(), 1.0), stop,
                                      [&](std::size_t i) {
                                        const double value = value_of(missing[i]);
                                        writer.append(missing[i], std::as_bytes(std::span(&value, 1)));
                                        if (++done == most) stop.request_stop();
                                      },
                                      {});
  writer.close();
  barrier(session);
  return outcome;
}

std::vector<double> values_in(const std::filesystem::path& journals) {
  std::vector<double> values(tasks, 0.0);
  store::JournalReader(journals, study).for_each([&](std::uint64_t key, std::span<const std::byte> payload) {
    std::memcpy(&values[key], payload.data(), sizeof(double));
  });
  return values;
}

TEST(JournalToResult, InterruptedResumedAndWrittenOnAnyRanksGivesTheBytesOfOneRank) {
  Session& session = test_session();
  std::string place = (std::filesystem::temp_directory_path() / "quantbound_mpi_XXXXXX").string();
  if (session.is_root()) place = ::mkdtemp(place.data());
  const std::filesystem::path directory = broadcast(session, place);
  const auto journals = store::journal_directory(directory / "out.h5");

  const Outcome first = run_missing(session, journals, 5);
  const Outcome second = run_missing(session, journals, tasks + 1);

  EXPECT_EQ(first, Outcome::stopped);
  EXPECT_EQ(second, Outcome::finished);
  if (session.is_root()) {
    store::write_result(directory / "out.h5", dataset_of(values_in(journals)));
    std::vector<double> direct;
    for (std::size_t task = 0; task < tasks; ++task) direct.push_back(value_of(task));
    store::write_result(directory / "direct.h5", dataset_of(direct));
    EXPECT_TRUE(read_bytes(directory / "out.h5") == read_bytes(directory / "direct.h5"));
    store::remove_journals(journals);
    EXPECT_FALSE(std::filesystem::exists(journals));
    std::filesystem::remove_all(directory);
  }
  barrier(session);
}

}  // namespace
}  // namespace quantbound::parallel
