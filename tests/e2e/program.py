"""Runs the program as its users do, alone or under mpirun, and looks at what it leaves behind. Shared by the tests here.

    QUANTBOUND_BIN=build/bin/quantbound /usr/bin/python3 tests/e2e/bad_input_test.py
    QUANTBOUND_LONG=1 ...                                   the larger campaigns too (minutes instead of seconds)
"""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import h5py
import numpy as np

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MODELS = REPOSITORY / "configs" / "models"
SHARED = REPOSITORY.parent / "shared"
BINARY = str(pathlib.Path(os.environ.get("QUANTBOUND_BIN", REPOSITORY / "build" / "bin" / "quantbound")).absolute())
LONG = os.environ.get("QUANTBOUND_LONG") == "1"
sys.path.insert(0, str(REPOSITORY / "scripts" / "train"))

import onnx_writer  # noqa: E402

ENVIRONMENT = os.environ | {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMP_WAIT_POLICY": "passive"}  # threads that wait leave the cores to the other ranks


# ---------------------------------------------------------------------------------------------------------- running

def command(*words, ranks=None, mpirun=()):
    """The words of a call: without a launcher, or with `ranks` of them."""
    launcher = [] if ranks is None else ["mpirun", *mpirun, "-n", str(ranks)]
    return [*launcher, BINARY, *map(str, words)]


def without_notices(stderr):
    """What the program said: mpirun frames its own notices with lines of dashes."""
    said, framed = [], False
    for line in stderr.splitlines():
        if re.fullmatch("-{20,}", line):
            framed = not framed
        elif not framed and line.strip():
            said.append(line)
    return said


@dataclasses.dataclass
class Run:
    code: int
    out: str
    err: str

    @property
    def errors(self):
        return [line for line in self.err.splitlines() if line.startswith("quantbound: error:")]


def quantbound(*words, ranks=None, folder=None, mpirun=(), **variables):
    run = subprocess.run(command(*words, ranks=ranks, mpirun=mpirun), capture_output=True, text=True, cwd=folder,
                         env=ENVIRONMENT | variables, stdin=subprocess.DEVNULL, timeout=500)
    return Run(run.returncode, run.stdout, run.stderr)


class Started:
    """A run in a session of its own, so that it and all its ranks can be told from everything else, and ended."""

    def __init__(self, *words, ranks=None, mpirun=(), folder=None):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command(*words, ranks=ranks, mpirun=mpirun), stdout=self.log, stderr=self.log, cwd=folder,
                                        env=ENVIRONMENT, stdin=subprocess.DEVNULL, start_new_session=True, text=True)

    def members(self):
        """Every process of the session: mpirun gives each rank a process group of its own."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def ranks(self):
        name = pathlib.Path(BINARY).name
        return [pid for pid in self.members() if self.name_of(pid) == name]

    @staticmethod
    def name_of(pid):
        with contextlib.suppress(OSError):
            return pathlib.Path("/proc", str(pid), "comm").read_text().strip()
        return ""

    def kill(self):
        """SIGKILL to all of it, the launcher first so that it cannot tidy up."""
        while members := self.members():
            for pid in sorted(members, key=lambda pid: pid != self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.process.wait()
        self.log.close()

    def wait(self, timeout=120):
        """A Run, stdout and stderr in one."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.log.seek(0)
        said = self.log.read()
        self.log.close()
        return Run(code, "", said)


# ---------------------------------------------------------------------------------------------------------- journals

def journal_keys(directory):
    """Task keys of all complete records, in the order of the files (format: include/quantbound/store/journal.hpp)."""
    keys = []
    for path in sorted(pathlib.Path(directory).glob("*.journal")):
        data = path.read_bytes()
        if len(data) < 16:
            continue
        position = 16 + struct.unpack_from("<I", data, 12)[0] + 8
        while position + 40 <= len(data):
            marker, zero, length, key = struct.unpack_from("<IIQQ", data, position)
            if (marker, zero) != (0x5D0CE2B1, 0) or position + 40 + length > len(data):
                break
            keys.append(key)
            position += 40 + length
    return keys


# ------------------------------------------------------------------------------------------------------ result files

def raw(values):
    """Bytes of an array; text and references by what they say."""
    if isinstance(values, (str, bytes)):
        return values.encode() if isinstance(values, str) else values
    values = np.asarray(values)
    if values.dtype.kind == "O":
        return b"\0".join(raw(v) if isinstance(v, (str, bytes, np.ndarray)) else repr(v).encode() for v in values.ravel())
    return values.tobytes()


def named(file, value):
    """Object references, the links between a variable and its axes, as the names they point to."""
    if isinstance(value, h5py.Reference):
        return file[value].name if value else "null"
    if isinstance(value, np.void):  # an element of REFERENCE_LIST: (dataset, dimension)
        return tuple(named(file, v) for v in value.tolist())
    if isinstance(value, np.ndarray) and value.dtype.kind in "OV":
        return [named(file, v) for v in value]
    return None


def describe(path):
    """{object or attribute: what it is and holds} for everything outside /provenance, in the order of the file."""
    content = {}
    with h5py.File(path, "r") as file:
        def add(thing):
            if isinstance(thing, h5py.Dataset):
                plist = thing.id.get_create_plist()
                filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
                fill = raw(thing.fillvalue) if thing.dtype.kind != "O" else None  # h5py 3.7 crashes on those of text
                shape = (thing.shape, thing.maxshape, thing.chunks, filters, str(thing.dtype), fill)
                content[thing.name] = (shape, raw(thing[()]))
            else:
                content[thing.name] = ("group", list(thing))
            for name in thing.attrs:  # in the order of creation, as the file keeps it
                kind = h5py.h5a.open(thing.id, name.encode())
                if name in ("DIMENSION_LIST", "REFERENCE_LIST"):
                    content[f"{thing.name}@{name}"] = repr(named(file, thing.attrs[name]))
                else:
                    content[f"{thing.name}@{name}"] = (str(kind.dtype), kind.shape, raw(thing.attrs[name]))
            for child in (thing.values() if isinstance(thing, h5py.Group) else ()):
                if child.name != "/provenance":
                    add(child)
        add(file)
    content["/"] = ("group", [name for name in content["/"][1] if name != "provenance"])
    return content


def differences(a, b):
    """Names of objects and attributes in which two descriptions differ."""
    found = [name for name in a.keys() | b.keys() if a.get(name) != b.get(name)]
    return sorted(found) or ([] if list(a) == list(b) else ["the order of objects"])


# ------------------------------------------------------------------------------------------------------------ inputs

def toml_value(value):
    """Strings, numbers, booleans, lists of them, and dictionaries as inline tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value if isinstance(value, (int, float, bool)) else str(value))


def toml(study):
    """A study: {table: {...}} or {table: [{...}, ...]} for arrays of tables."""
    lines = []
    for name, content in study.items():
        for table in content if isinstance(content, list) else [content]:
            lines.append(f"[[{name}]]" if isinstance(content, list) else f"[{name}]")
            lines += [f"{key} = {toml_value(value)}" for key, value in table.items()]
            lines.append("")
    return "\n".join(lines)


UNIT_BOX = {"low": 0.0, "high": 1.0}
DIGITS = {"name": "digits", "images": MODELS / "digits_test_x.npy", "labels": MODELS / "digits_test_y.npy", "layout": "flat",
          "scale": 16.0}


# The same images in two parts that share no row: what a method is fitted to, and what it is measured on.
CALIBRATION = {"name": "fit", "images": DIGITS["images"], "layout": "flat", "scale": 16.0, "role": "calibration", "rows": [0, 100]}
EVALUATION = DIGITS | {"name": "rest", "rows": [100, 260]}


def small_study(**changes):
    """One digits network, one configuration, a few points: a fraction of a second. Keys replace whole tables."""
    study = {"study": {"name": "small"}, "network": [{"file": MODELS / "digits_mlp_5.onnx", "domain": UNIT_BOX}],
             "quantization": {"bits": 4}, "observe": {"uniform": 16}}
    return {key: table for key, table in (study | changes).items() if table is not None}


def dense_model(*layers, operator="Gemm", sizes=None):
    """ONNX bytes of dense layers given as (weights: outputs x inputs, biases), with Relu between them."""
    steps = []
    for index, (weights, biases) in enumerate(layers):
        parameters = [(f"w{index}", np.asarray(weights, "<f4")), (f"b{index}", np.asarray(biases, "<f4"))]
        steps += [(operator, parameters, {"transB": 1} if operator == "Gemm" else {}), ("Relu", [], {})]
    inputs, outputs = sizes or (np.shape(layers[0][0])[1], np.shape(layers[-1][0])[0])
    return onnx_writer.chain_model("test", [inputs], steps[:-1], [outputs], "made by tests/e2e")


class WithFolder(unittest.TestCase):
    """A test with an empty folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="quantbound_e2e_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        return path

    def write_study(self, name="study.toml", **changes):
        return self.write(name, toml(small_study(**changes)))

    @contextlib.contextmanager
    def mounted(self, options):
        """A tmpfs of our own; a change of its options by `remount`. Skips where mounting is not permitted."""
        place = pathlib.Path(tempfile.mkdtemp(prefix="quantbound_mount_"))
        try:
            mount = ["mount", "-t", "tmpfs", "-o", options, "quantbound_test", place]
            done = subprocess.run(mount, capture_output=True, text=True)
        except OSError as error:
            done = subprocess.CompletedProcess([], 1, "", str(error))
        if done.returncode != 0:
            place.rmdir()
            self.skipTest(f"a file system cannot be mounted here: {done.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
            place.rmdir()

    def remount(self, place, options):
        subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)
