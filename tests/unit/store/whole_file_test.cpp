#include "quantbound/store/whole_file.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"

namespace quantbound::store {
namespace {

class WholeFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("quantbound_whole_file_" + std::to_string(getpid()));
};

TEST_F(WholeFile, ComesBackByteForByteAndReplacesWhatWasThere) {
  const auto path = folder_ / "state";
  for (const std::size_t size : {100000u, 3u, 0u}) {
    const core::Bytes bytes(size, std::byte{42});
    write_whole_file(path, bytes);
    EXPECT_EQ(read_whole_file(path), bytes);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1) << "no temporary file stays";
}

TEST_F(WholeFile, SaysWhatCannotBeReadOrWritten) {
  EXPECT_THROW(read_whole_file(folder_ / "none"), core::IoError);
  EXPECT_THROW(write_whole_file(folder_ / "none" / "state", core::Bytes(3)), core::IoError);
  EXPECT_THROW(write_whole_file(folder_, core::Bytes(3)), core::IoError);
}

}  // namespace
}  // namespace quantbound::store
