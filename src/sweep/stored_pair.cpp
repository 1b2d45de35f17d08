#include "stored_pair.hpp"

#include <fmt/format.h>

namespace quantbound::sweep::detail {

namespace {

using core::ByteReader;
using core::ByteWriter;

void write(ByteWriter& out, const PackedLayers& layers) {
  out.value(static_cast<std::uint64_t>(layers.size()));
  for (const auto& layer : layers) out.values(layer);
}

PackedLayers read_layers(ByteReader& in) {
  PackedLayers layers;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) layers.push_back(in.values<std::byte>());
  return layers;
}

}  // namespace

core::Bytes to_bytes(const StoredPair& pair) {
  ByteWriter out;
  out.text(pair.failure).values(sweep::to_bytes(Record{{{.seconds = 0.0, .result = pair.result}}}));
  write(out, pair.original);
  write(out, pair.quantized);
  return out.take();
}

StoredPair stored_pair_from_bytes(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  StoredPair pair{.failure = in.text(), .result = {}, .original = {}, .quantized = {}};
  pair.result = std::get<ReconstructResult>(record_from_bytes(in.values<std::byte>()).units.at(0).result);
  pair.original = read_layers(in);
  pair.quantized = read_layers(in);
  if (!in.at_end()) throw core::Error("stored weights are longer than they say", "");
  return pair;
}

std::string pair_name(Index network, Index configuration) {
  return fmt::format("{:05}-{:05}.weights", network, configuration);
}

std::string state_name(Index network, Index configuration) {
  return fmt::format("{:05}-{:05}.state", network, configuration);
}

}  // namespace quantbound::sweep::detail
