/// `edge_bits`: that every stage of a study is about the same f_q, whose first and last layers have other bits than the
/// axis says. f_q is quantized here layer by layer, without at_layer.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "quantbound/core/hash.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/quantize.hpp"
#include "quantbound/sweep/assemble.hpp"
#include "quantbound/sweep/task.hpp"

namespace quantbound::sweep {
namespace {

using network::LayerParameters;
using quantize::Configuration;

constexpr int inner = 3, edges = 7;
constexpr Index uniform = 6;

/// One network of `depth` layers through all stages, in two configurations.
Plan plan_of(int depth, const std::string& key) {
  const auto path =
      std::filesystem::temp_directory_path() / ("quantbound-edge-bits-test-" + std::to_string(::getpid()) + ".toml");
  std::ofstream(path) << fmt::format(
      "[study]\nname = \"edges\"\n[[network]]\nfamily = \"mlp\"\ndepth = {}\nwidth = 6\ninputs = 4\noutputs = 2\n"
      "domain = {{ low = -1.0, high = 1.0 }}\n"
      "[quantization]\nquantizer = [\"round\", \"stochastic\"]\ngranularity = \"channel\"\nbits = {}\n{}\n"
      "[certify]\nmethod = [\"difference_interval\"]\n"
      "[observe]\nuniform = {}\nprecision = \"double\"\nattack = {{ starts = 2, steps = 3 }}\n",
      depth, inner, key, uniform);
  Plan plan = make_plan(read_study(path));
  std::filesystem::remove(path);
  return plan;
}

Configuration with_bits(Configuration configuration, Index layer, Index layers) {
  configuration.bits = layer == 0 || layer == layers - 1 ? edges : inner;
  configuration.edge_bits = 0;
  return configuration;
}

network::Network quantized(const network::Network& f, const Configuration& configuration) {
  network::Network fq = f;
  const auto layers = std::ssize(f.layers);
  for (Index l = 0; l < layers; ++l) {
    auto& layer = fq.layers[static_cast<std::size_t>(l)];
    layer = quantize::quantize_layer(layer, l, with_bits(configuration, l, layers));
  }
  return fq;
}

/// What the stages say of the only network, in the order of the plan's units.
class EdgeBits : public ::testing::TestWithParam<int> {
 protected:
  EdgeBits() : plan_(plan_of(GetParam(), fmt::format("edge_bits = {}", edges))), f_(load(plan_.networks.front())) {
    for (const Configuration& configuration : plan_.configurations) fq_.push_back(quantized(f_, configuration));
    TaskRunner runner(plan_);
    for (std::size_t t = 0; t < plan_.tasks.size(); ++t) {
      Record record = *runner.run(t);
      for (std::size_t u = 0; u < record.units.size(); ++u) {
        units_.push_back(plan_.tasks[t].units[u]);
        results_.push_back(std::move(record.units[u]));
      }
    }
  }

  /// Calls visit(unit, result) with every result of this kind; there is at least one.
  template <class Result, class Visit>
  void for_each(const Visit& visit) const {
    int found = 0;
    for (std::size_t u = 0; u < units_.size(); ++u) {
      if (const auto* failure = std::get_if<Failure>(&results_[u].result)) ADD_FAILURE() << failure->message;
      if (const auto* result = std::get_if<Result>(&results_[u].result)) {
        ++found;
        visit(units_[u], *result);
      }
    }
    EXPECT_GT(found, 0);
  }

  const PlannedNetwork& planned() const { return plan_.networks.front(); }

  Plan plan_;
  network::Network f_;
  std::vector<network::Network> fq_;  ///< per configuration
  std::vector<Unit> units_;
  std::vector<UnitResult> results_;
};

TEST_P(EdgeBits, NormsAreThoseOfTheOneQuantizedNetwork) {
  const auto shapes = bounds::layer_shapes(f_.graph);
  for_each<NormsResult>([&](const Unit& unit, const NormsResult& result) {
    for (Index l = unit.first; l < unit.first + unit.count; ++l) {
      const auto layer = static_cast<std::size_t>(l);
      std::vector<Configuration> configurations;
      for (const auto& c : plan_.configurations) configurations.push_back(with_bits(c, l, std::ssize(f_.layers)));
      EXPECT_EQ(result.layers[static_cast<std::size_t>(l - unit.first)],
                bounds::measure_layer(f_.layers[layer], shapes[layer], l, configurations));
    }
  });
}

TEST_P(EdgeBits, BoundsFromWeightsAreThoseOfTheOneQuantizedNetwork) {
  const auto domain = bounds::make_domain(f_.graph, planned().domain);
  for_each<WeightBoundsResult>([&](const Unit& unit, const WeightBoundsResult& result) {
    for (std::size_t i = 0; i < result.configurations.size(); ++i) {
      const auto& fq = fq_[static_cast<std::size_t>(unit.first) + i];
      ASSERT_FALSE(result.configurations[i].empty());
      for (const NamedBound& bound : result.configurations[i]) {
        const bounds::WeightInput input{f_.graph, domain, f_.layers, fq.layers};
        EXPECT_EQ(bound.result.bound, evaluate(*bounds::find_theory(bound.theory), input).bound) << bound.theory;
      }
    }
  });
}

TEST_P(EdgeBits, CertificatesAreThoseOfTheOneQuantizedNetwork) {
  for_each<CertifyResult>([&](const Unit& unit, const CertifyResult& result) {
    for (std::size_t i = 0; i < result.configurations.size(); ++i) {
      const auto pair = certify::make_pair(f_, fq_[static_cast<std::size_t>(unit.first) + i]);
      const auto expected = certify::certify(certify::Method::difference_interval, pair, planned().domain, {});
      EXPECT_EQ(result.configurations[i].certificate.difference.low, expected.difference.low);
      EXPECT_EQ(result.configurations[i].certificate.difference.high, expected.difference.high);
    }
  });
}

TEST_P(EdgeBits, AttacksAreOnTheOneQuantizedNetwork) {
  for_each<AttackResult>([&](const Unit& unit, const AttackResult& result) {
    observe::AttackOptions options = *plan_.study.attack;
    options.seed = core::hash64(fmt::format("{} attack {} {}", plan_.study.seed, planned().study.label, unit.region));
    for (std::size_t i = 0; i < result.deviation.size(); ++i) {
      const auto& fq = fq_[static_cast<std::size_t>(unit.first) + i];
      EXPECT_EQ(result.deviation[i],
                observe::attack(f_.graph, f_.layers, fq.layers, planned().domain, options).deviation);
    }
  });
}

TEST_P(EdgeBits, ObservationsAreOfTheOneQuantizedNetwork) {
  for_each<ObserveResult>([&](const Unit& unit, const ObserveResult& result) {
    const auto points = observe::uniform_points(planned().domain, plan_.study.seed, core::hash64(planned().study.label),
                                                unit.first_sample, unit.sample_count);
    const auto y = network::forward(f_.graph, f_.layers, points, unit.sample_count);
    const std::size_t outputs = y.size() / static_cast<std::size_t>(unit.sample_count);
    ASSERT_EQ(unit.count, std::ssize(fq_));
    for (std::size_t c = 0; c < fq_.size(); ++c) {
      const auto y_q = network::forward(f_.graph, fq_[c].layers, points, unit.sample_count);
      std::vector<double> deviation(static_cast<std::size_t>(unit.sample_count), 0.0);
      for (std::size_t i = 0; i < y.size(); ++i)
        deviation[i / outputs] = std::fmax(deviation[i / outputs], std::abs(y_q[i] - y[i]));
      for (std::size_t i = 0; i < deviation.size(); ++i)
        EXPECT_NEAR(result.inside.deviation[c * deviation.size() + i], deviation[i], 1e-12);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Depths, EdgeBits, ::testing::Values(2, 3, 5),
                         [](const auto& tested) { return "depth_" + std::to_string(tested.param); });

std::vector<double> delta_norms(const Plan& plan) {
  TaskRunner runner(plan);
  Assembler assembler(plan);
  for (std::size_t t = 0; t < plan.tasks.size(); ++t) assembler.add(t, *runner.run(t));
  const Dataset dataset = assembler.finish();
  return std::get<std::vector<double>>(dataset.root.find_variable("delta_norm")->data);
}

TEST(EdgeBitsOfAStudy, ChangeTheFirstAndTheLastLayerAndNoOther) {
  const auto plain = delta_norms(plan_of(5, "")), finer = delta_norms(plan_of(5, "edge_bits = 7"));
  constexpr std::size_t layers = 5, configurations = 2;
  ASSERT_EQ(plain.size(), layers * configurations);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const std::size_t layer = i / configurations;
    if (layer == 0 || layer == layers - 1) {
      EXPECT_LT(finer[i], plain[i] / 8.0) << "layer " << layer;
    } else {
      EXPECT_EQ(finer[i], plain[i]) << "layer " << layer;
    }
  }
}

TEST(EdgeBitsOfAStudy, AreARootAttributeAndPartOfItsHash) {
  const Plan plain = plan_of(2, ""), finer = plan_of(2, "edge_bits = 7");
  EXPECT_NE(plain.hash, finer.hash);
  Assembler assembler(finer);
  for (std::size_t t = 0; t < finer.tasks.size(); ++t) assembler.add(t, *TaskRunner(finer).run(t));
  const Dataset dataset = assembler.finish();
  const auto attribute = std::ranges::find(dataset.root.attributes, "edge_bits", &Attribute::name);
  ASSERT_NE(attribute, dataset.root.attributes.end());
  EXPECT_EQ(std::get<std::int64_t>(attribute->value), 7);
}

}  // namespace
}  // namespace quantbound::sweep
