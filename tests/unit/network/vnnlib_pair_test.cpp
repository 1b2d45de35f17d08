// VNN-LIB 2.0 properties of two networks.
#include <filesystem>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

#include "onnx_model.hpp"
#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using ::testing::AllOf;
using testing::Draw;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFile;

constexpr double infinity = std::numeric_limits<double>::infinity();

const std::string declarations =
    "(vnnlib-version <2.0>)\n"
    "(declare-network f (declare-input X_f real [2]) (declare-output Y_f real [2]))\n"
    "(declare-network g (isomorphic-to f) (declare-input X_g real [2]) (declare-output Y_g real [2]))\n";
const std::string same = "(assert (and (== X_f[0] X_g[0]) (== X_g[1] X_f[1])))\n";
const std::string unit_box =
    "(assert (and (<= X_f[0] 1) (>= X_f[0] 0)))(assert (<= X_f[1] 1))(assert (<= 0.0 X_f[1]))\n";

PairProperty read_text(const std::string& text) {
  return read_vnnlib_pair(TemporaryFile(text, ".vnnlib").path(), 2, 2);
}
PairProperty read(const std::string& assertions) { return read_text(declarations + same + unit_box + assertions); }

std::string error_of_text(const std::string& text) {
  try {
    read_text(text);
  } catch (const core::InputError& error) {
    return error.what();
  }
  return {};
}
std::string error_of(const std::string& assertions) {
  return error_of_text(declarations + same + unit_box + assertions);
}

TEST(VnnlibPair, TheDifferenceIsBoundedInEveryWayToWriteIt) {
  for (const std::string upper :
       {"(<= Y_g[0] (+ Y_f[0] 0.05))", "(>= (+ 0.05 Y_f[0]) Y_g[0])", "(<= (- Y_g[0] Y_f[0]) 0.05)",
        "(<= (- Y_g[0] 0.05) Y_f[0])", "(>= 0.05 (- Y_g[0] Y_f[0]))", "(>= (- Y_f[0] Y_g[0]) -0.05)",
        "(>= Y_f[0] (+ Y_g[0] (- 0.05)))", "(<= (+ Y_g[0] (- Y_f[0])) 5e-2)", "(>= (- 0.05 Y_g[0]) (- Y_f[0]))"}) {
    const PairProperty property = read("(assert " + upper + ")");
    EXPECT_THAT(property.difference.high, ElementsAre(0.05, infinity)) << upper;
    EXPECT_THAT(property.difference.low, ElementsAre(-infinity, -infinity)) << upper;
  }
  const PairProperty property = read("(assert (and (>= Y_g[1] (- Y_f[1] 0.5)) (<= Y_g[1] Y_f[1]) (== Y_g[0] Y_f[0])))");
  EXPECT_THAT(property.difference.low, ElementsAre(0, -0.5));
  EXPECT_THAT(property.difference.high, ElementsAre(0, 0));
}

TEST(VnnlibPair, InputsAreBoundedThroughEitherNetwork) {
  const PairProperty property =
      read("(assert (<= X_g[0] 0.75))(assert (> X_f[0] 0.25))(assert (== X_g[1] 0.5))(assert (<= X_f[0] 5))");
  EXPECT_THAT(property.input.low, ElementsAre(0.25, 0.5));
  EXPECT_THAT(property.input.high, ElementsAre(0.75, 0.5));
}

TEST(VnnlibPair, ADisjunctionOfInputBoxesGivesItsHull) {
  const PairProperty property =
      read("(assert (or (and (<= X_f[0] 0.5) (>= X_f[0] 0.25)) (<= X_f[0] 0.125) (and (<= X_f[0] -1) (>= X_f[0] 2))))");
  EXPECT_THAT(property.input.low, ElementsAre(0, 0));
  EXPECT_THAT(property.input.high, ElementsAre(0.5, 1));
}

TEST(VnnlibPair, EqualNetworksAndIndicesOfSeveralAxesAreRead) {
  const std::string text =
      "(vnnlib-version <2.0>) ; comment\n"
      "(declare-network f (declare-input a float32 [1, 2, 3]) (declare-output b float32 [1,1]))\n"
      "(declare-network g (equal-to f) (declare-input c float32 [1,2,3]) (declare-output d float32 [1,1]))\n";
  std::string assertions;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      assertions +=
          fmt::format("(assert (and (== a[0,{0},{1}] c[0, {0}, {1}]) (<= a[0,{0},{1}] {2}) (>= c[0,{0},{1}] 0)))", i, j,
                      10 * i + j);
  const TemporaryFile file(text + assertions + "(assert (<= d[0,0] (+ b[0,0] 1)))", ".vnnlib");
  const PairProperty property = read_vnnlib_pair(file.path(), 6, 1);
  EXPECT_THAT(property.input.high, ElementsAre(0, 1, 2, 10, 11, 12));
  EXPECT_THAT(property.difference.high, ElementsAre(1));
}

TEST(VnnlibPair, WhatIsNoPairPropertyIsAnErrorWithItsLine) {
  EXPECT_EQ(error_of(""), "");
  EXPECT_THAT(error_of("\n(assert (<= Y_g[0] 1))"), AllOf(HasSubstr("only bounds of inputs"), HasSubstr(":7)")));
  EXPECT_THAT(error_of("(assert (<= Y_g[0] (+ Y_f[1] 1)))"), HasSubstr("only bounds of inputs"));
  EXPECT_THAT(error_of("(assert (<= Y_g[0] (+ Y_f[0] X_f[0])))"), HasSubstr("only bounds of inputs"));
  EXPECT_THAT(error_of("(assert (<= X_f[0] X_g[0]))"), HasSubstr("only bounds of inputs"));
  EXPECT_THAT(error_of("(assert (== X_f[0] (+ X_g[0] 1)))"), HasSubstr("only bounds of inputs"));
  EXPECT_THAT(error_of("(assert (<= (+ X_f[0] X_f[0]) 1))"), HasSubstr("only bounds of inputs"));
  EXPECT_THAT(error_of("(assert (<= 0 1))"), HasSubstr("only bounds of inputs"));
  EXPECT_THAT(error_of("(assert (<= (* 2 X_f[0]) 1))"), HasSubstr("'(* ...)' is not read"));
  EXPECT_THAT(error_of("(assert (< Y_g[0] (+ Y_f[0] 1)))"), HasSubstr("strict comparison"));
  EXPECT_THAT(error_of("(assert (<= (+ X_f[0] 0.1) 0.2))"), HasSubstr("more than one number"));
  EXPECT_THAT(error_of("(assert (not (<= X_f[0] 1)))"), HasSubstr("'(not ...)' is not read"));
  EXPECT_THAT(error_of("(assert (or (<= Y_g[0] Y_f[0]) (<= X_f[0] 1)))"), HasSubstr("inside 'or'"));
  EXPECT_THAT(error_of("(assert (or (== X_g[0] X_f[0])))"), HasSubstr("inside 'or'"));
  EXPECT_THAT(error_of("(assert (<= X_f[2] 1))"), HasSubstr("'X_f[2]' lies outside X_f of shape 2"));
  EXPECT_THAT(error_of("(assert (<= X_f[0,0] 1))"), HasSubstr("needs 1 index"));
  EXPECT_THAT(error_of("(assert (<= X_f[-1] 1))"), HasSubstr("needs 1 index"));
  EXPECT_THAT(error_of("(assert (<= X_f 1))"), HasSubstr("needs 1 index"));
  EXPECT_THAT(error_of("(assert (<= X_0 1))"), HasSubstr("'X_0' is neither"));
  EXPECT_THAT(error_of("(assert (<= X_f[0 1))"), HasSubstr("'[' without its ']'"));
  EXPECT_THAT(error_of("(assert (<= X_f[0] 1 2))"), HasSubstr("two sides"));
  EXPECT_THAT(error_of("(assert X_f[0])"), HasSubstr("'X_f[0]' is not read"));
  EXPECT_THAT(error_of("(assert)"), HasSubstr("one formula"));
  EXPECT_THAT(error_of("(check-sat)"), HasSubstr("not a statement of VNN-LIB 2.0"));
  EXPECT_THAT(error_of("(declare-const X Real)"), HasSubstr("not a statement of VNN-LIB 2.0"));
  EXPECT_THAT(error_of("(assert (>= X_f[0] 2))"), HasSubstr("no value of input X_f[0]"));
  EXPECT_THAT(error_of("(assert (== Y_g[0] (+ Y_f[0] 1)))(assert (<= Y_g[0] Y_f[0]))"),
              HasSubstr("no difference of output 0"));
  EXPECT_THAT(error_of("(assert (<= X_f[0] 1)"), HasSubstr("cut off"));
}

TEST(VnnlibPair, DeclarationsThatDoNotFitAreErrors) {
  const std::string f = "(declare-network f (declare-input X_f real [2]) (declare-output Y_f real [2]))\n";
  const std::string g_variables = "(declare-input X_g real [2]) (declare-output Y_g real [2]))\n";
  EXPECT_THAT(error_of_text(f), HasSubstr("declares 1 networks"));
  EXPECT_THAT(error_of_text("(vnnlib-version <1.0>)" + f + "(declare-network g (equal-to f) " + g_variables),
              HasSubstr("only version 2.0"));
  EXPECT_THAT(error_of_text(f + "(declare-network g " + g_variables), HasSubstr("must be (isomorphic-to f)"));
  EXPECT_THAT(error_of_text(f + "(declare-network g (isomorphic-to h) " + g_variables),
              HasSubstr("must name the first network"));
  EXPECT_THAT(error_of_text("(declare-network f (isomorphic-to f) " + g_variables), HasSubstr("second network"));
  EXPECT_THAT(error_of_text(f + "(declare-network g (equal-to f) (declare-hidden H real [2]) " + g_variables),
              HasSubstr("'(declare-hidden ...)' is not read in a network"));
  EXPECT_THAT(error_of_text(f + "(declare-network g (equal-to f) (declare-input X_f real [2]))"),
              HasSubstr("'X_f' is declared twice"));
  EXPECT_THAT(error_of_text(f + "(declare-network g (equal-to f) (declare-input X_g real [2]))"),
              HasSubstr("needs a declare-input and a declare-output"));
  EXPECT_THAT(
      error_of_text(f + "(declare-network g (equal-to f) (declare-input A real [2]) (declare-input B real [2]))"),
      HasSubstr("second input"));
  EXPECT_THAT(error_of_text("(declare-network f (declare-input X int8 [2]))"), HasSubstr("type 'int8'"));
  EXPECT_THAT(error_of_text("(declare-network f (declare-input X real 2))"), HasSubstr("name, type and shape"));
  EXPECT_THAT(error_of_text("(declare-network)"), HasSubstr("needs a name"));
  EXPECT_THAT(error_of_text(declarations + "(declare-network h (equal-to f))"), HasSubstr("a third network"));
  EXPECT_THAT(error_of_text(declarations + unit_box), HasSubstr("the same input 0"));
  EXPECT_THAT(error_of_text(declarations + same), HasSubstr("X_f[0] has no lower bound"));
  const TemporaryFile file(declarations + same + unit_box, ".vnnlib");
  EXPECT_THROW(read_vnnlib_pair(file.path(), 3, 2), core::InputError);
  EXPECT_THROW(read_vnnlib_pair(file.path(), 2, 5), core::InputError);
}

TEST(VnnlibPair, IsToldFromABox) {
  EXPECT_TRUE(is_vnnlib_pair(TemporaryFile(declarations, ".vnnlib").path()));
  EXPECT_FALSE(is_vnnlib_pair(TemporaryFile("(declare-const X_0 Real)", ".vnnlib").path()));
  EXPECT_THROW(is_vnnlib_pair("/no/such/file.vnnlib"), core::InputError);
  try {
    read_vnnlib_box(TemporaryFile(declarations, ".vnnlib").path(), 2);
    FAIL();
  } catch (const core::InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("certify --against"));
  }
}

TEST(VnnlibPair, DamagedFilesGiveAPropertyOrAnInputErrorAndNothingElse) {
  const std::string good =
      declarations + same + unit_box + "(assert (and (<= Y_g[0] (+ Y_f[0] 0.05)) (>= Y_g[0] (- Y_f[0] 0.05))))";
  const std::string alphabet = "()[];<>=+-,. \n09Xefgyor";
  Draw draw(1);
  int read_anyway = 0, refused = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text = good;
    for (Index edit = draw.integer(1, 2); edit > 0 && !text.empty(); --edit) {
      const auto at = static_cast<std::size_t>(draw.integer(0, std::ssize(text) - 1));
      const char c = alphabet[static_cast<std::size_t>(draw.integer(0, std::ssize(alphabet) - 1))];
      switch (draw.integer(0, 9)) {
        case 0:
          text[at] = c;
          break;
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
          text.insert(at, 1, c);
          break;
        case 6:
        case 7:
        case 8:
          text.erase(at, static_cast<std::size_t>(draw.integer(1, 4)));
          break;
        default:
          text.resize(std::max<std::size_t>(1, at));
      }
    }
    try {
      const TemporaryFile file(text, ".vnnlib");
      const PairProperty property = read_vnnlib_pair(file.path(), 2, 2);
      ++read_anyway;
      for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_LE(property.input.low[i], property.input.high[i]) << text;
        EXPECT_LE(property.difference.low[i], property.difference.high[i]) << text;
      }
    } catch (const core::InputError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(read_anyway, 20);
}

TEST(VnnlibPair, TheRealPropertyIsRead) {
  const std::filesystem::path path =
      std::filesystem::path(QUANTBOUND_SHARED_DATA) / "vnnlib" / "isomorphic_epsilon_0.05.vnnlib";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  ASSERT_TRUE(is_vnnlib_pair(path));
  const PairProperty property = read_vnnlib_pair(path, 5, 5);
  EXPECT_THAT(property.input.low, ElementsAre(0.6, -0.5, -0.5, 0.45, -0.45));
  EXPECT_THAT(property.input.high, ElementsAre(0.679857769, 0.5, 0.5, 0.5, -0.45));
  EXPECT_THAT(property.difference.low, ::testing::Each(-0.05));
  EXPECT_THAT(property.difference.high, ::testing::Each(0.05));
  EXPECT_FALSE(is_vnnlib_pair(path.parent_path() / "acasxu_prop_1.vnnlib"));
}

}  // namespace
}  // namespace quantbound::network
