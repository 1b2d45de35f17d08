#include "quantbound/store/journal.hpp"

#include <map>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "temporary.hpp"

namespace quantbound::store {
namespace {

constexpr const char* study = "0123456789abcdef0123456789abcdef";

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text(std::span<const std::byte> payload) {
  return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

std::map<std::uint64_t, std::string> contents(const std::filesystem::path& directory) {
  std::map<std::uint64_t, std::string> found;
  for (const JournalRecord& record : read_journals(directory, study)) found[record.key] = text(record.payload);
  return found;
}

std::string error_of(const std::filesystem::path& directory, const std::string& hash) {
  try {
    JournalReader(directory, hash);
  } catch (const core::InputError& error) {
    return error.what();
  }
  return "no error";
}

/// Payloads of many lengths, one with the bytes of a record marker in it.
std::map<std::uint64_t, std::string> some_records() {
  std::map<std::uint64_t, std::string> records;
  const core::RandomStream random(11, "journal_test");
  for (std::uint64_t i = 0; i < 12; ++i) {
    std::string payload(static_cast<std::size_t>(random.bits(i) % 60), '\0');
    for (std::size_t j = 0; j < payload.size(); ++j) payload[j] = static_cast<char>(random.bits(1000 * (i + 1) + j));
    if (i == 5) payload += "\xB1\xE2\x0C\x5D marker";
    if (i == 7) payload.clear();
    records[random.bits(500 + i)] = payload;
  }
  return records;
}

void write_all(const std::filesystem::path& directory, int rank, const std::map<std::uint64_t, std::string>& records) {
  JournalWriter writer(directory, rank, study);
  for (const auto& [key, payload] : records) writer.append(key, bytes(payload));
  writer.close();
}

TEST(Journal, GivesBackWhatSeveralRanksWroteInKeyOrder) {
  const TemporaryDirectory place;
  const auto directory = journal_directory(place / "out.h5");
  EXPECT_EQ(directory, place / "out.h5.journal");
  {
    JournalWriter first(directory, 0, study), second(directory, 12345, study);
    first.append(30, bytes("thirty"));
    second.append(10, bytes("ten"));
    first.append(20, bytes(""));
    first.close();
  }  // the second is closed by its destructor

  std::vector<std::uint64_t> order;
  const JournalReader reader(directory, study);
  reader.for_each([&](std::uint64_t key, std::span<const std::byte>) { order.push_back(key); });
  EXPECT_EQ(order, (std::vector<std::uint64_t>{10, 20, 30}));
  EXPECT_EQ(reader.keys(), order);
  EXPECT_EQ(contents(directory), (std::map<std::uint64_t, std::string>{{10, "ten"}, {20, ""}, {30, "thirty"}}));
  EXPECT_EQ(reader.dropped_bytes(), 0u);
  EXPECT_EQ(names_in(directory), (std::vector<std::string>{"00000.journal", "12345.journal"}));
}

TEST(Journal, OfTwoRecordsWithOneKeyTheLaterCounts) {
  const TemporaryDirectory place;
  {
    JournalWriter late(place.path(), 0, study);
    JournalWriter early(place.path(), 1, study);
    early.append(1, bytes("timed out"));
    early.append(2, bytes("same"));
    late.append(1, bytes("done"));
    late.append(2, bytes("same"));
  }

  const JournalReader reader(place.path(), study);
  EXPECT_EQ(contents(place.path()), (std::map<std::uint64_t, std::string>{{1, "done"}, {2, "same"}}));
  EXPECT_EQ(reader.superseded(), 1u);
}

TEST(Journal, NoDirectoryMeansNoRecords) {
  const TemporaryDirectory place;

  EXPECT_TRUE(read_journals(place / "absent", study).empty());
  EXPECT_NO_THROW(remove_journals(place / "absent"));
}

TEST(Journal, CutAtEveryByteLosesOnlyTheCutRecord) {
  const TemporaryDirectory place;
  const auto records = some_records();
  write_all(place.path(), 3, records);
  const auto file = place / "00003.journal";
  const std::string whole = read_bytes(file);
  const std::size_t header = whole.size() - [&] {
    std::size_t size = 0;
    for (const auto& [key, payload] : records) size += 40 + payload.size();
    return size;
  }();

  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    write_bytes(file, whole.substr(0, cut));
    std::map<std::uint64_t, std::string> expected;
    std::size_t end = header;
    for (const auto& [key, payload] : records) {
      end += 40 + payload.size();
      if (end <= cut) expected[key] = payload;
    }
    ASSERT_EQ(contents(place.path()), expected) << "cut at " << cut;

    // A resumed run goes on behind the last good record, and nothing of the torn one remains.
    JournalWriter writer(place.path(), 3, study);
    writer.append(1, bytes("resumed"));
    writer.close();
    expected[1] = "resumed";
    ASSERT_EQ(contents(place.path()), expected) << "cut at " << cut;
    ASSERT_EQ(JournalReader(place.path(), study).dropped_bytes(), 0u);
  }
}

TEST(Journal, NoFlippedBitIsEverTakenForGood) {
  const TemporaryDirectory place;
  const auto records = some_records();
  write_all(place.path(), 0, records);
  const auto file = place / "00000.journal";
  const std::string whole = read_bytes(file);

  for (std::size_t bit = 0; bit < 8 * whole.size(); bit += 7) {  // at least one bit of every byte
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    write_bytes(file, damaged);
    std::map<std::uint64_t, std::string> found;
    try {
      found = contents(place.path());
    } catch (const core::InputError&) {
      ASSERT_LT(bit / 8, 56u) << "only damage of the header may refuse the file";
      continue;
    }
    // One record is lost, and the ones behind it are found again.
    ASSERT_EQ(found.size(), records.size() - 1) << "bit " << bit;
    for (const auto& [key, payload] : found) ASSERT_EQ(records.at(key), payload) << "bit " << bit;
  }
}

TEST(Journal, GarbageBetweenRecordsIsSteppedOver) {
  const TemporaryDirectory place;
  write_all(place.path(), 0, {{1, "one"}});
  const auto file = place / "00000.journal";
  const std::string one = read_bytes(file);
  write_all(place.path(), 0, {{2, "two"}});
  const std::string both = read_bytes(file);
  const std::string garbage(100000, '\xB1');
  write_bytes(file, one + garbage + both.substr(one.size()));

  EXPECT_EQ(contents(place.path()), (std::map<std::uint64_t, std::string>{{1, "one"}, {2, "two"}}));
  EXPECT_EQ(JournalReader(place.path(), study).dropped_bytes(), garbage.size());
}

TEST(Journal, RecordsLargerThanAReadBufferSurvive) {
  const TemporaryDirectory place;
  const std::map<std::uint64_t, std::string> records = {
      {1, std::string(5 << 20, 'x')}, {2, "small"}, {3, std::string((1 << 20) - 41, 'y')}, {4, "last"}};
  write_all(place.path(), 0, records);

  EXPECT_EQ(contents(place.path()), records);
}

TEST(Journal, AnotherStudyIsRefusedWithBothNames) {
  const TemporaryDirectory place;
  write_all(place.path(), 0, {{1, "one"}});

  const std::string message = error_of(place.path(), "ffff");
  EXPECT_NE(message.find("another study"), std::string::npos) << message;
  EXPECT_NE(message.find(study), std::string::npos) << message;
  EXPECT_NE(message.find("00000.journal"), std::string::npos) << message;
  EXPECT_THROW(JournalWriter(place.path(), 0, "ffff"), core::InputError);
  EXPECT_EQ(contents(place.path()).size(), 1u) << "the refused writer must not have touched the file";
}

TEST(Journal, ForeignFilesAndOtherVersionsAreRefused) {
  const TemporaryDirectory place;
  write_bytes(place / "00000.journal", "this is a diary");
  EXPECT_NE(error_of(place.path(), study).find("not a journal"), std::string::npos);

  std::filesystem::remove(place / "00000.journal");
  write_all(place.path(), 1, {{1, "one"}});
  std::string other = read_bytes(place / "00001.journal");
  other[8] = 2;
  write_bytes(place / "00001.journal", other);
  EXPECT_NE(error_of(place.path(), study).find("damaged"), std::string::npos);
  EXPECT_THROW(JournalWriter(place.path(), 1, study), core::InputError);
  EXPECT_EQ(read_bytes(place / "00001.journal"), other) << "a writer must not cut what it does not understand";
}

TEST(Journal, TwoWritersOfOneFileAreToldApart) {
  const TemporaryDirectory place;
  const JournalWriter first(place.path(), 0, study);

  EXPECT_THROW(JournalWriter(place.path(), 0, study), core::IoError);
}

TEST(Journal, AFullDiskIsAnErrorAndTheJournalGoesOn) {
  const TinyDisk disk("64k");
  if (!disk.reason().empty()) GTEST_SKIP() << disk.reason();
  const auto directory = disk.path() / "out.h5.journal";
  const std::string payload(3000, 'p');
  std::map<std::uint64_t, std::string> written;
  JournalWriter writer(directory, 0, study);

  std::string message;
  for (std::uint64_t key = 0; key < 100 && message.empty(); ++key) {
    try {
      writer.append(key, bytes(payload));
      written[key] = payload;
    } catch (const core::IoError& error) {
      message = error.what();
    }
  }
  EXPECT_NE(message.find("No space left on device; free space and run again with --resume"), std::string::npos)
      << message;
  EXPECT_GT(written.size(), 5u);
  EXPECT_EQ(contents(directory), written);
  EXPECT_EQ(JournalReader(directory, study).dropped_bytes(), 0u) << "the partial record is cut off";
  EXPECT_THROW(JournalWriter(directory, 1, study), core::IoError) << "no room for a header either";

  std::filesystem::remove(directory / "00001.journal");
  writer.append(1000, bytes("fits"));  // into what the partial record left
  written[1000] = "fits";
  writer.close();
  EXPECT_EQ(contents(directory), written);
}

TEST(Journal, AnUnwritablePlaceIsAnError) {
  const TemporaryDirectory place;
  write_bytes(place / "file", "");

  EXPECT_THROW(JournalWriter(place / "file", 0, study), core::IoError);
  EXPECT_THROW(JournalReader(place / "file", study), core::IoError);
}

TEST(Journal, RemovalLeavesWhatIsNotOurs) {
  const TemporaryDirectory place;
  const auto directory = place / "out.h5.journal";
  write_all(directory, 0, {{1, "one"}});
  write_bytes(directory / "notes.txt", "mine");

  remove_journals(directory);
  EXPECT_EQ(names_in(directory), std::vector<std::string>{"notes.txt"});

  std::filesystem::remove(directory / "notes.txt");
  remove_journals(directory);
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(Journal, MoreFilesThanMayBeOpenAtOnceAreRead) {
  const TemporaryDirectory place;
  for (int rank = 0; rank < 300; ++rank) {
    JournalWriter writer(place.path(), rank, study);
    writer.append(static_cast<std::uint64_t>(1000 - rank), bytes(std::to_string(rank)));
    writer.append(static_cast<std::uint64_t>(5000 + rank), bytes("second"));
  }

  const auto found = contents(place.path());
  ASSERT_EQ(found.size(), 600u);
  EXPECT_EQ(found.at(900), "100");
}

}  // namespace
}  // namespace quantbound::store
