#include "zonotope_form.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"
#include "quantbound/tensor/worth_threads.hpp"

namespace quantbound::certify::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double omega = 0x1p-1074;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

bool all_zero(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0.0; });
}

std::vector<double> absolute(std::span<const double> values) {
  std::vector<double> result(values.begin(), values.end());
  for (double& value : result) value = std::abs(value);
  return result;
}

std::vector<double> nonzero(std::span<const double> values) {
  std::vector<double> result(values.begin(), values.end());
  for (double& value : result) value = value == 0.0 ? 0.0 : 1.0;
  return result;
}

/// Which elements can differ from zero.
std::vector<double> support(const Form& form, std::span<const double> radius) {
  std::vector<double> result(form.center.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = form.center[i] == 0.0 && form.slack[i] == 0.0 && radius[i] == 0.0 ? 0.0 : 1.0;
  }
  return result;
}

/// Upper bound of the relative error of a sum of n products whose factors were rounded once.
double gamma_up(Index n) { return (static_cast<double>(n) + 8.0) * 0x1p-53 * (1.0 + 0x1p-20); }

std::vector<NoiseId> merged(const std::vector<NoiseId>& a, const std::vector<NoiseId>& b) {
  std::vector<NoiseId> result;
  result.reserve(a.size() + b.size());
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(result));
  return result;
}

/// Position of every id of `some` in `all`.
std::vector<Index> positions(const std::vector<NoiseId>& some, const std::vector<NoiseId>& all) {
  std::vector<Index> result;
  result.reserve(some.size());
  std::size_t next = 0;
  for (const NoiseId id : some) {
    while (all[next] != id) ++next;
    result.push_back(static_cast<Index>(next));
  }
  return result;
}

/// Calls function(row of target, row g of form) for every noise of the form.
template <class Function>
void for_each_row(const Form& form, Form& target, Function function) {
  const auto position = positions(form.ids, target.ids);
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(form.rows)))
  for (Index g = 0; g < form.noises(); ++g) {
    function(target.rows.data() + position[at(g)] * target.size(), form.row(g).data());
  }
}

Form empty_form(std::size_t size, std::vector<NoiseId> ids) {
  Form form{std::vector<double>(size, 0.0), std::vector<double>(size, 0.0), std::move(ids), {}};
  form.rows.assign(form.ids.size() * size, 0.0);
  return form;
}

/// What a linear map makes of slack and of the rounding errors of its own products.
std::vector<double> slack_of(const LayerMap& map, std::span<const double> weights, std::span<const double> bias,
                             const Form& form) {
  const double gamma = gamma_up(map.fan_in);
  const auto radius = radii(form);
  std::vector<double> error(radius.size());
  for (std::size_t i = 0; i < error.size(); ++i) {
    if (radius[i] == 0.0 && form.slack[i] == 0.0 && form.center[i] == 0.0) continue;
    const double size = core::next_up(radius[i] + std::abs(form.center[i]));
    const double slack = core::multiply_up(form.slack[i], 1.0 + 0x1p-50);  // for the rounded weights
    error[i] = core::add_up(slack, core::multiply_up(gamma, size));
  }
  std::vector<double> error_of_bias = absolute(bias);
  for (double& b : error_of_bias) b = core::multiply_up(b, gamma);
  auto slack = map.apply(absolute(weights), error_of_bias, error, 1);
  const auto products = map.apply(nonzero(weights), nonzero(bias), support(form, radius), 1);
  for (std::size_t i = 0; i < slack.size(); ++i) {
    const double underflow = products[i] * static_cast<double>(form.noises() + 1) * omega;
    slack[i] = products[i] == 0.0 ? 0.0 : core::next_up(core::sum_up(slack[i], at(map.fan_in + 1)) + underflow);
  }
  return slack;
}

}  // namespace

Form constant(std::vector<double> values) {
  std::vector<double> zeros(values.size(), 0.0);
  return {std::move(values), std::move(zeros), {}, {}};
}

bool is_zero(const Form& form) { return all_zero(form.center) && all_zero(form.slack) && all_zero(form.rows); }

std::vector<double> radii(const Form& form) {
  if (!form.radius.empty()) return form.radius;
  constexpr Index block = 512;
  const Index n = form.size();
  std::vector<double> result(at(n), 0.0);
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(form.rows)))
  for (Index first = 0; first < n; first += block) {
    const Index last = std::min(n, first + block);
    double* sum = result.data();
    for (Index g = 0; g < form.noises(); ++g) {
      const double* row = form.rows.data() + g * n;
      for (Index i = first; i < last; ++i) sum[i] += std::abs(row[i]);
    }
    for (Index i = first; i < last; ++i) {
      if (sum[i] > 0.0) sum[i] = core::next_up(sum[i] * (1.0 + static_cast<double>(form.noises() + 2) * 0x1p-52));
    }
  }
  return result;
}

Box enclosure(const Form& form, std::span<const double> radius) {
  Box box{std::vector<double>(form.center.size()), std::vector<double>(form.center.size())};
  for (std::size_t i = 0; i < form.center.size(); ++i) {
    const double reach = core::add_up(radius[i], form.slack[i]), center = form.center[i];
    const bool finite = std::isfinite(center) && std::isfinite(reach);
    box.low[i] = finite ? -core::add_up(-center, reach) : -infinity;
    box.high[i] = finite ? core::add_up(center, reach) : infinity;
  }
  return box;
}

Form affine(const LayerMap& map, std::span<const double> weights, std::span<const double> bias, const Form& form) {
  Form out{map.apply(weights, bias, form.center, 1), slack_of(map, weights, bias, form), {}, {}};
  if (form.ids.empty() || all_zero(weights)) return out;
  out.ids = form.ids;
  out.rows = map.apply(weights, {}, form.rows, form.noises());
  return out;
}

Form combine(std::span<const Part> parts, std::span<const double> offset) {
  std::vector<NoiseId> ids;
  for (const Part& part : parts) {
    if (!all_zero(part.factor)) ids = merged(ids, part.form.ids);
  }
  Form out = empty_form(offset.size(), std::move(ids));
  std::vector<double> error(offset.size(), 0.0), inexact(offset.size(), 0.0);
  for (std::size_t i = 0; i < offset.size(); ++i) inexact[i] = offset[i] == 0.0 ? 0.0 : 1.0;
  out.center.assign(offset.begin(), offset.end());
  for (std::size_t i = 0; i < offset.size(); ++i) error[i] = std::abs(offset[i]);
  for (const Part& part : parts) {
    if (all_zero(part.factor)) continue;
    const auto radius = radii(part.form);
    for (std::size_t i = 0; i < offset.size(); ++i) {
      const double factor = part.factor[i];
      if (factor == 0.0) continue;
      out.center[i] += factor * part.form.center[i];
      out.slack[i] = core::add_up(out.slack[i], core::multiply_up(std::abs(factor), part.form.slack[i]));
      error[i] += std::abs(factor) * core::next_up(radius[i] + std::abs(part.form.center[i]));
      inexact[i] += std::abs(factor) == 1.0 ? 1.0 : 2.0;
    }
    for_each_row(part.form, out, [&, n = out.size()](double* target, const double* source) {
      const double* factor = part.factor.data();
      for (Index i = 0; i < n; ++i) target[i] += factor[i] * source[i];
    });
  }
  const double underflow = 8.0 * static_cast<double>(out.noises() + 1) * omega;
  for (std::size_t i = 0; i < offset.size(); ++i) {
    if (inexact[i] <= 1.0) continue;  // one value, taken as it is or negated
    out.slack[i] = core::add_up(out.slack[i], core::next_up(error[i] * 0x1p-49 + underflow));
  }
  return out;
}

Form add(const Form& a, const Form& b) {
  const std::vector<double> ones(a.center.size(), 1.0), zeros(a.center.size(), 0.0);
  if (is_zero(a)) return b;
  if (is_zero(b)) return a;
  return combine(std::vector<Part>{{a, ones}, {b, ones}}, zeros);
}

Form difference(const Form& a, const Form& b) {
  const std::vector<double> ones(a.center.size(), 1.0), minus(a.center.size(), -1.0), zeros(a.center.size(), 0.0);
  return combine(std::vector<Part>{{a, minus}, {b, ones}}, zeros);
}

Form average(const Form& form, const std::function<std::vector<double>(std::span<const double>, Index)>& apply,
             Index terms) {
  const auto radius = radii(form);
  const auto reached = apply(support(form, radius), 1);
  const double gamma = gamma_up(terms), underflow = static_cast<double>((form.noises() + 1) * (terms + 2)) * omega;
  std::vector<double> error(radius.size());
  for (std::size_t i = 0; i < error.size(); ++i) {
    const double size = core::next_up(radius[i] + std::abs(form.center[i]));
    error[i] = core::add_up(form.slack[i], core::multiply_up(gamma, size));
  }
  Form out{apply(form.center, 1), apply(error, 1), form.ids, {}};
  if (!form.ids.empty()) out.rows = apply(form.rows, form.noises());
  for (std::size_t i = 0; i < out.slack.size(); ++i) {
    out.slack[i] = reached[i] == 0.0 ? 0.0 : core::next_up(core::sum_up(out.slack[i], at(terms + 2)) + underflow);
  }
  return out;
}

Form gather(const Form& form, std::span<const Index> source, double fill) {
  Form out = empty_form(source.size(), form.ids);
  for (std::size_t i = 0; i < source.size(); ++i) {
    out.center[i] = source[i] < 0 ? fill : form.center[at(source[i])];
    out.slack[i] = source[i] < 0 ? 0.0 : form.slack[at(source[i])];
  }
  for_each_row(form, out, [&](double* target, const double* row) {
    for (std::size_t i = 0; i < source.size(); ++i) target[i] = source[i] < 0 ? 0.0 : row[source[i]];
  });
  return out;
}

Form choose(std::span<const Form* const> forms, std::span<const std::uint8_t> choice) {
  std::vector<NoiseId> ids;
  for (const Form* form : forms) ids = merged(ids, form->ids);
  Form out = empty_form(choice.size(), std::move(ids));
  for (std::size_t which = 0; which < forms.size(); ++which) {
    const Form& form = *forms[which];
    for (std::size_t i = 0; i < choice.size(); ++i) {
      if (choice[i] != which) continue;
      out.center[i] = form.center[i];
      out.slack[i] = form.slack[i];
    }
    for_each_row(form, out, [&](double* target, const double* row) {
      for (std::size_t i = 0; i < choice.size(); ++i) target[i] = choice[i] == which ? row[i] : target[i];
    });
  }
  return out;
}

namespace {

std::vector<double> row_sizes(const Form& form) {
  std::vector<double> sizes(form.ids.size());
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(form.rows)))
  for (Index g = 0; g < form.noises(); ++g) {
    double sum = 0.0;
    for (const double value : form.row(g)) sum += std::abs(value);
    sizes[at(g)] = sum;
  }
  return sizes;
}

/// Rows that are given up become slack; the others move together.
void keep_rows(Form& form, const std::vector<bool>& kept) {
  const std::size_t n = form.center.size();
  std::vector<double> lost(n, 0.0);
  std::size_t next = 0, dropped = 0;
  for (std::size_t g = 0; g < form.ids.size(); ++g) {
    const auto row = form.rows.begin() + static_cast<Index>(g * n);
    if (kept[g]) {
      if (next != g) std::copy_n(row, n, form.rows.begin() + static_cast<Index>(next * n));
      form.ids[next++] = form.ids[g];
    } else {
      ++dropped;
      for (std::size_t i = 0; i < n; ++i) lost[i] += std::abs(row[static_cast<Index>(i)]);
    }
  }
  form.ids.resize(next);
  form.rows.resize(next * n);
  for (std::size_t i = 0; i < n; ++i) {
    if (lost[i] > 0.0) form.slack[i] = core::add_up(form.slack[i], core::sum_up(lost[i], dropped));
  }
}

}  // namespace

void add_noises(Form& form, std::vector<Noise> noises, Index most) {
  form.radius.clear();
  std::erase_if(noises, [&](const Noise& noise) {
    if (std::isfinite(noise.coefficient)) return noise.coefficient == 0.0;
    form.slack[at(noise.element)] = infinity;
    return true;
  });
  std::sort(noises.begin(), noises.end(), [](const Noise& a, const Noise& b) { return a.id < b.id; });
  QUANTBOUND_ASSERT(form.ids.empty() || noises.empty() || form.ids.back() < noises.front().id, form.ids.size());
  std::vector<double> sizes = row_sizes(form);
  for (const Noise& noise : noises) sizes.push_back(std::abs(noise.coefficient));
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  std::vector<bool> kept(sizes.size(), false);
  for (std::size_t k = 0; k < std::min(order.size(), at(most)); ++k) kept[order[k]] = sizes[order[k]] != 0.0;
  const std::size_t old_rows = form.ids.size();
  keep_rows(form, kept);
  for (std::size_t k = 0; k < noises.size(); ++k) {
    if (kept[old_rows + k]) {
      form.ids.push_back(noises[k].id);
    } else {
      double& slack = form.slack[at(noises[k].element)];
      slack = core::add_up(slack, std::abs(noises[k].coefficient));
    }
  }
  form.rows.resize(form.ids.size() * form.center.size(), 0.0);
  std::size_t row = form.ids.size();
  for (std::size_t k = noises.size(); k-- > 0;) {
    if (kept[old_rows + k]) form.rows[--row * form.center.size() + at(noises[k].element)] = noises[k].coefficient;
  }
}

void replace_overflown(Form& form, const Box& box) {
  const auto radius = radii(form);
  for (std::size_t i = 0; i < form.center.size(); ++i) {
    const double size = std::abs(form.center[i]) + radius[i] + form.slack[i];
    if (std::isfinite(size)) continue;
    form.radius.clear();
    for (std::size_t g = 0; g < form.ids.size(); ++g) form.rows[g * form.center.size() + i] = 0.0;
    const Ball known = ball(box.low[i], box.high[i]);
    form.center[i] = known.center;
    form.slack[i] = known.radius;
  }
}

Ball ball(double low, double high) {
  if (low == high) return {low, 0.0};
  const double center = low / 2.0 + high / 2.0;
  if (!std::isfinite(low) || !std::isfinite(high)) return {0.0, infinity};
  return {center, core::next_up(std::max(high - center, center - low))};
}

}  // namespace quantbound::certify::detail
