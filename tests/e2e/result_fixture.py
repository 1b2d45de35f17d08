"""A result file as docs/design.md 6 describes it, made up in Python: for tests of scripts/analysis without the program.

The numbers follow the closed formulas of the theories for networks of constant width, so that they have the order and
the sizes of real ones; the deviations are small fractions of the tightest bound.
"""
import dataclasses
import datetime

import h5py
import numpy as np

THEORIES = ["gonon", "neyshabur", "berner", "houache_mean", "houache_conv", "houache_layerwise", "operator_norm",
            "absolute_product", "path_metric"]
QUANTIZERS, GRANULARITIES, SEEDS, SAMPLES = ["floor", "round"], ["tensor", "channel"], [1], ["uniform", "digits"]
BITS = [2, 3, 4, 5, 6, 7, 8]
QUANTILES = [0.5, 0.9, 0.99, 0.999]
C = ("quantizer", "granularity", "bits", "seed")


@dataclasses.dataclass
class FakeNetwork:
    name: str
    family: str
    depth: int
    width: int
    draw: int = 0
    norm: float = 11.0  # of every layer


DIGITS = [FakeNetwork(f"digits_mlp_{depth}", "file", depth, 48, norm=11.0 - 0.05 * depth) for depth in (5, 7, 9, 11)]


def family(name, depths, widths, draws):
    """A synthetic family whose layer norms grow with the square root of the width."""
    random = np.random.default_rng(3)
    return [FakeNetwork(f"{name}-depth{depth}-width{width}-{draw}", name, depth, width, draw,
                        0.9 * np.sqrt(width) * random.uniform(0.9, 1.1))
            for depth in depths for width in widths for draw in range(draws)]


def step(network, quantizer, granularity, bits):
    largest = 0.6 if granularity == "tensor" else 0.4
    return largest / (2 ** (bits - 1) - 1) * (1.0 if quantizer == "floor" else 0.5)


def layer_norms(network, eta):
    """The largest, the typical, and the typical one without biases."""
    norm = network.norm + network.width * eta
    typical = (0.85 - 0.15 * (network.draw % 7) / 7) * norm
    return norm, typical, 0.96 * typical


def log10_bounds(network, eta):
    """One number per theory; houache_conv does not apply because of the biases."""
    n, depth = network.width, network.depth
    norm, typical, _ = layer_norms(network, eta)
    gonon = np.log10(2 * n * depth**2 * eta) + (depth - 1) * np.log10(max(norm, 1.0))
    mean = np.log10(n * depth * eta) + (depth - 1) * np.log10(typical)
    chain = {"gonon": gonon, "berner": gonon + 0.1 * depth + 1.0, "houache_mean": mean,
             "neyshabur": mean + 0.02 * depth, "houache_layerwise": mean - 0.3, "operator_norm": mean - 0.9,
             "absolute_product": mean - 0.3 * depth - 0.5, "path_metric": mean - 0.31 * depth - 0.8, "houache_conv": np.nan}
    return np.array([chain[theory] for theory in THEORIES])


class Writer:
    """Datasets with the dimension scales and attributes that both xarray engines need."""

    def __init__(self, file):
        self.file = file

    def axis(self, name, labels):
        values = np.array(labels, dtype=h5py.string_dtype()) if labels and isinstance(labels[0], str) else np.array(labels)
        self.file.create_dataset(name, data=values, track_times=False).make_scale(name)
        self.file[name].attrs["long_name"] = name

    def variable(self, name, dimensions, values, soundness="proved"):
        values = np.asarray(values)
        if values.dtype.kind in "UO":
            values = values.astype(h5py.string_dtype())
        data = self.file.create_dataset(name, data=values, track_times=False)
        for position, dimension in enumerate(dimensions):
            assert data.shape[position] == self.file[dimension].shape[0], (name, dimension)
            data.dims[position].attach_scale(self.file[dimension])
        data.attrs.update({"long_name": name.replace("_", " "), "units": "1", "soundness": soundness, "equation": "made up"})
        if values.dtype.kind == "f":
            data.attrs["_FillValue"] = np.nan


METHODS = ["interval", "difference_interval", "star"]


def write_certificates(writer, networks, tightest):
    """Two regions per network, the second with the larger deviations; `star` proves something in the first alone."""
    writer.axis("method", METHODS)
    writer.axis("region", list(range(2 * len(networks))))
    writer.variable("region_network", ("region",), [n.name for n in networks for _ in range(2)])
    larger = np.repeat(10.0 ** (tightest - 1.0), 2, axis=0)  # a tenth of the tightest theory
    larger[::2] *= 0.5
    certified = np.stack([9.0 * larger, larger, np.full_like(larger, np.nan)], axis=-1)
    certified[::2, ..., 2] = 0.25 * larger[::2]
    writer.variable("certified", ("region", *C, "method"), certified)
    writer.variable("attacked", ("region", *C), 1e-2 * larger, "observed")


def write_rankings(writer, networks, shape):
    """Images of `digits` have labels, uniform points have none; the first network was given no images."""
    bits = np.broadcast_to(np.array(BITS).reshape(-1, 1), shape)
    top1 = np.stack([np.full(shape, np.nan), 0.9 - 0.8 / 2.0 ** (bits - 2)], axis=-1)
    top1[0] = np.nan
    reference = np.array([[np.nan, np.nan if n == 0 else 0.9] for n in range(len(networks))])
    for name, shift in (("accuracy", 0.0), ("accuracy_top5", 0.05)):
        writer.variable(name, ("network", *C, "samples"), top1 + shift, "observed")
        writer.variable(f"{name}_reference", ("network", "samples"), reference + shift, "observed")
    writer.variable("samples_in_domain", ("network", "samples"), np.array([[64, 0 if n == 0 else 360] for n in range(len(networks))]))


def write_shares(writer, networks, layers):
    """Every layer of a network causes the same share, in the network with rules for all its layers: all but the last."""
    depths = [n.depth for n in networks for _ in range(n.depth)]
    share = np.broadcast_to(1.0 / np.array(depths).reshape(-1, 1, 1, 1, 1, 1),
                            (layers, len(QUANTIZERS), len(GRANULARITIES), len(BITS), 1, len(SAMPLES))).copy()
    if len(networks) > 1:
        share[-networks[-1].depth:] = np.nan
    writer.variable("layer_name", ("layer",), [f"layer number {i} of the network with a long name" for i in range(layers)])
    writer.variable("error_share", ("layer", *C, "samples"), share, "observed")


def write_provenance(file, run):
    """`run`: ranks, threads of each, seconds from start to end, seconds of each task, tasks that this run did."""
    run = {"ranks": 1, "threads": 1, "seconds": 60, "task_seconds": [10.0, 20.0, 20.0], "tasks_run": 3} | run
    group = file.create_group("provenance")
    start = datetime.datetime(2026, 11, 22, 23, 59, 30)
    end = start + datetime.timedelta(seconds=run["seconds"])
    group.attrs.update({"command_line": "made up", "ranks": run["ranks"], "tasks_run": run["tasks_run"], "start": f"{start.isoformat()}Z", "end": f"{end.isoformat()}Z",
                        "elapsed": float(run["seconds"])})
    writer = Writer(group)
    writer.axis("task", list(range(len(run["task_seconds"]))))
    writer.variable("wall_time", ("task",), run["task_seconds"])
    writer.axis("rank", list(range(run["ranks"])))
    writer.variable("threads", ("rank",), [run["threads"]] * run["ranks"])
    writer.variable("host", ("rank",), [f"node{rank // 2}" for rank in range(run["ranks"])])


def write_result(path, networks=DIGITS, observed="observed", applicable="applicable", certified="none", run={}, study="made up"):
    """`observed`, `applicable` or `certified` as "none": a file without the stage, or one in which no theory's assumptions hold.
    `run`: write_provenance; `study`: what its hash is."""
    shape = (len(networks), len(QUANTIZERS), len(GRANULARITIES), len(BITS), 1)
    eta = np.array([[[[[step(n, q, g, b)] for b in BITS] for g in GRANULARITIES] for q in QUANTIZERS] for n in networks])
    bounds = np.array([[log10_bounds(n, e) for e in eta[i].ravel()] for i, n in enumerate(networks)]).reshape(*shape, -1)
    tightest = np.nanmin(bounds, axis=-1)
    if applicable == "none":
        bounds = np.full_like(bounds, np.nan)
    depths = [n.depth for n in networks]
    layers = [(n.name, position) for n in networks for position in range(n.depth)]
    with h5py.File(path, "w", libver=("v108", "v110"), track_order=True) as file:
        writer = Writer(file)
        writer.axis("network", [n.name for n in networks])
        for name, labels in (("quantizer", QUANTIZERS), ("granularity", GRANULARITIES), ("bits", BITS), ("seed", SEEDS),
                             ("theory", THEORIES), ("samples", SAMPLES), ("quantile", QUANTILES)):
            writer.axis(name, labels)
        writer.axis("layer", list(range(len(layers))))
        for name, values in (("source", [n.name for n in networks]), ("family", [n.family for n in networks]),
                             ("sha256", ["0" * 64] * len(networks)), ("depth", depths), ("width", [n.width for n in networks]),
                             ("parameters", [n.depth * n.width**2 for n in networks]), ("draw", [n.draw for n in networks])):
            writer.variable(f"network_{name}", ("network",), values)
        writer.variable("layer_network", ("layer",), [network for network, _ in layers])
        writer.variable("layer_position", ("layer",), [position for _, position in layers])
        writer.variable("status", ("network", *C), np.ones(shape, dtype=np.int8))
        for position, name in enumerate(("r_max", "r_mean", "r_conv")):
            writer.variable(name, ("network", *C), [layer_norms(n, e)[position] for n, e in zip(networks, eta)])
        writer.variable("log10_bound", ("network", *C, "theory"), bounds)
        writer.variable("bound_applicable", ("network", *C, "theory"), np.isfinite(bounds).astype(np.int8))
        gain = bounds[..., :1] - bounds
        writer.variable("gain", ("network", *C, "theory"), gain)
        writer.variable("gain_formula", ("network", *C, "theory"), np.where(np.isnan(gain), 3.0, gain + 0.5), "estimate")
        if certified == "certified":
            write_certificates(writer, networks, tightest)
        if observed == "observed":
            exponent = tightest - 0.5 - 0.12 * np.array(depths).reshape(-1, 1, 1, 1, 1)
            largest = 10.0 ** np.stack([exponent - 0.3, exponent], axis=-1)
            writer.variable("observed_max", ("network", *C, "samples"), largest, "observed")
            writer.variable("observed_mean", ("network", *C, "samples"), 0.2 * largest, "observed")
            write_rankings(writer, networks, shape)
            write_shares(writer, networks, len(layers))
        file.attrs.update({"Conventions": "CF-1.10", "schema_version": "1.0", "title": "made up for tests", "study_toml": "",
                           "study_hash": study, "complete": np.int8(1)})
        write_provenance(file, run)
    return path


# ------------------------------------------------------------------------------------------------------ reconstruction

METHODS_OF_RECONSTRUCTION = ["round", "cle_round", "gptq", "adaround", "brecq", "qdrop", "mrecg", "mrecg_loss"]
RECONSTRUCTION_BITS, RECONSTRUCTION_SEEDS = [4, 3, 2], [1, 2, 3]
BY_LAYERS = ("gptq", "adaround")
FACTORS = dict(zip(METHODS_OF_RECONSTRUCTION, (20.0, 10.0, 1.5, 1.2, 1.0, 1.1, 0.7, 0.6)))
RESNET = FakeNetwork("resnet20_cifar10_folded", "file", 20, 16)
BLOCKS = [1, *[2] * 9, 1]  # weight layers of each


def module_axis(blocks):
    """Kind, position, first layer (from 0) and number of layers: all single layers, then all blocks."""
    firsts = np.concatenate([[0], np.cumsum(blocks)[:-1]])
    layers = [("layer", position, position, 1) for position in range(sum(blocks))]
    return layers + [("block", position, int(first), size) for position, (first, size) in enumerate(zip(firsts, blocks))]


def runs_of(method, blocks, runs):
    """How many blocks each are one: those given, for mrecg the second and third, else none."""
    if runs is not None and method in ("brecq", "qdrop", "mrecg"):
        return runs
    return [1, 2, *[1] * (len(blocks) - 3)] if method.startswith("mrecg") else [1] * len(blocks)


def made_up_loss(position, count, method, bits, seed, wave):
    """Grows along the network, goes up and down by `wave`, and differs between seeds where something is trained."""
    luck = 1.0 if method in ("round", "cle_round", "gptq") else 1.0 + 0.1 * (seed - 2)
    return 0.01 * FACTORS[method] * luck * 4.0 ** (4 - bits) * 10.0 ** (2.5 * position / count) * (1.0 + wave * (position % 2))


def write_reconstruction(path, network=RESNET, blocks=BLOCKS, methods=METHODS_OF_RECONSTRUCTION, bits=RECONSTRUCTION_BITS, seeds=RECONSTRUCTION_SEEDS,
                         runs=None, batch=None, iterations=100, edge_bits=8, wave=0.8, observed="observed"):
    """A result file of a study with [reconstruct]: one network, per channel. All modules of a kind have their loss; the
    final one is that of the last place, whatever was joined."""
    axis = module_axis(blocks)
    shape = (len(methods), 1, len(bits), len(seeds))
    loss, joined = np.full((len(axis), *shape), np.nan), np.zeros((len(axis), *shape), dtype=np.int64)
    capacity = np.full_like(loss, np.nan)
    difference = np.zeros((2, 1, *shape))
    layers = sum(blocks)
    for place in np.ndindex(shape):
        method, b, seed = methods[place[0]], bits[place[2]], seeds[place[3]]
        kind = "layer" if method in BY_LAYERS else "block"
        groups = [1] * layers if kind == "layer" else runs_of(method, blocks, runs)
        modules = [m for m, (k, *_) in enumerate(axis) if k == kind]
        values, start = [], 0
        for size in groups:
            members = modules[start:start + size]
            end = axis[members[-1]][2] + axis[members[-1]][3]
            value = made_up_loss(end, layers, method, b, seed, wave * size)
            for m in members:
                loss[(m, *place)], joined[(m, *place)] = value, size
                capacity[(m, *place)] = 1000.0 * b * axis[m][3] * (1 + axis[m][2] // 6)
            values.append(value)
            start += size
        steps = np.abs(np.diff(values))
        difference[(0, 0, *place)], difference[(1, 0, *place)] = steps.max(initial=0.0), steps.sum()
    options = "" if batch is None else f"batch = {batch}\n"
    with h5py.File(path, "w", libver=("v108", "v110"), track_order=True) as file:
        writer = Writer(file)
        writer.axis("network", [network.name])
        for name, labels in (("quantizer", methods), ("granularity", ["channel"]), ("bits", bits), ("seed", seeds), ("theory", ["gonon"]),
                             ("samples", ["images"]), ("layer", list(range(layers))), ("module", list(range(len(axis))))):
            writer.axis(name, labels)
        writer.variable("network_depth", ("network",), [layers])
        for name, values in (("network", [network.name] * layers), ("position", list(range(layers))), ("fan_in", [144] * layers),
                             ("parameters", [144 * 16 + 16] * layers)):
            writer.variable(f"layer_{name}", ("layer",), values)
        for name, values in (("network", [network.name] * len(axis)), ("name", [f"conv{first}" for _, _, first, _ in axis]), ("kind", [k for k, *_ in axis]),
                             ("position", [p for _, p, _, _ in axis]), ("first_layer", [f for _, _, f, _ in axis]), ("layers", [n for *_, n in axis])):
            writer.variable(f"module_{name}", ("module",), values)
        of_network = ("network", *C)
        writer.variable("status", of_network, np.ones((1, *shape), dtype=np.int8))
        for name in ("log10_bound", "gain"):
            writer.variable(name, (*of_network, "theory"), np.full((1, *shape, 1), 3.0))
        writer.variable("bound_applicable", (*of_network, "theory"), np.ones((1, *shape, 1), dtype=np.int8))
        writer.variable("module_loss", ("module", *C), loss, "observed")
        writer.variable("module_capacity", ("module", *C), capacity, "estimate")
        writer.variable("module_joined", ("module", *C), joined)
        writer.variable("oscillation_max", of_network, difference[0], "observed")
        writer.variable("oscillation_total", of_network, difference[1], "observed")
        if observed == "observed":
            final = np.nanmax(loss, axis=0)[None, ..., None]
            writer.variable("observed_max", (*of_network, "samples"), np.sqrt(final), "observed")
            writer.variable("observed_mean", (*of_network, "samples"), 0.2 * np.sqrt(final), "observed")
            writer.variable("accuracy", (*of_network, "samples"), 0.9 / (1.0 + 0.002 * final), "observed")
            writer.variable("accuracy_reference", ("network", "samples"), [[0.9]], "observed")
        study = f'[study]\nname = "made_up"\n[reconstruct]\nsamples = "images"\niterations = {iterations}\n{options}'
        file.attrs.update({"Conventions": "CF-1.10", "schema_version": "1.3.0", "title": "made up for tests", "study_toml": study, "study_hash": "",
                           "edge_bits": np.int64(edge_bits), "complete": np.int8(1)})
    return path
