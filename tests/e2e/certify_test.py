"""The links of the chain in result files: observed <= attacked <= the supremum <= certified, by every method, in every region."""
import json
import unittest

import h5py
import numpy as np
import xarray as xr

import program
from program import quantbound, toml

C = ("quantizer", "granularity", "bits", "seed")
# Networks of few inputs, where the search finds what sampling finds; every method ends in moments.
STUDY = {
    "study": {"name": "chain", "seed": 4},
    "network": [
        {"family": "mlp", "depth": [2, 4], "width": 8, "inputs": 3, "outputs": 3, "draws": 2, "domain": {"low": -1.0, "high": 1.0}},
        {"family": "mlp", "depth": 3, "width": 8, "inputs": 3, "domain": {"around": "points", "radius": 0.25, "count": 2, "clip": [-1.0, 1.0]},
         "samples": ["points"]}],
    "samples": [{"name": "points", "images": "points.npy"}],
    "quantization": {"quantizer": ["floor", "round"], "granularity": ["tensor", "channel"], "bits": [3, 6]},
    "certify": {"method": "all", "max_boxes": 200, "generators": 200, "alpha_steps": 4, "tolerance": 0.5},
    "observe": {"uniform": 256, "precision": "double", "attack": {"starts": 16, "steps": 100}},
}
POINTS = np.array([[0.5, -0.25, 0.9], [-0.75, 0.0, 0.125], [0.4, -0.2, 0.95]], np.float32)  # the last one lies in the first ball
ROUNDING = 1e-9  # of a forward pass in double, relative to what it sums up


class Chain(program.WithFolder):
    @classmethod
    def setUpClass(cls):
        holder = program.WithFolder()
        holder.setUp()
        cls.addClassCleanup(holder.doCleanups)
        cls.path = holder.folder / "chain.h5"
        cls.points = holder.folder / "points.npy"
        np.save(cls.points, POINTS)
        cls.run_ = quantbound("sweep", holder.write("chain.toml", toml(STUDY)), "--output", cls.path)
        if cls.run_.code != 0:
            raise AssertionError(cls.run_.err)
        cls.ds = xr.open_dataset(cls.path).load()

    def test_every_method_ran_in_every_region(self):
        self.assertEqual(self.ds.certified.dims, ("region", *C, "method"))
        ran = [m for n, m in np.ndindex(*self.ds.method_note.shape) if not self.ds.method_note.values[n, m]]
        self.assertEqual(len(ran), self.ds.method_note.size, self.ds.method_note.values)
        self.assertFalse(self.ds.certified.isnull().any())
        self.assertTrue((self.ds.certify_boxes >= 1).all())
        self.assertTrue((self.ds.status == 1).all())
        self.assertGreaterEqual(self.ds.sizes["method"], 3)

    def test_no_deviation_exceeds_a_certificate(self):
        ds = self.ds
        self.assertTrue((ds.attacked <= ds.certified * (1 + ROUNDING)).all())
        self.assertTrue((ds.attacked > 0).all())
        lower = ds.certified_lower
        if "branch_and_bound" in ds.method:
            self.assertFalse(lower.isnull().any())
            self.assertTrue((lower <= ds.certified).all())
        else:
            self.assertTrue(lower.isnull().all())
        for network in ds.network.values:
            regions = ds.region_network == network
            best = ds.certified.isel(region=np.flatnonzero(regions)).max("region")
            seen = ds.observed_max.sel(network=network).max("samples")
            self.assertFalse(seen.isnull().any())
            self.assertTrue((seen <= best * (1 + ROUNDING)).all(), network)
            self.assertTrue((np.log10(seen) <= ds.log10_bound.sel(network=network).min("theory")).all())

    def test_the_search_finds_what_sampling_finds(self):
        for network in self.ds.network.values:
            regions = np.flatnonzero(self.ds.region_network == network)
            found = self.ds.attacked.isel(region=regions).max("region")
            seen = self.ds.observed_max.sel(network=network, samples="uniform")
            self.assertTrue((seen <= found * (1 + ROUNDING)).all(), network)

    def test_outputs_add_up_to_their_region(self):
        ds = self.ds
        for region in ds.region.values:
            outputs = ds.certified_output.isel(region_output=np.flatnonzero(ds.region_output_region == region))
            self.assertEqual(list(outputs.region_output_index.values), list(range(outputs.sizes["region_output"])))
            np.testing.assert_array_equal(outputs.max("region_output"), ds.certified.sel(region=region))

    def test_regions_are_described(self):
        ds = self.ds
        self.assertEqual(ds.region_name.values.tolist(), ["box"] * 4 + ["points[0]", "points[1]"])
        self.assertEqual(ds.region_radius.values.tolist(), [1.0] * 4 + [0.25] * 2)
        self.assertEqual(ds.region_network.values.tolist(), [*ds.network.values[:4], *[ds.network.values[4]] * 2])
        self.assertIn("region_network", ds.coords)
        self.assertTrue(all(ds.method_equation.values))
        self.assertEqual({ds[name].soundness for name in ("certified", "certified_output", "certified_lower")}, {"proved"})
        self.assertEqual(ds.attacked.soundness, "observed")

    def test_the_number_of_one_method_does_not_depend_on_the_others(self):
        alone = STUDY | {"certify": STUDY["certify"] | {"method": ["difference_interval"]}}
        out = self.folder / "alone.h5"
        np.save(self.folder / "points.npy", POINTS)
        run = quantbound("sweep", self.write("alone.toml", toml(alone)), "--output", out)
        self.assertEqual(run.code, 0, run.err)
        ds = xr.open_dataset(out).load()
        wanted = self.ds.certified.sel({"method": ["difference_interval"]})
        np.testing.assert_array_equal(ds.certified, wanted)
        np.testing.assert_array_equal(ds.attacked, self.ds.attacked)


class Stage(program.WithFolder):
    def sweep(self, *words, **changes):
        out = self.folder / "out.h5"
        run = quantbound("sweep", self.write_study(**changes), "--output", out, *words)
        self.assertEqual(run.code, 0, run.err)
        return run, xr.open_dataset(out).load()

    def test_without_methods_there_are_regions_but_no_certificates(self):
        for certify in (None, {"method": []}):
            run, ds = self.sweep(certify=certify)
            self.assertEqual((ds.sizes["method"], ds.sizes["region"], ds.sizes["region_output"]), (0, 1, 10))
            self.assertTrue(ds.attacked.isnull().all())
            shown = quantbound("show", self.folder / "out.h5")
            self.assertEqual(shown.code, 0, shown.err)
            self.assertNotIn("certified", shown.out.split("\n\n")[1])

    def test_a_method_that_needs_too_much_memory_is_noted_once_and_nothing_fails(self):
        run, ds = self.sweep(certify={"method": ["difference_interval"], "max_memory": 1e-6}, quantization={"bits": [4, 8]})
        self.assertEqual(len([line for line in run.err.splitlines() if "note: difference_interval is not applied to digits_mlp_5" in line]), 1)
        self.assertIn("GiB", ds.method_note.values[0, 0])
        self.assertTrue(ds.certified.isnull().all())
        self.assertTrue((ds.status == 1).all())
        self.assertTrue((ds.certify_boxes == 0).all())
        row = json.loads(quantbound("show", self.folder / "out.h5", "--json").out)["rows"][0]
        self.assertIsNone(row["certified"])

    def test_what_the_clock_ended_is_flagged_and_holds(self):
        network = {"family": "mlp", "depth": 5, "width": 24, "inputs": 4, "domain": {"low": -1.0, "high": 1.0}}
        certify = {"method": ["branch_and_bound"], "tolerance": 0.0, "max_seconds": 0.2}
        run, ds = self.sweep(network=[network], certify=certify, observe={"attack": {"starts": 4, "steps": 20}})
        flags = dict(zip(ds.status.attrs["flag_meanings"].split(), ds.status.attrs["flag_values"]))
        self.assertEqual(ds.status.values.ravel().tolist(), [flags["timed_out"]])
        self.assertLess(float(ds.attacked), float(ds.certified))
        self.assertTrue(np.isfinite(ds.certified).all())
        self.assertLess(float(ds.certified_lower), float(ds.certified))

    def test_a_limit_of_pieces_is_no_time_out(self):
        network = {"family": "mlp", "depth": 5, "width": 24, "inputs": 4, "domain": {"low": -1.0, "high": 1.0}}
        run, ds = self.sweep(network=[network], certify={"method": ["branch_and_bound"], "tolerance": 0.0, "max_boxes": 40})
        self.assertEqual(ds.status.values.ravel().tolist(), [1])
        self.assertLessEqual(int(ds.certify_boxes), 41)  # a split gives two pieces

    def test_a_result_of_version_1_0_can_still_be_shown(self):
        self.sweep(certify={"method": ["interval"]})
        with h5py.File(self.folder / "out.h5", "r+") as file:
            for name in [name for name in file if name.startswith(("certif", "attacked", "region", "method"))]:
                del file[name]
        shown = quantbound("show", self.folder / "out.h5")
        self.assertEqual(shown.code, 0, shown.err)
        self.assertIn("observed", shown.out)


if __name__ == "__main__":
    unittest.main()
