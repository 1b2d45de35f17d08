#include "quantbound/sweep/merge.hpp"

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"
#include "quantbound/sweep/assemble.hpp"
#include "quantbound/sweep/dataset_schema.hpp"
#include "quantbound/sweep/task.hpp"

#include "../../../src/sweep/merge_axes.hpp"

namespace quantbound::sweep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Texts = std::vector<std::string>;
using Integers = std::vector<std::int64_t>;
using Doubles = std::vector<double>;
using Flags = std::vector<std::int8_t>;

/// What the tests cut: small networks with two regions each, certified, attacked and observed.
struct Cut {
  std::string depths = "[2, 3, 4]";
  std::string quantizers = R"(["floor", "round", "stochastic"])";
  std::string granularities = R"(["tensor", "channel"])";
  std::string bits = "[2, 4, 6, 8]";
  std::string seeds = "[1, 2]";
  std::string methods = R"(["interval", "difference_interval"])";
  std::string domain = R"({ around = "points", radius = 0.1 })";
  std::string scale = "10.0", grid = "symmetric", more = "attack = { starts = 1, steps = 1 }";
  int study_seed = 1;
};

Dataset result(const Cut& cut) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("quantbound-merge-test-{}", ::getpid());
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "x", std::ios::binary) << std::string("\0\0\x08\x02\0\0\0\2\0\0\0\3\1\2\3\4\5\6", 18);
  std::ofstream(folder / "s.toml") << fmt::format(
      "[study]\nname = \"cut\"\nseed = {}\n[[samples]]\nname = \"points\"\nimages = \"x\"\nscale = {}\n"
      "[[network]]\nfamily = \"mlp\"\ndepth = {}\nwidth = 4\ninputs = 3\noutputs = 2\ndomain = {}\n"
      "[quantization]\nquantizer = {}\ngranularity = {}\nbits = {}\nseed = {}\ngrid = \"{}\"\n"
      "[certify]\nmethod = {}\n[observe]\nsamples = \"points\"\nuniform = 8\nper_sample = true\n{}\n",
      cut.study_seed, cut.scale, cut.depths, cut.domain, cut.quantizers, cut.granularities, cut.bits, cut.seeds,
      cut.grid, cut.methods, cut.more);
  const Plan plan = make_plan(read_study(folder / "s.toml"));
  TaskRunner runner(plan);
  Assembler assembler(plan);
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) assembler.add(t, *runner.run(t));
  EXPECT_TRUE(assembler.failures().empty());
  std::filesystem::remove_all(folder);
  return assembler.finish();
}

Dataset merged(const std::vector<Dataset>& datasets) {
  std::vector<ResultPart> parts;
  for (const auto& dataset : datasets) parts.push_back({fmt::format("part{}.h5", parts.size()), dataset});
  MergedResult merged = merge_results(std::move(parts));
  EXPECT_EQ(inconsistency(merged.dataset), std::nullopt);
  return merged.dataset;
}

/// Bits, so that NaN equals itself.
template <class Value>
bool same(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::ranges::equal(a, b, [](const Value& x, const Value& y) {
    if constexpr (std::is_same_v<Value, double>) {
      return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
    } else {
      return x == y;
    }
  });
}

bool same(const Data& a, const Data& b) {
  return a.index() == b.index() &&
         std::visit([&](const auto& values) { return same(values, std::get<std::decay_t<decltype(values)>>(b)); }, a);
}

/// Axes, variables, attributes of these, their order; of the root's attributes all but what tells the studies apart.
void expect_same_root(const Group& found, const Group& expected) {
  ASSERT_EQ(found.axes.size(), expected.axes.size());
  for (std::size_t i = 0; i < expected.axes.size(); ++i) {
    EXPECT_EQ(found.axes[i].name, expected.axes[i].name);
    EXPECT_EQ(found.axes[i].labels, expected.axes[i].labels) << expected.axes[i].name;
  }
  ASSERT_EQ(found.variables.size(), expected.variables.size());
  for (std::size_t i = 0; i < expected.variables.size(); ++i) {
    const Variable &a = found.variables[i], &b = expected.variables[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.dimensions, b.dimensions) << b.name;
    // How large the float error is said to be depends on how the work was cut into tasks.
    EXPECT_TRUE(b.name == "observed_error" || b.name == "observed_quantile_upper" || same(a.data, b.data)) << b.name;
    EXPECT_EQ(a.role, b.role) << b.name;
    ASSERT_EQ(a.attributes.size(), b.attributes.size()) << b.name;
    for (std::size_t k = 0; k < b.attributes.size(); ++k) EXPECT_EQ(a.attributes[k].value, b.attributes[k].value);
  }
  ASSERT_EQ(found.attributes.size(), expected.attributes.size());
  for (std::size_t i = 0; i < expected.attributes.size(); ++i) {
    const auto& [name, value] = expected.attributes[i];
    EXPECT_EQ(found.attributes[i].name, name);
    if (name == "study_toml" || name == "study_hash") continue;
    EXPECT_EQ(found.attributes[i].value, value) << name;
  }
}

template <class Values>
const Values& values(const Dataset& dataset, const char* name) {
  return std::get<Values>(dataset.root.find_variable(name)->data);
}

std::string refusal(const std::vector<Dataset>& datasets) {
  try {
    merged(datasets);
  } catch (const core::InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Merge, OfNetworksIsTheWholeStudy) {
  expect_same_root(merged({result({.depths = "[2]"}), result({.depths = "[3]"}), result({.depths = "[4]"})}).root,
                   result({}).root);
}

TEST(Merge, OfLabelsOfEveryAxisIsTheWholeStudy) {
  const Dataset whole = result({});

  const std::vector<std::pair<Cut, Cut>> cuts{
      {{.quantizers = R"(["floor", "round"])"}, {.quantizers = R"(["stochastic"])"}},
      {{.granularities = R"(["tensor"])"}, {.granularities = R"(["channel"])"}},
      {{.bits = "[2, 6]"}, {.bits = "[4, 8]"}},
      {{.seeds = "[1]"}, {.seeds = "[2]"}},
      {{.methods = R"(["interval"])"}, {.methods = R"(["difference_interval"])"}}};
  for (const auto& [first, second] : cuts) expect_same_root(merged({result(first), result(second)}).root, whole.root);
}

TEST(Merge, OfPartsThatOverlapIsTheWholeStudy) {
  const Dataset a = result({.depths = "[2, 3]", .bits = "[2, 4, 6]"}),
                b = result({.depths = "[2, 3, 4]", .bits = "[6, 8]"}), c = result({.depths = "[4]", .bits = "[2, 4]"});

  expect_same_root(merged({a, b, c}).root, result({}).root);
}

TEST(Merge, OfOneResultIsThatResult) {
  const Dataset one = result({.depths = "[2]"});

  const Dataset merged_alone = merged({one});

  expect_same_root(merged_alone.root, one.root);
  EXPECT_EQ(text_attribute(merged_alone.root.attributes, "study_hash"),
            text_attribute(one.root.attributes, "study_hash"));
  EXPECT_EQ(text_attribute(merged_alone.root.attributes, "study_toml"),
            text_attribute(one.root.attributes, "study_toml"));
}

TEST(Merge, OfMergedResultsIsThatOfTheirSources) {
  const Dataset a = result({.depths = "[2]"}), b = result({.depths = "[3]"}), c = result({.depths = "[4]"});

  const Dataset at_once = merged({a, b, c}), in_steps = merged({merged({a, b}), c});

  expect_same_root(in_steps.root, at_once.root);
  const auto source = [](const Dataset& dataset, const char* name) {
    return std::get<Texts>(dataset.find_group("provenance")->find_variable(name)->data);
  };
  EXPECT_EQ(source(in_steps, "source_study_toml"), source(at_once, "source_study_toml"));
  const auto tasks = [](const Dataset& dataset) {
    return std::get<Integers>(dataset.find_group("provenance")->find_variable("task_source")->data);
  };
  EXPECT_EQ(tasks(in_steps), tasks(at_once));
  EXPECT_EQ(tasks(at_once).front(), 0);
  EXPECT_EQ(tasks(at_once).back(), 2);
}

TEST(Merge, WhatNoStudyHadIsSkippedAndEmpty) {
  const Dataset both = merged({result({.depths = "[2]", .quantizers = R"(["round"])", .bits = "[2]", .seeds = "[1]"}),
                               result({.depths = "[3]", .quantizers = R"(["round"])", .bits = "[4]", .seeds = "[1]"})});

  // network, quantizer, granularity, bits, seed: 2 x 1 x 2 x 2 x 1
  EXPECT_EQ(values<Flags>(both, "status"), (Flags{1, 4, 1, 4, 4, 1, 4, 1}));
  const auto& r_mean = values<Doubles>(both, "r_mean");
  EXPECT_FALSE(std::isnan(r_mean[0]));
  EXPECT_TRUE(std::isnan(r_mean[1]));
  EXPECT_EQ(values<Integers>(both, "certify_boxes")[2], 0);
  EXPECT_EQ(*text_attribute(both.root.attributes, "title"), "quantbound study cut: 2 networks x 4 configurations");
}

TEST(Merge, ContradictionsAreRefusedWithBothFilesAndTheLabels) {
  const Dataset a = result({.depths = "[2]", .quantizers = R"(["round"])"});
  Dataset b = a;
  auto& found = std::get<Doubles>(b.root.find_variable("observed_max")->data);
  found[2 * 2 + 1] = 77.5;  // granularity tensor, bits 4, seed 1, samples points

  const std::string error = refusal({result({.depths = "[3]"}), a, b});

  EXPECT_THAT(error, HasSubstr("`observed_max` of network mlp-depth2-width4-he_normal-0"));
  EXPECT_THAT(error,
              HasSubstr("quantizer round, granularity tensor, bits 4, seed 1, samples points is 77.5 here and "));
  EXPECT_THAT(error, HasSubstr("in part1.h5: "));
  EXPECT_THAT(error, HasSubstr("(part2.h5)"));
}

TEST(Merge, MeasurementsMayDifferAsMuchAsFloatsMay) {
  const Dataset a = result({.depths = "[2]", .quantizers = R"(["round"])"});
  const auto scaled = [&](const char* name, double factor) {
    Dataset b = a;
    auto& found = std::get<Doubles>(b.root.find_variable(name)->data);
    for (double& value : found) value *= factor;
    return b;
  };

  expect_same_root(merged({a, scaled("observed_max", 1.1)}).root, a.root);
  EXPECT_THAT(refusal({a, scaled("observed_max", 1.2)}), HasSubstr("`observed_max` of "));
  expect_same_root(merged({a, scaled("observed_error", 10.0)}).root, a.root);
  EXPECT_THAT(refusal({a, scaled("certified", 1.0000001)}), HasSubstr("`certified` of "));
}

TEST(Merge, WhatFailedInOnePartIsTakenFromAnother) {
  const Dataset good = result({.depths = "[2]", .quantizers = R"(["round"])"});
  Dataset bad = good;
  std::get<Flags>(bad.root.find_variable("status")->data)[3] = 2;
  std::get<Doubles>(bad.root.find_variable("log10_bound")->data)[5] = std::nan("");
  std::get<Integers>(bad.root.find_variable("certify_boxes")->data)[0] = 0;

  expect_same_root(merged({bad, good}).root, good.root);
  expect_same_root(merged({good, bad}).root, good.root);
}

TEST(Merge, FilesSayOneThingOfTheWhole) {
  const Cut small{.depths = "[2]", .quantizers = R"(["round"])"};
  const Dataset a = result(small);
  Cut other = small;
  other.grid = "affine";
  EXPECT_THAT(refusal({a, result(other)}), HasSubstr("`grid` is affine here and symmetric in part0.h5"));

  Dataset old = a;
  set_attribute(old.root.attributes, "schema_version", std::string("1.0"));
  EXPECT_THAT(refusal({a, old}),
              HasSubstr("its schema has version 1.0, this quantbound writes " + std::string(schema_version)));
  set_attribute(old.root.attributes, "schema", std::string("something"));
  EXPECT_THAT(refusal({old, a}), HasSubstr("this is no result of quantbound sweep (part0.h5)"));
}

TEST(Merge, PartsThatShareANetworkAreAboutTheSameInputs) {
  const Cut small{.depths = "[2]", .quantizers = R"(["round"])", .bits = "[2]"};
  Cut domain = small, samples = small, seed = small, elsewhere = small;
  domain.domain = R"({ around = "points", radius = 0.2 })";
  samples.scale = "20.0";
  seed.study_seed = 2;
  elsewhere.depths = "[3]";
  elsewhere.scale = "20.0";
  for (Cut* cut : {&domain, &samples, &seed}) cut->bits = "[4]";  // no value in common: told by the studies
  const Dataset a = result(small);

  EXPECT_THAT(refusal({a, result(domain)}), HasSubstr("`domain` of "));
  EXPECT_THAT(refusal({a, result(samples)}),
              HasSubstr("`scale` of sample set 'points' is 20.0 here and 10.0 in part0.h5"));
  EXPECT_THAT(refusal({a, result(seed)}), HasSubstr("`seed` of [study] is 2 here and 1 in part0.h5"));
  EXPECT_EQ(refusal({a, result(elsewhere)}), "");
}

TEST(Merge, OneNameForTwoNetworksIsRefused) {
  const Dataset a = result({.depths = "[2]"});
  Dataset b = result({.depths = "[2]", .bits = "[5]"});
  std::get<Texts>(b.root.find_variable("network_sha256")->data)[0] = "other";
  EXPECT_THAT(refusal({a, b}), HasSubstr("`network_sha256` of network mlp-depth2-width4-he_normal-0"));

  Dataset c = result({.depths = "[3]", .bits = "[5]"});
  std::get<Texts>(c.root.axes[0].labels)[0] = std::get<Texts>(a.root.axes[0].labels)[0];
  for (const auto* name : {"layer_network", "region_network"}) {
    for (auto& owner : std::get<Texts>(c.root.find_variable(name)->data))
      owner = std::get<Texts>(a.root.axes[0].labels)[0];
  }
  EXPECT_THAT(refusal({a, c}), HasSubstr("has 3 positions on the axis `layer` here, and 2 in part0.h5"));
}

TEST(Merge, SettingsThatDifferAreToldAndLeftOutOfTheCommonStudy) {
  const Dataset a = result({.depths = "[2]"}),
                b = result({.depths = "[3]", .more = "attack = { starts = 2, steps = 1 }"});

  const MergedResult both = merge_results({{"a.h5", a}, {"b.h5", b}});

  EXPECT_THAT(both.notes,
              ElementsAre("the studies differ in observe.attack: { starts = 1, steps = 1 } (a.h5), { starts = "
                          "2, steps = 1 } (b.h5)"));
  const auto toml = text_attribute(both.dataset.root.attributes, "study_toml").value();
  EXPECT_THAT(toml, HasSubstr("uniform = 8"));
  EXPECT_THAT(toml, testing::Not(HasSubstr("attack")));
  EXPECT_THAT(toml, testing::Not(HasSubstr("depth")));
  const auto* studies = both.dataset.find_group("provenance")->find_variable("source_study_toml");
  EXPECT_EQ(std::get<Texts>(studies->data), (Texts{*text_attribute(a.root.attributes, "study_toml"),
                                                   *text_attribute(b.root.attributes, "study_toml")}));
}

TEST(Merge, FailuresAreKeptWithTheirSource) {
  const Dataset a = result({.depths = "[2]"});
  Dataset b = result({.depths = "[3]"});
  Group failures = *b.find_group("failures");
  failures.axes[0].labels = Integers{0};
  std::get<Integers>(failures.find_variable("failure_task")->data) = {0};
  std::get<Texts>(failures.find_variable("failure_network")->data) = {"n"};
  std::get<Texts>(failures.find_variable("failure_stage")->data) = {"observe"};
  std::get<Texts>(failures.find_variable("failure_message")->data) = {"why"};
  b.group("failures") = failures;

  const Dataset both = merged({a, b, a});

  const Group& found = *both.find_group("failures");
  const auto tasks_before = static_cast<std::int64_t>(a.find_group("provenance")->find_axis("task")->size());
  EXPECT_EQ(std::get<Integers>(found.find_variable("failure_task")->data), Integers{tasks_before});
  EXPECT_EQ(std::get<Texts>(found.find_variable("failure_message")->data), Texts{"why"});
  EXPECT_EQ(std::get<Integers>(both.find_group("provenance")->find_variable("failure_source")->data), Integers{1});
}

TEST(MergeOrders, KeepsTheOrderOfEveryListWhereTheyAgree) {
  using detail::merge_orders;
  EXPECT_THAT(merge_orders(std::vector<Texts>{{"a", "b"}, {"c"}}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(merge_orders(std::vector<Texts>{{"a", "d"}, {"a", "b", "d"}}), ElementsAre("a", "b", "d"));
  EXPECT_THAT(merge_orders(std::vector<Texts>{{"c"}, {"a", "b", "c"}}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(merge_orders(std::vector<Texts>{{"a", "b"}, {"b", "a"}, {"c", "b"}}),
              testing::UnorderedElementsAre("a", "b", "c"));
  EXPECT_TRUE(merge_orders(std::vector<Texts>{}).empty());
}

TEST(MergeLabels, NumbersGoTheWayTheyGoInTheParts) {
  const auto merge = [](const std::vector<Labels>& lists) { return std::get<Integers>(detail::merge_labels(lists)); };
  EXPECT_EQ(merge({Integers{2, 6}, Integers{4, 8}}), (Integers{2, 4, 6, 8}));
  EXPECT_EQ(merge({Integers{8, 4}, Integers{6, 2}}), (Integers{8, 6, 4, 2}));
  EXPECT_EQ(merge({Integers{8}, Integers{4}, Integers{2}}), (Integers{8, 4, 2})) << "as the files come";
  EXPECT_EQ(merge({Integers{10}, Integers{2}, Integers{3}}), (Integers{2, 3, 10}));
  EXPECT_EQ(merge({Integers{4, 2, 8}, Integers{2, 3}}), (Integers{4, 2, 8, 3}));
}

}  // namespace
}  // namespace quantbound::sweep
