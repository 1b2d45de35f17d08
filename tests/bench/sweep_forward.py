#!/usr/bin/env python3
"""A study of many configurations against a session of ONNX Runtime per network, alternating, in one run.

  sweep_forward.py BUILD_DIR [MODEL.onnx ...] [--images 500] [--threads 1 2] [--runs 3] [--npm DIR] [--layer-samples N]

Ours is one `quantbound sweep`, from the start of the program to the finished result file: reading and normalising images,
quantizing, f and 32 quantized networks, deviations, quantiles, rankings, attribution of the error. Theirs are 33 sessions
(f and 32 networks) that run the same number of images in batches of 32, their inputs ready in memory; the time of starting
node is not counted. The bounds of the study are switched off as far as they go (one cheap theory stays).
Without models: MobileNetV2, MobileNetV1 0.25, SqueezeNet and ResNet-44 of ../shared/data. Exits 1 where the ratio is below 1.3.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from forward import DEFAULT_MODELS, HERE, node_modules
from symbolic_batch import symbolic_batch

WANTED = 1.3
PAUSE = 0.5  # seconds before each run: the other program's idle workers spin for a while
STUDY = """
[study]
name = "bench"
[[network]]
file = "{model}"
domain = {{ low = -1000.0, high = 1000.0 }}
[[samples]]
name = "images"
images = "{images}"
layout = "NHWC"
scale = 127.5
mean = [1.0]
[quantization]
quantizer = ["floor", "round"]
granularity = ["tensor", "channel"]
bits = [2, 3, 4, 5, 6, 7, 8, 9]
[bounds]
theory = ["gonon"]
[observe]
samples = ["images"]
layer_samples = {layer_samples}
"""


def input_shape(program, model):
    told = json.loads(subprocess.run([program, "inspect", model, "--json"], check=True, capture_output=True, text=True).stdout)
    return map(int, told["input"].split("x"))


def ours(program, study, output, threads):
    output.unlink(missing_ok=True)
    time.sleep(PAUSE)
    begin = time.perf_counter()
    subprocess.run([program, "sweep", study, "--output", output, "--threads", str(threads)], check=True, capture_output=True)
    return time.perf_counter() - begin


def theirs(modules, model, sessions, images, batch, threads):
    time.sleep(PAUSE)
    command = ["node", HERE / "sweep.js", modules, model, *map(str, (sessions, images, batch, threads))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(arguments, modules, model, threads):
    program = arguments.build / "bin" / "quantbound"
    configurations = 32
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        channels, height, width = input_shape(program, model)
        pixels = np.random.default_rng(1).integers(0, 256, (arguments.images, height, width, channels), dtype=np.uint8)
        np.save(folder / "images.npy", pixels)
        (folder / "study.toml").write_text(STUDY.format(model=model, images=folder / "images.npy", layer_samples=arguments.layer_samples))
        (folder / model.name).write_bytes(symbolic_batch(model.read_bytes()))
        pairs = [(ours(program, folder / "study.toml", folder / "result.h5", threads),
                  theirs(modules, folder / model.name, configurations + 1, arguments.images, arguments.batch, threads))
                 for _ in range(arguments.runs)]
    mine, other = (statistics.median(side) for side in zip(*pairs))
    print(f"{model.stem:32} {configurations} configurations x {arguments.images} images, threads {threads}: ours {mine:7.2f} s, "
          f"{configurations + 1} sessions of ORT {other:7.2f} s, {other / mine:.2f} times as fast "
          f"(runs: {', '.join(f'{b / a:.2f}' for a, b in pairs)})", flush=True)
    return other / mine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layer-samples", type=int, default=16)
    parser.add_argument("--npm", type=Path, default=Path(tempfile.gettempdir()) / "npm")
    arguments = parser.parse_args()
    models = [model.resolve() for model in arguments.models or DEFAULT_MODELS if model.exists()]
    if not models:
        sys.exit("sweep_forward.py: no models: name some, or put them under ../shared/data")
    modules = node_modules(arguments.npm)
    ratios = [compare(arguments, modules, model, threads) for model in models for threads in arguments.threads]
    sys.exit(0 if min(ratios) >= WANTED else f"sweep_forward.py: less than {WANTED} times as fast as sessions of ONNX Runtime")


if __name__ == "__main__":
    main()
