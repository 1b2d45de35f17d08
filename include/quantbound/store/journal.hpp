/// The journal of a sweep: directory OUT.journal/ with one append-only file NNNNN.journal per rank, so that a finished
/// task survives kill -9, a lost node and a full disk. Every record carries its length, its task key and an XXH3-64
/// checksum bound to the study; a damaged or half-written record is never taken for good, whatever byte it was cut at.
/// The payload is opaque here. This is not the result: that is made from the journal at the end (result_file.hpp).
///
///   file   = magic[8] version:u32 hash_length:u32 hash[hash_length] checksum:u64
///   record = marker:u32 zero:u32 length:u64 key:u64 time:u64 checksum:u64 payload[length]         (little-endian)
///
/// All functions are independent (no MPI inside). Order matters between ranks: read the journals first, then, after a
/// barrier, open the writers (a writer cuts a torn tail off its own file); close the writers, then, after a barrier,
/// read.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quantbound::store {

/// "OUT.journal" beside the result file OUT.
std::filesystem::path journal_directory(const std::filesystem::path& result);

/// Appends records to one rank's file: made if missing, with the directory, else continued after its last good record.
class JournalWriter {
 public:
  /// Throws core::InputError where the file belongs to another study or is no journal, core::IoError where the system
  /// refuses or another process is writing it. @pre 0 <= rank, and the hash has at most 4096 characters
  JournalWriter(const std::filesystem::path& directory, int rank, std::string_view study_hash,
                std::chrono::milliseconds sync_interval = std::chrono::seconds(5));
  JournalWriter(JournalWriter&&) noexcept;
  JournalWriter& operator=(JournalWriter&&) noexcept;
  ~JournalWriter();

  /// One record, one write(2); on the disk within the sync interval while records keep coming, at close() at the
  /// latest. Throws core::IoError (disk full: free space and run again with --resume); the record then does not exist,
  /// earlier ones stay, and append may be called again.
  void append(std::uint64_t key, std::span<const std::byte> payload);
  /// fsync now. Throws core::IoError.
  void sync();
  /// sync and close. Throws core::IoError. Without it the destructor closes and says nothing.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// All journals of a directory, verified, as an index: payloads stay on the disk until they are asked for. One thread
/// at a time.
class JournalReader {
 public:
  /// Scans every file. No directory: no records. Throws core::InputError where a file is of another study ("remove it,
  /// or run without --resume"), of another version, or no journal; core::IoError where it cannot be read.
  JournalReader(const std::filesystem::path& directory, std::string_view study_hash);
  JournalReader(JournalReader&&) noexcept;
  JournalReader& operator=(JournalReader&&) noexcept;
  ~JournalReader();

  /// Keys of the records, ascending, each once. Of several records with one key the latest counts.
  const std::vector<std::uint64_t>& keys() const& { return keys_; }
  std::vector<std::uint64_t> keys() && { return std::move(keys_); }
  /// The payload of keys()[i], verified again as it is read. Throws core::IoError.
  std::vector<std::byte> payload(std::size_t i) const;
  /// In key order, one payload in memory at a time.
  void for_each(const std::function<void(std::uint64_t key, std::span<const std::byte> payload)>& visit) const;
  /// Bytes that belong to no good record: torn tails and damage. Their tasks are simply not done.
  std::uint64_t dropped_bytes() const;
  /// Records that a later one of the same key, with another payload, replaces.
  std::size_t superseded() const;

 private:
  struct State;
  std::vector<std::uint64_t> keys_;
  std::unique_ptr<State> state_;
};

struct JournalRecord {
  std::uint64_t key = 0;
  std::vector<std::byte> payload;
};

/// Everything at once, in key order; for small journals and tests.
std::vector<JournalRecord> read_journals(const std::filesystem::path& directory, std::string_view study_hash);

/// Deletes the journal files and the directory if nothing else is in it. Throws core::IoError.
void remove_journals(const std::filesystem::path& directory);

}  // namespace quantbound::store
