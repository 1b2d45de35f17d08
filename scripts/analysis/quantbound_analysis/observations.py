"""Figures of what was measured: accuracy beside bound against bits, and the share of the error that every layer causes."""
import numpy as np

from .figures import describe, log10_or_nan
from .result import ResultError, Selection, choose_network, select
from .style import GAP_COLOUR, OBSERVED_COLOUR, STYLE, current_page, label_places, names_above, new_figure, on_paper, plt, power_axis, quantizer_look

MOST_ROWS = 4
SERIES = (("#0072B2", "o", "-"), ("#D55E00", "s", (0, (4, 1.5))), ("#009E73", "^", (0, (1, 1))), ("#CC79A7", "v", (0, (3, 1, 1, 1))),
          ("#E69F00", "D", (0, (5, 1))), ("#56B4E9", "X", "-"))


def networks_with(ds, variable):
    """Labels of the networks for which the variable was measured on some sample set."""
    if variable not in ds or not ds.sizes.get("samples", 0):
        return []
    others = [dim for dim in ds[variable].dims if dim != "network"]
    return ds.network.values[ds[variable].notnull().any(others).values].tolist()


def series_of(ds):
    """(quantizer, granularity) and how it is drawn, for each that the file has: of more than SERIES tells apart, quantizers by
    the colours and markers that they have elsewhere, granularities by lines and by what fills the markers."""
    quantizers, granularities = ds.quantizer.values.tolist(), ds.granularity.values.tolist()
    pairs = [(q, g) for q in quantizers for g in granularities]
    if len(pairs) <= len(SERIES):
        return [(pair, (*look, "white")) for pair, look in zip(pairs, SERIES)]
    looks = {q: quantizer_look(q) for q in quantizers}
    if len(granularities) == 1:
        return [((q, g), (looks[q].colour, looks[q].marker, looks[q].line, "white")) for q, g in pairs]
    kinds = dict(zip(granularities, (("-", "white"), ((0, (1, 1)), None), ((0, (5, 1)), "#DDDDDD"))))
    return [((q, g), (looks[q].colour, looks[q].marker, kinds.get(g, ("--", "white"))[0], kinds.get(g, ("--", "white"))[1] or looks[q].colour)) for q, g in pairs]


def beside(series, rank, bits):
    """How far the points of one of so many series stand from their bits, where bars, or points of one number of bits alone, would cover
    each other."""
    step = np.diff(np.sort(bits)).min() if len(bits) > 1 else 1.0
    return 0.3 * step * ((rank + 0.5) / series - 0.5)


def one_value(values):
    """Against bits: of several seeds the mean, of several sample sets the one that was measured."""
    return values.mean([dim for dim in ("seed", "samples") if dim in values.dims]).sortby("bits")


def largest(values, below=()):
    axes = [dim for dim in ("seed", "samples", *below) if dim in values.dims]
    return log10_or_nan(values.where(np.isfinite(values)).max(axes)).sortby("bits")


def accuracy_bits(ds, network=None, variable="accuracy"):
    """Accuracy against bits beside bound and largest measured deviation against bits: a row of two panels per network,
    a line per rounding rule and granularity. `network`: None draws all of at most four, and of more than four one row:
    medians over the networks, with bars from the smallest to the largest."""
    measured = networks_with(ds, variable)
    if not measured:
        raise ResultError(f"the file has no {variable}: its studies name no labelled samples")
    rows = [[choose_network(ds, network)]] if network is not None else [[name] for name in measured]
    if rows[0][0] not in measured:
        raise ResultError(f"the file has no {variable} of {rows[0][0]}; it has that of {', '.join(measured)}")
    if len(rows) > MOST_ROWS:
        rows = [measured]
    height = 2.3 * len(rows) + 0.75
    with plt.rc_context(STYLE):
        fig, axes = new_figure(len(rows), 2, height, dict(left=0.085, right=0.985, wspace=0.28, hspace=0.42, top=1.0 - 0.55 / height, bottom=0.42 / height))
        axes = axes.reshape(len(rows), 2)
        for (left, right), names in zip(axes, rows):
            name = names[0] if len(names) == 1 else f"{len(names)} networks (medians and ranges)"
            accuracy_panel(left, ds.sel(network=names), variable, name)
            deviation_panel(right, ds.sel(network=names), name)
            left.set_title(f"{name}: {'top-5 ' if 'top5' in variable else ''}accuracy")
            right.set_title("bound and largest deviation observed")
            for ax in (left, right):
                bits = np.sort(ds.bits.values)
                label_places(ax, bits, [str(b) for b in bits])
                ax.set_xlabel("bits per weight")
        handles = [plt.Line2D([], [], color=c, marker=m, linestyle=line, markersize=4, markerfacecolor=face, label=f"{q}, per {g}")
                   for (q, g), (c, m, line, face) in series_of(ds)]
        handles.append(plt.Line2D([], [], color=OBSERVED_COLOUR, linestyle="--", linewidth=0.9, label="float"))
        if on_paper():
            fig.subplots_adjust(top=1.0 - (0.3 + names_above(fig, handles)) / height)
        else:
            fig.names.update({handle.get_label(): handle for handle in handles})
    return fig


def draw_series(ax, values, name, pair, look, column, shift):
    """The median over networks against bits, and bars where there are several networks, which then stand side by side. `values`:
    network, bits."""
    colour, marker, line, face = look
    values = values.transpose("network", "bits")
    values = values.isel(bits=np.flatnonzero(np.isfinite(values.values).any(axis=0)))
    if not values.sizes["bits"]:
        return
    median, low, high = (f("network") for f in (values.median, values.min, values.max))
    shifted = values.bits.values + shift * (values.sizes["network"] > 1 or values.sizes["bits"] == 1)
    if values.sizes["network"] > 1:
        ax.vlines(shifted, low, high, color=colour, linewidth=1.0, alpha=0.5)
    ax.plot(shifted, median, color=colour, marker=marker, linestyle=line, markersize=4, markerfacecolor=face, linewidth=1.2)
    range_of = {"smallest": low.values, "largest": high.values} if values.sizes["network"] > 1 else {}
    ax.figure.record(ax, shifted, median.values, network=name, quantizer=pair[0], granularity=pair[1], bits=values.bits.values, quantity=column,
                     value=median.values, **range_of)


def accuracy_panel(ax, at, variable, name):
    series = series_of(at)
    for rank, ((quantizer, granularity), look) in enumerate(series):
        draw_series(ax, 100.0 * one_value(at[variable].sel(quantizer=quantizer, granularity=granularity)), name, (quantizer, granularity), look,
                    f"{variable} (%)", beside(len(series), rank, at.bits.values))
    reference = float(at[f"{variable}_reference"].mean("samples").median("network"))
    if np.isfinite(reference):
        ax.axhline(100.0 * reference, color=OBSERVED_COLOUR, linestyle="--", linewidth=0.9)
        bits = np.sort(at.bits.values)[-1:]
        ax.figure.record(ax, bits, 100.0 * reference, network=name, quantizer="float", quantity=f"{variable} (%)", value=100.0 * reference)
    if at.sizes["bits"] == 1:
        ax.set_xlim(float(at.bits[0]) - 0.5, float(at.bits[0]) + 0.5)
    ax.set_ylabel("right answers (%)")
    ax.set_ylim(0.0, 100.0)


def deviation_panel(ax, at, name):
    """The tightest bound as a band over all series, which hardly differ on this scale; observed, one line each."""
    bound = at.log10_bound.where(at.bound_applicable == 1)
    bound = bound.where(np.isfinite(bound)).min("theory").sortby("bits")
    axes = [dim for dim in bound.dims if dim != "bits"]
    low, high = bound.min(axes), bound.max(axes)
    if low.notnull().any():
        ax.fill_between(low.bits, low, high, color=GAP_COLOUR, linewidth=0)
        ax.plot(high.bits, high, color="#555555", linewidth=1.2, marker="" if len(high) > 1 else "_")
        ax.figure.record(ax, high.bits.values, high.values, network=name, bits=high.bits.values, quantity="log10 of the tightest theory", value=high.values,
                         smallest=low.values, largest=high.values)
        ax.annotate("tightest theory (range)", (float(high.bits.values[0]), float(high.max())), (0.0, 2.0), textcoords="offset points",
                    va="bottom", ha="left", color="#333333", fontsize=7)
    series = series_of(at)
    for rank, ((quantizer, granularity), look) in enumerate(series):
        draw_series(ax, largest(at.observed_max.sel(quantizer=quantizer, granularity=granularity)), name, (quantizer, granularity), look,
                    "log10 of the largest deviation observed", beside(len(series), rank, at.bits.values))
    if at.sizes["bits"] == 1:
        ax.set_xlim(float(at.bits[0]) - 0.5, float(at.bits[0]) + 0.5)
    ax.set_ylabel("deviation (unit of the output)")
    ax.margins(y=0.12)
    power_axis(ax.yaxis)


def error_shares(ds, network=None, selection=Selection()):
    """Which layer causes which share of the propagated error, for every number of bits: a heat map."""
    measured = [name for name in ds.network.values.tolist() if shares_of(ds, name) is not None]
    if not measured:
        raise ResultError("the file has no error_share: layer_samples of [observe] was 0, or no network has rules for all its layers")
    name = choose_network(ds, network) if network is not None or choose_network(ds) in measured else measured[0]
    if name not in measured:
        raise ResultError(f"the file has no error_share of {name}; it has that of {', '.join(measured)}")
    at, chosen = select(ds, selection, ("quantizer", "granularity"))
    share = one_value(shares_of(at, name))
    with plt.rc_context({**STYLE, "axes.grid": False}):
        height = np.clip(1.1 + 0.135 * share.sizes["layer"], 1.9, 9.0)
        labels = [shortened(text, 34 if on_paper() else 18) for text in share.layer_name.values.tolist()]
        left = 0.085 + 0.0085 * max(map(len, labels)) * 6.7 / current_page().width
        fig, ((ax,),) = new_figure(1, 1, height, dict(left=left, right=0.93, top=1.0 - 0.3 / height, bottom=0.45 / height))
        fig.subplots_adjust(left=left, right=0.93)
        percent = 100.0 * share.transpose("layer", "bits").values
        image = ax.imshow(percent, aspect="auto", cmap="cividis", vmin=0.0)
        row, column = np.indices(percent.shape)
        fig.record(ax, column, np.where(np.isfinite(percent), row, np.nan), network=name, layer=share.layer_name.values[row], position=row,
                   bits=share.bits.values[column], share_percent=percent)
        ax.set_xticks(range(share.sizes["bits"]), [str(b) for b in share.bits.values])
        every = -(-len(labels) // 64)
        ax.set_yticks(range(0, len(labels), every), labels[::every], fontsize=6)
        ax.set_xlabel("bits per weight")
        ax.set_ylabel("weight layer")
        ax.set_title(f"{name}, {describe(chosen)}")
        fig.colorbar(image, ax=ax, pad=0.02).set_label("share of the\npropagated error (%)", fontsize=7)
    return fig


def shares_of(ds, network):
    if "error_share" not in ds or not ds.sizes.get("samples", 0):
        return None
    found = ds.error_share.isel(layer=np.flatnonzero(ds.layer_network.values == network))
    return found if found.size and found.notnull().any() else None


def shortened(name, most=34):
    return name if len(name) <= most else "..." + name[-(most - 3):]
