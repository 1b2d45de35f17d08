"""Opens one or many result files as one labelled dataset and picks a configuration of it. Draws nothing, computes no bound."""
import dataclasses
import pathlib

import numpy as np
import xarray as xr

# Axes that list what belongs to the networks of a file one after the other, and the variable that points to another of them.
RAGGED = ("layer", "module", "region", "region_output", "output")
REQUIRED = ("status", "log10_bound", "bound_applicable", "gain")
DONE, SKIPPED = 1, 4  # flags of `status` (pending, done, failed, timed_out, skipped)


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
    beside = [name for name in ds.data_vars if name.startswith(("layer_", "network_", "region_", "module_", "theory_", "method_"))]
    return ds.set_coords([name for name in beside if len(ds[name].dims) == 1])


def open_group(path, group):
    """A group beside the results, "provenance" or "failures", as a Dataset."""
    try:
        with xr.open_dataset(path, engine="h5netcdf", group=group) as file:
            return file.load()
    except (OSError, ValueError, KeyError) as error:
        raise ResultError(f"{path} has no group {group} ({error})") from error


# ---------------------------------------------------------------------------------------------------------- many files

def open_results(paths, along=None):
    """One file, or many as one Dataset.

    along="network": files of different networks; their networks, layers, regions and modules one after the other.
    along="file": files of the same networks that differ in something else (the batch, a method's options): a new first axis
    `file`, labelled with the names of the files. None: "network" where no network is in two files, else "file".
    Labels of the other axes (quantizer, bits, theory, ...) are joined; what a file does not have is NaN, a count 0, a text
    empty and `status` skipped. Attributes are those in which the files agree.
    """
    paths = [paths] if isinstance(paths, (str, pathlib.Path)) else list(paths)
    if not paths:
        raise ResultError("no result file")
    if along not in (None, "network", "file"):
        raise ResultError(f"results are joined along network or file, not {along}")
    datasets = [open_result(path) for path in paths]
    if len(datasets) == 1 and along != "file":
        return datasets[0]
    networks = [name for ds in datasets for name in ds.network.values.tolist()]
    twice = next((name for name in networks if networks.count(name) > 1), None) if len(set(networks)) < len(networks) else None
    if along is None:
        along = "network" if twice is None else "file"
    if along == "network" and twice is not None:
        raise ResultError(f"several files have the network {twice}; join them along file, or give one of them")
    return join_networks(datasets) if along == "network" else join_files(datasets, paths)


def nothing(variable):
    """What stands for a value that is not there."""
    return {"f": np.nan, "O": "", "U": ""}.get(variable.dtype.kind, 0)


def with_labels(datasets, axes):
    """The datasets with all labels that any of them has on each of the axes, in the order of their first appearance (bits
    and seeds by size)."""
    for axis in axes:
        labels = list(dict.fromkeys(label for ds in datasets if axis in ds.dims for label in ds[axis].values.tolist()))
        if axis in ("bits", "seed", "quantile"):
            labels.sort()
        datasets = [ds if axis not in ds.dims or ds[axis].values.tolist() == labels else
                    ds.reindex({axis: labels}, fill_value={name: SKIPPED if name == "status" else nothing(v) for name, v in ds.variables.items()}) for ds in datasets]
    return datasets


def complete(datasets):
    """Every dataset with all variables: those that a file has not, filled with nothing."""
    sizes = {}
    for ds in datasets:
        sizes |= {axis: ds[axis] for axis in ds.dims if axis not in ("network", *RAGGED)}
    result = []
    for ds in datasets:
        added = {}
        for other in datasets:
            for name in other.variables:
                if name in ds.variables or name in added or name in other.dims:
                    continue
                variable = other[name]
                shape = [ds.sizes.get(axis, 0) if axis in ("network", *RAGGED) else len(sizes[axis]) for axis in variable.dims]
                added[name] = (variable.dims, np.full(shape, nothing(variable), dtype=variable.dtype), variable.attrs)
        axes = {axis: values for axis, values in sizes.items() if axis not in ds.dims}
        axes |= {axis: np.arange(0) for other in datasets for axis in other.dims if axis in RAGGED and axis not in ds.dims}
        coordinates = {name for other in datasets for name in other.coords}
        filled = ds.assign_coords(axes).assign(added)
        result.append(filled.set_coords([name for name in coordinates if name in filled.variables and name not in filled.coords]))
    return result


def agreed(datasets):
    """Attributes that are the same in all."""
    first, *others = (ds.attrs for ds in datasets)
    return {name: value for name, value in first.items() if all(name in other and np.array_equal(other[name], value) for other in others)}


def shared_axes(datasets):
    return list(dict.fromkeys(axis for ds in datasets for axis in ds.dims if axis not in ("network", *RAGGED)))


def join_networks(datasets):
    attributes = agreed(datasets)
    datasets = complete(with_labels(datasets, shared_axes(datasets)))
    present = [axis for axis in RAGGED if axis in datasets[0].dims]
    starts = dict.fromkeys(present, 0)
    numbered = []
    for ds in datasets:
        moved = {axis: ds[axis].values + start for axis, start in starts.items()}
        if "region_output_region" in ds.coords:
            moved["region_output_region"] = ("region_output", ds.region_output_region.values + starts.get("region", 0))
        numbered.append(ds.assign_coords(moved))
        starts = {axis: start + ds.sizes[axis] for axis, start in starts.items()}
    names = [name for name in numbered[0].variables if name not in numbered[0].dims]
    joined = {}
    for name in names:
        dims = numbered[0][name].dims
        axis = next((a for a in ("network", *present) if a in dims), None)
        parts = [ds[name].transpose(*dims).values for ds in numbered]
        if axis is None and not all(np.array_equal(part, parts[0]) for part in parts):
            parts = [first_there(parts)]
        joined[name] = (dims, parts[0] if axis is None else np.concatenate(parts, axis=dims.index(axis)), numbered[0][name].attrs)
    axes = {axis: np.concatenate([ds[axis].values for ds in numbered]) if axis in ("network", *present) else numbered[0][axis].values
            for axis in numbered[0].dims}
    result = xr.Dataset(joined, coords=axes, attrs=attributes)
    return result.set_coords([name for name in numbered[0].coords if name not in numbered[0].dims])


def first_there(parts):
    """What is said of labels (where a theory comes from): of every label by the first file that has it."""
    result = parts[0].copy()
    for part in parts[1:]:
        empty = result == "" if result.dtype.kind == "O" else ~np.isfinite(result)
        result[empty] = part[empty]
    return result


def join_files(datasets, paths):
    stems = [pathlib.Path(path).stem for path in paths]
    labels = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    if len(set(labels)) < len(labels):
        raise ResultError("the same file is given twice")
    networks = datasets[0].network.values.tolist()
    for ds, label in zip(datasets, labels):
        if ds.network.values.tolist() != networks:
            raise ResultError(f"{labels[0]} and {label} have some networks in common, not all; join files of different networks, or of the same ones")
        for axis in RAGGED:
            if ds.sizes.get(axis, 0) != datasets[0].sizes.get(axis, 0):
                raise ResultError(f"{labels[0]} and {label} have different {axis}s of the same networks")
    attributes = agreed(datasets)
    datasets = complete(with_labels(datasets, shared_axes(datasets)))
    joined = xr.concat(datasets, dim="file", data_vars="all", coords="minimal", compat="override", join="override", combine_attrs="override")
    joined = joined.assign_coords(file=labels)
    joined.attrs = attributes
    return joined


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
