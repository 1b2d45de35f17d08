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
# Operations that one weight takes in one configuration in row_sums_loop.inl, averaged over floor and round: the product
# with the reciprocal, the rounding, the error, two magnitudes, three sums, a square, two or three maxima and minima.
OPERATIONS = 12.5


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


def norms(weights, bias, floor, channel, bits):
    """What the theories need of a pair: the five numbers that are compared, and the rest that the pass computes too."""
    quantized = quantize(weights, floor, channel, bits)
    delta = np.abs(quantized - weights)
    magnitude = np.abs(quantized)
    row_sums, delta_sums = magnitude.sum(axis=1), delta.sum(axis=1)
    frobenius = np.sqrt((delta * delta).sum(axis=1))
    compared = (delta.max(), delta_sums.max(), row_sums.max(), (row_sums + np.abs(bias)).max(), magnitude.max())
    return compared, frobenius


def numpy_pass(layers):
    result = []
    for weights, bias in layers:
        np.abs(weights).sum(axis=1).max(), np.abs(weights).sum(axis=0).max(), np.sqrt((weights * weights).sum())
        for floor in (True, False):
            for channel in (False, True):
                for bits in range(2, 16):
                    result.append(norms(weights, bias, floor, channel, bits)[0])
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
            reference = numpy_pass(layers)
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
    print(f"arithmetic {peak / 1e9:.1f} Gop/s; peak of additions and multiplications "
          f"{ours['operations_per_second'] / 1e9:.1f} Gop/s: {peak / ours['operations_per_second']:.2f} of it")
    if difference > 1e-9:
        sys.exit("norms differ from numpy's")


if __name__ == "__main__":
    main()
