#!/usr/bin/env python3
"""How a sweep scales over ranks, and what it spends outside its kernels: on a quiet machine with at least 2 cores

  scaling.py BUILD_DIR [--study configs/paper/width_depth.toml] [--ranks 1 2] [--repeats 5] [--set KEY=VALUE ...] [--check]

Runs the study alternately with `mpirun -n` of every number of ranks, one thread each, and prints medians:
  wall      seconds of the whole command, mpirun's own start and end included
  launch    of these, what mpirun takes to start and end as many processes that do nothing (`--version`)
  kernels   seconds of all tasks together, from /provenance of the result; loading and drawing networks included
  overhead  1 - kernels / (ranks x (wall - launch)): planning, waiting, journal, result file
  speedup   wall of one rank / wall
The kernels are timed in the run itself, so cores that others use show up as slow kernels, not as overhead. With --check:
exits 1 unless the largest number of ranks reaches 0.9 of its ideal speedup and its overhead is at most 5 %.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMP_NUM_THREADS": "1"}
WANTED_EFFICIENCY, ALLOWED_OVERHEAD = 0.9, 0.05


def timed(command):
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    seconds = time.perf_counter() - start
    if run.returncode != 0:
        sys.exit(f"scaling.py: {' '.join(map(str, command))} ended with {run.returncode}:\n{run.stderr}")
    return seconds


class Measurement:
    """All runs with one number of ranks."""

    def __init__(self, ranks):
        self.ranks, self.walls, self.launches, self.kernels = ranks, [], [], []

    def run(self, binary, sweep, output):
        launcher = ["mpirun", "-n", str(self.ranks)]
        self.launches.append(timed([*launcher, binary, "--version"]))
        self.walls.append(timed([*launcher, binary, *sweep, "--output", output]))
        with h5py.File(output) as file:
            self.kernels.append(float(file["provenance/stage_time"][()].sum()))
        output.unlink()

    @property
    def wall(self):
        return statistics.median(self.walls)

    @property
    def overhead(self):
        """Of the median run: its own wall and kernel time belong together."""
        shares = [1 - kernels / (self.ranks * (wall - launch))
                  for kernels, wall, launch in zip(self.kernels, self.walls, self.launches)]
        return statistics.median(shares)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--study", type=Path, default=REPOSITORY / "configs" / "paper" / "width_depth.toml")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--schedule", choices=["static", "dynamic"], default="static")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the study, as `quantbound sweep --set`")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.ranks[0] != 1:
        parser.error("the first number of --ranks is 1: the others are compared with it")
    binary = arguments.build / "bin" / "quantbound"
    sweep = ["sweep", arguments.study, "--threads", "1", "--schedule", arguments.schedule]
    for change in arguments.set:
        sweep += ["--set", change]
    measurements = [Measurement(ranks) for ranks in arguments.ranks]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.repeats):
            for measurement in measurements:
                measurement.run(binary, sweep, Path(folder, "scaling.h5"))
    print(f"{arguments.study.name}, {arguments.schedule} schedule, medians of {arguments.repeats} alternating runs, "
          f"load average now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("ranks     wall   launch  kernels  overhead  speedup")
    for m in measurements:
        print(f"{m.ranks:5} {m.wall:7.2f}s {statistics.median(m.launches):7.2f}s {statistics.median(m.kernels):7.2f}s "
              f"{100 * m.overhead:7.1f} % {measurements[0].wall / m.wall:8.2f}")
    most = measurements[-1]
    good = measurements[0].wall / most.wall >= WANTED_EFFICIENCY * most.ranks and most.overhead <= ALLOWED_OVERHEAD
    return 1 if arguments.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
