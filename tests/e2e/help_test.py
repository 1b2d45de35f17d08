"""--help of every verb: what it must say, that its examples run, and that manual pages and completion say the same.

The pages and the completion are made here from the tested program, by the scripts that the build runs.
"""
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import numpy as np

import program
from program import MODELS, REPOSITORY, dense_model

sys.path.insert(0, str(REPOSITORY / "scripts" / "package"))
import help_text  # noqa: E402

PYTHON = "/usr/bin/python3"
COMMANDS = sorted((REPOSITORY / "scripts" / "analysis").glob("quantbound-*"))
PAGES = help_text.of_program(program.BINARY)
VERBS = {name.removeprefix("quantbound-"): text for name, text in PAGES.items() if name != "quantbound"}


def run(*words, **more):
    return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, timeout=500, **more)


class Parser(unittest.TestCase):
    TEXT = """usage: thing do WHAT [options]

Does it.

Options:
  -o [ --output ] FILE.h5 (=x.h5) a file that is
                                  written
  --kind K                        this, that or other: which
  --on                            none or all
Exit codes:
  0   done

Examples:
  thing do it --kind this \\
      --on
      once
"""

    def test_a_text_of_boost(self):
        text = help_text.parse(self.TEXT.replace("all\nExit", "all\n\nExit"), "thing do")
        output, kind, on = text.options
        self.assertEqual((output.names, output.value, output.default, output.text),
                         (["-o", "--output"], "FILE.h5", "x.h5", "a file that is written"))
        self.assertEqual((kind.names, kind.value, kind.choices), (["--kind"], "K", ["this", "that", "other"]))
        self.assertEqual((on.value, on.choices), ("", []))  # a switch has no value to choose
        self.assertEqual([(entry.term, entry.text) for entry in text.section("Examples")], [("thing do it --kind this --on", "once")])
        self.assertEqual([(entry.term, entry.text) for entry in text.section("Exit codes")], [("0", "done")])
        self.assertEqual((text.usage, text.summary), ("thing do WHAT [options]", "does it"))

    def test_a_text_of_argparse(self):
        text = help_text.parse("usage: thing [-h] -o FILE\n             {a,b-c}\n\nDoes it.\n\npositional arguments:\n  {a,b-c}\n\n"
                               "options:\n  -h, --help            show this\n  -o FILE, --output FILE\n                        where to\n", "thing")
        self.assertEqual(text.section("positional arguments")[0].choices, ["a", "b-c"])
        self.assertEqual([(o.names, o.value, o.text) for o in text.options],
                         [(["-h", "--help"], "", "show this"), (["-o", "--output"], "FILE", "where to")])

    def test_what_is_no_help_is_refused(self):
        for text in ("Segmentation fault", "usage: thing\n"):
            with self.assertRaises(ValueError):
                help_text.parse(text, "thing")


class Texts(program.WithFolder):
    def test_every_verb_says_what_a_manual_page_needs(self):
        self.assertGreaterEqual(len(VERBS), 7)
        for verb, text in VERBS.items():
            with self.subTest(verb):
                self.assertTrue(text.usage.startswith(f"quantbound {verb} "))
                self.assertGreaterEqual(len(text.paragraphs), 2, "a summary and a description")
                for title in ("Options", "Files", "Examples", "Exit codes", "Environment"):
                    self.assertTrue(text.section(title), f"no section {title}")
                    for entry in text.section(title):
                        self.assertFalse(entry.term.endswith("\\"), entry.term)
                        self.assertTrue(entry.text, f"{title}: {entry.term} says nothing")
                self.assertLessEqual({"0", "1", "2"}, {entry.term for entry in text.section("Exit codes")})
                for entry in text.section("Examples"):
                    self.assertRegex(entry.term, rf"^(mpirun -n \d+ )?quantbound {verb} ")
        self.assertIn("--version", [name for entry in PAGES["quantbound"].options for name in entry.names])

    def test_every_example_runs(self):
        (self.folder / "configs").symlink_to(REPOSITORY / "configs")
        folder = self.folder / "bin"
        folder.mkdir()
        (folder / "quantbound").symlink_to(program.BINARY)
        environment = program.ENVIRONMENT | {"PATH": f"{folder}:{os.environ['PATH']}"}
        # Those of sweep write what those of show and merge read.
        order = ["sweep", *(verb for verb in VERBS if verb != "sweep")]
        examples = [entry.term for verb in order for entry in VERBS[verb].section("Examples")]
        examples += [entry.term for entry in PAGES["quantbound"].section("Examples") if entry.term not in examples
                     and not entry.term.startswith("mpirun")]
        self.assertGreater(len(examples), 10)
        for example in examples:
            with self.subTest(example):
                done = run("bash", "-c", example, cwd=self.folder, env=environment)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_choice_is_one_that_the_program_takes(self):
        network = self.write("tiny.onnx", dense_model(([[1.5, -2.0], [0.25, 0.25]], [0, 1]), ([[1, -1]], [0])))
        samples = self.folder / "samples.npy"
        np.save(samples, np.linspace(-1, 1, 32, dtype="<f4").reshape(16, 2))
        always = {"bound": ["--box", 0, 1], "certify": ["--box", 0, 1, "--max-seconds", 5], "inspect": [],
                  "quantize": ["-o", self.folder / "out.onnx", "--bits", 4]}
        # What an option needs beside it.
        trained = ["--quantizer", "brecq", "--samples", samples, "--iterations", 2, "--batch", 2]
        beside = {"--layout": ["--quantizer", "gptq", "--samples", samples], "--modules": trained, "--weighting": trained,
                  "--bias-correction": ["--quantizer", "gptq", "--samples", samples], "--split": ["--method", "branch_and_bound"]}
        fitted = {"gptq", "adaround", "brecq", "qdrop", "mrecg", "mrecg_loss"}
        tried = 0
        for verb, words in always.items():
            for option in VERBS[verb].options:
                for choice in option.choices:
                    more = list(beside.get(option.names[-1], []))
                    if choice in fitted:
                        more += ["--samples", samples] + (["--iterations", 2, "--batch", 2] if choice != "gptq" else [])
                    if choice in ("NHWC", "NCHW"):  # for images, which this network does not take: only that it is known
                        continue
                    with self.subTest(verb=verb, option=option.term, choice=choice):
                        done = program.quantbound(verb, network, *words, *more, option.names[-1], choice, folder=self.folder)
                        self.assertEqual(done.code, 0, done.err)
                        tried += 1
        self.assertGreater(tried, 40)
        self.assertEqual({option.names[-1] for option in VERBS["sweep"].options if option.choices}, {"--schedule"})
        study = self.write_study()
        for choice in ("static", "dynamic"):
            done = program.quantbound("sweep", study, "--output", self.folder / f"{choice}.h5", "--schedule", choice)
            self.assertEqual(done.code, 0, done.err)


class Pages(program.WithFolder):
    def setUp(self):
        super().setUp()
        made = run(PYTHON, "-B", REPOSITORY / "scripts" / "package" / "manual_pages.py", program.BINARY, *COMMANDS, "--output", self.folder,
                   env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"})
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        self.pages = {path.name.removesuffix(".1.gz"): gzip.decompress(path.read_bytes()).decode() for path in self.folder.glob("*.1.gz")}

    def test_a_page_for_every_verb_and_command(self):
        self.assertEqual(set(self.pages), set(PAGES) | {path.name for path in COMMANDS})

    def test_formatters_have_nothing_to_complain_about(self):
        for name, page in self.pages.items():
            path = self.write(f"{name}.1", page)
            with self.subTest(name):
                lint = run("mandoc", "-Tlint", "-Wwarning", path)
                self.assertEqual(lint.stdout + lint.stderr, "")
                man = run("man", "--warnings", "-E", "UTF-8", "-l", path, env=os.environ | {"MANWIDTH": "80"})
                self.assertEqual((man.returncode, man.stderr), (0, ""))

    def rendered(self, name):
        path = self.write(f"{name}.1", self.pages[name])
        text = run("mandoc", "-Tutf8", "-O", "width=200", path).stdout
        text = re.sub(".\b", "", text)  # bold and underlined
        return text.replace("\N{MINUS SIGN}", "-").replace("\N{HYPHEN}", "-")

    def test_a_page_says_all_that_the_help_says(self):
        for name, help_of in PAGES.items():
            words = " ".join(self.rendered(name).split())
            with self.subTest(name):
                for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
                    self.assertIn(heading, words)
                for section in help_of.sections:
                    self.assertIn(section.title.upper(), words)
                    for entry in section.entries:
                        for piece in (entry.names or [" ".join(entry.term.split())]):
                            self.assertIn(piece, words)
                        self.assertIn(" ".join(entry.text.split()), words)
                        if entry.default is not None:
                            self.assertIn(f"(default: {entry.default})", words)
                for paragraph in help_of.paragraphs:
                    self.assertIn(" ".join(" ".join(paragraph).split()), words)

    def test_equal_builds_give_equal_pages(self):
        first = {path.name: path.read_bytes() for path in self.folder.glob("*.1.gz")}
        self.setUp()
        self.assertEqual(first, {path.name: path.read_bytes() for path in self.folder.glob("*.1.gz")})


class Completion(program.WithFolder):
    """Bash is asked as it is when somebody presses the tabulator."""

    @classmethod
    def setUpClass(cls):
        cls.support = pathlib.Path("/usr/share/bash-completion/bash_completion")
        if not cls.support.exists():
            raise unittest.SkipTest("bash-completion is not installed")

    def setUp(self):
        super().setUp()
        self.made = self.folder / "completions"
        made = run(PYTHON, "-B", REPOSITORY / "scripts" / "package" / "bash_completion.py", program.BINARY, *COMMANDS, "--output", self.made)
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        self.place = self.folder / "place"
        self.place.mkdir()
        for name in ("study.toml", "net.onnx", "net.nnet", "result.h5", "trace.csv", "x.npy", "prop.vnnlib", "notes.txt"):
            (self.place / name).touch()
        (self.place / "folder").mkdir()

    def complete(self, *words):
        """What is offered for the last of the words."""
        line = " ".join(words)
        script = f"""
            source {self.support}
            source {self.made / words[0]}
            COMP_LINE={line!r} COMP_POINT={len(line)} COMP_WORDS=({' '.join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1} COMP_TYPE=9
            _{words[0].replace('-', '_')} {words[0]} {words[-1]!r} {words[-2]!r}
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = run("bash", "--norc", "-c", script, cwd=self.place)
        # compopt complains outside of a real completion; it changes nothing about what is offered.
        errors = [line for line in done.stderr.splitlines() if "compopt" not in line]
        self.assertEqual(errors, [])
        return sorted(filter(None, done.stdout.split("\n")))

    def test_verbs(self):
        self.assertLessEqual({*VERBS, "help", "--version", "--help"}, set(self.complete("quantbound", "")))
        self.assertEqual(self.complete("quantbound", "sw"), ["sweep"])
        self.assertEqual(self.complete("quantbound", "help", ""), sorted([*VERBS, "result", "study"]))
        self.assertEqual(self.complete("quantbound", "frobnicate", "--"), [])

    def test_every_option_of_every_verb(self):
        for verb, text in VERBS.items():
            self.assertEqual(self.complete("quantbound", verb, "-"), sorted(name for option in text.options for name in option.names), verb)
        self.assertEqual(self.complete("quantbound", "sweep", "study.toml", "--res"), ["--resume"])

    def test_every_option_of_the_commands(self):
        for path in COMMANDS:
            said = run(PYTHON, "-B", path, "--help").stdout
            listed = set(re.findall(r"(?m)^  (?:(-\w)(?: \w+)?, )?(--[\w-]+)", said))
            names = {name for pair in listed for name in pair if name}
            self.assertGreater(len(names), 3)
            self.assertEqual(set(self.complete(path.name, "-")), names)

    def test_values(self):
        self.assertEqual(self.complete("quantbound", "bound", "net.onnx", "--quantizer", ""), ["floor", "round", "stochastic", "truncate"])
        self.assertEqual(self.complete("quantbound", "bound", "net.onnx", "--quantizer", "s"), ["stochastic"])
        self.assertEqual(self.complete("quantbound", "quantize", "net.onnx", "--quantizer", "mr"), ["mrecg", "mrecg_loss"])
        self.assertEqual(self.complete("quantbound", "sweep", "study.toml", "--schedule", ""), ["dynamic", "static"])
        self.assertEqual(self.complete("quantbound", "certify", "net.onnx", "--method", "interval,diff"),
                         [f"interval,difference_{m}" for m in ("crown", "interval", "zonotope")])
        self.assertEqual(self.complete("quantbound", "bound", "net.onnx", "--bits", ""), [])  # a number: nothing to offer
        self.assertEqual(self.complete("quantbound-plot", "result.h5", "gain-"), ["gain-depth"])
        for verb, text in VERBS.items():
            for option in text.options:
                if option.choices:
                    self.assertEqual(self.complete("quantbound", verb, "x", option.names[-1], ""), sorted(option.choices))

    def test_files(self):
        files = lambda *words: [word for word in self.complete(*words) if word != "folder"]
        self.assertEqual(files("quantbound", "sweep", ""), ["study.toml"])
        self.assertEqual(files("quantbound", "plan", ""), ["study.toml"])
        self.assertEqual(files("quantbound", "show", ""), ["result.h5"])
        for verb in ("inspect", "bound", "certify", "quantize"):
            self.assertEqual(files("quantbound", verb, ""), ["net.nnet", "net.onnx"], verb)
        self.assertEqual(files("quantbound", "sweep", "study.toml", "--output", ""), ["result.h5"])
        self.assertEqual(files("quantbound", "sweep", "study.toml", "-o", ""), ["result.h5"])
        self.assertEqual(files("quantbound", "bound", "net.onnx", "--vnnlib", ""), ["prop.vnnlib"])
        self.assertEqual(files("quantbound", "bound", "net.onnx", "--around", ""), ["x.npy"])
        self.assertEqual(files("quantbound", "certify", "net.onnx", "--against", ""), ["net.nnet", "net.onnx"])
        self.assertEqual(files("quantbound", "certify", "net.onnx", "--trace", ""), ["trace.csv"])
        self.assertIn("notes.txt", files("quantbound", "certify", "net.onnx", "--checkpoint", ""))
        self.assertIn("folder", self.complete("quantbound", "sweep", ""))  # it may hold studies
        self.assertLessEqual({"result.h5", "gain-depth"}, set(self.complete("quantbound-plot", "result.h5", "")))

    def test_shellcheck(self):
        if shutil.which("shellcheck") is None:
            self.skipTest("shellcheck is not installed")
        for path in self.made.iterdir():
            # What bash-completion sets for us looks unassigned (2154) or unused (2034).
            done = run("shellcheck", "-s", "bash", "-e", "SC2154,SC2034", path)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
