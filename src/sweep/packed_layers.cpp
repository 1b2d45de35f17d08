#include "packed_layers.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

namespace quantbound::sweep::detail {

namespace {

using core::ByteReader;
using core::ByteWriter;

/// How a list of doubles is stored.
enum class Form : std::uint8_t { tables, floats, doubles };

constexpr std::size_t largest_table = 256;

std::uint64_t bits_of(double value) { return std::bit_cast<std::uint64_t>(value); }

/// The different values of a row in the order of their bits; nothing where they are too many for a byte.
std::optional<std::vector<std::uint64_t>> table_of(std::span<const double> row) {
  std::vector<std::uint64_t> table;
  for (const double value : row) {
    const auto place = std::ranges::lower_bound(table, bits_of(value));
    if (place != table.end() && *place == bits_of(value)) continue;
    if (table.size() == largest_table) return std::nullopt;
    table.insert(place, bits_of(value));
  }
  return table;
}

/// Row by row: its table, and the place of every value in it. False where a row has too many values, or where floats
/// would be as short.
bool write_tables(ByteWriter& out, std::span<const double> values, std::size_t rows) {
  const std::size_t columns = values.size() / rows;
  std::vector<std::uint64_t> tables;
  std::vector<std::uint16_t> sizes;
  std::vector<std::uint8_t> codes;
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = values.subspan(r * columns, columns);
    const auto table = table_of(row);
    if (!table) return false;
    for (const double value : row) {
      codes.push_back(static_cast<std::uint8_t>(std::ranges::lower_bound(*table, bits_of(value)) - table->begin()));
    }
    sizes.push_back(static_cast<std::uint16_t>(table->size()));
    tables.insert(tables.end(), table->begin(), table->end());
  }
  const std::size_t bytes = tables.size() * sizeof(std::uint64_t) + sizes.size() * sizeof(std::uint16_t) + codes.size();
  if (bytes >= values.size() * sizeof(float)) return false;
  out.value(Form::tables).values(sizes).values(tables).values(codes);
  return true;
}

/// Whether a float holds the value. Decided by the bits: compilers were seen to drop a conversion there and back.
bool is_float(double value) {
  constexpr std::uint64_t lost = (std::uint64_t{1} << 29) - 1;  // bits that a float's fraction has not
  const std::uint64_t bits = bits_of(value), magnitude = bits & ~(std::uint64_t{1} << 63);
  const auto exponent = static_cast<int>(magnitude >> 52) - 1023;
  return magnitude == 0 || ((bits & lost) == 0 && exponent >= -126 && exponent <= 127);
}

void write_values(ByteWriter& out, const std::vector<double>& values, std::size_t rows) {
  const bool whole_rows = rows > 0 && !values.empty() && values.size() % rows == 0;
  if (whole_rows && write_tables(out, values, rows)) return;
  if (std::ranges::all_of(values, is_float)) {
    std::vector<float> floats;
    floats.reserve(values.size());
    for (const double value : values) floats.push_back(static_cast<float>(value));
    out.value(Form::floats).values(floats);
  } else {
    out.value(Form::doubles).values(values);
  }
}

[[noreturn]] void damaged() { throw core::Error("stored weights are damaged", ""); }

std::vector<double> read_tables(ByteReader& in) {
  const auto sizes = in.values<std::uint16_t>();
  const auto tables = in.values<std::uint64_t>();
  const auto codes = in.values<std::uint8_t>();
  if (sizes.empty() || codes.size() % sizes.size() != 0) damaged();
  const std::size_t columns = codes.size() / sizes.size();
  std::vector<double> values;
  values.reserve(codes.size());
  std::size_t first = 0;
  for (std::size_t r = 0; r < sizes.size(); ++r) {
    if (first + sizes[r] > tables.size()) damaged();
    for (std::size_t i = r * columns; i < (r + 1) * columns; ++i) {
      if (codes[i] >= sizes[r]) damaged();
      values.push_back(std::bit_cast<double>(tables[first + codes[i]]));
    }
    first += sizes[r];
  }
  return values;
}

std::vector<double> read_values(ByteReader& in) {
  switch (in.value<Form>()) {
    case Form::tables:
      return read_tables(in);
    case Form::floats: {
      const auto floats = in.values<float>();
      return {floats.begin(), floats.end()};
    }
    case Form::doubles:
      return in.values<double>();
  }
  damaged();
}

}  // namespace

core::Bytes pack(const network::LayerParameters& parameters) {
  ByteWriter out;
  write_values(out, parameters.weights, parameters.bias.size());
  write_values(out, parameters.bias, 0);
  return out.take();
}

network::LayerParameters unpack_layer(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  network::LayerParameters parameters{.weights = read_values(in), .bias = {}};
  parameters.bias = read_values(in);
  if (!in.at_end()) damaged();
  return parameters;
}

PackedLayers pack(std::span<const network::LayerParameters> layers) {
  PackedLayers packed;
  for (const auto& layer : layers) packed.push_back(pack(layer));
  return packed;
}

std::vector<network::LayerParameters> unpack(const PackedLayers& layers) {
  std::vector<network::LayerParameters> result;
  for (const auto& layer : layers) result.push_back(unpack_layer(layer));
  return result;
}

}  // namespace quantbound::sweep::detail
