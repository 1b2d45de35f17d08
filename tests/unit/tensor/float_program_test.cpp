#include "quantbound/tensor/float_program.hpp"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"

#include "random_geometry.hpp"

namespace quantbound::tensor {
namespace {

using testing::Draw;
using Value = FloatProgram::Value;

std::vector<float> floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }
std::vector<double> doubles(std::span<const float> values) { return {values.begin(), values.end()}; }

struct Layer {
  std::vector<double> weights, bias;
};

/// Gives the program weights of its own.
void use(FloatProgram& program, const std::vector<Layer>& layers) {
  auto weights = std::make_shared<FloatWeights>(program.make_weights());
  for (std::size_t i = 0; i < layers.size(); ++i)
    weights->set(static_cast<Index>(i), layers[i].weights, layers[i].bias);
  program.use(std::move(weights));
}

void expect_near(std::span<const float> fast, const std::vector<double>& exact, double relative) {
  ASSERT_EQ(fast.size(), exact.size());
  double largest = 0.0;
  for (const double value : exact) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < exact.size(); ++i)
    ASSERT_NEAR(static_cast<double>(fast[i]), exact[i], relative * largest) << "at " << i;
}

TEST(FloatProgram, ConvolutionsMatchTheDoubleReferenceOnRandomGeometries) {
  Draw draw(51);
  for (int trial = 0; trial < 200; ++trial) {
    const Convolution g = testing::random_convolution(draw);
    const Index batch = draw.integer(1, 3);
    // Both sides see the same float numbers.
    const auto weights = doubles(floats(draw.normals(g.weight_count())));
    const auto bias = doubles(floats(draw.normals(g.channels_out)));
    const auto input = floats(draw.normals(batch * g.channels_in * g.height * g.width));
    FloatProgram program(batch);
    program.output(program.convolution(program.input({g.channels_in, g.height, g.width}), 0, g, {}));
    program.compile();
    use(program, {{weights, bias}});

    const auto fast = program.run(input);

    SCOPED_TRACE(trial);
    expect_near(fast, convolve_reference(g, weights, bias, doubles(input), batch), 1e-5);
  }
}

/// conv -> relu -> concat with the input -> dense, and the first convolution kept.
struct SmallProgram {
  explicit SmallProgram(Index batch, Index samples_at_once) : program(batch, samples_at_once) {
    const Value in = program.input({3, 6, 5});
    first = program.convolution(in, 0, geometry, PointFunction{PointKind::relu});
    program.keep(first);
    const std::vector<Value> both{first, in};
    program.output(program.dense(program.concat(both, 0), 1, 4, {}));
    program.compile();
    Draw draw(52);
    use(program,
        {{draw.normals(geometry.weight_count()), draw.normals(9)}, {draw.normals(4 * 12 * 30), draw.normals(4)}});
  }

  Convolution geometry{
      .channels_in = 3,
      .height = 6,
      .width = 5,
      .channels_out = 9,
      .window = {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}};
  FloatProgram program;
  Value first{};
};

TEST(FloatProgram, AnyNumberOfSamplesAtOnceGivesTheSameValues) {
  Draw draw(53);
  const auto input = floats(draw.normals(12 * 90));
  SmallProgram whole(12, 12);
  const auto expected = doubles(whole.program.run(input)), expected_kept = doubles(whole.program.kept(whole.first));
  for (const Index samples : {1, 2, 3, 4, 6}) {
    SmallProgram parts(12, samples);

    const auto y = parts.program.run(input);

    SCOPED_TRACE(samples);
    expect_near(y, expected, 1e-6);
    expect_near(parts.program.kept(parts.first), expected_kept, 1e-6);
  }
}

TEST(FloatProgram, DenseReadsAnImageInRowMajorOrder) {
  const Index batch = 2;
  Draw draw(54);
  const auto weights = doubles(floats(draw.normals(7 * 24))), bias = doubles(floats(draw.normals(7)));
  const auto input = floats(draw.normals(batch * 24));
  FloatProgram program(batch);
  const Value in = program.input({4, 3, 2});
  program.output(program.dense(in, 0, 7, {}));
  program.compile();
  use(program, {{weights, bias}});

  expect_near(program.run(input), dense_reference(7, weights, bias, doubles(input), batch), 1e-6);
}

TEST(FloatProgram, ChannelsAreConcatenatedPaddedSlicedAndTurnedInAnyLayout) {
  // A convolution that copies its input gives blocked or channels-last layouts; the moves behind it must not care.
  const Convolution copy{.channels_in = 5, .height = 4, .width = 3, .channels_out = 5, .groups = 5};
  FloatProgram program(2);
  const Value in = program.input({5, 4, 3});
  const Value copied = program.convolution(in, 0, copy, {});
  const Value padded = program.pad(copied, std::vector<Index>{2, 0, 1}, std::vector<Index>{1, 1, 0}, 0.5);
  const Value sliced =
      program.slice(padded, std::vector<Index>{7, 0, 0}, std::vector<Index>{-1, 2, 1}, std::vector<Index>{8, 3, 4});
  const Value turned = program.permute(sliced, std::vector<Index>{0, 2, 1});
  program.output(turned);
  program.compile();
  use(program, {{std::vector<double>(5, 1.0), std::vector<double>(5, 0.0)}});
  std::vector<float> input(2 * 60);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i + 1);

  const auto y = program.run(input);

  ASSERT_EQ(y.size(), 2U * 8 * 4 * 3);
  std::size_t at = 0;
  for (Index n = 0; n < 2; ++n)
    for (Index c = 0; c < 8; ++c)
      for (Index w = 0; w < 4; ++w)
        for (Index h = 0; h < 3; ++h, ++at) {
          const Index channel = 7 - c - 2, row = 2 * h, column = w - 1;  // in the input
          const bool inside = channel >= 0 && channel < 5 && row < 4 && column >= 0;
          const float expected = inside ? static_cast<float>(((n * 5 + channel) * 4 + row) * 3 + column + 1) : 0.5F;
          ASSERT_EQ(y[at], expected) << n << ' ' << c << ' ' << w << ' ' << h;
        }
}

TEST(FloatProgram, AProfileCountsWhatTheStepsDo) {
  Draw draw(55);
  const auto input = floats(draw.normals(12 * 90));
  SmallProgram small(12, 3);
  const auto expected = doubles(small.program.run(input));

  const std::vector<StepProfile> steps = small.program.profile(input, 2);

  EXPECT_EQ(doubles(small.program.run(input)), expected);
  Index layers = 0;
  for (const StepProfile& step : steps) {
    EXPECT_GT(step.seconds, 0.0);
    EXPECT_GT(step.activation_bytes, 0);
    EXPECT_GE(step.activation_bytes, step.whole_batch_bytes);
    EXPECT_EQ(step.layer.has_value(), step.multiply_adds > 0);
    if (!step.layer) continue;
    EXPECT_EQ(*step.layer, layers++);
    EXPECT_FALSE(step.implementation.empty());
    const bool convolution = step.kind == StepKind::convolution;
    EXPECT_EQ(step.geometry.has_value(), convolution);
    EXPECT_EQ(step.multiply_adds, 12 * (convolution ? small.geometry.multiply_adds() : 4 * 12 * 30));
    EXPECT_GE(step.weight_bytes, 4 * (convolution ? small.geometry.weight_count() : 4 * 12 * 30)) << "in each turn";
  }
  EXPECT_EQ(layers, 2);
}

}  // namespace
}  // namespace quantbound::tensor
