"""Training again gives the committed bytes; the test split and the accuracies are those of configs/models/README.md."""
import importlib.util
import pathlib
import re
import subprocess
import sys
import unittest

import numpy as np

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MODELS = REPOSITORY / "configs" / "models"


class TrainDigits(unittest.TestCase):
    @unittest.skipUnless(importlib.util.find_spec("sklearn"), "scikit-learn is not installed (python3-sklearn)")
    def test_the_two_smallest_networks_come_out_byte_for_byte(self):
        script = REPOSITORY / "scripts" / "train" / "train_digits.py"
        run = subprocess.run([sys.executable, script, "--check", "--only", "digits_mlp_5", "digits_mlp_7"],
                             capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        stated = re.findall(r"`(digits_mlp_[57])\.onnx`.*?([\d.]+) % ", (MODELS / "README.md").read_text())
        for name, percent in stated:
            measured = re.search(rf"{name}: test accuracy ([\d.]+)", run.stdout)[1]
            self.assertAlmostEqual(float(measured), float(percent) / 100, places=4)
        self.assertEqual(len(stated), 2)

    def test_the_split_is_what_numpy_reads(self):
        x, y = np.load(MODELS / "digits_test_x.npy"), np.load(MODELS / "digits_test_y.npy")
        self.assertEqual((x.shape, x.dtype, y.shape, y.dtype), ((360, 64), np.uint8, (360,), np.uint8))
        self.assertEqual((x.min(), x.max(), y.min(), y.max()), (0, 16, 0, 9))


if __name__ == "__main__":
    unittest.main()
