// Input boxes of VNN-LIB properties.
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

#include "onnx_model.hpp"

namespace quantbound::network {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string declarations =
    "; a property\n"
    "(declare-const X_0 Real)\n"
    "(declare-const X_1 Real)\n"
    "(declare-const Y_0 Real)\n";

Box read(const std::string& assertions) {
  return read_vnnlib_box(TemporaryFile(declarations + assertions, ".vnnlib").path(), 2);
}

std::string error_of(const std::string& assertions) {
  try {
    read(assertions);
  } catch (const core::InputError& error) {
    return error.what();
  }
  return {};
}

TEST(Vnnlib, SingleBoundsMakeABox) {
  const Box box = read(
      "(assert (<= X_0 0.5)) ; above\n(assert (>= X_0 -1e-1))\n"
      "(assert (>= 2 X_1))(assert (< (- 3) X_1))\n(assert (>= Y_0 3.99))");
  EXPECT_THAT(box.low, ElementsAre(-0.1, -3));
  EXPECT_THAT(box.high, ElementsAre(0.5, 2));
}

TEST(Vnnlib, TheTightestOfSeveralBoundsCounts) {
  const Box box = read("(assert (and (<= X_0 2) (<= X_0 1) (>= X_0 0) (>= X_0 -1)))(assert (= X_1 0.25))");
  EXPECT_THAT(box.low, ElementsAre(0, 0.25));
  EXPECT_THAT(box.high, ElementsAre(1, 0.25));
}

TEST(Vnnlib, ADisjunctionGivesItsHull) {
  const Box box = read(
      "(assert (or\n (and (<= X_0 1) (>= X_0 0) (>= X_1 -5) (<= X_1 -4) (<= Y_0 0))\n"
      " (and (<= X_0 3) (>= X_0 2) (<= X_1 7) (>= X_1 6))))\n(assert (<= X_1 6.5))");
  EXPECT_THAT(box.low, ElementsAre(0, -5));
  EXPECT_THAT(box.high, ElementsAre(3, 6.5));
}

TEST(Vnnlib, AnImpossibleBranchDoesNotCount) {
  const Box box = read(
      "(assert (or (and (<= X_0 0) (>= X_0 1) (<= X_1 9) (>= X_1 9)) (and (<= X_0 3) (>= X_0 2) (<= X_1 7) (>= X_1 "
      "6))))");
  EXPECT_THAT(box.low, ElementsAre(2, 6));
}

TEST(Vnnlib, AMissingBoundIsAnError) {
  EXPECT_THAT(error_of("(assert (<= X_0 1))(assert (>= X_0 0))(assert (<= X_1 1))"),
              HasSubstr("X_1 has no lower bound"));
  EXPECT_THAT(error_of("(assert (>= X_0 0))(assert (<= X_1 1))(assert (>= X_1 0))"),
              HasSubstr("X_0 has no upper bound"));
  EXPECT_THAT(error_of("(assert (or (and (<= X_0 1) (>= X_0 0)) (and (<= X_1 1) (>= X_1 0))))"),
              HasSubstr("X_0 has no"));
}

TEST(Vnnlib, WhatIsNoBoxIsAnErrorWithItsLine) {
  const auto bounded = [](const std::string& extra) {
    return "(assert (and (<= X_0 1) (>= X_0 0) (<= X_1 1) (>= X_1 0)))\n" + extra;
  };
  EXPECT_EQ(error_of(bounded("")), "");
  EXPECT_THAT(error_of(bounded("(assert (<= X_0 X_1))")),
              AllOf(HasSubstr("bounds of single inputs"), HasSubstr(":6)")));
  EXPECT_THAT(error_of(bounded("(assert (<= X_0 Y_0))")), HasSubstr("between inputs and outputs"));
  EXPECT_THAT(error_of(bounded("(assert (<= X_7 1))")), HasSubstr("'X_7' is not an input"));
  EXPECT_THAT(error_of(bounded("(assert (<= X_0 abc))")), HasSubstr("'abc' is not a number"));
  EXPECT_THAT(error_of(bounded("(assert (<= (* 2 X_0) 1))")), HasSubstr("bounds of single inputs"));
  EXPECT_THAT(error_of(bounded("(assert (not (<= X_0 1)))")), HasSubstr("'not' is not read"));
  EXPECT_THAT(error_of(bounded("(assert (<= X_0 1 2))")), HasSubstr("two sides"));
  EXPECT_THAT(error_of(bounded("(assert (>= X_0 2))")), HasSubstr("no value of input X_0"));
  EXPECT_THAT(error_of(bounded("(assert (<= X_0 1)")), HasSubstr("cut off"));
  EXPECT_THAT(error_of(bounded(")")), HasSubstr("without its '('"));
  EXPECT_THAT(error_of(bounded("(check-sat)")), HasSubstr("'check-sat' is not a statement"));
  EXPECT_THAT(error_of(bounded(std::string(100000, '('))), HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of(bounded("(declare-const X_2 Real)")), HasSubstr("declares 3 inputs, the network has 2"));
  EXPECT_THAT(error_of("(vnnlib-version <2.0>)"), HasSubstr("VNN-LIB 2.0"));
}

TEST(Vnnlib, TheRealPropertiesAreRead) {
  const std::filesystem::path directory = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "vnnlib";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no " << directory;

  for (int p = 1; p <= 10; ++p) {
    const Box box = read_vnnlib_box(directory / fmt::format("acasxu_prop_{}.vnnlib", p), 5);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_LE(box.low[i], box.high[i]);
  }
  EXPECT_THAT(read_vnnlib_box(directory / "acasxu_prop_1.vnnlib", 5).low, ElementsAre(0.6, -0.5, -0.5, 0.45, -0.5));
  // Property 6 is two boxes that differ in X_1.
  const Box two = read_vnnlib_box(directory / "acasxu_prop_6.vnnlib", 5);
  EXPECT_EQ(two.low[1], -0.499999896);
  EXPECT_EQ(two.high[1], 0.499999896);
  EXPECT_THROW(read_vnnlib_box(directory / "isomorphic_epsilon_0.05.vnnlib", 5), core::InputError);
}

}  // namespace
}  // namespace quantbound::network
