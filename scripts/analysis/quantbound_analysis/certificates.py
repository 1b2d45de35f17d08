"""Figures of what was proved between theory and measurement: the sandwich of a network, and the trace of a search."""
import csv
import pathlib

import numpy as np
import xarray as xr

from .figures import DEVIATION, describe, in_print, log10_or_nan, panels, record_deviation
from .result import ResultError, Selection, best_attacked, best_certified, by_method, choose_network, select
from .style import ATTACKED_COLOUR, BAND_COLOUR, CERTIFIED_COLOUR, GAP_COLOUR, OBSERVED_COLOUR, STYLE, label_lines, method_look, plt, power_axis, small_print, words_in_band

TRACE_COLUMNS = ("seconds", "boxes", "upper", "lower", "open")


def finite(line):
    """One value per number of bits: of several seeds the largest, without what is not finite."""
    line = line.max("seed", skipna=False) if "seed" in line.dims else line
    return log10_or_nan(line.where(np.isfinite(line))).dropna("bits").sortby("bits")


def sandwich(ds, network=None, selection=Selection(), methods=False):
    """Tightest theory, best certificate, attacked and observed of one network against bits. The deviation that is really
    possible lies in the darker band. `methods`: a line for every method beside the best of all."""
    network = choose_network(ds, network)
    if best_certified(ds, network) is None:
        raise ResultError(f"the file has no certificates of {network}; name methods in [certify] of the study")
    at, chosen = select(ds, selection, ("quantizer", "granularity"))
    certified, attacked = best_certified(at, network), best_attacked(at, network)
    if certified is None or not len(finite(certified)):
        raise ResultError(f"no method proves a finite bound of {network} at {describe(chosen)}")
    curves = [(theory_line(at.sel(network=network)), "tightest theory", dict(color="#D55E00", marker="s", linestyle="--", markerfacecolor="white", linewidth=1.2)),
              (finite(certified), "certified", dict(color=CERTIFIED_COLOUR, marker="D", linestyle="-", linewidth=1.8)),
              (None if attacked is None else finite(attacked), "attacked", dict(color=ATTACKED_COLOUR, marker="^", linestyle="-", linewidth=1.2)),
              (observed_line(at.sel(network=network)), "largest observed", dict(color=OBSERVED_COLOUR, marker="o", linestyle=":", linewidth=1.2))]
    curves = [(line, name, style) for line, name, style in curves if line is not None and len(line)]
    with plt.rc_context(STYLE):
        fig, (ax,) = panels(1, 3.9)
        bands = shade(ax, curves)
        ends = []
        for line, name, style in curves:
            ax.plot(line.bits, line, markersize=4, **style)
            record_deviation(ax, line, network, name)
            ends.append((float(line.bits[-1]), float(line[-1]), name, style["color"]))
        if methods:
            ends += method_lines(ax, by_method(at, network), network)
        ax.set_title(f"{network} ({int(ds.network_depth.sel(network=network))} weight layers), {describe(chosen)}")
        ax.set_xlabel("bits per weight")
        ax.set_ylabel(DEVIATION)
        ax.set_xticks(at.bits.values)
        ax.margins(x=0.04)
        power_axis(ax.yaxis)
        notes = ["the largest deviation over the domain lies in the darker band"]
        for between, words, *band, colour in bands:
            if not words_in_band(ax, words, band, colour):
                notes.append(f"{between}: {in_print(words)}")
        small_print(fig, "; ".join(notes))
        label_lines(ax, ends)
    return fig


def theory_line(at):
    return finite(10.0 ** at.log10_bound.where(at.bound_applicable == 1).min("theory"))


def observed_line(at):
    if "observed_max" not in at or not at.sizes.get("samples", 0):
        return None
    return finite(at.observed_max.max("samples"))


def shade(ax, curves):
    """Light between theory and certificate, darker between the certificate and the largest deviation known. Returns
    what each band lies between, the words for it, and where and on which colour these are."""
    lines = {name: line for line, name, _ in curves}
    known = [lines[name] for name in ("attacked", "largest observed") if name in lines]
    below = np.fmax(*xr.align(*known, join="outer")) if len(known) == 2 else known[0] if known else None
    bands = []
    for between, top, bottom, colour in (("theory over certificate", lines.get("tightest theory"), lines["certified"], GAP_COLOUR),
                                         ("certificate over known", lines["certified"], below, BAND_COLOUR)):
        if top is None or bottom is None:
            continue
        both = xr.Dataset({"top": top.drop_vars(set(top.coords) - {"bits"}), "bottom": bottom.drop_vars(set(bottom.coords) - {"bits"})}).dropna("bits")
        if not both.sizes["bits"]:
            continue
        ax.fill_between(both.bits, both.bottom, both.top, color=colour, linewidth=0, zorder=0)
        factor = (both.top - both.bottom).values
        words = list(dict.fromkeys(f"$10^{{{size:.1f}}}$" if size >= 1.0 else f"{10.0**size:.2g}" for size in (factor.min(), factor.max())))
        bands.append((between, "a factor of " + " to ".join(words), both.bits, both.top, both.bottom, colour))
    return bands


def method_lines(ax, certified, network):
    ends = []
    for method in certified.method.values.tolist():
        line = finite(certified.sel({"method": method}))  # `method` as a keyword is another argument of sel
        if len(line):
            style = method_look(method)
            ax.plot(line.bits, line, **style.draw())
            record_deviation(ax, line, network, method)
            ends.append((float(line.bits[-1]), float(line[-1]), style.label, style.colour))
    return ends


# ------------------------------------------------------------------------------------------------- branch and bound

def read_trace(path):
    """The columns of `quantbound certify --trace FILE`, as arrays by name."""
    if not pathlib.Path(path).is_file():
        raise ResultError(f"no such file: {path}")
    with open(path, newline="") as file:
        try:
            rows = list(csv.DictReader(file))
            trace = {name: np.array([float(row[name]) for row in rows]) for name in TRACE_COLUMNS}
        except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
            raise ResultError(f"not a trace of `quantbound certify --trace`: {path} ({error!r})") from error
    if not rows:
        raise ResultError(f"not a trace of `quantbound certify --trace`: {path} has no rows")
    return trace


def gap(trace, title):
    """Proved upper and attained lower bound of a search against time, and what is between them."""
    seconds, upper, lower = (trace[name] for name in ("seconds", "upper", "lower"))
    shown = np.where(np.isfinite(upper) & (upper > 0), upper, np.nan)
    if np.isnan(shown).all():
        raise ResultError(f"{title}: nothing finite was proved")
    attained = np.where(lower > 0, lower, np.nan)
    marker = "o" if len(seconds) <= 12 else ""  # a search of a few milliseconds has one row, which no line shows
    with plt.rc_context(STYLE):
        fig, (ax,) = panels(1, 3.3)
        ax.fill_between(seconds, attained, shown, step="post", color=BAND_COLOUR, linewidth=0, zorder=0)
        ends = []
        for values, name, colour in ((shown, "proved upper bound", CERTIFIED_COLOUR),
                                     (attained, "attained", ATTACKED_COLOUR)):
            if not np.isnan(values).all():
                ax.plot(seconds, values, color=colour, linewidth=1.6, marker=marker, markersize=3.5, drawstyle="steps-post")
                fig.record(ax, seconds, values, line=name, seconds=seconds, deviation=values, pieces=trace["boxes"].astype(int), open=trace["open"].astype(int))
                ends.append((seconds[-1], values[~np.isnan(values)][-1], name, colour))
        if upper[-1] > 0 and lower[-1] > 0:
            ax.set_title(f"{title}: {int(trace['boxes'][-1])} pieces in {seconds[-1]:.3g} s, "
                         f"upper {upper[-1]:.4g} = {upper[-1] / lower[-1]:.3g} x attained")
        else:
            ax.set_title(f"{title}: {int(trace['boxes'][-1])} pieces in {seconds[-1]:.3g} s, upper {upper[-1]:.4g}")
        ax.set_xlabel("time (seconds)")
        ax.set_ylabel(DEVIATION)
        ax.set_yscale("log")
        plain = plt.FuncFormatter(lambda value, _position: f"{value:g}")
        ax.yaxis.set_major_formatter(plain)
        narrow = np.nanmax(shown) < 10.0 * np.nanmin(np.fmin(shown, attained))  # within a decade there is one power of ten at most
        ax.yaxis.set_minor_formatter(plain if narrow else plt.NullFormatter())
        ax.set_xlim(0.0, 1.05 * seconds[-1] or 1.0)
        label_lines(ax, ends)
    return fig
