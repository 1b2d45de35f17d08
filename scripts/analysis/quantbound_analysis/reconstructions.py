"""Figures of reconstruction: the loss of every module, what it has to do with the final error, what the batch size and
what the size of the weights buy."""
import numpy as np

from .figures import panels
from .modules import batch_of, configurations, modules_of, of_network, rank_correlation, reconstruct_table, reconstructed_network, weight_bits
from .result import ResultError, Selection, choose, choose_network
from .style import (GAP_COLOUR, LABEL_MARGIN, OBSERVED_COLOUR, STYLE, decades, label_places, names_beside, new_figure, plt, quantizer_look, short, small_print)

UNTRAINED = ("round", "cle_round", "gptq")  # know neither batches nor schemes of modules
LOSS = "reconstruction loss (squared unit of the layer)"


def handle(look, text=None, line=None):
    return plt.Line2D([], [], **{**look.draw(), **({} if line is None else {"linestyle": line})}, label=text or look.label)


def chosen_quantizers(ds, wanted, without=()):
    """The one that is wanted, or all but those `without`."""
    return [q for q in ds.quantizer.values.tolist() if q not in without] if wanted is None else [choose(ds, "quantizer", wanted, [])]


def per_step(granularity):
    return f"one step per {granularity}"


def pick(ds, selection):
    """Granularity, bits and seed: by default channel, the fewest bits (where methods differ most), the first seed."""
    bits = sorted(ds.bits.values.tolist())
    return {"granularity": choose(ds, "granularity", selection.granularity, ["channel"]), "bits": choose(ds, "bits", selection.bits, bits),
            "seed": choose(ds, "seed", selection.seed, [])}


# ------------------------------------------------------------------------------------------------------ loss per module

def module_loss(ds, network=None, selection=Selection(), inner=False):
    """Loss of every module of one network against its last weight layer, a line per method; below it the modules'
    capacity. What was reconstructed together has one loss: a thick level line. `inner`: Modules.inner."""
    network = reconstructed_network(ds, network)
    chosen = pick(ds, selection)
    at = of_network(ds, network).sel(chosen)
    lines = {q: modules_of(at.sel(quantizer=q)) for q in chosen_quantizers(ds, selection.quantizer)}
    lines = {q: modules.inner() if inner else modules for q, modules in lines.items() if modules is not None}
    lines = {q: modules for q, modules in lines.items() if (modules.loss > 0).any()}
    if not lines:
        raise ResultError(f"no module of {network} was reconstructed at {chosen['bits']} bits, {per_step(chosen['granularity'])}, seed {chosen['seed']}")
    with plt.rc_context(STYLE):
        fig, axes = new_figure(2, 1, 5.2, dict(left=0.105, right=1.0 - LABEL_MARGIN, top=0.945, bottom=0.115, hspace=0.09), sharex=True,
                               gridspec_kw={"height_ratios": (2.6, 1.0)})
        top, bottom = axes[:, 0]
        names = []
        for quantizer, modules in lines.items():
            loss_line(top, modules, quantizer_look(quantizer))
            fig.record(top, modules.last, np.where(modules.loss > 0, modules.loss, np.nan), network=network, quantizer=quantizer, first_layer=modules.first,
                       last_layer=modules.last, joined=modules.parts, loss=modules.loss)
            names.append(handle(quantizer_look(quantizer), quantizer_look(quantizer).label + "\n" + " / ".join(map(short, modules.oscillation()))))
        top.set_yscale("log")
        top.set_ylabel(LOSS)
        decades(top.yaxis)
        top.set_title(f"{network}: {chosen['bits']} bits, {per_step(chosen['granularity'])}, seed {chosen['seed']}")
        names_beside(top, names, "differences of adjacent\nmodules: largest / total")
        capacity_panel(bottom, at)
        bottom.set_xlabel("last weight layer of the module")
        bottom.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
        bottom.set_xlim(0.3, float(at.network_depth) + 0.7)
        small_print(fig, "thick and level: modules reconstructed together, whose loss is one" + "; without the first and the last layer" * inner)
    return fig


def loss_line(ax, modules, look):
    places, values, ends = [], [], []
    for loss, first, last, parts in zip(modules.loss, modules.first, modules.last, modules.parts):
        if parts > 1:
            places.append(first)
            values.append(loss)
            ax.plot([first, last], [loss, loss], color=look.colour, linewidth=3.2, alpha=0.55, solid_capstyle="butt", zorder=1.5)
        ends.append(len(places))
        places.append(last)
        values.append(loss)
    values = np.array(values)
    size = 4.0 if len(ends) <= 30 else 3.0
    ax.plot(places, np.where(values > 0, values, np.nan), **{**look.draw(), "markersize": size}, markevery=ends)


def capacity_panel(ax, at):
    """ModCap of the modules: blocks (or what the study takes) as bars over their layers, single layers as points."""
    axes = [dim for dim in at.module_capacity.dims if dim != "module"]
    capacity = at.module_capacity.max(axes).values
    first, last = at.module_first_layer.values + 1, at.module_first_layer.values + at.module_layers.values
    single = at.module_kind.values == "layer"
    names = []
    kinds = [kind for kind in dict.fromkeys(at.module_kind.values.tolist()) if kind != "layer"]
    bar = dict(facecolor=GAP_COLOUR, edgecolor="#777777", linewidth=0.6)
    ax.figure.record(ax, last, capacity, network=str(at.network.values), kind=at.module_kind.values, first_layer=first, last_layer=last, capacity=capacity)
    mine = np.flatnonzero(~single & np.isfinite(capacity))
    if len(mine):
        ax.bar(first[mine] - 0.42, capacity[mine], last[mine] - first[mine] + 0.84, align="edge", **bar)
        names.append(plt.Rectangle((0, 0), 1, 1, **bar, label=f"{kinds[0]} (all its layers)"))
    mine = np.flatnonzero(single & np.isfinite(capacity))
    if len(mine):
        ax.plot(last[mine], capacity[mine], color=OBSERVED_COLOUR, marker="o", markersize=2.6, linewidth=0.7)
        names.append(plt.Line2D([], [], color=OBSERVED_COLOUR, marker="o", markersize=2.6, linewidth=0.7, label="layer"))
    ax.set_yscale("log")
    ax.set_ylabel("capacity (bits)")
    decades(ax.yaxis)
    if names:
        names_beside(ax, names)


# ---------------------------------------------------------------------------------------- final against earlier losses

def several(datasets):
    """One dataset or several, as a list."""
    return list(datasets) if isinstance(datasets, (list, tuple)) else [datasets]


def final_and_earlier(datasets, network, selection):
    """Per (method, whether the last module is joined with others) the pairs (largest earlier loss, final error), every one
    once: what does not depend on a seed or on the scheme of a file is there as often as there are seeds and files. Where
    the last module is joined, the largest losses, just before it, are no earlier ones: another population."""
    pairs, bits = {}, None
    for ds in datasets:
        labels = pick(ds, selection)
        bits = labels["bits"] if bits is None else bits
        if labels["bits"] != bits:
            raise ResultError(f"the files have different bits ({bits} and {labels['bits']}); choose with --bits")
        at = of_network(ds, reconstructed_network(ds, network))
        at = at.sel(granularity=[labels["granularity"]])
        if selection.seed is not None:
            at = at.sel(seed=[labels["seed"]])
        for found, modules in configurations(at, chosen_quantizers(ds, selection.quantizer, UNTRAINED), bits):
            if modules.largest_earlier > 0 and modules.final > 0:
                pairs.setdefault((found["quantizer"], bool(modules.parts[-1] > 1)), {})[(modules.largest_earlier, modules.final)] = None
    order = list(dict.fromkeys(quantizer for quantizer, _ in pairs))
    kinds = sorted(pairs, key=lambda kind: (order.index(kind[0]), kind[1]))
    return {kind: np.array(list(pairs[kind])).T for kind in kinds}, labels


def loss_correlation(datasets, network=None, selection=Selection()):
    """Final reconstruction error against the largest loss of an earlier module: a point per configuration of one
    network (seeds, trained methods, and the schemes of several files), with the rank correlation and its 95 % interval."""
    datasets = several(datasets)
    network = reconstructed_network(datasets[0], network)
    pairs, labels = final_and_earlier(datasets, network, selection)
    count = sum(points.shape[1] for points in pairs.values())
    if count < 4:
        raise ResultError(f"{count} different reconstructions of {network} at {labels['bits']} bits; a rank correlation needs four: give more seeds or files")
    everything = np.concatenate(list(pairs.values()), axis=1)
    with plt.rc_context(STYLE):
        fig, (ax,) = panels(1, 3.7)
        names = []
        joined = {quantizer for quantizer, last_is_joined in pairs if last_is_joined}
        for (quantizer, last_is_joined), (earlier, final) in pairs.items():
            look = quantizer_look(quantizer)
            points = {"color": look.colour, "marker": look.marker, "markersize": 4, "markeredgewidth": 0.8, "linestyle": "",
                      "markerfacecolor": look.colour if last_is_joined else "none"}
            kind = f", last {'joined' if last_is_joined else 'alone'}" if quantizer in joined else ""
            ax.plot(earlier, final, **points)
            fig.record(ax, earlier, final, network=network, quantizer=quantizer, last_is_joined=last_is_joined,
                       largest_earlier_loss=earlier, final_error=final)
            names.append(plt.Line2D([], [], label=f"{look.label}{kind}\n{in_words(rank_correlation(earlier, final), len(final))}", **points))
        ax.set_xscale("log")
        ax.set_yscale("log")
        decades(ax.xaxis)
        decades(ax.yaxis)
        ax.set_xlabel("largest loss of an earlier module (squared unit of its output)")
        ax.set_ylabel("final reconstruction error (squared unit of the output)")
        ax.set_title(f"{network}: {labels['bits']} bits, {per_step(labels['granularity'])}")
        if len(pairs) > 1:
            names.append(plt.Line2D([], [], linestyle="", label=f"all together\n{in_words(rank_correlation(*everything), count)}"))
        names_beside(ax, names, "rank correlation\n(95 % interval), points")
        meant = "; last: the last module, or one with others" if joined else ""
        small_print(fig, f"Spearman's rank correlation, interval of Bonett and Wright; equal points count once{meant}")
    return fig


def in_words(correlation, count):
    if correlation is None:
        return f"too few, {count}"
    return f"{correlation.rho:.2f} ({correlation.low:.2f} to {correlation.high:.2f}), {count}"


# ----------------------------------------------------------------------------------------------------------- batch size

def final_by_batch(datasets, network, selection):
    """Per method: batch -> final errors over seeds."""
    finals, labels, others = {}, None, None
    for ds in datasets:
        table = reconstruct_table(ds)
        rest = {key: value for key, value in table.items() if key != "batch"}
        if others is not None and rest != others:
            differ = sorted(key for key in {*rest, *others} if rest.get(key) != others.get(key))
            raise ResultError(f"the files differ in more than the batch: {', '.join(differ)} of [reconstruct]")
        others = rest
        mine = pick(ds, selection)
        if labels is not None and mine["bits"] != labels["bits"]:
            raise ResultError(f"the files have different bits ({labels['bits']} and {mine['bits']}); choose with --bits")
        labels = mine
        at = of_network(ds, reconstructed_network(ds, network)).sel(granularity=[labels["granularity"]])
        for found, modules in configurations(at, chosen_quantizers(ds, selection.quantizer, UNTRAINED), labels["bits"]):
            if modules.final > 0:
                finals.setdefault(found["quantizer"], {}).setdefault(batch_of(ds), []).append(modules.final)
    return finals, labels


def batch_size(datasets, network=None, selection=Selection()):
    """Final reconstruction error against the batch, a line per trained method: the median over seeds, a bar from the
    smallest to the largest. `datasets`: results of one study with another batch each."""
    datasets = several(datasets)
    network = reconstructed_network(datasets[0], network)
    finals, labels = final_by_batch(datasets, network, selection)
    batches = sorted({batch for found in finals.values() for batch in found})
    if len(batches) < 2:
        raise ResultError("the files know one batch only; give results of a study swept with another `batch` of [reconstruct] each")
    step = min(b / a for a, b in zip(batches, batches[1:]))
    with plt.rc_context(STYLE):
        fig, (ax,) = panels(1, 3.3)
        names = []
        for rank, (quantizer, found) in enumerate(finals.items()):
            look = quantizer_look(quantizer)
            here = np.array(sorted(found))
            shifted = here * step ** (0.3 * ((rank + 0.5) / len(finals) - 0.5))  # bars side by side
            ax.vlines(shifted, [min(found[b]) for b in here], [max(found[b]) for b in here], color=look.colour, linewidth=1.0, alpha=0.6)
            medians = np.array([np.median(found[b]) for b in here])
            ax.plot(shifted, medians, **look.draw())
            fig.record(ax, shifted, medians, network=network, quantizer=quantizer, batch=here, final_error=medians, smallest=[min(found[b]) for b in here],
                       largest=[max(found[b]) for b in here], seeds=[len(found[b]) for b in here])
            names.append(handle(look))
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(batches, [str(b) for b in batches])
        ax.xaxis.set_minor_locator(plt.NullLocator())
        decades(ax.yaxis)
        ax.set_xlabel("batch (samples per iteration)")
        ax.set_ylabel("final reconstruction error (squared unit of the output)")
        ax.set_title(f"{network}: {labels['bits']} bits, {per_step(labels['granularity'])}")
        names_beside(ax, names)
        seeds = sorted({len(values) for found in finals.values() for values in found.values()})
        small_print(fig, f"points: median over {' to '.join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))} seeds; bars: smallest to largest")
    return fig


# ------------------------------------------------------------------------------------------------------- size and error

def sizes_and_values(datasets, network, granularity, variable):
    """(quantizer, file) -> arrays of size in bits, median, smallest and largest value over seeds, bits."""
    curves = {}
    for number, ds in enumerate(datasets):
        at = ds.sel(network=choose_network(ds, network), granularity=choose(ds, "granularity", granularity, ["channel"]))
        if variable not in at or not at.sizes.get("samples", 0):
            continue
        values = at[variable].max("samples") if variable != "accuracy" else at[variable].mean("samples")
        for quantizer in ds.quantizer.values.tolist():
            rows = []
            for bits in sorted(ds.bits.values.tolist()):
                found = values.sel(quantizer=quantizer, bits=bits).values
                found = found[np.isfinite(found)]
                if len(found) and (variable == "accuracy" or found.min() > 0):
                    rows.append((weight_bits(ds, network, bits), np.median(found), found.min(), found.max(), bits))
            if rows:
                curves[(quantizer, number)] = np.array(rows).T
    return curves


def front(size, cost):
    """Positions, from the smallest, of what is not beaten: nothing of at most the size costs less."""
    order = np.lexsort((cost, size))
    kept = []
    for index in order:
        if not kept or cost[index] < cost[kept[-1]]:
            kept.append(index)
    return np.array(kept, dtype=int)


def pareto(datasets, network=None, selection=Selection(), variable=None):
    """Accuracy, or the largest deviation observed, against the bits of all weights: a point per method and number of
    bits (the median over seeds, a bar from smallest to largest), and the Pareto front. Several files: one more point
    each. `variable`: "accuracy" or "observed_max"; None takes the accuracy where there is one."""
    datasets = several(datasets)
    network = choose_network(datasets[0], network)
    if variable is None:
        curves = sizes_and_values(datasets, network, selection.granularity, "accuracy")
        variable = "accuracy" if curves else "observed_max"
    curves = sizes_and_values(datasets, network, selection.granularity, variable)
    curves = {key: rows for key, rows in curves.items() if selection.quantizer in (None, key[0])}
    if not curves:
        raise ResultError(f"the file has no {variable} of {network}" + ("" if selection.quantizer is None else f" with {selection.quantizer}"))
    accuracy = variable == "accuracy"
    factor = 100.0 if accuracy else 1.0
    points = placed(curves)
    size, value, low, high, bits, place = np.concatenate(list(points.values()), axis=1)
    best = front(size, -value if accuracy else value)
    with plt.rc_context(STYLE):
        fig, (ax,) = panels(1, 3.7)
        fig.subplots_adjust(top=0.9)  # two lines above the axes
        ax.plot(place[best], factor * value[best], color=GAP_COLOUR, linewidth=8.0, marker="o", markersize=11.0, solid_joinstyle="round", zorder=0.6)
        ax.vlines(place, factor * low, factor * high, color="#555555", linewidth=0.9)
        names = {}
        for (quantizer, number), (bits_of_all, median, least, most, per_weight, shifted) in points.items():
            look = quantizer_look(quantizer)
            ax.plot(shifted, factor * median, **look.draw())
            fig.record(ax, shifted, factor * median, network=network, quantizer=quantizer, file=number, bits=per_weight.astype(int), weight_bits=bits_of_all,
                       **{variable: median}, smallest=least, largest=most)
            names[quantizer] = handle(look)
        ax.set_xscale("log")
        if accuracy:
            ax.set_ylabel("right answers (%)")
            ax.set_ylim(bottom=0.0)
        else:
            ax.set_yscale("log")
            ax.set_ylabel("largest deviation observed (inf-norm, unit of the output)")
            decades(ax.yaxis)
        label_sizes(ax, 1e-3 * size, bits, len(datasets) == 1)
        ax.set_title(f"{network}: {per_step(choose(datasets[0], 'granularity', selection.granularity, ['channel']))}", pad=17)
        handles = [*names.values(), plt.Line2D([], [], color=GAP_COLOUR, linewidth=8.0, label="Pareto front")]
        if accuracy:
            reference = float(datasets[0].accuracy_reference.sel(network=network).mean("samples"))
            ax.set_ylim(top=max(ax.get_ylim()[1], 1.04 * factor * reference))
            ax.axhline(factor * reference, color=OBSERVED_COLOUR, linestyle="--", linewidth=0.9, zorder=0.8)
            handles.append(plt.Line2D([], [], color=OBSERVED_COLOUR, linestyle="--", linewidth=0.9, label="float"))
        names_beside(ax, handles)
        small_print(fig, "points: median over the seeds; bars: smallest to largest; the size leaves out biases and the steps of the grids")
    return fig


def placed(curves):
    """The curves with their places on the axis in kbit. Methods have the same sizes: their points stand side by side."""
    order = list(dict.fromkeys(quantizer for quantizer, _ in curves))
    sizes = np.unique(np.concatenate([rows[0] for rows in curves.values()]))
    gap = np.diff(np.log(sizes)).min() if len(sizes) > 1 else 0.2
    return {(quantizer, number): np.vstack([rows, 1e-3 * rows[0] * np.exp(0.45 * gap * ((order.index(quantizer) + 0.5) / len(order) - 0.5))])
            for (quantizer, number), rows in curves.items()}


def label_sizes(ax, sizes, bits, one_file):
    """Ticks at the sizes there are, in kbit; above them the bits per weight, where all files agree on them."""
    ax.set_xlabel("bits of all weights (kbit)")
    distinct = np.unique(sizes)
    if len(distinct) > 8:
        decades(ax.xaxis)
        return
    if len(distinct) == 1:  # the points stand side by side above one tick, not all over the axis
        ax.set_xlim(distinct[0] / 1.5, distinct[0] * 1.5)
    labelled = label_places(ax, distinct, [f"{size:.4g}" for size in distinct], 0.34)
    if one_file:
        for size in distinct[labelled]:
            ax.text(size, 1.01, f"{int(bits[sizes == size][0])} bits", transform=ax.get_xaxis_transform(), ha="center", va="bottom", color="#555555")
