#include "quantbound/sweep/study.hpp"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

namespace quantbound::sweep {
namespace {

using ::testing::HasSubstr;

/// A folder of its own for every test, with a study file and whatever the study names.
class StudyFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("quantbound-study-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  Study read(const std::string& text, const std::vector<Override>& overrides = {}) {
    return read_study(write("study.toml", text), overrides);
  }
  std::string error_of(const std::string& text, const std::vector<Override>& overrides = {}) {
    try {
      read(text, overrides);
    } catch (const core::InputError& error) {
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_;
};

constexpr const char* minimal = R"([study]
name = "small"
seed = 3
[[network]]
family = "mlp"
depth = [2, 3]
width = 8
draws = 2
domain = { low = -1.0, high = 1.0 }
[quantization]
quantizer = ["floor", "round"]
granularity = ["tensor", "channel"]
bits = [2, 8]
)";

TEST_F(StudyFile, ExpandsTheCartesianProductsInOrder) {
  const Study study = read(minimal);

  ASSERT_EQ(study.networks.size(), 4U);
  EXPECT_NE(study.networks[0].label, study.networks[1].label);
  EXPECT_EQ(std::get<network::FamilyPoint>(study.networks[3].origin).depth, 3);
  EXPECT_EQ(std::get<network::FamilyPoint>(study.networks[3].origin).draw, 1);
  const auto all = configurations(study);
  ASSERT_EQ(all.size(), 8U);
  EXPECT_EQ(all[1].bits, 8);
  EXPECT_EQ(all[2].granularity, quantize::Granularity::channel);
  EXPECT_EQ(all[4].quantizer, quantize::Quantizer::round);
  EXPECT_EQ(all[0].seed, 3U);
}

TEST_F(StudyFile, EdgeBitsGoIntoEveryConfiguration) {
  for (const auto& configuration : configurations(read(minimal))) EXPECT_EQ(configuration.edge_bits, 0);
  for (const auto& configuration : configurations(read(std::string(minimal) + "edge_bits = 8\n"))) {
    EXPECT_EQ(configuration.edge_bits, 8);
  }
}

TEST_F(StudyFile, UnknownKeyNamesPlaceAndNearestKey) {
  const std::string error = error_of(std::string(minimal) + "bit = 3\n");

  EXPECT_THAT(error, HasSubstr("unknown key `bit` in [quantization]; did you mean `bits`?"));
  EXPECT_THAT(error, HasSubstr("study.toml:14:1"));
}

TEST_F(StudyFile, WrongTypeEmptyListAndRangeAreErrorsWithTheirPlace) {
  std::string text = minimal;
  text.replace(text.find("bits = [2, 8]"), 13, "bits = \"all\"");
  EXPECT_THAT(error_of(text),
              HasSubstr("`bits` must be an integer, not a string (" + (folder_ / "study.toml").string() + ":13:8)"));

  text = minimal;
  text.replace(text.find("[2, 8]"), 6, "[]");
  EXPECT_THAT(error_of(text), HasSubstr("`bits` is an empty list"));

  text = minimal;
  text.replace(text.find("[2, 8]"), 6, "[2, 17]");
  EXPECT_THAT(error_of(text), HasSubstr("`bits` = 17 is outside 2 to 16"));
}

TEST_F(StudyFile, SyntaxErrorNamesLineAndColumn) {
  EXPECT_THAT(error_of("[study]\nname = \n"), HasSubstr("study.toml:2:"));
}

TEST_F(StudyFile, MissingFileIsNamed) {
  std::string text = minimal;
  const std::string family = "family = \"mlp\"\ndepth = [2, 3]\nwidth = 8\ndraws = 2";
  text.replace(text.find(family), family.size(), "file = \"nothing.onnx\"");
  EXPECT_THAT(error_of(text), HasSubstr("nothing.onnx"));
}

TEST_F(StudyFile, ContradictionsAreErrors) {
  EXPECT_THAT(error_of(std::string(minimal) + "bias_bits = 8\n"), HasSubstr("needs `biases = true`"));
  EXPECT_THAT(error_of(std::string(minimal) + "edge_bits = 17\n"), HasSubstr("`edge_bits` = 17 is outside 2 to 16"));
  EXPECT_THAT(error_of(std::string(minimal) + "edge_bits = [8]\n"), HasSubstr("`edge_bits` must be an integer"));
  EXPECT_THAT(error_of(std::string(minimal) + "biases = true\nbias_bits = 17\n"), HasSubstr("outside 2 to 16"));
  EXPECT_THAT(error_of(std::string(minimal) + "[observe]\nsamples = [\"nowhere\"]\n"), HasSubstr("'nowhere'"));
  EXPECT_THAT(error_of(std::string(minimal) + "[observe]\nquantiles = [0.9, 0.5]\n"), HasSubstr("must increase"));
  EXPECT_THAT(error_of(std::string(minimal) + "[bounds]\ntheory = [\"gonom\"]\n"), HasSubstr("did you mean 'gonon'?"));
}

TEST_F(StudyFile, MethodsComeInTheOrderOfTheTableWithTheirOptions) {
  const Study study = read(std::string(minimal) +
                           "[certify]\nmethod = [\"difference_interval\", \"interval\"]\ntolerance = 0.5\n"
                           "max_seconds = 2.5\nmax_boxes = 70\ngenerators = 8\nalpha_steps = 0\nmax_memory = 0.5\n");

  EXPECT_EQ(study.methods, (std::vector{certify::Method::interval, certify::Method::difference_interval}));
  EXPECT_EQ(study.certify.tolerance, 0.5);
  EXPECT_EQ(study.certify.max_seconds, 2.5);
  EXPECT_EQ(study.certify.max_boxes, 70);
  EXPECT_EQ(study.certify.generators, 8);
  EXPECT_EQ(study.certify.alpha_steps, 0);
  EXPECT_EQ(study.certify.max_bytes, std::size_t{1} << 29);
  EXPECT_EQ(read(std::string(minimal) + "[certify]\nmethod = \"all\"\n").methods.size(), certify::methods().size());
}

TEST_F(StudyFile, AnEmptyListOfMethodsSwitchesTheStageOff) {
  EXPECT_TRUE(read(minimal).methods.empty());
  EXPECT_TRUE(read(std::string(minimal) + "[certify]\nmethod = []\ntolerance = 0.05\n").methods.empty());
}

TEST_F(StudyFile, MistakesInCertifyAndAttackAreNamed) {
  const auto error = [&](const std::string& line) { return error_of(std::string(minimal) + line); };
  EXPECT_THAT(error("[certify]\nmethod = [\"diference_interval\"]\n"),
              HasSubstr("did you mean 'difference_interval'?"));
  EXPECT_THAT(error("[certify]\nmethod = [\"interval\", \"interval\"]\n"), HasSubstr("names a value twice"));
  EXPECT_THAT(error("[certify]\ntolerance = 0.05\n"), HasSubstr("needs the key `method`"));
  EXPECT_THAT(error("[certify]\nmethod = 3\n"), HasSubstr("`method` must be a string"));
  EXPECT_THAT(error("[certify]\nmethod = \"interval\"\nmax_second = 3\n"), HasSubstr("did you mean `max_seconds`?"));
  EXPECT_THAT(error("[certify]\nmethod = \"interval\"\nmax_seconds = 0\n"), HasSubstr("must be positive"));
  EXPECT_THAT(error("[certify]\nmethod = \"interval\"\ntolerance = -0.1\n"), HasSubstr("must not be negative"));
  EXPECT_THAT(error("[certify]\nmethod = \"interval\"\nmax_boxes = 0\n"), HasSubstr("`max_boxes` = 0 is outside"));
  EXPECT_THAT(error("[observe]\nattack = true\n"), HasSubstr("`attack` must be a table"));
  EXPECT_THAT(error("[observe]\nattack = { start = 2 }\n"), HasSubstr("did you mean `starts`?"));
}

TEST_F(StudyFile, AnAttackIsSwitchedOnByItsTable) {
  EXPECT_FALSE(read(std::string(minimal) + "[observe]\nuniform = 4\n").attack.has_value());
  const auto attack = read(std::string(minimal) + "[observe]\nattack = { starts = 3 }\n").attack;
  ASSERT_TRUE(attack.has_value());
  EXPECT_EQ(attack->starts, 3);
  EXPECT_EQ(attack->steps, observe::AttackOptions().steps);
}

TEST_F(StudyFile, SampleSetsHaveARoleAndRows) {
  write("x.npy", "");
  const std::string sets =
      "[[samples]]\nname = \"fit\"\nimages = \"x.npy\"\nrole = \"calibration\"\nrows = [0, 100]\n"
      "[[samples]]\nname = \"test\"\nimages = \"x.npy\"\nrows = [100, 50]\n"
      "[[samples]]\nname = \"same\"\nimages = \"x.npy\"\nrole = \"evaluation\"\nrows = [120, 1000]\n";
  const Study study = read(minimal + sets + "[observe]\nsamples = [\"test\", \"same\"]\n");

  ASSERT_EQ(study.samples.size(), 3U);
  EXPECT_EQ(study.samples[0].role, observe::Role::calibration);
  EXPECT_EQ(study.samples[0].first_row, 0);
  EXPECT_EQ(study.samples[0].rows, 100);
  EXPECT_EQ(study.samples[1].role, observe::Role::evaluation);
  EXPECT_EQ(study.samples[1].first_row, 100);
  EXPECT_EQ(study.samples[2].rows, 1000) << "sets of one role may overlap";
}

TEST_F(StudyFile, MistakesInRoleAndRowsAreNamedWithTheirPlace) {
  write("x.npy", "");
  const auto error = [&](const std::string& line) {
    return error_of(minimal + ("[[samples]]\nname = \"s\"\nimages = \"x.npy\"\n" + line + "\n"));
  };
  EXPECT_THAT(error("role = \"calibratoin\""), HasSubstr("did you mean 'calibration'? ("));
  EXPECT_THAT(error("role = \"training\""), HasSubstr("choose from: evaluation, calibration"));
  EXPECT_THAT(error("role = \"training\""), HasSubstr("study.toml:17:"));
  EXPECT_THAT(error("role = 3"), HasSubstr("`role` must be a string"));
  EXPECT_THAT(error("rows = [0]"), HasSubstr("`rows` is [first, count]"));
  EXPECT_THAT(error("rows = [0, 0]"), HasSubstr("`rows` is [first, count]"));
  EXPECT_THAT(error("rows = [1, 2, 3]"), HasSubstr("`rows` is [first, count]"));
  EXPECT_THAT(error("rows = [-1, 2]"), HasSubstr("`rows` = -1 is outside 0 to"));
  EXPECT_THAT(error("rows = \"all\""), HasSubstr("`rows` must be an integer"));
  EXPECT_THAT(error("row = [0, 1]"), HasSubstr("did you mean `rows`?"));
  EXPECT_THAT(error("scale = 0.0"), HasSubstr("`scale` must be positive"));
  EXPECT_THAT(error("std = [1.0, 0.0]"), HasSubstr("`std` must be positive"));
  EXPECT_THAT(error("mean = nan"), HasSubstr("`mean` must be finite"));
}

TEST_F(StudyFile, NothingIsMeasuredOnWhatAMethodWasFittedTo) {
  write("x.npy", ""), write("y.npy", "");
  const auto sets = [](const std::string& fit, const std::string& test) {
    return "[[samples]]\nname = \"fit\"\nrole = \"calibration\"\n" + fit + "\n[[samples]]\nname = \"test\"\n" + test +
           "\n";
  };
  const std::string x = "images = \"x.npy\"\n", y = "images = \"y.npy\"\n";
  EXPECT_EQ(error_of(minimal + sets(x, y)), "no error");
  EXPECT_EQ(error_of(minimal + sets(x + "rows = [0, 10]", x + "rows = [10, 5]")), "no error");
  EXPECT_THAT(error_of(minimal + sets(x + "rows = [0, 10]", x + "rows = [6, 10]")),
              HasSubstr("samples 'fit' (calibration) and 'test' (evaluation) share rows 6 to 9 of '" +
                        (folder_ / "x.npy").string() + "'"));
  EXPECT_THAT(error_of(minimal + sets(x, x)), HasSubstr("share all rows"));
  const std::string good = minimal + sets(x, y);
  EXPECT_THAT(error_of(good + "[observe]\nsamples = [\"fit\"]\n"),
              HasSubstr("samples 'fit' have role = \"calibration\""));
  EXPECT_THAT(error_of(good, {{"network.samples", "\"fit\""}}), HasSubstr("samples 'fit' have role = \"calibration\""));
  EXPECT_EQ(error_of(good, {{"network.domain", "{ around = \"fit\", radius = 0.1 }"}}), "no error")
      << "centres may come from any set";
}

TEST_F(StudyFile, OverridesReplaceValuesAndAreCheckedToo) {
  EXPECT_EQ(read(minimal, {{"study.seed", "9"}}).seed, 9U);
  EXPECT_EQ(read(minimal, {{"network.depth", "4"}}).networks.size(), 2U);
  EXPECT_EQ(read(minimal, {{"network.0.depth", "[4, 5, 6]"}}).networks.size(), 6U);
  EXPECT_EQ(read(minimal, {{"study.name", "other"}}).name, "other");
  EXPECT_THAT(error_of(minimal, {{"quantization.bots", "4"}}),
              HasSubstr("did you mean `bits`? (--set quantization.bots)"));
  EXPECT_THAT(error_of(minimal, {{"network.1.depth", "4"}}), HasSubstr("the study has 1 of them"));
  EXPECT_THROW(parse_override("no-equals-sign"), core::InputError);
}

TEST_F(StudyFile, ResolvedTextRecordsTheOverride) {
  EXPECT_THAT(read(minimal, {{"study.seed", "77"}}).toml, HasSubstr("77"));
}

}  // namespace
}  // namespace quantbound::sweep
