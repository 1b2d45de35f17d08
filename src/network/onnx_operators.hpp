/// The readers of single ONNX operators, in seven files by kind. Each adds to the importer what the node's output
/// stands for; the table in onnx_operators.cpp says which operators and attributes exist.
#pragma once

#include <initializer_list>
#include <string_view>

#include "onnx_importer.hpp"

namespace quantbound::network::detail {

// onnx_layers.cpp: weight layers and what is folded into them.
void import_conv(Importer& importer, const OnnxNode& node);
void import_gemm(Importer& importer, const OnnxNode& node);
void import_matmul(Importer& importer, const OnnxNode& node);
void import_batch_normalization(Importer& importer, const OnnxNode& node);

// onnx_elementwise.cpp
void import_activation(Importer& importer, const OnnxNode& node);
void import_clip(Importer& importer, const OnnxNode& node);
void import_arithmetic(Importer& importer, const OnnxNode& node);
void import_softmax(Importer& importer, const OnnxNode& node);
/// x * scale + shift with constants that broadcast to x. A shift goes into the bias of the weight layer whose value x
/// is, if nothing else reads that; so does a scale if `fold` says so (BatchNormalization).
enum class Fold { shift_only, scale_too };
void import_scale_shift(Importer& importer, const OnnxNode& node, const Value& x, const Constant& scale,
                        const Constant& shift, Fold fold);

// onnx_windows.cpp: what slides over images.
tensor::Window read_window(const OnnxNode& node, const Shape& spatial, const Shape& kernel);
/// The node that holds an image {c, h, w}, with h = 1 for {c, n}.
NodeId image_node(Importer& importer, const OnnxNode& node, const Value& value);
/// Gives the result of an operator over images, in the rank that the input had.
void give_image(Importer& importer, const OnnxNode& node, const Value& in, NodeId result);
void import_max_pool(Importer& importer, const OnnxNode& node);
void import_average_pool(Importer& importer, const OnnxNode& node);
void import_global_average_pool(Importer& importer, const OnnxNode& node);
void import_reduce_mean(Importer& importer, const OnnxNode& node);

// onnx_load_time.cpp: what is computed when the file is read.
void import_constant(Importer& importer, const OnnxNode& node);
void import_constant_of_shape(Importer& importer, const OnnxNode& node);
void import_cast(Importer& importer, const OnnxNode& node);
void import_shape(Importer& importer, const OnnxNode& node);
void import_gather(Importer& importer, const OnnxNode& node);

// onnx_quantized.cpp: constants that are stored as integers.
void import_quantize_linear(Importer& importer, const OnnxNode& node);
void import_dequantize_linear(Importer& importer, const OnnxNode& node);

// onnx_layout.cpp: shape and order.
void import_identity(Importer& importer, const OnnxNode& node);
void import_dropout(Importer& importer, const OnnxNode& node);
void import_reshape(Importer& importer, const OnnxNode& node);
void import_flatten(Importer& importer, const OnnxNode& node);
void import_squeeze(Importer& importer, const OnnxNode& node);
void import_unsqueeze(Importer& importer, const OnnxNode& node);
void import_transpose(Importer& importer, const OnnxNode& node);
void import_concat(Importer& importer, const OnnxNode& node);

// onnx_slice_pad.cpp
void import_slice(Importer& importer, const OnnxNode& node);
void import_pad(Importer& importer, const OnnxNode& node);

constexpr Index max_elements = Index{1} << 30;  // of one value, as infer_shape() has it

/// Attributes that became inputs with opset `moved`: an error where they come in the other form.
void check_form(const OnnxNode& node, Index moved, std::initializer_list<std::string_view> attributes);
/// `axis` counted from the front. An error unless -rank <= axis < rank.
Index from_front(const OnnxNode& node, Index axis, std::size_t rank);
/// Which of `rank` axes a list names. An error if it names one twice.
std::vector<char> marked_axes(const OnnxNode& node, const Integers& axes, std::size_t rank);

}  // namespace quantbound::network::detail
