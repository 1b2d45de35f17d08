#include "quantbound/sweep/record.hpp"

#include "quantbound/core/bytes.hpp"

namespace quantbound::sweep {

namespace {

using core::ByteReader;
using core::ByteWriter;

void write(ByteWriter& out, const Failure& failure) { out.text(failure.message); }

void write(ByteWriter& out, const NormsResult& norms) {
  out.value(static_cast<std::uint64_t>(norms.layers.size()));
  for (const auto& layer : norms.layers) out.values(bounds::to_bytes(layer));
}

void write(ByteWriter& out, const VectorResult& vectors) {
  out.value(static_cast<std::uint64_t>(vectors.configurations.size()));
  for (const auto& configuration : vectors.configurations) {
    out.value(static_cast<std::uint64_t>(configuration.size()));
    for (const auto& bound : configuration) {
      out.text(bound.theory).value(static_cast<std::uint8_t>(bound.applicable)).text(bound.reason);
      out.value(bound.bound.mantissa()).value(bound.bound.exponent());
    }
  }
}

void write(ByteWriter& out, const observe::BlockObservation& block) {
  out.value(static_cast<std::int64_t>(block.samples)).values(block.deviation).values(block.layer_max);
  out.values(block.correct).values(block.agree).value(static_cast<std::int64_t>(block.correct_reference));
}

void write(ByteWriter& out, const ObserveResult& observed) {
  write(out, observed.inside);
  write(out, observed.outside);
}

NormsResult read_norms(ByteReader& in) {
  NormsResult norms;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) {
    norms.layers.push_back(bounds::from_bytes(in.values<std::byte>()));
  }
  return norms;
}

VectorResult read_vectors(ByteReader& in) {
  VectorResult vectors;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) {
    auto& configuration = vectors.configurations.emplace_back();
    for (auto bounds = in.value<std::uint64_t>(); bounds > 0; --bounds) {
      bounds::TheoryBound bound;
      bound.theory = in.text();
      bound.applicable = in.value<std::uint8_t>() != 0;
      bound.reason = in.text();
      const auto mantissa = in.value<double>();
      bound.bound = core::Upper(mantissa).scaled(in.value<std::int64_t>());
      configuration.push_back(std::move(bound));
    }
  }
  return vectors;
}

observe::BlockObservation read_block(ByteReader& in) {
  observe::BlockObservation block;
  block.samples = in.value<std::int64_t>();
  block.deviation = in.values<double>();
  block.layer_max = in.values<double>();
  block.correct = in.values<observe::Index>();
  block.agree = in.values<observe::Index>();
  block.correct_reference = in.value<std::int64_t>();
  return block;
}

}  // namespace

std::vector<std::byte> to_bytes(const Record& record) {
  ByteWriter out;
  out.value(static_cast<std::uint64_t>(record.units.size()));
  for (const auto& unit : record.units) {
    out.value(unit.seconds).value(static_cast<std::uint8_t>(unit.result.index()));
    std::visit([&](const auto& result) { write(out, result); }, unit.result);
  }
  return out.take();
}

Record record_from_bytes(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  Record record;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) {
    UnitResult unit{.seconds = in.value<double>(), .result = {}};
    switch (in.value<std::uint8_t>()) {
      case 0:
        unit.result = Failure{in.text()};
        break;
      case 1:
        unit.result = read_norms(in);
        break;
      case 2:
        unit.result = read_vectors(in);
        break;
      case 3: {
        auto inside = read_block(in);
        unit.result = ObserveResult{.inside = std::move(inside), .outside = read_block(in)};
        break;
      }
      default:
        throw core::Error("a stored record is of an unknown kind", "");
    }
    record.units.push_back(std::move(unit));
  }
  return record;
}

}  // namespace quantbound::sweep
