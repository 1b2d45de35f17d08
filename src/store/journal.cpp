#include "quantbound/store/journal.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <deque>
#include <numeric>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"

#include "posix_file.hpp"

namespace quantbound::store {

static_assert(std::endian::native == std::endian::little, "journals are little-endian");

namespace {

using detail::Descriptor;
using Bytes = std::vector<std::byte>;

constexpr std::array<char, 8> magic = {'Q', 'B', 'J', 'O', 'U', 'R', 'N', '\n'};
constexpr std::uint32_t format_version = 1;
constexpr std::size_t longest_hash = 4096;
constexpr std::uint32_t record_marker = 0x5D0C'E2B1;

struct RecordHeader {
  std::uint32_t marker = record_marker;
  std::uint32_t zero = 0;
  std::uint64_t length = 0;
  std::uint64_t key = 0;
  std::uint64_t time = 0;  ///< nanoseconds since 1970: of two records with one key the later counts
  std::uint64_t checksum = 0;
};
static_assert(sizeof(RecordHeader) == 40);

template <class Value>
std::span<const std::byte> bytes_of(const Value& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <class Value>
Value read_as(std::span<const std::byte> bytes) {
  Value value;
  QUANTBOUND_ASSERT(bytes.size() >= sizeof value, bytes.size());
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// Over everything a record says, and over the study it belongs to.
std::uint64_t checksum(const RecordHeader& header, std::uint64_t study, std::uint64_t payload_hash) {
  const std::array<std::uint64_t, 5> words = {study, header.length, header.key, header.time, payload_hash};
  return core::hash64(std::as_bytes(std::span(words)));
}

template <class Number>
void append_number(std::string& out, Number number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

std::string file_header(std::uint32_t version, std::string_view study_hash) {
  std::string header(magic.begin(), magic.end());
  append_number(header, version);
  append_number(header, static_cast<std::uint32_t>(study_hash.size()));
  header += study_hash;
  append_number(header, core::hash64(header));
  return header;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Whether the file begins with the header of this study; false: that header itself is cut short, so nothing follows
/// it. Throws core::InputError for every other beginning.
bool has_header(const Descriptor& file, std::string_view study_hash, const std::filesystem::path& path) {
  constexpr std::size_t fixed = magic.size() + 2 * sizeof(std::uint32_t);
  const Bytes beginning = detail::read_at(file, 0, fixed + longest_hash + sizeof(std::uint64_t), path);
  const std::string_view found = text_of(beginning);
  const std::string expected = file_header(format_version, study_hash);
  if (found.starts_with(expected)) return true;
  if (std::string_view(expected).starts_with(found)) return false;

  if (!found.starts_with(std::string_view(magic.data(), magic.size()))) {
    throw core::InputError("this is not a journal of quantbound; remove it or choose another output", path.string());
  }
  const core::InputError damaged("the header of this journal is damaged; remove it and its tasks are computed again",
                                 path.string());
  if (found.size() < fixed) throw damaged;
  const auto version = read_as<std::uint32_t>(std::span(beginning).subspan(magic.size()));
  const auto length = read_as<std::uint32_t>(std::span(beginning).subspan(magic.size() + sizeof version));
  if (length > longest_hash || found.size() < fixed + length) throw damaged;
  const std::string_view hash = found.substr(fixed, length);
  if (!found.starts_with(file_header(version, hash))) throw damaged;
  if (version != format_version) {
    throw core::InputError(fmt::format("this journal has format {}, this program writes {}; remove it, or resume with "
                                       "the version that wrote it",
                                       version, format_version),
                           path.string());
  }
  throw core::InputError(
      fmt::format("this journal belongs to another study ({}, not {}): the study has changed since; resume with the "
                  "old study, remove the journal, or choose another output",
                  hash, study_hash),
      path.string());
}

/// A file seen through a window that moves forward, so that scanning needs one system call per megabyte.
class Window {
 public:
  Window(const Descriptor& file, const std::filesystem::path& path)
      : file_(file), path_(path), size_(detail::file_size(file, path)) {}
  std::uint64_t size() const { return size_; }
  /// Bytes [offset, offset + count), fewer at the end of the file; valid until the next call.
  std::span<const std::byte> at(std::uint64_t offset, std::size_t count) {
    if (offset >= size_) return {};
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(count, size_ - offset));
    if (offset < start_ || offset + wanted > start_ + bytes_.size()) {
      start_ = offset;
      bytes_ = detail::read_at(file_, offset, std::max<std::size_t>(wanted, std::size_t{1} << 20), path_);
    }
    const std::span<const std::byte> seen = std::span(bytes_).subspan(static_cast<std::size_t>(offset - start_));
    return seen.first(std::min(seen.size(), wanted));
  }

 private:
  const Descriptor& file_;
  const std::filesystem::path& path_;
  std::uint64_t size_ = 0, start_ = 0;
  Bytes bytes_;
};

struct FoundRecord {
  std::uint64_t offset = 0;  ///< of the record's header
  RecordHeader header;
  std::uint64_t payload_hash = 0;

  std::uint64_t end() const { return offset + sizeof header + header.length; }
};

/// The record at `offset`, if an undamaged one is there.
std::optional<FoundRecord> record_at(Window& file, std::uint64_t offset, std::uint64_t study) {
  const auto head = file.at(offset, sizeof(RecordHeader));
  if (head.size() < sizeof(RecordHeader)) return std::nullopt;
  FoundRecord record{offset, read_as<RecordHeader>(head), 0};
  const RecordHeader& header = record.header;
  if (header.marker != record_marker || header.zero != 0) return std::nullopt;
  if (header.length > file.size() - offset - sizeof header) return std::nullopt;
  const auto payload = file.at(offset + sizeof header, static_cast<std::size_t>(header.length));
  if (payload.size() != header.length) return std::nullopt;
  record.payload_hash = core::hash64(payload);
  if (header.checksum != checksum(header, study, record.payload_hash)) return std::nullopt;
  return record;
}

/// Where the next record may begin, after damage: the next marker.
std::uint64_t next_marker(Window& file, std::uint64_t offset) {
  const auto marker = bytes_of(record_marker);
  while (true) {
    const auto seen = file.at(offset, std::size_t{1} << 16);
    if (seen.size() < marker.size()) return file.size();
    const auto found = std::search(seen.begin(), seen.end(), marker.begin(), marker.end());
    if (found != seen.end()) return offset + static_cast<std::uint64_t>(found - seen.begin());
    offset += seen.size() - (marker.size() - 1);
  }
}

struct Scan {
  std::vector<FoundRecord> records;
  std::uint64_t end = 0;      ///< of the last good record, or of the header
  std::uint64_t dropped = 0;  ///< bytes of damage
};

/// All good records of a file. Damage in the middle costs only the records it hits.
Scan scan(const Descriptor& file, std::string_view study_hash, const std::filesystem::path& path) {
  Window window(file, path);
  Scan result;
  if (!has_header(file, study_hash, path)) {
    result.dropped = window.size();
    return result;
  }
  const std::uint64_t study = core::hash64(study_hash);
  result.end = file_header(format_version, study_hash).size();
  std::uint64_t position = result.end;
  while (position < window.size()) {
    if (const auto record = record_at(window, position, study)) {
      result.dropped += position - result.end;
      result.records.push_back(*record);
      result.end = position = record->end();
    } else {
      position = next_marker(window, position + 1);
    }
  }
  result.dropped += window.size() - result.end;
  return result;
}

std::filesystem::path rank_file(const std::filesystem::path& directory, int rank) {
  return directory / fmt::format("{:05}.journal", rank);
}

/// The journal files of a directory, by name; none where there is no directory.
std::vector<std::filesystem::path> journal_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  if (error == std::errc::no_such_file_or_directory) return files;
  if (error) throw detail::io_error("read the journal directory", error.value(), directory);
  for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string stem = entries->path().stem().string();
    const bool numbered = std::all_of(stem.begin(), stem.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (entries->path().extension() == ".journal" && numbered) files.push_back(entries->path());
    if (error) break;
  }
  if (error) throw detail::io_error("read the journal directory", error.value(), directory);
  std::sort(files.begin(), files.end());
  return files;
}

void make_directory(const std::filesystem::path& directory) {
  std::error_code error;
  if (!std::filesystem::create_directories(directory, error)) {
    if (error) throw detail::io_error("create the journal directory", error.value(), directory);
    return;
  }
  const std::filesystem::path parent = std::filesystem::absolute(directory).parent_path();
  detail::sync_directory(parent);
}

/// Two jobs with one output would mix their records. File systems without locks cannot tell; they are believed.
void lock(const Descriptor& file, const std::filesystem::path& path) {
  if (::flock(file.number(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  throw core::IoError(
      "another process is writing this journal; is the same study running already? wait for it, or "
      "choose another output",
      path.string());
}

std::uint64_t nanoseconds_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace

std::filesystem::path journal_directory(const std::filesystem::path& result) { return result.string() + ".journal"; }

struct JournalWriter::State {
  std::filesystem::path path;
  Descriptor file;
  std::uint64_t study = 0;
  std::uint64_t end = 0;        ///< where the next record goes
  std::uint64_t last_time = 0;  ///< of the last record: times rise within a file even if the clock is set back
  std::chrono::milliseconds sync_interval{};
  std::chrono::steady_clock::time_point synced;
  bool dirty = false;
};

JournalWriter::JournalWriter(const std::filesystem::path& directory, int rank, std::string_view study_hash,
                             std::chrono::milliseconds sync_interval)
    : state_(std::make_unique<State>()) {
  QUANTBOUND_ASSERT(rank >= 0, rank);
  QUANTBOUND_ASSERT(study_hash.size() <= longest_hash, study_hash.size());
  make_directory(directory);
  State& state = *state_;
  state.path = rank_file(directory, rank);
  state.file = detail::open_file(state.path, O_RDWR | O_CREAT, "open the journal");
  lock(state.file, state.path);
  const Scan found = scan(state.file, study_hash, state.path);
  state.study = core::hash64(study_hash);
  state.end = found.end;
  state.last_time = found.records.empty() ? 0 : found.records.back().header.time;
  state.sync_interval = sync_interval;
  if (::ftruncate(state.file.number(), static_cast<off_t>(state.end)) != 0) {
    throw detail::io_error("cut the torn end off the journal", errno, state.path);
  }
  if (state.end == 0) {
    const std::string header = file_header(format_version, study_hash);
    detail::write_at(state.file, 0, {std::as_bytes(std::span(header))}, state.path);
    state.end = header.size();
  }
  sync();
  detail::sync_directory(directory);
}

JournalWriter::JournalWriter(JournalWriter&&) noexcept = default;
JournalWriter& JournalWriter::operator=(JournalWriter&&) noexcept = default;
JournalWriter::~JournalWriter() = default;

void JournalWriter::append(std::uint64_t key, std::span<const std::byte> payload) {
  QUANTBOUND_ASSERT(state_ != nullptr && state_->file.is_open(), key);
  State& state = *state_;
  RecordHeader header;
  header.length = payload.size();
  header.key = key;
  header.time = std::max(nanoseconds_now(), state.last_time + 1);
  header.checksum = checksum(header, state.study, core::hash64(payload));
  try {
    detail::write_at(state.file, state.end, {bytes_of(header), payload}, state.path);
  } catch (const core::IoError&) {
    // Should this fail too, the next record overwrites the piece and readers step over what is left of it.
    static_cast<void>(::ftruncate(state.file.number(), static_cast<off_t>(state.end)));
    throw;
  }
  state.end += sizeof header + payload.size();
  state.last_time = header.time;
  state.dirty = true;
  if (std::chrono::steady_clock::now() - state.synced >= state.sync_interval) sync();
}

void JournalWriter::sync() {
  QUANTBOUND_ASSERT(state_ != nullptr && state_->file.is_open());
  detail::sync_file(state_->file, state_->path);
  state_->synced = std::chrono::steady_clock::now();
  state_->dirty = false;
}

void JournalWriter::close() {
  if (state_->dirty) sync();
  state_->file.close(state_->path);
}

struct JournalReader::State {
  struct Entry {
    std::size_t file = 0;
    FoundRecord record;
  };
  std::vector<std::filesystem::path> files;
  std::vector<Entry> entries;  ///< one per key, in key order
  std::uint64_t study = 0;
  std::uint64_t dropped_bytes = 0;
  std::size_t superseded = 0;
  std::vector<Descriptor> open;  ///< by file; at most `most_open` at a time
  std::deque<std::size_t> opened;

  static constexpr std::size_t most_open = 128;
  const Descriptor& descriptor(std::size_t file);
};

const Descriptor& JournalReader::State::descriptor(std::size_t file) {
  if (open[file].is_open()) return open[file];
  if (opened.size() == most_open) {
    open[opened.front()] = Descriptor();
    opened.pop_front();
  }
  open[file] = detail::open_file(files[file], O_RDONLY, "open the journal");
  opened.push_back(file);
  return open[file];
}

JournalReader::JournalReader(const std::filesystem::path& directory, std::string_view study_hash)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.files = journal_files(directory);
  state.open.resize(state.files.size());
  state.study = core::hash64(study_hash);
  std::vector<State::Entry> all;
  for (std::size_t file = 0; file < state.files.size(); ++file) {
    const Scan found = scan(state.descriptor(file), study_hash, state.files[file]);
    for (const FoundRecord& record : found.records) all.push_back({file, record});
    state.dropped_bytes += found.dropped;
  }
  const auto order = [](const State::Entry& entry) {
    return std::tuple(entry.record.header.key, entry.record.header.time, entry.file, entry.record.offset);
  };
  std::sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return order(a) < order(b); });
  for (const State::Entry& entry : all) {
    if (!keys_.empty() && keys_.back() == entry.record.header.key) {
      if (state.entries.back().record.payload_hash != entry.record.payload_hash) ++state.superseded;
      state.entries.back() = entry;
    } else {
      keys_.push_back(entry.record.header.key);
      state.entries.push_back(entry);
    }
  }
}

JournalReader::JournalReader(JournalReader&&) noexcept = default;
JournalReader& JournalReader::operator=(JournalReader&&) noexcept = default;
JournalReader::~JournalReader() = default;

std::vector<std::byte> JournalReader::payload(std::size_t i) const {
  QUANTBOUND_ASSERT(i < keys_.size(), i, keys_.size());
  const State::Entry& entry = state_->entries[i];
  const std::filesystem::path& path = state_->files[entry.file];
  const RecordHeader& header = entry.record.header;
  std::vector<std::byte> bytes = detail::read_at(state_->descriptor(entry.file), entry.record.offset + sizeof header,
                                                 static_cast<std::size_t>(header.length), path);
  if (bytes.size() != header.length || core::hash64(bytes) != entry.record.payload_hash) {
    throw core::IoError("a record of the journal has changed since it was found; run again with --resume",
                        path.string());
  }
  return bytes;
}

void JournalReader::for_each(const std::function<void(std::uint64_t, std::span<const std::byte>)>& visit) const {
  for (std::size_t i = 0; i < keys_.size(); ++i) visit(keys_[i], payload(i));
}

std::uint64_t JournalReader::dropped_bytes() const { return state_->dropped_bytes; }
std::size_t JournalReader::superseded() const { return state_->superseded; }

std::vector<JournalRecord> read_journals(const std::filesystem::path& directory, std::string_view study_hash) {
  std::vector<JournalRecord> records;
  const JournalReader reader(directory, study_hash);
  for (std::size_t i = 0; i < reader.keys().size(); ++i) records.push_back({reader.keys()[i], reader.payload(i)});
  return records;
}

void remove_journals(const std::filesystem::path& directory) {
  const auto files = journal_files(directory);
  for (const auto& file : files) {
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) throw detail::io_error("remove the journal", errno, file);
  }
  if (::rmdir(directory.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST) {
    throw detail::io_error("remove the journal directory", errno, directory);
  }
}

}  // namespace quantbound::store
