#include "quantbound/sweep/assemble.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "quantbound/sweep/task.hpp"

namespace quantbound::sweep {
namespace {

/// One small network in one configuration, observed on four uniform points: one task with three units.
Plan small_plan() {
  const auto path =
      std::filesystem::temp_directory_path() / ("quantbound-assemble-test-" + std::to_string(::getpid()) + ".toml");
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

std::vector<std::int64_t> whole(const Dataset& dataset, const char* name) {
  return std::get<std::vector<std::int64_t>>(dataset.root.find_variable(name)->data);
}

TEST(Assembler, TakesStatisticsOfTheDeviationsOfASampleSet) {
  const Plan plan = small_plan();
  Record record = *TaskRunner(plan).run(0);
  auto& inside = std::get<ObserveResult>(record.units[2].result).inside;
  inside.deviation = {4.0, 1.0, 3.0, 2.0};
  inside.error = {0.125};
  inside.in_double = {3};
  inside.layers = {.samples = 2,
                   .deviation = {0.5, 0.25, 3.0, 4.0},
                   .input = {2.0, 4.0, 1.0, 0.0},
                   .input_deviation = {0.0, 0.0, 3.0, 1.0},
                   .carried = {0.0, 0.0, 6.0, 4.0},
                   .local = {3.0, 1.0, 1.0, 0.0}};
  inside.deviation_2 = {40.0, 10.0, 30.0, 20.0};
  inside.relative = {0.4, 0.1, 0.3, 0.2};
  inside.counts = {{.agree = 3}};
  Assembler assembler(plan);

  assembler.add(0, std::move(record));
  const Dataset dataset = assembler.finish();

  EXPECT_EQ(doubles(dataset, "observed_max"), std::vector<double>{4.0});
  EXPECT_EQ(doubles(dataset, "observed_mean"), std::vector<double>{2.5});
  EXPECT_EQ(doubles(dataset, "observed_quantile"), (std::vector<double>{2.0, 3.0, 4.0, 4.0}));
  EXPECT_EQ(doubles(dataset, "observed_error"), std::vector<double>{0.125});
  EXPECT_EQ(whole(dataset, "observed_in_double"), std::vector<std::int64_t>{3});
  EXPECT_EQ(doubles(dataset, "observed_norm_max"), (std::vector<double>{40.0, 0.4}));
  EXPECT_EQ(doubles(dataset, "observed_norm_mean"), (std::vector<double>{25.0, 0.25}));
  EXPECT_EQ(doubles(dataset, "observed_norm_quantile"), (std::vector<double>{20, 30, 40, 40, 0.2, 0.3, 0.4, 0.4}));
  EXPECT_EQ(whole(dataset, "layer_samples"), std::vector<std::int64_t>{2});
  EXPECT_EQ(doubles(dataset, "observed_layer_max"), (std::vector<double>{0.5, 4.0}));
  EXPECT_EQ(doubles(dataset, "observed_layer_mean"), (std::vector<double>{0.375, 3.5}));
  EXPECT_EQ(doubles(dataset, "error_amplification"), (std::vector<double>{0.0, 3.0})) << "0 / 0 is 0";
  EXPECT_EQ(doubles(dataset, "error_ratio"), (std::vector<double>{0.875, 0.5}));
  EXPECT_EQ(doubles(dataset, "error_local"), (std::vector<double>{2.0, 0.5}));
  // G_1 = 3 and 1, G_2 = 2 * 3 + 1 = 7 and 4 * 1 + 0 = 4: the second layer causes 1/7 and 0.
  EXPECT_NEAR(doubles(dataset, "error_share")[1], 0.5 / 7.0, 1e-15);
  EXPECT_NEAR(doubles(dataset, "error_share")[0], 1.0 - 0.5 / 7.0, 1e-15);
  // Mean 5.5, variance of two samples 4.5, 99 %.
  EXPECT_NEAR(doubles(dataset, "cantelli_global")[0], 5.5 + std::sqrt(4.5 * 99.0), 1e-12);
  EXPECT_EQ(doubles(dataset, "agreement"), std::vector<double>{0.75});
  EXPECT_TRUE(std::isnan(doubles(dataset, "accuracy")[0])) << "uniform points have no labels";
  EXPECT_EQ(std::get<std::vector<std::int8_t>>(dataset.root.find_variable("status")->data),
            std::vector<std::int8_t>{1});
}

/// Forty configurations, observed in two ranges, on labelled images of which one lies outside the domain.
Plan plan_of_images(const std::string& quantization) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("quantbound-assemble-images-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::string header("\0\0\x08\x02\0\0\0\x06\0\0\0\x03", 12);  // idx: 6 x 3 bytes
  std::ofstream(folder / "x", std::ios::binary) << header << std::string("\1\2\3\4\5\6\7\x8\xf0\3\2\1\5\5\5\0\7\1", 18);
  std::ofstream(folder / "y", std::ios::binary) << std::string("\0\0\x08\1\0\0\0\6\0\1\0\1\0\1", 14);
  std::ofstream(folder / "s.toml")
      << "[study]\nname = \"a\"\n[[network]]\nfamily = \"mlp\"\ndepth = 3\nwidth = 4\ninputs = 3\n"
         "outputs = 2\ndomain = { low = 0.0, high = 1.0 }\n[[samples]]\nname = \"s\"\n"
         "images = \"x\"\nlabels = \"y\"\nscale = 10.0\n"
      << quantization << "[observe]\nsamples = \"s\"\nper_sample = true\nconfidence = 0.5\n";
  Plan plan = make_plan(read_study(folder / "s.toml"));
  return plan;
}

Dataset assembled(const Plan& plan) {
  TaskRunner runner(plan);
  Assembler assembler(plan);
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) assembler.add(t, *runner.run(t));
  EXPECT_TRUE(assembler.failures().empty());
  return assembler.finish();
}

TEST(Assembler, ConfigurationsObservedInSeveralRangesEqualThoseObservedAlone) {
  const Plan plan = plan_of_images(
      "[quantization]\nquantizer = [\"floor\", \"round\"]\ngranularity = [\"tensor\", \"channel\"]\n"
      "bits = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n");
  ASSERT_EQ(plan.configurations.size(), 40U);
  const Dataset all = assembled(plan);
  for (const std::size_t c : {0U, 19U, 20U, 39U}) {
    const auto& configuration = plan.configurations[c];
    const Dataset alone = assembled(plan_of_images(
        "[quantization]\nquantizer = \"" + std::string(to_string(configuration.quantizer)) + "\"\ngranularity = \"" +
        std::string(to_string(configuration.granularity)) + "\"\nbits = " + std::to_string(configuration.bits) + "\n"));
    for (const char* name : {"observed_max", "observed_mean", "agreement", "accuracy", "accuracy_top5", "flips_lost",
                             "margin_exceeded", "disagreement_upper", "observed_sample", "observed_quantile_upper"}) {
      const auto& one = doubles(alone, name);
      for (std::size_t i = 0; i < one.size(); ++i) {
        const double value = doubles(all, name)[c * one.size() + i];
        EXPECT_TRUE(value == one[i] || (std::isnan(value) && std::isnan(one[i]))) << name << ' ' << c << ' ' << value;
      }
    }
  }
}

TEST(Assembler, KeepsTheDeviationOfEverySampleInItsPlaceAndNothingOutsideTheDomain) {
  const Dataset dataset = assembled(plan_of_images("[quantization]\nbits = 4\n"));
  const auto& samples = doubles(dataset, "observed_sample");
  ASSERT_EQ(samples.size(), 6U);
  EXPECT_TRUE(std::isnan(samples[2])) << "24 is outside [0, 1]";
  double largest = 0.0;
  for (const std::size_t i : {0U, 1U, 3U, 4U, 5U}) largest = std::max(largest, samples[i]);
  EXPECT_EQ(doubles(dataset, "observed_max"), std::vector<double>{largest});
  EXPECT_EQ(whole(dataset, "samples_in_domain"), std::vector<std::int64_t>{5});
  EXPECT_EQ(whole(dataset, "sample_row"), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_NEAR(doubles(dataset, "observed_max_exceedance")[0], 1.0 - std::pow(0.5, 1.0 / 5.0), 1e-12);
  EXPECT_EQ(doubles(dataset, "accuracy_top5_reference"), std::vector<double>{1.0}) << "two outputs are among five";
}

TEST(Assembler, AFailedBlockOfSamplesLeavesItsConfigurationsUnknownAndTheOthersWhole) {
  const Plan plan = plan_of_images(
      "[quantization]\nquantizer = [\"floor\", \"round\"]\ngranularity = [\"tensor\", \"channel\"]\n"
      "bits = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n");
  TaskRunner runner(plan);
  Assembler assembler(plan);
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) {
    Record record = *runner.run(t);
    for (std::size_t u = 0; u < record.units.size(); ++u) {
      const Unit& unit = plan.tasks[t].units[u];
      if (unit.stage == Stage::observe && unit.first == 0) record.units[u].result = Failure{"overflow"};
    }
    assembler.add(t, std::move(record));
  }
  const Dataset dataset = assembler.finish();
  const auto& largest = doubles(dataset, "observed_max");
  const auto status = std::get<std::vector<std::int8_t>>(dataset.root.find_variable("status")->data);
  for (std::size_t c = 0; c < 40; ++c) {
    EXPECT_EQ(std::isnan(largest[c]), c < 20) << c;
    EXPECT_EQ(status[c], c < 20 ? 2 : 1) << c;
  }
  EXPECT_EQ(whole(dataset, "samples_in_domain"), std::vector<std::int64_t>{5});
}

/// Two boxes' worth of certificates: the network twice, two configurations, two methods, two outputs, an attack.
Plan plan_with_certificates() {
  const auto path = std::filesystem::temp_directory_path() /
                    ("quantbound-assemble-certify-test-" + std::to_string(::getpid()) + ".toml");
  std::ofstream(path) << "[study]\nname = \"a\"\n[[network]]\nfamily = \"mlp\"\ndepth = 2\nwidth = 4\ninputs = 3\n"
                         "outputs = 2\ndraws = 2\ndomain = { low = -1.0, high = 1.5 }\n[quantization]\nbits = [4, 5]\n"
                         "[certify]\nmethod = [\"interval\", \"difference_interval\"]\n"
                         "[observe]\nattack = { starts = 2, steps = 1 }\n";
  Plan plan = make_plan(read_study(path));
  std::filesystem::remove(path);
  return plan;
}

/// A record of task `index` with certificates that can be told apart: low = -(1 + 1000 task + 100 method +
/// 10 configuration + output), high = 0.
Record numbered_record(const Plan& plan, std::size_t index) {
  Record record = *TaskRunner(plan).run(index);
  for (std::size_t u = 0; u < record.units.size(); ++u) {
    const Unit& unit = plan.tasks[index].units[u];
    auto* certified = std::get_if<CertifyResult>(&record.units[u].result);
    for (Index c = 0; certified != nullptr && c < unit.count; ++c) {
      const auto base = static_cast<double>(1 + 1000 * static_cast<Index>(index) + 100 * unit.method + 10 * c);
      certified->configurations[static_cast<std::size_t>(c)].certificate = {
          .difference = {{-base, -base - 1.0}, {0.0, 0.0}}, .boxes = unit.method + 7};
    }
    if (auto* attacked = std::get_if<AttackResult>(&record.units[u].result)) {
      for (std::size_t c = 0; c < attacked->deviation.size(); ++c)
        attacked->deviation[c] = static_cast<double>(index) + 0.25 * static_cast<double>(c);
    }
  }
  return record;
}

TEST(Assembler, PutsCertificatesWhereTheirRegionConfigurationAndMethodAre) {
  const Plan plan = plan_with_certificates();
  ASSERT_EQ(plan.tasks.size(), 2U) << "one per network";
  Assembler assembler(plan);
  for (std::size_t t = 0; t < 2; ++t) assembler.add(t, numbered_record(plan, t));
  const Dataset dataset = assembler.finish();

  const auto& certified = doubles(dataset, "certified");
  EXPECT_EQ(certified, (std::vector<double>{2, 102, 12, 112, 1002, 1102, 1012, 1112}));
  EXPECT_EQ(doubles(dataset, "certified_output"),
            (std::vector<double>{1, 101, 11, 111, 2, 102, 12, 112,  //
                                 1001, 1101, 1011, 1111, 1002, 1102, 1012, 1112}));
  EXPECT_EQ(doubles(dataset, "attacked"), (std::vector<double>{0.0, 0.25, 1.0, 1.25}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(dataset.root.find_variable("certify_boxes")->data),
            (std::vector<std::int64_t>{7, 8, 7, 8, 7, 8, 7, 8}));
  for (const double lower : doubles(dataset, "certified_lower"))
    EXPECT_TRUE(std::isnan(lower)) << "nothing was searched";
  EXPECT_EQ(std::get<std::vector<std::string>>(dataset.root.find_variable("region_name")->data),
            (std::vector<std::string>{"box", "box"}));
  EXPECT_EQ(doubles(dataset, "region_radius"), (std::vector<double>{1.25, 1.25}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(dataset.root.find_variable("region_output_region")->data),
            (std::vector<std::int64_t>{0, 0, 1, 1}));
  EXPECT_TRUE(assembler.notes().empty());
}

TEST(Assembler, OfTheGroupsOfAnAttackTheLargestCounts) {
  Plan plan = plan_with_certificates();
  Record first = numbered_record(plan, 0);
  auto& units = plan.tasks[0].units;
  const auto attack = static_cast<std::size_t>(std::ranges::find(units, Stage::attack, &Unit::stage) - units.begin());
  units.push_back(units[attack]);
  first.units.push_back(first.units[attack]);
  std::get<AttackResult>(first.units.back().result).deviation = {0.5, 0.125};
  Assembler assembler(plan);
  assembler.add(0, std::move(first));
  assembler.add(1, numbered_record(plan, 1));

  EXPECT_EQ(doubles(assembler.finish(), "attacked"), (std::vector<double>{0.5, 0.25, 1.0, 1.25}));
}

TEST(Assembler, WhatIsNotApplicableIsNotedAndWhatTimedOutIsFlagged) {
  const Plan plan = plan_with_certificates();
  Record first = numbered_record(plan, 0), second = numbered_record(plan, 1);
  const auto unit_of = [&](std::size_t task, Index method) {
    return static_cast<std::size_t>(
        std::ranges::find_if(plan.tasks[task].units,
                             [&](const Unit& unit) { return unit.stage == Stage::certify && unit.method == method; }) -
        plan.tasks[task].units.begin());
  };
  auto& refused = std::get<CertifyResult>(first.units[unit_of(0, 1)].result).configurations;
  for (auto& result : refused) result = {.not_applicable = "no such operator", .certificate = {}};
  auto& late = std::get<CertifyResult>(second.units[unit_of(1, 0)].result).configurations;
  late[1].certificate.timed_out = true;
  Assembler assembler(plan);
  assembler.add(0, std::move(first));
  assembler.add(1, std::move(second));
  const Dataset dataset = assembler.finish();

  EXPECT_TRUE(assembler.failures().empty());
  ASSERT_EQ(assembler.notes().size(), 1U);
  EXPECT_EQ(assembler.notes()[0].network, 0);
  EXPECT_EQ(assembler.notes()[0].method, certify::Method::difference_interval);
  EXPECT_EQ(assembler.notes()[0].text, "no such operator");
  EXPECT_EQ(std::get<std::vector<std::string>>(dataset.root.find_variable("method_note")->data),
            (std::vector<std::string>{"", "no such operator", "", ""}));
  EXPECT_TRUE(std::isnan(doubles(dataset, "certified")[1]));
  EXPECT_EQ(doubles(dataset, "certified")[0], 2.0);
  EXPECT_EQ(std::get<std::vector<std::int8_t>>(dataset.root.find_variable("status")->data),
            (std::vector<std::int8_t>{1, 1, 1, 3}));
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
