"""Tables as Markdown: one row per network and number of bits."""
import numpy as np

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
