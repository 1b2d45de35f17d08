"""One self-contained HTML page about result files: what was studied, the summary table, figures, failures, provenance.

The page asks no network for anything: style, script and pictures are in it. Its figures are those of the other modules, its
table what `quantbound show` prints for every configuration.
"""
import html
import json
import math
import pathlib

import numpy as np

from . import certificates, figures, observations, reconstructions
from .figures import describe
from .modules import require_modules
from .pictures import Glyphs, both_pictures
from .result import DONE, SKIPPED, ResultError, Selection, choose_network, open_group, open_results, select

HERE = pathlib.Path(__file__).parent
STATES = ("pending", "done", "failed", "timed out", "skipped")  # the flags of `status`
ALL_NETWORKS = 5  # so many have all pictures of their own; of more, three do
AXES = ("quantizer", "granularity", "bits", "seed")


def escaped(value):
    return html.escape(str(value))


def plural(count, word, words=None):
    return f"{count} {word if count == 1 else words or word + 's'}"


def span(values, form="{:.0f}"):
    """From the smallest to the largest."""
    values = np.asarray(values)[np.isfinite(np.asarray(values, dtype=float))]
    if not len(values):
        return "-"
    ends = dict.fromkeys(form.format(value) for value in (values.min(), values.max()))
    return " to ".join(ends)


def power(log10):
    return f"10<sup>{log10:.1f}</sup>"


def factor(value):
    return power(math.log10(value)) if value >= 1e4 else f"{value:.3g}" if value < 1e3 else f"{value:,.0f}"


def definition(pairs):
    """Names and what belongs to them; the latter is HTML."""
    return "<dl>" + "".join(f"<div><dt>{escaped(name)}</dt><dd>{what}</dd></div>" for name, what in pairs if what) + "</dl>"


# ------------------------------------------------------------------------------------------------------- what was studied

def studied(ds):
    families = dict.fromkeys(ds.network_family.values.tolist()) if "network_family" in ds.coords else {}
    kinds = [escaped(figures.networks_in_words(family, int((ds.network_family == family).sum()))) for family in families]
    pairs = [("networks", ", ".join(kinds) or plural(ds.sizes["network"], "network"))]
    pairs += [(title, span(ds[name].values, "{:,.0f}")) for title, name in
              (("weight layers", "network_depth"), ("width", "network_width"), ("parameters", "network_parameters")) if name in ds.coords]
    for title, axis in (("rounding", "quantizer"), ("one step per", "granularity"), ("bits per weight", "bits"), ("seeds", "seed"), ("theories", "theory"),
                        ("certificates", "method"), ("samples", "samples")):
        labels = ds[axis].values.tolist() if axis in ds.dims else []
        shown = [str(label) for label in labels[:12]] + (["..."] if len(labels) > 12 else [])
        pairs.append((title, escaped(", ".join(shown))))
    counts = [(STATES[state], int((ds.status == state).sum())) for state in range(len(STATES))]
    pairs.append(("configurations", ", ".join(f"{count} {state}" for state, count in counts if count) or "none"))
    return definition(pairs)


def in_short(ds, selection):
    """What the numbers say, in sentences."""
    at, chosen = select(ds, selection, ("quantizer", "granularity", "bits"))
    said = []
    bound = at.log10_bound.where((at.bound_applicable == 1) & np.isfinite(at.log10_bound))
    if "houache_mean" in at.theory.values:
        gain = at.gain.sel(theory="houache_mean").values
        gain = gain[np.isfinite(gain)]
        if len(gain):
            said.append(f"Theorem 4.1 of Houache et al. is below the bound of Gonon et al. by a factor of {power(gain.min())} to {power(gain.max())} "
                        f"(median {power(np.median(gain))}).")
    there = bound.notnull().any("theory").values
    if there.any() and at.sizes["theory"] > 1:
        tightest = bound.fillna(np.inf).argmin("theory").values[there]
        names, counts = np.unique(at.theory.values[tightest], return_counts=True)
        best = counts.argmax()
        said.append(f"The tightest theory is {escaped(figures.look(names[best]).label)}" + (f" for {counts[best]} of {there.sum()} networks." if there.sum() > 1 else "."))
    gaps = gap_of(at)
    if len(gaps):
        said.append(f"What is certified exceeds what an attack attains by a factor of {factor(gaps.min())} to {factor(gaps.max())} (median {factor(np.median(gaps))}).")
    if not said:
        return ""
    return f"<p>At {escaped(describe(chosen))}:</p><ul>" + "".join(f"<li>{sentence}</li>" for sentence in said) + "</ul>"


def has(ds, variable):
    """Whether there is a number of it; a study without certificates has the variable on an empty axis."""
    return variable in ds and ds[variable].size > 0 and bool(ds[variable].notnull().any())


def gap_of(at):
    if not has(at, "certified") or not has(at, "attacked"):
        return np.array([])
    ratio = (at.certified.min("method") / at.attacked.where(at.attacked > 0)).values
    return ratio[np.isfinite(ratio)]


# ------------------------------------------------------------------------------------------------------------ the table

def per_network(ds, variable, reduce):
    """A variable of regions at every network: network, configuration."""
    found = np.full((ds.sizes["network"], *(ds.sizes[axis] for axis in AXES)), np.nan)
    values = getattr(ds[variable], reduce)("method") if "method" in ds[variable].dims else ds[variable]
    values = values.transpose("region", *AXES).values
    where = {name: position for position, name in enumerate(ds.network.values.tolist())}
    owner = np.array([where[name] for name in ds.region_network.values.tolist()], dtype=int)
    for network in np.unique(owner):
        found[network] = values[owner == network].max(axis=0)  # NaN where a region has none
    return found


class Columns:
    """Columns of the summary: (key, heading, what it means, kind) and their values over network x configuration."""

    def __init__(self, shape):
        self.shape = shape
        self.heads, self.values = [], []

    def add(self, key, heading, meaning, kind, values):
        values = np.asarray(values)
        if kind in ("number", "power") and not np.isfinite(values).any():
            return
        values = values.reshape(values.shape + (1,) * (len(self.shape) - values.ndim)) if values.ndim < len(self.shape) else values
        self.heads.append({"key": key, "heading": heading, "meaning": meaning, "kind": kind})
        self.values.append(np.broadcast_to(values, self.shape))

    def rows(self):
        flat = [[cell(value, head["kind"]) for value in values.ravel().tolist()] for head, values in zip(self.heads, self.values)]
        return [list(row) for row in zip(*flat)]


def cell(value, kind):
    if kind in ("number", "power"):
        return None if not math.isfinite(value) else float(f"{value:.5g}")
    return value


def summary(ds):
    shape = (ds.sizes["network"], *(ds.sizes[axis] for axis in AXES))
    columns = Columns(shape)
    columns.add("network", "network", "label of the network", "text", ds.network.values)
    columns.add("depth", "L", "number of weight layers", "count", ds.network_depth.values)
    for position, axis in enumerate(AXES):
        if ds.sizes[axis] > 1 or axis != "seed":
            around = [1] * len(shape)
            around[position + 1] = -1
            columns.add(axis, axis if axis != "granularity" else "step per", str(ds[axis].attrs.get("long_name", axis)), "count" if axis in ("bits", "seed") else "text",
                        ds[axis].values.reshape(around))
    states = ds.status.transpose("network", *AXES).values
    if (states != DONE).any():
        columns.add("status", "status", "state of the tasks of the configuration", "text", np.array(STATES)[states])
    over = lambda name: ds[name].transpose("network", *AXES, ...)  # noqa: E731
    for name, heading in (("r_max", "r"), ("r_mean", "r_mean"), ("r_conv", "r_conv")):
        if name in ds:
            columns.add(name, heading, str(ds[name].attrs.get("long_name", name)), "number", over(name).values)
    add_bounds(columns, ds, over)
    add_measured(columns, ds, over)
    return columns


def add_bounds(columns, ds, over):
    bound = over("log10_bound").where(over("bound_applicable") == 1)
    bound = bound.where(np.isfinite(bound))
    for theory, heading in (("gonon", "Gonon"), ("houache_mean", "Houache 4.1"), ("houache_conv", "Houache 4.4")):
        if theory in ds.theory.values:
            columns.add(theory, heading, f"bound on the deviation: {figures.look(theory).label}", "power", bound.sel(theory=theory).values)
    columns.add("tightest", "tightest", "tightest of all theories", "power", bound.min("theory").values)
    names = np.append(ds.theory.values.astype(object), "")
    place = np.where(bound.notnull().any("theory"), bound.fillna(np.inf).argmin("theory"), len(names) - 1)
    columns.add("theory", "theory", "which theory is the tightest", "text", names[place])


def add_measured(columns, ds, over):
    certified = attacked = None
    if has(ds, "certified"):
        certified = per_network(ds, "certified", "min")
        columns.add("certified", "certified", "proved for every input of the domain: the best of all certificates", "number", certified)
    if has(ds, "attacked"):
        attacked = per_network(ds, "attacked", "max")
        columns.add("attacked", "attacked", "largest deviation that a search found", "number", attacked)
    if certified is not None and attacked is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            columns.add("gap", "gap", "certified over attacked", "number", np.where(attacked > 0, certified / attacked, np.nan))
    if has(ds, "observed_max"):
        columns.add("observed", "observed", "largest deviation measured on samples", "number", over("observed_max").max("samples").values)
        if has(ds, "accuracy"):
            columns.add("accuracy", "accuracy", "fraction of labelled samples that the quantized network classifies right", "number", over("accuracy").mean("samples").values)


def table_section(ds, selection):
    columns = summary(ds)
    _, chosen = select(ds, selection, ("quantizer", "granularity", "bits"))
    shown = {axis: chosen[axis] for axis in ("quantizer", "granularity", "bits")}
    data = {"columns": columns.heads, "rows": columns.rows(), "shown": shown,
            "labels": {axis: ds[axis].values.tolist() for axis in shown}}
    return ('<div id="controls"></div><div class="scroll"><table id="summary"><thead></thead><tbody></tbody></table></div><p id="more"></p>'
            '<noscript><p>The table is made by a script in this page, and this browser runs none.</p></noscript>', data)


# ---------------------------------------------------------------------------------------------------------- the figures

def shown_networks(ds, network):
    """Networks that have pictures of their own: the one that is wanted, all of a few, or those with the fewest, the median
    and the most weight layers."""
    if network is not None:
        return [choose_network(ds, network)]
    names = ds.network.values.tolist()
    if len(names) <= ALL_NETWORKS:
        return names
    order = np.argsort(ds.network_depth.values, kind="stable")
    return list(dict.fromkeys(names[order[place]] for place in (len(order) - 1, len(order) // 2, 0)))


def about_the_study(ds, selection):
    """(key, heading, caption, function that draws) of figures of all networks together."""
    yield ("gain-depth", "How much the bounds win with depth", "Factor by which each bound is below that of Gonon et al., against the number of weight layers.",
           lambda: figures.gain_depth(ds, selection))
    yield ("bound-comparison", "What the bounds multiply per layer", "Gonon et al. multiply the largest layer norm r once per layer, Houache et al. the geometric "
           "means r_mean and r_conv.", lambda: figures.bound_comparison(ds, None, selection))
    if len(observations.networks_with(ds, "accuracy")) > ALL_NETWORKS:
        yield ("accuracy-bits", "Accuracy beside bound", "Right answers, the tightest theory and the largest deviation measured, against bits.",
               lambda: observations.accuracy_bits(ds))


def about_a_network(ds, network, selection):
    pair = Selection(selection.quantizer, selection.granularity)
    yield ("bounds-bits", "All bounds of a network", "Every bound that applies, what was certified, and what was measured, against bits.",
           lambda: figures.bounds_bits(ds, network, pair))
    yield ("sandwich", "Between proof and attack", "Tightest theory, what each method certifies, what was attained and what was measured, against bits.",
           lambda: certificates.sandwich(ds, network, pair, methods=True))
    if len(observations.networks_with(ds, "accuracy")) <= ALL_NETWORKS:
        yield ("accuracy-bits", "Accuracy beside bound", "Right answers, the tightest theory and the largest deviation measured, against bits.",
               lambda: observations.accuracy_bits(ds, network))
    yield ("error-shares", "Which layer is to blame", "Share of the propagated error of the output that the quantization of each layer causes.",
           lambda: observations.error_shares(ds, network, pair))


def about_modules(ds, network, selection):
    try:
        require_modules(ds)
    except ResultError:
        return
    at = Selection(None, selection.granularity, selection.bits)
    yield ("module-loss", "Loss along the network", "Reconstruction loss of every module, and the modules' capacity.", lambda: reconstructions.module_loss(ds, network, at))
    yield ("loss-correlation", "Earlier and final loss", "Final reconstruction error against the largest loss of an earlier module.",
           lambda: reconstructions.loss_correlation(ds, network, at))
    yield ("pareto", "What bits buy", "Accuracy, or largest deviation, against the bits of all weights.",
           lambda: reconstructions.pareto(ds, network, Selection(None, selection.granularity)))


def figure_sections(ds, network, selection):
    """HTML of all figures that can be drawn, their numbers by key, and why others cannot."""
    glyphs, blocks, data, missing = Glyphs(), {}, {}, {}
    wanted = [(None, item) for item in about_the_study(ds, selection)]
    for name in shown_networks(ds, network):
        wanted += [(name, item) for item in (*about_a_network(ds, name, selection), *about_modules(ds, name, selection))]
    for number, (name, (key, heading, caption, draw)) in enumerate(wanted):
        try:
            pictures, numbers = both_pictures(draw, f"f{number}", escaped(heading), glyphs)
        except ResultError as error:
            missing.setdefault(key, str(error))
            continue
        blocks.setdefault(key, (heading, caption, []))[2].append((name, f"{key}-{number}", pictures))
        data[f"{key}-{number}"] = numbers
    missing = {key: why for key, why in missing.items() if key not in blocks}
    blocks = {key: blocks[key] for key in dict.fromkeys(key for _, (key, *_) in wanted) if key in blocks}
    return glyphs.svg() + "\n".join(figure_block(key, *block) for key, block in blocks.items()), data, missing


def figure_block(key, heading, caption, pictures):
    choice = ""
    if len(pictures) > 1:
        options = "".join(f'<option value="{identity}">{escaped(name)}</option>' for name, identity, _ in pictures)
        choice = f'<label>network <select class="choice">{options}</select></label>'
    shown = "".join(f'<div class="drawing" id="{identity}"{" hidden" if place else ""}>{pictures_of}</div>' for place, (_, identity, pictures_of) in enumerate(pictures))
    return (f'<figure id="figure-{key}"><h3>{escaped(heading)}</h3>{choice}{shown}<figcaption>{escaped(caption)} '
            f'<button class="csv" data-name="{key}">numbers as CSV</button></figcaption></figure>')


# ---------------------------------------------------------------------------------------------- failures and provenance

def failures_section(ds, paths):
    rows = []
    for path in paths:
        try:
            group = open_group(path, "failures")
        except ResultError:
            continue
        names = [name for name in ("failure_network", "failure_stage", "failure_message") if name in group]
        rows += list(zip(*(group[name].values.tolist() for name in names)))
    unfinished = int((~ds.status.isin([DONE, SKIPPED])).sum())
    said = f"<p>{plural(unfinished, 'configuration')} not done.</p>" if unfinished else "<p>All configurations are done.</p>"
    if not rows:
        return said + "<p>Nothing failed.</p>"
    body = "".join("<tr>" + "".join(f"<td>{escaped(text)}</td>" for text in row) + "</tr>" for row in rows[:200])
    more = f"<p>{len(rows) - 200} more are in the group <code>failures</code> of the file.</p>" if len(rows) > 200 else ""
    return said + f'<div class="scroll"><table class="plain"><thead><tr><th>network</th><th>stage</th><th>message</th></tr></thead><tbody>{body}</tbody></table></div>' + more


def provenance_section(paths):
    sections = []
    for path in paths:
        try:
            group = open_group(path, "provenance")
        except ResultError as error:
            sections.append(f"<p>{escaped(error)}</p>")
            continue
        pairs = [("file", escaped(path))]
        pairs += [("time", f"{float(value):.4g} s") if name == "elapsed" else (name.replace("_", " "), escaped(value)) for name, value in group.attrs.items()]
        if "host" in group:
            hosts = dict.fromkeys(group.host.values.tolist())
            shown = ", ".join([*list(hosts)[:4], *(["..."] if len(hosts) > 4 else [])])
            pairs.append(("hosts", escaped(f"{len(hosts)} ({shown})")))
        if "threads" in group:
            pairs.append(("threads per rank", span(group.threads.values)))
        if "stage_time" in group:
            times = sorted(zip(group.stage_time.values.tolist(), group.stage.values.tolist()), reverse=True)
            pairs.append(("time in stages", escaped(", ".join(f"{stage} {seconds:.3g} s" for seconds, stage in times if seconds > 0))))
        sections.append(definition(pairs))
    return "".join(sections)


def study_section(ds):
    facts = [(name.replace("_", " "), escaped(ds.attrs[name])) for name in ("schema", "schema_version", "study_hash", "step", "grid", "bias_bits", "edge_bits", "precision",
                                                                          "confidence", "complete") if str(ds.attrs.get(name, ""))]
    study = ds.attrs.get("study_toml", "")
    return definition(facts) + (f"<details><summary>the study file</summary><pre>{escaped(study)}</pre></details>" if study else "")


# --------------------------------------------------------------------------------------------------------------- the page

def as_json(value):
    """JSON that may stand inside <script>."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def without_nan(rows):
    return [[None if isinstance(value, float) and not math.isfinite(value) else value for value in row] for row in rows]


def report(paths, network=None, selection=Selection()):
    """The page as text. `network`: pictures of this one alone; `selection`: what is shown first."""
    paths = [paths] if isinstance(paths, (str, pathlib.Path)) else list(paths)
    ds = open_results(paths, along="network")
    table, table_data = table_section(ds, selection)
    drawings, numbers, missing = figure_sections(ds, network, selection)
    for drawing in numbers.values():
        drawing["rows"] = without_nan(drawing["rows"])
    title = str(ds.attrs.get("title", f"{plural(len(paths), 'result file')}, {plural(ds.sizes['network'], 'network')}"))
    not_drawn = "".join(f"<li>{escaped(key)}: {escaped(why)}</li>" for key, why in missing.items())
    parts = [("studied", "What was studied", in_short(ds, selection) + studied(ds)), ("table", "Summary", table),
             ("figures", "Figures", drawings + (f'<details><summary>not drawn</summary><ul>{not_drawn}</ul></details>' if not_drawn else "")),
             ("failures", "Failures", failures_section(ds, paths)), ("provenance", "Provenance", provenance_section(paths) + study_section(ds))]
    links = "".join(f'<a href="#{key}">{name}</a>' for key, name, _ in parts)
    body = "".join(f'<section id="{key}"><h2>{name}</h2>{content}</section>' for key, name, content in parts)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escaped(title)}</title><style>{(HERE / 'report.css').read_text()}</style></head>\n"
            f'<body><header><h1>{escaped(title)}</h1><nav>{links}</nav></header><main>{body}</main><div id="tip" hidden></div>\n'
            f'<script type="application/json" id="table-data">{as_json(table_data)}</script>\n<script type="application/json" id="figure-data">{as_json(numbers)}</script>\n'
            f"<script>{(HERE / 'report.js').read_text()}</script></body></html>\n")
