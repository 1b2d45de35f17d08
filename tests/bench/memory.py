#!/usr/bin/env python3
"""Peak memory of a study against what `quantbound plan` says.

  memory.py BUILD_DIR [MODEL.onnx ...] [--images 100] [--threads 1 2]

Each line: the largest resident set of `quantbound sweep` (one process), what `plan` stated for it, their ratio. Without models:
those of forward.py. Exits 1 where the statement is off by more than 20 %.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from forward import DEFAULT_MODELS
from sweep_forward import STUDY, input_shape

ALLOWED = 0.2


def peak_bytes(command):
    """Largest resident set of the command, which /proc/PID/status would forget when it ends."""
    code = "import resource,subprocess,sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); " \
           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    return int(subprocess.run([sys.executable, "-c", code, *map(str, command)], check=True, capture_output=True, text=True).stdout)


def compare(program, model, images, threads):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        channels, height, width = input_shape(program, model)
        np.save(folder / "images.npy", np.random.default_rng(1).integers(0, 256, (images, height, width, channels), dtype=np.uint8))
        (folder / "study.toml").write_text(STUDY.format(model=model, images=folder / "images.npy", layer_samples=16))
        plan = json.loads(subprocess.run([program, "plan", folder / "study.toml", "--threads", str(threads), "--json"], check=True, capture_output=True,
                                         text=True).stdout)
        peak = peak_bytes([program, "sweep", folder / "study.toml", "--output", folder / "result.h5", "--threads", threads])
    stated = plan["rank_megabytes"] * 1e6
    print(f"{model.stem:32} threads {threads}: peak {peak / 1e6:6.1f} MB, stated {stated / 1e6:6.1f} MB, ratio {stated / peak:.2f}", flush=True)
    return abs(stated / peak - 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    models = [model.resolve() for model in arguments.models or DEFAULT_MODELS if model.exists()]
    if not models:
        sys.exit("memory.py: no models: name some, or put them under ../shared/data")
    off = [compare(arguments.build / "bin" / "quantbound", model, arguments.images, threads) for model in models for threads in arguments.threads]
    sys.exit(0 if max(off) <= ALLOWED else f"memory.py: the plan is off by more than {ALLOWED:.0%}")


if __name__ == "__main__":
    main()
