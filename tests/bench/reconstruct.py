#!/usr/bin/env python3
"""Iterations per second of learned rounding against PyTorch's, alternating in one session.

  reconstruct.py BUILD_DIR [--units layer block] [--threads 1 2] [--shapes 64x56 ...] [--batch 32] [--runs 10]

layer: one batch step of AdaRound (soft rounding, forward, loss, gradient of the weights, Adam) on a 3x3 convolution with
ReLU; block: BRECQ's on a residual block of two such convolutions; 4 bits, per channel. Shapes are channels x size of
ResNet18's stages. Both programs get the same weights, calibration data, batches and threads; that they compute the same
is checked by their objectives, which must agree. PyTorch runs in the layout of images that is faster for it. Each line
shows milliseconds per iteration, median (best), and the ratio of the medians; on a busy machine the ratio of the
processor times of one thread says more (with two, idle threads spin). Exits 1 where we are not twice as fast. PyTorch
is Debian's python3-torch.
"""
import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WANTED = 2.0  # their time over ours
SAMPLES = 64  # calibration samples in memory
ITERATIONS = 3  # of a run
PAUSE = 0.1  # seconds before a run: idle workers of the other program spin


class Runner:
    """A program that prints "ready" and then, for every number of iterations, seconds of one and the last objective."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"reconstruct.py: {command[0]} did not start: {' '.join(map(str, command))}")
        self.seconds, self.processor, self.objectives = [], [], []
        self.run()
        self.seconds.clear()  # the first takes memory
        self.processor.clear()

    def run(self):
        time.sleep(PAUSE)
        before = self.processor_seconds()
        self.process.stdin.write(f"{ITERATIONS}\n")
        self.process.stdin.flush()
        seconds, objective = map(float, self.process.stdout.readline().split())
        self.seconds.append(seconds)
        self.processor.append((self.processor_seconds() - before) / ITERATIONS)
        self.objectives.append(objective)

    def processor_seconds(self):
        """Of all threads of the process so far."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) * 1e-9

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __str__(self):
        return f"{1e3 * statistics.median(self.seconds):6.1f} ({1e3 * min(self.seconds):6.1f})"


def write_data(path, unit, channels, size):
    """Random numbers: weights that keep the size of values, targets and inputs as behind a ReLU."""
    random = np.random.default_rng(1)
    shape = (SAMPLES, channels, size, size)
    with open(path, "wb") as file:
        for _ in range(2 if unit == "block" else 1):
            file.write((random.standard_normal((channels, channels, 3, 3)) * (2 / (9 * channels)) ** 0.5).astype(np.float32).tobytes())
        for _ in range(2):
            file.write(np.maximum(random.standard_normal(shape, dtype=np.float32), 0).tobytes())


def compare(build, unit, channels, size, batch, threads, runs):
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        write_data(data, unit, channels, size)
        numbers = {"channels": channels, "size": size, "samples": SAMPLES, "batch": batch, "threads": threads}
        options = [f"--{name}={number}" for name, number in numbers.items()]
        torch = [sys.executable, HERE / "reconstruct_torch.py", unit, data, *options]
        programs = [Runner([build / "bin" / "reconstruct_bench", unit, data, *options]), Runner(torch),
                    Runner([*torch, "--channels-last"])]
        for _ in range(runs):
            for program in programs:
                program.run()
        for program in programs:
            program.close()
    ours, *theirs = programs
    for their in theirs:
        if not np.allclose(ours.objectives, their.objectives, rtol=1e-3):
            sys.exit(f"reconstruct.py: objectives differ: {ours.objectives} and {their.objectives}")
    their = min(theirs, key=lambda program: statistics.median(program.seconds))
    ratio = statistics.median(their.seconds) / statistics.median(ours.seconds)
    processor = statistics.median(their.processor) / statistics.median(ours.processor)
    of_processor = f" (of processor time {processor:.2f}, ours {1e3 * statistics.median(ours.processor):.1f} ms)" if threads == 1 else ""
    print(f"{unit:5} {channels:3}x{size:2}x{size:2} batch {batch} threads {threads}: ours {ours} ms, PyTorch {their} ms "
          f"({'channels last' if their is theirs[1] else 'channels first'}; the other {theirs[0] if their is theirs[1] else theirs[1]}), "
          f"{1 / statistics.median(ours.seconds):5.1f} iterations/s, {ratio:.2f} times PyTorch's{of_processor}", flush=True)
    return ratio


def shape(text):
    channels, size = map(int, text.split("x"))
    return channels, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--units", nargs="+", default=["layer", "block"], choices=["layer", "block"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", type=shape, nargs="+", default=[(64, 56)])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=10)
    o = parser.parse_args()
    ratios = [compare(o.build, unit, channels, size, o.batch, threads, o.runs)
              for channels, size in o.shapes for unit in o.units for threads in o.threads]
    sys.exit(0 if min(ratios) >= WANTED else f"reconstruct.py: {min(ratios):.2f} times PyTorch's iterations per second")


if __name__ == "__main__":
    main()
