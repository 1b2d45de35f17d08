/// The plan: a study expanded into networks, configurations and tasks with their estimated costs. It depends on the
/// study and its files alone, never on ranks or threads, so a sweep may be resumed on any machine. A task is a list of
/// units of one network: norms of some layers, bounds that read the weights for some configurations, certificates of
/// one method or attacks in one region for some configurations, observation of some samples for some configurations. A
/// reconstruction is one unit and a task by itself; what works with its weights comes after all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/reconstruct/module.hpp"
#include "quantbound/sweep/study.hpp"

namespace quantbound::sweep {

using network::Box;

enum class Stage { reconstruct, norms, weight_bounds, certify, attack, observe };
std::string_view to_string(Stage stage);

/// A piece of work. norms: layers first .. first+count, every configuration. All others: configurations first ..
/// first+count; reconstruct: one of them; certify: in one region, by one method; attack: in one region, one group of
/// starts; observe: on a block of sample set `samples` (position on the axis).
struct Unit {
  Stage stage = Stage::norms;
  Index first = 0, count = 0;
  Index samples = 0, first_sample = 0, sample_count = 0;
  Index region = 0;             ///< of the network
  Index method = 0;             ///< position in Study::methods
  Index group = 0, groups = 1;  ///< of the starts of an attack
  double cost = 0.0;            ///< seconds on one core, estimated
};

struct Task {
  Index network = 0;
  std::vector<Unit> units;
  double cost = 0.0;
};

/// What the `layer` axis says of a weight layer.
struct LayerInfo {
  std::string name, op;
  Index fan_in = 0;        ///< p^2 c / groups
  Index fan_in_dense = 0;  ///< p^2 c, as the paper counts
  Index parameters = 0;
};

/// One position of the `module` axis.
struct PlannedModule {
  std::string kind;    ///< layer, block, stage, or named: by the study
  Index position = 0;  ///< among the modules of its kind
  reconstruct::Module module;
};

struct PlannedNetwork {
  StudyNetwork study;
  network::Graph graph;
  std::vector<std::string> notes;
  std::vector<LayerInfo> layers;
  /// Of all kinds that the study's methods work on, kind after kind, layers first; empty without a method.
  std::vector<PlannedModule> modules;
  std::optional<observe::SampleSet> calibration;  ///< what methods are fitted to
  std::vector<Box> regions;                       ///< the pieces of the domain: one box, or one ball per sample
  std::vector<std::string> region_names;
  Box domain;  ///< their hull
  std::string sha256;
  Index parameters = 0;
  Index multiply_adds = 0;  ///< of one forward pass
  Index outputs() const { return tensor::elements(graph.output_shape()); }
};

/// One position of the `samples` axis: the uniform points, or a sample set of the study.
struct SampleAxisEntry {
  std::string name;
  std::optional<observe::SampleSet> set;  ///< none: uniform points
  Index count = 0;

  bool has_labels() const { return set && set->has_labels(); }
};

struct Plan {
  Study study;
  std::vector<quantize::Configuration> configurations;
  std::vector<PlannedNetwork> networks;
  std::vector<SampleAxisEntry> samples;
  std::vector<Task> tasks;
  std::string hash;  ///< of the resolved study, its input files and the schema: equal hashes mean equal results
};

/// Reads every network and sample file, resolves domains, and cuts the work. Throws core::InputError.
Plan make_plan(Study study);

/// The network with its weights, as the plan describes it.
network::Network load(const PlannedNetwork& network);
/// Bytes of a rank with so many threads while it works on the network, estimated: the program, the weights, and the
/// largest of what observation, what the costliest method of [certify], and what a reconstruction takes.
double memory(const Plan& plan, const PlannedNetwork& network, int threads);
/// Whether the task makes the weights that tasks of other stages read: all of these come before all of those.
bool reconstructs(const Task& task);
/// Whether sample set `samples` is observed on a network.
bool observes(const Plan& plan, const PlannedNetwork& network, Index samples);

}  // namespace quantbound::sweep
