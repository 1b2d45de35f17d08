"""What the pages name is there: files, tests, bounds and methods."""
import itertools
import pathlib
import re
import unittest

from program import REPOSITORY, quantbound

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
# From where pages write paths: the repository, the public headers, the sources.
ROOTS = [REPOSITORY, REPOSITORY / "include" / "quantbound", REPOSITORY / "src", REPOSITORY / "docs"]
SOURCES = ("cpp", "hpp", "inl", "py", "toml", "md", "sh")


def named_sources(text):
    """Paths of sources in backticks."""
    return [path for path in re.findall(r"`([\w-]+(?:/[\w.-]+)+)`", text) if path.rpartition(".")[2] in SOURCES and "NAME" not in path]


def links(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)
            if target.partition("#")[0] and not target.startswith("http")]


def words_of(key):
    """The words that a key of the study file may have."""
    item = re.search(rf"^- `{key}` \((.*?)\): ", quantbound("help", "study").out.replace("\n  ", " "), re.M)[1]
    return [word for word in re.findall(r'"(\w+)"', item) if word != "all"]


class Pages(unittest.TestCase):
    def test_every_link_and_every_source_that_is_named_exists(self):
        count = 0
        for page in PAGES:
            text = page.read_text()
            for link in links(text):
                self.assertTrue((page.parent / link).exists(), f"{page.name}: {link}")
                count += 1
            for path in named_sources(text):
                self.assertTrue(any((root / path).exists() for root in ROOTS), f"{page.name}: {path}")
                count += 1
        self.assertGreater(count, 100)

    def test_every_page_is_linked(self):
        reachable, waiting = set(), [REPOSITORY / "README.md"]
        while waiting:
            page = waiting.pop().resolve()
            if page in reachable:
                continue
            reachable.add(page)
            waiting += [page.parent / link for link in links(page.read_text()) if link.endswith(".md")]
        self.assertEqual({page.resolve() for page in PAGES} - reachable, set())

    def test_every_test_that_is_named_exists(self):
        sources = itertools.chain((REPOSITORY / "tests").glob("unit/*/*_test.cpp"), (REPOSITORY / "tests").glob("soundness/*_test.cpp"))
        tests = {".".join(found) for source in sources for found in re.findall(r"^TEST(?:_[FP])?\((\w+), (\w+)\)", source.read_text(), re.M)}
        named = re.findall(r"`([A-Z]\w+\.[A-Z]\w+)`", (REPOSITORY / "docs" / "proofs.md").read_text())
        self.assertGreater(len(named), 15)
        self.assertEqual(set(named) - tests, set())

    def test_every_bound_and_every_method_has_its_rows(self):
        theories, methods = words_of("theory"), words_of("method")
        self.assertIn("gonon", theories)
        self.assertIn("star", methods)
        for page, names in (("bounds.md", theories), ("certify.md", methods), ("proofs.md", theories + methods)):
            rows = [row.split("|")[1] for row in (REPOSITORY / "docs" / page).read_text().splitlines() if row.startswith("| `")]
            named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
            self.assertEqual(set(names) - named, set(), page)


if __name__ == "__main__":
    unittest.main()
