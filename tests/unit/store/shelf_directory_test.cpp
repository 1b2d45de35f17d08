#include "quantbound/store/shelf_directory.hpp"

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

#include "temporary.hpp"

namespace quantbound::store {
namespace {

core::Bytes bytes(std::size_t count) {
  core::Bytes result;
  for (std::size_t i = 0; i < count; ++i) result.push_back(static_cast<std::byte>(i * 37 + 11));
  return result;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void overwrite(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST(ShelfDirectory, GivesBackWhatWasPutThereLast) {
  const TemporaryDirectory folder;
  ShelfDirectory shelf(folder / "journal", "study");
  EXPECT_EQ(shelf.read("00000-00001.weights"), std::nullopt) << "not even the directory is there";
  shelf.remove("00000-00001.weights");
  for (const std::size_t size : {100000U, 5U, 0U}) {
    shelf.write("00000-00001.weights", bytes(size));
    EXPECT_EQ(shelf.read("00000-00001.weights"), bytes(size));
  }
  EXPECT_EQ(shelf.read("00000-00002.weights"), std::nullopt);
  EXPECT_EQ(ShelfDirectory(folder / "journal", "study").read("00000-00001.weights"), bytes(0)) << "another process";
  shelf.remove("00000-00001.weights");
  EXPECT_EQ(shelf.read("00000-00001.weights"), std::nullopt);
}

TEST(ShelfDirectory, APieceOfAnotherStudyIsNotThere) {
  const TemporaryDirectory folder;
  ShelfDirectory(folder.path(), "one").write("a.state", bytes(10));
  EXPECT_EQ(ShelfDirectory(folder.path(), "other").read("a.state"), std::nullopt);
}

TEST(ShelfDirectory, ADamagedPieceIsNotThereWhicheverByteWasHit) {
  const TemporaryDirectory folder;
  ShelfDirectory shelf(folder.path(), "study");
  shelf.write("a.weights", bytes(40));
  const auto path = folder / "a.weights";
  const std::string whole = content(path);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    overwrite(path, damaged);
    EXPECT_EQ(shelf.read("a.weights"), std::nullopt) << i;
    overwrite(path, whole.substr(0, i));
    EXPECT_EQ(shelf.read("a.weights"), std::nullopt) << i;
  }
  overwrite(path, whole);
  EXPECT_EQ(shelf.read("a.weights"), bytes(40));
}

TEST(ShelfDirectory, ClearingTakesItsPiecesAndWhatAnInterruptedWriteLeftAndNothingElse) {
  const TemporaryDirectory folder;
  ShelfDirectory shelf(folder.path(), "study");
  shelf.write("a.weights", bytes(3));
  shelf.write("b.state", bytes(3));
  ShelfDirectory(folder.path(), "other").write("c.state", bytes(3));
  overwrite(folder / "d.weights.partial", "half");
  overwrite(folder / "00000.journal", "records");
  overwrite(folder / "notes.txt", "of the user");

  shelf.clear();

  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) left.push_back(entry.path().filename());
  std::ranges::sort(left);
  EXPECT_EQ(left, (std::vector<std::string>{"00000.journal", "notes.txt"}));
  ShelfDirectory(folder / "nowhere", "study").clear();
}

TEST(ShelfDirectory, SaysWhatCannotBeWritten) {
  const TemporaryDirectory folder;
  overwrite(folder / "file", "");
  EXPECT_THROW(ShelfDirectory(folder / "file", "study").write("a.state", bytes(3)), core::IoError);
}

}  // namespace
}  // namespace quantbound::store
