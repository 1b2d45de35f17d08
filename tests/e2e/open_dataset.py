#!/usr/bin/env python3
"""Opens a result file as analysis scripts do and compares what labels select: open_dataset.py RESULT.h5 EXPECTED.json.

EXPECTED lists {"group", "variable", "select": {axis: label}, "value"}, attributes and coordinates; every entry is looked
up with both xarray engines, h5netcdf and netcdf4. Exits 1 and lists what differs.
"""
import json
import sys
import warnings

import numpy as np
import xarray as xr

warnings.simplefilter("error", xr.SerializationWarning)


def same(found, expected):
    if isinstance(expected, str) or isinstance(found, str):
        return type(found) is type(expected) and found == expected
    return found == expected or (np.isnan(found) and np.isnan(expected))


def differences(path, engine, expected):
    groups = {}
    for name, description in expected["groups"].items():
        groups[name] = ds = xr.open_dataset(path, engine=engine, group=name or None).load()
        if dict(ds.sizes) != description["sizes"]:
            yield f"group '{name}' has sizes {dict(ds.sizes)}, not {description['sizes']}"
        if sorted(ds.coords) != sorted(description["coordinates"]):
            yield f"group '{name}' has coordinates {sorted(ds.coords)}, not {sorted(description['coordinates'])}"
        if sorted(ds.data_vars) != sorted(description["variables"]):
            yield f"group '{name}' has variables {sorted(ds.data_vars)}, not {sorted(description['variables'])}"
        for attribute, value in description["attributes"].items():
            if not np.array_equal(ds.attrs.get(attribute), value):
                yield f"group '{name}': {attribute} is {str(ds.attrs.get(attribute))[:60]}, not {str(value)[:60]}"
    for cell in expected["cells"]:
        found = groups[cell["group"]][cell["variable"]].sel(cell["select"]).item()
        if not same(found, cell["value"]):
            yield f"{cell['variable']} at {cell['select']} is {found!r}, not {cell['value']!r}"


def main():
    path = sys.argv[1]
    with open(sys.argv[2], encoding="utf-8") as file:
        expected = json.load(file)
    wrong = [f"{engine}: {text}" for engine in ("h5netcdf", "netcdf4") for text in differences(path, engine, expected)]
    with xr.open_dataset(path) as ds:  # without naming an engine
        if not ds.sizes:
            wrong.append("without an engine: nothing there")
    print("\n".join(wrong[:50]) if wrong else f"{len(expected['cells'])} cells as expected, twice")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
