"""`quantbound merge`: the parts of a study that was cut in pieces give what the study gives at once, and files that
contradict each other are refused.
"""
import json
import subprocess
import sys
import unittest

import h5py
import numpy as np
import xarray as xr

import program
from program import CALIBRATION, DIGITS, EVALUATION, MODELS, UNIT_BOX, quantbound, toml
from references import attributes_of, entries, found_in, names_and_dimensions

USAGE = 2
FAMILY = {"family": "mlp", "depth": [3, 5], "width": 16, "inputs": 4, "domain": {"low": -1.0, "high": 1.0}}
FILES = [MODELS / "digits_mlp_5.onnx", MODELS / "digits_cnn.onnx"]
STUDY = {
    "study": {"name": "cut", "seed": 3},
    "network": [{"file": FILES, "domain": UNIT_BOX, "samples": ["digits"]}, FAMILY],
    "samples": [DIGITS],
    "quantization": {"quantizer": ["floor", "round", "stochastic"], "granularity": ["tensor", "channel"], "bits": [2, 4, 8], "seed": [1, 2]},
    "certify": {"method": ["interval", "difference_interval"]},
    "observe": {"uniform": 100, "attack": {"starts": 1, "steps": 2}},
}
RECONSTRUCTED = {
    "study": {"name": "methods"},
    "network": [{"file": FILES, "domain": UNIT_BOX}],
    "samples": [CALIBRATION, EVALUATION],
    "quantization": {"quantizer": ["round", "cle_round", "gptq"], "granularity": "channel", "bits": [2, 3]},
    "reconstruct": {"samples": "fit"},
    "observe": {"samples": ["rest"]},
}
# What tells the studies apart, and cannot be that of a study that was never written.
ABOUT_STUDY = ["/@study_hash", "/@study_toml"]
# How large the float error is said to be depends on how a study's work is cut into tasks.
ABOUT_FLOATS = {"/observed_error", "/observed_quantile_upper"}
ANALYSIS = program.REPOSITORY / "scripts" / "analysis"


class Merge(program.WithFolder):
    @classmethod
    def setUpClass(cls):
        holder = program.WithFolder()
        holder.setUp()
        cls.addClassCleanup(holder.doCleanups)
        cls.made = holder.folder
        cls.whole = cls.sweep("whole", STUDY)

    @classmethod
    def sweep(cls, name, study, *words):
        """A result of its own, made once."""
        out = cls.made / f"{name}.h5"
        if not out.exists():
            path = cls.made / f"{name}.toml"
            path.write_text(toml(study))
            run = quantbound("sweep", path, "--output", out, "--threads", 1, *words)
            if run.code not in (0, 3):
                raise AssertionError(run.err)
        return out

    def merge(self, *parts):
        out = self.folder / "merged.h5"
        run = quantbound("merge", *parts, "-o", out)
        self.assertEqual((run.code, run.err), (0, ""))
        self.assertRegex(run.out, rf"\A.*merged\.h5 from {len(parts)} files?: quantbound stud.*: \d+ networks? x \d+ configurations?\n")
        self.assertEqual([path.name for path in self.folder.iterdir() if "merged" in path.name], ["merged.h5"])
        return out

    def assert_whole(self, merged, whole):
        """That nothing differs but what tells the studies apart."""
        found = program.differences(program.describe(whole), program.describe(merged))
        self.assertEqual([name for name in found if name not in ABOUT_FLOATS], ABOUT_STUDY)
        copies = [self.folder / "expected_copy.h5", self.folder / "merged_copy.h5"]
        for original, copy in zip((whole, merged), copies):
            copy.write_bytes(original.read_bytes())
            with h5py.File(copy, "r+") as file:
                for name in ABOUT_STUDY:
                    del file.attrs[name.rpartition("@")[2]]
                for name in ABOUT_FLOATS:
                    file[name][...] = 0.0
        difference = subprocess.run(["h5diff", "--exclude-path", "/provenance", *copies], capture_output=True, text=True)
        # It calls the lists of references of the axes "not comparable", those of equal files too.
        self.assertEqual((difference.returncode, "found" in difference.stdout), (0, False), difference.stdout)
        for copy in copies:
            copy.unlink()


class CutStudies(Merge):
    def by_networks(self):
        return [self.sweep(f"network{i}", STUDY | {"network": [table]})
                for i, table in enumerate([{**STUDY["network"][0], "file": [file]} for file in FILES] + [FAMILY])]

    def by_key(self, key, *values):
        return [self.sweep(f"{key}{i}", STUDY, "--set", f"quantization.{key}={value}") for i, value in enumerate(values)]

    def test_by_networks(self):
        self.assert_whole(self.merge(*self.by_networks()), self.whole)

    def test_by_labels_of_an_axis(self):
        for key, values in {"quantizer": ("['floor','round']", "['stochastic']"), "bits": ("[2,8]", "[4]"), "seed": ("[1]", "[2]")}.items():
            with self.subTest(key=key):
                self.assert_whole(self.merge(*self.by_key(key, *values)), self.whole)

    def test_in_steps(self):
        """Onto one of its own parts, too: the output is replaced as a whole."""
        a, b, c = self.by_networks()
        merged = self.merge(a, b)
        self.assert_whole(self.merge(merged, c), self.whole)
        with h5py.File(merged) as file:
            self.assertEqual([name.rpartition("/")[2] for name in file["provenance/source_file"].asstr()], ["network0.h5", "network1.h5", "network2.h5"])

    def test_of_methods(self):
        whole = self.sweep("methods", RECONSTRUCTED)
        parts = [self.sweep(f"methods{i}", RECONSTRUCTED, "--set", f"quantization.quantizer={value}")
                 for i, value in enumerate(("['round','cle_round']", "gptq"))]
        self.assert_whole(self.merge(*parts), whole)

    def test_a_part_without_modules(self):
        """A study without a method knows no modules; the others' stay."""
        study = {key: table for key, table in RECONSTRUCTED.items() if key != "reconstruct"}
        plain = self.sweep("plain", study | {"quantization": {"quantizer": "floor", "granularity": "channel", "bits": [2, 3]},
                                             "samples": [EVALUATION]})
        ds = xr.open_dataset(self.merge(plain, self.sweep("methods", RECONSTRUCTED))).load()
        self.assertEqual(ds.quantizer.values.tolist(), ["floor", "round", "cle_round", "gptq"])
        self.assertTrue(ds.module_loss.sel(quantizer="floor").isnull().all())
        self.assertTrue(ds.module_loss.sel(quantizer="gptq").notnull().any())
        self.assertTrue(ds.observed_max.notnull().all())


class MergedResult(Merge):
    """A merged result with holes: a network with few bits, another with more."""

    def setUp(self):
        super().setUp()
        cut = lambda file, bits: STUDY | {"network": [{**STUDY["network"][0], "file": [file]}],
                                          "quantization": STUDY["quantization"] | {"bits": bits}}
        self.parts = [self.sweep("low", cut(FILES[0], [2, 4])), self.sweep("high", cut(FILES[1], [4, 8]))]
        self.merged = self.merge(*self.parts)

    def test_opens_like_any_other(self):
        if (program.SHARED / "checks" / "result_schema.py").exists():
            check = subprocess.run([sys.executable, program.SHARED / "checks" / "result_schema.py", self.merged, "--stages", "observe", "certify"],
                                   capture_output=True, text=True)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        ds = xr.open_dataset(self.merged, engine="h5netcdf").load()
        xr.testing.assert_identical(ds, xr.open_dataset(self.merged, engine="netcdf4").load())
        for part in self.parts:
            mine = xr.open_dataset(part).load()
            labels = {axis: mine[axis].values for axis in ("network", "quantizer", "granularity", "bits", "seed")}
            for name in ("status", "log10_bound", "observed_max", "accuracy"):
                np.testing.assert_array_equal(ds[name].sel(labels).values, mine[name].values)
            layers = ds.where(ds.layer_network == labels["network"][0], drop=True).sel({axis: labels[axis] for axis in labels if axis != "network"})
            np.testing.assert_array_equal(layers.delta_norm.values, mine.delta_norm.values)

    def test_holes_are_skipped(self):
        ds = xr.open_dataset(self.merged).load()
        flags = dict(zip(ds.status.attrs["flag_meanings"].split(), ds.status.attrs["flag_values"]))
        for network, bits in (("digits_mlp_5", 8), ("digits_cnn", 2)):
            hole = ds.sel(network=network, bits=bits)
            self.assertTrue((hole.status == flags["skipped"]).all())
            self.assertTrue(hole.observed_max.isnull().all() and hole.log10_bound.isnull().all())
        self.assertEqual(int((ds.status == flags["done"]).sum()), 2 * 2 * 12)

    def test_show_shows_what_there_is(self):
        rows = json.loads(quantbound("show", self.merged, "--json").out)["rows"]
        self.assertEqual(rows, [row for part in self.parts for row in json.loads(quantbound("show", part, "--json").out)["rows"]])
        table = quantbound("show", self.merged).out
        self.assertIn("merged.h5: quantbound study cut: 2 networks x 36 configurations", table)

    def test_the_analysis_scripts_read_it(self):
        for words in (["quantbound-table", self.merged], ["quantbound-table", self.merged, "--accuracy"],
                      ["quantbound-plot", self.merged, "gain-depth", "-o", self.folder / "gain.png"],
                      ["quantbound-plot", self.merged, "sandwich", "--network", "digits_cnn", "-o", self.folder / "sandwich.png"]):
            with self.subTest(words=words[0:1] + words[2:3]):
                run = subprocess.run([sys.executable, ANALYSIS / words[0], *words[1:]], capture_output=True, text=True)
                self.assertEqual(run.returncode, 0, run.stderr)

    def test_provenance_holds_what_the_reference_lists(self):
        reference = entries(quantbound("help", "result").out)
        of_runs, of_sources = reference["Group /provenance"], reference["Group /provenance of a merged file, besides"]
        attributes = reference["Attributes of /provenance"]
        with h5py.File(self.merged) as file:
            variables, axes = found_in(file["provenance"])
            self.assertEqual(attributes_of(file["provenance"]), set(attributes) - {"ranks", "tasks_run", "schedule"})
        wanted = names_and_dimensions(of_runs | of_sources | {f"source_{name}": "source" for name in attributes})
        del wanted["source_X"]
        self.assertEqual(variables, {name: dimensions for name, dimensions in wanted.items() if name not in axes})

    def test_sources_are_kept(self):
        for engine in ("h5netcdf", "netcdf4"):
            provenance = xr.open_dataset(self.merged, engine=engine, group="provenance").load()
            self.assertEqual(provenance.source_file.values.tolist(), [str(part) for part in self.parts])
            self.assertEqual(set(provenance.task_source.values.tolist()), {0, 1})
            self.assertRegex(provenance.attrs["command_line"], "merge .*low.h5 .*high.h5 -o ")
        for part, study, line in zip(self.parts, provenance.source_study_toml.values, provenance.source_command_line.values):
            with h5py.File(part) as file:
                self.assertEqual(file.attrs["study_toml"].decode(), study)
                self.assertEqual(file["provenance"].attrs["command_line"].decode(), line)


class Failures(Merge):
    HUGE = "// huge\n2,2,1,2,\n2,2,1,\n0,\n0,0,\n1,1,\n0,0,0,\n1,1,1,\n" + "1e308,1e308,\n1e308,-1e308,\n0,\n0,\n1e308,1e308,\n0,\n"

    def test_are_kept_and_shown(self):
        huge = self.write("huge.nnet", self.HUGE)
        bad = self.sweep("bad", STUDY | {"network": [{"file": huge}]})
        run = quantbound("merge", self.whole, bad, "-o", self.folder / "merged.h5")
        self.assertEqual(run.code, 0, run.err)
        with h5py.File(bad) as before, h5py.File(self.folder / "merged.h5") as after:
            self.assertGreater(len(before["failures/failure"]), 0)
            for name in ("failure_network", "failure_stage", "failure_message"):
                self.assertEqual(list(before[f"failures/{name}"]), list(after[f"failures/{name}"]))
            self.assertEqual(set(after["provenance/failure_source"]), {1})
        self.assertRegex(run.out, r"\d+ pieces? of work failed in them; quantbound show .*merged\.h5 says which")
        self.assertRegex(quantbound("show", self.folder / "merged.h5").out, "(?m)^failed: huge, norms: ")


class Refusals(Merge):
    def assert_refused(self, pattern, *words):
        before = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        run = quantbound("merge", *words)
        self.assertEqual((run.code, run.out, len(run.errors), run.err.count("\n")), (USAGE, "", 1, 1), run.err)
        self.assertRegex(run.errors[0], pattern)
        self.assertEqual({path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}, before)

    def changed(self, name, change):
        path = self.folder / name
        path.write_bytes(self.whole.read_bytes())
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    def test_different_values_of_one_combination(self):
        def change(file):
            file["observed_max"][1, 0, 0, 2, 1, 0] *= 2.0
        self.assert_refused(r"`observed_max` of network digits_cnn, quantizer floor, granularity tensor, bits 8, seed 2, samples uniform is .* here "
                            r"and .* in .*whole\.h5: .*\(.*other\.h5\)", self.whole, self.changed("other.h5", change), "-o", self.folder / "out.h5")

    def test_equal_values_are_one(self):
        self.assert_whole_again(self.merge(self.whole, self.changed("copy.h5", lambda file: None)))

    def assert_whole_again(self, merged):
        self.assertEqual(program.differences(program.describe(self.whole), program.describe(merged)), [])

    def test_another_schema(self):
        other = self.changed("other.h5", lambda file: file.attrs.modify("schema_version", np.bytes_(b"1.0")))
        self.assert_refused(r"schema has version 1\.0, this quantbound writes", self.whole, other, "-o", self.folder / "out.h5")

    def test_what_holds_for_a_whole_file(self):
        affine = self.sweep("affine", STUDY, "--set", "quantization.grid=affine", "--set", "quantization.bits=[3]")
        self.assert_refused(r"`grid` is affine here and symmetric in .*whole\.h5", self.whole, affine, "-o", self.folder / "out.h5")

    def test_words_that_make_no_merge(self):
        out = self.folder / "out.h5"
        self.assert_refused("merge needs -o FILE", self.whole)
        self.assert_refused("merge needs RESULTS", "-o", out)
        self.assert_refused("there is no such file", self.whole, self.folder / "none.h5", "-o", out)
        self.assert_refused("given twice", self.whole, self.made / ".." / self.made.name / "whole.h5", "-o", out)
        self.assert_refused("the folder of the output does not exist", self.whole, "-o", self.folder / "none" / "out.h5")
        self.assert_refused("not a complete result file", self.write("text.h5", "text"), "-o", out)
        out.write_bytes(b"what was there stays")
        self.assert_refused("not a complete result file", self.whole, self.folder / "text.h5", "-o", out)

    def test_a_sweep_that_is_not_finished(self):
        part = self.changed("part.h5", lambda file: None)
        (self.folder / "part.h5.journal").mkdir()
        self.assert_refused(r"not finished; finish it with --resume .*part\.h5\.journal", self.whole, part, "-o", self.folder / "out.h5")


if __name__ == "__main__":
    unittest.main()
