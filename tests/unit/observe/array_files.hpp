/// Array files for tests, made byte by byte: .npy with any header, idx, and HDF5 by the library.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"
#include "quantbound/observe/samples.hpp"

namespace quantbound::observe::testing {

/// A .npy file with this text as its header.
inline std::string npy_with_header(std::string header, const std::string& data, char version = 1) {
  const std::size_t before = version == 1 ? 10 : 12;
  header.resize((header.size() + before + 63) / 64 * 64 - before, ' ');
  std::string bytes = "\x93NUMPY";
  bytes += version;
  bytes += '\0';
  for (std::size_t i = 0; i < before - 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return bytes + header + data;
}

inline std::string npy(const std::string& type, const std::string& shape, const std::string& data, char version = 1) {
  return npy_with_header("{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }", data, version);
}

/// Numbers as they lie in memory, or the other way round.
template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}
template <class T>
std::string swapped_bytes_of(std::vector<T> values) {
  std::string bytes = bytes_of(values);
  for (auto at = bytes.begin(); at != bytes.end(); at += sizeof(T)) std::reverse(at, at + sizeof(T));
  return bytes;
}

/// A folder of its own for every test.
class ArrayFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("quantbound-") + test->name() + '-' + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return path(name);
  }

  std::filesystem::path folder_;
};

/// What core::InputError says; "no error" where there is none.
template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const core::InputError& error) {
    return error.what();
  }
  return "no error";
}
inline std::string error_of_set(const SampleSpec& spec) {
  return error_of([&] { SampleSet{spec}; });
}

/// All numbers of a file of flat rows, as they are.
inline std::vector<double> numbers(const std::string& location) {
  const SampleSet set({.name = "x", .images = location});
  return set.block({}, 0, set.count());
}

}  // namespace quantbound::observe::testing
