"""Result files of the program, of the quickstart and of 500 networks, in the hands of every reader people use: xarray with both
engines, h5py, h5py's low level (what MATLAB's H5F and H5D do), pandas, h5dump and ncdump. All find the same number under the
same labels."""
import re
import resource
import shutil
import subprocess
import sys
import unittest
import warnings

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from program import REPOSITORY, WithFolder, quantbound, toml

AXES = ("network", "quantizer", "granularity", "bits", "seed", "theory")
QUICKSTART = ("quantization.bits=[4,8]", "observe.uniform=64", "certify.method=['difference_interval']", "observe.attack={starts=1,steps=2}")
FIVE_HUNDRED = {"study": {"name": "many", "seed": 3},
                "network": [{"family": "mlp", "depth": [2, 3, 4, 5, 6], "width": 8, "weights": "he_normal", "draws": 100, "domain": {"low": -1.0, "high": 1.0}}],
                "quantization": {"bits": [4, 8]}, "bounds": {"theory": "all"}, "observe": {"uniform": 4}}
ANALYSIS = REPOSITORY / "scripts" / "analysis"


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def with_xarray(engine):
    def read(path, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("error", xr.SerializationWarning)
            with xr.open_dataset(path, engine=engine) as ds:
                return float(ds.log10_bound.sel(labels))
    return read


def with_h5py(path, labels):
    with h5py.File(path) as file:
        data = file["log10_bound"]
        axes = [data.dims[i][0] for i in range(data.ndim)]  # the scales of every dimension
        return float(data[tuple([text(label) for label in axis[()]].index(str(labels[axis.name[1:]])) for axis in axes)])


def with_the_low_level(path, labels):
    """Files, objects, attributes and references by their handles."""
    file = h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDONLY)
    data = h5py.h5d.open(file, b"log10_bound")
    where = []
    lists = h5py.h5a.open(data, b"DIMENSION_LIST")
    references = np.empty(lists.shape, dtype=lists.dtype)
    lists.read(references)
    for (reference, *_) in references:
        axis = h5py.h5r.dereference(reference, file)
        values = h5py.Dataset(axis)[()]
        name = h5py.h5r.get_name(reference, file).decode().strip("/")
        where.append([text(value) for value in values].index(str(labels[name])))
    space = data.get_space()
    space.select_elements(np.array([where]))
    number = np.empty(1)
    data.read(h5py.h5s.create_simple((1,)), space, number)
    return float(number[0])


def with_pandas(path, labels):
    with xr.open_dataset(path) as ds:
        frame = ds.log10_bound.to_dataframe()["log10_bound"]
    assert isinstance(frame.index, pd.MultiIndex)
    return float(frame.xs(tuple(labels[axis] for axis in frame.index.names)))


def position(path, labels):
    with h5py.File(path) as file:
        return [[text(label) for label in file[axis][()]].index(str(labels[axis])) for axis in AXES]


def with_h5dump(path, labels):
    start = ",".join(map(str, position(path, labels)))
    run = subprocess.run(["h5dump", "-d", "/log10_bound", "-s", start, "-c", ",".join("1" for _ in AXES), "-m", "%.17g", path], capture_output=True, text=True, check=True)
    return float(re.search(rf"\({start}\): (\S+)", run.stdout).group(1))


def with_ncdump(path, labels):
    """The values of the variable in their order, on labels that ncdump says as well."""
    run = subprocess.run(["ncdump", "-p", "9,17", "-v", f"log10_bound,{','.join(AXES)}", path], capture_output=True, text=True, check=True)
    sections = dict(re.findall(r"^ (\w+) = ?(.*?) ;$", run.stdout.partition("\ndata:")[2], re.M | re.S))
    values = {name: [word.strip().strip('"') for word in body.split(",")] for name, body in sections.items()}
    place = [values[axis].index(str(labels[axis])) for axis in AXES]
    return float(values["log10_bound"][np.ravel_multi_index(place, [len(values[axis]) for axis in AXES])])


READERS = {"xarray, h5netcdf": with_xarray("h5netcdf"), "xarray, netcdf4": with_xarray("netcdf4"), "h5py": with_h5py, "h5py, low level": with_the_low_level,
           "pandas": with_pandas}
PROGRAMS = {"h5dump": with_h5dump, "ncdump": with_ncdump}


class Readers(WithFolder):
    def check(self, path, labels, expected):
        for name, read in READERS.items():
            with self.subTest(reader=name):
                self.assertEqual(read(path, labels), expected)
        for name, read in PROGRAMS.items():
            with self.subTest(reader=name):
                if shutil.which(name) is None:
                    self.skipTest(f"{name} is not installed")
                self.assertAlmostEqual(read(path, labels), expected, places=12)

    def shown(self, path, network):
        """The tightest bound of the network as the program itself prints it: another way to the same number."""
        run = quantbound("show", path, "--quantizer", "round", "--bits", "4", *(("--granularity", "channel") if "quickstart" in path.name else ()))
        self.assertEqual(run.code, 0, run.err)
        line = next(line for line in run.out.splitlines() if line.split() and line.split()[0] == network)
        return float(re.search(r"10\^(-?[\d.]+)", line).group(1))

    def test_all_find_the_same_number_in_the_quickstart(self):
        path = self.folder / "quickstart.h5"
        run = quantbound("sweep", REPOSITORY / "configs" / "quickstart.toml", "--output", path, *(word for change in QUICKSTART for word in ("--set", change)))
        self.assertEqual(run.code, 0, run.err)
        labels = dict(network="digits_mlp_9", quantizer="round", granularity="channel", bits=4, seed=1, theory="gonon")
        expected = with_h5py(path, labels)
        self.assertAlmostEqual(self.shown(path, "digits_mlp_9"), expected, places=2)
        self.check(path, labels, expected)

    def test_all_find_the_same_number_among_five_hundred_networks(self):
        path = self.folder / "many.h5"
        run = quantbound("sweep", self.write("many.toml", toml(FIVE_HUNDRED)), "--output", path)
        self.assertEqual(run.code, 0, run.err)
        with h5py.File(path) as file:
            names = [text(name) for name in file["network"][()]]
            granularity = text(file["granularity"][0])
        self.assertEqual(len(names), 500)
        labels = dict(network=names[371], quantizer="round", granularity=granularity, bits=4, seed=3, theory="gonon")
        expected = with_h5py(path, labels)
        self.assertAlmostEqual(self.shown(path, names[371]), expected, places=2)
        self.check(path, labels, expected)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        plot = subprocess.run([sys.executable, ANALYSIS / "quantbound-plot", path, "gain-depth", "-o", self.folder / "gain.png"], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual((plot.returncode, plot.stderr), (0, ""))
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 10.0, "seconds of work to open it and draw the summary")


if __name__ == "__main__":
    unittest.main()
