"""The verb quantize: the integers, scales and zero points of the file are those of an implementation of our own here, our
engine and ONNX Runtime make of the file what they make of the quantized weights, and the file is as small as the bits say.

ONNX Runtime is that of onnxruntime-node in $QUANTBOUND_NPM (default /tmp/npm, where tests/bench/forward.py installs it);
without it those tests are skipped.
"""
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import time
import unittest

import h5py
import numpy as np
import onnx
import onnx.checker
import onnx.numpy_helper

import program
from program import MODELS, SHARED, dense_model, quantbound, toml

MODULES = pathlib.Path(os.environ.get("QUANTBOUND_NPM", "/tmp/npm")) / "node_modules"
RUNTIME = shutil.which("node") is not None and (MODULES / "onnxruntime-node").exists()
NETWORKS = (MODELS / "digits_mlp_5.onnx", MODELS / "digits_cnn.onnx")
DIGITS_INPUTS = np.load(MODELS / "digits_test_x.npy").reshape(-1, 64).astype(np.float32)[:40] / np.float32(16)
REAL = {name: SHARED / "data" / "models" / name for name in (
    "imagenet/mbv2_1.0_tv_float_folded.onnx", "imagenet/squeezenet1.1_float.onnx", "cifar10/resnet20_cifar10_folded.onnx")}
QUANTIZERS = ("floor", "round", "truncate", "stochastic")
# Numbers of TensorProto.DataType: name, bits, whether there is a sign.
TYPES = {3: ("int8", 8, True), 2: ("uint8", 8, False), 5: ("int16", 16, True), 4: ("uint16", 16, False),
         22: ("int4", 4, True), 21: ("uint4", 4, False)}
USAGE, FAILED, STOPPED = 2, 1, 75
SAMPLES = ("--samples", MODELS / "digits_test_x.npy", "--scale", 16, "--rows", 0, 100)


# ------------------------------------------------------------------------------------------------- what a file contains

def integers(tensor):
    """The elements of an initializer, from its bytes."""
    _, bits, signed = TYPES[tensor.data_type]
    count = int(np.prod(tensor.dims))
    if bits == 4:
        pairs = np.frombuffer(tensor.raw_data, np.uint8)
        assert len(pairs) == (count + 1) // 2
        values = np.stack([pairs & 15, pairs >> 4], 1).reshape(-1)[:count].astype(np.int64)
        values = np.where(values > 7, values - 16, values) if signed else values
    else:
        values = np.frombuffer(tensor.raw_data, f"<{'i' if signed else 'u'}{bits // 8}").astype(np.int64)
    return values.reshape(tuple(tensor.dims))


def weight_layers(model):
    """(node, its weights: one row per output) of a float network whose matrices are transposed already."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weights = onnx.numpy_helper.to_array(tensors[node.input[1]])
            if node.op_type == "Gemm":
                assert [a.i for a in node.attribute if a.name == "transB"] == [1]
            yield node, weights


def integer_layers(model):
    """{name of the node: (type, codes, scales, zero points)}; scales and zero points as the file has them."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    layers = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            maker = makers.pop(node.input[1])
            codes, scales, zeros = (tensors[name] for name in maker.input)
            layers[node.name] = (TYPES[codes.data_type][0], integers(codes), onnx.numpy_helper.to_array(scales), integers(zeros))
            assert codes.data_type == zeros.data_type
            assert [(a.name, a.i) for a in maker.attribute] == ([("axis", 0)] if scales.dims else [])
    assert not makers
    return layers


# ---------------------------------------------------------------------------------------- what the file ought to contain

def quantized(weights, quantizer, granularity, grid, bits):
    """(codes, float32 scales, zero points) of a layer, after docs/theory.md. Stochastic rounding: None for the codes."""
    rows = np.float64(weights).reshape(len(weights), -1)
    if granularity == "tensor":
        rows = rows.reshape(1, -1)
    low, high = np.minimum(rows.min(1), 0), np.maximum(rows.max(1), 0)
    if grid == "symmetric":
        last = 2 ** (bits - 1) - 1
        step, zero = np.maximum(-low, high) / last, np.zeros(len(rows))
        first = -last - 1 if quantizer == "floor" else -last
    else:
        first, last = 0, 2 ** bits - 1
        step = (high - low) / last
        zero = np.clip(np.rint(-low / step), 0, last)
    rounding = {"floor": np.floor, "round": np.rint, "truncate": np.trunc, "stochastic": np.floor}[quantizer]
    steps = rounding(rows / step[:, None])
    limited = np.clip(steps + zero[:, None], first, last)
    if quantizer == "stochastic":  # either neighbour
        limited = np.stack([limited, np.clip(steps + 1 + zero[:, None], first, last)])
    return limited.reshape(*limited.shape[:-2], *weights.shape).astype(np.int64), np.float32(step), zero.astype(np.int64)


def with_weights(model, layers):
    """The float network with these weights: what any engine knows how to run."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in result.graph.initializer}
    for node, _ in weight_layers(model):
        _, codes, scales, zeros = layers[node.name]
        by_row = (-1,) + (1,) * (codes.ndim - 1)
        weights = (codes - zeros.reshape(by_row)).astype(np.float32) * scales.reshape(by_row)
        tensors[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(weights, node.input[1]))
    return result


class Quantizing(program.WithFolder):
    def quantize(self, network, *words, name="out.onnx"):
        """(the answer, the model that was written)"""
        out = self.folder / name
        run = quantbound("quantize", network, *words, "-o", out, "--json")
        self.assertEqual((run.code, run.err), (0, ""))
        self.assertEqual(run.out.count("\n"), 1)
        self.assertFalse(out.with_name(name + ".partial").exists())
        answer = json.loads(run.out)
        self.assertEqual(answer["output"], str(out))
        self.assertEqual((answer["bytes_before"], answer["bytes_after"]), (network.stat().st_size, out.stat().st_size))
        return answer, onnx.load(str(out))

    def outputs(self, inputs, *models, batch=1):
        """Of ONNX Runtime, one array per model (a path or a model)."""
        data = self.folder / "inputs.f32"
        data.write_bytes(np.ascontiguousarray(inputs, "<f4").tobytes())
        paths = [self.write(f"model{i}.onnx", m.SerializeToString()) if isinstance(m, onnx.ModelProto) else m
                 for i, m in enumerate(models)]
        script = pathlib.Path(__file__).parent / "onnxruntime.js"
        run = subprocess.run(["node", script, MODULES, data, str(batch), *paths], capture_output=True, text=True, timeout=500)
        self.assertEqual(run.returncode, 0, run.stderr)
        return [np.float64(result) for result in json.loads(run.stdout)]

    def certified(self, network, *words):
        run = quantbound("certify", network, "--box", 0, 1, "--method", "difference_interval", "--attack", 0, "--json", *words)
        self.assertEqual(run.code, 0, run.err)
        return json.loads(run.out)["upper"]


class Contents(Quantizing):
    def check(self, network, quantizer, granularity, grid, bits, *words):
        answer, written = self.quantize(network, "--quantizer", quantizer, "--granularity", granularity, "--grid", grid, "--bits", bits,
                                        *words)
        original = onnx.load(str(network))
        layers = integer_layers(written)
        self.assertEqual([row["name"] for row in answer["layers"]], [node.name for node, _ in weight_layers(original)])
        for row, (node, weights) in zip(answer["layers"], weight_layers(original), strict=True):
            kind, codes, scales, zeros = layers[node.name]
            expected_codes, expected_scales, expected_zeros = quantized(weights, quantizer, granularity, grid, bits)
            self.assertEqual(codes.shape, weights.shape)
            if quantizer == "stochastic":
                below, above = expected_codes
                self.assertTrue(((codes == below) | (codes == above)).all())
                self.assertTrue((codes == below).any() and (codes == above).any())
            else:
                np.testing.assert_array_equal(codes, expected_codes)
            np.testing.assert_array_equal(scales.reshape(-1), expected_scales)
            np.testing.assert_array_equal(zeros.reshape(-1), expected_zeros)
            self.assertEqual(scales.ndim, 1 if granularity == "channel" else 0)
            width = 4 if "int4" in words and bits <= 4 else (8 if bits <= 8 else 16)
            self.assertEqual(kind, f"{'u' if grid == 'affine' else ''}int{width}")
            by_row = (-1,) + (1,) * (weights.ndim - 1)
            errors = np.abs((codes - zeros.reshape(by_row)).astype(np.float32) * scales.reshape(by_row) - np.float64(weights))
            self.assertEqual(row["error_max"], errors.max())
            self.assertAlmostEqual(row["error_in_steps"], (errors / np.float64(scales.reshape(by_row))).max(), places=12)
            self.assertEqual((row["step_min"], row["step_max"]), (scales.min(), scales.max()))
            self.assertEqual((row["bits"], row["type"], row["weights"]), (bits, kind, weights.size))
            stored = [-(-count * width // 8) for count in (codes.size, zeros.size)]
            self.assertEqual(row["bytes"], sum(stored) + 4 * scales.size)
        return written

    def test_every_combination(self):
        for network, quantizer, granularity, grid, bits in itertools.product(
                NETWORKS, QUANTIZERS, ("tensor", "channel"), ("symmetric", "affine"), (2, 4, 8)):
            with self.subTest(network=network.stem, quantizer=quantizer, granularity=granularity, grid=grid, bits=bits):
                written = self.check(network, quantizer, granularity, grid, bits)
                self.assertEqual(written.opset_import[0].version, 13)
                onnx.checker.check_model(written, full_check=True)
                if bits <= 4:
                    self.check(network, quantizer, granularity, grid, bits, "--pack", "int4")

    def test_more_than_eight_bits(self):
        for grid, bits in itertools.product(("symmetric", "affine"), (9, 16)):
            written = self.check(NETWORKS[0], "round", "channel", grid, bits)
            self.assertEqual(written.opset_import[0].version, 21)

    def test_edge_layers_have_bits_and_a_type_of_their_own(self):
        answer, written = self.quantize(NETWORKS[0], "--bits", 3, "--edge-bits", 8, "--pack", "int4")
        self.assertEqual([row["bits"] for row in answer["layers"]], [8, 3, 3, 3, 8])
        self.assertEqual([layer[0] for layer in integer_layers(written).values()], ["int8", "int4", "int4", "int4", "int8"])
        self.assertEqual(answer["configuration"], "round/tensor/3/edges 8")

    def test_other_steps(self):
        _, fixed = self.quantize(NETWORKS[0], "--step", "0.1", "--bits", 4)
        _, mse = self.quantize(NETWORKS[0], "--step", "mse", "--bits", 4)
        _, widest = self.quantize(NETWORKS[0], "--bits", 4)
        for name, layer in integer_layers(fixed).items():
            self.assertEqual(layer[2], np.float32(0.1))
            self.assertLess(integer_layers(mse)[name][2], integer_layers(widest)[name][2])

    def test_everything_but_the_weights_stays(self):
        for network in NETWORKS:
            original, written = onnx.load(str(network)), self.quantize(network)[1]
            before, after = ({tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
                              if tensor.data_type == 1} for model in (original, written))
            for node, _ in weight_layers(original):
                if len(node.input) > 2:
                    np.testing.assert_array_equal(after[f"{node.name}.bias"], before[node.input[2]])
            kinds = [node.op_type for node in written.graph.node if node.op_type != "DequantizeLinear"]
            self.assertEqual([k for k in kinds if k != "Reshape"], [n.op_type for n in original.graph.node if n.op_type != "Reshape"])

    def test_weights_on_the_grid_stay_where_they_are(self):
        self.quantize(NETWORKS[1], "--bits", 5, "--granularity", "channel", name="once.onnx")
        once = integer_layers(onnx.load(str(self.folder / "once.onnx")))
        answer, again = self.quantize(self.folder / "once.onnx", "--bits", 5, "--granularity", "channel")
        for name, layer in integer_layers(again).items():
            np.testing.assert_array_equal(layer[1], once[name][1])
        self.assertLess(max(row["error_in_steps"] for row in answer["layers"]), 1e-5)


class Sizes(Quantizing):
    def test_files_are_as_small_as_their_bits(self):
        for network in (*NETWORKS, *(path for path in REAL.values() if path.exists())):
            original = onnx.load(str(network))
            shapes = [weights.shape for _, weights in weight_layers(original)]
            weights, rows = sum(map(np.prod, shapes)), sum(shape[0] for shape in shapes)
            for words, bits in ((("--bits", 8), 8), (("--bits", 4, "--pack", "int4"), 4), (("--bits", 4), 8), (("--bits", 12), 16)):
                answer, _ = self.quantize(network, *words, "--granularity", "channel")
                stored = weights * bits / 8 + rows * (4 + bits / 8 + 4)  # scale, zero point, bias
                named = 1000 + 700 * len(original.graph.node)  # names and shapes
                self.assertGreater(answer["bytes_after"], weights * bits / 8)
                self.assertLess(answer["bytes_after"], stored + named)
                if network in REAL.values() and "mbv2" in network.name:
                    self.assertAlmostEqual(answer["bytes_after"] / answer["bytes_before"], bits / 32, delta=0.02)


class Functions(Quantizing):
    """What engines make of the file."""

    def test_certificates_of_the_file_are_those_of_the_configuration(self):
        for network, words in itertools.product(NETWORKS, (
                ("--bits", 2, "--quantizer", "floor"), ("--bits", 4, "--granularity", "channel"), ("--bits", 8, "--grid", "affine"),
                ("--bits", 4, "--quantizer", "stochastic", "--seed", 7), ("--bits", 3, "--edge-bits", 6))):
            with self.subTest(network=network.stem, words=words):
                self.quantize(network, *words)
                of_file, of_configuration = self.certified(network, "--against", self.folder / "out.onnx"), self.certified(network, *words)
                self.assertAlmostEqual(of_file / of_configuration, 1, delta=1e-4)

    def test_packing_does_not_change_the_function(self):
        for network in NETWORKS:
            self.quantize(network, "--bits", 4, "--grid", "affine", name="bytes.onnx")
            self.quantize(network, "--bits", 4, "--grid", "affine", "--pack", "int4", name="packed.onnx")
            self.assertLess(self.certified(self.folder / "bytes.onnx", "--against", self.folder / "packed.onnx"), 1e-9)

    def assert_same_outputs(self, network, inputs, words):
        """ONNX Runtime with the integers, and with the same weights as floats."""
        _, written = self.quantize(network, *words)
        reference = with_weights(onnx.load(str(network)), integer_layers(written))
        found, expected, original = self.outputs(inputs, self.folder / "out.onnx", reference, network)
        self.assertEqual(len(found), len(expected))
        self.assertTrue(np.isfinite(found).all())
        self.assertLess(np.abs(found - expected).max(), 1e-4 * np.abs(expected).max())
        self.assertGreater(np.abs(found - original).max(), 1e-4 * np.abs(expected).max())  # else nothing was quantized

    @unittest.skipUnless(RUNTIME, "needs node and onnxruntime-node; QUANTBOUND_NPM says where")
    def test_onnx_runtime_computes_the_quantized_network(self):
        for network, granularity, grid, bits in itertools.product(NETWORKS, ("tensor", "channel"), ("symmetric", "affine"),
                                                                  ("2", "4", "4 --pack int4", "8", "12")):
            with self.subTest(network=network.stem, granularity=granularity, grid=grid, bits=bits):
                self.assert_same_outputs(network, DIGITS_INPUTS, ("--granularity", granularity, "--grid", grid, "--bits", *bits.split()))

    @unittest.skipUnless(RUNTIME, "needs node and onnxruntime-node; QUANTBOUND_NPM says where")
    def test_onnx_runtime_computes_real_networks(self):
        for path in REAL.values():
            if not path.exists():
                self.skipTest(f"{path} is not here")
            size = 32 if path.parent.name == "cifar10" else 224
            inputs = np.random.default_rng(1).normal(size=(2, 3, size, size))
            for words in (("--bits", 8), ("--bits", 4, "--edge-bits", 8, "--pack", "int4", "--grid", "affine"), ("--bits", 10)):
                with self.subTest(network=path.stem, words=words):
                    self.assert_same_outputs(path, inputs, (*words, "--granularity", "channel"))


class Refusals(Quantizing):
    def assert_refused(self, pattern, *words, code=USAGE):
        before = {path: path.read_bytes() for path in self.folder.iterdir()}
        run = quantbound("quantize", *words, folder=self.folder)
        self.assertEqual((run.code, run.out, len(run.err.splitlines())), (code, "", 1), run.err)
        self.assertRegex(run.err, r"\Aquantbound: error: .*" + pattern)
        self.assertEqual({path: path.read_bytes() for path in self.folder.iterdir()}, before)

    def test_the_file_to_write(self):
        own = self.write("own.onnx", NETWORKS[0].read_bytes())
        (self.folder / "link.onnx").symlink_to(own)
        self.assert_refused("needs -o", own)
        self.assert_refused(r"must end in \.onnx \(out\.h5\)", own, "-o", "out.h5")
        for name in ("own.onnx", own, "./own.onnx", "link.onnx"):
            self.assert_refused("is the network that is read; choose another name", own, "-o", name)
        self.assert_refused("own.onnx|is the network", "link.onnx", "-o", own)
        self.assert_refused("create the directory first", own, "-o", self.folder / "no" / "where.onnx", code=FAILED)

    def test_options(self):
        own, out = NETWORKS[0], ("-o", "out.onnx")
        self.assert_refused("--bits must be from 2 to 16", own, *out, "--bits", 1)
        self.assert_refused("--pack 'zip' is not known; choose from: bytes, int4", own, *out, "--pack", "zip")
        self.assert_refused("at most 4 bits", own, *out, "--pack", "int4", "--bits", 5)
        self.assert_refused("--quantizer 'best' is not known", own, *out, "--quantizer", "best")
        self.assert_refused("frobnicate", own, *out, "--frobnicate")
        self.assert_refused("quantize needs NETWORK", *out)

    def test_options_that_nothing_would_read(self):
        own, out = NETWORKS[1], ("-o", "out.onnx")
        self.assert_refused("--quantizer brecq is fitted to samples; give --samples FILE", own, *out, "--quantizer", "brecq")
        for option in (("--samples", "x.npy"), ("--rows", 0, 5), ("--layout", "NHWC"), ("--scale", 2), ("--mean", 1), ("--std", 1),
                       ("--threads", 1), ("--iterations", 5), ("--batch", 5), ("--modules", "layer"), ("--weighting", "fisher"),
                       ("--drop", 0.2), ("--checkpoint", "c"), ("--resume",)):
            self.assert_refused(f"--quantizer floor does not read {option[0]}; leave it out", own, *out, "--quantizer", "floor", *option)
        self.assert_refused("--quantizer floor does not read --bias-correction", own, *out, "--quantizer", "floor", "--bias-correction",
                            "empirical")
        for method, option in (("gptq", ("--iterations", 5)), ("adaround", ("--modules", "layer")), ("brecq", ("--drop", 0.2))):
            self.assert_refused(f"--quantizer {method} does not read", own, *out, *SAMPLES, "--quantizer", method, *option)
        fitted = (own, *out, *SAMPLES, "--quantizer", "brecq")
        self.assert_refused("--resume needs --checkpoint FILE", *fitted, "--resume")
        self.assert_refused("a batch of 101 cannot be drawn from 100", *fitted, "--batch", 101)
        self.assert_refused("--layout 'wide' is not known", *fitted, "--layout", "wide")
        self.assert_refused("--modules 'room' is not known; choose from: layer, block, stage", *fitted, "--modules", "room")
        for method, key in (("gptq", "learning_rate"), ("adaround", "damping"), ("adaround", "modules"), ("brecq", "joins"), ("qdrop", "quadratic"),
                            ("mrecg_loss", "runs"), ("mrecg_loss", "homogeneity")):
            self.assert_refused(f"--quantizer {method} does not read --set {key}", own, *out, *SAMPLES, "--quantizer", method, "--set", f"{key}=1")
        self.assert_refused("--quantizer round does not read --set damping; leave it out", own, *out, "--set", "damping=1", *SAMPLES)
        self.assert_refused("--quantizer round is fitted to samples", own, *out, "--set", "bias_absorption=3")
        self.assert_refused("--quantizer floor does not read --set; leave it out", own, *out, "--quantizer", "floor", "--set", "bias_absorption=3")
        self.assert_refused("--set iterations has an option of its own: --iterations", *fitted, "--set", "iterations=5")
        self.assert_refused("did you mean .*learning_rate.*--set learning_rat", *fitted, "--set", "learning_rat=5")
        self.assert_refused("this key is set twice", *fitted, "--set", "beta=[9,2]", "--set", "beta=[8,2]")
        self.assert_refused("--modules and --set modules", *fitted, "--modules", "layer", "--set", "modules=[[\"a\",\"b\"]]")
        self.assert_refused("--drop is for qdrop; with mrecg, add --set joint=qdrop", *fitted[:-1], "mrecg", "--drop", 0.2)
        self.assert_refused("the runs have 3 modules, the network", *fitted, "--set", "runs=[1,2]")
        self.assert_refused("--equalization 'all' is not known", *fitted, "--equalization", "all")
        self.assert_refused(r"\(none\.npy\)", own, *out, "--quantizer", "brecq", "--samples", "none.npy")

    def test_networks(self):
        self.assert_refused(r"\(none\.onnx\)", "none.onnx", "-o", "out.onnx")
        self.assert_refused("not an ONNX file", self.write("text.onnx", "no network"), "-o", "out.onnx")
        tiny = self.write("tiny.onnx", dense_model(([[1e-40, 2e-40]], [0.0]), ([[1.0]], [0.0])))
        self.assert_refused("out of the range of float32; scale the network .*layer", tiny, "-o", "out.onnx")

    def test_a_failure_leaves_the_older_file(self):
        self.write("out.onnx", "older")
        self.assert_refused("not an ONNX file", self.write("text.onnx", "no network"), "-o", "out.onnx")
        self.assertEqual((self.folder / "out.onnx").read_text(), "older")
        self.quantize(NETWORKS[0])  # and a success replaces it


class Fitted(Quantizing):
    """Methods that are fitted to samples; what they do well is tested in tests/unit/reconstruct."""

    WORDS = ("--bits", 3, "--granularity", "channel", "--quantizer")
    METHODS = ("gptq", "adaround", "brecq", "qdrop", "mrecg", "mrecg_loss")

    def test_methods_choose_neighbours_on_the_same_grid_and_lower_the_loss(self):
        _, rounded = self.quantize(NETWORKS[1], *self.WORDS, "round")
        original = onnx.load(str(NETWORKS[1]))
        for method in self.METHODS:
            trained = ("--iterations", 200) if method != "gptq" else ()
            answer, written = self.quantize(NETWORKS[1], *self.WORDS, method, *SAMPLES, *trained)
            self.assertEqual(answer["configuration"], f"{method}/channel/3")
            changed = 0
            for node, weights in weight_layers(original):
                _, codes, scales, zeros = integer_layers(written)[node.name]
                np.testing.assert_array_equal(scales, integer_layers(rounded)[node.name][2])
                quotients = np.float64(weights) / np.float64(scales.reshape((-1,) + (1,) * (weights.ndim - 1)))
                if trained:  # up or down
                    self.assertLess(np.abs(codes - quotients).max(), 1.001)
                changed += (codes != integer_layers(rounded)[node.name][1]).sum()
            self.assertGreater(changed, 10)
            self.assertEqual({module["iterations"] for module in answer["modules"]}, {200 if trained else 0})
            self.assertEqual(len(answer["modules"]) < 5, method.startswith("mrecg"))  # some are joined
            losses, of_rounding = ([module[key] for module in answer["modules"]] for key in ("loss", "loss_round"))
            self.assertTrue(all(a <= b for a, b in zip(losses, of_rounding)))
            self.assertLess(sum(losses), 0.9 * sum(of_rounding))

    def test_equal_calls_give_equal_bytes_on_any_number_of_threads(self):
        files = []
        for threads in (1, 2, 3):
            self.quantize(NETWORKS[1], *self.WORDS, "qdrop", *SAMPLES, "--iterations", 60, "--threads", threads)
            files.append((self.folder / "out.onnx").read_bytes())
        self.assertTrue(files[0] == files[1] == files[2])
        self.quantize(NETWORKS[1], *self.WORDS, "qdrop", *SAMPLES, "--iterations", 60, "--seed", 2)
        self.assertNotEqual((self.folder / "out.onnx").read_bytes(), files[0])

    def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(self):
        words = (NETWORKS[1], *self.WORDS, "brecq", *SAMPLES, "--iterations", 1500)
        self.quantize(*words, name="once.onnx")
        out, checkpoint = self.folder / "out.onnx", self.folder / "state"
        call = ("quantize", *words, "-o", out, "--checkpoint", checkpoint)
        stopped = 0
        for wait in (0.3, 0.5, 0.7):
            started = program.Started(*call, *(("--resume",) if checkpoint.exists() else ()))
            time.sleep(wait)
            started.process.terminate()
            run = started.wait()
            if run.code == 0:
                break
            self.assertEqual(run.code, STOPPED, run.err)
            self.assertIn("progress is saved; run the same command again with --resume", run.err)
            self.assertFalse(out.exists())
            stopped += 1
        self.assertGreater(stopped, 0)
        if not out.exists():
            self.assertRegex(quantbound(*call).err, "an earlier run left this checkpoint; go on with --resume, or remove it")
            other = [*call, "--resume", "--seed", 2]
            self.assertRegex(quantbound(*other).err, "belongs to another network, configuration")
            run = quantbound(*call, "--resume")
            self.assertEqual(run.code, 0, run.err)
        self.assertEqual(out.read_bytes(), (self.folder / "once.onnx").read_bytes())
        self.assertFalse(checkpoint.exists())

    def test_a_stop_without_a_checkpoint_leaves_nothing(self):
        started = program.Started("quantize", NETWORKS[1], *self.WORDS, "brecq", *SAMPLES, "-o", self.folder / "out.onnx")
        time.sleep(0.4)
        started.process.terminate()
        run = started.wait()
        self.assertEqual(run.code, FAILED)
        self.assertIn("quantbound: error: stopped by a signal, nothing is written; with --checkpoint FILE", run.err)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_damaged_checkpoint_is_refused(self):
        for content in (b"", b"no state", bytes(range(256)) * 10):
            state = self.write("state", content)
            run = quantbound("quantize", NETWORKS[1], *self.WORDS, "brecq", *SAMPLES, "-o", self.folder / "out.onnx", "--checkpoint", state,
                             "--resume")
            self.assertEqual((run.code, state.read_bytes()), (USAGE, content))
            self.assertRegex(run.err, "this is no checkpoint of a reconstruction, or it is damaged")

    def assert_deviations_are_those_of_the_sweep(self, network, fit, rest, inputs, words, study):
        """ONNX Runtime with the written file of every method, against what `sweep` says of our own f_q, sample by sample."""
        quantizers = ["round", "cle_round", *self.METHODS]
        result = self.folder / "result.h5"
        run = quantbound("sweep", self.write("study.toml", toml({
            "study": {"name": "deviations"}, "samples": [fit, rest], "observe": {"samples": [rest["name"]], "per_sample": True},
            "network": [{"file": network, "domain": {"low": -10.0, "high": 10.0}}],
            "quantization": {"quantizer": quantizers, "granularity": "channel", "bits": 3, "edge_bits": 8, "grid": "affine"},
            "reconstruct": {"samples": fit["name"], "learning_rate": 0.1, **study}})), "--output", result)
        self.assertEqual(run.code, 0, run.err)
        options = [word for key, value in study.items() for word in (f"--{key}", value)]
        for i, quantizer in enumerate(quantizers):
            fitted = () if quantizer in ("round", "cle_round") else words
            trained = () if quantizer in ("round", "cle_round", "gptq") else ("--set", "learning_rate=0.1", *options)
            self.quantize(network, "--bits", 3, "--edge-bits", 8, "--granularity", "channel", "--grid", "affine", "--quantizer", quantizer, *fitted,
                          *trained, "--pack", "int4", name=f"{quantizer}.onnx")
        outputs = self.outputs(inputs, network, *(self.folder / f"{quantizer}.onnx" for quantizer in quantizers), batch=1)
        of_f = outputs[0].reshape(len(inputs), -1)
        with h5py.File(result) as file:
            swept = file["observed_sample"][()].reshape(len(quantizers), len(inputs))
        for quantizer, found, expected in zip(quantizers, outputs[1:], swept, strict=True):
            with self.subTest(network=network.stem, quantizer=quantizer):
                deviations = np.abs(found.reshape(of_f.shape) - of_f).max(1)
                self.assertGreater(deviations.min(), 0)
                np.testing.assert_allclose(deviations, expected, rtol=0, atol=1e-4 * np.abs(found).max())

    @unittest.skipUnless(RUNTIME, "needs node and onnxruntime-node; QUANTBOUND_NPM says where")
    def test_onnx_runtime_deviates_as_the_sweep_says_with_every_method(self):
        images = {"images": MODELS / "digits_test_x.npy", "scale": 16.0}
        self.assert_deviations_are_those_of_the_sweep(
            NETWORKS[1], images | {"name": "fit", "role": "calibration", "rows": [0, 100]}, images | {"name": "rest", "rows": [100, 40]},
            np.load(MODELS / "digits_test_x.npy").reshape(-1, 64)[100:140] / 16, SAMPLES, {"iterations": 60, "batch": 16})

    @unittest.skipUnless(RUNTIME, "needs node and onnxruntime-node; QUANTBOUND_NPM says where")
    def test_onnx_runtime_deviates_as_the_sweep_says_with_every_method_on_a_real_network(self):
        network, images = REAL["cifar10/resnet20_cifar10_folded.onnx"], SHARED / "data" / "data" / "cifar10" / "jpeg2000_X.npy"
        if not network.exists():
            self.skipTest(f"{network} is not here")
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        of_file = {"images": images, "layout": "NHWC", "scale": 255.0, "mean": mean, "std": std}
        words = ("--samples", images, "--layout", "NHWC", "--scale", 255, "--mean", *mean, "--std", *std, "--rows", 0, 64)
        inputs = ((np.load(images)[1000:1016] / 255 - mean) / std).transpose(0, 3, 1, 2)
        self.assert_deviations_are_those_of_the_sweep(
            network, of_file | {"name": "fit", "role": "calibration", "rows": [0, 64]}, of_file | {"name": "rest", "rows": [1000, 16]},
            inputs, words, {"iterations": 40, "batch": 8})

    @unittest.skipUnless(RUNTIME, "needs node and onnxruntime-node; QUANTBOUND_NPM says where")
    def test_equalization_keeps_the_function(self):
        self.quantize(NETWORKS[1], "--quantizer", "cle_round", "--bits", 16, "--granularity", "channel")
        found, expected = self.outputs(DIGITS_INPUTS, self.folder / "out.onnx", NETWORKS[1])
        self.assertLess(np.abs(found - expected).max(), 1e-3 * np.abs(expected).max())
        cle, plain = (integer_layers(self.quantize(NETWORKS[1], "--quantizer", q)[1]) for q in ("cle_round", "round"))
        self.assertNotEqual([layer[2].item() for layer in cle.values()], [layer[2].item() for layer in plain.values()])
        for layer in (integer_layers(self.quantize(NETWORKS[1], "--equalization", "cross_layer")[1]),):
            self.assertEqual([l[2].item() for l in layer.values()], [l[2].item() for l in cle.values()])

    def test_bias_correction_changes_biases_alone(self):
        _, plain = self.quantize(NETWORKS[1], "--bits", 3)
        answer, corrected = self.quantize(NETWORKS[1], "--bits", 3, "--bias-correction", "empirical", *SAMPLES)
        for name, layer in integer_layers(plain).items():
            np.testing.assert_array_equal(layer[1], integer_layers(corrected)[name][1])
        biases = [{t.name: t.raw_data for t in model.graph.initializer if t.name.endswith(".bias")} for model in (plain, corrected)]
        self.assertNotEqual(*biases)
        self.assertEqual(answer["configuration"], "round/tensor/3")

    def test_what_is_set_reaches_the_method(self):
        def weights(*settings):
            words = [word for setting in settings for word in ("--set", setting)]
            return self.quantize(NETWORKS[1], *self.WORDS, "brecq", "--iterations", 60, *SAMPLES, *words, name="one.onnx")[1].SerializeToString()
        fast = "learning_rate=0.3"
        different = {weights(fast, *more) for more in ((), ("beta=[9,3]",), ("runs=random",), ("quadratic=batches",), ("regularization_unit=absolute",))}
        self.assertEqual(len(different), 5)
        self.assertEqual(weights(), weights("learning_rate=1e-3"))

    def test_the_joint_objective_may_be_qdrop(self):
        words = (NETWORKS[1], *self.WORDS, "mrecg", "--iterations", 60, *SAMPLES, "--set", "learning_rate=0.3")
        files = [self.quantize(*words, *more)[1].SerializeToString() for more in (
            (), ("--set", "joint=qdrop"), ("--set", "joint=qdrop", "--drop", 0.1))]
        self.assertEqual(len(set(files)), 3)

    def test_samples_are_normalised_as_asked(self):
        x = np.load(MODELS / "digits_test_x.npy")[:100].astype(np.float64)
        np.save(self.folder / "same.npy", np.float32((x / 16 - 0.5) / 2))
        words = (NETWORKS[1], *self.WORDS, "adaround", "--iterations", 30)
        self.quantize(*words, "--samples", self.folder / "same.npy", name="one.onnx")
        self.quantize(*words, *SAMPLES, "--mean", 0.5, "--std", 2, name="two.onnx")
        self.assertEqual((self.folder / "one.onnx").read_bytes(), (self.folder / "two.onnx").read_bytes())


class Text(Quantizing):
    def test_people_get_a_table(self):
        run = quantbound("quantize", NETWORKS[1], "--bits", 4, "--granularity", "channel", "-o", self.folder / "out.onnx")
        self.assertEqual((run.code, run.err), (0, ""))
        rows = [line.split() for line in run.out.splitlines()]
        table = rows[rows.index([*"layer name weights bits type least step largest step largest error in steps".split()]) + 1:]
        names = [node.name for node, _ in weight_layers(onnx.load(str(NETWORKS[1])))]
        self.assertEqual([row[1] for row in table[:len(names)]], names)
        before, after = NETWORKS[1].stat().st_size, (self.folder / "out.onnx").stat().st_size
        self.assertIn(f"{after} bytes, {100 * after / before:.1f} % of the {before} ", run.out)


if __name__ == "__main__":
    unittest.main()
