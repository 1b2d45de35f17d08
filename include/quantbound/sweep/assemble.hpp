/// The ordered reduction: records in task order to the dataset of docs/design.md section 6. Everything is combined in
/// index order on one rank, so that equal studies give equal bytes whoever computed what: layer reports are folded
/// through the theories once a network's last record is in, deviations of sample blocks are put one after the other;
/// what does not fit into memory waits in a temporary file.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "quantbound/sweep/dataset.hpp"
#include "quantbound/sweep/plan.hpp"
#include "quantbound/sweep/record.hpp"

namespace quantbound::sweep {

namespace detail {
struct ObservationSummary;
}

/// A unit that failed, as /failures lists it.
struct FailedUnit {
  std::size_t task = 0;
  Index network = 0;
  Stage stage = Stage::norms;
  std::string message;
};

/// Why a method said nothing about a network, or about some of its configurations.
struct MethodNote {
  Index network = 0;
  certify::Method method = certify::Method::interval;
  std::string text;
};

class Assembler {
 public:
  /// The plan must outlive the assembler.
  explicit Assembler(const Plan& plan);
  ~Assembler();

  /// @pre tasks come in increasing order from 0, without gaps
  void add(std::size_t task, Record record);
  /// The dataset, with the wall times in /provenance and nothing else there. @pre every task was added
  Dataset finish();

  const std::vector<FailedUnit>& failures() const { return failures_; }
  /// By network and method.
  std::vector<MethodNote> notes() const;

 private:
  struct NetworkState;
  void add_unit(std::size_t task, const Unit& unit, UnitResult result);
  void close_network();
  void write_norms(const NetworkState& state);
  void write_bounds(const NetworkState& state);
  void write_theories(std::size_t pair, const std::map<std::string, bounds::TheoryResult>& results);
  /// Position of the unit's region and first configuration among all of them.
  std::size_t pair_of_region(const Unit& unit) const;
  void write_modules(const Unit& unit, const ReconstructResult& reconstructed);
  void write_certificates(const Unit& unit, const CertifyResult& certified);
  void write_observations(const NetworkState& state);
  void write_rankings(const observe::RankingCounts& counts, const SampleAxisEntry& entry, std::size_t at);
  void write_deviations(const detail::ObservationSummary& summary, std::size_t at);
  void write_layers(const detail::ObservationSummary& summary, std::size_t network, std::size_t configuration,
                    std::size_t samples);
  void write_per_sample(const detail::ObservationSummary& summary, std::size_t network, std::size_t configuration,
                        std::size_t samples);
  void add_times(Dataset& dataset) const;
  std::vector<double>& values(const std::string& name) { return values_.at(name); }
  std::size_t configuration_count() const { return plan_->configurations.size(); }

  const Plan* plan_;
  /// Of every network on the axes `layer`, `region`, `region_output` and `module`.
  std::vector<std::size_t> first_layer_, first_region_, first_output_, first_module_;
  std::vector<std::size_t> first_sample_;              ///< of every set on the axis `sample`
  std::size_t samples_ = 0;                            ///< length of that axis
  std::vector<std::string> method_notes_;              ///< network x method
  std::map<std::string, std::vector<double>> values_;  ///< every variable of the schema, row-major
  std::vector<FailedUnit> failures_;
  std::vector<double> task_seconds_, certify_seconds_;
  std::map<Stage, double> stage_seconds_;
  std::unique_ptr<NetworkState> current_;
  std::size_t tasks_seen_ = 0;
};

}  // namespace quantbound::sweep
