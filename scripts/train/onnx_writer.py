"""Writes small ONNX files (opset 13, IR 7) without the onnx package: the few protobuf messages a plain chain needs.

Field numbers are those of onnx.proto3. Output depends on the arguments alone: equal networks give equal bytes.
"""
import numpy as np

FLOAT, INT64 = 1, 7  # TensorProto.DataType
ATTRIBUTE_INT, ATTRIBUTE_INTS = 2, 7  # AttributeProto.AttributeType


def varint(value):
    """Base-128 encoding, least significant group first; negative numbers as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def integer(field, value):
    return varint(field << 3) + varint(value)


def blob(field, payload):
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def tensor(name, array):
    """TensorProto with little-endian raw data; float32 or int64."""
    kind = {np.dtype("<f4"): FLOAT, np.dtype("<i8"): INT64}[array.dtype]
    dims = b"".join(integer(1, size) for size in array.shape)
    return dims + integer(2, kind) + blob(8, name) + blob(9, np.ascontiguousarray(array).tobytes())


def value_info(name, sizes):
    """A float value whose first dimension is the batch, called N."""
    dims = blob(1, blob(2, "N")) + b"".join(blob(1, integer(1, size)) for size in sizes)
    return blob(1, name) + blob(2, blob(1, integer(1, FLOAT) + blob(2, dims)))


def attribute(name, value):
    if isinstance(value, int):
        return blob(1, name) + integer(3, value) + integer(20, ATTRIBUTE_INT)
    return blob(1, name) + b"".join(integer(8, item) for item in value) + integer(20, ATTRIBUTE_INTS)


def node(operator, inputs, output, attributes):
    links = b"".join(blob(1, name) for name in inputs) + blob(2, output)
    return links + blob(3, output) + blob(4, operator) + b"".join(blob(5, attribute(*item)) for item in attributes.items())


def chain_model(name, input_sizes, steps, output_sizes, doc):
    """The bytes of a model that applies `steps` one after the other.

    A step is (operator, [(parameter name, array), ...], {attribute: int or list of int}).
    """
    nodes, initializers, value = b"", b"", "x"
    for index, (operator, parameters, attributes) in enumerate(steps):
        output = "y" if index == len(steps) - 1 else f"{operator.lower()}_{index}"
        nodes += blob(1, node(operator, [value] + [key for key, _ in parameters], output, attributes))
        initializers += b"".join(blob(5, tensor(key, array)) for key, array in parameters)
        value = output
    graph = nodes + blob(2, name) + initializers + blob(10, doc)
    graph += blob(11, value_info("x", input_sizes)) + blob(12, value_info("y", output_sizes))
    opset = blob(1, "") + integer(2, 13)
    return integer(1, 7) + blob(2, "quantbound scripts/train") + blob(7, graph) + blob(8, opset)
