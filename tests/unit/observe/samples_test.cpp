#include "quantbound/observe/samples.hpp"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

namespace quantbound::observe {
namespace {

using ::testing::HasSubstr;

std::string npy(const std::string& type, const std::string& shape, const std::string& data) {
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize((header.size() + 10 + 63) / 64 * 64 - 10, ' ');
  std::string bytes = "\x93NUMPY";
  bytes += {1, 0, static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  return bytes + header + data;
}

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("quantbound-samples-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return (folder_ / name).string();
  }
  std::filesystem::path folder_;
};

TEST_F(Files, ImagesAreNormalisedAndTransposedFromNhwcToNchw) {
  // One 1 x 2 image with 2 channels: pixels (10, 20), (30, 40).
  const std::string file = write("x.npy", npy("|u1", "(1, 1, 2, 2)", std::string("\x0a\x14\x1e\x28", 4)));
  const SampleSet set({.name = "x",
                       .images = file,
                       .labels = {},
                       .layout = Layout::nhwc,
                       .scale = 10.0,
                       .mean = {1.0, 2.0},
                       .std = {2.0}});

  const auto channels_first = set.block({2, 1, 2}, 0, 1), channels_last = set.block({1, 2, 2}, 0, 1);

  EXPECT_EQ(channels_first, (std::vector<double>{0.0, 1.0, 0.0, 1.0}));
  EXPECT_EQ(channels_last, (std::vector<double>{0.0, 0.0, 1.0, 1.0}));
  EXPECT_NO_THROW(set.require_fits({2, 1, 2}, "net"));
  EXPECT_THROW(set.require_fits({3, 1, 2}, "net"), core::InputError);
  EXPECT_THROW(set.require_fits({4}, "net"), core::InputError) << "channels do not flatten silently";
}

TEST_F(Files, IdxImagesAndLabelsAreRead) {
  const std::string images =
      write("img", std::string("\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02", 16) + std::string("\x01\x02\x03\x04", 4));
  const std::string labels = write("lab", std::string("\0\0\x08\x01\0\0\0\x02", 8) + std::string("\x07\x09", 2));
  const SampleSet set({.name = "x", .images = images, .labels = labels, .label_offset = 1});

  EXPECT_EQ(set.count(), 2);
  EXPECT_EQ(set.labels(), (std::vector<Index>{8, 10}));
  EXPECT_EQ(set.block({2}, 1, 1), (std::vector<double>{3.0, 4.0}));
}

TEST_F(Files, DamagedFilesAreErrorsThatNameTheFile) {
  const auto error_of = [](const std::string& file) {
    try {
      SampleSet({.name = "x", .images = file});
    } catch (const core::InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error_of(write("short.npy", npy("<f4", "(10, 10)", "abcd"))), HasSubstr("shorter than its header"));
  EXPECT_THAT(error_of(write("huge.npy", npy("<f4", "(99999999999999, 99999999999)", "abcd"))), HasSubstr("short"));
  EXPECT_THAT(error_of(write("type.npy", npy("<c8", "(1,)", "abcdefgh"))), HasSubstr("element type"));
  EXPECT_THAT(error_of(write("garbage.npy", "garbage and more garbage")), HasSubstr("not a .npy file"));
  EXPECT_THAT(error_of(write("garbage", "garbage")), HasSubstr("idx"));
  EXPECT_THAT(error_of((folder_ / "absent.npy").string()), HasSubstr("no such file"));
  EXPECT_THAT(error_of((folder_ / "absent.h5").string() + ":/x"), HasSubstr("absent.h5"));
}

TEST_F(Files, NotANumberIsRefused) {
  const std::string file = write("nan.npy", npy("<f4", "(1, 1)", std::string("\0\0\xc0\x7f", 4)));
  EXPECT_THROW(SampleSet({.name = "x", .images = file}), core::InputError);
}

TEST_F(Files, LabelsMustMatchTheImages) {
  const std::string images = write("x.npy", npy("|u1", "(2, 1)", "ab")),
                    labels = write("y.npy", npy("|u1", "(3,)", "abc"));
  EXPECT_THROW(SampleSet({.name = "x", .images = images, .labels = labels}), core::InputError);
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
