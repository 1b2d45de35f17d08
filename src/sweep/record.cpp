#include "quantbound/sweep/record.hpp"

#include "quantbound/core/bytes.hpp"

namespace quantbound::sweep {

namespace {

using core::ByteReader;
using core::ByteWriter;

void write(ByteWriter& out, const Failure& failure) { out.text(failure.message); }

static_assert(std::is_trivially_copyable_v<EqualizedNorms>);

void write(ByteWriter& out, const NormsResult& norms) {
  out.value(static_cast<std::uint64_t>(norms.layers.size()));
  for (const auto& layer : norms.layers) out.values(bounds::to_bytes(layer));
  out.values(norms.equalized);
}

void write(ByteWriter& out, const WeightBoundsResult& bounds) {
  out.value(static_cast<std::uint64_t>(bounds.configurations.size()));
  for (const auto& configuration : bounds.configurations) {
    out.value(static_cast<std::uint64_t>(configuration.size()));
    for (const auto& [theory, result] : configuration) {
      const core::Upper bound = result.bound.value_or(core::Upper());
      out.text(theory).value(static_cast<std::uint8_t>(result.applicable())).text(result.reason);
      out.value(bound.mantissa()).value(bound.exponent());
      out.value(static_cast<std::uint8_t>(result.formula.has_value()))
          .value(result.formula ? result.formula->log10 : 0.0);
    }
  }
}

void write(ByteWriter& out, const observe::LayerObservation& layers) {
  out.value(static_cast<std::int64_t>(layers.samples)).values(layers.deviation).values(layers.input);
  out.values(layers.input_deviation).values(layers.carried).values(layers.local);
}

static_assert(std::is_trivially_copyable_v<observe::RankingCounts>);

void write(ByteWriter& out, const observe::BlockObservation& block) {
  out.value(static_cast<std::int64_t>(block.samples)).values(block.deviation).values(block.deviation_2);
  out.values(block.relative).values(block.error).values(block.in_double).values(block.counts);
  out.value(static_cast<std::int64_t>(block.correct_reference));
  out.value(static_cast<std::int64_t>(block.correct_top5_reference));
  write(out, block.layers);
}

void write(ByteWriter& out, const ObserveResult& observed) {
  write(out, observed.inside);
  write(out, observed.outside);
  out.values(observed.outside_positions);
}

void write(ByteWriter& out, const CertifyResult& certified) {
  out.value(static_cast<std::uint64_t>(certified.configurations.size()));
  for (const auto& [not_applicable, certificate] : certified.configurations) {
    out.text(not_applicable).values(certificate.difference.low).values(certificate.difference.high);
    out.value(certificate.lower).value(certificate.boxes).value(certificate.seconds);
    out.value(static_cast<std::uint8_t>(certificate.timed_out));
  }
}

void write(ByteWriter& out, const AttackResult& attacked) { out.values(attacked.deviation); }

void write(ByteWriter& out, const ReconstructResult& reconstructed) {
  out.value(static_cast<std::uint64_t>(reconstructed.modules.size()));
  for (const auto& module : reconstructed.modules) {
    out.values(module.layers)
        .value(static_cast<std::int64_t>(module.output))
        .value(module.loss_round)
        .value(module.loss)
        .value(module.settled);
    out.value(module.kept_rounding);
  }
}

NormsResult read_norms(ByteReader& in) {
  NormsResult norms;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) {
    norms.layers.push_back(bounds::from_bytes(in.values<std::byte>()));
  }
  norms.equalized = in.values<EqualizedNorms>();
  return norms;
}

WeightBoundsResult read_weight_bounds(ByteReader& in) {
  WeightBoundsResult bounds;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) {
    auto& configuration = bounds.configurations.emplace_back();
    for (auto theories = in.value<std::uint64_t>(); theories > 0; --theories) {
      NamedBound& named = configuration.emplace_back();
      named.theory = in.text();
      const bool applicable = in.value<std::uint8_t>() != 0;
      named.result.reason = in.text();
      const auto mantissa = in.value<double>();
      const auto exponent = in.value<std::int64_t>();
      if (applicable) named.result.bound = core::Upper(mantissa).scaled(exponent);
      const bool has_formula = in.value<std::uint8_t>() != 0;
      const auto formula = in.value<double>();
      if (has_formula) named.result.formula = core::Estimate{formula};
    }
  }
  return bounds;
}

observe::LayerObservation read_layers(ByteReader& in) {
  observe::LayerObservation layers;
  layers.samples = in.value<std::int64_t>();
  layers.deviation = in.values<double>();
  layers.input = in.values<double>();
  layers.input_deviation = in.values<double>();
  layers.carried = in.values<double>();
  layers.local = in.values<double>();
  return layers;
}

observe::BlockObservation read_block(ByteReader& in) {
  observe::BlockObservation block;
  block.samples = in.value<std::int64_t>();
  block.deviation = in.values<double>();
  block.deviation_2 = in.values<double>();
  block.relative = in.values<double>();
  block.error = in.values<double>();
  block.in_double = in.values<observe::Index>();
  block.counts = in.values<observe::RankingCounts>();
  block.correct_reference = in.value<std::int64_t>();
  block.correct_top5_reference = in.value<std::int64_t>();
  block.layers = read_layers(in);
  return block;
}

CertifyResult read_certificates(ByteReader& in) {
  CertifyResult certified;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) {
    auto& [not_applicable, certificate] = certified.configurations.emplace_back();
    not_applicable = in.text();
    certificate.difference.low = in.values<double>();
    certificate.difference.high = in.values<double>();
    certificate.lower = in.value<double>();
    certificate.boxes = in.value<std::int64_t>();
    certificate.seconds = in.value<double>();
    certificate.timed_out = in.value<std::uint8_t>() != 0;
  }
  return certified;
}

ReconstructResult read_modules(ByteReader& in) {
  ReconstructResult reconstructed;
  for (auto count = in.value<std::uint64_t>(); count > 0; --count) {
    auto& module = reconstructed.modules.emplace_back();
    module.layers = in.values<Index>();
    module.output = in.value<std::int64_t>();
    module.loss_round = in.value<double>();
    module.loss = in.value<double>();
    module.settled = in.value<double>();
    module.kept_rounding = in.value<std::uint8_t>();
  }
  return reconstructed;
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
        unit.result = read_weight_bounds(in);
        break;
      case 3: {
        ObserveResult observed;
        observed.inside = read_block(in);
        observed.outside = read_block(in);
        observed.outside_positions = in.values<Index>();
        unit.result = std::move(observed);
        break;
      }
      case 4:
        unit.result = read_certificates(in);
        break;
      case 5:
        unit.result = AttackResult{in.values<double>()};
        break;
      case 6:
        unit.result = read_modules(in);
        break;
      default:
        throw core::Error("a stored record is of an unknown kind", "");
    }
    record.units.push_back(std::move(unit));
  }
  if (!in.at_end()) throw core::Error("a stored record is longer than it says", "");
  return record;
}

}  // namespace quantbound::sweep
