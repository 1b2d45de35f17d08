/// A program of float operators over a fixed batch, compiled to oneDNN primitives. Convolutions choose their layouts,
/// which flow from operator to operator; elementwise functions and residual sums are fused into the convolution before
/// them; buffers share one arena. Operators run on a few samples at a time, so many that their activations stay in
/// cache: few where images are large, more where the weights are (batches that are multiples of a power of two divide
/// best). A program belongs to one thread and uses one, so that its bits do not depend on the number of threads. Its
/// weights are an object of their own that several programs may read. Memory for activations is taken by the first run;
/// later runs allocate nothing. 3x3 convolutions of many channels use Winograd's algorithm (Lavin and Gray, arXiv
/// 1509.09308) where oneDNN has it, which rounds a few times more than a sum of products. What it does not do: decide
/// what to fuse (network/float_forward.cpp does), set flush-to-zero, use reduced precision.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quantbound/tensor/float_weights.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/shape.hpp"
#include "quantbound/tensor/step_profile.hpp"

namespace quantbound::tensor {

/// Elementwise functions; alpha and beta as in network::Activation.
enum class PointKind { relu, leaky_relu, clip, sigmoid, tanh, hard_swish, hard_sigmoid };
struct PointFunction {
  PointKind kind = PointKind::relu;
  double alpha = 0.0, beta = 0.0;
};

/// Winograd's algorithm wants weights that take long to make (about 30 ns each): worth it where many samples are run
/// between two changes of the weights.
enum class Winograd { where_it_pays, never };

/// What a program takes, in bytes; known once it is compiled.
struct FloatMemory {
  Index activations = 0;  ///< the arena, kept values included
  Index scratch = 0;      ///< of the primitives
  Index weights = 0;      ///< of one FloatWeights
};

class FloatProgram {
 public:
  /// A value inside the program: batch x shape.
  enum class Value : Index {};

  /// `samples_at_once` 0 lets compile() choose for every operator; otherwise it must divide the batch.
  explicit FloatProgram(Index batch, Index samples_at_once = 0, Winograd winograd = Winograd::where_it_pays);
  ~FloatProgram();
  FloatProgram(FloatProgram&&) noexcept;
  FloatProgram& operator=(FloatProgram&&) noexcept;

  // Building, in the order of execution; then compile(). The first value must be the input.
  Value input(const Shape& shape);
  /// function(convolution + summand); `layer` names its weights in FloatWeights::set.
  Value convolution(Value in, Index layer, const Convolution& geometry, std::optional<PointFunction> function,
                    std::optional<Value> summand = {});
  /// function(W in + b) where `in` of any shape is read in row-major order.
  Value dense(Value in, Index layer, Index outputs, std::optional<PointFunction> function);
  Value pointwise(Value in, const PointFunction& function);
  /// function(a + b), elementwise.
  Value add(Value a, Value b, std::optional<PointFunction> function);
  /// Elementwise; {c, 1, 1} is broadcast over {c, h, w}.
  Value multiply(Value a, Value b);
  Value max_pool(Value in, const Window& window);
  Value average_pool(Value in, const Window& window, Divisor divisor);
  Value global_average_pool(Value in);
  Value concat(std::span<const Value> inputs, Index axis);
  Value pad(Value in, std::span<const Index> before, std::span<const Index> after, double value);
  Value slice(Value in, std::span<const Index> start, std::span<const Index> step, std::span<const Index> count);
  Value permute(Value in, std::span<const Index> axes);
  Value reshape(Value in, const Shape& shape);
  /// x * scale + shift; each one number, one per channel or one per element.
  Value scale_shift(Value in, std::span<const double> scale, std::span<const double> shift);

  /// The value stays readable after run(), in the program's layout.
  void keep(Value value);
  /// The result, in row-major order.
  void output(Value value);

  /// Chooses layouts, creates the primitives, plans the memory. Throws core::Error where oneDNN refuses.
  void compile();

  // Once compiled:
  FloatMemory memory() const;
  /// Zeros, to be set layer by layer.
  FloatWeights make_weights() const;
  /// Swaps pointers. @pre made by this program or by one of equal layouts
  void use(std::shared_ptr<const FloatWeights> weights);
  /// batch x input -> batch x output; the span stays valid until the next call. @pre weights are in use, if any are
  /// read
  std::span<const float> run(std::span<const float> samples);
  /// Runs with a clock around every step. Of each execution of a step the shortest of the runs counts: whatever
  /// disturbs the machine only adds time.
  std::vector<StepProfile> profile(std::span<const float> samples, Index runs);
  /// After run(): a kept value, batch after sample, in a layout that depends on the program alone. Blocked layouts may
  /// fill up the channels with zeros, so the span can be longer than batch x elements.
  std::span<const float> kept(Value value) const;

  const Shape& shape(Value value) const;

  struct Implementation;

 private:
  friend class GradientProgram;  // compiles the same operators
  void prepare();

  std::unique_ptr<Implementation> implementation_;
};

}  // namespace quantbound::tensor
