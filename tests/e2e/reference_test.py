"""docs/study.md and docs/result.md are what `quantbound help` prints, and that is what the parser and the writer do: a result
file holds what the reference lists and nothing else, and docs/design.md names the same keys and variables.

After a change: build/bin/quantbound help study > docs/study.md; build/bin/quantbound help result > docs/result.md
"""
import pathlib
import re
import tempfile
import tomllib
import unittest

import h5py

from program import MODELS, quantbound, toml
from references import attributes_of, entries, found_in, names_and_dimensions

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def printed(topic):
    run = quantbound("help", topic)
    assert run.code == 0, run.err
    return run.out


class Pages(unittest.TestCase):
    def test_the_pages_are_what_the_program_prints(self):
        for topic in ("study", "result"):
            self.assertEqual(printed(topic), (DOCS / f"{topic}.md").read_text(),
                             f"docs/{topic}.md is stale: build/bin/quantbound help {topic} > docs/{topic}.md")

    def test_help_of_a_verb_is_still_that_of_the_verb(self):
        self.assertIn("usage: quantbound show RESULTS", quantbound("help", "show").out)
        wrong = quantbound("help", "studdy")
        self.assertEqual(wrong.code, 2)
        self.assertIn("no verb 'studdy'", wrong.err)


class Design(unittest.TestCase):
    def setUp(self):
        self.sections = (DOCS / "design.md").read_text().split("\n## ")

    def section(self, number):
        return next(section for section in self.sections if section.startswith(f"{number}. "))

    def keys(self):
        return entries(printed("study"))

    def test_every_key_of_the_example_is_declared_and_every_key_is_spoken_of(self):
        chapter = self.section(5)
        example = tomllib.loads(re.search(r"```toml\n(.*?)```", chapter, re.S)[1])
        keys = self.keys()
        self.assertEqual(set(example) - set(keys["The file"]), set())
        for table, value in example.items():
            known = {key for title in keys if title.split(" with ")[0].strip("[]") == table for key in keys[title]}
            for entry in value if isinstance(value, list) else [value]:
                self.assertEqual(set(entry) - known, set(), table)
        for title, section in keys.items():
            for key in section:
                self.assertRegex(chapter, rf"\b{key}\b", f"{title} {key}")

    def test_every_variable_is_spoken_of_and_no_other(self):
        table = re.search(r"\| variable \|.*?\n\n?(?!\|)", self.section(6), re.S)[0]
        named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
        reference = entries(printed("result"))
        known = {*reference["Variables"], *reference["Text"], *reference["Group /provenance"]}
        self.assertEqual(named - known, set())
        spoken_of = set(re.findall(r"\w+", self.section(6)))
        self.assertEqual(({*reference["Variables"], *reference["Text"]}) - spoken_of, set())


class ResultFile(unittest.TestCase):
    def test_holds_what_the_reference_lists_and_nothing_else(self):
        images, labels = MODELS / "digits_test_x.npy", MODELS / "digits_test_y.npy"
        sets = [{"name": "fit", "images": images, "scale": 16.0, "role": "calibration", "rows": [0, 16]},
                {"name": "test", "images": images, "labels": labels, "scale": 16.0, "rows": [100, 8]}]
        study = {"study": {"name": "everything"},
                 "network": [{"file": MODELS / "digits_mlp_5.onnx", "domain": {"low": 0.0, "high": 1.0}}],
                 "samples": sets,
                 "quantization": {"quantizer": ["round", "cle_round"], "bits": 4},
                 "certify": {"method": "difference_interval"},
                 "observe": {"samples": ["test"], "per_sample": True, "attack": {"starts": 1, "steps": 1}},
                 "reconstruct": {"samples": "fit"}}
        reference = entries(printed("result"))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "study.toml")
            path.write_text(toml(study))
            run = quantbound("sweep", path, "--output", pathlib.Path(folder, "everything.h5"))
            self.assertEqual(run.code, 0, run.err)
            with h5py.File(pathlib.Path(folder, "everything.h5")) as file:
                variables, axes = found_in(file)
                self.assertEqual(axes, set(reference["Dimensions"]))
                self.assertEqual(variables, names_and_dimensions(
                    {name: dimensions for title in ("Variables", "Text", "Coordinates")
                     for name, dimensions in reference[title].items()}))
                self.assertEqual(set(file) - set(variables) - axes, {"failures", "provenance"})
                self.assertEqual(attributes_of(file), set(reference["Attributes"]))
                self.assertEqual(attributes_of(file["provenance"]), set(reference["Attributes of /provenance"]))
                for group in ("failures", "provenance"):
                    variables, axes = found_in(file[group])
                    listed = reference[f"Group /{group}"]
                    self.assertEqual(set(variables) | {axis for axis in axes if axis not in reference["Dimensions"]}, set(listed))
                    for name, dimensions in variables.items():
                        self.assertEqual(dimensions, names_and_dimensions(listed)[name], name)


if __name__ == "__main__":
    unittest.main()
