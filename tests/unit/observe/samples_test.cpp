// Sample sets: what becomes of the numbers of a file, which rows and labels a set takes, what is refused, and what it
// costs. The formats of files: array_file_test.cpp.
#include "quantbound/observe/samples.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "array_files.hpp"

namespace quantbound::observe {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Samples : public ArrayFiles {
 protected:
  /// Images of this shape, all zero.
  SampleSpec zeros(const std::string& name, const std::string& shape, std::size_t count, Layout layout = Layout::flat) {
    return {.name = name, .images = write(name, npy("|u1", shape, std::string(count, '\0'))), .layout = layout};
  }
};

// -------------------------------------------------------------------------------------------------- normalisation

/// The plain meaning of the specification. Not inlined: GCC 12 drops the conversion to float and back of neighbours
/// that it takes together.
[[gnu::noinline]] double normalised(double value, double scale, double mean, double deviation) {
  return static_cast<double>(static_cast<float>((value / scale - mean) / deviation));
}

struct Extent {
  Index channels, height, width;
};

std::size_t position(const Extent& e, bool channels_last, Index c, Index y, Index x) {
  return static_cast<std::size_t>(channels_last ? (y * e.width + x) * e.channels + c
                                                : (c * e.height + y) * e.width + x);
}

template <class T>
class NormalisedSamples : public ArrayFiles {
 public:
  static std::string code() {
    if constexpr (std::is_floating_point_v<T>) return "<f" + std::to_string(sizeof(T));
    return (std::is_signed_v<T> ? "<i" : "<u") + std::to_string(sizeof(T));
  }
};
using ElementTypes =
    ::testing::Types<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::int32_t, std::int64_t, float, double>;
TYPED_TEST_SUITE(NormalisedSamples, ElementTypes);

TYPED_TEST(NormalisedSamples, EqualThePlainFormulaInEveryOrderOfChannels) {
  const Extent extent{.channels = 3, .height = 5, .width = 7};
  const Index count = 4, size = 3 * 5 * 7;
  const core::RandomStream random(7, "images");
  std::vector<TypeParam> values;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count * size); ++i) {
    values.push_back(static_cast<TypeParam>(random.uniform(i) * 127.0));
  }
  const std::vector<double> mean{0.485, 0.456, 0.406}, deviation{0.229, 0.224, 0.225};
  for (const bool stored_last : {false, true}) {
    const SampleSet set({.name = "x",
                         .images = this->write("x.npy", npy(this->code(), stored_last ? "(4, 5, 7, 3)" : "(4, 3, 5, 7)",
                                                            bytes_of(values))),
                         .layout = stored_last ? Layout::nhwc : Layout::nchw,
                         .scale = 255.0,
                         .mean = mean,
                         .std = deviation});
    for (const bool wanted_last : {false, true}) {
      std::vector<double> wanted(values.size());
      for (Index n = 0; n < count; ++n) {
        for (Index c = 0; c < 3; ++c) {
          for (Index y = 0; y < 5; ++y) {
            for (Index x = 0; x < 7; ++x) {
              const auto first = static_cast<std::size_t>(n * size), channel = static_cast<std::size_t>(c);
              const auto value = static_cast<double>(values[first + position(extent, stored_last, c, y, x)]);
              wanted[first + position(extent, wanted_last, c, y, x)] =
                  normalised(value, 255.0, mean[channel], deviation[channel]);
            }
          }
        }
      }
      const Shape shape = wanted_last ? Shape{5, 7, 3} : Shape{3, 5, 7};
      EXPECT_NO_THROW(set.require_fits(shape, "net"));
      EXPECT_EQ(set.block(shape, 0, count), wanted) << "stored last " << stored_last << ", wanted " << wanted_last;
    }
  }
}

TEST_F(Samples, OneNumberServesAllChannels) {
  const std::string file = write("x.npy", npy("|u1", "(1, 1, 2, 2)", std::string("\x0a\x14\x1e\x28", 4)));
  const SampleSet set(
      {.name = "x", .images = file, .layout = Layout::nhwc, .scale = 10.0, .mean = {1.0}, .std = {2.0}});

  EXPECT_THAT(set.block({2, 1, 2}, 0, 1), ElementsAre(0.0, 1.0, 0.5, 1.5));
}

TEST_F(Samples, GreyAndFlatImagesFitAnyShapeOfAsManyNumbers) {
  const SampleSet grey(zeros("grey", "(2, 4, 6)", 48, Layout::nhwc)), flat(zeros("flat", "(2, 4, 6)", 48));
  for (const Shape& shape : {Shape{24}, Shape{1, 4, 6}, Shape{4, 6, 1}}) {
    EXPECT_NO_THROW(grey.require_fits(shape, "net"));
    EXPECT_NO_THROW(flat.require_fits(shape, "net"));
  }
}

TEST_F(Samples, NormalisationThatDoesNotFitIsRefused) {
  const auto error = [&](auto change) {
    SampleSpec spec = zeros("x", "(1, 2, 2, 3)", 12, Layout::nhwc);
    change(spec);
    return error_of_set(spec);
  };
  const double nan = std::nan("");
  EXPECT_THAT(error([](auto& s) {
                s.mean = {0.1, 0.2};
              }),
              HasSubstr("`mean` of samples 'x' has 2 numbers for images of 3"));
  EXPECT_THAT(error([](auto& s) { s.std = {1.0, 1.0, 1.0, 1.0}; }), HasSubstr("`std` of samples 'x' has 4 numbers"));
  EXPECT_THAT(error([](auto& s) {
                s.mean = {0.1, 0.2, 0.3}, s.layout = Layout::flat;
              }),
              AllOf(HasSubstr("for images of 1 channel "), HasSubstr("need layout = \"NHWC\"")));
  EXPECT_THAT(error([](auto& s) { s.std = {0.0}; }), HasSubstr("`std` must be positive"));
  EXPECT_THAT(error([&](auto& s) { s.std = {nan}; }), HasSubstr("`std` must be positive and finite"));
  EXPECT_THAT(error([](auto& s) { s.scale = 0.0; }), HasSubstr("`scale` must be positive"));
  EXPECT_THAT(error([&](auto& s) { s.scale = nan; }), HasSubstr("`scale` must be positive and finite"));
  EXPECT_THAT(error([&](auto& s) { s.mean = {nan}; }), HasSubstr("`mean` must be finite"));
  EXPECT_EQ(error([](auto&) {}), "no error");
}

// ------------------------------------------------------------------------------------------------- rows and labels

TEST_F(Samples, TakeTheRowsOfTheirPartOfTheFile) {
  const std::string images = write("x.npy", npy("|u1", "(6, 2)", "abcdefghijkl")),
                    labels = write("y.npy", npy("<i8", "(6,)", bytes_of(std::vector<std::int64_t>{0, 1, 2, 3, 4, 5})));
  const SampleSet set({.name = "x", .images = images, .labels = labels, .label_offset = 1, .first_row = 2, .rows = 3});
  const SampleSet rest({.name = "x", .images = images, .labels = labels, .first_row = 4});

  EXPECT_EQ(set.count(), 3);
  EXPECT_THAT(set.labels(), ElementsAre(3, 4, 5));
  EXPECT_THAT(set.block({2}, 1, 2), ElementsAre('g', 'h', 'i', 'j'));
  EXPECT_EQ(rest.count(), 2);
  EXPECT_THAT(rest.labels(), ElementsAre(4, 5));
}

TEST_F(Samples, RowsOutsideTheFileAreRefused) {
  const auto error = [&](Index first, std::optional<Index> rows) {
    SampleSpec spec = zeros("x", "(6, 2)", 12);
    spec.first_row = first, spec.rows = rows;
    return error_of_set(spec);
  };
  constexpr Index most = std::numeric_limits<Index>::max();
  EXPECT_EQ(error(0, 6), "no error");
  EXPECT_THAT(error(4, 3), HasSubstr("samples 'x' take rows 4 to 6, but the file has 6 rows, counted from 0"));
  EXPECT_THAT(error(6, std::nullopt), HasSubstr("take the rows from 6 on"));
  EXPECT_THAT(error(6, 1), HasSubstr("take row 6"));
  EXPECT_THAT(error(1, most), HasSubstr("but the file has 6 rows"));
  for (const auto& [first, rows] : {std::pair<Index, Index>{-1, 2}, {0, 0}, {0, -1}}) {
    EXPECT_THAT(error(first, rows), HasSubstr("but the file has 6 rows"));
  }
}

TEST_F(Samples, LabelsAreOneClassPerImage) {
  SampleSpec spec = zeros("x", "(2, 2)", 4);
  const auto error = [&](const std::string& labels) {
    spec.labels = write("y", labels);
    return error_of_set(spec);
  };
  EXPECT_EQ(error(npy("<f4", "(2, 1)", bytes_of(std::vector{3.0F, 4.0F}))), "no error");
  EXPECT_THAT(error(npy("|u1", "(3,)", "abc")), HasSubstr("3 labels for 2 images of samples 'x'"));
  EXPECT_THAT(error(npy("|u1", "(2, 2)", "abcd")),
              AllOf(HasSubstr("4 labels for 2 images"), HasSubstr("numpy.argmax")));
  EXPECT_THAT(error(npy("<f4", "(2,)", bytes_of(std::vector{3.0F, 0.5F}))),
              HasSubstr("label 0.5 of row 1 is not a whole number"));
  EXPECT_THAT(error(npy("<f4", "(2,)", bytes_of(std::vector{3.0F, std::nanf("")}))), HasSubstr("not a whole number"));
  EXPECT_THAT(error(npy("<i8", "(2,)", bytes_of(std::vector{std::int64_t{1}, std::int64_t{1} << 60}))),
              HasSubstr("not a whole number"));
}

TEST_F(Samples, LabelsOutsideTheOutputsOfANetworkAreRefusedWithTheirRow) {
  SampleSpec spec = zeros("x", "(5, 1)", 5);
  spec.labels = write("y.npy", npy("|i1", "(5,)", bytes_of(std::vector<std::int8_t>{7, 0, 9, 5, 11})));
  spec.first_row = 1, spec.rows = 3;
  const auto error = [&](int offset, Index outputs) {
    spec.label_offset = offset;
    return error_of([&] { SampleSet(spec).require_labels_fit(outputs, "net"); });
  };
  EXPECT_EQ(error(0, 10), "no error") << "rows 1 to 3 have the labels 0, 9 and 5";
  EXPECT_THAT(error(1, 10), AllOf(HasSubstr("row 2 of samples 'x' has label 10 (label_offset 1 included)"),
                                  HasSubstr("network 'net' has 10 outputs"), HasSubstr("y.npy")));
  EXPECT_THAT(error(-1, 10), HasSubstr("row 1 of samples 'x' has label -1"));
  spec.labels = std::nullopt;
  EXPECT_EQ(error(0, 1), "no error") << "without labels";
}

TEST_F(Samples, RolesHaveNames) {
  for (const Role role : {Role::evaluation, Role::calibration}) EXPECT_EQ(parse_role(to_string(role)), role);
  for (const Layout layout : {Layout::nhwc, Layout::nchw, Layout::flat}) {
    EXPECT_EQ(parse_layout(to_string(layout)), layout);
  }
  EXPECT_EQ(parse_role("training"), std::nullopt);
}

TEST_F(Samples, SharedRowsAreThoseOfTheSameFileAndDataset) {
  const std::string file = write("x.h5", "anything"), other = write("y.h5", "anything");
  std::filesystem::create_symlink(file, path("link.h5"));
  std::filesystem::create_directory(path("down"));
  const auto shared = [](const std::string& one, RowRange rows, const std::string& two, RowRange others) {
    const auto spec = [](const std::string& images, const RowRange& r) {
      return SampleSpec{.images = images, .first_row = r.first, .rows = r.count};
    };
    const auto range = shared_rows(spec(one, rows), spec(two, others));
    return range ? to_string(*range) : "none";
  };
  EXPECT_EQ(shared(file, {0, 10}, file, {5, 10}), "rows 5 to 9");
  EXPECT_EQ(shared(file, {0, 10}, file, {10, 10}), "none");
  EXPECT_EQ(shared(file, {0, 10}, file, {9, {}}), "row 9");
  EXPECT_EQ(shared(file, {3, {}}, file, {9, {}}), "the rows from 9 on");
  EXPECT_EQ(shared(file, {}, file, {}), "all rows");
  EXPECT_EQ(shared(file, {}, other, {}), "none");
  EXPECT_EQ(shared(file, {}, path("link.h5"), {}), "all rows");
  EXPECT_EQ(shared(file, {}, path("down/../x.h5"), {}), "all rows");
  EXPECT_EQ(shared(file + ":/a", {}, file + ":/b", {}), "none");
  EXPECT_EQ(shared(file + ":/a/b", {}, path("link.h5") + ":/a//b", {}), "all rows");
  EXPECT_EQ(shared(path("absent"), {}, path("absent"), {}), "none");
}

// ------------------------------------------------------------------------------------------------------- refusals

TEST_F(Samples, ThatDoNotFitSayBothShapesAndWhatToDo) {
  const SampleSet rgb(zeros("rgb", "(1, 8, 6, 3)", 144, Layout::nhwc)),
      grey(zeros("grey", "(1, 8, 6)", 48, Layout::nchw)), first(zeros("first", "(1, 3, 8, 6)", 144, Layout::nhwc)),
      last(zeros("last", "(1, 8, 6, 3)", 144, Layout::nchw)), flat(zeros("flat", "(1, 50)", 50));
  const auto error = [](const SampleSet& set, const Shape& shape) {
    return error_of([&] { set.require_fits(shape, "net"); });
  };
  EXPECT_THAT(
      error(rgb, {3, 32, 16}),
      AllOf(HasSubstr("samples 'rgb' of shape 8x6x3 (NHWC) do not fit network 'net' with input 3x32x16"),
            HasSubstr("quantbound does not resize"), HasSubstr("resize((16, 32))"), HasSubstr("`samples` key")));
  EXPECT_THAT(error(rgb, {32, 16, 3}), HasSubstr("resize((16, 32))")) << "channels last";
  EXPECT_THAT(error(rgb, {1, 8, 6}),
              AllOf(HasSubstr("have 3 channels, the network takes 1"), HasSubstr("convert('L')")));
  EXPECT_THAT(error(grey, {3, 8, 6}),
              AllOf(HasSubstr("have 1 channel, the network takes 3"), HasSubstr("numpy.repeat(images[..., None], 3")));
  EXPECT_THAT(error(first, {8, 6, 3}), HasSubstr("layout = \"NCHW\"")) << "channels first, said to be last";
  EXPECT_THAT(error(last, {3, 8, 6}), HasSubstr("layout = \"NHWC\"")) << "channels last, said to be first";
  EXPECT_THAT(error(rgb, {144}), HasSubstr("layout = \"flat\"")) << "channels do not flatten silently";
  EXPECT_THAT(error(rgb, {3, 6, 8}), HasSubstr("numpy.transpose")) << "height and width exchanged";
  const SampleSet unsaid(zeros("unsaid", "(1, 8, 6, 3)", 144)), swapped(zeros("swapped", "(1, 6, 8)", 48));
  EXPECT_THAT(error(unsaid, {3, 8, 6}), AllOf(HasSubstr("(flat)"), HasSubstr("they would with layout = \"NHWC\"")));
  EXPECT_THAT(error(swapped, {1, 8, 6}), HasSubstr("numpy.transpose"));
  EXPECT_EQ(error_of([&] { unsaid.require_fits({8, 6, 3}, "net"); }), "no error") << "as it lies in the file";
  EXPECT_EQ(error_of([&] { unsaid.require_fits({144}, "net"); }), "no error");
  EXPECT_THAT(error(flat, {64}),
              AllOf(HasSubstr("50 numbers per sample where the network takes 64"), HasSubstr("does not resize")));
  EXPECT_THAT(error_of_set(zeros("x", "(4, 2)", 8, Layout::nhwc)), HasSubstr("needs an array of 3 or 4 axes"));
}

TEST_F(Samples, NumbersThatAreNotFiniteAreFoundBeforeAnythingIsComputed) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  SampleSpec spec{.name = "x"};
  spec.images = write("x.npy", npy("<f4", "(4, 2)", bytes_of(std::vector<float>{1, 2, 3, 4, 5, nan, 7, 8})));
  EXPECT_THAT(error_of_set(spec), HasSubstr("row 2: element 1 is not a finite number but nan"));
  spec.rows = 2;
  EXPECT_EQ(error_of_set(spec), "no error") << "rows that the set does not take";
  spec.images = write("x.npy", npy("<f8", "(1, 2)", bytes_of(std::vector<double>{1, 1e200}))), spec.rows = std::nullopt;
  EXPECT_THAT(error_of_set(spec), HasSubstr("element 1 = 1e+200 is too large for a float"));
  spec.scale = 1e180;
  EXPECT_EQ(error_of_set(spec), "no error");
}

TEST_F(Samples, FilesThatChangeWhileTheyAreInUseAreErrors) {
  const std::string bytes = npy("<f4", "(4, 1)", bytes_of(std::vector<float>{1, 2, 3, 4}));
  const SampleSet set({.name = "x", .images = write("x.npy", bytes)});
  std::fstream(path("x.npy"), std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(bytes.size()) - 8)
      .write("\0\0\xc0\x7f", 4);
  EXPECT_NO_THROW(set.block({1}, 0, 2));
  EXPECT_THAT(error_of([&] { set.block({1}, 2, 1); }), HasSubstr("row 2: element 0 is not a finite number"));
  std::filesystem::resize_file(path("x.npy"), bytes.size() - 4);
  EXPECT_THROW(set.block({1}, 3, 1), core::IoError);
}

// ----------------------------------------------------------------------------------------------------------- cost

/// A file of this size that takes no room on the disk: all zero behind the header.
void extend(const std::string& file, std::uintmax_t header, std::uintmax_t data) {
  std::filesystem::resize_file(file, header + data);
}

/// Kilobytes that the process has needed at most so far.
std::int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST_F(Samples, OfALargeFileTakeNoMoreMemoryThanTheBlock) {
  const std::string header = npy("|u1", "(100000, 224, 224, 3)", "");
  const std::string file = write("large.npy", header);
  extend(file, header.size(), 100000ULL * 224 * 224 * 3);  // 15 GB
  const std::int64_t before = peak_memory();

  const SampleSet set({.name = "x", .images = file, .layout = Layout::nhwc, .scale = 255.0});
  const auto block = set.block({3, 224, 224}, 99998, 2);

  EXPECT_EQ(block, std::vector<double>(2UL * 3 * 224 * 224));
  EXPECT_LT(peak_memory() - before, 20000) << "kilobytes";
}

TEST_F(Samples, OfFloatsAreCheckedInBoundedMemory) {
  const std::string header = npy("<f4", "(100, 1000000)", "");
  const std::string file = write("floats.npy", header);
  extend(file, header.size(), 400000000);
  const std::int64_t before = peak_memory();

  EXPECT_EQ(SampleSet({.name = "x", .images = file}).count(), 100);
  EXPECT_LT(peak_memory() - before, 40000) << "kilobytes";
}

TEST_F(Samples, AreTheSameWhateverTheBlocksAndThreads) {
  std::vector<float> values(50 * 30000);
  std::iota(values.begin(), values.end(), 0.0F);
  const SampleSet set({.name = "x", .images = write("x.npy", npy(">f4", "(50, 30000)", swapped_bytes_of(values)))});
  const std::vector<double> whole = set.block({30000}, 0, 50);
  EXPECT_EQ(whole, std::vector<double>(values.begin(), values.end()));

  std::vector<std::vector<double>> parts(10);
  std::vector<std::thread> threads;
  for (Index t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (Index k = t; k < 10; k += 4) parts[static_cast<std::size_t>(k)] = set.block({30000}, 5 * k, 5);
    });
  }
  for (auto& thread : threads) thread.join();

  for (std::size_t k = 0; k < parts.size(); ++k) {
    EXPECT_TRUE(std::equal(parts[k].begin(), parts[k].end(), whole.begin() + static_cast<std::ptrdiff_t>(k * 150000)));
  }
  EXPECT_TRUE(set.block({30000}, 50, 0).empty());
}

TEST(UniformPoints, LieInTheBoxAsFloatsWhateverTheBlock) {
  const Box box{.low = {0.1, -3.0, 5.0}, .high = {0.3, 1e-3, 5.0}};

  const auto all = uniform_points(box, 1, 2, 0, 1000), part = uniform_points(box, 1, 2, 500, 10);

  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_GE(all[i], box.low[i % 3]);
    EXPECT_LE(all[i], box.high[i % 3]);
    EXPECT_EQ(all[i], static_cast<double>(static_cast<float>(all[i])));
  }
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 1500));
}

}  // namespace
}  // namespace quantbound::observe
