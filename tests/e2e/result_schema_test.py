"""The quickstart's result file as analysis scripts need it: both xarray engines open it by label, every variable says
what it is and what stands behind it, and the numbers are in the order that the theory demands.
"""
import json
import subprocess
import sys
import unittest
import warnings

import h5py
import numpy as np
import xarray as xr

import program
from program import CALIBRATION, EVALUATION, MODELS, UNIT_BOX, quantbound, toml

SOUNDNESS = {"proved", "estimate", "observed"}
# Bookkeeping: neither proved nor measured.
WITHOUT_SOUNDNESS = {"status", "bound_applicable", "step_max", "certify_boxes", "method_note", "observed_in_double", "layer_samples",
                     "module_joined", "module_kept_rounding"}
C = ("quantizer", "granularity", "bits", "seed")


class Quickstart(program.WithFolder):
    @classmethod
    def setUpClass(cls):
        holder = program.WithFolder()
        holder.setUp()
        cls.addClassCleanup(holder.doCleanups)
        cls.path = holder.folder / "quickstart.h5"
        run = quantbound("sweep", program.REPOSITORY / "configs" / "quickstart.toml", "--output", cls.path, ranks=2)
        if run.code != 0:
            raise AssertionError(run.err)

    def open(self, engine):
        with warnings.catch_warnings():
            warnings.simplefilter("error", xr.SerializationWarning)
            return xr.open_dataset(self.path, engine=engine).load()

    @unittest.skipUnless((program.SHARED / "checks" / "result_schema.py").exists(), "there is no ../shared/checks")
    def test_it_is_as_designed(self):
        script = program.SHARED / "checks" / "result_schema.py"
        check = subprocess.run([sys.executable, script, self.path, "--stages", "observe", "certify"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_both_engines_see_the_same_by_label(self):
        first, second = self.open("h5netcdf"), self.open("netcdf4")
        xr.testing.assert_identical(first, second)
        label = {"network": "digits_mlp_7", "quantizer": "floor", "granularity": "channel", "bits": 5, "seed": 1}
        for ds in (first, second):
            bound = ds.log10_bound.sel(label | {"theory": "houache_mean"})
            self.assertTrue(0 < float(bound) < 20)
            self.assertEqual(ds.observed_quantile.sel(label | {"samples": "digits", "quantile": 0.99}).ndim, 0)
            self.assertEqual(ds.network.dtype.kind + ds.theory.dtype.kind, "OO")
            layers = ds.where(ds.layer_network == "digits_mlp_7", drop=True)
            self.assertEqual(layers.sizes["layer"], 7)
            self.assertEqual(list(layers.layer_position.values), list(range(7)))

    def test_every_variable_says_what_it_is(self):
        ds = self.open("h5netcdf")
        for name, variable in ds.data_vars.items():
            with self.subTest(variable=name):
                self.assertTrue(variable.attrs["long_name"])
                self.assertIn("units", variable.attrs)
                if name in WITHOUT_SOUNDNESS:
                    self.assertNotIn("soundness", variable.attrs)
                else:
                    self.assertIn(variable.attrs["soundness"], SOUNDNESS)
        for name, coordinate in ds.coords.items():
            with self.subTest(coordinate=name):
                self.assertTrue(coordinate.attrs["long_name"])
        with h5py.File(self.path) as file:
            for name, variable in ds.data_vars.items():  # whole numbers have none: xarray would make them floats
                self.assertEqual("_FillValue" in file[name].attrs, variable.dtype.kind == "f", name)
        for flags in (ds.status, ds.bound_applicable):
            self.assertEqual(len(flags.attrs["flag_values"]), len(flags.attrs["flag_meanings"].split()))

    def test_soundness_is_what_stands_behind_the_numbers(self):
        ds = self.open("h5netcdf")
        self.assertEqual({ds[name].soundness for name in ("weight_norm", "delta_norm", "r", "r_max", "log10_bound")}, {"proved"})
        self.assertEqual({ds[name].soundness for name in ("r_mean", "r_conv", "log10_formula", "gain", "gain_formula")}, {"estimate"})
        self.assertEqual({ds[name].soundness for name in ("observed_max", "observed_layer_max", "accuracy", "agreement")}, {"observed"})

    def test_the_root_says_what_the_file_is(self):
        ds = self.open("h5netcdf")
        self.assertLessEqual({"Conventions", "schema_version", "title", "study_toml", "study_hash", "complete"}, set(ds.attrs))
        self.assertEqual(int(ds.attrs["complete"]), 1)
        self.assertIn("digits_mlp_11.onnx", ds.attrs["study_toml"])
        plan = json.loads(quantbound("plan", program.REPOSITORY / "configs" / "quickstart.toml", "--json").out)
        self.assertEqual(ds.attrs["study_hash"], plan["hash"])

    def test_the_resolved_study_is_a_study_again(self):
        text = self.open("h5netcdf").attrs["study_toml"].replace('"models/', f'"{MODELS}/').replace("'models/", f"'{MODELS}/")
        out = self.folder / "again.h5"
        run = quantbound("sweep", self.write("again.toml", text), "--output", out)
        self.assertEqual(run.code, 0, run.err)
        again = xr.open_dataset(out).load()
        xr.testing.assert_equal(again.drop_vars("network_source"), self.open("h5netcdf").drop_vars("network_source"))

    def test_other_groups_open_too(self):
        for engine in ("h5netcdf", "netcdf4"):
            provenance = xr.open_dataset(self.path, engine=engine, group="provenance").load()
            wanted = {"version", "commit", "command_line", "mpi_library", "ranks", "tasks_run", "start", "end"}
            self.assertLessEqual(wanted, set(provenance.attrs))
            self.assertEqual(provenance.wall_time.attrs["units"], "s")
            self.assertTrue((provenance.wall_time >= 0).all())
            self.assertEqual(provenance.sizes["rank"], 2)
            self.assertEqual(xr.open_dataset(self.path, engine=engine, group="failures").sizes["failure"], 0)

    def test_nothing_observed_exceeds_a_bound_and_norms_grow_with_coarser_grids(self):
        ds = self.open("h5netcdf")
        self.assertTrue((ds.status == 1).all())
        self.assertTrue((np.log10(ds.observed_max) <= ds.log10_bound.min("theory")).all())
        self.assertTrue((ds.observed_mean <= ds.observed_max).all())
        self.assertTrue((ds.observed_quantile.diff("quantile") >= 0).all())
        self.assertTrue((ds.observed_quantile.isel(quantile=-1) <= ds.observed_max).all())
        self.assertTrue((ds.r_mean <= ds.r_max).all())
        self.assertTrue((ds.r.max("layer") >= ds.r_max.max("network")).all())
        self.assertTrue((ds.step_max.diff("bits") <= 0).all())
        channel, tensor = ds.step_max.sel(granularity="channel"), ds.step_max.sel(granularity="tensor")
        self.assertTrue((channel <= tensor).all())
        self.assertEqual(ds.log10_bound.isnull().sum().item(), (ds.bound_applicable == 0).sum().item())

    def test_a_study_without_methods_says_nothing_of_modules(self):
        ds = self.open("h5netcdf")
        self.assertNotIn("module", ds.dims)
        self.assertEqual([name for name in ds.variables if name.startswith(("module", "oscillation"))], [])


class Reconstructed(program.WithFolder):
    """A study with methods: one of blocks, one of layers, and modules that the study names."""

    def sweep(self, **keys):
        out = self.folder / "reconstructed.h5"
        study = self.write("study.toml", toml({
            "study": {"name": "reconstructed"}, "network": [{"file": [MODELS / "digits_cnn.onnx", MODELS / "digits_mlp_5.onnx"],
                                                            "domain": UNIT_BOX}],
            "samples": [CALIBRATION, EVALUATION],
            "quantization": {"quantizer": ["floor", "round", "adaround", "brecq"], "granularity": "channel", "bits": [3, 4]},
            "reconstruct": {"samples": "fit", "iterations": 20, "batch": 16} | keys,
            "observe": {"samples": ["rest"]}}))
        run = quantbound("sweep", study, "--output", out)
        self.assertEqual(run.code, 0, run.err)
        return out

    @unittest.skipUnless((program.SHARED / "checks" / "result_schema.py").exists(), "there is no ../shared/checks")
    def test_it_is_as_designed(self):
        script = program.SHARED / "checks" / "result_schema.py"
        check = subprocess.run([sys.executable, script, self.sweep(), "--stages", "observe", "reconstruct"], capture_output=True,
                               text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_modules_of_a_kind_are_found_by_label(self):
        path = self.sweep(modules="stage")
        for engine in ("h5netcdf", "netcdf4"):
            ds = xr.open_dataset(path, engine=engine).load()
            for name in ("module_loss", "module_loss_round", "module_capacity", "module_settled"):
                self.assertTrue(ds[name].attrs["long_name"])
                self.assertIn(ds[name].attrs["soundness"], SOUNDNESS)
            for network, layers in (("digits_cnn", 5), ("digits_mlp_5", 5)):
                own = ds.where((ds.module_network == network) & (ds.module_kind == "layer"), drop=True)
                self.assertEqual(list(own.module_position.values), list(range(layers)))
                loss = own.module_loss.sel(quantizer="adaround", bits=3).squeeze()
                self.assertTrue((loss > 0).all())
                self.assertTrue((own.module_loss.sel(quantizer="adaround") <= own.module_loss_round.sel(quantizer="adaround")).all())
            self.assertTrue(ds.module_loss.sel(quantizer="floor").isnull().all())
            stages = ds.where((ds.module_network == "digits_cnn") & (ds.module_kind == "stage"), drop=True)
            self.assertTrue(stages.module_loss.sel(quantizer="brecq").notnull().all())
            self.assertEqual(int(stages.module_layers.sum()), 5)
            self.assertTrue((ds.oscillation_total.sel(quantizer="brecq") >= ds.oscillation_max.sel(quantizer="brecq")).all())

    def test_show_and_plan_speak_of_the_methods(self):
        path = self.sweep()
        rows = json.loads(quantbound("show", path, "--json").out)["rows"]
        self.assertEqual({row["quantizer"] for row in rows}, {"floor", "round", "adaround", "brecq"})
        for row in rows:
            self.assertEqual(row["module_loss"] is None, row["quantizer"] == "floor")
        plan = quantbound("plan", self.folder / "study.toml").out
        self.assertRegex(plan, r"reconstruct +[0-9.]+ core seconds")
        self.assertRegex(plan, r"calibration fit: 100")


if __name__ == "__main__":
    unittest.main()
