"""Opens a result file as a labelled dataset and picks one configuration of it. Draws nothing, computes no bound."""
import dataclasses
import pathlib

import numpy as np
import xarray as xr

REQUIRED = ("status", "log10_bound", "bound_applicable", "gain")
DONE = 1  # the flag of `status` (pending, done, failed, timed_out, skipped)


class ResultError(Exception):
    """A file that is no result, or a label it does not have; the message says what there is instead."""


def open_result(path):
    """The root group of a quantbound result file, loaded into memory, as an xarray.Dataset."""
    if not pathlib.Path(path).is_file():
        raise ResultError(f"no such file: {path}")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            ds = file.load()
    except (OSError, ValueError) as error:
        raise ResultError(f"not a quantbound result file: {path} ({error})") from error
    missing = [name for name in REQUIRED if name not in ds]
    if missing:
        raise ResultError(f"not a quantbound result file: {path} has no {', '.join(missing)}")
    beside = [name for name in ds.data_vars if name.startswith(("layer_", "network_", "region_", "module_"))]
    return ds.set_coords([name for name in beside if len(ds[name].dims) == 1])


@dataclasses.dataclass(frozen=True)
class Selection:
    """Labels on the configuration axes; None takes the default of `select`."""

    quantizer: str = None
    granularity: str = None
    bits: int = None
    seed: int = None


def choose(ds, axis, wanted, preferred):
    """`wanted` if the axis has it; without a wish the first of `preferred` it has, else its first label."""
    labels = ds[axis].values.tolist()
    if wanted is not None:
        if wanted not in labels:
            raise ResultError(f"no {axis} '{wanted}' in this file; it has {', '.join(map(str, labels))}")
        return wanted
    return next((label for label in preferred if label in labels), labels[0])


def select(ds, selection, axes):
    """The dataset at one label of each of `axes`, and those labels. Defaults: round, channel, the most bits."""
    bits = ds.bits.values.tolist() if "bits" in ds.dims else []
    preferred = {"quantizer": ["round"], "granularity": ["channel"], "bits": sorted(bits, reverse=True)}
    chosen = {axis: choose(ds, axis, getattr(selection, axis), preferred[axis]) for axis in axes}
    return ds.sel(chosen), chosen


def choose_network(ds, wanted=None):
    """`wanted`, or the deepest network of the file (the first of those), where the bounds differ most."""
    depth = ds.network_depth.values
    return choose(ds, "network", wanted, [ds.network.values[depth.argmax()]])


def regions_of(ds, variable, network):
    """The variable over the regions of one network; None where the file has none of it."""
    if variable not in ds:
        return None
    found = ds[variable].isel(region=np.flatnonzero(ds.region_network.values == network))
    return found if found.size and found.notnull().any() else None


def by_method(ds, network):
    """Proved for all inputs of the domain by each method: the largest over the regions; NaN where one is missing."""
    certified = regions_of(ds, "certified", network)
    return None if certified is None else certified.max("region", skipna=False)


def best_certified(ds, network):
    """The best that all methods prove together: the tightest in every region, of these the largest."""
    certified = regions_of(ds, "certified", network)
    return None if certified is None else certified.min("method").max("region", skipna=False)


def best_attacked(ds, network):
    attacked = regions_of(ds, "attacked", network)
    return None if attacked is None else attacked.max("region")
