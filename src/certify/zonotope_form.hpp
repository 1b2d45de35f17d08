/// An affine form of every element of a value, with shared noises in [-1, 1]: value_i = center_i + sum_g rows_gi eps_g,
/// up to slack_i, which holds the rounding errors and the noises that were given up (docs/theory.md 9.5.4). Only noises
/// that reach a node are stored, under numbers that are the same at all nodes and in all forms. Elements that overflow
/// have slack or center infinite or NaN until `replace_overflown`.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"

namespace quantbound::certify::detail {

using NoiseId = std::int64_t;

struct Form {
  std::vector<double> center, slack;
  std::vector<NoiseId> ids;  ///< ascending
  std::vector<double> rows;  ///< ids.size() x center.size()
  /// radii(), kept for the operations that read a finished form; empty while it changes.
  std::vector<double> radius = {};

  Index size() const { return std::ssize(center); }
  Index noises() const { return std::ssize(ids); }
  std::span<const double> row(Index g) const {
    return std::span(rows).subspan(static_cast<std::size_t>(g) * center.size(), center.size());
  }
};

Form constant(std::vector<double> values);
/// Exactly zero for every input.
bool is_zero(const Form& form);

/// Upper bounds of sum_g |rows_gi|.
std::vector<double> radii(const Form& form);
/// Where the form lies, given its radii. Infinite where it overflowed.
Box enclosure(const Form& form, std::span<const double> radius);

/// A linear map with the given weights, bias and batch: a dense layer or a convolution.
struct LayerMap {
  std::function<std::vector<double>(std::span<const double> weights, std::span<const double> bias,
                                    std::span<const double> values, Index batch)>
      apply;
  Index fan_in = 0;
};
/// `weights` and `bias` are within 2^-53 of what is meant, relatively; an empty bias means zeros.
Form affine(const LayerMap& map, std::span<const double> weights, std::span<const double> bias, const Form& form);

/// Element by element: the sum of factor_i form_i, plus an offset.
struct Part {
  const Form& form;
  std::span<const double> factor;
};
Form combine(std::span<const Part> parts, std::span<const double> offset);
Form add(const Form& a, const Form& b);
/// b - a
Form difference(const Form& a, const Form& b);

/// A linear map that only averages: `apply` on a batch, of at most `terms` elements each.
Form average(const Form& form, const std::function<std::vector<double>(std::span<const double>, Index)>& apply,
             Index terms);

/// Element i of the result is element source[i], or `fill` where that is -1.
Form gather(const Form& form, std::span<const Index> source, double fill);

/// Per element the form that says so; all of equal size.
Form choose(std::span<const Form* const> forms, std::span<const std::uint8_t> choice);

/// A noise that reaches one element only.
struct Noise {
  NoiseId id;
  Index element;
  double coefficient;
};
/// Adds noises that are newer than all in the form; of all, the `most` largest are kept and the others become slack.
void add_noises(Form& form, std::vector<Noise> noises, Index most);

/// Elements that overflowed become their box.
void replace_overflown(Form& form, const Box& box);

/// Center and radius of an interval, rounded up; 0 and infinity where it is not finite.
struct Ball {
  double center, radius;
};
Ball ball(double low, double high);

}  // namespace quantbound::certify::detail
