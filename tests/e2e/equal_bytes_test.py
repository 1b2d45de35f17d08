"""Equal studies give equal bytes outside /provenance: any number of ranks, any number of threads, both schedules."""
import itertools
import subprocess
import unittest

import h5py
import numpy as np
import xarray as xr

import program
from program import CALIBRATION, DIGITS, EVALUATION, MODELS, UNIT_BOX, quantbound, toml

SYMMETRIC_BOX = {"low": -1.0, "high": 1.0}
STUDY = {
    "study": {"name": "equal", "seed": 3},
    "network": [
        {"file": [MODELS / "digits_mlp_5.onnx", MODELS / "digits_mlp_9.onnx", MODELS / "digits_cnn.onnx"], "domain": UNIT_BOX,
         "samples": ["digits"]},
        {"file": MODELS / "digits_mlp_7.onnx", "domain": {"around": "digits", "radius": 0.05, "count": 7, "clip": [0.0, 1.0]},
         "samples": ["digits"]},
        {"family": "mlp", "depth": 6, "width": 96, "draws": 2, "weights": ["he_normal", "orthogonal"], "domain": SYMMETRIC_BOX},
        {"family": "cnn", "depth": 4, "width": 8, "resolution": 12, "domain": SYMMETRIC_BOX}],
    "samples": [DIGITS],
    "quantization": {"quantizer": ["floor", "round", "stochastic"], "granularity": ["tensor", "channel"], "bits": [3, 5, 8],
                     "seed": [1, 2]},
    "observe": {"uniform": 800, "precision": "float"},
}

# Every method, branch and bound among them, ended by its number of pieces and never by the clock.
CERTIFIED = {
    "study": {"name": "certified", "seed": 3},
    "network": [{"family": "mlp", "depth": 3, "width": 8, "inputs": 3, "outputs": 2, "draws": 3, "domain": SYMMETRIC_BOX}],
    "quantization": {"quantizer": ["round", "stochastic"], "granularity": ["tensor", "channel"], "bits": [3, 6]},
    "certify": {"method": "all", "max_boxes": 60, "generators": 40, "alpha_steps": 2, "tolerance": 0.01},
    "observe": {"attack": {"starts": 8, "steps": 10}},
}
# Larger networks, balls and convolutions; stars would take minutes.
CERTIFIED_LARGER = CERTIFIED | {
    "network": [
        {"file": MODELS / "digits_mlp_5.onnx", "domain": {"around": "digits", "radius": 0.002, "count": 2, "clip": [0.0, 1.0]}},
        {"family": "cnn", "depth": 3, "width": 2, "resolution": 6, "domain": SYMMETRIC_BOX}],
    "samples": [DIGITS],
    "certify": CERTIFIED["certify"] | {"method": ["difference_interval", "difference_zonotope", "difference_crown", "alpha_crown",
                                                  "branch_and_bound"]},
}
# Every method, with equalized and plain pairs side by side, and every stage on what they make.
RECONSTRUCTED = {
    "study": {"name": "reconstructed", "seed": 3},
    "network": [
        {"file": [MODELS / "digits_mlp_5.onnx", MODELS / "digits_cnn.onnx"], "domain": UNIT_BOX},
        {"family": "resnet", "depth": 8, "width": 4, "resolution": 8, "domain": SYMMETRIC_BOX, "samples": ["uniform_images"],
         "calibration": "fit_images"}],
    "samples": [CALIBRATION, EVALUATION],
    "quantization": {"quantizer": ["round", "stochastic", "cle_round", "gptq", "adaround", "brecq", "qdrop", "mrecg", "mrecg_loss"],
                     "granularity": "channel", "bits": 3, "seed": [1, 2], "edge_bits": 8},
    "reconstruct": {"samples": "fit", "iterations": 30, "batch": 16, "bias_correction": "empirical"},
    "certify": {"method": ["difference_interval"]},
    "observe": {"samples": ["rest"], "attack": {"starts": 2, "steps": 2}},
}


class EqualBytes(program.WithFolder):
    def sweep(self, name, *words, ranks=None, study=STUDY):
        """A result file; the same path for every run, because the study is known by its text and not by its place."""
        out = self.folder / f"{name}.h5"
        run = quantbound("sweep", self.write("study.toml", toml(study)), "--output", out, *words, ranks=ranks)
        self.assertEqual(run.code, 0, run.err)
        return out

    def assert_equal_for_all(self, study):
        reference = self.sweep("reference", "--threads", 1, study=study)
        description, remainder = program.describe(reference), self.without_provenance(reference)
        for ranks, threads, schedule in itertools.product((1, 2, 3, 4), (1, 2), ("static", "dynamic")):
            with self.subTest(ranks=ranks, threads=threads, schedule=schedule):
                out = self.sweep("run", "--threads", threads, "--schedule", schedule, ranks=ranks, study=study)
                with h5py.File(out) as file:  # the run was what it was meant to be
                    provenance = file["provenance"]
                    self.assertEqual((provenance.attrs["ranks"], set(provenance["threads"][()])), (ranks, {threads}))
                    self.assertEqual(provenance.attrs["schedule"], schedule.encode())
                self.assertEqual(program.differences(description, program.describe(out)), [])
                self.assertEqual(remainder, self.without_provenance(out))

    def without_provenance(self, path):
        """The bytes of the file itself, once /provenance is cut out and what is left has closed ranks."""
        cut, packed = self.folder / "cut.h5", self.folder / "packed.h5"
        cut.write_bytes(path.read_bytes())
        with h5py.File(cut, "r+") as file:
            del file["provenance"]
        subprocess.run(["h5repack", cut, packed], check=True, capture_output=True)
        return packed.read_bytes()

    def test_ranks_threads_and_schedules(self):
        self.assert_equal_for_all(STUDY)

    def test_ranks_threads_and_schedules_of_certificates(self):
        self.assert_equal_for_all(CERTIFIED)

    def test_ranks_threads_and_schedules_of_certificates_of_larger_networks(self):
        self.assert_equal_for_all(CERTIFIED_LARGER)

    def test_ranks_threads_and_schedules_of_reconstructions(self):
        images = self.folder / "images.npy"
        np.save(images, np.random.default_rng(1).normal(size=(48, 3, 8, 8)).astype(np.float32))
        sets = [{"name": "fit_images", "images": images, "layout": "NCHW", "role": "calibration", "rows": [0, 32]},
                {"name": "uniform_images", "images": images, "layout": "NCHW", "rows": [32, 16]}]
        study = RECONSTRUCTED | {"samples": [*RECONSTRUCTED["samples"], *sets]}
        self.assert_equal_for_all(study)
        with xr.open_dataset(self.folder / "run.h5") as ds:
            self.assertTrue((ds.status == 1).all())
            made = ds.module_loss.sel(quantizer=["cle_round", "gptq", "brecq", "mrecg_loss"]).notnull().groupby("module_network").any()
            self.assertTrue(made.all())
            self.assertEqual(set(ds.module_kind.values), {"layer", "block"})

    @unittest.skipUnless(program.LONG, "QUANTBOUND_LONG=1 is not set")
    def test_ranks_threads_and_schedules_in_double(self):
        self.assert_equal_for_all(STUDY | {"observe": {"uniform": 800, "precision": "double"}})

    def test_what_is_proved_does_not_depend_on_the_kernels_that_the_processor_gets(self):
        small = {"study": STUDY["study"], "samples": [DIGITS], "quantization": {"bits": [3, 8]}, "observe": {"uniform": 64, "precision": "float"},
                 "network": [{"file": MODELS / "digits_mlp_5.onnx", "domain": UNIT_BOX, "samples": ["digits"]}, STUDY["network"][-1]],
                 "certify": {"method": ["difference_interval", "difference_crown"]}}
        (self.folder / "study.toml").write_text(toml(small))
        results = []
        for number, isa in enumerate(("SSE41", "AVX2", "DEFAULT")):
            run = quantbound("sweep", self.folder / "study.toml", "--output", self.folder / f"{number}.h5", ONEDNN_MAX_CPU_ISA=isa)
            self.assertEqual(run.code, 0, run.err)
            results.append(xr.load_dataset(self.folder / f"{number}.h5"))
        proved = [name for name, variable in results[0].items() if variable.attrs.get("soundness") == "proved"]
        self.assertGreater(len(proved), 8)
        for other in results[1:]:
            self.assertTrue(results[0][proved].identical(other[proved]))
        self.assertFalse(results[0].observed_max.identical(results[1].observed_max), "the kernels were the same: nothing was tested")

    def test_two_runs_with_the_same_settings_and_another_place(self):
        first = self.sweep("first", "--threads", 1)
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        study = elsewhere / "other_name.toml"
        study.write_text(toml(STUDY))
        run = quantbound("sweep", study, "--threads", 1, folder=elsewhere)
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(program.differences(program.describe(first), program.describe(elsewhere / "equal.h5")), [])

    def test_the_comparison_sees_a_single_bit_an_attribute_and_an_order(self):
        first = self.sweep("first", "--threads", 1)
        def nudge(file):
            values = file["r"][()]
            values.flat[7] = np.nextafter(values.flat[7], np.inf)
            file["r"][...] = values

        for name, change in (("r", nudge), ("r@units", lambda file: file["r"].attrs.modify("units", "2")),
                             ("extra", lambda file: file.create_dataset("extra", data=1.0))):
            changed = self.folder / "changed.h5"
            changed.write_bytes(first.read_bytes())
            with h5py.File(changed, "r+") as file:
                change(file)
            self.assertIn(f"/{name}", program.differences(program.describe(first), program.describe(changed)))


if __name__ == "__main__":
    unittest.main()
