#!/usr/bin/env python3
"""Our float engine against ONNX Runtime, alternating run by run in one session.

  forward.py BUILD_DIR [MODEL.onnx ...] [--batch 32] [--threads 1 2] [--runs 30] [--npm DIR]

Without models: MobileNetV2, MobileNetV1 0.25, SqueezeNet and ResNet-44 of ../shared/data. Both programs get the same
network, batch and number of threads; ours runs one engine per thread. Each line shows images per second of the best and
the median run, and the ratio of the best; on one thread of a busy machine the ratio of the medians of processor time
says more. Exits 1 when we are slower anywhere. onnxruntime-node is installed into DIR if needed.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from symbolic_batch import symbolic_batch

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[2] / "shared" / "data" / "models"
DEFAULT_MODELS = [MODELS / "imagenet" / "mbv2_1.0_tv_float_folded.onnx", MODELS / "imagenet" / "mbv1_0.25_224_float_folded.onnx",
                  MODELS / "imagenet" / "squeezenet1.1_float.onnx", MODELS / "cifar10" / "resnet44_cifar10_folded.onnx"]
ALLOWED = 1.0  # our time over theirs
PEAKS = {}  # GFLOP/s by number of threads, the best seen: other tenants only ever lower it
PAUSE = 0.2  # seconds before each run: ONNX Runtime's idle workers spin that long and would take our second core


class Runner:
    """A program that prints "ready" and then, for every line it reads, the seconds of one run."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"forward.py: {command[0]} did not start: {' '.join(map(str, command))}")

    def seconds(self):
        """Of one run: wall time, and the processor time of the whole process."""
        time.sleep(PAUSE)
        before = self.processor_seconds()
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        wall = float(self.process.stdout.readline())
        return wall, self.processor_seconds() - before

    def processor_seconds(self):
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) * 1e-9

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def node_modules(directory):
    modules = directory / "node_modules"
    if not (modules / "onnxruntime-node").exists():
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "onnxruntime-node", "--ignore-scripts", "--prefix", str(directory)], check=True)
    return modules


def compare(bench, modules, model, batch, threads, runs):
    with tempfile.TemporaryDirectory() as scratch:
        patched = Path(scratch) / model.name
        patched.write_bytes(symbolic_batch(model.read_bytes()))
        ours = Runner([bench, model, "--serve", f"--batch={batch}", f"--threads={threads}"])
        theirs = Runner(["node", HERE / "forward.js", modules, patched, str(batch), str(threads)])
        pairs = [(ours.seconds(), theirs.seconds()) for _ in range(runs)]
        ours.close()
        theirs.close()
    report = json.loads(subprocess.run([bench, model, f"--batch={batch}", f"--threads={threads}", "--seconds=1"],
                                       check=True, capture_output=True, text=True).stdout)
    PEAKS[threads] = max(PEAKS.get(threads, 0.0), report["peak"])
    (ours, our_processor), (theirs, their_processor) = (zip(*runs_of_one) for runs_of_one in zip(*pairs))
    ratio = min(ours) / min(theirs)
    processor_ratio = statistics.median(our_processor) / statistics.median(their_processor)
    gflops = batch / min(ours) * report["gflops"] / report["best"]
    print(f"{model.stem:32} batch {batch:3} threads {threads}: "
          f"ours {batch / min(ours):7.1f} ({batch / statistics.median(ours):7.1f}) img/s, "
          f"ORT {batch / min(theirs):7.1f} ({batch / statistics.median(theirs):7.1f}) img/s, time ratio {ratio:.2f} "
          f"(of processor time {processor_ratio:.2f}); "
          f"{gflops:.0f} of {PEAKS[threads]:.0f} GFLOP/s at peak ({100 * gflops / PEAKS[threads]:.0f} %)", flush=True)
    return ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--npm", type=Path, default=Path(tempfile.gettempdir()) / "npm")
    arguments = parser.parse_args()

    bench = arguments.build / "bin" / "forward_bench"
    models = arguments.models or [model for model in DEFAULT_MODELS if model.exists()]
    if not models:
        sys.exit("forward.py: no models: name some, or put them under ../shared/data")
    modules = node_modules(arguments.npm)
    ratios = [compare(bench, modules, model, arguments.batch, threads, arguments.runs)
              for model in models for threads in arguments.threads]
    sys.exit(0 if max(ratios) <= ALLOWED else f"forward.py: slower than ONNX Runtime: time ratio {max(ratios):.2f}")


if __name__ == "__main__":
    main()
