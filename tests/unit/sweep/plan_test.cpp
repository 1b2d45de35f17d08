#include "quantbound/sweep/plan.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

namespace quantbound::sweep {
namespace {

using ::testing::HasSubstr;

class PlanOf : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("quantbound-plan-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return (folder_ / name).string();
  }
  Plan plan(const std::string& text, const std::vector<Override>& overrides = {}) {
    return make_plan(read_study(write("study.toml", text), overrides));
  }
  std::string error_of(const std::string& text) {
    try {
      plan(text);
    } catch (const core::InputError& error) {
      return error.what();
    }
    return "no error";
  }
  std::filesystem::path folder_;
};

const std::string networks = R"([study]
name = "plan"
[[network]]
family = "mlp"
depth = [3, 12]
width = [16, 700]
domain = { low = -1.0, high = 1.0 }
[[network]]
family = "cnn"
depth = 4
width = 16
resolution = 32
domain = { low = 0.0, high = 1.0 }
)";
const std::string rest = R"([quantization]
quantizer = ["floor", "round"]
bits = [2, 3, 4, 5, 6, 7, 8]
[observe]
uniform = 20000
)";

TEST_F(PlanOf, UnitsTileLayersConfigurationsAndSamplesExactlyOnce) {
  const Plan p = plan(networks + rest);

  std::map<std::pair<Index, Stage>, std::multiset<Index>> covered;
  for (const auto& task : p.tasks) {
    for (const auto& unit : task.units) {
      if (unit.stage == Stage::observe) {
        EXPECT_EQ(unit.count, 14) << "few configurations are measured together";
        for (Index i = 0; i < unit.sample_count; ++i) covered[{task.network, unit.stage}].insert(unit.first_sample + i);
      } else {
        for (Index i = unit.first; i < unit.first + unit.count; ++i) covered[{task.network, unit.stage}].insert(i);
      }
    }
  }
  for (std::size_t n = 0; n < p.networks.size(); ++n) {
    const auto network = static_cast<Index>(n);
    const std::map<Stage, std::size_t> expected{
        {Stage::norms, p.networks[n].layers.size()}, {Stage::weight_bounds, 14}, {Stage::observe, 20000}};
    for (const auto& [stage, count] : expected) {
      const auto& indices = covered[{network, stage}];
      EXPECT_EQ(indices.size(), count) << p.networks[n].study.label << ' ' << to_string(stage);
      EXPECT_EQ(std::set<Index>(indices.begin(), indices.end()).size(), count);
      EXPECT_EQ(*indices.rbegin(), static_cast<Index>(count) - 1);
    }
  }
}

TEST_F(PlanOf, ManyConfigurationsAreObservedInRangesEachWithEverySample) {
  const Plan p = plan(networks + R"([quantization]
quantizer = ["floor", "round", "truncate"]
granularity = ["tensor", "channel"]
bits = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
[observe]
uniform = 20000
)");
  ASSERT_EQ(p.configurations.size(), 66U);
  std::map<Index, std::map<Index, Index>> samples;  // network, first configuration: how many so far
  for (const auto& task : p.tasks) {
    for (const auto& unit : task.units) {
      if (unit.stage != Stage::observe) continue;
      EXPECT_EQ(unit.first % 22, 0) << "three equal ranges";
      EXPECT_EQ(unit.count, 22);
      EXPECT_EQ(samples[task.network][unit.first], unit.first_sample) << "blocks of a range come in order";
      samples[task.network][unit.first] += unit.sample_count;
    }
  }
  EXPECT_EQ(samples.size(), p.networks.size());
  for (const auto& [network, ranges] : samples) {
    EXPECT_EQ(ranges.size(), 3U);
    for (const auto& [first, count] : ranges) EXPECT_EQ(count, 20000) << network << ' ' << first;
  }
}

TEST_F(PlanOf, MemoryGrowsWithTheThreadsWhereTheyHaveEnginesOfTheirOwn) {
  const Plan p = plan(networks + rest);
  const auto& convolutional = p.networks.back();
  const double one = memory(p, convolutional, 1), two = memory(p, convolutional, 2),
               three = memory(p, convolutional, 3);
  EXPECT_GT(two, one);
  EXPECT_NEAR(three - two, two - one, 1.0);
}

TEST_F(PlanOf, EveryRegionIsCertifiedByEveryMethodAndAttackedInEveryConfigurationOnce) {
  write("s", std::string("\0\0\x08\x02\0\0\0\x02\0\0\0\x02", 12) + std::string("\0\xff\x7f\x80", 4));
  const Plan p = plan(R"([study]
name = "regions"
[[network]]
family = "mlp"
depth = 6
width = [8, 900]
inputs = 2
domain = { around = "s", radius = 0.1, count = 2 }
[[samples]]
name = "s"
images = "s"
[quantization]
bits = [2, 3, 4, 5, 6, 7, 8]
[certify]
method = ["interval", "difference_interval"]
[observe]
attack = { starts = 16, steps = 100 }
)");

  ASSERT_EQ(p.networks[0].region_names, (std::vector<std::string>{"s[0]", "s[1]"}));
  std::map<std::tuple<Index, Stage, Index, Index>, std::multiset<Index>> covered;
  std::map<Index, std::size_t> units;
  for (const auto& task : p.tasks) {
    for (const auto& unit : task.units) {
      if (unit.stage != Stage::certify && unit.stage != Stage::attack) continue;
      ++units[task.network];
      for (Index i = unit.first; i < unit.first + unit.count; ++i)
        covered[{task.network, unit.stage, unit.region, unit.method}].insert(i);
    }
  }
  EXPECT_EQ(covered.size(), 2U * 2U * (2U + 1U)) << "networks x regions x (methods and the attack)";
  for (const auto& [place, configurations] : covered) {
    EXPECT_EQ(configurations, (std::multiset<Index>{0, 1, 2, 3, 4, 5, 6}));
  }
  EXPECT_EQ(units[0], 6U) << "a cheap network is not cut";
  EXPECT_GT(units[1], 6U) << "long attacks on a large network are";
}

TEST_F(PlanOf, StartsOfALongAttackAreSharedInGroupsThatHoldEveryStartOnce) {
  const Plan p = plan(R"([study]
name = "groups"
[[network]]
family = "cnn"
depth = [4, 12]
width = 64
resolution = 32
domain = { low = -1.0, high = 1.0 }
[quantization]
bits = [4, 8]
[observe]
attack = { starts = 12, steps = 400 }
)");

  std::map<std::pair<Index, Index>, std::multiset<Index>> groups;  // of every network and configuration
  for (const auto& task : p.tasks) {
    for (const auto& unit : task.units) {
      if (unit.stage != Stage::attack) continue;
      for (Index c = unit.first; c < unit.first + unit.count; ++c) groups[{task.network, c}].insert(unit.group);
      EXPECT_LE(unit.groups, 12) << "a group has a start";
      EXPECT_LT(unit.cost, 60.0) << "work that several ranks can share";
    }
  }
  ASSERT_EQ(groups.size(), 4U);
  for (const auto& [place, found] : groups) {
    std::multiset<Index> each;
    for (Index g = 0; g < std::ssize(found); ++g) each.insert(g);
    EXPECT_EQ(found, each);
  }
  EXPECT_GT(groups.at({1, 0}).size(), 1U);
  EXPECT_GE(groups.at({1, 0}).size(), groups.at({0, 0}).size()) << "a larger network has more groups";
}

TEST_F(PlanOf, SmallNetworksAreAttackedInOneGroup) {
  const Plan p = plan(networks + "[quantization]\nbits = 8\n[observe]\nattack = { starts = 64, steps = 1000 }\n");
  for (const auto& task : p.tasks) {
    if (p.networks[static_cast<std::size_t>(task.network)].multiply_adds >= observe::AttackOptions{}.float_from)
      continue;
    for (const auto& unit : task.units) EXPECT_EQ(unit.groups, 1);
  }
}

TEST_F(PlanOf, RegionsHaveNames) {
  EXPECT_EQ(plan(networks + rest).networks[0].region_names, std::vector<std::string>{"box"});
}

TEST_F(PlanOf, TasksBelongToOneNetworkAndComeInItsOrder) {
  const Plan p = plan(networks + rest);
  for (std::size_t t = 1; t < p.tasks.size(); ++t) EXPECT_GE(p.tasks[t].network, p.tasks[t - 1].network);
  for (const auto& task : p.tasks) EXPECT_GT(task.cost, 0.0);
  EXPECT_GT(p.tasks.size(), p.networks.size()) << "large networks are cut";
}

TEST_F(PlanOf, HashChangesWithTheStudyAndWithItsFilesOnly) {
  const std::string samples = "[[samples]]\nname = \"s\"\nimages = \"s\"\n";
  const std::string text = networks + samples + rest;
  write("s", std::string("\0\0\x08\x02\0\0\0\x01\0\0\0\x02", 12) + "ab");
  const std::string hash = plan(text).hash;

  EXPECT_EQ(plan(text).hash, hash);
  EXPECT_NE(plan(text, {{"study.seed", "2"}}).hash, hash);
  write("s", std::string("\0\0\x08\x02\0\0\0\x01\0\0\0\x02", 12) + "ac");
  EXPECT_NE(plan(text).hash, hash);
}

TEST_F(PlanOf, BallsAroundSamplesAreRegionsCutToTheValidRange) {
  write("s", std::string("\0\0\x08\x02\0\0\0\x02\0\0\0\x02", 12) + std::string("\0\xff\x7f\x80", 4));
  const Plan p = plan(R"([study]
name = "balls"
[[network]]
family = "mlp"
depth = 2
width = 4
inputs = 2
domain = { around = "s", radius = 0.1, count = 2, clip = [0.0, 1.0] }
[[samples]]
name = "s"
images = "s"
scale = 255.0
[quantization]
bits = 8
)");

  ASSERT_EQ(p.networks[0].regions.size(), 2U);
  EXPECT_EQ(p.networks[0].regions[0].low[0], 0.0);
  EXPECT_NEAR(p.networks[0].regions[0].high[0], 0.1, 1e-12);
  EXPECT_EQ(p.networks[0].domain.low[0], 0.0);
  EXPECT_EQ(p.networks[0].domain.high[1], 1.0);
  EXPECT_TRUE(p.samples.empty()) << "centres of balls are not observed unless asked for";
}

TEST_F(PlanOf, DomainsThatDoNotFitAreRefused) {
  std::string text = networks + rest;
  text.replace(text.find("low = -1.0, high = 1.0"), 22, "low = [0.0, 0.0], high = [1.0, 1.0]");
  EXPECT_THAT(error_of(text), HasSubstr("has 2 numbers, its input 64"));

  text = networks + rest;
  text.replace(text.find("low = -1.0, high = 1.0"), 22, "low = 1.0, high = -1.0");
  EXPECT_THAT(error_of(text), HasSubstr("the domain is empty"));
}

/// A study of one small network with two inputs and ten outputs, and these sample sets.
std::string two_inputs(const std::string& samples) {
  return "[study]\nname = \"rows\"\n[[network]]\nfamily = \"mlp\"\ndepth = 2\nwidth = 4\ninputs = 2\noutputs = 10\n"
         "domain = { low = 0.0, high = 255.0 }\n" +
         samples + "[quantization]\nbits = 8\n[observe]\nsamples = [\"s\"]\n";
}

TEST_F(PlanOf, ASetTakesItsRowsOfTheFileAndCalibrationSetsAreNotMeasuredOn) {
  write("x", std::string("\0\0\x08\x02\0\0\0\x05\0\0\0\x02", 12) + "abcdefghij");
  const std::string file = "images = \"x\"\n";
  const Plan p = plan(two_inputs("[[samples]]\nname = \"fit\"\nrole = \"calibration\"\nrows = [0, 2]\n" + file +
                                 "[[samples]]\nname = \"s\"\nrows = [2, 2]\n" + file));

  ASSERT_EQ(p.samples.size(), 1U);
  EXPECT_EQ(p.samples[0].name, "s");
  EXPECT_EQ(p.samples[0].count, 2);
  EXPECT_EQ(p.samples[0].set->block({2}, 0, 2), (std::vector<double>{'e', 'f', 'g', 'h'}));
  EXPECT_THAT(error_of(two_inputs("[[samples]]\nname = \"s\"\nrows = [2, 4]\n" + file)),
              HasSubstr("samples 's' take rows 2 to 5, but the file has 5 rows"));
  EXPECT_THAT(error_of(two_inputs("[[samples]]\nname = \"s\"\n" + file +
                                  "[[samples]]\nname = \"fit\"\nrole = \"calibration\"\nrows = [4, 1]\n" + file)),
              HasSubstr("share row 4 of"));
}

TEST_F(PlanOf, LabelsThatAreNoOutputOfTheNetworkAreRefused) {
  write("x", std::string("\0\0\x08\x02\0\0\0\x02\0\0\0\x02", 12) + "abcd");
  write("y", std::string("\0\0\x08\x01\0\0\0\x02\x07\x09", 10));
  const std::string set = "[[samples]]\nname = \"s\"\nimages = \"x\"\nlabels = \"y\"\n";

  EXPECT_EQ(error_of(two_inputs(set)), "no error");
  EXPECT_THAT(error_of(two_inputs(set + "label_offset = 1\n")),
              HasSubstr("row 1 of samples 's' has label 10 (label_offset 1 included), but network 'mlp"));
  EXPECT_THAT(error_of(two_inputs(set + "label_offset = -8\n")), HasSubstr("row 0 of samples 's' has label -1"));
}

TEST_F(PlanOf, SamplesThatAreNotFiniteAreFoundBeforeAnythingIsComputed) {
  write("x", std::string("\0\0\x0d\x02\0\0\0\x01\0\0\0\x02\x3f\x80\0\0\x7f\xc0\0\0", 20));
  EXPECT_THAT(error_of(two_inputs("[[samples]]\nname = \"s\"\nimages = \"x\"\n")),
              HasSubstr("row 0: element 1 is not a finite number"));
}

TEST_F(PlanOf, SamplesThatDoNotFitTheNetworkAreRefused) {
  write("s", std::string("\0\0\x08\x02\0\0\0\x01\0\0\0\x02", 12) + "ab");
  EXPECT_THAT(error_of(networks + "[[samples]]\nname = \"s\"\nimages = \"s\"\n" + rest + "samples = [\"s\"]\n"),
              HasSubstr("does not resize"));
}

}  // namespace
}  // namespace quantbound::sweep
