#include "quantbound/network/integer_weights.hpp"

#include "quantbound/core/assert.hpp"

namespace quantbound::network {

namespace {

bool is_signed(IntegerType type) {
  return type == IntegerType::int4 || type == IntegerType::int8 || type == IntegerType::int16;
}

/// Not inlined: GCC 12 drops the conversion to float and back of neighbours that it takes together.
[[gnu::noinline]] double rounded_to_float(double value) { return static_cast<double>(static_cast<float>(value)); }

void round_to_float(std::vector<double>& values) {
  for (double& value : values) value = rounded_to_float(value);
}

struct RoundConstants {
  void operator()(ScaleShift& op) const {
    round_to_float(op.scale);
    round_to_float(op.shift);
  }
  void operator()(Pad& op) const { op.value = rounded_to_float(op.value); }
  void operator()(Activation& op) const {
    if (op.kind != ActivationKind::clip) return;
    op.alpha = rounded_to_float(op.alpha);
    op.beta = rounded_to_float(op.beta);
  }
  template <class Other>
  void operator()(Other& /*op*/) const {}
};

}  // namespace

std::string_view to_string(IntegerType type) {
  switch (type) {
    case IntegerType::int4:
      return "int4";
    case IntegerType::uint4:
      return "uint4";
    case IntegerType::int8:
      return "int8";
    case IntegerType::uint8:
      return "uint8";
    case IntegerType::int16:
      return "int16";
    case IntegerType::uint16:
      return "uint16";
  }
  return "?";
}

int bits_of(IntegerType type) {
  if (type == IntegerType::int4 || type == IntegerType::uint4) return 4;
  return type == IntegerType::int8 || type == IntegerType::uint8 ? 8 : 16;
}

std::int32_t lowest(IntegerType type) { return is_signed(type) ? -(1 << (bits_of(type) - 1)) : 0; }

std::int32_t highest(IntegerType type) { return (1 << (is_signed(type) ? bits_of(type) - 1 : bits_of(type))) - 1; }

IntegerType smallest_type(int bits, Sign sign, Packing packing) {
  QUANTBOUND_ASSERT(bits >= 1 && bits <= 16, bits);
  const bool with_sign = sign == Sign::with_sign;
  if (packing == Packing::nibbles && bits <= 4) return with_sign ? IntegerType::int4 : IntegerType::uint4;
  if (bits <= 8) return with_sign ? IntegerType::int8 : IntegerType::uint8;
  return with_sign ? IntegerType::int16 : IntegerType::uint16;
}

Index stored_bytes(const IntegerWeights& weights) {
  const auto bytes = [&](const auto& integers) { return (std::ssize(integers) * bits_of(weights.type) + 7) / 8; };
  return bytes(weights.codes) + bytes(weights.zero_points) +
         std::ssize(weights.scales) * static_cast<Index>(sizeof(float));
}

std::vector<double> dequantized(const IntegerWeights& weights) {
  const std::size_t rows = weights.scales.size();
  QUANTBOUND_ASSERT(rows > 0 && weights.zero_points.size() == rows && weights.codes.size() % rows == 0, rows,
                    weights.zero_points.size(), weights.codes.size());
  const std::size_t columns = weights.codes.size() / rows;
  std::vector<double> values(weights.codes.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = i / columns;
    const auto difference = static_cast<float>(weights.codes[i] - weights.zero_points[row]);  // exact: 17 bits
    const float value = difference * weights.scales[row];
    values[i] = static_cast<double>(value);
  }
  return values;
}

Network dequantized(Network network, std::span<const IntegerWeights> weights) {
  QUANTBOUND_ASSERT(weights.size() == network.layers.size(), weights.size(), network.layers.size());
  for (std::size_t l = 0; l < weights.size(); ++l) {
    LayerParameters& layer = network.layers[l];
    QUANTBOUND_ASSERT(weights[l].codes.size() == layer.weights.size(), l);
    layer.weights = dequantized(weights[l]);
    round_to_float(layer.bias);
  }
  for (Node& node : network.graph.nodes) std::visit(RoundConstants{}, node.op);
  return network;
}

}  // namespace quantbound::network
