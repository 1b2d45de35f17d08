/// The way there of a gradient program: the operators as steps, and where every value lies that the way back reads.
#pragma once

#include <optional>
#include <vector>

#include "float_primitives.hpp"
#include "gradient_steps.hpp"

namespace quantbound::tensor::detail {

bool reads_weights(const Operation& operation);
/// A pool as it is trained: of maxima it remembers where they lie.
dnnl::pooling_v2_forward::primitive_desc pooling_forward(const PoolOp& op, const Descriptor& in, const Shape& out,
                                                         const dnnl::engine& engine);

/// A tensor room of its own for oneDNN: the workspace of a pool.
struct Workspace {
  Descriptor descriptor;
  std::size_t buffer;
};

class GradientForward {
 public:
  GradientForward(GradientProgram::Implementation& program, GradientSteps& steps);
  void run();

  /// The value in the layout of its operator, or in another.
  Version value(Index v) const { return values_[static_cast<std::size_t>(v)].versions.front(); }
  Version value(Index v, const Descriptor& wanted);
  const std::optional<Workspace>& workspace(std::size_t operation) const { return workspaces_[operation]; }
  std::vector<std::optional<LayerLayout>>& layers() { return layers_; }

 private:
  struct ValueState {
    bool goes_back = false;  ///< the way back reads it
    Index last_reader = -1;  ///< index of an operation
    std::vector<Version> versions;
  };
  /// Over the values that live in a buffer.
  struct BufferState {
    bool goes_back = false;
    Index last_reader = -1;
  };

  const Operation& operation() const { return p_.operations[static_cast<std::size_t>(current_)]; }
  const Shape& shape(Index v) const { return p_.shapes[static_cast<std::size_t>(v)]; }

  void split_functions();
  void find_readers();
  void define(Index v, const Version& version);
  bool may_overwrite(std::size_t buffer) const;
  std::size_t summand_buffer(Index summand, const Descriptor& layout, std::size_t other_input);
  void add_layer(GradientStep& step, Index layer, LayerLayout layout);
  void add_pointwise(const PointFunction& function, const Descriptor& layout, std::size_t source, std::size_t target);

  void emit(const ConvolutionOp& op);
  void emit(const DenseOp& op);
  void emit(const PointOp& op);
  void emit(const AddOp& op);
  void emit(const MultiplyOp& op);
  void emit(const PoolOp& op);
  void emit(const MoveOp& op);
  void emit(const ReshapeOp& op);
  void emit(const ScaleShiftOp& op);

  GradientProgram::Implementation& p_;
  GradientSteps& steps_;
  Index current_ = 0;
  std::vector<ValueState> values_;
  std::vector<BufferState> buffers_;
  std::vector<std::optional<Workspace>> workspaces_;  ///< of every operation
  std::vector<std::optional<LayerLayout>> layers_;
};

}  // namespace quantbound::tensor::detail
