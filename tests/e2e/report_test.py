"""The page of `quantbound-plot RESULT report`: what stands in it, and what it does in a real browser, on a small result and on
one of 500 networks, in the window of a telephone and in a wide one. Without Debian's chromium the latter are skipped."""
import atexit
import functools
import json
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

ANALYSIS = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "analysis"
sys.path[:0] = [str(ANALYSIS), str(pathlib.Path(__file__).parent)]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import quantbound_analysis as qa  # noqa: E402
import result_fixture as fixture  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE, WIDE = (390, 844), (1600, 1000)
BETWEEN = ((768, 1024), (1024, 768), (1200, 800), (1280, 800), (1440, 900))
LARGE = [n for family, draws in (("mlp", 16), ("resnet", 4)) for n in fixture.family(family, [5, 10, 20, 30, 40], [16, 32, 64, 128, 256], draws)]  # 500
SCRATCH = tempfile.TemporaryDirectory(prefix="quantbound_report_")
atexit.register(SCRATCH.cleanup)
FRAME = """<!DOCTYPE html><body style="margin:0"><iframe src="page.html" style="border:0;display:block;width:{}px;height:{}px"></iframe>
<script>addEventListener("message", (event) => {{ document.body.dataset.found = event.data; }});</script></body>"""
WATCH = "<script>window.wrong = []; addEventListener('error', (event) => wrong.push(event.message));</script>"
ASK = """<script>
const rows = () => [...document.querySelectorAll("#summary tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
const head = (key) => document.querySelector(`#summary th[data-key="${{key}}"]`);
const drawn = () => [...document.querySelectorAll(".picture svg")].filter((svg) => svg.getBoundingClientRect().width > 0);
const change = (id, value) => {{ const field = document.getElementById(id); field.value = value; field.dispatchEvent(new Event(field.type === "search" ? "input" : "change")); }};
const ask = () => {{ {} }};
addEventListener("load", () => setTimeout(() => {{
  let found;
  try {{ found = {{ answer: ask(), wrong }}; }} catch (error) {{ found = {{ wrong: [String(error)] }}; }}
  parent.postMessage(JSON.stringify(found), "*");
}}, 50));
</script>"""
# Parts of the page that stick out of the window, or, in a picture, out of what is shown of it.
CUT = """
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || element.closest("svg, .scroll > *, pre") || box.left >= -1 && box.right <= innerWidth + 1) continue;
    found.push(`${element.tagName}.${element.className} ends at ${box.right}`);
  }
  for (const box of document.querySelectorAll(".scroll")) if (box.scrollWidth > box.clientWidth + 1) found.push(`a table of ${box.scrollWidth} pixels in ${box.clientWidth}`);
  for (const svg of drawn()) {
    const whole = svg.getBoundingClientRect();
    for (const glyphs of svg.querySelectorAll("[id*=-text_]")) {
      const box = glyphs.getBoundingClientRect();
      if (box.width && (box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1 || box.bottom > whole.bottom + 1)) found.push(`${svg.getAttribute("aria-label")}: ${glyphs.id}`);
    }
  }
  return { found, scroll: document.documentElement.scrollWidth, window: innerWidth, pictures: drawn().length };
"""
# Pairs of texts in a picture that lie upon each other, and texts that lie in axes they do not belong to: more than a third of
# the smaller one is covered.
OVERLAPS = """
  const found = [];
  const boxes = (things) => [...things].map((thing) => [thing, thing.getBoundingClientRect()]).filter(([, box]) => box.width * box.height > 0);
  const covered = (p, q) => {
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left), down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    return across > 0 && down > 0 && across * down > 0.33 * Math.min(p.width * p.height, q.width * q.height);
  };
  for (const svg of drawn()) {
    const say = (a, b) => found.push(`${svg.getAttribute("aria-label")}: ${a.id} and ${b.id}`);
    const texts = boxes(svg.querySelectorAll("[id*=-text_]")), axes = boxes(svg.querySelectorAll("[id*=-axes_] > [id*=-patch_]:first-child"));
    if (!axes.length) found.push(`${svg.getAttribute("aria-label")} has no axes`);
    texts.forEach(([a, p], i) => texts.slice(i + 1).forEach(([b, q]) => { if (covered(p, q)) say(a, b); }));
    texts.forEach(([a, p]) => axes.forEach(([b, q]) => { if (a.closest("[id*=-axes_]") !== b.parentNode && covered(p, q)) say(a, b); }));
  }
  return { found, texts: drawn().reduce((sum, svg) => sum + svg.querySelectorAll("[id*=-text_]").length, 0) };
"""


@functools.cache
def made(name):
    """Result file and page of each kind, made once."""
    path = pathlib.Path(SCRATCH.name, f"{name}.h5")
    if name == "reconstruction":
        fixture.write_reconstruction(path)
    else:
        fixture.write_result(path, **({"networks": LARGE} if name == "large" else {"certified": "certified"}))
    return path, qa.report(path)


class WithResults(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="quantbound_report_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def small(self, **options):
        return fixture.write_result(self.folder / "small.h5", **{"certified": "certified", **options})


class Page(WithResults):
    def test_asks_no_network_for_anything(self):
        page = made("small")[1]
        for target in re.findall(r'\b(?:src|href|srcset|action|poster)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page):
            self.assertIn(re.split("[^a-z]", target)[0], ("", "data"), target[:80])
        self.assertIsNone(re.search(r"@import|\bfetch\(|XMLHttpRequest|<link\b|<script[^>]* src", page))

    def test_shows_what_was_studied_and_how(self):
        page = made("small")[1]
        for text in ("<title>made up for tests</title>", "4 networks from files", "5 to 11", "floor, round", "Houache et al.", "112 done", "Nothing failed", "made up"):
            self.assertTrue(text in page, text)

    def test_has_every_figure_that_can_be_drawn_and_says_why_others_are_not(self):
        page = made("small")[1]
        self.assertEqual(re.findall(r'<figure id="figure-([a-z-]+)"', page), ["gain-depth", "bound-comparison", "bounds-bits", "sandwich", "accuracy-bits", "error-shares"])
        page = qa.report(self.small(certified="none", observed="none"))
        self.assertEqual(re.findall(r'<figure id="figure-([a-z-]+)"', page), ["gain-depth", "bound-comparison", "bounds-bits"])
        self.assertTrue("sandwich: the file has no certificates" in page)

    def test_of_reconstruction_has_its_figures_too(self):
        shown = re.findall(r'<figure id="figure-([a-z-]+)"', made("reconstruction")[1])
        self.assertTrue({"module-loss", "loss-correlation", "pareto"} <= set(shown), shown)

    def test_of_many_networks_has_pictures_of_three_or_of_the_one_that_is_named(self):
        large, page = made("large")
        shown = r'<select class="choice">(.*?)</select>'
        self.assertEqual(len(re.findall("<option", re.search(shown, page).group(1))), 3)
        self.assertIsNone(re.search(shown, qa.report(large, "mlp-depth20-width64-3")))
        with self.assertRaisesRegex(qa.ResultError, "no network 'resnet'"):
            qa.report(large, "resnet")

    def test_lists_failures_and_what_is_not_done(self):
        path = self.small()
        with h5py.File(path, "a") as file:
            file["status"][0, 0] = 2
            group = file.create_group("failures")
            group.create_dataset("failure", data=[0]).make_scale("failure")
            for name, text in (("network", "digits_mlp_5"), ("stage", "certify"), ("message", "a < b & 'c'")):
                data = group.create_dataset(f"failure_{name}", data=np.array([text], dtype=h5py.string_dtype()))
                data.dims[0].attach_scale(group["failure"])
        page = qa.report(path)
        for text in ("14 configurations not done", "<td>certify</td><td>a &lt; b &amp; &#x27;c&#x27;</td>", "98 done, 14 failed"):
            self.assertTrue(text in page, text)

    def test_names_are_text_whatever_is_in_them(self):
        name = "</script><img src=x onerror=alert(1)>"
        page = qa.report(self.small(networks=[fixture.FakeNetwork(name, "<b>bold</b>", 5, 48)]))
        self.assertFalse("<img" in page or "<b>" in page)
        self.assertIn(name, json.loads(re.search(r'id="table-data">(.*?)</script>', page).group(1))["rows"][0])

    def test_of_500_networks_is_made_in_less_than_ten_seconds_of_work(self):
        large, output = made("large")[0], self.folder / "report.html"
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run = subprocess.run([sys.executable, ANALYSIS / "quantbound-plot", large, "report", "-o", output], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr, run.stdout.strip()), (0, "", str(output)))
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 10.0)
        self.assertLess(output.stat().st_size, 5e6)


@unittest.skipUnless(BROWSER, "chromium is not installed")
class InABrowser(WithResults):
    def answer(self, page, question, window=WIDE):
        """What the script `question` returns in a window of this size. The page stands in a frame: a window of a browser without
        a screen cannot be as narrow as a telephone."""
        (self.folder / "page.html").write_text(page.replace("<body>", "<body>" + WATCH).replace("</body>", ASK.format(question) + "</body>"))
        (self.folder / "frame.html").write_text(FRAME.format(*window))
        run = subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.folder / 'profile'}", f"--window-size={WIDE[0]},{WIDE[1]}",
                              "--virtual-time-budget=20000", "--dump-dom", (self.folder / "frame.html").as_uri()], capture_output=True, text=True, timeout=300)
        found = re.search(r'data-found="([^"]*)"', run.stdout)
        self.assertIsNotNone(found, f"the page did not answer:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
        found = json.loads(found.group(1).replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        self.assertEqual(found["wrong"], [])
        return found["answer"]

    def test_the_table_has_a_row_per_network_with_its_numbers(self):
        path, page = made("small")
        rows = self.answer(page, "return rows();")
        at = qa.open_result(path).sel(quantizer="round", granularity="channel", bits=8).isel(seed=0)
        self.assertEqual([row[0] for row in rows], at.network.values.tolist())
        self.assertEqual([row[1:5] for row in rows], [[str(depth), "round", "channel", "8"] for depth in at.network_depth.values])
        columns = [column["key"] for column in json.loads(re.search(r'id="table-data">(.*?)</script>', page).group(1))["columns"]]
        for key, wanted in (("observed", at.observed_max.max("samples")), ("certified", at.certified.min("method").values.reshape(-1, 2).max(axis=1)),
                            ("attacked", at.attacked.values.reshape(-1, 2).max(axis=1))):
            found = [float(row[columns.index(key)]) for row in rows]
            np.testing.assert_allclose(found, wanted, rtol=1e-2, err_msg=key)

    def test_a_click_on_a_heading_sorts_and_another_turns_it_round(self):
        path, page = made("small")
        found = self.answer(page, """
            change("filter-bits", "");
            const at = [...head("observed").parentNode.cells].indexOf(head("observed")), result = [];
            for (const click of [1, 2]) { head("observed").querySelector("button").click(); result.push([head("observed").ariaSort, rows().map((row) => row[at])]); }
            head("network").querySelector("button").click();
            return [...result, [head("observed").ariaSort, rows().map((row) => row[0])], location.hash];""")
        (up, smallest), (down, largest), (none, names), address = found
        self.assertEqual((up, down, none), ("ascending", "descending", "none"))
        wanted = np.sort(qa.open_result(path).sel(quantizer="round", granularity="channel").observed_max.max("samples").values.ravel())
        self.assertEqual(len(smallest), 25)
        np.testing.assert_allclose([float(text) for text in smallest], wanted[:25], rtol=1e-2)
        np.testing.assert_allclose([float(text) for text in largest], wanted[::-1][:25], rtol=1e-2)
        self.assertEqual(list(dict.fromkeys(names)), ["digits_mlp_5", "digits_mlp_7", "digits_mlp_9", "digits_mlp_11"], "numbers in names are in their order")
        self.assertIn("sort=network", address)

    def test_filters_choose_rows(self):
        counts = self.answer(made("small")[1], """
            const counts = [rows().length];
            change("filter-quantizer", ""); counts.push(rows().length);
            change("filter", "MLP_1"); counts.push(rows().length);
            change("filter", "no such name"); counts.push(rows().length);
            return counts;""")
        self.assertEqual(counts, [4, 8, 2, 0])

    def test_many_rows_come_a_page_at_a_time(self):
        page = made("large")[1]
        ask = 'const first = rows().length; document.querySelectorAll("#more button")[1].click(); return [first, rows().length];'
        self.assertEqual(self.answer(page, ask), [25, 500])
        self.assertEqual(self.answer(page, ask, PHONE), [5, 500])

    def test_a_pointer_on_a_point_shows_its_numbers(self):
        for window in (WIDE, PHONE):
            found = self.answer(made("small")[1], """
                const figure = document.getElementById("figure-bounds-bits"), drawing = figure.querySelector(".drawing");
                const svg = [...drawing.querySelectorAll("svg")].find((svg) => svg.getBoundingClientRect().width > 0);
                svg.scrollIntoView();
                const data = JSON.parse(document.getElementById("figure-data").textContent)[drawing.id];
                const places = svg.closest(".narrow") ? data.narrow : data.wide, at = data.rows.findIndex((row) => row[1] === "certified");
                const point = new DOMPoint(...places[at]).matrixTransform(svg.getScreenCTM());
                const move = (x, y) => svg.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y }));
                move(point.x + 1, point.y - 1);
                const tip = document.getElementById("tip"), box = tip.getBoundingClientRect(), said = tip.textContent, inside = box.left >= 0 && box.right <= innerWidth;
                move(point.x + 2000, point.y);
                return [said, inside, tip.hidden, data.rows[at]];""", window)
            said, inside, gone, row = found
            self.assertIn("certified", said)
            self.assertIn(row[0], said)
            self.assertTrue(inside and gone)

    def test_the_recorded_places_are_where_the_marks_are_drawn(self):
        found = self.answer(made("small")[1], """
            const drawing = document.querySelector("#figure-bound-comparison .drawing"), svg = drawing.querySelector(".wide svg");
            const marks = [...svg.querySelectorAll("use")].map((mark) => mark.getBoundingClientRect()).map((box) => [box.x + box.width / 2, box.y + box.height / 2]);
            return JSON.parse(document.getElementById("figure-data").textContent)[drawing.id].wide.map((place) => {
              const point = new DOMPoint(...place).matrixTransform(svg.getScreenCTM());
              return Math.min(...marks.map(([x, y]) => Math.hypot(x - point.x, y - point.y)));
            });""")
        self.assertEqual(len(found), 3 * 4)
        self.assertLess(max(found), 6.0, "pixels; marks of r_conv stand a little above their row")

    def test_another_network_can_be_chosen(self):
        self.assertEqual(self.answer(made("small")[1], """
            const figure = document.getElementById("figure-sandwich"), choice = figure.querySelector(".choice");
            const shown = () => [...figure.querySelectorAll(".drawing")].map((drawing) => drawing.offsetHeight > 0);
            const before = shown();
            choice.value = choice.options[2].value; choice.dispatchEvent(new Event("change"));
            return [before, shown(), choice.options[2].text];"""),
                         [[True, False, False, False], [False, False, True, False], "digits_mlp_9"])

    def test_nothing_is_cut_in_windows_between(self):
        for window in BETWEEN:
            with self.subTest(window=window):
                found = self.answer(made("small")[1], CUT, window)
                self.assertEqual(found["found"], [])
                self.assertLessEqual(found["scroll"], window[0], "the page can be moved sideways")

    def test_nothing_is_cut_and_nothing_overlaps_on_a_telephone_and_in_a_wide_window(self):
        for name in ("small", "large", "reconstruction"):
            for window in (PHONE, WIDE):
                with self.subTest(result=name, window=window):
                    page = made(name)[1]
                    found, overlaps = self.answer(page, f"return [(() => {{ {CUT} }})(), (() => {{ {OVERLAPS} }})()];", window)
                    self.assertEqual(found["found"], [])
                    self.assertEqual(found["window"], window[0])
                    self.assertLessEqual(found["scroll"], window[0], "the page can be moved sideways")
                    self.assertGreaterEqual(found["pictures"], 4)
                    self.assertEqual(overlaps["found"], [])
                    self.assertGreater(overlaps["texts"], 50)


if __name__ == "__main__":
    unittest.main()
