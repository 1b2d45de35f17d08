#include "quantbound/sweep/dataset.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace quantbound::sweep {
namespace {

Group two_axes() {
  Group group;
  group.add_axis({"network", std::vector<std::string>{"a", "b", "c"}, {}});
  group.add_axis({"bits", std::vector<std::int64_t>{2, 4}, {}});
  return group;
}

TEST(Dataset, ShapesComeFromTheGroupAndThenFromTheRoot) {
  Dataset dataset;
  dataset.root = two_axes();
  Group& inner = dataset.group("provenance");
  inner.add_axis({"network", std::vector<std::string>{"only"}, {}});

  EXPECT_EQ(shape_of({"bits", "network"}, inner, dataset.root), (std::vector<std::size_t>{2, 1}));
  EXPECT_EQ(shape_of({}, inner, dataset.root), std::vector<std::size_t>{});
  EXPECT_EQ(element_count(std::vector<std::size_t>{}), 1u);
  EXPECT_EQ(element_count(std::vector<std::size_t>{3, 0, 2}), 0u);
}

TEST(Dataset, FindsWhatWasAdded) {
  Dataset dataset;
  dataset.root = two_axes();
  dataset.root.add_variable({"r", {"bits"}, std::vector<double>{0.5, 0.25}, {{"units", "1"}}, 0.0});

  ASSERT_NE(dataset.root.find_variable("r"), nullptr);
  EXPECT_EQ(text_attribute(dataset.root.find_variable("r")->attributes, "units"), "1");
  EXPECT_EQ(integer_attribute(dataset.root.find_variable("r")->attributes, "units"), std::nullopt);
  EXPECT_EQ(dataset.root.find_variable("bits"), nullptr);
  EXPECT_EQ(dataset.root.find_axis("bits")->size(), 2u);
  EXPECT_EQ(dataset.find_group("provenance"), nullptr);
  EXPECT_EQ(inconsistency(dataset), std::nullopt);
}

TEST(Attributes, SetReplacesAndKeepsTheOrder) {
  Attributes attributes = {{"complete", std::int64_t{0}}, {"title", "t"}};

  set_attribute(attributes, "complete", std::int64_t{1});
  set_attribute(attributes, "flag_values", std::vector<std::int8_t>{0, 1});

  ASSERT_EQ(attributes.size(), 3u);
  EXPECT_EQ(attributes[0].name, "complete");
  EXPECT_EQ(integer_attribute(attributes, "complete"), 1);
  EXPECT_EQ(find_attribute(attributes, "absent"), nullptr);
}

TEST(DatasetDeathTest, WhatDoesNotFitIsOurBug) {
  Group group = two_axes();

  EXPECT_DEATH(group.add_variable({"r", {"network"}, std::vector<double>{1, 2}, {}, {}}), "2 values, not 3");
  EXPECT_DEATH(group.add_variable({"r", {"layer"}, std::vector<double>{1}, {}, {}}), "no axis 'layer'");
  EXPECT_DEATH(group.add_variable({"r", {"bits", "bits"}, std::vector<double>(4), {}, {}}), "twice");
  EXPECT_DEATH(group.add_variable({"r", {"bits"}, std::vector<double>(2), {}, std::int64_t{0}}), "another type");
  EXPECT_DEATH(group.add_variable({"bits", {}, std::vector<double>(1), {}, {}}), "bits");
  EXPECT_DEATH(group.add_axis({"a/b", std::vector<double>{}, {}}), "no name");
  EXPECT_DEATH(group.add_axis({"x", std::vector<double>{}, {{"e", std::vector<double>{}}}}), "empty list");
}

TEST(Dataset, InconsistencySaysWhatAndWhere) {
  Dataset dataset;
  dataset.root = two_axes();
  dataset.groups.push_back({"failures", {}});
  dataset.groups.back().group.variables.push_back({"message", {"failure"}, std::vector<std::string>{"m"}, {}, {}});

  EXPECT_EQ(inconsistency(dataset), "failures: message: there is no axis 'failure'");

  dataset.groups.back().name = "bits";
  EXPECT_EQ(inconsistency(dataset), "'bits' is a group and something else");
}

}  // namespace
}  // namespace quantbound::sweep
