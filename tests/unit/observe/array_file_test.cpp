// The formats of arrays: what is read, what is refused and with which remedy, and damaged headers.
#include <chrono>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/resource.h>

#include "quantbound/core/error.hpp"
#include "quantbound/observe/samples.hpp"

#include "../../support/damage.hpp"
#include "array_files.hpp"

namespace quantbound::observe {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Npy : public ArrayFiles {
 protected:
  std::string error_of_file(const std::string& bytes) {
    return error_of_set({.name = "x", .images = write("x.npy", bytes)});
  }
};

TEST_F(Npy, EveryElementTypeIsReadInBothByteOrders) {
  const auto expect = [&]<class T>(const std::string& code, const std::vector<T>& values) {
    const std::vector<double> wanted(values.begin(), values.end());
    EXPECT_EQ(numbers(write("little.npy", npy("<" + code, "(3, 1)", bytes_of(values)))), wanted) << code;
    EXPECT_EQ(numbers(write("big.npy", npy(">" + code, "(3, 1)", swapped_bytes_of(values)))), wanted) << code;
    EXPECT_EQ(numbers(write("native.npy", npy("=" + code, "(3, 1)", bytes_of(values)))), wanted) << code;
  };
  expect("u1", std::vector<std::uint8_t>{0, 1, 255});
  expect("i1", std::vector<std::int8_t>{-128, -1, 127});
  expect("u2", std::vector<std::uint16_t>{0, 258, 65535});
  expect("i2", std::vector<std::int16_t>{-32768, 258, 32767});
  expect("i4", std::vector<std::int32_t>{-65536, 16909060, 1 << 30});
  expect("i8", std::vector<std::int64_t>{-1, 16909060, std::int64_t{1} << 62});
  expect("f4", std::vector<float>{-0.5F, 1e-42F, 3e38F});
  expect("f8", std::vector<double>{-0.5, 0.25, 1e30F});
  EXPECT_EQ(numbers(write("bar.npy", npy("|u1", "(2,)", "ab"))), (std::vector<double>{97.0, 98.0}));
}

TEST_F(Npy, HalvesAreReadExactly) {
  const std::vector<std::uint16_t> halves{0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x8000, 0x3555};
  const std::vector<double> wanted{1.0, -2.0, 65504.0, 0x1p-24, 1023 * 0x1p-24, 0x1p-14, -0.0, 1365 * 0x1p-12};

  const auto read = numbers(write("x.npy", npy("<f2", "(8,)", bytes_of(halves))));

  EXPECT_EQ(read, wanted);
  EXPECT_TRUE(std::signbit(read[6]));
  for (const std::uint16_t bits : {std::uint16_t{0x7c00}, std::uint16_t{0xfc00}, std::uint16_t{0x7e00}}) {
    EXPECT_THAT(error_of_file(npy("<f2", "(1,)", bytes_of(std::vector{bits}))), HasSubstr("not a finite number"));
  }
}

TEST_F(Npy, VersionsOneToThreeAreRead) {
  for (const char version : {'\1', '\2', '\3'}) {
    EXPECT_THAT(numbers(write("x.npy", npy("|u1", "(2, 2)", "\1\2\3\4", version))), ElementsAre(1.0, 2.0, 3.0, 4.0));
  }
  EXPECT_THAT(error_of_file(npy("|u1", "(2, 2)", "\1\2\3\4", 4)), HasSubstr("version 4 of the .npy format"));
}

TEST_F(Npy, HeadersOfOtherWritersAreRead) {
  const auto read = [&](const std::string& header) {
    return numbers(write("x.npy", npy_with_header(header, "\1\2\3\4")));
  };
  EXPECT_EQ(read("{'shape':(2,2),'descr':'|u1','fortran_order':False}").size(), 4U) << "another order, no spaces";
  EXPECT_EQ(read("{\"descr\": \"|u1\", \"fortran_order\": False, \"shape\": (2L, 2L)}\n").size(), 4U) << "Python 2";
  EXPECT_EQ(read("  { 'descr' : '|u1' , 'fortran_order' : False , 'shape' : ( 4 , ) , }  ").size(), 4U) << "spaces";
}

TEST_F(Npy, WhatIsNoArrayOfNumbersIsRefusedWithTheRemedy) {
  const auto with = [&](const std::string& header) { return error_of_file(npy_with_header(header, "abcd")); };
  EXPECT_THAT(with("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }"), HasSubstr("numpy.ascontiguousarray"));
  EXPECT_THAT(with("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (4,), }"), HasSubstr("one field of it"));
  for (const std::string type : {"<c8", "|b1", "<U1", "|O", "<u4", "<u8", "<f16", "<M8[s]", "|f4", "", "f4", "?u1"}) {
    EXPECT_THAT(error_of_file(npy(type, "(1,)", "abcd")),
                AllOf(HasSubstr("element type '" + type + "'"), HasSubstr(".astype(numpy.float32)")));
  }
}

TEST_F(Npy, HeadersThatAreNoneAreErrors) {
  const auto with = [&](const std::string& header) { return error_of_file(npy_with_header(header, "abcd")); };
  for (const std::string header :
       {"", "{", "{}", "{'descr': '|u1'}", "{'descr': '|u1', 'fortran_order': False, 'shape': 4}",
        "{'descr': '|u1', 'fortran_order': Maybe, 'shape': (4,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-4,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4.0,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4,)} {",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), 'more': 1}", "{'descr: 4"}) {
    EXPECT_THAT(with(header), HasSubstr("in the .npy header")) << header;
  }
}

TEST_F(Npy, SizesAreHeldAgainstTheHeader) {
  EXPECT_THAT(error_of_file(npy("<f4", "(10, 10)", "abcd")),
              HasSubstr("shorter than its header says: 4 bytes for an array 10x10, which takes 400"));
  EXPECT_THAT(error_of_file(npy("|u1", "(3,)", "abcd")), HasSubstr("1 bytes follow the array"));
  EXPECT_THAT(error_of_file(npy("<f4", "(99999999999999, 99999999999)", "abcd")), HasSubstr("too large"));
  EXPECT_THAT(error_of_file(npy("<f4", "(999999999999999999999999,)", "abcd")), HasSubstr("extent beyond"));
  EXPECT_THAT(error_of_file(npy("<f4", "(1, 300000000)", "abcd")), HasSubstr("the first axis counts the samples"));
  for (const std::string shape : {"()", "(0, 4)", "(4, 0)"}) {
    EXPECT_THAT(error_of_file(npy("|u1", shape, "")), HasSubstr("no samples in the file"));
  }
  const std::string whole = npy("|u1", "(4,)", "abcd");
  for (const std::size_t kept : {8U, 9U, 11U, 40U}) {
    EXPECT_THAT(error_of_file(whole.substr(0, kept)), HasSubstr("header is cut off")) << kept;
  }
}

TEST_F(ArrayFiles, IdxFilesOfEveryTypeAreRead) {
  const auto idx = [&](char type, const std::string& data) {
    return numbers(write("x", std::string("\0\0", 2) + type + std::string("\2\0\0\0\2\0\0\0\1", 9) + data));
  };
  EXPECT_THAT(idx('\x08', "\x01\xff"), ElementsAre(1.0, 255.0));
  EXPECT_THAT(idx('\x09', "\x01\xff"), ElementsAre(1.0, -1.0));
  EXPECT_THAT(idx('\x0b', swapped_bytes_of(std::vector<std::int16_t>{258, -2})), ElementsAre(258.0, -2.0));
  EXPECT_THAT(idx('\x0c', swapped_bytes_of(std::vector<std::int32_t>{1 << 20, -2})), ElementsAre(1048576.0, -2.0));
  EXPECT_THAT(idx('\x0d', swapped_bytes_of(std::vector<float>{0.5F, -2.0F})), ElementsAre(0.5, -2.0));
  EXPECT_THAT(idx('\x0e', swapped_bytes_of(std::vector<double>{0.5, -2.0})), ElementsAre(0.5, -2.0));
}

TEST_F(ArrayFiles, OtherFilesAreRefusedWithWhatToDo) {
  const auto error = [&](const std::string& bytes) { return error_of_set({.name = "x", .images = write("x", bytes)}); };
  EXPECT_THAT(error("garbage and more garbage"), HasSubstr("neither .npy nor idx nor HDF5"));
  EXPECT_THAT(error(""), HasSubstr("neither .npy nor idx nor HDF5"));
  EXPECT_THAT(error(std::string("\0\0\x08\x02\0\0\0\x02", 8)), HasSubstr("idx header is cut off"));
  EXPECT_THAT(error(std::string("\0\0\x08\x01\0\0\0\x02", 8) + "a"), HasSubstr("shorter than its header"));
  EXPECT_THAT(error("\x1f\x8b\x08 and so on"), HasSubstr("gunzip"));
  EXPECT_THAT(error("PK\x03\x04 and so on"), HasSubstr("numpy.load(archive)[name]"));
  EXPECT_THAT(error("\x89PNG\r\n\x1a\n"), HasSubstr("save all pictures as one array"));
  EXPECT_THAT(error_of_set({.name = "x", .images = path("absent.npy")}), HasSubstr("no such file"));
  EXPECT_THAT(error_of_set({.name = "x", .images = folder_.string()}), HasSubstr("not a file"));
}

// ----------------------------------------------------------------------------------------------------------- HDF5

/// An HDF5 file that is written dataset by dataset.
class Hdf5 : public ArrayFiles {
 protected:
  void SetUp() override {
    ArrayFiles::SetUp();
    file_ = H5Fcreate(path("x.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  }
  /// @param chunk empty: contiguous; else the chunks, compressed
  template <class T>
  void add(const std::string& name, hid_t stored, hid_t memory, const std::vector<hsize_t>& extents,
           const std::vector<T>& values, const std::vector<hsize_t>& chunk = {}) {
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    if (!chunk.empty()) {
      H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data());
      H5Pset_deflate(creation, 1);
    }
    H5Pset_create_intermediate_group(links, 1);
    const hid_t space = extents.empty() ? H5Screate(H5S_SCALAR)
                                        : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr);
    const hid_t set = H5Dcreate2(file_, name.c_str(), stored, space, links, creation, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << name;
    H5Dclose(set), H5Sclose(space), H5Pclose(creation), H5Pclose(links);
  }
  std::string close() {
    H5Fclose(file_);
    return path("x.h5");
  }
  hid_t file_ = H5I_INVALID_HID;
};

TEST_F(Hdf5, EveryTypeIsReadAndConvertedFromItsByteOrder) {
  const std::vector<std::int32_t> values{7, 200, 3, 100};
  const auto add_integers = [&](const std::string& name, hid_t stored) {
    add(name, stored, H5T_NATIVE_INT32, {2, 2}, values);
  };
  add_integers("u1", H5T_STD_U8LE), add_integers("u2", H5T_STD_U16BE), add_integers("u4", H5T_STD_U32LE);
  add_integers("i2", H5T_STD_I16BE), add_integers("i4", H5T_STD_I32LE), add_integers("i8", H5T_STD_I64BE);
  add_integers("f4", H5T_IEEE_F32BE), add_integers("f8", H5T_IEEE_F64LE);
  add("i1", H5T_STD_I8LE, H5T_NATIVE_INT32, {2}, std::vector<std::int32_t>{-128, 127});
  const std::string file = close();

  for (const std::string name : {"u1", "u2", "u4", "i2", "i4", "i8", "f4", "f8"}) {
    EXPECT_THAT(numbers(file + ":/" + name), ElementsAre(7.0, 200.0, 3.0, 100.0)) << name;
  }
  EXPECT_THAT(numbers(file + ":/i1"), ElementsAre(-128.0, 127.0));
}

TEST_F(Hdf5, ChunkedAndCompressedDatasetsAreReadByRows) {
  std::vector<float> values(7 * 5 * 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 2;
  add("group/packed", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {7, 5, 3}, values, {2, 3, 2});
  const SampleSet set({.name = "x", .images = close() + ":/group/packed", .first_row = 1, .rows = 5});

  EXPECT_EQ(set.count(), 5);
  for (const Index first : {3, 0, 4}) {
    const auto block = set.block({15}, first, 1);
    EXPECT_TRUE(std::equal(block.begin(), block.end(), values.begin() + (first + 1) * 15)) << first;
  }
  EXPECT_EQ(set.block({15}, 0, 5), std::vector<double>(values.begin() + 15, values.begin() + 6 * 15));
}

TEST_F(Hdf5, AMissingDatasetIsAnErrorThatListsThoseThere) {
  add("images/test", H5T_STD_U8LE, H5T_NATIVE_INT32, {1}, std::vector<std::int32_t>{1});
  add("labels", H5T_STD_U8LE, H5T_NATIVE_INT32, {1}, std::vector<std::int32_t>{1});
  const std::string file = close();
  const auto error = [](const std::string& location) { return error_of_set({.name = "x", .images = location}); };

  EXPECT_THAT(error(file + ":/image"), HasSubstr("no dataset '/image' in the file; it holds /images/test, /labels"));
  EXPECT_THAT(error(file + ":/images"), HasSubstr("no dataset '/images'")) << "a group";
  EXPECT_THAT(error(file), AllOf(HasSubstr("file.h5:/images"), HasSubstr("it holds /images/test, /labels")));
  EXPECT_THAT(error(path("absent.h5") + ":/x"), HasSubstr("no such file"));
  EXPECT_THAT(error(write("none.h5", "no HDF5") + ":/x"), HasSubstr("cannot open it as an HDF5 file"));
}

TEST_F(Hdf5, WhatIsNoArrayOfNumbersIsRefused) {
  add("scalar", H5T_STD_U8LE, H5T_NATIVE_INT32, {}, std::vector<std::int32_t>{1});
  add("wide", H5T_STD_U64LE, H5T_NATIVE_INT32, {1}, std::vector<std::int32_t>{1});
  add("text", H5T_C_S1, H5T_C_S1, {1}, std::vector<char>{'a'});
  const std::string file = close();

  EXPECT_THAT(error_of_set({.name = "x", .images = file + ":/scalar"}), HasSubstr("a single value"));
  EXPECT_THAT(error_of_set({.name = "x", .images = file + ":/wide"}), HasSubstr("save the dataset as int64"));
  EXPECT_THAT(error_of_set({.name = "x", .images = file + ":/text"}), HasSubstr("neither integers nor"));
}

// -------------------------------------------------------------------------------------------------------- damage

struct Outcomes {
  int read = 0, refused = 0;
};

class DamagedArrays : public ArrayFiles {
 protected:
  Outcomes read_damaged(const std::string& whole, int rounds) {
    quantbound::testing::Damage damaged(whole);
    Outcomes outcomes;
    for (int round = 0; round < rounds; ++round) {
      std::filesystem::remove(path("x"));  // file systems hurry to write what is truncated and written again
      const std::string file = write("x", damaged(whole));
      try {
        const SampleSet set({.name = "x", .images = file});
        set.block({}, set.count() - 1, 1);
        ++outcomes.read;
      } catch (const core::InputError& error) {
        EXPECT_THAT(std::string(error.what()), HasSubstr(file));
        ++outcomes.refused;
      }
    }
    return outcomes;
  }
};

TEST_F(DamagedArrays, NpyEndsInSamplesOrAnError) {
  const auto outcomes = read_damaged(npy("<f4", "(3, 4)", bytes_of(std::vector<float>(12, 0.5F))), 3000);
  EXPECT_GT(outcomes.read, 200) << "the damage is too heavy to test anything";
  EXPECT_GT(outcomes.refused, 500) << "the damage is too light to test anything";
}

TEST_F(DamagedArrays, IdxEndsInSamplesOrAnError) {
  const auto outcomes = read_damaged(std::string("\0\0\x08\2\0\0\0\3\0\0\0\4", 12) + std::string(12, 'a'), 2000);
  EXPECT_GT(outcomes.read, 200);
  EXPECT_GT(outcomes.refused, 500);
}

}  // namespace
}  // namespace quantbound::observe
