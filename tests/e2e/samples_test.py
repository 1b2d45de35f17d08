"""The same images give the same numbers, whatever file they come from, whatever part of it they are, and whoever reads."""
import struct
import unittest

import h5py
import numpy as np
import xarray as xr

import program
from program import DIGITS, MODELS, UNIT_BOX, quantbound, toml

ROWS = [40, 130]


class SamplesOfEveryFormat(program.WithFolder):
    def write_sets(self):
        """[[samples]] tables of the same rows: cut out by quantbound, or by numpy."""
        images, labels = np.load(DIGITS["images"]), np.load(DIGITS["labels"])
        self.assertEqual(images.dtype, np.uint8)
        squares = images.reshape(-1, 8, 8)
        part = slice(ROWS[0], sum(ROWS))
        for name, array in (("cut", images[part]), ("big_endian", images.astype(">i4")), ("floats", squares.astype("f8")[..., None]),
                            ("halves", squares.astype("f2")[:, None])):
            np.save(self.folder / f"{name}.npy", array)
        np.save(self.folder / "cut_labels.npy", labels[part].astype(np.int64))
        (self.folder / "images-idx3-ubyte").write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, *squares.shape) + images.tobytes())
        (self.folder / "labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, len(labels)) + labels.astype("u1").tobytes())
        with h5py.File(self.folder / "digits.h5", "w") as file:
            file.create_dataset("test/images", data=squares, chunks=(7, 8, 3), compression="gzip", shuffle=True)
            file["test/labels"] = labels

        def table(name, images, labels=DIGITS["labels"], **keys):
            return {"name": name, "images": images, "labels": labels, "scale": 16.0} | keys
        return [table("cut", self.folder / "cut.npy", self.folder / "cut_labels.npy"),
                table("npy", DIGITS["images"], rows=ROWS),
                table("big_endian", self.folder / "big_endian.npy", rows=ROWS),
                table("floats", self.folder / "floats.npy", rows=ROWS, layout="NHWC"),
                table("halves", self.folder / "halves.npy", rows=ROWS, layout="NCHW"),
                table("idx", self.folder / "images-idx3-ubyte", self.folder / "labels-idx1-ubyte", rows=ROWS),
                table("hdf5", f"{self.folder}/digits.h5:/test/images", f"{self.folder}/digits.h5:/test/labels", rows=ROWS),
                table("fit", DIGITS["images"], role="calibration", rows=[0, ROWS[0]])]

    def test_equal_numbers_on_one_rank_and_on_two(self):
        sets = self.write_sets()
        names = [table["name"] for table in sets if table["name"] != "fit"]
        study = {"study": {"name": "formats"},
                 "network": [{"file": [MODELS / "digits_mlp_5.onnx", MODELS / "digits_cnn.onnx"], "domain": UNIT_BOX},
                             {"file": MODELS / "digits_mlp_7.onnx", "domain": {"around": "hdf5", "radius": 0.5, "count": 2}}],
                 "samples": sets, "quantization": {"bits": [3, 6]}, "observe": {"samples": names}}
        path = self.write("study.toml", toml(study))
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                out = self.folder / f"formats_{ranks}.h5"
                run = quantbound("sweep", path, "--output", out, ranks=ranks)
                self.assertEqual((run.code, run.errors), (0, []), run.err)
                self.assertNotIn("HDF5", run.err)
                with xr.open_dataset(out) as ds:
                    self.assertEqual(list(ds.samples.values), names)
                    measured = [name for name, variable in ds.data_vars.items() if "samples" in variable.dims]
                    self.assertIn("observed_max", measured)
                    for name in measured:
                        reference = ds[name].sel(samples="cut", drop=True)
                        for other in names:
                            xr.testing.assert_identical(ds[name].sel(samples=other, drop=True), reference)
                    self.assertGreater(float(ds.accuracy_reference.min()), 0.9)
        self.assertEqual(program.describe(self.folder / "formats_None.h5"), program.describe(self.folder / "formats_2.h5"))


if __name__ == "__main__":
    unittest.main()
