"""Every study in configs/ can be planned from a clean clone; the quickstart study runs, holds and can be drawn."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "configs"
sys.path.insert(0, str(REPOSITORY / "scripts" / "analysis"))

import numpy as np  # noqa: E402
import quantbound_analysis as qa  # noqa: E402
from quantbound_analysis import modules  # noqa: E402

NETWORKS = {"quickstart.toml": 5, "paper/depth.toml": 4 + 24, "paper/width_depth.toml": 210, "paper/gains.toml": 1 + 3 + 9,
            "paper/real_networks.toml": 6, "paper/acas.toml": 23 * 4, "paper/mnist_certify.toml": 5 * 3, "paper/cnn_certify.toml": 4,
            "paper/cnn_accuracy.toml": 3, "paper/reconstruction.toml": 3, "paper/oscillation.toml": 2, "paper/granularity.toml": 1,
            "paper/batch_size.toml": 1, "paper/modules.toml": 1, "paper/rounding.toml": 1, "paper/equalization.toml": 1,
            "paper/qebverif.toml": 3, "paper/depth_mnist.toml": 7, "paper/bits.toml": 4 * 3 * 3, "examples/first.toml": 2,
            "examples/rounding.toml": 1}
# Studies of networks that are not ours to ship.
BORROWED = {"paper/real_networks.toml", "paper/acas.toml", "paper/mnist_certify.toml", "paper/cnn_certify.toml", "paper/cnn_accuracy.toml",
            "paper/reconstruction.toml", "paper/oscillation.toml", "paper/granularity.toml", "paper/batch_size.toml", "paper/modules.toml",
            "paper/rounding.toml", "paper/equalization.toml", "paper/qebverif.toml", "paper/depth_mnist.toml"}


def quantbound(*words):
    return subprocess.run([os.environ["QUANTBOUND_BIN"], *map(str, words)], capture_output=True, text=True)


class Configs(unittest.TestCase):
    def plan(self, study, *words):
        run = quantbound("plan", CONFIGS / study, "--json", *words)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return json.loads(run.stdout)

    def test_every_study_has_the_networks_it_names(self):
        found = sorted(path.relative_to(CONFIGS).as_posix() for top in (".", "paper", "examples") for path in (CONFIGS / top).glob("*.toml"))
        self.assertEqual(found, sorted(NETWORKS))
        for study, networks in NETWORKS.items():
            if study in BORROWED and not (CONFIGS / "paper" / "data").exists():
                refused = quantbound("plan", CONFIGS / study)
                self.assertEqual(refused.returncode, 2)
                self.assertIn("paper/data/", refused.stderr)
                continue
            self.assertEqual(self.plan(study)["networks"], networks, study)

    def test_every_study_of_a_paper_says_how_to_run_it_and_what_it_repeats(self):
        page = (REPOSITORY / "docs" / "papers.md").read_text()
        for study in (CONFIGS / "paper").glob("*.toml"):
            head = study.read_text().split("[study]")[0]
            self.assertIn(f"sweep configs/paper/{study.name}", head, study.name)
            self.assertRegex(head, r"quantbound-plot \S+\.h5 [a-z]|picture.*docs/papers\.md", study.name)
            self.assertRegex(page, rf"\b{study.stem}\b", study.name)

    def test_gains_takes_other_networks(self):
        files = json.dumps([str(CONFIGS / "models" / f"digits_mlp_{depth}.onnx") for depth in (5, 7)])
        self.assertEqual(self.plan("paper/gains.toml", "--set", f"network.0.file={files}")["networks"], 2 + 3 + 9)


class Quickstart(unittest.TestCase):
    def test_a_smaller_quickstart_from_study_to_pictures(self):
        files = json.dumps([str(CONFIGS / "models" / f"digits_{name}.onnx") for name in ("mlp_5", "mlp_7", "cnn")])
        with tempfile.TemporaryDirectory() as folder:
            result = pathlib.Path(folder, "small.h5")
            run = quantbound("sweep", CONFIGS / "quickstart.toml", "--output", result, "--set", f"network.0.file={files}",
                             "--set", "quantization.bits=[3, 8]", "--set", "observe.uniform=256", "--threads", "1")
            self.assertEqual(run.returncode, 0, run.stderr)
            ds = qa.open_result(result)
            for figure in (qa.gain_depth(ds), qa.bounds_bits(ds, "digits_cnn"), qa.sandwich(ds, "digits_mlp_7", methods=True)):
                picture = pathlib.Path(folder, "picture.png")
                qa.save(figure, picture)
                self.assertGreater(picture.stat().st_size, 10000)
        # What scripts/train measured in double, counted again by the program.
        right = (ds.accuracy_reference.sel(samples="digits") * 360).round().astype(int)
        self.assertEqual(right.values.tolist(), [352, 355, 357])
        self.assertTrue((ds.status == 1).all())
        self.assertTrue((np.log10(ds.observed_max) <= ds.log10_bound.min("theory")).all())
        self.assertTrue((ds.attacked <= ds.certified).all())
        self.assertTrue((ds.observed_max.max("samples").values <= ds.certified.min("method").values).all())
        self.assertTrue((ds.bound_applicable.sel(network="digits_cnn", theory="houache_conv") == 1).all())


RECONSTRUCTION = """
[study]
name = "small"
seed = 1
[[network]]
file = ["{models}/digits_cnn.onnx"]
domain = {{ low = 0.0, high = 1.0 }}
[[samples]]
name = "digits"
images = "{models}/digits_test_x.npy"
labels = "{models}/digits_test_y.npy"
layout = "flat"
scale = 16.0
rows = [180, 180]
[[samples]]
name = "calibration"
role = "calibration"
images = "{models}/digits_test_x.npy"
layout = "flat"
scale = 16.0
rows = [0, 64]
[quantization]
quantizer = ["cle_round", "gptq", "brecq", "mrecg"]
granularity = "channel"
bits = [3, 2]
edge_bits = 8
seed = [1, 2]
[bounds]
theory = ["gonon"]
[observe]
samples = ["digits"]
[reconstruct]
samples = "calibration"
iterations = 20
learning_rate = 0.05
batch = 8
"""


class Reconstruction(unittest.TestCase):
    """What tests/e2e/analysis_test.py draws from made-up files, once from real ones."""

    def test_a_small_study_from_sweep_to_pictures(self):
        with tempfile.TemporaryDirectory() as folder:
            study = pathlib.Path(folder, "small.toml")
            study.write_text(RECONSTRUCTION.format(models=CONFIGS / "models"))
            files = []
            for batch in (8, 16):
                result = pathlib.Path(folder, f"{batch}.h5")
                run = quantbound("sweep", study, "--output", result, "--set", f"reconstruct.batch={batch}", "--threads", "1")
                self.assertEqual(run.returncode, 0, run.stderr)
                files.append(qa.open_result(result))
            for figure in (qa.module_loss(files[0]), qa.loss_correlation(files), qa.batch_size(files), qa.pareto(files), qa.pareto(files, variable="observed_max")):
                picture = pathlib.Path(folder, "picture.png")
                qa.save(figure, picture)
                self.assertGreater(picture.stat().st_size, 10000)
        table = qa.reconstruction_table(files[0])
        self.assertEqual(len([line for line in table.splitlines() if line.startswith("| digits_cnn | 2 |")]), 4)
        self.assertNotIn("| - |", table.split("| digits_cnn | float |")[0])
        # What the figures work out from the modules is what the program wrote.
        at = modules.of_network(files[0], "digits_cnn").sel(quantizer="mrecg", granularity="channel", bits=2, seed=1)
        found = modules.modules_of(at)
        self.assertIn(2, found.parts.tolist())
        np.testing.assert_allclose(found.oscillation(), [float(at.oscillation_max), float(at.oscillation_total)])
        self.assertEqual(found.last[-1], 5)
        # Without strides, as in digits_cnn, capacities are sizes.
        of_layers = files[0].module_capacity.sel(quantizer="gptq", granularity="channel", bits=2, seed=1)[files[0].module_kind == "layer"]
        self.assertEqual(modules.weight_bits(files[0], "digits_cnn", 2), float(of_layers.sum()))


if __name__ == "__main__":
    unittest.main()
