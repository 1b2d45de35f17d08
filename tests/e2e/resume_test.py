"""A sweep that is killed or stopped and resumed gives the bytes of one that was not, and repeats no finished task.

    QUANTBOUND_LONG=1 QUANTBOUND_BIN=build/bin/quantbound /usr/bin/python3 tests/e2e/resume_test.py      20 kills, not 4
"""
import os
import random
import signal
import time
import unittest

import h5py

import program
from program import CALIBRATION, DIGITS, EVALUATION, MODELS, UNIT_BOX, Started, journal_keys, quantbound, toml

STOPPED = 75
KILLS = 20 if program.LONG else 4
# Several seconds of many short tasks.
STUDY = {
    "study": {"name": "resumed", "seed": 5},
    "network": [
        {"file": [MODELS / "digits_mlp_5.onnx", MODELS / "digits_mlp_11.onnx", MODELS / "digits_cnn.onnx"], "domain": UNIT_BOX,
         "samples": ["digits"]},
        {"family": "mlp", "depth": [4, 8], "width": [64, 96], "draws": 8, "domain": {"low": -1.0, "high": 1.0}},
        {"family": "cnn", "depth": 4, "width": 8, "resolution": 12, "domain": {"low": -1.0, "high": 1.0}},
        {"family": "mlp", "depth": 3, "width": 8, "inputs": 3, "draws": 4, "domain": {"low": -1.0, "high": 1.0}}],
    "samples": [DIGITS],
    "quantization": {"quantizer": ["floor", "round", "stochastic"], "granularity": ["tensor", "channel"], "bits": [3, 5, 8]},
    "certify": {"method": ["difference_interval"]},
    "observe": {"uniform": 2500, "attack": {"starts": 2, "steps": 2}},
}
# Reconstructions of a second or more each, then short tasks that read their weights.
RECONSTRUCTED = {
    "study": {"name": "reconstructed", "seed": 5},
    "network": [{"file": MODELS / "digits_cnn.onnx", "domain": UNIT_BOX}],
    "samples": [CALIBRATION, EVALUATION],
    "quantization": {"quantizer": ["round", "cle_round", "qdrop", "mrecg_loss"], "granularity": "channel", "bits": [2, 3]},
    "reconstruct": {"samples": "fit", "iterations": 800, "batch": 32},
    "certify": {"method": ["difference_interval"]},
    "observe": {"samples": ["rest"], "uniform": 100},
}


def run_undisturbed(cls, study):
    """What all other runs of a class are compared with: its study file, seconds, content. The result file."""
    holder = program.WithFolder()
    holder.setUp()
    cls.addClassCleanup(holder.doCleanups)
    cls.study = holder.write("study.toml", toml(study))
    whole = holder.folder / "whole.h5"
    start = time.monotonic()
    run = quantbound("sweep", cls.study, "--output", whole, "--threads", 1)
    cls.seconds = time.monotonic() - start
    if run.code != 0:
        raise AssertionError(run.err)
    cls.whole = program.describe(whole)
    return whole


class Resume(program.WithFolder):
    @classmethod
    def setUpClass(cls):
        """The uninterrupted run that all others are compared with."""
        whole = run_undisturbed(cls, STUDY)
        with h5py.File(whole) as file:
            cls.tasks = int(file["provenance"].attrs["tasks_run"])

    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.h5"
        self.journal = self.folder / "out.h5.journal"

    def words(self, *more):
        return ("sweep", self.study, "--output", self.out, "--threads", 1, *more)

    def assert_kept(self, earlier):
        """What was finished is still there, nothing was done twice, and there is no result yet. Returns the keys."""
        keys = journal_keys(self.journal)
        self.assertEqual(len(keys), len(set(keys)), "a finished task was repeated")
        self.assertLessEqual(set(earlier), set(keys))
        self.assertEqual([path.name for path in self.folder.iterdir() if path != self.journal], [])
        return keys

    def assert_complete(self, finished_before):
        """The result is that of the uninterrupted run, and this last run did just what was missing."""
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["out.h5"])
        self.assertEqual(program.differences(self.whole, program.describe(self.out)), [])
        with h5py.File(self.out) as file:
            self.assertEqual(int(file["provenance"].attrs["tasks_run"]), self.tasks - len(finished_before))

    def finish(self, keys, ranks=None):
        run = quantbound(*self.words("--resume"), ranks=ranks)
        self.assertEqual(run.code, 0, run.err)
        self.assert_complete(keys)
        self.out.unlink()

    def test_the_study_is_worth_interrupting(self):
        self.assertGreaterEqual(self.tasks, 20)
        self.assertGreater(self.seconds, 1.5)

    def test_killed_at_random_moments(self):
        seed = int(os.environ.get("QUANTBOUND_SEED", time.time_ns() % 1000000))
        moments = random.Random(seed)
        kills, mid_run, late, keys = 0, 0, 0, []
        with self.subTest(seed=seed):
            while kills < KILLS:
                ranks = moments.choice([None, 1, 2, 3, 4])
                schedule = moments.choice(["static", "dynamic"])
                run = Started(*self.words("--schedule", schedule, *(["--resume"] if self.journal.exists() else [])), ranks=ranks)
                self.addCleanup(run.kill)
                left = self.seconds * (1 - len(keys) / self.tasks) / min(ranks or 1, 2)
                time.sleep(moments.uniform(0.1, 0.4 + left))
                ended = run.process.poll() is not None
                run.kill()
                kills += 1
                if self.out.exists():  # it was faster than the kill, or nearly
                    if self.journal.exists():
                        self.assertEqual(quantbound(*self.words("--resume")).code, 0)
                    self.assert_complete(keys)
                    self.out.unlink()
                    late, keys = late + 1, []
                    continue
                self.assertFalse(ended, "the run ended by itself and left no result")
                keys = self.assert_kept(keys) if self.journal.exists() else []
                mid_run += 0 < len(keys) < self.tasks
            self.finish(keys, ranks=moments.choice([None, 2, 3]))
            print(f"{kills} kills (seed {seed}): {mid_run} left some tasks finished and not all, {late} came too late")
            self.assertGreater(mid_run, 0, "no kill hit a run that had finished some tasks and not all")

    def wait_for_records(self, run, count=1):
        while len(journal_keys(self.journal)) < count:
            self.assertIsNone(run.process.poll(), "ended before it had finished a task")
            time.sleep(0.02)

    def test_one_rank_killed(self):
        run = Started(*self.words(), ranks=2)
        self.addCleanup(run.kill)
        self.wait_for_records(run, 2)
        os.kill(run.ranks()[1], signal.SIGKILL)
        self.assertNotEqual(run.wait().code, 0)
        keys = self.assert_kept([])
        self.assertGreaterEqual(len(keys), 2)
        self.finish(keys, ranks=3)

    def test_a_torn_record_is_computed_again(self):
        run = Started(*self.words(), ranks=2)
        self.addCleanup(run.kill)
        self.wait_for_records(run, 4)
        run.kill()
        torn = max(self.journal.iterdir(), key=lambda path: path.stat().st_size)
        torn.write_bytes(torn.read_bytes()[:-7])
        self.finish(journal_keys(self.journal))

    def stop(self, number, ranks, to_rank=False, mpirun=()):
        """The signal, to the launcher or to one rank, once some task is finished. Returns how the run ended."""
        run = Started(*self.words(), ranks=ranks, mpirun=mpirun)
        self.addCleanup(run.kill)
        self.wait_for_records(run)
        os.kill(run.ranks()[-1] if to_rank else run.process.pid, number)
        return run.wait()

    def assert_stopped_in_order(self, ended):
        said = [line for line in ended.err.splitlines() if "stopped early" in line]
        self.assertEqual(len(said), 1, ended.err)
        self.assertRegex(said[0], r"quantbound: .*progress is saved.*--resume")
        self.assertEqual(ended.errors, [])
        keys = self.assert_kept([])
        self.assertLess(len(keys), self.tasks)
        self.finish(keys, ranks=2)

    def test_signals_to_a_single_process(self):
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            with self.subTest(signal=number.name):
                ended = self.stop(number, None)
                self.assertEqual(ended.code, STOPPED, ended.err)
                self.assert_stopped_in_order(ended)

    def test_a_usr1_to_mpirun(self):
        """mpirun hands it on, waits, and returns our exit code: the signal to ask a batch system for."""
        ended = self.stop(signal.SIGUSR1, 2)
        self.assertEqual(ended.code, STOPPED, ended.err)
        self.assert_stopped_in_order(ended)

    def test_a_term_to_mpirun(self):
        """Open MPI waits odls_base_sigkill_timeout seconds (default 1), sends TERM, waits as long again, sends KILL, and
        returns 1 whatever the ranks return. So this study is one that takes minutes. Its progress is saved."""
        longer = ("--set", "observe.uniform=400000")
        run = Started(*self.words(*longer), ranks=2, mpirun=("--mca", "odls_base_sigkill_timeout", "3"))
        self.addCleanup(run.kill)
        self.wait_for_records(run)
        os.kill(run.process.pid, signal.SIGTERM)
        ended = run.wait()
        self.assertEqual((ended.code, ended.errors), (1, []), ended.err)
        self.assertEqual(ended.err.count("stopped early, progress is saved"), 1, ended.err)
        keys = self.assert_kept([])
        again = quantbound(*self.words(*longer, "--resume", "--max-time", 0.03))
        self.assertEqual(again.code, STOPPED, again.err)
        self.assertGreater(len(self.assert_kept(keys)), len(keys))

    def test_a_signal_to_one_rank_stops_all(self):
        ended = self.stop(signal.SIGUSR1, 3, to_rank=True)
        self.assertEqual(ended.code, STOPPED, ended.err)
        self.assert_stopped_in_order(ended)

    def test_max_time(self):
        for ranks, minutes in ((None, 0.5 * self.seconds / 60), (2, 0.3 * self.seconds / 60), (2, 1e-6)):
            with self.subTest(ranks=ranks, minutes=minutes):
                run = quantbound(*self.words("--max-time", minutes), ranks=ranks)
                self.assertEqual((run.code, run.errors), (STOPPED, []), run.err)
                self.assertRegex(run.err, r"quantbound: stopped early.*--resume")
                self.finish(self.assert_kept([]))

    def test_a_long_search_is_dropped_when_a_stop_comes(self):
        """What it had proved by then depends on the moment: it is no record, and is searched again."""
        study = self.write("long.toml", toml({
            "study": {"name": "long"}, "quantization": {"bits": 4},
            "network": [{"family": "mlp", "depth": 6, "width": 32, "inputs": 6, "domain": {"low": -1.0, "high": 1.0}}],
            "certify": {"method": ["branch_and_bound"], "tolerance": 0.0}}))
        out = self.folder / "long.h5"
        for ranks in (None, 2):
            start = time.monotonic()
            run = quantbound("sweep", study, "--output", out, "--threads", 1, "--max-time", 2 / 60, "--resume", ranks=ranks)
            self.assertEqual((run.code, run.errors), (STOPPED, []), run.err)
            self.assertLess(time.monotonic() - start, 60)
            self.assertEqual(journal_keys(self.folder / "long.h5.journal"), [])
            self.assertFalse(out.exists())

    def test_resume_without_anything_to_resume(self):
        self.finish([])
        self.assertEqual(quantbound(*self.words("--resume"), ranks=2).code, 0)
        kept = self.out.read_bytes()
        for ranks in (None, 2):
            run = quantbound(*self.words("--resume"), ranks=ranks)
            self.assertEqual((run.code, run.err), (0, ""))
            self.assertRegex(run.out, r"\A.*out\.h5 is complete already\n\Z")
            self.assertEqual(self.out.read_bytes(), kept)

    def test_two_sweeps_with_one_output(self):
        run = Started(*self.words())
        self.addCleanup(run.kill)
        self.wait_for_records(run)
        second = quantbound(*self.words("--resume"))
        self.assertEqual((second.code, len(second.errors)), (1, 1), second.err)
        self.assertRegex(second.errors[0], "another process is writing this journal")
        self.assertEqual(run.wait().code, 0)
        self.assert_complete([])


class ResumeReconstruction(program.WithFolder):
    """Weights, and states within a module, outlive stops and kills; what comes of them is what an undisturbed run gives."""

    @classmethod
    def setUpClass(cls):
        run_undisturbed(cls, RECONSTRUCTED)

    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.h5"
        self.journal = self.folder / "out.h5.journal"

    def words(self, *more):
        return ("sweep", self.study, "--output", self.out, "--threads", 1, "--resume", *more)

    def pieces(self, extension):
        return sorted(path.name for path in self.journal.glob(f"*.{extension}"))

    def assert_complete(self, ranks=None):
        run = quantbound(*self.words(), ranks=ranks)
        self.assertEqual(run.code, 0, run.err)
        self.assert_result()

    def assert_result(self):
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["out.h5"])
        self.assertEqual(program.differences(self.whole, program.describe(self.out)), [])
        self.out.unlink()

    def wait_for(self, run, condition):
        while not condition():
            self.assertIsNone(run.process.poll(), "ended before it was where it was to be interrupted")
            time.sleep(0.01)

    def start(self, *more, ranks=None):
        run = Started(*self.words(*more), ranks=ranks)
        self.addCleanup(run.kill)
        return run

    def test_a_stop_within_a_module_leaves_a_state_that_is_continued(self):
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                states = 0
                for stop in range(4):
                    run = quantbound(*self.words("--max-time", (0.5 + 0.4 * stop) * self.seconds / 3 / 60), ranks=ranks)
                    if run.code == 0:
                        break
                    self.assertEqual((run.code, run.errors), (STOPPED, []), run.err)
                    states += len(self.pieces("state")) > 0
                self.assertGreater(states, 0, "no stop came within a reconstruction")
                if run.code != 0:
                    run = quantbound(*self.words(), ranks=3 if ranks else None)
                self.assertEqual(run.code, 0, run.err)
                self.assert_result()

    def test_a_state_is_worth_keeping(self):
        """A reconstruction that is never given the time for more than a part of a module ends all the same."""
        words = ("--set", "quantization.quantizer=qdrop", "--set", "quantization.bits=2", "--set", "reconstruct.iterations=4000")
        whole = self.folder / "whole.h5"
        start = time.monotonic()
        run = quantbound("sweep", self.study, "--output", whole, "--threads", 1, *words)
        self.assertEqual(run.code, 0, run.err)
        seconds = time.monotonic() - start
        stops = 0
        while (run := quantbound(*self.words(*words, "--max-time", max(0.25 * seconds, 1.0) / 60))).code == STOPPED:
            stops += 1
            self.assertLess(stops, 100, "no progress is kept")
        self.assertEqual(run.code, 0, run.err)
        self.assertGreater(stops, 0)
        self.assertEqual(program.differences(program.describe(whole), program.describe(self.out)), [])

    def test_killed_between_and_after_the_reconstructions(self):
        for count in (1, 4):
            with self.subTest(weights=count):
                run = self.start(ranks=2)
                self.wait_for(run, lambda: len(self.pieces("weights")) >= count)
                run.kill()
                self.assertFalse(self.out.exists())
                self.assert_complete(ranks=1)

    def test_weights_that_are_gone_or_damaged_are_made_again(self):
        run = self.start(ranks=2)
        self.wait_for(run, lambda: len(self.pieces("weights")) >= 3)
        run.kill()
        weights = [self.journal / name for name in self.pieces("weights")]
        weights[0].unlink()
        content = bytearray(weights[1].read_bytes())
        content[len(content) // 2] ^= 1
        weights[1].write_bytes(content)
        weights[2].with_suffix(".weights.partial").write_bytes(b"half")
        self.assert_complete()

    def test_progress_tells_loss_and_time_left(self):
        run = quantbound(*self.words("--set", "reconstruct.iterations=3000000", "--set", "quantization.quantizer=qdrop", "--max-time", 0.25))
        self.assertEqual(run.code, STOPPED, run.err)
        self.assertRegex(run.err, r"digits_cnn, qdrop/channel/[23]/seed 5: module \d/\d \(\w+\), iteration \d+/3000000, loss [0-9.e+-]+, .* left")


if __name__ == "__main__":
    unittest.main()
