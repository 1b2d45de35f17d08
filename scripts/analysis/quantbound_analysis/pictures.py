"""Figures as SVG inside a page: every one twice, for wide and for narrow windows, with the numbers under its points."""
import io
import re

from .style import FORMATS, PAPER, PHONE, STYLE, drawn_box, names_below, on_page, plt

POINTS = 72.0  # per inch: the unit of matplotlib's SVG
GLYPH = re.compile(r'\s*<path id="(DejaVu[^"]+)" d="([^"]*)" transform="(scale\(0\.015625\))"/>')
PATH = re.compile(r'(?<= d=")[^"]*(?=")')
PLACE = re.compile(r'(?<= [xy]=")-?\d+\.\d+(?=")')
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
MARGIN = 0.04  # inches around what is drawn


def two_decimals(match):
    return f"{float(match.group()):.2f}".rstrip("0").rstrip(".")


class Glyphs:
    """The outlines of all letters, once for all pictures of a page."""

    def __init__(self):
        self.outlines = {}

    def take(self, svg):
        for name, outline, scale in GLYPH.findall(svg):
            self.outlines[name] = (outline, scale)
        return GLYPH.sub("", svg)

    def svg(self):
        paths = "".join(f'<path id="{name}" d="{outline}" transform="{scale}"/>' for name, (outline, scale) in sorted(self.outlines.items()))
        return f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{paths}</defs></svg>'


def places_in(fig, box):
    """Where the recorded points are in the picture, in its units."""
    found = []
    for ax, x, y in fig.places:
        across, up = ax.transData.transform((x, y)) / fig.dpi
        found.append([round(POINTS * (across - box.x0), 1), round(POINTS * (box.y1 - up), 1)])
    return found


def inline_svg(fig, prefix, label, glyphs):
    """SVG text and the places of the points. `prefix` keeps the ids of several pictures apart."""
    box = drawn_box(fig).padded(MARGIN)
    text = io.StringIO()
    fig.savefig(text, format="svg", bbox_inches=box, metadata=FORMATS[".svg"])
    svg = text.getvalue()
    svg = glyphs.take(svg[svg.index("<svg"):])
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    svg = PLACE.sub(two_decimals, PATH.sub(lambda path: " ".join(LONG_NUMBER.sub(two_decimals, path.group()).split()), svg))
    svg = re.sub(r'\bid="(?!DejaVu)', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)(?!DejaVu)', rf"\1{prefix}-", svg)
    width, height = POINTS * box.width, POINTS * box.height
    head = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{label}" viewBox="0 0 {width:.1f} {height:.1f}" style="max-width:{width / 0.75:.0f}px">'
    return re.sub(r"\A<svg[^>]*>", lambda _match: head, re.sub(r"\n\s*", "\n", svg)), places_in(fig, box)


def both_pictures(draw, prefix, label, glyphs):
    """`draw()` gives the figure. The HTML of both its pictures, and what to show under a pointer as plain data."""
    html, data = [], {}
    for page, name in ((PAPER, "wide"), (PHONE, "narrow")):
        with on_page(page):
            fig = draw()
            with plt.rc_context(STYLE):
                if page is PHONE:
                    names_below(fig)
                svg, places = inline_svg(fig, f"{prefix}{name[0]}", label, glyphs)
        html.append(f'<div class="picture {name}">{svg}</div>')
        if page is PHONE and fig.small:
            html.append(f'<p class="small narrow">{fig.small}</p>')
        data["columns"] = fig.columns()
        data["rows"] = [[row.get(column) for column in data["columns"]] for row in fig.rows]
        data[name] = places
    return "\n".join(html), data
