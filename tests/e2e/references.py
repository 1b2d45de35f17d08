"""What `quantbound help study` and `help result` list, and what a result file holds, both as Python values to be compared."""
import pathlib
import re

import h5py

CONFIGURATION = ["quantizer", "granularity", "bits", "seed"]


def entries(text):
    """{title: {name: dimensions}} of a reference."""
    sections = {}
    for line in text.splitlines():
        if line.startswith("## "):
            section = sections.setdefault(line[3:], {})
        elif item := re.match(r"- `(\w+)`(?: \(([^)]*))?", line):
            section[item[1]] = item[2]
    return sections


def names_and_dimensions(section):
    return {name: [d for word in (dimensions or "").split(", ") if word for d in (CONFIGURATION if word == "C" else [word])]
            for name, dimensions in section.items()}


def found_in(group):
    """{variable: [dimensions]} and the scales of a group of a netCDF-4 file."""
    variables, scales = {}, set()
    for name, item in group.items():
        if not isinstance(item, h5py.Dataset):
            continue
        if h5py.h5ds.is_scale(item.id):
            scales.add(name)
        else:
            variables[name] = [pathlib.PurePosixPath(dimension[0].name).name for dimension in item.dims]
    return variables, scales


HIDDEN = re.compile(r"_Netcdf4|_NC|CLASS|NAME|DIMENSION_LIST|REFERENCE_LIST")


def attributes_of(group):
    return {name for name in group.attrs if not HIDDEN.match(name)}
