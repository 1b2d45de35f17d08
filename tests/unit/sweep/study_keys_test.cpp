#include "quantbound/sweep/study_keys.hpp"

#include <filesystem>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "quantbound/sweep/study.hpp"

namespace quantbound::sweep {
namespace {

TEST(StudyKeys, TitlesAndNamesAreUniqueAndEveryKeyHasAMeaning) {
  std::set<std::string> titles;
  for (const auto& section : study_sections()) {
    EXPECT_TRUE(titles.insert(section.title).second) << section.title;
    EXPECT_EQ(&study_section(section.title), &section);
    std::set<std::string> names;
    for (const auto& key : section.keys) {
      EXPECT_TRUE(names.insert(key.name).second) << section.title << ' ' << key.name;
      EXPECT_TRUE(key.meaning.ends_with('.')) << section.title << ' ' << key.name;
      EXPECT_EQ(section.find(key.name), &key);
    }
    EXPECT_EQ(section.find("no such key"), nullptr);
  }
}

TEST(StudyKeys, AKeyIsRequiredOrSaysWhatHoldsWithoutIt) {
  for (const auto& section : study_sections()) {
    for (const auto& key : section.keys) {
      const bool has_default = !std::holds_alternative<std::monostate>(key.fallback);
      const int said =
          static_cast<int>(key.required) + static_cast<int>(has_default) + static_cast<int>(!key.when_absent.empty());
      EXPECT_EQ(said, 1) << section.title << ' ' << key.name;
    }
  }
}

/// The numbers or the words of a default; nothing where it is of another type.
template <class Value>
std::vector<Value> values_of(const Default& value) {
  if (const auto* one = std::get_if<Value>(&value)) return {*one};
  if (const auto* many = std::get_if<std::vector<Value>>(&value)) return *many;
  return {};
}

TEST(StudyKeys, DefaultsAreWithinTheirOwnLimitsAndWords) {
  int words = 0, numbers = 0;
  for (const auto& section : study_sections()) {
    for (const auto& key : section.keys) {
      for (const auto& word : values_of<std::string>(key.fallback)) {
        const bool is_form = key.also == '"' + word + '"';
        EXPECT_TRUE(is_form || std::ranges::find(key.words, word) != key.words.end()) << key.name << ' ' << word;
        ++words;
      }
      for (const double number : values_of<double>(key.fallback)) {
        EXPECT_TRUE(key.limits.contain(number)) << key.name;
        ++numbers;
      }
      for (const auto number : values_of<std::int64_t>(key.fallback)) {
        EXPECT_TRUE(key.limits.contain(static_cast<double>(number))) << key.name;
        ++numbers;
      }
    }
  }
  EXPECT_GT(words, 10);
  EXPECT_GT(numbers, 20);
}

TEST(StudyKeys, AreDescribedInWords) {
  const auto description = [](const char* section, const char* key) {
    return describe(*study_section(section).find(key));
  };
  EXPECT_EQ(description("[quantization]", "bits"), "integer, or a list, 2 to 16; required");
  EXPECT_EQ(description("[quantization]", "step"), "\"max\" | \"mse\", or { fixed = 0.01 }; default \"max\"");
  EXPECT_EQ(description("[reconstruct]", "beta"), "list of numbers, 1 to 1000; default [20, 2]");
  EXPECT_EQ(description("[reconstruct]", "iterations"), "integer, 1 to 2^30; default 20000");
  EXPECT_EQ(description("[certify]", "max_seconds"), "number, positive, in s; left out: no limit");
  EXPECT_EQ(description("[certify]", "max_memory"), "number, within (0, 2^20], in GiB; default 4");
  EXPECT_EQ(description("[observe]", "confidence"), "number, within (0, 1); default 0.99");
  EXPECT_EQ(description("domain = { low, high }", "low"), "number, or a list; required");
}

TEST(StudyKeys, AStudyThatLeavesEverythingOutIsThatOfTheRooms) {
  const auto path =
      std::filesystem::temp_directory_path() / ("quantbound-keys-" + std::to_string(::getpid()) + ".toml");
  std::ofstream(path)
      << "[study]\nname = \"s\"\n[[network]]\nfamily = \"mlp\"\ndepth = 2\nwidth = 3\n"
         "domain = { low = 0, high = 1 }\n[quantization]\nbits = 4\nquantizer = \"brecq\"\n"
         "[certify]\nmethod = \"interval\"\n[observe]\nattack = {}\n"
      << "[reconstruct]\nsamples = \"fit\"\n[[samples]]\nname = \"fit\"\nrole = \"calibration\"\nimages = \""
      << path.string() << "\"\n";
  const Study study = read_study(path);
  std::filesystem::remove(path);

  const certify::MethodOptions certify;
  EXPECT_EQ(study.certify.tolerance, certify.tolerance);
  EXPECT_EQ(study.certify.max_seconds, certify.max_seconds);
  EXPECT_EQ(study.certify.max_boxes, certify.max_boxes);
  EXPECT_EQ(study.certify.generators, certify.generators);
  EXPECT_EQ(study.certify.alpha_steps, certify.alpha_steps);
  EXPECT_EQ(study.certify.max_bytes, certify.max_bytes);
  EXPECT_EQ(study.attack->starts, observe::AttackOptions().starts);
  EXPECT_EQ(study.attack->steps, observe::AttackOptions().steps);
  const quantize::Configuration made = configurations(study).front();
  EXPECT_EQ(made, (quantize::Configuration{.bits = 4}));
  const reconstruct::Options options;
  EXPECT_EQ(study.reconstruct.regularization_unit, options.regularization_unit);
  EXPECT_EQ(study.reconstruct.weighting, options.weighting);
  EXPECT_EQ(study.reconstruct.quadratic, options.quadratic);
  EXPECT_EQ(study.reconstruct.equalization, options.equalization);
  EXPECT_EQ(study.reconstruct.bias_correction, options.bias_correction);
  EXPECT_EQ(study.reconstruct.order, options.order);
  EXPECT_EQ(study.reconstruct.joining, options.joining);
  EXPECT_EQ(study.reconstruct.joins, options.joins);
  EXPECT_EQ(study.reconstruct.longest_run, options.longest_run);
}

TEST(StudyKeysDeathTest, AKeyThatIsNotDeclaredOrNotOfThisTitleIsABugOfOurs) {
  EXPECT_DEATH(study_section("[no such table]"), "no such table");
}

}  // namespace
}  // namespace quantbound::sweep
