"""The verb certify as its users meet it: what it prints, what it refuses, that its bounds hold and meet, that ranks,
threads, kills and restarts do not change what is proved.
"""
import csv
import json
import os
import signal
import time
import unittest

import numpy as np

import program
from program import MODELS, SHARED, Started, dense_model, onnx_writer, quantbound

DIGITS_NETWORK = MODELS / "digits_mlp_5.onnx"
BALL = ("--around", f"{MODELS / 'digits_test_x.npy'}:0", "--scale", 16, "--radius", 0.02, "--clip", 0, 1)
METHODS = ["interval", "merged_interval", "difference_interval", "difference_zonotope", "merged_crown", "difference_crown",
           "alpha_crown", "star", "branch_and_bound"]
USAGE, STOPPED = 2, 75
REGION = (-0.2, 0.2)  # of the searches that are interrupted


def random_layers(sizes, seed=1):
    random = np.random.default_rng(seed)
    return [(np.float32(random.normal(size=(o, i)) * np.sqrt(2 / i)), np.float32(0.1 * random.normal(size=o)))
            for i, o in zip(sizes, sizes[1:])]


def changed(layers, size, seed=2):
    random = np.random.default_rng(seed)
    return [(np.float32(w + size * random.normal(size=w.shape)), b) for w, b in layers]


def evaluate(layers, x):
    """In double, with the weights as the files have them."""
    for index, (weights, bias) in enumerate(layers):
        x = np.float64(weights) @ x + np.float64(bias)
        if index + 1 < len(layers):
            x = np.maximum(x, 0)
    return x


class Certify(program.WithFolder):
    def setUp(self):
        super().setUp()
        self.f = random_layers([3, 16, 16, 2])
        self.g = changed(self.f, 0.01)
        self.f_file = self.write("f.onnx", dense_model(*self.f))
        self.g_file = self.write("g.onnx", dense_model(*self.g))
        self.pair = (self.f_file, "--against", self.g_file)

    def certify(self, *words, ranks=None, code=0):
        run = quantbound("certify", *words, "--json", ranks=ranks, folder=self.folder)
        self.assertEqual(run.code, code, run.err)
        self.assertEqual(run.out.count("\n"), 1)
        return json.loads(run.out)

    def assert_refused(self, pattern, *words, ranks=None):
        before = sorted(path.name for path in self.folder.iterdir())
        run = quantbound("certify", *words, ranks=ranks, folder=self.folder)
        said = program.without_notices(run.err)
        self.assertEqual(len(said), 1, run.err)
        self.assertRegex(said[0], r"\Aquantbound: error: .*" + pattern)
        self.assertEqual((run.out, run.code), ("", USAGE), run.err)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), before)

    def sampled(self, box=(-1, 1), count=20000):
        points = np.random.default_rng(3).uniform(*box, size=(count, 3))
        points[:1000] = np.sign(points[:1000])
        return np.array([evaluate(self.g, x) - evaluate(self.f, x) for x in points])


class Answers(Certify):
    def test_every_method_holds_and_they_meet(self):
        answer = self.certify(*self.pair, "--box", -1, 1, "--method", ",".join(METHODS[:4]), "--method", ",".join(METHODS[4:]))
        self.assertLessEqual({"upper", "lower", "seconds", "boxes", "method", "outputs"}, set(answer))
        self.assertEqual(list(answer["method"]), METHODS)
        samples = self.sampled()
        largest = np.abs(samples).max()
        for method, upper in answer["method"].items():
            self.assertGreaterEqual(upper, largest * (1 - 1e-12), method)
            self.assertLessEqual(answer["upper"], upper)
        self.assertGreaterEqual(answer["lower"], 0.99 * largest)
        self.assertLessEqual(answer["upper"], 1.05 * answer["lower"] * (1 + 1e-12))
        for i, output in enumerate(answer["outputs"]):
            self.assertLessEqual(output["lower"], samples[:, i].min() + 1e-12)
            self.assertGreaterEqual(output["upper"], samples[:, i].max() - 1e-12)
        self.assertEqual(answer["upper"], max(max(-o["lower"], o["upper"]) for o in answer["outputs"]))
        difference = evaluate(self.g, np.array(answer["witness"])) - evaluate(self.f, np.array(answer["witness"]))
        self.assertAlmostEqual(np.abs(difference).max(), answer["lower"], places=12)
        self.assertGreater(answer["boxes"], len(METHODS) - 1)

    def test_a_quantization_of_a_digits_network_on_a_ball(self):
        answer = self.certify(DIGITS_NETWORK, *BALL, "--bits", 6, "--granularity", "channel")
        self.assertGreater(answer["lower"], 0)
        self.assertLess(answer["lower"], answer["upper"])
        self.assertNotIn("branch_and_bound", answer["method"])  # 64 inputs
        self.assertLess(min(answer["method"].values()), answer["method"]["interval"] / 10)
        eight = self.certify(DIGITS_NETWORK, *BALL, "--bits", 8, "--granularity", "channel", "--method", "difference_interval")
        self.assertLess(eight["upper"], answer["method"]["difference_interval"])

    def test_a_convolutional_network(self):
        answer = self.certify(MODELS / "digits_cnn.onnx", *BALL, "--bits", 4, "--method", "interval,merged_interval,difference_interval")
        self.assertLess(answer["lower"], answer["upper"])
        self.assertGreater(answer["lower"], 0)

    def test_at_a_point_every_method_gives_the_deviation(self):
        answer = self.certify(*self.pair, "--box", 0.25, 0.25, "--method", ",".join(METHODS), "--attack", "1/0")
        deviation = np.abs(evaluate(self.g, np.full(3, 0.25)) - evaluate(self.f, np.full(3, 0.25))).max()
        for method, upper in answer["method"].items():
            self.assertAlmostEqual(upper, deviation, places=12, msg=method)
        self.assertAlmostEqual(answer["lower"], deviation, places=12)

    def test_a_network_against_itself_does_not_deviate(self):
        answer = self.certify(self.f_file, "--against", self.f_file, "--box", -1, 1)
        self.assertEqual((answer["upper"], answer["lower"], answer["attacked"]), (0, 0, 0))

    def test_the_text_says_what_the_json_says(self):
        words = (*self.pair, "--box", -1, 1, "--method", "difference_interval,branch_and_bound")
        answer = self.certify(*words)
        run = quantbound("certify", *words)
        self.assertEqual((run.code, run.err), (0, ""))
        lines = {line.split()[0]: line.split() for line in run.out.splitlines() if line}
        self.assertGreaterEqual(float(lines["upper"][1]), answer["upper"])
        self.assertAlmostEqual(float(lines["upper"][1]), answer["upper"], places=6)
        self.assertLessEqual(float(lines["lower"][1]), answer["lower"])
        self.assertAlmostEqual(float(lines["lower"][1]), answer["lower"], places=6)
        self.assertGreaterEqual(float(lines["branch_and_bound"][1]), answer["method"]["branch_and_bound"])
        self.assertIn("within 5 %", run.out)
        self.assertGreaterEqual(float(lines["0"][2]), answer["outputs"][0]["upper"])
        self.assertLessEqual(float(lines["0"][1]), answer["outputs"][0]["lower"])

    def test_a_threshold_is_proved_refuted_or_out_of_reach(self):
        words = (*self.pair, "--box", -1, 1)
        lower = self.certify(*words, "--tolerance", 0.001)["lower"]
        proved = self.certify(*words, "--threshold", 1.1 * lower)
        self.assertEqual(proved["verdict"], "proved")
        self.assertLessEqual(proved["upper"], 1.1 * lower)
        refuted = self.certify(*words, "--threshold", 0.9 * lower)
        self.assertEqual(refuted["verdict"], "refuted")
        self.assertGreater(np.abs(np.array(refuted["f_q"]) - np.array(refuted["f"])).max(), 0.9 * lower)
        np.testing.assert_allclose(refuted["f"], evaluate(self.f, np.array(refuted["witness"])), rtol=1e-12)
        np.testing.assert_allclose(refuted["f_q"], evaluate(self.g, np.array(refuted["witness"])), rtol=1e-12)
        open_ = self.certify(*words, "--threshold", 1.001 * lower, "--method", "difference_interval")
        self.assertEqual(open_["verdict"], "bound reached")
        for threshold, said in ((1.1, "proved: |f_q - f| <="), (0.9, "refuted: |f_q - f| <=")):
            self.assertIn(said, quantbound("certify", *words, "--threshold", threshold * lower).out)

    def property(self, low, high, box=(-1, 1)):
        """A VNN-LIB 2.0 property of two networks: low <= g - f <= high."""
        text = "(vnnlib-version <2.0>)\n(declare-network f\n (declare-input X_f real [3])\n (declare-output Y_f real [2])\n)\n"
        text += "(declare-network g\n (isomorphic-to f)\n (declare-input X_g real [3])\n (declare-output Y_g real [2])\n)\n"
        for i in range(3):
            text += f"(assert (and (<= X_f[{i}] {box[1]}) (>= X_f[{i}] {box[0]})))\n(assert (== X_f[{i}] X_g[{i}]))\n"
        for i in range(2):
            text += f"(assert (and (<= Y_g[{i}] (+ Y_f[{i}] {high})) (>= Y_g[{i}] (- Y_f[{i}] {-low}))))\n"
        return self.write("property.vnnlib", text)

    def test_a_property_of_two_networks(self):
        lower = self.certify(*self.pair, "--box", -1, 1)["lower"]
        wide = self.property(-1.2 * lower, 1.2 * lower)
        proved = self.certify(*self.pair, "--vnnlib", wide)
        self.assertEqual(proved["verdict"], "proved")
        refuted = self.certify(*self.pair, "--vnnlib", self.property(-0.5 * lower, 0.5 * lower))
        self.assertEqual(refuted["verdict"], "refuted")
        self.assertGreater(np.abs(np.array(refuted["f_q"]) - np.array(refuted["f"])).max(), 0.5 * lower)
        self.assertTrue(all(-1 <= x <= 1 for x in refuted["witness"]))
        self.assert_refused(r"two networks.*--against.*property\.vnnlib", self.f_file, "--vnnlib", wide)
        self.assert_refused(r"--threshold.*leave it out", *self.pair, "--vnnlib", wide, "--threshold", 1)
        self.assert_refused(r"exclude each other", *self.pair, "--vnnlib", wide, "--box", 0, 1)

    def test_the_merged_network_can_be_read(self):
        merged = self.folder / "merged.onnx"
        self.certify(*self.pair, "--box", -1, 1, "--method", "interval", "--write-merged", merged)
        run = quantbound("inspect", merged, "--json")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual([layer["shape"] for layer in json.loads(run.out)["layers"]], ["32", "32", "4", "2"])
        # What it computes: f_q - f, against f - f_q the double of that.
        back = self.folder / "back.onnx"
        self.certify(self.g_file, "--against", self.f_file, "--box", -1, 1, "--method", "interval", "--write-merged", back)
        answer = self.certify(merged, "--against", back, "--box", 0.25, 0.25, "--method", "difference_interval")
        difference = evaluate(self.g, np.full(3, 0.25)) - evaluate(self.f, np.full(3, 0.25))
        self.assertAlmostEqual(answer["upper"], 2 * np.abs(difference).max(), places=12)

    def test_the_trace_closes(self):
        trace = self.folder / "trace.csv"
        answer = self.certify(*self.pair, "--box", -1, 1, "--tolerance", 0.001, "--trace", trace)
        with open(trace, newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        self.assertEqual(list(rows[0]), ["seconds", "boxes", "upper", "lower", "open"])
        for before, after in zip(rows, rows[1:]):
            self.assertGreaterEqual(after["seconds"], before["seconds"])
            self.assertGreaterEqual(after["boxes"], before["boxes"])
            self.assertGreaterEqual(after["lower"], before["lower"])
            self.assertLessEqual(after["upper"], before["upper"] * (1 + 1e-12))
        self.assertAlmostEqual(rows[-1]["upper"], answer["method"]["branch_and_bound"], places=12)
        self.assertLessEqual(rows[-1]["lower"], answer["lower"])

    def test_limits_end_the_search_with_what_is_proved(self):
        words = (*self.pair, "--box", -20, 20, "--tolerance", 0, "--method", "branch_and_bound")
        by_boxes = self.certify(*words, "--max-boxes", 300)
        self.assertTrue(300 <= by_boxes["boxes"] <= 400, by_boxes["boxes"])
        started = time.monotonic()
        by_time = self.certify(*words, "--max-seconds", 0.3)
        self.assertLess(time.monotonic() - started, 20)
        for answer in (by_boxes, by_time):
            self.assertGreaterEqual(answer["upper"], by_boxes["lower"])
        self.assertIn("ended by --max-boxes", quantbound("certify", *words, "--max-boxes", 300).out)

    def test_inputs_and_activations_can_be_split(self):
        words = (*self.pair, "--box", -1, 1, "--method", "branch_and_bound", "--max-boxes", 200)
        by_input, by_activation = (self.certify(*words, "--split", split) for split in ("input", "activation"))
        self.assertNotEqual(by_input["upper"], by_activation["upper"])
        self.assertGreaterEqual(by_activation["upper"], by_input["lower"])
        self.assertGreaterEqual(by_input["upper"], by_activation["lower"])
        convolutional = self.certify(MODELS / "digits_cnn.onnx", *BALL, "--method", "difference_crown,branch_and_bound", "--max-boxes", 20)
        self.assertLessEqual(convolutional["lower"], convolutional["upper"])

    def test_threads_do_not_change_a_bit(self):
        def timeless(answer):
            return {key: value for key, value in answer.items() if key != "seconds"}
        words = (*self.pair, "--box", -2, 2, "--tolerance", 0.01)
        one = self.certify(*words, "--threads", 1)
        self.assertEqual(timeless(self.certify(*words, "--threads", 2)), timeless(one))


class Ranks(Certify):
    def test_any_number_of_ranks_gives_the_same_answer(self):
        words = (*self.pair, "--box", -3, 3, "--tolerance", 0.002, "--threads", 1)
        alone = self.certify(*words)
        largest = np.abs(self.sampled((-3, 3))).max()
        for ranks in (1, 2, 3, 4):
            with self.subTest(ranks=ranks):
                answer = self.certify(*words, ranks=ranks)
                self.assertGreaterEqual(answer["upper"], largest * (1 - 1e-12))
                self.assertGreaterEqual(answer["upper"], alone["lower"])
                self.assertGreaterEqual(alone["upper"], answer["lower"])
                self.assertLessEqual(answer["upper"], 1.002 * answer["lower"] * (1 + 1e-9))
                for method in METHODS[:-1]:
                    self.assertEqual(answer["method"].get(method), alone["method"].get(method))

    def test_ranks_share_verdicts(self):
        words = (*self.pair, "--box", -3, 3)
        lower = self.certify(*words, "--tolerance", 0.002)["lower"]
        for factor, verdict in ((1.02, "proved"), (0.99, "refuted")):
            answer = self.certify(*words, "--threshold", factor * lower, "--attack", 0, "--method", "branch_and_bound", ranks=3)
            self.assertEqual(answer["verdict"], verdict)

    def test_errors_are_told_once(self):
        self.assert_refused("a domain is needed", *self.pair, ranks=2)
        self.assert_refused("'magic'", *self.pair, "--box", 0, 1, "--method", "magic", ranks=2)
        self.assert_refused("none does not exist|folder", *self.pair, "--box", 0, 1, "--trace", "none/trace.csv", ranks=2)


class Resume(Certify):
    """A search of seconds: some 100,000 boxes."""

    def setUp(self):
        super().setUp()
        self.f = random_layers([5, 32, 32, 32, 32, 3])
        self.f_file = self.write("f.onnx", dense_model(*self.f))
        self.checkpoint = self.folder / "search.state"
        self.words = (self.f_file, "--bits", 5, "--box", *REGION, "--tolerance", 0.1, "--method", "branch_and_bound",
                      "--threads", 1, "--max-seconds", 300)
        self.saving = (*self.words, "--checkpoint", self.checkpoint)

    def started(self, *words, ranks=None):
        """A run whose search has begun: its trace has rows."""
        trace = self.folder / "rows.csv"
        run = Started("certify", *words, "--json", "--trace", trace, ranks=ranks, folder=self.folder)
        self.addCleanup(run.kill)
        while not (trace.exists() and trace.read_text().count("\n") > 3):
            self.assertIsNone(run.process.poll(), "ended before it could be stopped")
            time.sleep(0.01)
        trace.unlink()
        return run

    def interrupted(self, number, ranks=None, to_rank=False):
        """The signal early in the search, which is saved."""
        run = self.started(*self.saving, ranks=ranks)
        os.kill(run.ranks()[-1] if to_rank else run.process.pid, number)
        ended = run.wait()
        self.assertEqual(ended.code, STOPPED, ended.err)
        self.assertIn("progress is saved; run the same command again with --resume", ended.err)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["f.onnx", "g.onnx", "search.state"])

    def test_a_signal_and_resume_give_the_uninterrupted_answer(self):
        whole = self.certify(*self.words)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            with self.subTest(signal=number.name):
                self.interrupted(number)
                resumed = self.certify(*self.saving, "--resume")
                self.assertFalse(self.checkpoint.exists())
                for key in ("upper", "lower", "boxes", "method", "outputs", "witness"):
                    self.assertEqual(resumed[key], whole[key], key)

    def test_ranks_save_and_others_go_on(self):
        whole = self.certify(*self.words)
        for ranks, later in ((2, 3), (3, None), (None, 2)):
            with self.subTest(ranks=ranks, later=later):
                self.interrupted(signal.SIGUSR1, ranks, to_rank=ranks is not None)
                resumed = self.certify(*self.saving, "--resume", ranks=later)
                self.assertLessEqual(resumed["upper"], 1.1 * resumed["lower"] * (1 + 1e-9))
                self.assertGreaterEqual(resumed["upper"], whole["lower"])
                self.assertGreaterEqual(whole["upper"], resumed["lower"])
                self.assertFalse(self.checkpoint.exists())

    def test_a_limit_saves_and_the_trace_goes_on(self):
        trace = self.folder / "trace.csv"
        limited = (*self.saving[:-2], "--max-boxes", 2000, "--checkpoint", self.checkpoint, "--trace", trace)
        first = self.certify(*limited, code=STOPPED)
        second = self.certify(*limited, "--resume", code=STOPPED)
        self.assertLessEqual(second["upper"], first["upper"])
        self.assertGreater(second["boxes"], first["boxes"])
        self.assertGreater(second["seconds"], first["seconds"])
        rows = trace.read_text().splitlines()
        self.assertEqual(rows.count("seconds,boxes,upper,lower,open"), 1)
        boxes = [int(row.split(",")[1]) for row in rows[1:]]
        self.assertEqual(boxes, sorted(boxes))
        self.assertGreater(boxes[-1], 3500)

    def test_a_checkpoint_that_does_not_fit_is_refused_and_kept(self):
        self.certify(*self.words, "--max-boxes", 500, "--checkpoint", self.checkpoint, code=STOPPED)
        kept = self.checkpoint.read_bytes()
        self.assert_refused(r"--resume, or remove.*search\.state", *self.saving)
        for change in (("--bits", 6), ("--box", REGION[0], 1.1 * REGION[1]), ("--tolerance", 0.02), ("--split", "activation"), ("--seed", 2)):
            words = list(self.saving)
            if change[0] in words:
                at = words.index(change[0])
                words[at:at + len(change)] = change
            else:
                words += change
            self.assert_refused(r"belongs to another problem.*search\.state", *words, "--resume")
        for damaged in (kept[:-9], kept[:20], b"", kept[:-3] + b"abc", b"no checkpoint at all"):
            self.checkpoint.write_bytes(damaged)
            self.assert_refused(r"damaged.*search\.state", *self.saving, "--resume")
        self.checkpoint.write_bytes(kept)
        self.assertEqual(self.certify(*self.saving, "--resume")["boxes"], self.certify(*self.words)["boxes"])

    def test_resume_without_a_checkpoint_starts_anew_and_says_so(self):
        run = quantbound("certify", *self.words, "--max-boxes", 100, "--resume", "--checkpoint", self.checkpoint)
        self.assertEqual(run.code, STOPPED)
        self.assertIn("no checkpoint yet", run.err)

    def test_a_signal_without_a_checkpoint_prints_what_is_proved(self):
        run = self.started(*self.words)
        os.kill(run.process.pid, signal.SIGTERM)
        ended = run.wait()
        self.assertEqual(ended.code, 1, ended.err)
        self.assertEqual(len(ended.errors), 1)
        answer = json.loads(next(line for line in ended.err.splitlines() if line.startswith("{")))
        self.assertGreater(answer["upper"], answer["lower"])


class BadInput(Certify):
    def test_options_that_are_wrong_or_contradict_each_other(self):
        pair, box = self.pair, ("--box", -1, 1)
        good = (*pair, *box)
        for words, pattern in (
                (pair, "a domain is needed"), ((*good, "--method", "crown"), "'crown'.*difference_crown"),
                ((*good, "--method", "star,star"), "'star' twice"), ((*good, "--method", ""), "''"),
                ((*good, "--method", "interval,"), "''"),
                ((*good, "--bits", 4), "--against and --bits"), ((*good, "--edge-bits", 8), "--against and --edge-bits"),
                ((*good, "--quantizer", "floor"), "--against and --quantizer"),
                ((*good, "--step", "mse"), "--against and --step"), ((*good, "--tolerance", -1), "--tolerance"),
                ((*good, "--tolerance", "nan"), "--tolerance"), ((*good, "--threshold", -1), "--threshold"),
                ((*good, "--threshold", "inf"), "--threshold"), ((*good, "--threshold", 1, "--tolerance", 0.1), "exclude each other"),
                ((*good, "--max-seconds", 0), "--max-seconds"), ((*good, "--max-boxes", 0), "--max-boxes"),
                ((*good, "--max-memory", 0), "--max-memory"), ((*good, "--max-memory", "nan"), "--max-memory"),
                ((*good, "--split", "both"), "automatic, input, activation"),
                ((*good, "--method", "interval", "--split", "input"), "--split belongs to branch_and_bound"),
                ((*good, "--method", "interval", "--max-boxes", 3), "--max-boxes belongs to branch_and_bound"),
                ((*good, "--method", "interval", "--trace", "t.csv"), "--trace belongs to branch_and_bound"),
                ((*good, "--method", "interval", "--checkpoint", "c"), "--checkpoint belongs to branch_and_bound"),
                ((*good, "--resume"), "--resume needs --checkpoint"), ((*good, "--attack", "many"), "STARTS/STEPS"),
                ((*good, "--attack", "3"), "STARTS/STEPS"), ((*good, "--attack", "0/5"), "at least one start"),
                ((*good, "--attack", "-1/5"), "STARTS/STEPS|attack"), ((*good, "--threads", 0), "--threads"),
                ((*pair, "--box", 1, -1), "LOW <= HIGH"), ((*pair, "--box", "nan", 1), "--box needs finite"),
                ((*pair, "--box", 0, "inf"), "--box needs finite"), ((*good, "--scale", 2), "--scale belongs to --around"),
                ((DIGITS_NETWORK, *BALL, "--scale", 0), "scale"),
                ((DIGITS_NETWORK, "--around", f"{MODELS / 'digits_test_x.npy'}:0", "--radius", "nan"), "--radius"),
                ((*good, "--trace", "none/t.csv"), "--trace does not exist|folder of --trace"),
                ((*good, "--trace", self.folder), "--trace names a folder"),
                ((*good, "--checkpoint", "none/c"), "folder of --checkpoint"),
                ((*good, "--write-merged", "none/m.onnx"), "folder of --write-merged"),
                ((*good, "--write-merged", "merged.txt"), r"\.onnx"), ((*good, "--frobnicate"), "frobnicate")):
            with self.subTest(words=words[2:] if words[0] == pair[0] else words):
                self.assert_refused(pattern, *words)

    def test_pairs_that_do_not_fit(self):
        box = ("--box", -1, 1)
        other_input = self.write("input.onnx", dense_model(*random_layers([4, 16, 2])))
        other_output = self.write("output.onnx", dense_model(*random_layers([3, 16, 5])))
        for path in (other_input, other_output, MODELS / "digits_cnn.onnx"):
            self.assert_refused(r"\(", self.f_file, "--against", path, *box)
        self.assert_refused("none.onnx", self.f_file, "--against", self.folder / "none.onnx", *box)
        weights, bias = self.f[1]
        weights = weights.copy()
        weights[1, 2] = np.nan
        broken = self.write("nan.onnx", dense_model(self.f[0], (weights, bias), self.f[2]))
        self.assert_refused("nan", self.f_file, "--against", broken, *box)
        self.assert_refused("nan", broken, *box)

    def test_properties_that_say_nothing_useful(self):
        bounds = "(declare-const X_{0} Real)\n(assert (>= X_{0} {1}))\n(assert (<= X_{0} {2}))\n"
        empty = self.write("empty.vnnlib", "".join(bounds.format(i, 1, 0) for i in range(3)))
        self.assert_refused(r"no value of input X_0.*empty\.vnnlib", *self.pair, "--vnnlib", empty)
        short = self.write("short.vnnlib", "".join(bounds.format(i, 0, 1) for i in range(2)))
        self.assert_refused(r"declares 2 inputs.*short\.vnnlib", *self.pair, "--vnnlib", short)
        for name, text in (("cut", "(vnnlib-version <2.0>)\n(declare-network f\n (declare-input X_f real [3]"), ("no", "hello"),
                           ("one", "(vnnlib-version <2.0>)\n(declare-network f\n (declare-input X_f real [3])\n"
                                   " (declare-output Y_f real [2])\n)\n")):
            self.assert_refused(rf"{name}\.vnnlib", *self.pair, "--vnnlib", self.write(f"{name}.vnnlib", text))

    def test_methods_that_cannot_be_applied_are_named_with_the_reason(self):
        self.assert_refused("difference_zonotope cannot be applied.*GiB", DIGITS_NETWORK, "--box", 0, 1, "--method", "difference_zonotope",
                            "--max-memory", 0.0001)

    def test_a_full_disk_ends_in_order(self):
        with self.mounted("size=4k") as place:
            (place / "filler").write_bytes(bytes(4096))
            for option, name in (("--trace", "t.csv"), ("--checkpoint", "c"), ("--write-merged", "m.onnx")):
                run = quantbound("certify", *self.pair, "--box", -20, 20, "--tolerance", 0, "--max-boxes", 200, "--method",
                                 "branch_and_bound", option, place / name)
                self.assertEqual((run.code, len(run.errors)), (1, 1), run.err)
                self.assertRegex(run.errors[0], rf"No space left on device.*{name}")


@unittest.skipUnless((SHARED / "data" / "models" / "merged").is_dir(), "needs shared/data")
class Published(Certify):
    def test_the_example_of_the_merged_network_papers(self):
        """arXiv 2304.13812's authors' example: the maximum is known from enumerating all kinks (docs/theory.md 4)."""
        models = SHARED / "data" / "models" / "merged"
        for other, exact in (("large_quantized", 0.3541190331), ("pruned_quantized", 84.7304880)):
            answer = self.certify(models / "large.onnx", "--against", models / f"{other}.onnx", "--box", 0, 1, "--tolerance", 1e-7)
            self.assertAlmostEqual(answer["upper"] / exact, 1, delta=1e-6)
            self.assertLessEqual(answer["lower"], answer["upper"])

    def test_isomorphic_pairs_of_the_competition(self):
        models = SHARED / "data" / "models" / "isomorphic"
        for f in sorted(models.glob("*_2000.onnx")):
            g = next(models.glob(f"{f.stem}_pruned*.onnx"))
            with self.subTest(pair=f.stem):
                answer = self.certify(f, "--against", g, "--vnnlib", SHARED / "data" / "vnnlib" / "isomorphic_epsilon_0.05.vnnlib",
                                      "--max-seconds", 100)
                self.assertEqual(answer["verdict"], "proved")


if __name__ == "__main__":
    unittest.main()
