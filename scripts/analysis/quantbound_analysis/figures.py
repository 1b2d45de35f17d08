"""The figures. Each takes the dataset of `open_result` and returns a matplotlib figure; nothing is written here."""
import numpy as np
import xarray as xr

from .result import DONE, ResultError, Selection, best_certified, choose_network, select
from .style import (CERTIFIED_COLOUR, GAP_COLOUR, LABEL_MARGIN, OBSERVED_COLOUR, STYLE, label_lines, label_places, look, log_axis, names_beside, new_figure, on_paper,
                    plt, power_axis, small_print, words_in_band)


def panels(count, height):
    """A column of `count` panels with room for names on the right and a line of small print below."""
    total = 0.9 + height * count + 0.25 * (count - 1)
    fig, axes = new_figure(count, 1, total, dict(left=0.105, right=1.0 - LABEL_MARGIN, top=1.0 - 0.3 / total, bottom=0.6 / total, hspace=0.9 / height))
    return fig, axes[:, 0]


DEVIATION = "deviation of an output (inf-norm, unit of the output)"


def describe(chosen):
    words = [chosen["quantizer"], f"one step per {chosen['granularity']}"]
    return ", ".join(words + ([f"{chosen['bits']} bits"] if "bits" in chosen else []))


def networks_in_words(family, count):
    """So many networks of one `network_family`: what the file calls "dense file" was read from files, any other family was made."""
    networks = f"network{'s' * (count != 1)}"
    if not family or family.split()[-1] == "file":
        kind = " ".join(family.split()[:-1] + [networks])
        return f"{count} {kind} from {'a file' if count == 1 else 'files'}"
    return f"{count} synthetic {networks} ({family})"


def depth_statistics(gain, depth):
    """Median, smallest and largest gain over the networks of each depth: arrays over the sorted distinct depths."""
    depths = np.unique(depth[np.isfinite(gain)])
    groups = [gain[(depth == d) & np.isfinite(gain)] for d in depths]
    return depths, *(np.array([f(group) for group in groups]) for f in (np.median, np.min, np.max))


def gain_depth(ds, selection=Selection(), variable="gain"):
    """Orders of magnitude won over Gonon et al. against depth, one panel per family, one line per theory.

    Lines join the medians over the networks of equal depth; bars reach from the smallest to the largest.
    `variable`: "gain" for the proved bounds, "gain_formula" for the published formulas taken literally.
    """
    if variable not in ds:
        raise ResultError(f"the file has no {variable}")
    at, chosen = select(ds, selection, ("quantizer", "granularity", "bits"))
    gain = at[variable].max("seed") if "seed" in at[variable].dims else at[variable]
    drawn = [t for t in gain.theory.values.tolist() if t != "gonon" and np.isfinite(gain.sel(theory=t)).any()]
    if not drawn:
        raise ResultError(f"no theory has a {variable} at {describe(chosen)}")
    parts = {family: gain.isel(network=np.flatnonzero(ds.network_family.values == family)) for family in dict.fromkeys(ds.network_family.values.tolist())}
    empty = [family for family, part in parts.items() if not np.isfinite(part.sel(theory=drawn)).any()]
    parts = {family: part for family, part in parts.items() if family not in empty}
    with plt.rc_context(STYLE):
        fig, axes = panels(len(parts), 3.3 if len(parts) == 1 else 2.5)
        for ax, (family, part) in zip(axes, parts.items()):
            ends = gain_panel(ax, part, drawn, family)
            ax.set_title(f"{networks_in_words(family, part.sizes['network'])}, {describe(chosen)}")
            ax.set_xlabel("depth (weight layers)")
            ax.set_ylabel("factor won over Gonon et al. (no unit)")
            power_axis(ax.yaxis)
            label_lines(ax, ends)
        notes = []
        if any(len(np.unique(part.network_depth)) < part.sizes["network"] for part in parts.values()):
            notes.append("points: median over the networks of a depth; bars: smallest to largest")
        if empty:
            notes.append("without a value here: " + ", ".join(networks_in_words(family, int((ds.network_family == family).sum())) for family in empty))
        if notes:
            small_print(fig, "; ".join(notes))
    return fig


def gain_panel(ax, gain, theories, family):
    """Draws one family; returns the ends of its lines."""
    depth = gain.network_depth.values
    distinct = np.unique(depth)
    step = np.diff(distinct).min() if len(distinct) > 1 else 1.0
    ends = [(distinct[-1] + 0.6 * step, 0.0, "Gonon et al. (= 1)", look("gonon").colour)]
    ax.axhline(0.0, color=look("gonon").colour, linewidth=0.8)
    for rank, theory in enumerate(theories):
        depths, median, low, high = depth_statistics(gain.sel(theory=theory).values, depth)
        if not len(depths):
            continue
        # Bars of different theories stand side by side.
        shifted = depths + 0.4 * step * ((rank + 0.5) / len(theories) - 0.5) * np.any(high > low)
        style = look(theory)
        ax.vlines(shifted, low, high, color=style.colour, linewidth=1.0, alpha=0.55)
        every = 1 + len(depths) // 15
        ax.plot(shifted, median, **style.draw(), markevery=((len(depths) - 1) % every, every))
        ax.figure.record(ax, shifted, median, family=family, theory=theory, depth=depths.astype(int), log10_gain=median, smallest=low, largest=high)
        ends.append((shifted[-1], median[-1], style.label, style.colour))
    ax.set_xlim(distinct[0] - 0.6 * step, distinct[-1] + 0.6 * step)
    if len(distinct) <= 12:
        label_places(ax, distinct, [str(int(d)) for d in distinct])
    return ends


def log10_or_nan(values):
    """log10 of measured deviations; NaN where nothing was measured or nothing deviated."""
    return np.log10(values.where(values > 0))


def observed_deviation(at):
    """log10 of the largest and of the mean deviation over all samples, against bits; None where none was measured."""
    if "observed_max" not in at or not at.sizes.get("samples", 0):
        return None
    axes = [dim for dim in ("samples", "seed") if dim in at.observed_max.dims]
    return log10_or_nan(at.observed_max.max(axes)), log10_or_nan(at.observed_mean.mean(axes))


def bounds_bits(ds, network=None, selection=Selection()):
    """All bounds of one network against bits, from loosest to tightest, what was certified, and the deviation measured
    below them."""
    network = choose_network(ds, network)
    at, chosen = select(ds, selection, ("quantizer", "granularity"))
    at = at.sortby("bits")
    certified = best_certified(at, network)
    at = at.sel(network=network)
    bound = at.log10_bound.where(at.bound_applicable == 1)
    bound = bound.max("seed") if "seed" in bound.dims else bound
    bound = bound.where(np.isfinite(bound))
    theories = [t for t in at.theory.values.tolist() if bound.sel(theory=t).notnull().any()]
    if not theories:
        done = bool((at.status == DONE).any())
        raise ResultError(f"no bound of {network} at {describe(chosen)} " + ("applies" if done else "was computed"))
    with plt.rc_context(STYLE):
        fig, (ax,) = panels(1, 4.3)
        ends = bound_lines(ax, bound, theories, network)
        tightest = bound.min("theory")
        if certified is not None:
            line = certified.max("seed", skipna=False) if "seed" in certified.dims else certified
            line = log10_or_nan(line.where(np.isfinite(line))).reset_coords(drop=True)
            tightest = np.fmin(tightest, line)
            ends += certified_line(ax, line.dropna("bits"), network)
        observed = observed_deviation(at)
        if observed is not None:
            ends += observed_lines(ax, *observed, network)
        depth = int(at.network_depth)
        ax.set_title(f"{network} ({depth} weight layer{'s' * (depth > 1)}), {describe(chosen)}")
        ax.set_xlabel("bits per weight")
        ax.set_ylabel(DEVIATION)
        ax.set_xticks(at.bits.values)
        ax.margins(x=0.04)
        power_axis(ax.yaxis)
        notes = [] if observed is None else gap_band(ax, tightest, observed[0])
        missing = [look(t).label for t in at.theory.values.tolist() if t not in theories]
        if missing:
            notes.append("assumptions not met: " + ", ".join(missing))
        if notes:
            small_print(fig, "; ".join(notes))
        label_lines(ax, ends)
    return fig


def record_deviation(ax, line, network, name):
    """A line of log10 deviations against bits."""
    ax.figure.record(ax, line.bits, line, network=network, line=name, bits=line.bits.values, log10_deviation=line.values)


def bound_lines(ax, bound, theories, network):
    ends = []
    for theory in theories:
        line = bound.sel(theory=theory).dropna("bits")
        style = look(theory)
        ax.plot(line.bits, line, **style.draw())
        record_deviation(ax, line, network, theory)
        ends.append((float(line.bits[-1]), float(line[-1]), style.label, style.colour))
    return ends


def certified_line(ax, line, network):
    if not line.sizes["bits"]:
        return []
    ax.plot(line.bits, line, color=CERTIFIED_COLOUR, marker="D", markersize=4, linewidth=1.8)
    record_deviation(ax, line, network, "certified")
    return [(float(line.bits[-1]), float(line[-1]), "certified", CERTIFIED_COLOUR)]


def gap_band(ax, tightest, largest):
    """The gap between the largest measured deviation and the tightest that was proved. Returns what there was no room for in it."""
    both = xr.Dataset({"bound": tightest, "seen": largest}).dropna("bits")
    if not both.sizes["bits"]:
        return []
    ax.fill_between(both.bits, both.seen, both.bound, color=GAP_COLOUR, linewidth=0, zorder=0)
    gap = (both.bound - both.seen).values
    words = "gap: a factor of " + " to ".join(dict.fromkeys(f"$10^{{{size:.1f}}}$" for size in (gap.min(), gap.max())))
    return [] if words_in_band(ax, words, (both.bits, both.bound, both.seen), GAP_COLOUR) else [in_print(words)]


def in_print(words):
    """As plain text: small print is not always drawn."""
    return words.replace("$10^{", "10^").replace("}$", "")


def observed_lines(ax, largest, mean, network):
    """The measured deviations."""
    ends = []
    for line, name, style in ((largest, "largest observed", dict(marker="o", linestyle="-", linewidth=1.8)),
                              (mean, "mean observed", dict(marker="o", linestyle=":", markerfacecolor="white", linewidth=1.2))):
        line = line.dropna("bits")
        if line.sizes["bits"]:
            ax.plot(line.bits, line, color=OBSERVED_COLOUR, markersize=3.5, **style)
            record_deviation(ax, line, network, name)
            ends.append((float(line.bits[-1]), float(line[-1]), name, OBSERVED_COLOUR))
    return ends


# -------------------------------------------------------------------------------------------- what the bounds are made of

MEASURES = {"r_max": ("largest, r", "#000000", "s"), "r_mean": ("geometric mean,\nr_mean", "#D55E00", "o"),
            "r_conv": ("mean without\nbiases, r_conv", "#0072B2", "^")}
MOST_NAMED = 30  # networks that have a row with a name of their own


def bound_comparison(ds, network=None, selection=Selection()):
    """What the bounds multiply once per layer: the largest layer norm r (Gonon et al.), the geometric mean r_mean and that
    without biases r_conv (Houache et al.). At most MOST_NAMED networks: a row each; more: means against r, a panel per
    family."""
    missing = [name for name in MEASURES if name not in ds]
    if missing:
        raise ResultError(f"the file has no {', '.join(missing)}")
    at, chosen = select(ds, selection, ("quantizer", "granularity", "bits"))
    at = at[list(MEASURES)].max("seed") if "seed" in at.dims else at[list(MEASURES)]
    at = at.sel(network=[choose_network(ds, network)]) if network is not None else at
    at = at.isel(network=np.flatnonzero(np.isfinite(at.r_max.values)))
    count = at.sizes["network"]
    if not count:
        raise ResultError(f"no layer norm was computed at {describe(chosen)}")
    with plt.rc_context(STYLE):
        return measure_rows(at, chosen) if count <= MOST_NAMED else measure_scatter(at, chosen)


def measure_rows(at, chosen):
    count = at.sizes["network"]
    fig, (ax,) = panels(1, 0.35 + (0.2 if on_paper() else 0.36) * count)
    names = [name if len(name) <= 26 else name[:12] + "..." + name[-12:] for name in at.network.values.tolist()]
    if on_paper():
        fig.subplots_adjust(left=0.06 + 0.0095 * max(map(len, names)))
    rows = np.arange(count)[::-1]
    values = np.array([at[name].values for name in MEASURES])
    ax.hlines(rows, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color="#BBBBBB", linewidth=1.5, zorder=1)
    handles = []
    lift = 0.18 if on_paper() else 0.12  # where means coincide both are to be seen: r_conv above the row, r_mean on it
    for name, (label, colour, marker) in MEASURES.items():
        look_of = dict(color=colour, marker=marker, markersize=4.5, markeredgewidth=0.9, markerfacecolor="white" if name != "r_max" else colour, linestyle="")
        ax.plot(at[name], rows + lift * (name == "r_conv"), **look_of)
        fig.record(ax, at[name].values, rows, network=at.network.values, measure=name, depth=at.network_depth.values.astype(int), value=at[name].values)
        handles.append(plt.Line2D([], [], **look_of, label=label))
    ax.set_yticks(rows, names)
    ax.set_ylim(-0.6, count - 0.4)
    if not on_paper():
        ax.set_yticks(rows, [""] * count)
        for row, name in zip(rows, names):
            ax.annotate(name, (0.0, row), xycoords=("axes fraction", "data"), xytext=(2.0, 10.5), textcoords="offset points", fontsize=6.5, color="#555555")
    log_axis(ax, "x")
    ax.set_xlabel("norm of a layer (inf-norm to inf-norm, no unit)")
    ax.set_title(describe(chosen))
    names_beside(ax, handles, "over the layers of a network")
    return fig


def measure_scatter(at, chosen):
    families = list(dict.fromkeys(at.network_family.values.tolist()))
    fig, axes = panels(len(families), 3.3 if len(families) == 1 else 2.5)
    for ax, family in zip(axes, families):
        part = at.isel(network=np.flatnonzero(at.network_family.values == family))
        largest = part.r_max.values
        handles = []
        for name in ("r_mean", "r_conv"):
            label, colour, marker = MEASURES[name]
            look_of = dict(color=colour, marker=marker, markersize=3.2, markeredgewidth=0.6, markerfacecolor="none", linestyle="")
            ax.plot(largest, part[name], **look_of)
            fig.record(ax, largest, part[name].values, network=part.network.values, family=family, measure=name, depth=part.network_depth.values.astype(int),
                       r_max=largest, value=part[name].values)
            handles.append(plt.Line2D([], [], **look_of, label=label))
        ends = np.array([np.nanmin(largest), np.nanmax(largest)])
        ax.plot(ends, ends, color="#777777", linewidth=0.9)
        handles.append(plt.Line2D([], [], color="#777777", linewidth=0.9, label="as large as r"))
        log_axis(ax, "x")
        log_axis(ax, "y")
        ax.set_title(f"{networks_in_words(family, part.sizes['network'])}, {describe(chosen)}")
        ax.set_xlabel("largest norm of a layer, r (inf-norm to inf-norm, no unit)")
        ax.set_ylabel("mean norm of the layers (no unit)")
        names_beside(ax, handles)
    return fig
