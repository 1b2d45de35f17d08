/// What a task gives: one result per unit, or why the unit failed. A record is what journals store; it holds results of
/// the study alone, and the seconds they took, which go to /provenance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/bounds/theory.hpp"
#include "quantbound/certify/method.hpp"
#include "quantbound/observe/deviation.hpp"

namespace quantbound::sweep {

using network::Index;

/// Norms of a layer of f as one configuration is compared with it, after an equalization.
struct EqualizedNorms {
  Index configuration = 0, layer = 0;
  bounds::LayerNorms norms;
};

/// Stage::norms: one report per layer of the unit.
struct NormsResult {
  std::vector<bounds::LayerReport> layers;
  std::vector<EqualizedNorms> equalized;  ///< in place of LayerReport::norms
};

/// What a theory that reads the weights says of one configuration.
struct NamedBound {
  std::string theory;
  bounds::TheoryResult result;  ///< without the vector per output
};

/// Stage::weight_bounds: the theories of the study that read the weights, per configuration of the unit.
struct WeightBoundsResult {
  std::vector<std::vector<NamedBound>> configurations;
};

/// What a method proves of one configuration in the region of the unit, or why it cannot be applied.
struct MethodResult {
  std::string not_applicable;        ///< empty: it was applied
  certify::Certificate certificate;  ///< its seconds go to /provenance
};

/// Stage::certify: per configuration of the unit.
struct CertifyResult {
  std::vector<MethodResult> configurations;
};

/// Stage::attack: the largest deviation found, per configuration of the unit.
struct AttackResult {
  std::vector<double> deviation;
};

/// Stage::observe: deviations of the samples inside the domain; rankings of all.
struct ObserveResult {
  observe::BlockObservation inside;
  observe::BlockObservation outside;     ///< only its counts are used
  std::vector<Index> outside_positions;  ///< in the block, increasing
};

/// What became of one module of a configuration.
struct ModuleResult {
  std::vector<Index> layers;  ///< its weight layers
  Index output = 0;           ///< the node whose value its loss is about
  double loss_round = 0.0, loss = 0.0;
  double settled = 1.0;
  std::uint8_t kept_rounding = 0;  ///< 1: the method found nothing better
  bool operator==(const ModuleResult&) const = default;
};

/// Stage::reconstruct: the modules in their order. The weights are no result of the study: they are kept beside the
/// journal for the tasks that read them (task.hpp).
struct ReconstructResult {
  std::vector<ModuleResult> modules;
};

/// A unit that could not be computed.
struct Failure {
  std::string message;
};

struct UnitResult {
  double seconds = 0.0;
  std::variant<Failure, NormsResult, WeightBoundsResult, ObserveResult, CertifyResult, AttackResult, ReconstructResult>
      result;
};

struct Record {
  std::vector<UnitResult> units;  ///< as many as the task has units, in order
};

std::vector<std::byte> to_bytes(const Record& record);
/// Throws core::Error where the bytes are no record.
Record record_from_bytes(std::span<const std::byte> bytes);

}  // namespace quantbound::sweep
