/// What a method of certify and an attack are guessed to cost on one pair and one region: for balance, tasks of about a
/// second, and `quantbound plan`. Nothing depends on it but who computes what. Used by plan.cpp only.
#pragma once

#include "quantbound/certify/method.hpp"
#include "quantbound/observe/attack.hpp"

namespace quantbound::sweep::detail {

/// What the costs follow from; counted once per network.
struct GraphSize {
  double multiply_adds = 0.0;  ///< of one forward pass
  double hidden = 0.0;         ///< values that weight layers give, the outputs left out
  double inputs = 0.0, outputs = 0.0, widest = 0.0;
  double substitution = 0.0;  ///< multiply-adds of going back from every value to the input: sum of size times depth
};
GraphSize measure(const network::Graph& graph);

/// Seconds on one core, for one configuration and one region. `max_seconds` is no guess of what will be needed and
/// plays no role.
double certify_seconds(certify::Method method, const GraphSize& size, const certify::MethodOptions& options);
/// Of one group of starts.
double attack_seconds(const GraphSize& size, const observe::AttackOptions& options);
/// Groups of starts that take several seconds each; 1 for networks that are climbed in double. The options' own groups
/// play no role.
network::Index attack_groups(const GraphSize& size, const observe::AttackOptions& options);
/// Bytes beyond the weights, at most.
double certify_bytes(certify::Method method, const GraphSize& size, const certify::MethodOptions& options);

}  // namespace quantbound::sweep::detail
