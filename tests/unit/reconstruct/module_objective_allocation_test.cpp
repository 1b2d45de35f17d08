// What an evaluation of the objective allocates.
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/reconstruct/module_objective.hpp"

#include "../count_allocations.hpp"

namespace quantbound::reconstruct {
namespace {

using quantbound::testing::counting;
using quantbound::testing::knows_onednn;
using quantbound::testing::largest;
using quantbound::testing::ours;

TEST(ModuleObjectiveAllocation, NothingOfOursAfterTheFirstEvaluation) {
  if (!knows_onednn()) GTEST_SKIP() << "oneDNN is linked statically: its allocations cannot be told from ours";
  constexpr Index batch = 8;
  const tensor::Shape shape{16, 10, 10};
  const tensor::Convolution geometry{
      16, 10, 10,
      16, 1,  {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}};
  network::Graph graph;
  graph.nodes = {{"in", network::Input{}, {}, shape},
                 {"conv1", network::Convolution{0, geometry}, {0}, shape},
                 {"relu", network::Activation{network::ActivationKind::relu}, {1}, shape},
                 {"conv2", network::Convolution{1, geometry}, {2}, shape},
                 {"add", network::Add{}, {3, 0}, shape}};
  graph.output = 4;
  const std::vector<float> weights(16 * 16 * 9, 0.01F), bias(16, 0.1F), values(batch * 1600, 0.5F);
  const std::vector<FloatLayer> layers(2, {weights, bias});
  const ObjectiveSamples samples{values, values, values, {}};
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);  // of several engines any may have to wait for its first part
  ModuleObjective objective(graph, batch);
  omp_set_num_threads(threads);
  objective.evaluate(layers, samples);

  ours = largest = 0;
  counting = true;
  objective.evaluate(layers, samples);
  counting = false;
  EXPECT_EQ(ours, 0);
  EXPECT_LE(largest, 1024) << "oneDNN's tables of arguments are small; a buffer would be larger";
}

}  // namespace
}  // namespace quantbound::reconstruct
