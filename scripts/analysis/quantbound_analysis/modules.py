"""What a result file says of reconstructed modules: their losses in order, what comes out at the end, and the rank
correlation of the two. Draws nothing.
"""
import dataclasses
import math
import statistics
import tomllib

import numpy as np

from .result import ResultError, choose_network

AXES = ("quantizer", "granularity", "bits", "seed")
DEFAULT_BATCH = 32  # of [reconstruct], where a study names none


@dataclasses.dataclass(frozen=True)
class Modules:
    """The modules of one configuration in order, those that were reconstructed together as one."""

    loss: np.ndarray
    first: np.ndarray  # number of its first weight layer, from 1
    last: np.ndarray
    parts: np.ndarray  # so many modules each: 1, or those that were joined

    @property
    def final(self):
        """The final reconstruction error: the loss of the last module, which makes the output of the network."""
        return float(self.loss[-1])

    @property
    def largest_earlier(self):
        """NaN where the whole network is one module."""
        return float(self.loss[:-1].max()) if len(self.loss) > 1 else math.nan

    def inner(self):
        """Without those that are the first or the last weight layer alone: these have bits of their own as a rule, and
        the outputs of the last have another scale."""
        edge = (self.first == self.last) & ((self.last == 1) | (self.last == self.last[-1]))
        return Modules(*(values[~edge] for values in (self.loss, self.first, self.last, self.parts)))

    def oscillation(self):
        """Largest, and sum of the differences of the losses of adjacent modules."""
        differences = np.abs(np.diff(self.loss))
        return float(differences.max(initial=0.0)), float(differences.sum())


def require_modules(ds):
    if "module_loss" not in ds or not ds.module_loss.notnull().any():
        raise ResultError("the file has no module_loss: its study names no reconstruction method as quantizer")


def reconstructed_network(ds, wanted=None):
    """`wanted`, or the deepest of those whose modules were reconstructed."""
    require_modules(ds)
    there = ds.module_loss.notnull().any(AXES).values
    networks = [name for name in ds.network.values.tolist() if there[ds.module_network.values == name].any()]
    if wanted is None:
        return choose_network(ds.sel(network=networks))
    if choose_network(ds, wanted) not in networks:
        raise ResultError(f"the file has no module_loss of {wanted}; it has that of {', '.join(networks)}")
    return wanted


def of_network(ds, network):
    """The part of the dataset that is about the modules of one network."""
    return ds.sel(network=network).isel(module=np.flatnonzero(ds.module_network.values == network))


def modules_of(at):
    """`at`: one network (of_network) in one configuration. None where nothing was reconstructed in it."""
    loss = at.module_loss.values
    there = np.flatnonzero(np.isfinite(loss))
    there = there[np.argsort(at.module_position.values[there], kind="stable")]
    if not len(there):
        return None
    first = at.module_first_layer.values + 1
    last = first + at.module_layers.values - 1
    joined = np.maximum(1, at.module_joined.values)
    starts, place = [], 0
    while place < len(there):
        starts.append(place)
        place += int(joined[there[place]])
    begins = there[starts]
    parts = joined[begins].astype(int)
    ends = there[np.array(starts) + parts - 1]
    return Modules(loss[begins], first[begins], last[ends], parts)


def configurations(at, quantizers, bits=None):
    """Labels and Modules of every configuration of one network (of_network) in which something was reconstructed."""
    for quantizer in quantizers:
        for granularity in at.granularity.values.tolist():
            for b in at.bits.values.tolist() if bits is None else [bits]:
                for seed in at.seed.values.tolist():
                    labels = dict(zip(AXES, (quantizer, granularity, b, seed)))
                    modules = modules_of(at.sel(labels))
                    if modules is not None:
                        yield labels, modules


def reconstruct_table(ds):
    """The table [reconstruct] of the study that the file comes from."""
    try:
        return tomllib.loads(ds.attrs.get("study_toml", "")).get("reconstruct", {})
    except tomllib.TOMLDecodeError as error:
        raise ResultError(f"the study in the file is no TOML ({error})") from error


def batch_of(ds):
    return int(reconstruct_table(ds).get("batch", DEFAULT_BATCH))


def weight_bits(ds, network, bits):
    """Bits of all weights of a network when layers have `bits` and those at the edges what the study says; grids and
    biases are not counted. (layer_parameters counts the weights, fan-in times outputs, and a bias for every output.)"""
    mine = ds.layer_network.values == network
    fan_in = ds.layer_fan_in.values[mine].astype(float)
    weights = np.rint(ds.layer_parameters.values[mine] * fan_in / (fan_in + 1.0))
    of_layer = np.full(len(weights), float(bits))
    edge = int(ds.attrs.get("edge_bits", 0))
    if edge:
        of_layer[[0, -1]] = edge
    return float(weights @ of_layer)


# ---------------------------------------------------------------------------------------------------- rank correlation

@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    rho: float
    low: float  # ends of the interval
    high: float


def mid_ranks(values):
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * (counts - 1))[place]


def rank_correlation(x, y, confidence=0.95):
    """Spearman's, with the interval of Bonett and Wright (Psychometrika 65, 2000, 23-28): Fisher's z with the variance
    (1 + rho^2 / 2) / (n - 3), as include/quantbound/reconstruct/correlation.hpp. None for fewer than four pairs, or
    where one side has one value only."""
    if len(x) < 4 or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return None
    a, b = (mid_ranks(values) - 0.5 * (len(x) + 1.0) for values in (x, y))  # multiples of a half: sums are exact
    rho = float(np.clip((a @ b) / math.sqrt((a @ a) * (b @ b)), -1.0, 1.0))
    half = statistics.NormalDist().inv_cdf(0.5 + 0.5 * confidence) * math.sqrt((1.0 + 0.5 * rho * rho) / (len(x) - 3.0))
    with np.errstate(divide="ignore"):  # of exact +-1 the interval shrinks to the point
        z = np.arctanh(rho)
    return RankCorrelation(rho, float(np.tanh(z - half)), float(np.tanh(z + half)))
