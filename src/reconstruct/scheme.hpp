/// Which pieces of a network are reconstructed together, and how large their capacity is: the modules of a method, and
/// the runs of them that are given (BRECQ at any granularity) or chosen (MRECG, arXiv 2303.11906, eq. 3 and 4).
#pragma once

#include <span>
#include <vector>

#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::reconstruct::detail {

/// Before any are joined.
std::vector<Module> single_modules(const Graph& graph, Method method, const Options& options);

/// The Fisher information of a module's output is taken through the layers behind it, which must not read what lies
/// before. Throws core::InputError where they do.
void require_outputs_without_bypass(const Graph& graph, std::span<const Module> modules);

/// ModCap of each with the bits that the configuration gives its layers.
std::vector<double> capacities(const Graph& graph, std::span<const Module> modules,
                               const quantize::Configuration& configuration, const Options& options);

/// Joined as Options::runs says. Throws core::InputError where the runs do not
/// fit the modules.
std::vector<Module> joined_modules(const Graph& graph, std::span<const Module> modules, const Options& options);
/// Joined at random: Options::joining.
std::vector<Module> joined_at_random(const Graph& graph, std::span<const Module> modules, const Options& options);
/// Pairs of homogeneous neighbours by their capacities, where these differ.
std::vector<Module> joined_by_capacity(const Graph& graph, std::span<const Module> modules,
                                       std::span<const double> capacity, const Options& options);
/// Runs of neighbours by the losses of a first pass; single layers stay alone where there are blocks of several,
/// and at either end of the network.
std::vector<Module> joined_by_loss(const Graph& graph, std::span<const Module> modules, std::span<const double> loss,
                                   const Options& options);

}  // namespace quantbound::reconstruct::detail
