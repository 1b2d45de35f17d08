// Arithmetic on constants at load time: what exporters leave in the graph around Reshape, Slice and Pad.
#include "onnx_constant.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

namespace quantbound::network::detail {

namespace {

constexpr Index max_folded = Index{1} << 28;  // what load-time arithmetic may produce

Index normalized_axis(Index axis, std::size_t rank) {
  const auto n = static_cast<Index>(rank);
  if (axis < -n || axis >= n) throw ConstantError{fmt::format("axis {} of a constant of rank {}", axis, n)};
  return axis < 0 ? axis + n : axis;
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t from_end = out.size() - i;
    const Index in_a = from_end <= a.size() ? a[a.size() - from_end] : 1;
    const Index in_b = from_end <= b.size() ? b[b.size() - from_end] : 1;
    if (in_a != in_b && in_a != 1 && in_b != 1) {
      throw ConstantError{
          fmt::format("constants of shapes {} and {} do not broadcast", tensor::to_string(a), tensor::to_string(b))};
    }
    out[i] = in_a == 1 ? in_b : in_a;
  }
  return out;
}

Constant broadcast_to(const Constant& in, const Shape& dims) {
  Shape strides(dims.size(), 0);
  const Shape own = row_major_strides(in.dims);
  const std::size_t lead = dims.size() - in.dims.size();
  for (std::size_t i = 0; i < in.dims.size(); ++i) strides[lead + i] = in.dims[i] == 1 ? 0 : own[i];
  return strided(in, 0, strides, dims);
}

double apply(Arithmetic operation, double a, double b) {
  switch (operation) {
    case Arithmetic::add:
      return a + b;
    case Arithmetic::subtract:
      return a - b;
    case Arithmetic::multiply:
      return a * b;
    case Arithmetic::divide:
      return a / b;
  }
  return a;
}

std::int64_t apply(Arithmetic operation, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflows = false;
  switch (operation) {
    case Arithmetic::add:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case Arithmetic::subtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case Arithmetic::multiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case Arithmetic::divide:
      overflows = b == 0 || (a == INT64_MIN && b == -1);
      if (!overflows) result = a / b;
      break;
  }
  if (overflows) throw ConstantError{"integer arithmetic on constants overflows or divides by zero"};
  return result;
}

template <class T>
std::vector<T> combine(Arithmetic operation, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> out(a.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = apply(operation, a[i], b[i]);
  return out;
}

/// Block after block of every part in turn, `outer` blocks of each.
template <class ValuesOf>
auto interleaved(std::span<const Constant> parts, Index outer, ValuesOf values_of) {
  std::vector<decltype(values_of(parts.front()))> lists;
  for (const Constant& part : parts) lists.push_back(values_of(part));
  decltype(values_of(parts.front())) out;
  for (Index block = 0; block < outer; ++block) {
    for (const auto& list : lists) {
      const Index length = std::ssize(list) / outer;
      out.insert(out.end(), list.begin() + block * length, list.begin() + (block + 1) * length);
    }
  }
  return out;
}

}  // namespace

Index Constant::size() const {
  return std::visit([](const auto& list) { return static_cast<Index>(list.size()); }, values);
}

Reals Constant::reals() const {
  return std::visit([](const auto& list) { return Reals(list.begin(), list.end()); }, values);
}

Index checked_elements(const Shape& dims, Index limit) {
  Index product = 1;
  bool empty = false;
  for (const Index extent : dims) {
    if (extent < 0) throw ConstantError{fmt::format("shape {} has a negative extent", tensor::to_string(dims))};
    if (extent == 0) {
      empty = true;
      continue;
    }
    if (extent > limit / product) {
      throw ConstantError{fmt::format("shape {} has more than {} elements", tensor::to_string(dims), limit)};
    }
    product *= extent;
  }
  return empty ? 0 : product;
}

Shape row_major_strides(const Shape& dims) {
  Shape strides(dims.size(), 1);
  for (std::size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

Constant strided(const Constant& in, Index offset, std::span<const Index> strides, const Shape& count) {
  const Index total = checked_elements(count, max_folded);
  const auto gather = [&](const auto& list) {
    std::remove_cvref_t<decltype(list)> out;
    out.reserve(static_cast<std::size_t>(total));
    Shape index(count.size(), 0);
    Index position = offset;
    for (Index i = 0; i < total; ++i) {
      out.push_back(list[static_cast<std::size_t>(position)]);
      for (std::size_t axis = count.size(); axis-- > 0;) {
        position += strides[axis];
        if (++index[axis] < count[axis]) break;
        position -= strides[axis] * count[axis];
        index[axis] = 0;
      }
    }
    return out;
  };
  return std::visit([&](const auto& list) { return Constant{count, gather(list)}; }, in.values);
}

Constant permuted(const Constant& in, std::span<const Index> axes) {
  const Shape own = row_major_strides(in.dims);
  Shape strides, dims;
  for (const Index axis : axes) {
    strides.push_back(own[static_cast<std::size_t>(axis)]);
    dims.push_back(in.dims[static_cast<std::size_t>(axis)]);
  }
  return strided(in, 0, strides, dims);
}

Constant gathered(const Constant& in, const Constant& indices, Index axis) {
  const auto along = static_cast<std::size_t>(normalized_axis(axis, in.dims.size()));
  const auto* list = std::get_if<Integers>(&indices.values);
  if (list == nullptr) throw ConstantError{"indices of Gather are not integers"};
  const Index extent = in.dims[along];
  Shape dims = in.dims;
  dims[along] = 1;
  const Shape strides = row_major_strides(in.dims);
  std::vector<Constant> parts;
  for (const std::int64_t raw : *list) {
    if (raw < -extent || raw >= extent) throw ConstantError{fmt::format("index {} of {} elements", raw, extent)};
    parts.push_back(strided(in, (raw < 0 ? raw + extent : raw) * strides[along], strides, dims));
  }
  if (parts.empty()) throw ConstantError{"Gather without indices"};
  Constant out = concatenated(parts, static_cast<Index>(along));
  out.dims.erase(out.dims.begin() + static_cast<Index>(along));
  out.dims.insert(out.dims.begin() + static_cast<Index>(along), indices.dims.begin(), indices.dims.end());
  return out;
}

Constant concatenated(std::span<const Constant> parts, Index axis) {
  const auto along = static_cast<std::size_t>(normalized_axis(axis, parts.front().dims.size()));
  const bool integral = std::all_of(parts.begin(), parts.end(), [](const Constant& c) { return c.is_integral(); });
  Shape dims = parts.front().dims;
  dims[along] = 0;
  for (const Constant& part : parts) {
    Shape aligned = part.dims;
    if (aligned.size() == dims.size()) aligned[along] = parts.front().dims[along];
    if (aligned != parts.front().dims) throw ConstantError{"constants of different shapes cannot be concatenated"};
    dims[along] += part.dims[along];
  }
  checked_elements(dims, max_folded);
  const Index outer =
      std::accumulate(dims.begin(), dims.begin() + static_cast<Index>(along), Index{1}, std::multiplies{});
  if (integral) {
    return {dims, interleaved(parts, outer, [](const Constant& c) { return std::get<Integers>(c.values); })};
  }
  return {dims, interleaved(parts, outer, [](const Constant& c) { return c.reals(); })};
}

Constant to_integers(const Constant& in) {
  if (in.is_integral()) return in;
  Integers out;
  for (const double value : std::get<Reals>(in.values)) {
    if (!(std::abs(value) < 0x1p63)) throw ConstantError{fmt::format("{} does not fit an integer", value)};
    out.push_back(static_cast<std::int64_t>(value));
  }
  return {in.dims, std::move(out)};
}

Constant to_reals(const Constant& in) { return {in.dims, in.reals()}; }

Constant combined(Arithmetic operation, const Constant& a, const Constant& b) {
  const Shape dims = broadcast(a.dims, b.dims);
  const Constant left = broadcast_to(a, dims), right = broadcast_to(b, dims);
  if (left.is_integral() && right.is_integral()) {
    return {dims, combine(operation, std::get<Integers>(left.values), std::get<Integers>(right.values))};
  }
  return {dims, combine(operation, left.reals(), right.reals())};
}

}  // namespace quantbound::network::detail
