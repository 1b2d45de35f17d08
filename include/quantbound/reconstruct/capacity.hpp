/// Capacity of modules and their likeness, both free of data (MRECG, arXiv 2303.11906, eq. 3 and Definition 1;
/// docs/theory.md 6). ModCap = sum of parameters * bits * (stride factor where the stride exceeds 1) over the weight
/// layers; biases, groups and shortcuts do not enter. The form of eq. 3 is reconstructed from descriptions, and the
/// factor 1.6 is recalled, not verified: it is a parameter. Which modules are then joined: selection.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quantbound/reconstruct/module.hpp"

namespace quantbound::reconstruct {

struct CapacityOptions {
  /// alpha of a layer with stride > 1, which does the work of a larger kernel with stride 1. Unverified.
  double stride_factor = 1.6;
};

/// In bits. @pre bits_of_layer: one per weight layer of the network, positive
double module_capacity(const Graph& graph, const Module& module, std::span<const int> bits_of_layer,
                       const CapacityOptions& options = {});

/// How alike two modules must be. All compare, layer by layer, everything but kernel size and channels: convolution or
/// matrix, dilation, groups (none, depthwise, or their number), and the activation that alone follows. Padding goes
/// with the kernel and the number of groups of a depthwise convolution with its channels. Each value asks for less than
/// the one before. strict: the same strides and as many sums, products and concatenations (a shortcut or none).
/// definition: the same strides; Definition 1 to the letter, where a shortcut is no property of a layer.
/// converted: any strides, since ModCap counts them. The default: between modules of the same strides ModCap differs so
///   rarely (never among the blocks of CIFAR ResNets and MobileNetV1) that alpha and the choice would mean nothing.
enum class Homogeneity { strict, definition, converted };
std::string_view to_string(Homogeneity homogeneity);
std::optional<Homogeneity> parse_homogeneity(std::string_view text);

/// Topological homogeneity of two modules.
bool homogeneous(const Graph& graph, const Module& a, const Module& b, Homogeneity homogeneity);

/// For every pair of neighbours whether they can be one module (1 or 0): the loss-driven choice.
std::vector<std::uint8_t> mergeable_neighbours(const Graph& graph, std::span<const Module> modules);
/// And are homogeneous: the data-free choice.
std::vector<std::uint8_t> homogeneous_neighbours(const Graph& graph, std::span<const Module> modules,
                                                 Homogeneity homogeneity = Homogeneity::converted);

}  // namespace quantbound::reconstruct
