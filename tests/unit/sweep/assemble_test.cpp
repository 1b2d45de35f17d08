#include "quantbound/sweep/assemble.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "quantbound/sweep/task.hpp"

namespace quantbound::sweep {
namespace {

/// One small network in one configuration, observed on four uniform points: one task with three units.
Plan small_plan() {
  const auto path = std::filesystem::temp_directory_path() / "quantbound-assemble-test.toml";
  std::ofstream(path) << "[study]\nname = \"a\"\n[[network]]\nfamily = \"mlp\"\ndepth = 2\nwidth = 4\ninputs = 3\n"
                         "domain = { low = -1.0, high = 1.0 }\n[quantization]\nbits = 4\n"
                         "[observe]\nuniform = 4\nquantiles = [0.5, 0.75, 0.76, 1.0]\n";
  Plan plan = make_plan(read_study(path));
  std::filesystem::remove(path);
  return plan;
}

const std::vector<double>& doubles(const Dataset& dataset, const char* name) {
  return std::get<std::vector<double>>(dataset.root.find_variable(name)->data);
}

TEST(Assembler, TakesStatisticsOfTheDeviationsOfASampleSet) {
  const Plan plan = small_plan();
  Record record = *TaskRunner(plan).run(0);
  auto& inside = std::get<ObserveResult>(record.units[2].result).inside;
  inside.deviation = {4.0, 1.0, 3.0, 2.0};
  inside.layer_max = {0.5, 4.0};
  inside.agree = {3};
  Assembler assembler(plan);

  assembler.add(0, std::move(record));
  const Dataset dataset = assembler.finish();

  EXPECT_EQ(doubles(dataset, "observed_max"), std::vector<double>{4.0});
  EXPECT_EQ(doubles(dataset, "observed_mean"), std::vector<double>{2.5});
  EXPECT_EQ(doubles(dataset, "observed_quantile"), (std::vector<double>{2.0, 3.0, 4.0, 4.0}));
  EXPECT_EQ(doubles(dataset, "observed_layer_max"), (std::vector<double>{0.5, 4.0}));
  EXPECT_EQ(doubles(dataset, "agreement"), std::vector<double>{0.75});
  EXPECT_TRUE(std::isnan(doubles(dataset, "accuracy")[0])) << "uniform points have no labels";
  EXPECT_EQ(std::get<std::vector<std::int8_t>>(dataset.root.find_variable("status")->data),
            std::vector<std::int8_t>{1});
}

TEST(Assembler, AFailedUnitIsListedAndItsNumbersStayUnknown) {
  const Plan plan = small_plan();
  Record record = *TaskRunner(plan).run(0);
  record.units[0].result = Failure{"out of memory"};
  Assembler assembler(plan);

  assembler.add(0, std::move(record));
  const Dataset dataset = assembler.finish();

  ASSERT_EQ(assembler.failures().size(), 1U);
  EXPECT_EQ(assembler.failures()[0].message, "out of memory");
  EXPECT_EQ(std::get<std::vector<std::int8_t>>(dataset.root.find_variable("status")->data),
            std::vector<std::int8_t>{2});
  for (const double bound : doubles(dataset, "log10_bound")) EXPECT_TRUE(std::isnan(bound));
  EXPECT_FALSE(std::isnan(doubles(dataset, "observed_max")[0])) << "what could be measured is kept";
}

}  // namespace
}  // namespace quantbound::sweep
