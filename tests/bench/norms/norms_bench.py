#!/usr/bin/python3
"""Norms of MobileNetV2 1.0 (3.5 million weights) for 56 configurations: our pass against the same in numpy.

    tests/bench/norms/norms_bench.py build/bin/norms_bench

Both run alternately in one run, on one thread, on the same random weights; their norms are compared. Prints the ratio of
the medians and how far the pass is from the machine: weights read per second against the memory bandwidth, operations
per second against the arithmetic peak (both measured in the same run by norms_bench.cpp).
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"
import numpy as np  # noqa: E402  (after the thread counts)

ROUNDS = 5
# Floating-point operations per weight and configuration in row_sums_loop.inl, a fused multiply-add counting as two: round
# 11 (nearest integer 3, error 2, its square 2, two sums, two maxima), floor by reciprocal 13, by division 12.
OPERATIONS = (28 * 11 + 14 * 13 + 14 * 12) / 56


def mobilenet_v2():
    """(rows, columns, groups, taps) of the 53 weight layers."""
    layers = [(32, 27, 1, 9)]
    channels = 32
    for expansion, out, count, _ in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                     (6, 160, 3, 2), (6, 320, 1, 1)):
        for _ in range(count):
            hidden = channels * expansion
            if expansion != 1:
                layers.append((hidden, channels, 1, 1))
            layers.append((hidden, 9, hidden, 9))
            layers.append((out, hidden, 1, 1))
            channels = out
    return layers + [(1280, channels, 1, 1), (1000, 1280, 1, 1)]


def quantize(weights, floor, channel, bits):
    highest = 2 ** (bits - 1) - 1
    magnitude = np.abs(weights)
    eta = (magnitude.max(axis=1, keepdims=True) if channel else magnitude.max()) / highest
    rounded = np.floor(weights / eta) if floor else np.round(weights / eta)
    return np.clip(rounded, -highest - 1 if floor else -highest, highest) * eta


def original_norms(weights, bias, groups, taps):
    magnitude = np.abs(weights)
    row_sums = magnitude.sum(axis=1)
    column_sums = magnitude.reshape(groups, -1, weights.shape[1]).sum(axis=1)
    channel_sums = column_sums.reshape(groups, -1, taps).sum(axis=2).max(axis=1)
    frobenius = np.sqrt((weights * weights).reshape(groups, -1).sum(axis=1))
    largest = row_sums.reshape(groups, -1).max(axis=1)
    as_matrix = np.minimum(frobenius, np.sqrt(column_sums.max(axis=1) * largest)) * np.sqrt(taps)
    return row_sums.max(), (row_sums + np.abs(bias)).max(), np.minimum(as_matrix, np.sqrt(channel_sums * largest)).max()


def two_norm(row_sums, row_squares, groups, taps):
    by_rows = row_sums.reshape(groups, -1)
    return np.sqrt(np.minimum(by_rows.max(axis=1) * by_rows.sum(axis=1),
                              row_squares.reshape(groups, -1).sum(axis=1) * taps).max())


def norms(weights, bias, groups, taps, floor, channel, bits):
    """The same numbers as a QuantizedLayerNorms, without its envelopes and its proofs."""
    quantized = quantize(weights, floor, channel, bits)
    delta, magnitude = np.abs(quantized - weights), np.abs(quantized)
    row_sums, row_max, delta_sums = magnitude.sum(axis=1), magnitude.max(axis=1), delta.sum(axis=1)
    delta_two_norm = two_norm(delta_sums, (delta * delta).sum(axis=1), groups, taps)
    own_two_norm = two_norm(row_sums, row_max * row_sums, groups, taps)
    return (delta.max(), delta_sums.max(), row_sums.max(), (row_sums + np.abs(bias)).max(), row_max.max(),
            delta_two_norm, own_two_norm)


def numpy_pass(layers, shapes):
    result = []
    for (weights, bias), (_, _, groups, taps) in zip(layers, shapes):
        own = original_norms(weights, bias, groups, taps)[2]
        for floor in (True, False):
            for channel in (False, True):
                for bits in range(2, 16):
                    *compared, delta_two_norm, two = norms(weights, bias, groups, taps, floor, channel, bits)
                    result.append((*compared, delta_two_norm, min(two, own + delta_two_norm)))
    return result


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    random = np.random.default_rng(1)
    shapes = mobilenet_v2()
    layers = [(random.normal(size=(r, c)) * np.sqrt(2 / c), random.normal(size=r) * 0.1) for r, c, _, _ in shapes]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "layers.bin")
        with open(path, "wb") as file:
            for shape, (weights, bias) in zip(shapes, layers):
                file.write(np.array(shape, dtype=np.int64).tobytes() + weights.tobytes() + bias.tobytes())
        numpy_seconds, our_seconds = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            reference = numpy_pass(layers, shapes)
            numpy_seconds.append(time.perf_counter() - start)
            ours = json.loads(subprocess.run([sys.argv[1], path], check=True, capture_output=True).stdout)
            our_seconds.append(ours["seconds"])
    difference = np.abs(np.array(ours["norms"]) / np.array(reference) - 1).max()
    weights = sum(r * c for r, c, _, _ in shapes)
    ours_median, numpy_median = statistics.median(our_seconds), statistics.median(numpy_seconds)
    bandwidth, peak = 8 * weights / ours_median, OPERATIONS * 56 * weights / ours_median
    print(f"weights {weights}, configurations 56, rounds {ROUNDS}, largest relative difference {difference:.1e}")
    print(f"ours  median {ours_median * 1e3:8.1f} ms  ({min(our_seconds) * 1e3:.1f} .. {max(our_seconds) * 1e3:.1f})")
    print(f"numpy median {numpy_median * 1e3:8.1f} ms  ({min(numpy_seconds) * 1e3:.1f} .. {max(numpy_seconds) * 1e3:.1f})")
    print(f"ratio {numpy_median / ours_median:.1f}")
    print(f"weights read at {bandwidth / 1e9:.2f} GB/s; memory delivers {ours['bytes_per_second'] / 1e9:.1f} GB/s "
          f"(ours is bound by arithmetic: every weight is used 56 times)")
    print(f"arithmetic {peak / 1e9:.1f} GFLOP/s; fused multiply-adds alone reach {ours['double_peak'] / 1e9:.1f} GFLOP/s: "
          f"{peak / ours['double_peak']:.2f} of the peak")
    if difference > 1e-9:
        sys.exit("norms differ from numpy's")


if __name__ == "__main__":
    main()
