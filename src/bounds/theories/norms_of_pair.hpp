/// Numbers that several theories read off the norms of all layers, as proved bounds and, for the formulas taken
/// literally, as base-10 logarithms over the sequence of layers.
#pragma once

#include <vector>

#include "quantbound/bounds/theory.hpp"

namespace quantbound::bounds::detail {

/// eta: max |theta - theta'| over all layers, biases included.
double parameter_distance(const NormInput& input);

/// r_l: dominates [W_l, b_l] and [W'_l, b'_l] in the inf-norm.
std::vector<double> augmented_norms(const NormInput& input);
/// r_l^conv: dominates W_l and W'_l.
std::vector<double> weight_norms(const NormInput& input);
std::vector<core::Upper> to_upper(const std::vector<double>& values);

/// An n with ||[dW_l, db_l]||_inf <= n max(|dW_l|, |db_l|): the weights of a row, and one more if biases moved.
double row_terms(const LayerNorms& layer, const QuantizedLayerNorms& quantized);
/// Sum of row_terms over the layers.
double all_row_terms(const NormInput& input);

/// N: dominates the width of the graph and the fan-in of every layer.
double dominating_width(const NormInput& input);

/// log10 max(D, 1).
double log10_radius_or_one(const NormInput& input);

/// log10 P_l of Theorem 4.1: P_l = max_{i <= l-1} prod_{j >= i, j != l} r_j, and prod_{j >= 2} r_j for l = 1.
std::vector<double> log10_mean_products(const std::vector<double>& r);
/// log10 of prod_{k != l} r_k.
std::vector<double> log10_all_but_one(const std::vector<double>& r);
double largest_of(const std::vector<double>& values);
/// log10 of a sum of numbers given by their logarithms.
double log10_sum(const std::vector<double>& logarithms);

TheoryResult not_applicable(std::string reason, std::optional<core::Estimate> formula = {});

}  // namespace quantbound::bounds::detail
