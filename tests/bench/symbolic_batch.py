#!/usr/bin/env python3
"""Give an ONNX file a symbolic batch dimension: symbolic_batch.py IN.onnx OUT.onnx

Rewrites the first dimension of the graph's inputs and outputs on the level of the protobuf wire format, so that no ONNX
package is needed. Inferred shapes of inner values are dropped: they carry the old batch.
"""
import sys

MODEL_GRAPH, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 7, 5, 11, 12, 13
VALUE_TYPE, TYPE_TENSOR, TENSOR_SHAPE, SHAPE_DIM, DIM_PARAM = 2, 1, 2, 1, 2


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data):
    """(field number, wire type, payload, raw bytes of the whole field) in order."""
    at = 0
    while at < len(data):
        begin = at
        key, at = read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            payload, at = read_varint(data, at)
        elif wire == 2:
            size, at = read_varint(data, at)
            payload, at = data[at:at + size], at + size
        else:
            size = {1: 8, 5: 4}[wire]
            payload, at = data[at:at + size], at + size
        yield number, wire, payload, data[begin:at]


def message(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def rewrite(data, number, change):
    """The message with every field of this number changed; None drops the field."""
    out = []
    for field, _, payload, raw in fields(data):
        if field != number:
            out.append(raw)
            continue
        changed = change(payload)
        if changed is not None:
            out.append(message(number, changed))
    return b"".join(out)


def symbolic_shape(shape):
    seen = []

    def first_only(dim):
        seen.append(dim)
        return message(DIM_PARAM, b"batch") if len(seen) == 1 else dim

    return rewrite(shape, SHAPE_DIM, first_only)


def symbolic_value(value):
    return rewrite(value, VALUE_TYPE, lambda t: rewrite(t, TYPE_TENSOR, lambda s: rewrite(s, TENSOR_SHAPE, symbolic_shape)))


def symbolic_batch(model):
    def graph(data):
        initializers = {next(payload for number, _, payload, _ in fields(tensor) if number == 8)
                        for number, _, tensor, _ in fields(data) if number == GRAPH_INITIALIZER}

        def is_weight(value):
            return next(payload for number, _, payload, _ in fields(value) if number == 1) in initializers

        data = rewrite(data, GRAPH_INPUT, lambda v: v if is_weight(v) else symbolic_value(v))
        data = rewrite(data, GRAPH_OUTPUT, symbolic_value)
        return rewrite(data, GRAPH_VALUE_INFO, lambda v: None)

    return rewrite(model, MODEL_GRAPH, graph)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as source:
        changed = symbolic_batch(source.read())
    with open(sys.argv[2], "wb") as target:
        target.write(changed)
