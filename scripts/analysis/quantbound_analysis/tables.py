"""Tables as Markdown: one row per network and number of bits."""
import numpy as np

from .modules import modules_of, of_network, require_modules
from .result import ResultError, Selection, select


def number(value, digits=3):
    return "-" if not np.isfinite(value) else f"{value:.{digits}g}"


def power(log10):
    return "-" if not np.isfinite(log10) else f"{log10:.1f}"


def percent(top1, top5):
    return "-" if not np.isfinite(top1) else f"{100 * top1:.1f} / {100 * top5:.1f}"


def accuracy_table(ds):
    """Top-1 / top-5 accuracy in percent: one row per network, sample set, rounding rule and granularity, one column per
    number of bits, beside those of the original network."""
    if "accuracy" not in ds or not ds.sizes.get("samples", 0) or not ds.accuracy.notnull().any():
        raise ResultError("the file has no accuracy: its studies name no labelled samples")
    bits = sorted(ds.bits.values.tolist(), reverse=True)
    head = ["network", "samples", "quantizer", "step per", "float", *(f"{b} bits" for b in bits)]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for network in ds.network.values:
        for samples in ds.samples.values:
            at = ds.sel(network=network, samples=samples)
            if not at.accuracy.notnull().any():
                continue
            for quantizer in ds.quantizer.values:
                for granularity in ds.granularity.values:
                    row = at.sel(quantizer=quantizer, granularity=granularity).mean("seed", keep_attrs=True)
                    cells = [str(label) for label in (network, samples, quantizer, granularity)]
                    cells.append(percent(float(at.accuracy_reference), float(at.accuracy_top5_reference)))
                    cells += [percent(float(row.accuracy.sel(bits=b)), float(row.accuracy_top5.sel(bits=b))) for b in bits]
                    lines.append(" | ".join(cells))
    counts = ", ".join(f"{int(ds.samples_in_domain.sel(samples=s).max())} of {s}" for s in ds.samples.values)
    return "\n".join([*(f"| {line} |" for line in lines), "", f"Top-1 / top-5 accuracy in percent; samples: {counts}."])


def markdown_table(ds, selection=Selection(), published=False):
    """L, r_max, r_mean, r_conv, log10 of every theory, the gain of houache over gonon, and the largest deviation measured.

    `published` takes the literal formulas and their gain (houache_conv over gonon, as arXiv 2502.01156 tabulates) instead
    of the proved bounds (houache_mean over gonon).
    """
    at, chosen = select(ds, selection, ("quantizer", "granularity"))
    if "seed" in at.dims:
        at = at.isel(seed=0)
    variable, gain, winner = (("log10_formula", "gain_formula", "houache_conv") if published else
                              ("log10_bound", "gain", "houache_mean"))
    theories = [t for t in at.theory.values.tolist() if np.isfinite(at[variable].sel(theory=t)).any()]
    head = ["network", "L", "bits", "r_max", "r_mean", "r_conv", *theories, f"gain of {winner}", "observed max"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    observed = at.observed_max.max("samples") if "samples" in at.sizes and at.sizes["samples"] else None
    for network in at.network.values:
        for bits in sorted(at.bits.values, reverse=True):
            row = at.sel(network=network, bits=bits)
            cells = [str(network), str(int(row.network_depth)), str(bits), *(number(float(row[r])) for r in ("r_max", "r_mean", "r_conv"))]
            cells += [power(float(row[variable].sel(theory=t))) for t in theories]
            cells += [power(float(row[gain].sel(theory=winner))) if winner in at.theory.values else "-"]
            cells += ["-" if observed is None else number(float(observed.sel(network=network, bits=bits)))]
            lines.append(" | ".join(cells))
    which = "published formulas, taken literally" if published else "proved bounds over the domain"
    note = f"log10 of the {which}; {chosen['quantizer']}, one step per {chosen['granularity']}."
    return "\n".join([*(f"| {line} |" for line in lines), "", note])


def over_seeds(values, factor=1.0):
    """The median, and behind it the range where the seeds differ."""
    values = factor * np.asarray(values)[np.isfinite(values)]
    if not len(values):
        return "-"
    spread = [number(value, 4) for value in (np.min(values), np.max(values))]
    return number(np.median(values), 4) + (f" ({spread[0]} to {spread[1]})" if spread[0] != spread[1] else "")


def final_errors(at):
    """Of one network (of_network) in the configurations of every seed."""
    found = [modules_of(at.sel(seed=seed)) for seed in at.seed.values]
    return np.array([np.nan if modules is None else modules.final for modules in found])


def reconstruction_table(ds):
    """Final reconstruction error, largest deviation and top-1 accuracy of every method: one row per network, number of
    bits, granularity and method; medians over the seeds with their range."""
    require_modules(ds)
    measured = bool(ds.sizes.get("samples", 0)) and "observed_max" in ds
    head = ["network", "bits", "step per", "quantizer", "final error", "largest deviation", "accuracy (%)"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for network in ds.network.values.tolist():
        of_this = of_network(ds, network)
        if not of_this.module_loss.notnull().any():
            continue
        for bits in sorted(ds.bits.values.tolist(), reverse=True):
            for granularity in ds.granularity.values.tolist():
                for quantizer in ds.quantizer.values.tolist():
                    at = of_this.sel(bits=bits, granularity=granularity, quantizer=quantizer)
                    cells = [network, str(bits), granularity, quantizer, over_seeds(final_errors(at))]
                    cells.append(over_seeds(at.observed_max.max("samples").values) if measured else "-")
                    cells.append(over_seeds(at.accuracy.mean("samples").values, 100.0) if measured and "accuracy" in at else "-")
                    lines.append(" | ".join(cells))
        if measured and "accuracy_reference" in of_this and of_this.accuracy_reference.notnull().any():
            lines.append(" | ".join([network, "float", "-", "-", "-", "-", over_seeds([float(of_this.accuracy_reference.mean("samples"))], 100.0)]))
    seeds = ds.sizes["seed"]
    note = (f"Median over {seeds} seed{'s' * (seeds > 1)} (smallest to largest where they differ). Final error: loss of the last module on the calibration "
            "samples; largest deviation (inf-norm) and top-1 accuracy: on the evaluation samples.")
    return "\n".join([*(f"| {line} |" for line in lines), "", note])
