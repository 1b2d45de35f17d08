"""How figures look: one colour, marker and line per theory everywhere, readable in grey and for the colour-blind.

Colours are those of Okabe and Ito (without their yellow, which vanishes on paper) and two greys. No meaning rests on
colour alone: markers and line styles differ as well, and lines carry their names instead of a legend.
"""
import dataclasses
import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (after the choice of backend)
import numpy as np  # noqa: E402


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


FORMATS = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": None}  # no date: equal results, equal pictures


def save(figure, path):
    """Writes a figure; the extension, one of FORMATS, decides how."""
    with plt.rc_context(STYLE):
        figure.savefig(path, metadata=FORMATS[pathlib.Path(path).suffix])


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


def spread(positions, gap):
    """The closest positions, in the least-squares sense, that keep their order and are at least `gap` apart."""
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
    result[order] = flat + gap * np.arange(len(positions))
    return result


def label_lines(ax, ends):
    """Writes names to the right of the axes, each joined to the end of its line. `ends`: (x, y, text, colour).

    Call it when the limits of the axes are final.
    """
    if not ends:
        return
    to_fraction = ax.transData + ax.transAxes.inverted()
    points = to_fraction.transform([(x, y) for x, y, _, _ in ends])
    line_height = 1.3 * plt.rcParams["font.size"] / 72.0 / (ax.get_position().height * ax.figure.get_figheight())
    heights = spread(points[:, 1], line_height)
    for (start_x, start_y), height, (_, _, text, colour) in zip(points, heights, ends):
        ax.plot([start_x + 0.008, 1.035, 1.045], [start_y, height, height], transform=ax.transAxes, color=colour,
                linewidth=0.5, clip_on=False, zorder=0.5)
        ax.text(1.05, height, text, transform=ax.transAxes, color=colour, va="center", ha="left")
