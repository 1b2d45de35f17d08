// Weight layers: Conv, Gemm and MatMul with constant weights, and BatchNormalization, which is folded into them in
// double.
#include <cmath>

#include <fmt/format.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

Reals transposed(const Reals& matrix, Index rows, Index columns) {
  Reals out(matrix.size());
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      out[static_cast<std::size_t>(c * rows + r)] = matrix[static_cast<std::size_t>(r * columns + c)];
    }
  }
  return out;
}

void scale(Reals& values, double factor) {
  if (factor == 1.0) return;
  for (double& value : values) value *= factor;
}

// ---- Conv ----------------------------------------------------------------------------------------------------------

void check_convolution(const OnnxNode& node, const Value& in, const Constant& weights, Index groups) {
  const Shape& dims = weights.dims;
  if (in.batch == BatchAxis::absent || in.shape.size() + 1 != dims.size()) {
    node.reject(fmt::format("weights of shape {} do not fit an input of shape {}", tensor::to_string(dims),
                            tensor::to_string(full_shape(in))));
  }
  if (dims.size() != 3 && dims.size() != 4) node.refuse("only 1-D and 2-D convolutions are read");
  if (groups < 1 || groups > in.shape[0] || weights.size() == 0 || dims[1] > in.shape[0] ||
      dims[1] * groups != in.shape[0] || dims[0] % groups != 0) {
    node.reject(fmt::format("weights of shape {} in {} groups do not fit {} input channels", tensor::to_string(dims),
                            groups, in.shape[0]));
  }
}

Reals bias_of_convolution(const Importer& importer, const OnnxNode& node, Index channels) {
  const auto bias = importer.optional_constant(node, 2);
  if (!bias) return Reals(static_cast<std::size_t>(channels), 0.0);
  if (bias->size() != channels) {
    node.reject(fmt::format("{} biases for {} output channels", bias->size(), channels));
  }
  return bias->reals();
}

// ---- matrices ------------------------------------------------------------------------------------------------------

/// How a matrix meets a value: value times matrix, with the samples as rows, or matrix times value.
enum class Side { value_first, matrix_first };

struct Matrix {
  Reals weights;  ///< one row per output
  Index outputs = 0, inputs = 0;
};

/// What the rows of a constant matrix stand for.
enum class Orientation { rows_are_inputs, rows_are_outputs };

Matrix matrix_from(const OnnxNode& node, const Constant& constant, Orientation orientation) {
  Shape dims = constant.dims;
  while (dims.size() > 2 && dims.front() == 1) dims.erase(dims.begin());
  if (dims.size() != 2 || constant.size() == 0) {
    node.refuse(
        fmt::format("its matrix has shape {}; only one plain matrix is read", tensor::to_string(constant.dims)));
  }
  if (orientation == Orientation::rows_are_outputs) return {constant.reals(), dims[0], dims[1]};
  return {transposed(constant.reals(), dims[0], dims[1]), dims[1], dims[0]};
}

/// Appends the Dense of `matrix` on `in` and gives it the shape of ONNX's result.
void give_dense(Importer& importer, const OnnxNode& node, const Value& in, Matrix matrix, Reals bias,
                const Shape& full) {
  const NodeId flat = importer.shaped(node, in, {matrix.inputs});
  Value out = in;
  out.node = importer.append_layer(node, Dense{0, matrix.inputs, matrix.outputs}, flat,
                                   {std::move(matrix.weights), std::move(bias)});
  out.shape = {matrix.outputs};
  out.readers = Readers::exclusive;
  importer.give_reshaped(node, out, full);
}

/// The axis of the value that the matrix sums over must hold all of its elements: one row or one column per sample.
void check_summed_axis(const OnnxNode& node, const Value& in, std::size_t axis, Index inputs) {
  const Shape full = full_shape(in);
  if (axis == 0 && in.batch == BatchAxis::leading) node.refuse("it sums over the batch axis");
  if (full[axis] != inputs) {
    node.reject(
        fmt::format("its matrix is made for {} inputs, its input has shape {}", inputs, tensor::to_string(full)));
  }
  if (tensor::elements(full) != inputs) {
    node.refuse(fmt::format("it applies one matrix to every row of {}; only one row per sample is read",
                            tensor::to_string(full)));
  }
}

Reals gemm_bias(const Importer& importer, const OnnxNode& node, Index outputs, Side side) {
  const auto given = importer.optional_constant(node, 2);
  const auto count = static_cast<std::size_t>(outputs);
  if (!given) return Reals(count, 0.0);
  Shape dims = given->dims;
  dims.insert(dims.begin(), dims.size() < 2 ? 2 - dims.size() : 0, 1);
  const Shape expected = side == Side::value_first ? Shape{1, outputs} : Shape{outputs, 1};
  Reals bias = given->reals();
  if (given->size() == 1) bias.assign(count, bias.front());
  if (dims.size() != 2 || (given->size() != 1 && dims != expected)) {
    node.reject(fmt::format("bias of shape {} for {} outputs", tensor::to_string(given->dims), outputs));
  }
  scale(bias, node.real("beta", 1.0F));
  return bias;
}

}  // namespace

void import_conv(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  Constant weights = importer.constant(node, 1);
  const Index groups = node.integer("group", 1);
  check_convolution(node, in, weights, groups);
  const Shape spatial(in.shape.begin() + 1, in.shape.end()), kernel(weights.dims.begin() + 2, weights.dims.end());
  if (const auto stated = node.integers("kernel_shape"); stated && *stated != kernel) {
    node.reject(fmt::format("kernel_shape {} differs from its weights {}", tensor::to_string(*stated),
                            tensor::to_string(weights.dims)));
  }
  const NodeId image = image_node(importer, node, in);
  const Shape shape = importer.shape_of(image);
  const tensor::Convolution geometry{.channels_in = shape[0],
                                     .height = shape[1],
                                     .width = shape[2],
                                     .channels_out = weights.dims[0],
                                     .groups = groups,
                                     .window = read_window(node, spatial, kernel)};
  Reals bias = bias_of_convolution(importer, node, geometry.channels_out);
  const NodeId layer = importer.append_layer(node, Convolution{0, geometry}, image, {weights.reals(), std::move(bias)});
  give_image(importer, node, in, layer);
}

void import_gemm(Importer& importer, const OnnxNode& node) {
  const bool value_first = importer.is_constant(node, 1);
  const Value in = importer.value(node, value_first ? 0 : 1);
  const bool transposes_value = node.integer(value_first ? "transA" : "transB", 0) != 0;
  const bool transposes_matrix = node.integer(value_first ? "transB" : "transA", 0) != 0;
  if (full_shape(in).size() != 2) {
    node.reject(fmt::format("needs a matrix, its input has shape {}", tensor::to_string(full_shape(in))));
  }
  // x A: A has one row per input. A x: A has one row per output. Transposing turns either around.
  const Orientation orientation =
      value_first == transposes_matrix ? Orientation::rows_are_outputs : Orientation::rows_are_inputs;
  Matrix matrix = matrix_from(node, importer.constant(node, value_first ? 1 : 0), orientation);
  check_summed_axis(node, in, value_first == transposes_value ? 0 : 1, matrix.inputs);
  const Side side = value_first ? Side::value_first : Side::matrix_first;
  Reals bias = gemm_bias(importer, node, matrix.outputs, side);
  scale(matrix.weights, node.real("alpha", 1.0F));
  const Shape full = value_first ? Shape{1, matrix.outputs} : Shape{matrix.outputs, 1};
  give_dense(importer, node, in, std::move(matrix), std::move(bias), full);
}

void import_matmul(Importer& importer, const OnnxNode& node) {
  const bool value_first = importer.is_constant(node, 1);
  const Value in = importer.value(node, value_first ? 0 : 1);
  Constant constant = importer.constant(node, value_first ? 1 : 0);
  const bool is_vector = constant.dims.size() == 1;
  if (is_vector) constant.dims.insert(value_first ? constant.dims.end() : constant.dims.begin(), 1);
  Matrix matrix =
      matrix_from(node, constant, value_first ? Orientation::rows_are_inputs : Orientation::rows_are_outputs);
  Shape full = full_shape(in);
  const std::size_t summed = full.size() == 1 || value_first ? full.size() - 1 : full.size() - 2;
  check_summed_axis(node, in, summed, matrix.inputs);
  full[summed] = matrix.outputs;
  if (is_vector) full.erase(full.begin() + static_cast<Index>(summed));
  Reals bias(static_cast<std::size_t>(matrix.outputs), 0.0);
  give_dense(importer, node, in, std::move(matrix), std::move(bias), full);
}

void import_batch_normalization(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  const bool gives_statistics = node.opset() < 14 && node.output_count() > 1;  // how training mode was written before
  if (node.integer("training_mode", 0) != 0 || gives_statistics)
    node.refuse("it is in training mode; export the network for inference");
  if (node.integer("spatial", 1) != 1) node.refuse("it normalises every element apart (spatial=0)");
  if (in.batch == BatchAxis::absent || in.shape.empty()) node.reject("needs a batch axis and channels");
  const Index channels = in.shape.front();
  std::vector<Reals> parameters;
  for (std::size_t i = 1; i <= 4; ++i) {
    parameters.push_back(importer.constant(node, i).reals());
    if (std::ssize(parameters.back()) == channels) continue;
    node.reject(fmt::format("input {} has {} values for {} channels", i, parameters.back().size(), channels));
  }
  const double epsilon = node.real("epsilon", 1e-5F);
  Reals factors, offsets;
  for (std::size_t c = 0; c < parameters[0].size(); ++c) {
    const double spread = std::sqrt(parameters[3][c] + epsilon);
    if (!(spread > 0.0)) node.reject(fmt::format("variance {} of channel {} is not positive", parameters[3][c], c));
    factors.push_back(parameters[0][c] / spread);
    offsets.push_back(parameters[1][c] - parameters[2][c] * factors.back());
  }
  Shape dims(in.shape.size(), 1);
  dims.front() = channels;
  import_scale_shift(importer, node, in, {dims, factors}, {dims, offsets}, Fold::scale_too);
}

}  // namespace quantbound::network::detail
