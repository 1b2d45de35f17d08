#include "certify_checkpoint.hpp"

#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/store/whole_file.hpp"

namespace quantbound::apps {

namespace {

const std::string magic = "quantbound certify checkpoint 1\n";

}  // namespace

void write_checkpoint(const std::filesystem::path& path, const std::string& problem_hash, const core::Bytes& state) {
  core::ByteWriter file;
  file.text(magic).text(problem_hash).value(core::hash64(state)).values(state);
  store::write_whole_file(path, file.take());
}

core::Bytes read_checkpoint(const std::filesystem::path& path, const std::string& problem_hash) {
  const core::Bytes bytes = store::read_whole_file(path);
  core::ByteReader file(bytes);
  core::Bytes state;
  bool sound = false, same = false;
  try {
    sound = file.text() == magic;
    same = sound && file.text() == problem_hash;
    const auto checksum = file.value<std::uint64_t>();
    state = file.values<std::byte>();
    sound = sound && (!same || (checksum == core::hash64(state) && file.at_end()));
  } catch (const core::Error&) {
    sound = false;
  }
  if (!sound) throw core::InputError("this is no checkpoint of a search, or it is damaged; remove it", path.string());
  if (!same) {
    throw core::InputError(
        "the checkpoint belongs to another problem (networks, domain, tolerance, threshold, split or seed differ); "
        "choose another --checkpoint",
        path.string());
  }
  return state;
}

}  // namespace quantbound::apps
