/// The axes of a result file and the coordinates that describe their positions (docs/design.md section 6), from the
/// plan alone. Used by assemble.cpp only.
#pragma once

#include <array>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "quantbound/sweep/dataset.hpp"
#include "quantbound/sweep/dataset_schema.hpp"
#include "quantbound/sweep/plan.hpp"

namespace quantbound::sweep::detail {

template <class Range, class Projection>
auto collect(const Range& range, const Projection& projection) {
  std::vector<std::remove_cvref_t<std::invoke_result_t<Projection, decltype(*std::begin(range))>>> values;
  values.reserve(std::size(range));
  for (const auto& element : range) values.push_back(std::invoke(projection, element));
  return values;
}

/// Where the networks begin on the concatenated axes, and how long those are.
struct RaggedAxes {
  std::vector<std::size_t> first_layer, first_region, first_output, first_module;  ///< per network
  std::vector<std::size_t> first_sample;                                           ///< per sample set
  std::size_t layers = 0, regions = 0, region_outputs = 0;
  std::size_t modules = 0;  ///< 0 unless the study reconstructs
  std::size_t samples = 0;  ///< 0 unless the study wants every sample
};
RaggedAxes ragged_axes(const Plan& plan);

/// Positions of the axis `norm`: what deviations are measured in besides the inf-norm.
inline constexpr std::array<std::string_view, 2> norm_labels{"l2", "relative_l2"};

/// "5 networks x 28 configurations"
std::string size_in_words(std::size_t networks, std::size_t configurations);
/// 0, 1, 2, ...: labels of an axis that only counts.
std::vector<std::int64_t> counting(std::size_t count);
void add_axes(Group& root, const Plan& plan);
void add_coordinates(Group& root, const Plan& plan);

}  // namespace quantbound::sweep::detail
