/// What `certify` is asked: which pair, on which region, what is to be proved, how, and where results go. Everything
/// that contradicts itself is refused here, before anything is computed.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "quantbound/certify/branch_and_bound.hpp"
#include "quantbound/certify/method.hpp"
#include "quantbound/certify/pair.hpp"
#include "quantbound/observe/attack.hpp"

#include "verb.hpp"

namespace quantbound::apps {

struct CertifySettings {
  std::vector<certify::Method> methods;  ///< in the order of the table; empty: those that fit
  certify::MethodOptions limits;
  certify::Split split = certify::Split::automatic;
  std::uint64_t seed = 1;
  observe::AttackOptions attack;  ///< starts 0: none
  std::optional<std::filesystem::path> merged, trace, checkpoint;
  bool resume = false;
  bool json = false;
  std::optional<int> threads;

  bool searches() const;  ///< whether branch and bound is among the methods
};

struct Problem {
  certify::Pair pair;
  std::string description;  ///< of f_q: "round/tensor/8", or the name of the other file
  network::Box region;
  std::optional<network::Box> target;  ///< f_q - f is to stay in here: of --threshold or of a property
  std::vector<std::string> notes;
};

options::options_description certify_options();
/// Throws core::InputError for options that are wrong or contradict each other.
CertifySettings read_certify_settings(const options::variables_map& values);
/// Reads the files. Throws core::InputError.
Problem read_problem(const options::variables_map& values, const CertifySettings& settings);
/// Chooses the methods where none are asked for, and refuses those that cannot be applied where they are.
void settle_methods(CertifySettings& settings, const Problem& problem);
/// Whether the outputs can be written, and --resume and what is there agree.
void check_outputs(const CertifySettings& settings);
/// Of everything that a saved search depends on.
std::string problem_hash(const Problem& problem, const CertifySettings& settings);

}  // namespace quantbound::apps
