#!/usr/bin/python3
"""Trains the small networks of configs/models on scikit-learn's handwritten digits and writes them as ONNX files.

    scripts/train/train_digits.py                  all networks and the test split into configs/models
    scripts/train/train_digits.py --check          train again and compare with the files that are there, byte for byte
    scripts/train/train_digits.py --only digits_mlp_5 --output /tmp/models

The same bytes come out on every x86-64 machine: one thread, and only operations whose result IEEE 754 fixes. Hence
einsum in place of BLAS (whose bits depend on the processor), the squared hinge loss in place of softmax (no exp),
uniform He initialisation and numpy's frozen RandomState. Needs Debian's python3-numpy and, for the digits alone,
python3-sklearn (1.2.1).
"""
import argparse
import pathlib
import sys
import time

import numpy as np

import onnx_writer

MODELS = pathlib.Path(__file__).resolve().parents[2] / "configs" / "models"
SEED = 20250202
TEST_SAMPLES = 360
DEPTHS = (5, 7, 9, 11)
HIDDEN_WIDTH = 48
EPOCHS = 120
BATCH = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4


def product(a, b):
    """a b^T by a plain C loop over the last axis of both."""
    return np.einsum("ik,jk->ij", np.ascontiguousarray(a), np.ascontiguousarray(b))


class Dense:
    """y = W x + b, or y = W x; He initialisation, uniform."""

    def __init__(self, random, inputs, outputs, bias):
        limit = np.sqrt(6.0 / inputs)
        self.parameters = [limit * (2.0 * random.random_sample((outputs, inputs)) - 1.0)]
        if bias == "bias":
            self.parameters.append(np.zeros(outputs))

    def forward(self, x):
        self.x = x
        y = product(x, self.parameters[0])
        return y + self.parameters[1] if len(self.parameters) == 2 else y

    def backward(self, dy):
        self.gradients = [product(dy.T, self.x.T), dy.sum(axis=0)][: len(self.parameters)]
        return product(dy, self.parameters[0].T)

    def onnx(self, name):
        values = [(f"{name}.{key}", p.astype("<f4")) for key, p in zip(("weight", "bias"), self.parameters)]
        return "Gemm", values, {"transB": 1}


class Convolution:
    """3x3 convolution with padding 1 and no bias: Thm 4.4 of arXiv 2502.01156 is about networks of this kind."""

    def __init__(self, random, channels_in, channels_out):
        limit = np.sqrt(6.0 / (9 * channels_in))
        self.parameters = [limit * (2.0 * random.random_sample((channels_out, channels_in, 3, 3)) - 1.0)]

    def forward(self, x):
        self.shape = x.shape
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
        self.patches = np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(-1, 9 * x.shape[1])
        kernel = self.parameters[0]
        y = product(self.patches, kernel.reshape(kernel.shape[0], -1))
        return np.ascontiguousarray(y.reshape(x.shape[0], *x.shape[2:], -1).transpose(0, 3, 1, 2))

    def backward(self, dy):
        kernel = self.parameters[0]
        rows = np.ascontiguousarray(dy.transpose(0, 2, 3, 1)).reshape(-1, kernel.shape[0])
        self.gradients = [product(rows.T, self.patches.T).reshape(kernel.shape)]
        batch, channels, height, width = self.shape
        patches = product(rows, kernel.reshape(kernel.shape[0], -1).T).reshape(batch, height, width, channels, 3, 3)
        dx = np.zeros((batch, channels, height + 2, width + 2))
        for i in range(3):
            for j in range(3):
                dx[:, :, i : i + height, j : j + width] += patches[..., i, j].transpose(0, 3, 1, 2)
        return dx[:, :, 1:-1, 1:-1]

    def onnx(self, name):
        attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
        return "Conv", [(f"{name}.weight", self.parameters[0].astype("<f4"))], attributes


class Relu:
    parameters = ()

    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive

    def onnx(self, name):
        return "Relu", [], {}


class AveragePool:
    """Mean over `window` x `window` squares that do not overlap."""

    parameters = ()

    def __init__(self, window):
        self.window = window

    def forward(self, x):
        k = self.window
        return x.reshape(*x.shape[:2], x.shape[2] // k, k, x.shape[3] // k, k).sum(axis=(3, 5)) / (k * k)

    def backward(self, dy):
        return np.repeat(np.repeat(dy, self.window, axis=2), self.window, axis=3) / self.window**2

    def onnx(self, name):
        return "AveragePool", [], {"kernel_shape": [self.window] * 2, "strides": [self.window] * 2}


class Reshape:
    parameters = ()

    def __init__(self, sizes):
        self.sizes = sizes

    def forward(self, x):
        self.shape = x.shape
        return x.reshape(-1, *self.sizes)

    def backward(self, dy):
        return dy.reshape(self.shape)

    def onnx(self, name):
        return "Reshape", [(f"{name}.shape", np.array([-1, *self.sizes], dtype="<i8"))], {}


def mlp(depth):
    """`depth` weight layers with biases: 64 - 48 - ... - 48 - 10."""
    random = np.random.RandomState([SEED, depth])
    widths = [64] + [HIDDEN_WIDTH] * (depth - 1) + [10]
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [Dense(random, inputs, outputs, "bias"), Relu()]
    return layers[:-1], random


def cnn():
    """Four 3x3 convolutions and a linear layer, none with a bias."""
    random = np.random.RandomState([SEED, 100])
    layers = [Reshape([1, 8, 8])]
    for channels_in, channels_out in ((1, 12), (12, 12)):
        layers += [Convolution(random, channels_in, channels_out), Relu()]
    layers.append(AveragePool(2))
    for channels_in, channels_out in ((12, 24), (24, 24)):
        layers += [Convolution(random, channels_in, channels_out), Relu()]
    layers += [AveragePool(4), Reshape([24]), Dense(random, 24, 10, "no bias")]
    return layers, random


NETWORKS = {f"digits_mlp_{depth}": lambda depth=depth: mlp(depth) for depth in DEPTHS} | {"digits_cnn": cnn}


def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def squared_hinge(scores, labels):
    """Gradient of the mean over samples of sum_k max(0, 1 - t_k s_k)^2 with t_k = +1 for the label and -1 elsewhere."""
    target = np.where(np.arange(10) == labels[:, None], 1.0, -1.0)
    return -2.0 * target * np.maximum(0.0, 1.0 - target * scores) / len(labels)


class Adam:
    """Adam with decoupled weight decay. Bias corrections are running products: pow() is not exact everywhere."""

    def __init__(self, layers):
        self.layers = [layer for layer in layers if len(layer.parameters)]
        self.moments = [[(np.zeros_like(p), np.zeros_like(p)) for p in layer.parameters] for layer in self.layers]
        self.decay1 = self.decay2 = 1.0

    def step(self, rate):
        self.decay1 *= 0.9
        self.decay2 *= 0.999
        for layer, moments in zip(self.layers, self.moments):
            for p, g, (m, v) in zip(layer.parameters, layer.gradients, moments):
                m *= 0.9
                m += 0.1 * g
                v *= 0.999
                v += 0.001 * (g * g)
                p -= rate * (m / (1.0 - self.decay1) / (np.sqrt(v / (1.0 - self.decay2)) + 1e-8) + WEIGHT_DECAY * p)


def train(layers, random, x, y):
    optimizer = Adam(layers)
    for epoch in range(EPOCHS):
        rate = LEARNING_RATE * (1.0 - epoch / EPOCHS)
        order = random.permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            gradient = squared_hinge(forward(layers, x[chosen]), y[chosen])
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            optimizer.step(rate)


def accuracy(layers, x, y):
    return float(np.mean(np.argmax(forward(layers, x), axis=1) == y))


def load_digits():
    """Pixels 0..16 as uint8 and labels, in the fixed order whose first TEST_SAMPLES are the test split."""
    try:
        import sklearn.datasets
    except ImportError:
        sys.exit("train_digits.py: error: no scikit-learn (Debian: apt-get install python3-sklearn)")
    digits = sklearn.datasets.load_digits()
    order = np.random.RandomState(SEED).permutation(len(digits.target))
    return digits.data[order].astype(np.uint8), digits.target[order].astype(np.uint8)


def npy_bytes(array):
    """A version 1.0 .npy file."""
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes()


def onnx_bytes(name, layers):
    steps, weight_layers = [], 0
    for layer in layers:
        weight_layers += bool(len(layer.parameters))
        steps.append(layer.onnx(f"layer{weight_layers}"))
    doc = "Trained on the UCI optdigits (CC BY 4.0, via scikit-learn) by scripts/train/train_digits.py"
    return onnx_writer.chain_model(name, [64], steps, [10], doc)


def produce(names):
    """Yields (file name, bytes) of everything asked for; trains on the way and prints the accuracies."""
    pixels, labels = load_digits()
    yield "digits_test_x.npy", npy_bytes(pixels[:TEST_SAMPLES])
    yield "digits_test_y.npy", npy_bytes(labels[:TEST_SAMPLES])
    x = pixels / 16.0
    test, training = (x[:TEST_SAMPLES], labels[:TEST_SAMPLES]), (x[TEST_SAMPLES:], labels[TEST_SAMPLES:])
    for name in names:
        start = time.monotonic()
        layers, random = NETWORKS[name]()
        train(layers, random, *training)
        for layer in layers:  # what is stored is what is measured
            for parameter in layer.parameters:
                parameter[...] = parameter.astype(np.float32)
        data = onnx_bytes(name, layers)
        print(f"{name}: test accuracy {accuracy(layers, *test):.4f}, training {accuracy(layers, *training):.4f}, "
              f"{sum(p.size for layer in layers for p in layer.parameters)} parameters, {len(data)} bytes, "
              f"{time.monotonic() - start:.0f} s", flush=True)
        yield f"{name}.onnx", data


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="train these networks alone")
    parser.add_argument("--output", type=pathlib.Path, default=MODELS, help="directory (default: configs/models)")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the files in the directory")
    arguments = parser.parse_args()
    if not arguments.check:
        arguments.output.mkdir(parents=True, exist_ok=True)
    different = []
    for name, data in produce(arguments.only):
        path = arguments.output / name
        if not arguments.check:
            path.write_bytes(data)
        elif not path.is_file() or path.read_bytes() != data:
            different.append(name)
    if different:
        sys.exit(f"train_digits.py: error: not the same bytes: {', '.join(different)} ({arguments.output})")
    print("the same bytes as before" if arguments.check else f"written to {arguments.output}")


if __name__ == "__main__":
    main()
