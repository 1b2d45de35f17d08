"""What docs/analysis.md says in Python is so, and scripts/analysis/quickstart.ipynb runs from its first cell to its last, on results that the program makes, and is stored
without outputs. Its code is run as it stands; where Debian's python3-nbclient and python3-ipykernel are there, in a real kernel
too."""
import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import unittest
import unittest.mock

from program import REPOSITORY, WithFolder, quantbound

ANALYSIS = REPOSITORY / "scripts" / "analysis"
NOTEBOOK = ANALYSIS / "quickstart.ipynb"
IN_A_KERNEL = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
print(sum("image/svg+xml" in output.get("data", {}) for output in shown))
"""


def code_cells():
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


class WithResults(WithFolder):
    def results(self):
        """Both studies, made smaller: what the notebook says of them has to hold all the same."""
        quick, wide = self.folder / "quickstart.h5", self.folder / "width_depth.h5"
        for study, output, smaller in ((REPOSITORY / "configs" / "quickstart.toml", quick, ("quantization.bits=[4,8]", "observe.uniform=64", "certify.method=['difference_interval']",
                                                                                         "observe.attack={starts=1,steps=2}")),
                                       (REPOSITORY / "configs" / "paper" / "width_depth.toml", wide, ("network.0.width=[16,32]", "network.0.draws=5", "observe.uniform=8"))):
            run = quantbound("sweep", study, "--output", output, *(word for change in smaller for word in ("--set", change)))
            self.assertEqual(run.code, 0, run.err)
        return {"QUANTBOUND_QUICKSTART": str(quick), "QUANTBOUND_WIDTH_DEPTH": str(wide), "QUANTBOUND_ANALYSIS": str(ANALYSIS)}


class Guide(WithResults):
    PAGE = (REPOSITORY / "docs" / "analysis.md").read_text()

    def test_its_python_runs_where_a_reader_runs_it(self):
        self.results()
        (self.folder / "scripts").symlink_to(REPOSITORY / "scripts")
        blocks = re.findall(r"^```python\n(.*?)^```", self.PAGE, re.M | re.S)
        self.assertEqual(len(blocks), 3)
        run = subprocess.run([sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, cwd=self.folder)  # one after the other
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue((self.folder / "sandwich.pdf").read_bytes().startswith(b"%PDF"))

    def test_its_table_has_every_figure(self):
        said = subprocess.run([sys.executable, ANALYSIS / "quantbound-plot", "--help"], capture_output=True, text=True).stdout
        figures = max(re.findall(r"\{([a-z,-]+)\}", said), key=len).split(",")
        self.assertEqual(sorted(re.findall(r"^\| `([a-z-]+)` \|", self.PAGE, re.M)), sorted(set(figures) - {"report"}))


class Notebook(WithResults):
    def test_is_stored_without_outputs(self):
        notebook = json.loads(NOTEBOOK.read_text())
        self.assertEqual(notebook["nbformat"], 4)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        self.assertGreater(len(cells), 5)
        for cell in cells:
            self.assertEqual((cell["outputs"], cell["execution_count"]), ([], None))

    def test_runs_from_the_first_cell_to_the_last(self):
        with unittest.mock.patch.dict(os.environ, self.results()):
            names, said = {}, io.StringIO()
            with contextlib.redirect_stdout(said):
                for number, source in enumerate(code_cells()):
                    exec(compile(source, f"cell {number}", "exec"), names)
        self.assertIn("digits_mlp_11", said.getvalue())
        self.assertIn("50 networks, [5, 10, 20, 30, 40] layers", said.getvalue())
        self.assertRegex(said.getvalue(), r"MB of HTML, title: quantbound study quickstart")

    @unittest.skipUnless(all(map(importlib.util.find_spec, ("nbclient", "nbformat", "ipykernel"))), "python3-nbclient and python3-ipykernel are not installed")
    def test_runs_in_a_kernel_and_shows_its_figures(self):
        environment = os.environ | self.results() | {"IPYTHONDIR": str(self.folder), "JUPYTER_RUNTIME_DIR": str(self.folder), "HOME": str(self.folder)}
        run = subprocess.run([sys.executable, "-c", IN_A_KERNEL, NOTEBOOK], capture_output=True, text=True, cwd=ANALYSIS, env=environment)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout.strip(), "5", "figures shown")


if __name__ == "__main__":
    unittest.main()
