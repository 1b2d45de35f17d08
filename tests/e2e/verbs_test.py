"""What every verb answers: help and version once, JSON with the keys of DESIGN.md 7 and nothing else on stdout, and a
sweep in which one network fails while the others are done.
"""
import json
import pathlib
import re
import unittest

import h5py
import numpy as np
import xarray as xr

import program
from program import DIGITS, MODELS, UNIT_BOX, dense_model, quantbound, small_study, toml

VERBS = ("sweep", "plan", "inspect", "bound", "certify", "quantize", "show")
THEORIES = ["gonon", "neyshabur", "berner", "houache_mean", "houache_conv", "houache_layerwise", "operator_norm",
            "absolute_product", "path_metric"]
NETWORK = MODELS / "digits_mlp_5.onnx"
SOME_FAILED = 3


def strict(text):
    """JSON as the standard has it: Python's reader would take NaN and Infinity."""
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")
    return json.loads(text, parse_constant=refuse)


class Answers(program.WithFolder):
    def answer(self, *words, ranks=None):
        run = quantbound(*words, ranks=ranks, folder=self.folder)
        self.assertEqual((run.code, run.err), (0, ""))
        return run.out

    def json(self, *words):
        """One line, one object."""
        out = self.answer(*words, "--json")
        self.assertEqual(out.count("\n"), 1)
        return strict(out)

    def test_help_and_version_are_said_once(self):
        for ranks in (None, 2):
            for words in (("--help",), ("-h",), ("help",), ("--version",)):
                with self.subTest(words=words, ranks=ranks):
                    out = self.answer(*words, ranks=ranks)
                    self.assertEqual(len(re.findall(r"(?m)^(?:usage: )?quantbound (?:VERB \[|\d)", out)), 1)

    def test_the_version_says_what_is_running(self):
        first, *rest = self.answer("--version", ranks=2).splitlines()
        self.assertRegex(first, r"\Aquantbound \d+\.\d+\.\d+\Z")
        said = dict(re.match(r"  (\w+(?: \w+)?) {2,}(\S.*)", line).groups() for line in rest)
        self.assertEqual(list(said), ["commit", "compiler", "instruction set", "MPI", "HDF5", "oneDNN", "threads"])
        self.assertRegex(said["commit"], r"\A([0-9a-f]{12}(-modified)?|unknown)\Z")
        self.assertRegex(said["compiler"], r"\A\S+ \d+\.\S+, \w+\Z")
        self.assertRegex(said["MPI"], r"MPI.*\d+\.\d+")
        self.assertRegex(said["HDF5"], r"\A\d+\.\d+\.\d+\S*, parallel\Z")
        self.assertRegex(said["oneDNN"], r"\A\d+\.\d+\.\d+\Z")
        # What is used at run time follows the environment and the processor, not the build.
        older = quantbound("--version", ONEDNN_MAX_CPU_ISA="SSE41", OMP_NUM_THREADS="7").out
        self.assertIn("sse41 in oneDNN", older)
        self.assertIn("7 per process", older)
        flags = set(re.search(r"(?m)^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text())[1].split())
        here = ("AVX-512" if {"avx512f", "avx512dq", "avx512vl", "avx512bw"} <= flags else "AVX2" if {"avx2", "fma"} <= flags else "baseline")
        self.assertIn(f"here {here} for weights", said["instruction set"])

    def test_a_verb_that_needs_one_process_answers_once(self):
        words = ("inspect", NETWORK, "--json")
        self.assertEqual(self.answer(*words, ranks=2), self.answer(*words))

    def test_every_verb_has_a_help_that_names_its_options(self):
        overview = self.answer("--help")
        for verb in VERBS:
            self.assertRegex(overview, rf"(?m)^  {verb} ")
            out = self.answer(verb, "--help")
            self.assertEqual(out, self.answer("help", verb))
            self.assertTrue(out.startswith(f"usage: quantbound {verb} "))
            self.assertLessEqual(max(map(len, out.splitlines())), 100)
        shared = "bits edge-bits quantizer granularity step grid seed input-shape json "
        for verb, options in (("sweep", "output resume max-time threads schedule set"), ("plan", "set json"), ("inspect", shared),
                              ("bound", shared + "box vnnlib around radius clip samples uniform precision threads"),
                              ("certify", shared + "against box vnnlib around radius clip scale method tolerance threshold max-seconds "
                               "max-boxes max-memory split attack write-merged trace checkpoint resume threads"),
                              ("quantize", shared + "output pack equalization samples rows layout scale mean std iterations batch modules "
                               "weighting drop bias-correction threads checkpoint resume"), ("show", "json network bits")):
            out = self.answer(verb, "--help")
            for option in options.split():
                self.assertIn(f"--{option}", out)
        self.assertEqual(self.answer("sweep", "--help", ranks=2), self.answer("sweep", "--help"))
        self.assertEqual(self.answer("sweep", "none.toml", "--frobnicate", "--help"), self.answer("sweep", "--help"))

    def test_plan(self):
        study = self.write_study(quantization={"bits": [3, 4], "granularity": ["tensor", "channel"]},
                                 network=[{"file": [NETWORK, MODELS / "digits_cnn.onnx"], "domain": UNIT_BOX}])
        plan = self.json("plan", study)
        self.assertEqual((plan["study"], plan["networks"], plan["configurations"]), ("small", 2, 4))
        self.assertGreater(plan["tasks"], 0)
        self.assertGreater(plan["core_seconds"], 0)
        self.assertEqual(self.json("plan", study, "--set", "quantization.bits=[3]")["configurations"], 2)
        text = self.answer("plan", study)
        self.assertIn("2 networks x 4 configurations = 8 pairs", text)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["study.toml"])

    def test_inspect(self):
        answer = self.json("inspect", NETWORK)
        self.assertEqual([layer["shape"] for layer in answer["layers"]], ["48", "48", "48", "48", "10"])
        self.assertEqual([layer["fan_in"] for layer in answer["layers"]], [64, 48, 48, 48, 48])
        self.assertEqual(answer["parameters"], 64 * 48 + 48 + 3 * (48 * 48 + 48) + 48 * 10 + 10)
        for layer in answer["layers"]:
            self.assertLessEqual({"name", "op", "shape", "fan_in", "norm"}, set(layer))
            self.assertGreater(layer["norm"], 0)
        self.assertAlmostEqual(sum(layer["share"] for layer in answer["layers"]), 1)
        weights = [[1.5, -2.0], [0.25, 0.25], [3.0, 0.0]]
        path = self.write("tiny.onnx", dense_model((weights, [0, 0, 9]), ([[1, -1, -1]], [0])))
        for layer, norm in zip(self.json("inspect", path)["layers"], (3.5, 3.0), strict=True):  # upper bounds, barely above
            self.assertTrue(norm <= layer["norm"] <= norm * (1 + 1e-14), layer)
        self.assertIn("tiny: input 2, output 1, 2 weight layers, 13 parameters", self.answer("inspect", path))

    def test_bound(self):
        answer = self.json("bound", NETWORK, "--bits", 6, "--quantizer", "floor", "--granularity", "channel", "--box", 0, 1)
        self.assertEqual(set(answer), {"depth", "r_max", "r_mean", "r_conv", "log10_bound", "observed_max"})
        self.assertEqual((answer["depth"], sorted(answer["log10_bound"])), (5, sorted(THEORIES)))
        self.assertIsNone(answer["log10_bound"]["houache_conv"])  # the network has biases
        finite = [bound for theory, bound in answer["log10_bound"].items() if theory != "houache_conv"]
        self.assertLess(np.log10(answer["observed_max"]), min(finite))
        # The same pair in a sweep: the same numbers.
        study = self.write_study(quantization={"quantizer": "floor", "granularity": "channel", "bits": 6}, observe={"uniform": 1024})
        self.assertEqual(quantbound("sweep", study, "--output", self.folder / "one.h5").code, 0)
        ds = xr.open_dataset(self.folder / "one.h5").squeeze().load()
        for theory in set(THEORIES) - {"houache_conv"}:
            self.assertEqual(float(ds.log10_bound.sel(theory=theory)), answer["log10_bound"][theory], theory)
        for name in ("r_max", "r_mean", "r_conv"):
            self.assertEqual(float(ds[name]), answer[name], name)

    def test_edge_bits_mean_the_same_pair_to_every_verb(self):
        words = ("--bits", 3, "--edge-bits", 7, "--box", 0, 1)
        study = self.write_study(quantization={"bits": 3, "edge_bits": 7}, certify={"method": ["difference_interval"]})
        self.assertEqual(quantbound("sweep", study, "--output", self.folder / "one.h5").code, 0)
        ds = xr.open_dataset(self.folder / "one.h5").squeeze().load()
        self.assertEqual(ds.attrs["edge_bits"], 7)
        answer = self.json("bound", NETWORK, *words)
        plain = self.json("bound", NETWORK, "--bits", 3, "--box", 0, 1)
        for theory in set(THEORIES) - {"houache_conv"}:
            self.assertEqual(float(ds.log10_bound.sel(theory=theory)), answer["log10_bound"][theory], theory)
        for theory in ("absolute_product", "operator_norm", "houache_layerwise"):  # others take the worst layer for all
            self.assertGreater(plain["log10_bound"][theory], answer["log10_bound"][theory], theory)
        certificate = self.json("certify", NETWORK, *words, "--method", "difference_interval", "--attack", 0)
        self.assertEqual(float(ds.certified), certificate["upper"])
        self.assertLess(answer["observed_max"], certificate["upper"])
        self.assertIn("round/tensor/3/edges 7", self.answer("bound", NETWORK, *words))
        edges, plain = (self.json("inspect", NETWORK, "--bits", 3, *more)["layers"] for more in (("--edge-bits", 7), ()))
        self.assertLess(edges[0]["share"] + edges[-1]["share"], (plain[0]["share"] + plain[-1]["share"]) / 4)

    def test_bound_takes_every_domain_and_samples(self):
        ball = ("--around", f"{DIGITS['images']}:3", "--radius", 0.5)
        wide, narrow = self.json("bound", NETWORK, *ball), self.json("bound", NETWORK, *ball, "--clip", 0, 1)
        self.assertGreater(wide["log10_bound"]["gonon"], narrow["log10_bound"]["gonon"])
        limits = "(declare-const X_{0} Real)\n(assert (>= X_{0} 0.0))\n(assert (<= X_{0} 1.0))\n"
        vnnlib = self.write("box.vnnlib", "".join(limits.format(i) for i in range(64)))
        box = self.json("bound", NETWORK, "--box", 0, 1)
        self.assertEqual(self.json("bound", NETWORK, "--vnnlib", vnnlib)["log10_bound"], box["log10_bound"])
        unmeasured = self.json("bound", NETWORK, "--box", 0, 1, "--uniform", 0)
        self.assertIsNone(unmeasured["observed_max"])
        images = self.folder / "ones.npy"
        np.save(images, np.stack([np.ones(64), np.full(64, 0.5), np.full(64, 7.0)]))  # the last one lies outside
        on_samples = ("bound", NETWORK, "--box", 0, 1, "--uniform", 0, "--samples", images)
        self.assertGreater(self.json(*on_samples)["observed_max"], 0)
        self.assertIn("on 0 uniform points of the domain and 2 of 3 samples, those inside it", self.answer(*on_samples))
        self.assertEqual(self.json("bound", NETWORK, "--box", 0, 1, "--threads", 2), box)
        double = self.json("bound", NETWORK, "--box", 0, 1, "--precision", "double")
        self.assertAlmostEqual(double["observed_max"], box["observed_max"], places=4)

    def test_negative_limits_and_a_file_that_brings_its_box(self):
        self.assertGreater(self.json("bound", NETWORK, "--box", -1.5, 1)["log10_bound"]["gonon"],
                           self.json("bound", NETWORK, "--box", -1, 1)["log10_bound"]["gonon"])
        nnet = self.write("tiny.nnet", "// test\n1,2,1,2,\n2,1,\n0,\n0,0,\n1,1,\n0,0,0,\n1,1,1,\n0.5,-0.5,\n0.25,\n")
        self.assertEqual(self.json("bound", nnet)["depth"], 1)

    def test_show(self):
        study = self.write_study(quantization={"quantizer": ["floor", "round"], "bits": [3, 4, 8]}, samples=[DIGITS],
                                 observe={"uniform": 64, "samples": ["digits"]})
        out = self.folder / "shown.h5"
        self.assertEqual(quantbound("sweep", study, "--output", out).code, 0)
        rows = self.json("show", out)["rows"]
        self.assertEqual([(row["quantizer"], row["bits"]) for row in rows], [(q, b) for q in ("floor", "round") for b in (3, 4, 8)])
        ds = xr.open_dataset(out).squeeze().load()
        for row in rows:
            pair = ds.sel(quantizer=row["quantizer"], bits=row["bits"])
            self.assertEqual((row["network"], row["depth"]), ("digits_mlp_5", 5))
            self.assertEqual(row["r_mean"], float(pair.r_mean))
            self.assertEqual(row["log10_gonon"], float(pair.log10_bound.sel(theory="gonon")))
            self.assertEqual(row["log10_tightest"], float(pair.log10_bound.min()))
            self.assertEqual(row["observed_max"], float(pair.observed_max.max()))
            self.assertEqual(row["accuracy"], float(pair.accuracy.sel(samples="digits")))
        self.assertEqual(len(self.json("show", out, "--bits", 4, "--quantizer", "round")["rows"]), 1)
        table = self.answer("show", out)
        self.assertEqual(len(re.findall(r"(?m)^digits_mlp_5 ", table)), 6)
        self.assertIn("tightest", table)

    def test_plan_and_show_certificates(self):
        study = self.write_study(network=[{"file": NETWORK, "domain": {"around": "digits", "radius": 0.05, "count": 3}}], samples=[DIGITS],
                                 quantization={"bits": [3, 8]}, certify={"method": ["difference_interval", "interval"]},
                                 observe={"attack": {"starts": 4, "steps": 5}})
        plan = self.answer("plan", study)
        for part in ("certify interval ", "certify difference_interval ", "attack "):
            self.assertRegex(plan, rf"(?m)^{part} *\d+\.\d core seconds")
        out = self.folder / "certified.h5"
        self.assertEqual(quantbound("sweep", study, "--output", out).code, 0)
        ds = xr.open_dataset(out).squeeze().load()
        self.assertEqual(ds.certified.dims, ("region", "bits", "method"))
        rows = self.json("show", out)["rows"]
        for row in rows:
            pair = ds.sel(bits=row["bits"])
            best = pair.certified.min("method")
            self.assertEqual(row["certified"], float(best.max()))
            winner = pair.certified.isel(region=int(best.values.argmax()))
            self.assertEqual(row["certified_method"], str(winner.method.values[int(winner.values.argmin())]))
            self.assertEqual(row["attacked"], float(pair.attacked.max()))
            self.assertEqual(row["gap"], row["certified"] / row["attacked"])
        self.assertRegex(self.answer("show", out), r"(?m)^network .* certified +method +attacked +gap +observed")

    def test_a_network_path_with_strange_characters_is_still_json(self):
        strange = self.write('we"ird\\name\n.onnx', NETWORK.read_bytes())
        self.assertEqual(len(self.json("inspect", strange)["layers"]), 5)
        study = self.write("strange.toml", toml(small_study(network=[{"file": strange, "domain": UNIT_BOX}])))
        out = self.folder / "strange.h5"
        self.assertEqual(quantbound("sweep", study, "--output", out).code, 0)
        self.assertEqual(self.json("show", out)["rows"][0]["network"], 'we"ird\\name\n')


class Failing(program.WithFolder):
    """A network whose numbers leave the range of doubles when its norms are taken: no error of the study, one of a task."""

    HUGE = "// huge\n2,2,1,2,\n2,2,1,\n0,\n0,0,\n1,1,\n0,0,0,\n1,1,1,\n" + "1e308,1e308,\n1e308,-1e308,\n0,\n0,\n1e308,1e308,\n0,\n"

    def sweep(self, ranks=None):
        networks = [{"file": [NETWORK], "domain": UNIT_BOX}, {"file": self.write("huge.nnet", self.HUGE)},
                    {"file": MODELS / "digits_cnn.onnx", "domain": UNIT_BOX}]
        study = self.write_study(network=networks, quantization={"bits": [4, 8]}, observe={"uniform": 64})
        return quantbound("sweep", study, "--output", self.folder / "out.h5", ranks=ranks)

    def test_a_failing_network_is_recorded_and_the_others_are_done(self):
        results = []
        for ranks in (None, 2):
            run = self.sweep(ranks)
            self.assertEqual((run.code, run.errors), (SOME_FAILED, []), run.err)
            self.assertRegex(run.out, r"out\.h5 is written, but \d+ pieces? of work failed; quantbound show .*out\.h5 says which")
            results.append(program.describe(self.folder / "out.h5"))
        self.assertEqual(program.differences(*results), [])
        ds = xr.open_dataset(self.folder / "out.h5").load()
        flags = dict(zip(ds.status.attrs["flag_meanings"].split(), ds.status.attrs["flag_values"]))
        self.assertEqual(ds.status.squeeze().values.tolist(), [[flags[state]] * 2 for state in ("done", "failed", "done")])
        huge, others = ds.sel(network="huge"), ds.drop_sel(network="huge")
        self.assertTrue(huge.log10_bound.isnull().all())
        self.assertTrue(huge.observed_max.isnull().all())
        self.assertTrue(others.log10_bound.sel(theory="gonon").notnull().all())
        self.assertTrue((np.log10(others.observed_max) < others.log10_bound.min("theory")).all())
        with h5py.File(self.folder / "out.h5") as file:
            failures = file["failures"]
            self.assertEqual(set(failures["failure_network"].asstr()), {"huge"})
            self.assertIn("norms", set(failures["failure_stage"].asstr()))
            for message in failures["failure_message"].asstr():
                self.assertRegex(message, "beyond|finite|overflow")

    def test_show_says_that_something_failed(self):
        self.assertEqual(self.sweep().code, SOME_FAILED)
        run = quantbound("show", self.folder / "out.h5")
        self.assertEqual(run.code, 0)
        self.assertRegex(run.out, r"(?m)^failed: huge, norms: .*beyond the range of doubles")
        self.assertNotIn("failed", quantbound("show", self.folder / "out.h5", "--network", "digits_cnn").out)
        rows = strict(quantbound("show", self.folder / "out.h5", "--json").out)["rows"]
        self.assertIsNone(next(row for row in rows if row["network"] == "huge")["log10_gonon"])
        self.assertIsNotNone(next(row for row in rows if row["network"] == "digits_cnn")["log10_gonon"])

    def test_the_verbs_of_one_network_fail_with_one_line(self):
        path = self.write("huge.nnet", self.HUGE)
        for words in (("bound", path), ("inspect", path)):
            run = quantbound(*words)
            self.assertEqual((run.code, run.out, len(run.errors), run.err.count("\n")), (1, "", 1, 1), run.err)
            self.assertRegex(run.errors[0], "beyond the range of doubles")


if __name__ == "__main__":
    unittest.main()
