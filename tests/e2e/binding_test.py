"""What `sweep` says at its start about ranks, threads and processors, and when it warns: bound as the test binds it."""
import os
import socket
import subprocess
import unittest

import program
from program import quantbound

HOST = socket.gethostname()
CPUS = sorted(os.sched_getaffinity(0))


class StartReport(program.WithFolder):
    def said(self, *words, cpus=None, ranks=None, mpirun=(), **variables):
        """The lines about the start of a small sweep whose processes may use the processors `cpus`."""
        study = self.write_study()
        former = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cpus or former)
        try:
            run = quantbound("sweep", study, "--output", self.folder / "out.h5", *words, ranks=ranks, mpirun=mpirun, **variables)
        finally:
            os.sched_setaffinity(0, former)
        self.assertEqual(run.code, 0, run.err)
        return [line for line in run.err.splitlines() if line.startswith("quantbound: ") and ("rank" in line)]

    def test_as_many_threads_as_the_mask_allows(self):
        self.assertEqual(self.said(cpus={CPUS[-1]}), [f"quantbound: 1 rank on {HOST}, 1 thread and 1 processor per rank"])
        plural = "s" if len(CPUS) > 1 else ""
        self.assertEqual(self.said(), [f"quantbound: 1 rank on {HOST}, {len(CPUS)} thread{plural} and {len(CPUS)} processor{plural} per rank"])

    def test_more_threads_than_the_mask_allows(self):
        for words, variables in ((("--threads", 3), {}), ((), {"OMP_NUM_THREADS": "3"})):
            self.assertEqual(self.said(*words, cpus={CPUS[0]}, **variables), [
                f"quantbound: 1 rank on {HOST}, 3 threads and 1 processor per rank",
                f"quantbound: warning: 1 of 1 rank with more threads than processors (rank 0 on {HOST}: 3 threads, 1 processor); "
                "bind wider (mpirun --map-by slot:PE=3 --bind-to core) or use --threads"])

    def test_ranks_that_share_processors(self):
        self.assertEqual(self.said(cpus={CPUS[0]}, ranks=3, mpirun=("--bind-to", "none")), [
            f"quantbound: 3 ranks on {HOST}, 1 thread and 1 processor per rank",
            f"quantbound: warning: {HOST}: 3 ranks with 3 threads together share 1 processor; start fewer ranks or use --threads"])

    @unittest.skipIf(len(CPUS) < 2, "one processor")
    def test_ranks_bound_to_a_processor_each(self):
        """What mpirun -n 2 does unasked: without --threads the program takes what it is given, with it it says so."""
        self.assertEqual(self.said(ranks=2, mpirun=("--bind-to", "core")), [f"quantbound: 2 ranks on {HOST}, 1 thread and 1 processor per rank"])
        first, *warnings = self.said("--threads", 2, ranks=2, mpirun=("--bind-to", "core"))
        self.assertEqual(first, f"quantbound: 2 ranks on {HOST}, 2 threads and 1 processor per rank")
        self.assertRegex(warnings[0], r"warning: 2 of 2 ranks with more threads than processors \(rank 0 on .*: 2 threads, 1 processor\)")
        self.assertRegex(warnings[1], r"warning: .*: 2 ranks with 4 threads together share 2 processors")
        self.assertEqual(len(warnings), 2)

    @unittest.skipIf(len(CPUS) < 2, "one processor")
    def test_a_rank_bound_as_the_warning_says(self):
        self.assertEqual(self.said("--threads", 2, ranks=1, mpirun=("--map-by", "slot:PE=2", "--bind-to", "core")),
                         [f"quantbound: 1 rank on {HOST}, 2 threads and 2 processors per rank"])


if __name__ == "__main__":
    unittest.main()
