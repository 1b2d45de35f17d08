"""How figures look: one colour, marker and line per theory everywhere, readable in grey and for the colour-blind.

Colours are those of Okabe and Ito (without their yellow, which vanishes on paper) and two greys. No meaning rests on
colour alone: markers and line styles differ as well, and lines carry their names instead of a legend. A figure fits the
page it is drawn for (`on_page`): a sheet of paper, or a telephone, where the names stand below.
"""
import contextlib
import contextvars
import csv
import dataclasses
import io
import pathlib
import textwrap

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (after the choice of backend)
import numpy as np  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Look:
    label: str
    colour: str
    marker: str
    line: object

    def draw(self):
        """Keyword arguments of Axes.plot."""
        return dict(color=self.colour, marker=self.marker, linestyle=self.line, markersize=4, markeredgewidth=0.8,
                    markerfacecolor="white", linewidth=1.2)


THEORIES = {
    "gonon": Look("Gonon et al.", "#000000", "s", "-"),
    "berner": Look("Berner et al.", "#777777", "D", (0, (5, 1))),
    "neyshabur": Look("Neyshabur et al.", "#CC79A7", "v", (0, (3, 1, 1, 1))),
    "houache_mean": Look("Houache et al., Thm 4.1", "#D55E00", "o", "-"),
    "houache_conv": Look("Houache et al., Thm 4.4", "#E69F00", "^", (0, (4, 1.5))),
    "houache_layerwise": Look("Houache, per layer", "#8C3A00", "P", (0, (1, 1))),
    "operator_norm": Look("operator norms", "#56B4E9", "X", "-"),
    "absolute_product": Look("absolute product", "#0072B2", "<", (0, (5, 1))),
    "path_metric": Look("path metric", "#009E73", ">", (0, (2, 1))),
}
METHODS = {
    "interval": Look("both apart, intervals", "#777777", "s", (0, (5, 1))),
    "merged_interval": Look("merged, intervals", "#000000", "D", (0, (3, 1, 1, 1))),
    "difference_interval": Look("difference, intervals", "#0072B2", "o", "-"),
    "difference_zonotope": Look("difference, zonotopes", "#CC79A7", "^", (0, (4, 1.5))),
    "merged_crown": Look("merged, CROWN", "#56B4E9", "X", (0, (1, 1))),
    "difference_crown": Look("difference, CROWN", "#E69F00", "v", "-"),
    "alpha_crown": Look("difference, alpha-CROWN", "#8C3A00", "P", (0, (2, 1))),
    "star": Look("stars", "#444444", "<", (0, (1, 2))),
    "branch_and_bound": Look("branch and bound", "#009E73", ">", "-"),
}
QUANTIZERS = {
    "round": Look("round", "#777777", "s", (0, (5, 1))),
    "floor": Look("floor", "#8C3A00", "<", "-"),
    "truncate": Look("truncate", "#5E3C99", "d", (0, (4, 1.5))),
    "stochastic": Look("stochastic", "#808000", "x", (0, (1, 1))),
    "cle_round": Look("equalize + round", "#000000", "D", (0, (3, 1, 1, 1))),
    "gptq": Look("GPTQ", "#E69F00", "v", (0, (4, 1.5))),
    "adaround": Look("AdaRound", "#56B4E9", "X", "-"),
    "brecq": Look("BRECQ", "#0072B2", "o", "-"),
    "qdrop": Look("QDrop", "#CC79A7", "P", (0, (2, 1))),
    "mrecg": Look("MRECG, capacity", "#D55E00", "^", "-"),
    "mrecg_loss": Look("MRECG, loss", "#009E73", ">", (0, (1, 1))),
}
CERTIFIED_COLOUR = "#009E73"
BAND_COLOUR = "#B8D4C8"  # between a certificate and what is known to be attained
ATTACKED_COLOUR = "#5E3C99"
OBSERVED_COLOUR = "#000000"
GAP_COLOUR = "#DDDDDD"

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.dpi": 200,
    "pdf.fonttype": 42,
    "svg.hashsalt": "quantbound",
}


FORMATS = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": None,  # no date: equal results, equal pictures
           ".csv": None}  # the numbers that are drawn


def save(figure, path):
    """Writes a figure, or the numbers it shows; the extension, one of FORMATS, decides how."""
    suffix = pathlib.Path(path).suffix
    if suffix == ".csv":
        figure.write_numbers(path)
        return
    with plt.rc_context(STYLE):
        figure.savefig(path, metadata=FORMATS[suffix])


# ----------------------------------------------------------------------------------------------------------- the page

@dataclasses.dataclass(frozen=True)
class Page:
    width: float  # inches
    names: str  # of lines: "beside" the axes or "below" all of them


PAPER, PHONE = Page(6.7, "beside"), Page(3.75, "below")  # the text width of A4; a window of 390 pixels
LABEL_MARGIN = 0.27  # of the width of paper, right of the axes, for the names of the lines
_page = contextvars.ContextVar("page", default=PAPER)


@contextlib.contextmanager
def on_page(page):
    """Figures that are drawn inside are for this page."""
    token = _page.set(page)
    try:
        yield
    finally:
        _page.reset(token)


def current_page():
    return _page.get()


def on_paper():
    return current_page().names == "beside"


def new_figure(rows, columns, height, paper, **options):
    """A Drawing and its axes. `height` in inches; `paper`: margins on paper with words of subplots_adjust. A telephone has
    no room for columns nor for names on the right."""
    margins = paper
    if not on_paper():
        between = paper.get("hspace", 0.2) if options.get("sharex") else 0.52  # room for titles and labels of two lines
        rows, columns, height = rows * columns, 1, height * columns
        margins = dict(left=0.175, right=0.975, top=1.0 - 0.5 / height, bottom=0.45 / height, hspace=between)
    fig = Drawing(figsize=(current_page().width, height))  # not one of pyplot, which would keep it
    FigureCanvasAgg(fig)
    axes = fig.subplots(rows, columns, squeeze=False, **options)
    fig.subplots_adjust(**margins)
    return fig, axes


def plain_number(value):
    """A Python number or text of what numpy has, for files."""
    return value.item() if isinstance(value, np.generic) else value


class Drawing(matplotlib.figure.Figure):
    """A figure that knows the numbers it shows: a row of named values for every point, and where the point is."""

    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        self.rows = []
        self.places = []  # axes and place in data coordinates of every row
        self.names = {}  # of lines, where there is no room for them beside the axes
        self.small = ""  # what is printed small below

    def record(self, ax, x, y, **columns):
        """Points at x, y (arrays) and what they mean: a value for all of them, or an array of one for each. Points that are
        not finite are not drawn and not recorded."""
        x, y, *values = np.broadcast_arrays(x, y, *columns.values())
        for place in np.ndindex(x.shape):
            if np.isfinite(x[place]) and np.isfinite(y[place]):
                self.rows.append({name: plain_number(value[place]) for name, value in zip(columns, values)})
                self.places.append((ax, float(x[place]), float(y[place])))

    def columns(self):
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def numbers(self):
        """The numbers that are drawn, as a pandas.DataFrame."""
        import pandas  # takes half a second, which a picture need not

        return pandas.DataFrame(self.rows, columns=self.columns())

    def write_numbers(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def _repr_svg_(self):
        """Notebooks show the figure without further ado."""
        text = io.StringIO()
        with plt.rc_context(STYLE):
            self.savefig(text, format="svg", metadata=FORMATS[".svg"])
        return text.getvalue()


def small_print(fig, text):
    """A line below the figure; where pages are narrow whoever shows the figure prints it."""
    fig.small = text
    if on_paper():
        fig.text(0.105, 0.06 / fig.get_figheight(), text, fontsize=6.5, color="#555555")


def look(theory):
    """A theory this version does not know is drawn in grey under its own name."""
    return THEORIES.get(theory, Look(theory, "#666666", "*", "--"))


def method_look(method):
    return METHODS.get(method, Look(method, "#666666", "*", "--"))


def quantizer_look(quantizer):
    return QUANTIZERS.get(quantizer, Look(quantizer, "#444444", "*", "--"))


def power_of_ten(value, _position=None):
    return f"$10^{{{value:.0f}}}$"


def power_axis(axis):
    """Ticks of a linear axis of log10 values, written as powers of ten."""
    axis.set_major_locator(plt.MaxNLocator(integer=True, nbins=9))
    axis.set_major_formatter(power_of_ten)


def log_axis(ax, which):
    """A logarithmic axis: powers of ten, or plain numbers where there are not two of them to be seen."""
    ax.set_xscale("log") if which == "x" else ax.set_yscale("log")
    decades(ax.xaxis if which == "x" else ax.yaxis)


def decades(axis):
    low, high = sorted(axis.get_view_interval())
    if np.floor(np.log10(high)) - np.ceil(np.log10(low)) >= 1.0:
        axis.set_major_formatter(plt.LogFormatterMathtext())
        axis.set_minor_formatter(plt.NullFormatter())
        return
    axis.set_major_locator(plt.LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)) if high > 6.0 * low else PositiveLocator(nbins=7, steps=(1, 2, 5, 10)))
    axis.set_major_formatter(plt.FuncFormatter(lambda value, _position: short(value)))
    axis.set_minor_locator(plt.NullLocator())


class PositiveLocator(plt.MaxNLocator):
    """Round numbers at equal distances, for a logarithmic axis of less than a decade: it may lie between two powers of ten."""

    def tick_values(self, vmin, vmax):
        ticks = super().tick_values(vmin, vmax)
        return ticks[ticks > 0.0]


def with_room(places, widths):
    """Positions of those whose labels of these widths, centred, do not meet: the first, and whatever has room after the one before it;
    the last rather than those that leave it no room."""
    order = np.argsort(places, kind="stable").tolist()
    meet = lambda a, b: abs(places[a] - places[b]) < 0.5 * (widths[a] + widths[b])  # noqa: E731
    kept = []
    for index in order[:-1]:
        if not kept or not meet(index, kept[-1]):
            kept.append(index)
    while len(kept) > 1 and meet(order[-1], kept[-1]):
        kept.pop()
    return kept + order[-1:] if not kept or not meet(order[-1], kept[-1]) else kept


def label_places(ax, places, labels, least=0.0):
    """Ticks of the x axis at these places, with a label each as far as there is room; every label takes at least `least` inches.
    Returns the positions of the labelled. Call it when the limits of the axes are final."""
    ax.set_xticks(places)
    ax.xaxis.set_minor_locator(plt.NullLocator())
    ax.get_xlim()  # as in words_in_band
    inches = ax.transData.transform([(place, 1.0) for place in places])[:, 0] / ax.figure.dpi
    letter = 0.6 * plt.rcParams["font.size"] / 72.0
    kept = with_room(inches, [max(least, letter * len(label) + 0.03) for label in labels])
    ax.set_xticklabels([label if index in kept else "" for index, label in enumerate(labels)])
    return kept


def short(value):
    """Three digits; thousands written out."""
    return f"{value:.0f}" if 1e3 <= value < 1e6 else f"{value:.3g}"


def spread(positions, gap, low=-np.inf, high=np.inf):
    """The closest positions, in the least-squares sense, that keep their order, are at least `gap` apart and lie between
    `low` and `high` where all have room there."""
    order = np.argsort(positions, kind="stable")
    blocks = []  # pool adjacent violators on position - rank * gap
    for rank, index in enumerate(order):
        blocks.append([positions[index] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value, size = blocks.pop()
            total = blocks[-1][0] * blocks[-1][1] + value * size
            blocks[-1] = [total / (blocks[-1][1] + size), blocks[-1][1] + size]
    flat = np.repeat([value for value, _ in blocks], [size for _, size in blocks])
    result = np.empty(len(positions))
    if low <= high - (len(flat) - 1) * gap:
        flat = np.clip(flat, low, high - (len(flat) - 1) * gap)
    result[order] = flat + gap * np.arange(len(positions))
    return result


def label_lines(ax, ends):
    """Writes names to the right of the axes, each joined to the end of its line. `ends`: (x, y, text, colour).

    Call it when the limits of the axes are final. On a narrow page the names are kept for `names_below`.
    """
    if not ends:
        return
    if not on_paper():
        for x, y, text, colour in ends:
            ax.figure.names.setdefault(text, line_like(ax, x, y, colour))
        return
    to_fraction = ax.transData + ax.transAxes.inverted()
    points = to_fraction.transform([(x, y) for x, y, _, _ in ends])
    line_height = 1.3 * plt.rcParams["font.size"] / 72.0 / (ax.get_position().height * ax.figure.get_figheight())
    heights = spread(points[:, 1], line_height, 0.0, 1.0)  # beside the axes: above them is the title
    for (start_x, start_y), height, (_, _, text, colour) in zip(points, heights, ends):
        ax.plot([start_x + 0.008, 1.035, 1.045], [start_y, height, height], transform=ax.transAxes, color=colour,
                linewidth=0.5, clip_on=False, zorder=0.5)
        ax.text(1.05, height, text, transform=ax.transAxes, color=colour, va="center", ha="left")


def words_in_band(ax, text, band, colour):
    """Writes `text` into the band between two lines (`band`: x, top, bottom) where it fits and covers no line, as near to the middle as
    that is possible. Returns whether there was such a place. Call it when the limits of the axes are final and all lines are drawn."""
    x, top, bottom = (np.asarray(values, dtype=float) for values in band)
    ax.get_xlim(), ax.get_ylim()  # asked for, limits take in what was plotted last; transData does not ask
    words = ax.text(x[0], top[0], text, ha="center", va="center", color="#333333", bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.85})
    extent = words.get_window_extent(ax.figure.canvas.get_renderer())
    half = np.array([extent.width, extent.height]) / 2.0 + 2.0 * ax.figure.dpi / 72.0  # and two points of air
    to_pixels = ax.transData.transform
    upper, lower = to_pixels(np.column_stack([x, top])), to_pixels(np.column_stack([x, bottom]))
    lines = [to_pixels(line.get_xydata()) for line in ax.get_lines() if line.get_transform() == ax.transData and len(line.get_xdata())]
    middle = 0.5 * (upper[0, 0] + upper[-1, 0])
    places = [(across, share) for share in (0.5, 0.35, 0.65, 0.22, 0.78) for across in np.linspace(upper[0, 0] + half[0], upper[-1, 0] - half[0], 21)
              if upper[0, 0] + half[0] <= across <= upper[-1, 0] - half[0]]
    for across, share in sorted(places, key=lambda place: abs(place[0] - middle) / ax.bbox.width + abs(place[1] - 0.5)):
        under = np.linspace(across - half[0], across + half[0], 15)
        high, low = np.interp(under, *upper.T), np.interp(under, *lower.T)
        up = share * np.interp(across, *upper.T) + (1.0 - share) * np.interp(across, *lower.T)
        heights = [np.interp(under, *line[np.argsort(line[:, 0], kind="stable")].T, left=np.nan, right=np.nan) for line in lines]
        if up + half[1] <= high.min() and up - half[1] >= low.max() and not any((np.abs(height - up) < half[1]).any() for height in heights):
            words.set_position(ax.transData.inverted().transform((across, up)))
            return True
    words.remove()
    return False


def line_like(ax, x, y, colour):
    """A sample of the line of this colour that ends at a point, for a legend."""
    for line in ax.get_lines():
        if line.get_color() == colour and len(line.get_xdata()) and line.get_transform() == ax.transData:
            if np.isclose(line.get_xdata()[-1], x) and np.isclose(line.get_ydata()[-1], y):
                return plt.Line2D([], [], color=colour, marker=line.get_marker(), linestyle=line.get_linestyle(), markersize=4,
                                  markeredgewidth=0.8, markerfacecolor=line.get_markerfacecolor(), linewidth=line.get_linewidth())
    return plt.Line2D([], [], color=colour, linewidth=0.8)


def names_beside(ax, handles, title=None):
    """A legend in the margin on the right. On a narrow page the names are kept for `names_below`."""
    if not on_paper():
        if title:
            ax.figure.names.setdefault(title.replace("\n", " ") + ":", plt.Line2D([], [], linestyle=""))
        for handle in handles:
            ax.figure.names.setdefault(handle.get_label(), handle)
        return None
    legend = ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=7.5, title=title, title_fontsize=7.0,
                       handlelength=2.4, labelspacing=0.55, borderaxespad=0.0)
    legend._legend_box.align = "left"
    return legend


def names_below(fig):
    """What a narrow page has no room for beside the axes: the names below them; long titles and labels in two lines."""
    for ax in fig.axes:
        ax.set_xlabel(textwrap.fill(ax.get_xlabel(), 46))
        title = ax.get_title(loc="left")
        for text in ax.findobj(lambda artist: isinstance(artist, plt.Text) and title and artist.get_text() == title):
            text.set_text(textwrap.fill(title, 46))
    if fig.names:
        below = min(0.0, drawn_box(fig).y0 / fig.get_figheight() - 0.02)
        fig.legend(handles=list(fig.names.values()), labels=list(fig.names), loc="upper left", bbox_to_anchor=(0.0, below), ncol=2 if max(map(len, fig.names)) < 26 else 1,
                   frameon=False, fontsize=7.5, handlelength=2.4, borderaxespad=0.0)


def names_above(fig, handles):
    """A legend at the top of the page, in as many columns as there is room for; returns its height in inches."""
    renderer = fig.canvas.get_renderer()
    for columns in range(min(6, len(handles)), 0, -1):
        legend = fig.legend(handles=handles, loc="upper center", ncol=columns, frameon=False, fontsize=7.5, handlelength=2.6)
        extent = legend.get_window_extent(renderer)
        if extent.width < fig.bbox.width or columns == 1:
            return extent.height / fig.dpi
        legend.remove()
    return 0.0


def drawn_box(fig):
    """What a figure covers, in inches: also labels that are longer than their axes, which get_tightbbox leaves out."""
    fig.canvas.draw()
    renderer = fig.canvas.get_renderer()
    labels = [axis.label for ax in fig.axes for axis in (ax.xaxis, ax.yaxis) if axis.label.get_visible() and axis.label.get_text()]
    to_inches = fig.dpi_scale_trans.inverted()
    boxes = [label.get_window_extent(renderer).transformed(to_inches) for label in labels]
    return matplotlib.transforms.Bbox.union([fig.get_tightbbox(renderer), *boxes])
