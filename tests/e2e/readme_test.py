"""Every command that README.md and docs/*.md show in a `console` block gives the output shown there.

A block holds lines `$ command` followed by what it prints; a line `...` stands for any number of lines. Of a column `seconds`
only that it holds numbers is checked; what a search finds (`attacked`, and `gap`) may differ by a quarter, because its path turns
on the last bits of a gradient. Commands run in the repository with the tested program as build/bin/quantbound and a
scratch folder for result files.
"""
import math
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


def steps(block):
    """(command, expected output) pairs of one block."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(output)) for command, output in found]


# How far numbers of a column may differ. Measured deviations differ in the last digits from processor to processor; times cannot
# be foretold.
TOLERANCE, LOOSE = 2e-3, {"seconds": math.inf, "attacked": 0.25, "gap": 0.25}


def same_word(expected, word, tolerance=TOLERANCE):
    """Equal, or numbers that agree that far."""
    if expected == word:
        return True
    try:
        a, b = float(expected), float(word)
    except ValueError:
        return False
    return math.isfinite(a) and math.isfinite(b) and math.isclose(a, b, rel_tol=min(tolerance, 1e300))


def same_line(expected, line, loose):
    """`loose`: {column: tolerance} of the table the line is in."""
    wanted, found = expected.split(), line.split()
    return len(wanted) == len(found) and all(
        same_word(a, b, loose.get(column, TOLERANCE)) for column, (a, b) in enumerate(zip(wanted, found)))


def loose_columns(head):
    return {column: LOOSE[word] for column, word in enumerate(head.split()) if word in LOOSE}


def matches(expected, output, loose={}):
    """Whether the output is the expected text, word by word; a line `...` matches any number of lines."""
    wanted, found = expected.splitlines(), output.splitlines()
    if not wanted:
        return not found
    if wanted[0].strip() == "...":
        rest = "\n".join(wanted[1:])
        return any(matches(rest, "\n".join(found[k:])) for k in range(len(found) + 1))
    below = loose_columns(wanted[0]) or (loose if wanted[0].strip() else {})  # an empty line ends a table
    return (bool(found) and same_line(wanted[0], found[0], loose)
            and matches("\n".join(wanted[1:]), "\n".join(found[1:]), below))


class Pages(unittest.TestCase):
    def test_every_console_block_tells_the_truth(self):
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                           OMPI_MCA_rmaps_base_oversubscribe="1")
        count = 0
        with tempfile.TemporaryDirectory() as folder:
            # Result files go to the scratch folder; everything else is where the reader has it.
            for name in ("configs", "scripts", "docs"):
                os.symlink(REPOSITORY / name, pathlib.Path(folder, name))
            os.makedirs(pathlib.Path(folder, "build/bin"))
            os.symlink(os.environ["QUANTBOUND_BIN"], pathlib.Path(folder, "build/bin/quantbound"))
            for page in PAGES:
                for block in BLOCK.findall(page.read_text()):
                    for command, expected in steps(block):
                        run = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
                        self.assertEqual(run.returncode, 0, f"{page.name}: {command}\n{run.stderr}")
                        self.assertTrue(matches(expected, run.stdout), f"{page.name}: {command}\nprints\n{run.stdout}\nnot\n{expected}")
                        count += 1
        self.assertGreater(count, 3)

    def test_the_comparison_can_fail(self):
        self.assertTrue(matches("a\n...\nd", "a\nb\nc\nd"))
        self.assertTrue(matches("a\n...", "a\nb\nc"))
        self.assertFalse(matches("a\n...\nd", "a\nb\nc"))
        self.assertFalse(matches("a", "b"))
        self.assertTrue(matches("a 1.000", "a  1.001"))
        self.assertFalse(matches("a 1.00", "a 1.01"))
        self.assertTrue(matches("name seconds\na 1.0", "name  seconds\na     7.5"))
        self.assertFalse(matches("name seconds\na 1.0", "name  seconds\na     long"))
        self.assertFalse(matches("name seconds value\na 1.0 2", "name  seconds value\na     7.5  3"))
        self.assertFalse(matches("name seconds\na 1.0\n\nb 1.0", "name  seconds\na     1.0\n\nb 7.5"))
        self.assertTrue(matches("name attacked seen\na 1.0 2", "name  attacked seen\na     1.2  2"))
        self.assertFalse(matches("name attacked seen\na 1.0 2", "name  attacked seen\na     1.5  2"))
        self.assertFalse(matches("name attacked seen\na 1.0 2", "name  attacked seen\na     1.0  2.2"))


if __name__ == "__main__":
    unittest.main()
