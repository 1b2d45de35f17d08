#!/usr/bin/env python3
"""What happens between mpirun and the program: stops, deadlines and failing ranks. launch_test.py MPIEXEC PROGRAM."""
import os
import signal
import subprocess
import sys
import time
import unittest

MPIEXEC, PROGRAM = sys.argv[1:3]


class Job:
    """A job under mpirun; `launcher` may replace mpirun by nothing."""

    def __init__(self, ranks, *words, launcher=True, environment=None):
        command = [MPIEXEC, "--oversubscribe", "-n", str(ranks)] if launcher else []
        self.start = time.monotonic()
        self.process = subprocess.Popen([*command, PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, **(environment or {})})

    def wait_until_it_works(self):
        while self.process.stdout.readline().strip() != "working":
            if self.process.poll() is not None:
                raise AssertionError(self.process.stderr.read())

    def end(self):
        self.out, self.err = self.process.communicate(timeout=40)
        self.seconds = time.monotonic() - self.start
        return self.process.returncode


class Launch(unittest.TestCase):
    def test_sigusr1_to_mpirun_stops_all_ranks_cleanly(self):
        for schedule in ("static", "dynamic"):
            job = Job(3, "run", schedule, "0")
            job.wait_until_it_works()
            sent = time.monotonic()
            job.process.send_signal(signal.SIGUSR1)
            self.assertEqual(job.end(), 75, job.err)
            self.assertLess(time.monotonic() - sent, 15)
            self.assertIn("stopped by", job.out)

    def test_sigterm_to_mpirun_leaves_time_to_stop(self):
        # Open MPI 4.1 waits for all of this time before it ends, and then returns 1 whatever the program returned.
        job = Job(2, "run", "static", "0", environment={"OMPI_MCA_odls_base_sigkill_timeout": "3"})
        job.wait_until_it_works()
        job.process.send_signal(signal.SIGTERM)
        job.end()
        self.assertIn("stopped by signal", job.out)

    def test_the_deadline_ends_the_job(self):
        for ranks in (1, 3):
            job = Job(ranks, "run", "dynamic", "2")
            self.assertEqual(job.end(), 75, job.err)
            self.assertLess(job.seconds, 20)

    def test_a_throwing_rank_takes_the_job_down_and_says_why(self):
        for schedule in ("static", "dynamic"):
            job = Job(4, "throw", schedule, "0")
            self.assertEqual(job.end(), 1)
            self.assertLess(job.seconds, 20)
            self.assertEqual(job.err.count("error: rank 3: broken node"), 1, job.err)

    def test_without_mpirun_it_is_one_rank(self):
        job = Job(1, "run", "dynamic", "1", launcher=False)
        self.assertEqual(job.end(), 75, job.err)

    def test_the_mpirun_of_another_mpi_is_noticed(self):
        job = Job(1, "run", "static", "0", launcher=False, environment={"PMI_SIZE": "4", "PMI_RANK": "0"})
        self.assertEqual(job.end(), 2)
        self.assertIn("started as 4 processes, but MPI sees 1", job.err)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
