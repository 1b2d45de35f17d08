#include "options.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::reconstruct {

namespace {

constexpr std::array methods{Method::round, Method::gptq,  Method::adaround,  Method::brecq,
                             Method::qdrop, Method::mrecg, Method::mrecg_loss};

void require(bool holds, const std::string& message, std::string_view option) {
  if (!holds) throw core::InputError(message, fmt::format("reconstruct.{}", option));
}

void check_numbers(const Options& options, Index samples) {
  require(options.iterations >= 1, "at least one iteration is needed", "iterations");
  require(1 <= options.batch && options.batch <= samples,
          fmt::format("a batch of {} cannot be drawn from {} calibration samples; lower it or give more samples",
                      options.batch, samples),
          "batch");
  require(options.learning_rate > 0.0 && std::isfinite(options.learning_rate), "it must be positive", "learning_rate");
  require(options.regularization >= 0.0 && std::isfinite(options.regularization), "it must not be negative",
          "regularization");
  require(0.0 <= options.warm_up && options.warm_up < 1.0, "it must be at least 0 and below 1", "warm_up");
  require(std::isfinite(options.beta_first) && options.beta_first >= options.beta_last && options.beta_last > 1.0,
          "beta falls from beta_first to beta_last, which is above 1", "beta");
  require(0.0 <= options.drop && options.drop <= 1.0, "it must be a probability", "drop");
}

}  // namespace

std::string_view to_string(Method method) {
  switch (method) {
    case Method::round:
      return "round";
    case Method::gptq:
      return "gptq";
    case Method::adaround:
      return "adaround";
    case Method::brecq:
      return "brecq";
    case Method::qdrop:
      return "qdrop";
    case Method::mrecg:
      return "mrecg";
    case Method::mrecg_loss:
      return "mrecg_loss";
  }
  return "?";
}

std::optional<Method> parse_method(std::string_view text) {
  for (const Method method : methods) {
    if (to_string(method) == text) return method;
  }
  return std::nullopt;
}

void check_options(Method method, Index samples, const Options& options) {
  detail::check(method, {.inputs = {}, .count = samples}, options);
}

namespace detail {

bool is_mrecg(Method method) { return method == Method::mrecg || method == Method::mrecg_loss; }

bool goes_by_layers(Method method) { return method == Method::gptq || method == Method::adaround; }

bool is_trained(Method method) { return method != Method::round && method != Method::gptq; }

Method objective_of(Method method, const Options& options) { return is_mrecg(method) ? options.joint : method; }

bool uses_moments(Method method, const Options& options) {
  if (method == Method::gptq) return true;
  return is_trained(method) && options.quadratic == QuadraticLoss::moments && options.weighting == Weighting::none &&
         objective_of(method, options) != Method::qdrop;
}

void check(Method method, const Calibration& calibration, const Options& options) {
  if (calibration.count < 1) throw core::InputError("there are no calibration samples; give some", "reconstruct");
  if (is_trained(method)) check_numbers(options, calibration.count);
  if (method == Method::gptq) {
    require(options.damping > 0.0 && std::isfinite(options.damping), "it must be positive", "damping");
  }
  const bool joins = is_trained(method) && !goes_by_layers(method);
  require(options.runs.empty() || joins, "only brecq, qdrop and mrecg join modules; leave the runs out", "runs");
  require(std::ranges::all_of(options.runs, [](Index run) { return run >= 1; }), "a run has at least one module",
          "runs");
  require(options.named.empty() || !goes_by_layers(method),
          fmt::format("{} goes layer by layer; leave the named modules out", to_string(method)), "modules");
  require(options.weighting == Weighting::none || joins,
          fmt::format("{} does not weight; brecq, qdrop and mrecg do", to_string(method)), "weighting");
  require(options.runs.empty() || method != Method::mrecg_loss,
          "mrecg_loss chooses its runs by losses; leave them out, or take mrecg", "runs");
  require(options.joining == Joining::by_method || (joins && method != Method::mrecg_loss),
          fmt::format("{} does not join modules at random; brecq, qdrop and mrecg can", to_string(method)), "runs");
  require(options.joining == Joining::by_method || options.runs.empty(), "runs are given or random, not both", "runs");
  require(!options.bias_absorption || (*options.bias_absorption >= 0.0 && std::isfinite(*options.bias_absorption)),
          "it must not be negative", "bias_absorption");
  require(options.joins >= 0, "it must not be negative", "joins");
  require(options.join_penalty >= 0.0 && std::isfinite(options.join_penalty), "it must not be negative",
          "join_penalty");
  require(options.longest_run == 0 || options.longest_run >= 2, "joined modules are two or more", "longest_run");
  require(options.capacity.stride_factor > 0.0 && std::isfinite(options.capacity.stride_factor), "it must be positive",
          "stride_factor");
  require(options.joint == Method::brecq || options.joint == Method::qdrop,
          "the modules that mrecg joins are reconstructed by brecq or qdrop", "joint");
}

}  // namespace detail
}  // namespace quantbound::reconstruct
