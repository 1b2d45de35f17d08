/// The stage `reconstruct`: that every other stage is about the weights that reconstruct() gives, that a stop and a
/// failure leave what they should, and what the result file says of modules.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/quantize.hpp"
#include "quantbound/reconstruct/capacity.hpp"
#include "quantbound/reconstruct/oscillation.hpp"
#include "quantbound/sweep/assemble.hpp"
#include "quantbound/sweep/task.hpp"

#include "../../../src/sweep/stored_pair.hpp"

namespace quantbound::sweep {
namespace {

using network::LayerParameters;

constexpr Index uniform = 6;

/// A network of four layers through all stages, in four quantizers and two numbers of bits. `keys` go to [reconstruct].
Plan plan_of(const std::string& keys = "iterations = 40\nbatch = 8\n") {
  const auto folder = std::filesystem::temp_directory_path() /
                      fmt::format("quantbound-reconstruct-stage-test-{}", ::getpid());  // tests run side by side
  std::filesystem::create_directories(folder);
  std::string images("\0\0\x08\x02\0\0\0\x20\0\0\0\x04", 12);  // idx: 32 x 4 bytes
  std::mt19937 random(5);
  for (int i = 0; i < 32 * 4; ++i) images.push_back(static_cast<char>(random() % 256));
  std::ofstream(folder / "x", std::ios::binary) << images;
  std::ofstream(folder / "s.toml")
      << "[study]\nname = \"r\"\n[[network]]\nfamily = \"mlp\"\ndepth = 4\nwidth = 6\ninputs = 4\noutputs = 2\n"
         "domain = { low = 0.0, high = 1.0 }\n[[samples]]\nname = \"fit\"\nimages = \"x\"\nscale = 255.0\n"
         "role = \"calibration\"\n[quantization]\nquantizer = [\"round\", \"floor\", \"cle_round\", \"brecq\"]\n"
         "granularity = \"channel\"\nbits = [3, 4]\n[reconstruct]\nsamples = \"fit\"\n"
      << keys
      << fmt::format(
             "[certify]\nmethod = [\"difference_interval\"]\n[observe]\nuniform = {}\nprecision = \"double\"\n"
             "attack = {{ starts = 2, steps = 3 }}\n",
             uniform);
  return make_plan(read_study(folder / "s.toml"));
}

std::vector<float> calibration(const Plan& plan) {
  const auto& planned = plan.networks[0];
  const auto values = planned.calibration->block(planned.graph.input_shape(), 0, planned.calibration->count());
  return {values.begin(), values.end()};
}

/// What the stage should make of a configuration, straight from the room.
reconstruct::Reconstruction expected(const Plan& plan, Index c) {
  const auto& quantizer = quantizer_of(plan.study, c);
  const auto& configuration = plan.configurations[static_cast<std::size_t>(c)];
  const auto inputs = calibration(plan);
  return reconstruct::reconstruct(load(plan.networks[0]), configuration, *module_method(quantizer),
                                  {inputs, plan.networks[0].calibration->count()},
                                  options_of(quantizer, plan.study.reconstruct, configuration.seed), {});
}

struct Pair {
  std::vector<LayerParameters> original, quantized;
};

/// f and f_q of a configuration, whether rounded or reconstructed.
Pair pair_of(const Plan& plan, Index c) {
  if (quantizer_of(plan.study, c).method) {
    auto made = expected(plan, c);
    return {std::move(made.original), std::move(made.quantized)};
  }
  const auto network = load(plan.networks[0]);
  return {network.layers, quantize::quantize_layers(network.layers, plan.configurations[static_cast<std::size_t>(c)])};
}

std::vector<Record> run_all(const Plan& plan, TaskRunner& runner) {
  std::vector<Record> records;
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) records.push_back(*runner.run(t));
  return records;
}

Dataset assembled(const Plan& plan, const std::vector<Record>& records) {
  Assembler assembler(plan);
  for (std::size_t t = 0; t < records.size(); ++t) assembler.add(t, records[t]);
  return assembler.finish();
}

const std::vector<double>& doubles(const Dataset& dataset, const char* name) {
  return std::get<std::vector<double>>(dataset.root.find_variable(name)->data);
}

class ReconstructStage : public ::testing::Test {
 protected:
  ReconstructStage() : plan_(plan_of()), runner_(plan_), records_(run_all(plan_, runner_)) {
    for (Index c = 0; c < std::ssize(plan_.configurations); ++c) pairs_.push_back(pair_of(plan_, c));
  }

  template <class Result, class Visit>
  void for_each(const Visit& visit) const {
    int found = 0;
    for (std::size_t t = 0; t < records_.size(); ++t) {
      for (std::size_t u = 0; u < records_[t].units.size(); ++u) {
        const auto& result = records_[t].units[u].result;
        if (const auto* failure = std::get_if<Failure>(&result)) ADD_FAILURE() << failure->message;
        if (!std::holds_alternative<Result>(result)) continue;
        ++found;
        visit(plan_.tasks[t].units[u], std::get<Result>(result));
      }
    }
    EXPECT_GT(found, 0);
  }
  const Pair& pair(Index c) const { return pairs_[static_cast<std::size_t>(c)]; }

  Plan plan_;
  TaskRunner runner_;
  std::vector<Record> records_;
  std::vector<Pair> pairs_;
};

TEST_F(ReconstructStage, ComesBeforeAllOthersAndMakesOneConfigurationPerTask) {
  std::vector<Index> configurations;
  bool others = false;
  for (const Task& task : plan_.tasks) {
    if (!reconstructs(task)) {
      others = true;
      for (const Unit& unit : task.units) EXPECT_NE(unit.stage, Stage::reconstruct);
      continue;
    }
    EXPECT_FALSE(others);
    ASSERT_EQ(task.units.size(), 1U);
    EXPECT_EQ(task.units[0].count, 1);
    configurations.push_back(task.units[0].first);
  }
  EXPECT_EQ(configurations, (std::vector<Index>{0, 1, 4, 5, 6, 7})) << "round is measured, floor has no modules";
}

TEST_F(ReconstructStage, EqualizationChangesTheLayersOfFButNotTheFunction) {
  const auto network = load(plan_.networks[0]);
  EXPECT_NE(pair(4).original[0].weights, network.layers[0].weights);
  EXPECT_EQ(pair(6).original[0].weights, network.layers[0].weights);
  const auto points = observe::uniform_points(plan_.networks[0].domain, 1, 0, 0, 5);
  EXPECT_EQ(network::forward(network.graph, network.layers, points, 5),
            network::forward(network.graph, pair(4).original, points, 5))
      << "powers of two";
}

TEST_F(ReconstructStage, NormsAreThoseOfThePair) {
  const auto shapes = bounds::layer_shapes(plan_.networks[0].graph);
  for_each<NormsResult>([&](const Unit& unit, const NormsResult& result) {
    for (Index l = unit.first; l < unit.first + unit.count; ++l) {
      const auto layer = static_cast<std::size_t>(l);
      const auto& report = result.layers[static_cast<std::size_t>(l - unit.first)];
      ASSERT_EQ(report.quantized.size(), plan_.configurations.size());
      for (Index c = 0; c < std::ssize(plan_.configurations); ++c) {
        const auto& [original, quantized] = pair(c);
        const auto norms = bounds::measure_original(original[layer], shapes[layer], l);
        const auto own =
            std::ranges::find_if(result.equalized, [&](const auto& e) { return e.configuration == c && e.layer == l; });
        EXPECT_EQ(own != result.equalized.end(), c == 4 || c == 5);
        EXPECT_EQ(own != result.equalized.end() ? own->norms : report.norms, norms);
        const auto wanted = bounds::measure_pair(original[layer], norms, quantized[layer], shapes[layer], l);
        const auto& found = report.quantized[static_cast<std::size_t>(c)];
        EXPECT_NEAR(found.delta_max, wanted.delta_max, 1e-12) << c;
        EXPECT_NEAR(found.delta_norm, wanted.delta_norm, 1e-12);
        EXPECT_NEAR(found.augmented, wanted.augmented, 1e-12);
        EXPECT_LE(found.delta_max, found.step_max) << "no weight moves by more than a step";
      }
    }
  });
}

TEST_F(ReconstructStage, BoundsFromWeightsAreThoseOfThePair) {
  const auto& planned = plan_.networks[0];
  const auto domain = bounds::make_domain(planned.graph, planned.domain);
  for_each<WeightBoundsResult>([&](const Unit& unit, const WeightBoundsResult& result) {
    for (std::size_t i = 0; i < result.configurations.size(); ++i) {
      const auto& [original, quantized] = pair(unit.first + static_cast<Index>(i));
      for (const NamedBound& bound : result.configurations[i]) {
        const bounds::WeightInput input{planned.graph, domain, original, quantized};
        EXPECT_EQ(bound.result.bound, evaluate(*bounds::find_theory(bound.theory), input).bound) << bound.theory;
      }
    }
  });
}

TEST_F(ReconstructStage, CertificatesAndAttacksAreOnThePair) {
  const auto& planned = plan_.networks[0];
  const auto f = load(planned);
  for_each<CertifyResult>([&](const Unit& unit, const CertifyResult& result) {
    for (std::size_t i = 0; i < result.configurations.size(); ++i) {
      const auto& [original, quantized] = pair(unit.first + static_cast<Index>(i));
      const auto wanted =
          certify::certify(certify::Method::difference_interval,
                           certify::make_pair(f.name, f.graph, original, quantized), planned.domain, {});
      EXPECT_EQ(result.configurations[i].certificate.difference.low, wanted.difference.low);
      EXPECT_EQ(result.configurations[i].certificate.difference.high, wanted.difference.high);
    }
  });
  for_each<AttackResult>([&](const Unit& unit, const AttackResult& result) {
    for (std::size_t i = 0; i < result.deviation.size(); ++i) EXPECT_GT(result.deviation[i], 0.0) << unit.first;
  });
}

TEST_F(ReconstructStage, ObservationsAreOfThePair) {
  const auto& planned = plan_.networks[0];
  for_each<ObserveResult>([&](const Unit& unit, const ObserveResult& result) {
    const auto points = observe::uniform_points(planned.domain, plan_.study.seed, core::hash64(planned.study.label),
                                                unit.first_sample, unit.sample_count);
    const auto samples = static_cast<std::size_t>(unit.sample_count);
    for (Index c = unit.first; c < unit.first + unit.count; ++c) {
      const auto y = network::forward(planned.graph, pair(c).original, points, unit.sample_count);
      const auto y_q = network::forward(planned.graph, pair(c).quantized, points, unit.sample_count);
      std::vector<double> deviation(samples, 0.0);
      for (std::size_t i = 0; i < y.size(); ++i) {
        double& largest = deviation[i / (y.size() / samples)];
        largest = std::fmax(largest, std::abs(y_q[i] - y[i]));
      }
      for (std::size_t i = 0; i < samples; ++i) {
        EXPECT_NEAR(result.inside.deviation[static_cast<std::size_t>(c - unit.first) * samples + i], deviation[i],
                    1e-12);
      }
    }
  });
}

TEST_F(ReconstructStage, TheLayerTermsOfAnEqualizedPairAddUpToItsDeviation) {
  const auto dataset = assembled(plan_, records_);
  const std::size_t configurations = plan_.configurations.size(), last = 3;
  for (std::size_t c = 0; c < configurations; ++c) {
    const double share = doubles(dataset, "error_share")[last * configurations + c];
    EXPECT_GT(share, 0.0) << c;
    EXPECT_LE(share, 1.0) << c;
  }
}

TEST_F(ReconstructStage, TheResultSaysWhatBecameOfTheModules) {
  const auto dataset = assembled(plan_, records_);
  const auto& losses = doubles(dataset, "module_loss");
  const auto& round = doubles(dataset, "module_loss_round");
  const std::size_t configurations = plan_.configurations.size();
  ASSERT_EQ(losses.size(), 4 * configurations) << "the blocks of a chain are its layers: listed once";
  const auto bits = [&](std::size_t c) { return std::vector<int>(4, plan_.configurations[c].bits); };
  for (std::size_t c = 0; c < configurations; ++c) {
    const auto place = static_cast<Index>(c);
    if (!module_method(quantizer_of(plan_.study, place))) {
      for (std::size_t m = 0; m < 4; ++m) EXPECT_TRUE(std::isnan(losses[m * configurations + c]));
      EXPECT_TRUE(std::isnan(doubles(dataset, "oscillation_max")[c]));
      continue;
    }
    const auto made = expected(plan_, place);
    std::vector<double> own;
    for (std::size_t m = 0; m < 4; ++m) {
      const std::size_t at = m * configurations + c;
      own.push_back(made.modules[m].loss);
      EXPECT_EQ(losses[at], made.modules[m].loss);
      EXPECT_EQ(round[at], made.modules[m].loss_round);
      EXPECT_LE(losses[at], round[at]);
      EXPECT_EQ(doubles(dataset, "module_capacity")[at],
                reconstruct::module_capacity(plan_.networks[0].graph, made.modules[m].module, bits(c)));
      EXPECT_EQ(std::get<std::vector<std::int64_t>>(dataset.root.find_variable("module_joined")->data)[at], 1);
    }
    EXPECT_EQ(doubles(dataset, "oscillation_max")[c], reconstruct::oscillation(own).largest);
    EXPECT_EQ(doubles(dataset, "oscillation_total")[c], reconstruct::oscillation(own).total);
  }
}

TEST_F(ReconstructStage, RecordsOfModulesComeBackFromBytes) {
  for (const Record& record : records_) {
    const Record back = record_from_bytes(to_bytes(record));
    for (std::size_t u = 0; u < record.units.size(); ++u) {
      const auto* result = std::get_if<ReconstructResult>(&record.units[u].result);
      if (result == nullptr) continue;
      EXPECT_EQ(std::get<ReconstructResult>(back.units[u].result).modules, result->modules);
    }
    EXPECT_EQ(to_bytes(back), to_bytes(record));
  }
}

TEST(ReconstructStageOfAPlan, JoinedModulesShareTheirLoss) {
  const Plan plan = plan_of("iterations = 20\nbatch = 8\nruns = [1, 2, 1]\n");
  TaskRunner runner(plan);
  const auto dataset = assembled(plan, run_all(plan, runner));
  const auto& losses = doubles(dataset, "module_loss");
  const std::size_t configurations = plan.configurations.size(), brecq = 6;
  EXPECT_EQ(losses[1 * configurations + brecq], losses[2 * configurations + brecq]);
  EXPECT_NE(losses[0 * configurations + brecq], losses[1 * configurations + brecq]);
  const auto& joined = std::get<std::vector<std::int64_t>>(dataset.root.find_variable("module_joined")->data);
  for (const auto& [module, wanted] : std::vector<std::pair<std::size_t, int>>{{0, 1}, {1, 2}, {2, 2}, {3, 1}})
    EXPECT_EQ(joined[module * configurations + brecq], wanted);
}

/// Ends after so many questions, and counts what was put on it.
struct CountingShelf final : Shelf {
  MemoryShelf pieces;
  int states = 0;
  std::optional<core::Bytes> read(const std::string& name) const override { return pieces.read(name); }
  void write(const std::string& name, std::span<const std::byte> bytes) override {
    states += name.ends_with(".state") ? 1 : 0;
    pieces.write(name, bytes);
  }
  void remove(const std::string& name) override { pieces.remove(name); }
};

TEST(ReconstructStageOfAPlan, AStoppedReconstructionIsContinuedAndGivesTheSameBytes) {
  const Plan plan = plan_of();
  const std::size_t task = 4;  // brecq, 3 bits
  ASSERT_EQ(label(plan.study, plan.tasks[task].units[0].first), "brecq/channel/3/seed 1");
  MemoryShelf whole;
  const auto record = TaskRunner(plan, whole, {}).run(task);
  CountingShelf shelf;
  int runs = 0, asked = 0;
  std::optional<Record> last;
  for (; !last && runs < 1000; ++runs) {
    asked = 0;
    TaskRunner runner(plan, shelf, {.stop = [&] { return ++asked > 7; }, .progress = {}, .save_seconds = 1e9});
    last = runner.run(task);
    if (!last) {
      EXPECT_TRUE(shelf.read(detail::state_name(0, 6)).has_value()) << runs;
      EXPECT_FALSE(shelf.read(detail::pair_name(0, 6)).has_value()) << runs;
    }
  }
  EXPECT_GT(runs, 3);
  ASSERT_TRUE(last);
  EXPECT_EQ(*shelf.read(detail::pair_name(0, 6)), *whole.read(detail::pair_name(0, 6)));
  EXPECT_FALSE(shelf.read(detail::state_name(0, 6)).has_value());
  EXPECT_EQ(std::get<ReconstructResult>(last->units[0].result).modules,
            std::get<ReconstructResult>(record->units[0].result).modules);
}

TEST(ReconstructStageOfAPlan, WhatIsOnTheShelfIsNotMadeAgain) {
  const Plan plan = plan_of();
  MemoryShelf shelf;
  const auto first = TaskRunner(plan, shelf, {}).run(4);
  int heard = 0;
  TaskRunner again(plan, shelf, {.stop = {}, .progress = [&](const ReconstructionProgress&) { ++heard; }});
  const auto second = again.run(4);
  EXPECT_EQ(heard, 0);
  EXPECT_EQ(std::get<ReconstructResult>(second->units[0].result).modules,
            std::get<ReconstructResult>(first->units[0].result).modules);
  EXPECT_FALSE(weights_are_missing(plan, shelf, plan.tasks[4]));
  EXPECT_TRUE(weights_are_missing(plan, shelf, plan.tasks[5]));
  EXPECT_FALSE(weights_are_missing(plan, shelf, plan.tasks[0])) << "round leaves none";
}

TEST(ReconstructStageOfAPlan, ProgressNamesTheModuleAndItsLoss) {
  const Plan plan = plan_of();
  MemoryShelf shelf;
  std::vector<Index> modules;
  TaskRunner runner(plan, shelf, {.stop = {}, .progress = [&](const ReconstructionProgress& at) {
                                    EXPECT_EQ(at.configuration, 6);
                                    EXPECT_EQ(at.module.modules, 4);
                                    EXPECT_GE(at.module.loss, 0.0);
                                    modules.push_back(at.module.module);
                                  }});
  runner.run(4);
  EXPECT_TRUE(std::ranges::is_sorted(modules));
  EXPECT_EQ(modules.back(), 3);
}

TEST(ReconstructStageOfAPlan, AFailedReconstructionLeavesOnlyItsOwnConfigurationUnknown) {
  const Plan plan = plan_of();
  TaskRunner sound(plan);
  const auto whole = assembled(plan, run_all(plan, sound));
  MemoryShelf shelf;
  shelf.write(detail::pair_name(0, 6), detail::to_bytes(detail::StoredPair{.failure = "a loss is not finite"}));
  TaskRunner runner(plan, shelf, {});
  Assembler assembler(plan);
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) assembler.add(t, *runner.run(t));
  const auto dataset = assembler.finish();

  ASSERT_EQ(assembler.failures().size(), 1U);
  EXPECT_EQ(assembler.failures()[0].message, "a loss is not finite");
  EXPECT_EQ(assembler.failures()[0].stage, Stage::reconstruct);
  const auto status = std::get<std::vector<std::int8_t>>(dataset.root.find_variable("status")->data);
  for (const char* name : {"r_max", "log10_bound", "certified", "attacked", "observed_max", "module_loss", "delta_norm",
                           "observed_layer_max", "oscillation_total"}) {
    const auto& values = doubles(dataset, name);
    const auto& expected_values = doubles(whole, name);
    const std::size_t row = std::string(name) == "log10_bound" ? plan.study.theories.size() : 1;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t c = i / row % plan.configurations.size();
      EXPECT_EQ(status[c], c == 6 ? 2 : 1);
      if (c == 6) {
        EXPECT_TRUE(std::isnan(values[i])) << name;
      } else {
        EXPECT_TRUE(values[i] == expected_values[i] || (std::isnan(values[i]) && std::isnan(expected_values[i])))
            << name << ' ' << c;
      }
    }
  }
}

/// Loses everything.
struct BrokenShelf final : Shelf {
  std::optional<core::Bytes> read(const std::string&) const override { return std::nullopt; }
  void write(const std::string& name, std::span<const std::byte>) override {
    throw core::IoError("no space left", name);
  }
  void remove(const std::string&) override {}
};

TEST(ReconstructStageOfAPlan, AShelfThatFailsIsNoFailureOfTheTask) {
  const Plan plan = plan_of();
  BrokenShelf shelf;
  TaskRunner runner(plan, shelf, {});
  EXPECT_THROW(runner.run(4), core::IoError) << "cannot keep";
  const auto norms = static_cast<std::size_t>(
      std::ranges::find_if(plan.tasks, [](const Task& task) { return !reconstructs(task); }) - plan.tasks.begin());
  EXPECT_THROW(runner.run(norms), core::IoError) << "cannot read";
}

TEST(ReconstructStageOfAPlan, OptionsThatDoNotFitTheNetworkAreRefusedBeforeAnythingIsComputed) {
  const auto error_of = [](const std::string& keys) {
    try {
      plan_of(keys);
    } catch (const core::InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(error_of("batch = 64\n"), HasSubstr("a batch of 64 cannot be drawn from 32 calibration samples"));
  EXPECT_THAT(error_of("batch = 8\nruns = [2, 1]\n"), HasSubstr("have 3 modules together, network 'mlp"));
  EXPECT_THAT(error_of("batch = 8\nmodules = [[\"nowhere\", \"nowhere\"]]\n"), HasSubstr("'nowhere'"));
}

}  // namespace
}  // namespace quantbound::sweep
