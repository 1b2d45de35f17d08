/// What the methods have in common and where they differ, and whether options go together.
#pragma once

#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::reconstruct::detail {

bool is_mrecg(Method method);
/// Its modules are layers, whatever Options::modules says.
bool goes_by_layers(Method method);
/// Its roundings are learned.
bool is_trained(Method method);
/// By which method single modules are reconstructed: that of mrecg is Options::joint.
Method objective_of(Method method, const Options& options);

/// Some of its layers are quantized by the second moments of their inputs.
bool uses_moments(Method method, const Options& options);

/// Throws core::InputError naming the option.
void check(Method method, const Calibration& calibration, const Options& options);

}  // namespace quantbound::reconstruct::detail
