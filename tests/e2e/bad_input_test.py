"""Bad input, a full disk, a place that cannot be written: one line that begins with `quantbound: error:`, the exit code
of docs/design.md 7, and nothing half-written left. Alone and under mpirun.
"""
import os
import pathlib
import unittest

import h5py
import numpy as np

import program
from program import CALIBRATION, DIGITS, EVALUATION, MODELS, UNIT_BOX, dense_model, onnx_writer, quantbound, small_study, toml

USAGE, FAILED = 2, 1
# mpirun takes two seconds over every run that fails. So each place where errors arise (before MPI, while planning on every
# rank, while rank 0 looks at the output, while computing) is tried under mpirun; everything is with QUANTBOUND_LONG=1.
ALONE_AND_MPIRUN = (None, 2)
USUALLY_ALONE = ALONE_AND_MPIRUN if program.LONG else (None,)


def good_layers():
    random = np.random.default_rng(1)
    return (random.normal(size=(5, 4)), np.zeros(5)), (random.normal(size=(3, 5)), np.zeros(3))


class BadInput(program.WithFolder):
    def listing(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))

    def assert_refused(self, run, pattern, code=USAGE):
        """One line on stderr with the prefix, nothing on stdout, the exit code."""
        said = program.without_notices(run.err)
        self.assertEqual(len(said), 1, run.err)
        self.assertRegex(said[0], r"\Aquantbound: error: .*" + pattern)
        self.assertEqual((run.out, run.code), ("", code), run.err)

    def assert_sweep_refused(self, pattern, *words, code=USAGE, ranks=USUALLY_ALONE, **changes):
        """A sweep of the small study with these changes is refused and leaves no trace, whatever starts it."""
        study = self.write_study(**changes)
        before = self.listing()
        for count in ranks:
            with self.subTest(ranks=count):
                run = quantbound("sweep", study, "--output", self.folder / "out.h5", *words, ranks=count)
                self.assert_refused(run, pattern, code)
                self.assertEqual(self.listing(), before)

    def assert_network_refused(self, pattern, content, name="bad.onnx", domain=UNIT_BOX, ranks=USUALLY_ALONE):
        """By sweep, by plan, and by the verbs of one network."""
        path = self.write(name, content)
        self.assert_sweep_refused(pattern, network=[{"file": path, "domain": domain}], ranks=ranks)
        for words in (("plan", self.folder / "study.toml"), ("inspect", path), ("bound", path, "--box", "0", "1"),
                      ("certify", path, "--box", "0", "1"), ("quantize", path, "-o", self.folder / "out.onnx")):
            with self.subTest(verb=words[0]):
                self.assert_refused(quantbound(*words), pattern)
                self.assertFalse((self.folder / "out.onnx").exists())


class Study(BadInput):
    def test_an_unknown_key_is_named_with_the_nearest_and_its_place(self):
        self.assert_sweep_refused(r"`unifrom`.*`uniform`.*study\.toml:\d+:1\)", observe={"unifrom": 16}, ranks=ALONE_AND_MPIRUN)
        self.assert_sweep_refused(r"`quantisation`.*`quantization`", quantisation={"bits": 4})

    def test_a_wrong_type_is_named_with_what_was_wanted(self):
        self.assert_sweep_refused(r"`bits` must be an integer, not a string \(.*study\.toml:\d+:\d+\)",
                                  quantization={"bits": "four"})
        self.assert_sweep_refused(r"`file` must be a string", network=[{"file": 7, "domain": UNIT_BOX}])
        self.assert_sweep_refused(r"\[\[network\]\]", network={"file": "a.onnx"})

    def test_a_missing_file_is_named(self):
        no = self.folder / "none.onnx"
        self.assert_sweep_refused(r"no such file: '.*none\.onnx'", network=[{"file": no, "domain": UNIT_BOX}])
        self.assert_sweep_refused(r"no such file: '.*none\.npy'", 
                                  samples=[{"name": "s", "images": self.folder / "none.npy"}], observe={"samples": ["s"]})
        self.assert_sweep_refused(r"no such file: '.*none\.vnnlib'", network=[
            {"file": MODELS / "digits_mlp_5.onnx", "domain": {"vnnlib": self.folder / "none.vnnlib"}}])
        for verb in ("sweep", "plan", "inspect", "bound", "certify", "show"):
            for ranks in USUALLY_ALONE:
                self.assert_refused(quantbound(verb, no, ranks=ranks), r"none\.onnx")

    def test_an_empty_list_is_an_error(self):
        self.assert_sweep_refused(r"`bits` is an empty list", quantization={"bits": []})
        self.assert_sweep_refused(r"`file` is an empty list", network=[{"file": [], "domain": UNIT_BOX}])
        self.assert_sweep_refused(r"`theory` is an empty list", bounds={"theory": []})

    def test_a_value_out_of_range_or_given_twice_is_an_error(self):
        self.assert_sweep_refused(r"`bits` = 1 is outside 2 to 16", quantization={"bits": [4, 1]})
        self.assert_sweep_refused(r"`bits` names a value twice", quantization={"bits": [4, 4]})
        self.assert_sweep_refused(r"`edge_bits` = 17 is outside 2 to 16.*study\.toml:\d+:\d+\)", quantization={"bits": 4, "edge_bits": 17})
        self.assert_sweep_refused(r"'rond'.*'round'", quantization={"bits": 4, "quantizer": "rond"})
        self.assert_sweep_refused(r"low 1.* > high 0", network=[
            {"file": MODELS / "digits_mlp_5.onnx", "domain": {"low": 1.0, "high": 0.0}}])

    def test_what_is_no_toml_is_an_error_with_its_line(self):
        study = self.write("study.toml", toml(small_study()) + "[observe\n")
        for ranks in USUALLY_ALONE:
            self.assert_refused(quantbound("sweep", study, ranks=ranks, folder=self.folder), r"study\.toml:\d+:\d+\)")
        self.assert_refused(quantbound("sweep", self.write("empty.toml", ""), folder=self.folder), r"\[study\]")
        self.assert_refused(quantbound("sweep", self.folder, folder=self.folder), "no such study file")
        self.assertEqual(self.listing(), ["empty.toml", "study.toml"])

    def test_reconstruction_is_for_methods_and_methods_need_calibration_samples(self):
        methods = {"bits": 4, "quantizer": ["round", "brecq"]}
        self.assert_sweep_refused(r"\[reconstruct\] is read only where `quantizer` names.*study\.toml:\d+:1\)", reconstruct={"iterations": 10},
                                  ranks=ALONE_AND_MPIRUN)
        self.assert_sweep_refused(r"calibration samples are needed for .*brecq", quantization=methods)
        self.assert_sweep_refused(r"no method is fitted to what it is measured on.*study\.toml:\d+:\d+\)", quantization=methods,
                                  samples=[DIGITS], reconstruct={"samples": "digits"})
        self.assert_sweep_refused(r"nothing is measured on what a method was fitted", quantization=methods,
                                  samples=[CALIBRATION], reconstruct={"samples": "fit"}, observe={"samples": ["fit"]})
        self.assert_sweep_refused(r"'brecg' is not known; did you mean 'brecq'\?", quantization=methods | {"quantizer": "brecg"})

    def test_mistakes_in_reconstruct(self):
        def refused(pattern, **keys):
            self.assert_sweep_refused(pattern, quantization={"bits": 4, "quantizer": "mrecg"}, samples=[CALIBRATION, EVALUATION],
                                      reconstruct={"samples": "fit"} | keys)
        refused(r"`iteration` in \[reconstruct\]; did you mean `iterations`\?.*study\.toml:\d+:\d+\)", iteration=5)
        refused(r"`learning_rate` = -1 is outside", learning_rate=-1)
        refused(r"a batch of 101 cannot be drawn from 100 calibration samples", batch=101)
        refused(r"`modules` = 'bloc' is not known; did you mean 'block'", modules="bloc")
        refused(r"no weight layer is named 'gemm_1'", modules=[["gemm_1", "gemm_2"]])
        refused(r"`runs`.*have 3 modules together, network 'digits_mlp_5' has 5", runs=[1, 2])

    def test_mistakes_in_certify_and_attack(self):
        self.assert_sweep_refused(r"'diference_interval' is not known; did you mean 'difference_interval'\?.*study\.toml:\d+:\d+\)",
                                  certify={"method": ["diference_interval"]})
        self.assert_sweep_refused(r"'simplex' is not known; choose from: interval, ", certify={"method": ["simplex"]})
        self.assert_sweep_refused(r"\[certify\] needs the key `method`", certify={"tolerance": 0.1})
        self.assert_sweep_refused(r"`max_seconds` must be positive", certify={"method": ["interval"], "max_seconds": -1})
        self.assert_sweep_refused(r"`max_memroy` in \[certify\]; did you mean `max_memory`", certify={"method": ["interval"], "max_memroy": 1})
        self.assert_sweep_refused(r"`start` in \[attack\]; did you mean `starts`", observe={"uniform": 4, "attack": {"start": 1}})
        self.assert_sweep_refused(r"`starts` = 0 is outside", observe={"uniform": 4, "attack": {"starts": 0}})

    def test_an_override_that_does_not_fit_is_an_error(self):
        self.assert_sweep_refused(r"--set needs key=value", "--set", "quantization.bits")
        self.assert_sweep_refused(r"`bist`.*`bits`", "--set", "quantization.bist=4")
        self.assert_sweep_refused(r"`bits` must be an integer.*--set quantization\.bits", "--set", "quantization.bits=many")

        self.assert_sweep_refused(r"no number 3: the study has 1 of them.*--set network\.3\.file", "--set", "network.3.file=a.onnx")
        two = [{"file": MODELS / f"digits_mlp_{depth}.onnx", "domain": UNIT_BOX} for depth in (5, 7)]
        self.assert_sweep_refused(r"2 such tables; write the number", "--set", "network.domain.low=0.5", network=two)

    def test_samples_that_do_not_fit_say_both_shapes(self):
        images = self.folder / "images.npy"
        np.save(images, np.zeros((3, 9, 9), np.uint8))
        samples = [{"name": "nines", "images": images, "scale": 16.0}]
        self.assert_sweep_refused(r"'nines' of shape .*9.* do not fit .*digits_mlp_5.*64", samples=samples, observe={"samples": ["nines"]})
        samples = [DIGITS | {"labels": images}]
        self.assert_sweep_refused(r"243 labels for 360 images", samples=samples, observe={"samples": ["digits"]})
        broken = self.write("broken.npy", images.read_bytes()[:-5])
        self.assert_sweep_refused(r"broken\.npy", samples=[{"name": "b", "images": broken}], observe={"samples": ["b"]})
        np.save(images, np.full((3, 64), np.nan, np.float32))
        self.assert_sweep_refused(r"not a finite number", samples=[{"name": "n", "images": images}],
                                  observe={"samples": ["n"]})

    def test_samples_of_another_kind_or_shape_say_what_to_do(self):
        images = self.folder / "images.npy"
        observe = {"samples": ["s"]}

        def assert_set_refused(pattern, array=None, name="images.npy", **keys):
            if array is not None:
                np.save(images, array)
            samples = [{"name": "s", "images": self.folder / name} | keys]
            self.assert_sweep_refused(pattern, samples=samples, observe=observe)

        eights = np.zeros((4, 8, 8), np.uint8)
        assert_set_refused(r"Fortran-ordered.*ascontiguousarray", np.asfortranarray(eights))
        assert_set_refused(r"'<c16' is not read.*astype", np.zeros((4, 64), complex))
        assert_set_refused(r"192 numbers per sample where the network takes 64; quantbound does not resize",
                           np.zeros((4, 8, 8, 3), np.uint8), layout="NHWC")
        assert_set_refused(r"`mean` of samples 's' has 3 numbers for images of 1 channel.*layout", eights, mean=[0.1, 0.2, 0.3])
        assert_set_refused(r"`std` must be positive.*study\.toml:\d+:\d+\)", std=0.0)
        assert_set_refused(r"`scale` must be positive.*study\.toml:\d+:\d+\)", scale=0)
        assert_set_refused(r"take rows 2 to 5, but the file has 4 rows", rows=[2, 4])
        np.save(self.folder / "labels.npy", np.array([1, 2, 10, 3]))
        assert_set_refused(r"row 2 of samples 's' has label 10 .*has 10 outputs", eights, labels=self.folder / "labels.npy")
        (self.folder / "images.npy.gz").write_bytes(b"\x1f\x8b\x08\0")
        assert_set_refused(r"gunzip", name="images.npy.gz")
        with h5py.File(self.folder / "x.h5", "w") as file:
            file["test/images"] = eights
        assert_set_refused(r"no dataset '/images'.*it holds /test/images", name="x.h5:/images")
        assert_set_refused(r"name the dataset.*it holds /test/images", name="x.h5")
        array = np.zeros((4, 64), np.float32)
        array[2, 7] = np.inf
        assert_set_refused(r"row 2: element 7 is not a finite number but inf \(.*images\.npy\)", array)

    def test_sets_of_different_roles_are_kept_apart(self):
        fit = DIGITS | {"name": "fit", "role": "calibration", "rows": [0, 100]}
        test = DIGITS | {"name": "test", "rows": [50, 100]}
        self.assert_sweep_refused(r"'fit' \(calibration\) and 'test' \(evaluation\) share rows 50 to 99 of .*digits_test_x\.npy.*"
                                  r"study\.toml:\d+:\d+\)", samples=[fit, test], observe={"samples": ["test"]})
        self.assert_sweep_refused(r"'fit' have role = \"calibration\".*study\.toml:\d+:\d+\)", samples=[fit],
                                  observe={"samples": ["fit"]})
        self.assert_sweep_refused(r"'evalution' is not known; did you mean 'evaluation'", samples=[test | {"role": "evalution"}],
                                  observe={"samples": ["test"]})

    def test_a_network_without_a_domain_is_an_error(self):
        self.assert_sweep_refused(r"'digits_mlp_5' has no domain", network=[{"file": MODELS / "digits_mlp_5.onnx"}])


class Network(BadInput):
    def test_a_truncated_onnx_file(self):
        whole = (MODELS / "digits_mlp_5.onnx").read_bytes()
        self.assert_network_refused(r"bad\.onnx", whole[:len(whole) // 2], ranks=ALONE_AND_MPIRUN)
        for kept in (0, 1, 10, len(whole) // 10, len(whole) - 1):
            with self.subTest(kept=kept):
                self.assert_network_refused(r"bad\.onnx", whole[:kept])
        self.assert_network_refused(r"bad\.onnx", bytes(range(256)) * 8)

    def test_weights_that_do_not_fit_the_layer_before(self):
        (w0, b0), (w1, b1) = good_layers()
        self.assert_network_refused(r"w1|[Gg]emm_2|\by\b", dense_model((w0, b0), (w1[:, :4], b1)))
        self.assert_network_refused(r"bad\.onnx", dense_model((w0, b0[:4]), (w1, b1)))
        self.assert_network_refused(r"bad\.onnx", dense_model((w0, b0), (w1, b1), sizes=(7, 3)))

    def test_weights_that_are_not_as_many_as_their_shape_says(self):
        model = dense_model(*good_layers())
        five_by_four = onnx_writer.integer(1, 5) + onnx_writer.integer(1, 4)
        self.assertEqual(model.count(five_by_four), 1)
        self.assert_network_refused(r"bad\.onnx", model.replace(five_by_four, onnx_writer.integer(1, 6) + onnx_writer.integer(1, 4)))

    def test_a_weight_that_is_not_finite(self):
        for value in (np.nan, np.inf):
            layers = good_layers()
            layers[1][0][1, 2] = value
            self.assert_network_refused(rf"w1|[Gg]emm_2|\by\b.*{value}", dense_model(*layers))

    def test_an_unknown_operator_is_named_with_its_node(self):
        weight = [("w", np.ones((3, 4), "<f4"))]
        for operator in ("QLinearConv", "Frobnicate"):
            model = onnx_writer.chain_model("test", [4], [(operator, weight, {}), ("Relu", [], {})], [3], "")
            self.assert_network_refused(rf"{operator}.*node.*{operator.lower()}_0", model)

    def test_a_network_without_weights(self):
        model = onnx_writer.chain_model("test", [4], [("Relu", [], {})], [4], "")
        path = self.write("bad.onnx", model)
        self.assert_sweep_refused(r"no weight layer", network=[{"file": path, "domain": UNIT_BOX}])
        for words in (("inspect", path), ("bound", path, "--box", "0", "1")):
            self.assert_refused(quantbound(*words), "no weight layer")

    def test_a_nnet_file_that_is_cut_off_and_a_file_of_another_kind(self):
        nnet = "// test\n1,2,1,2,\n2,1,\n0,\n0,0,\n1,1,\n0,0,0,\n1,1,1,\n0.5,-0.5,\n0.25,\n"
        for kept in (20, 40, len(nnet) - 6):
            self.assert_network_refused(r"bad\.nnet", nnet[:kept], name="bad.nnet")
        self.assert_network_refused(r"bad\.txt", nnet, name="bad.txt")

    def test_a_name_with_line_breaks_and_control_characters_stays_one_line(self):
        model = onnx_writer.chain_model("test", [4], [("Frob\nnicate\x1b[31m", [("w\n\n", np.ones((3, 4), "<f4"))], {})], [3], "")
        self.assert_network_refused(r"Frob", model)


class Output(BadInput):
    def test_a_place_that_does_not_exist_or_is_no_folder(self):
        study = self.write_study()
        file = self.write("file", "")
        before = self.listing()
        for ranks in USUALLY_ALONE:
            for output in (self.folder / "none" / "out.h5", file / "out.h5", self.folder):
                with self.subTest(ranks=ranks, output=output):
                    self.assert_refused(quantbound("sweep", study, "--output", output, ranks=ranks), r"folder|directory")
                    self.assertEqual(self.listing(), before)

    def test_a_read_only_file_system(self):
        study = self.write_study()
        with self.mounted("ro") as place:
            for ranks in ALONE_AND_MPIRUN:
                run = quantbound("sweep", study, "--output", place / "out.h5", ranks=ranks)
                self.assert_refused(run, r"cannot be written.*out\.h5")
                self.assertEqual(list(place.iterdir()), [])

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_read_only_folder(self):
        place = self.folder / "closed"
        place.mkdir(mode=0o500)
        self.assert_refused(quantbound("sweep", self.write_study(), "--output", place / "out.h5"), r"cannot be written")

    def test_an_existing_output_survives_a_refused_sweep(self):
        out = self.write("out.h5", "precious")
        for words in (("--set", "quantization.bits=[]"), ("--resume",)):
            self.assert_refused(quantbound("sweep", self.write_study(), "--output", out, *words), ".")
            self.assertEqual(out.read_text(), "precious")

    def test_resume_with_the_output_of_another_study(self):
        study, out = self.write_study(), self.folder / "out.h5"
        self.assertEqual(quantbound("sweep", study, "--output", out).code, 0)
        kept = out.read_bytes()
        self.write_study(quantization={"bits": 5})
        for ranks in ALONE_AND_MPIRUN:
            self.assert_refused(quantbound("sweep", study, "--output", out, "--resume", ranks=ranks), r"another study.*out\.h5")
        self.assertEqual((out.read_bytes(), self.listing()), (kept, ["out.h5", "study.toml"]))

    def leave_journal(self, study, out):
        """A finished journal without a result: the final write has no place to go."""
        partial = pathlib.Path(f"{out}.partial")
        partial.mkdir()
        run = quantbound("sweep", study, "--output", out)
        self.assertEqual(run.code, FAILED)
        self.assertRegex(run.errors[0], r"out\.h5\.partial")
        partial.rmdir()
        return pathlib.Path(f"{out}.journal")

    def test_a_journal_of_an_interrupted_sweep_needs_resume_and_its_own_study(self):
        study, out = self.write_study(), self.folder / "out.h5"
        journal = self.leave_journal(study, out)
        kept = {path.name: path.read_bytes() for path in journal.iterdir()}
        for ranks in ALONE_AND_MPIRUN:
            self.assert_refused(quantbound("sweep", study, "--output", out, ranks=ranks), r"--resume.*out\.h5\.journal")
            other = self.write("other.toml", toml(small_study(quantization={"bits": 5})))
            run = quantbound("sweep", other, "--output", out, "--resume", ranks=ranks)
            self.assert_refused(run, r"journal belongs to another study")
            self.assertEqual({path.name: path.read_bytes() for path in journal.iterdir()}, kept)
        self.assertEqual(quantbound("sweep", study, "--output", out, "--resume").code, 0)
        self.assertEqual(self.listing(), ["other.toml", "out.h5", "study.toml"])


class FullDisk(BadInput):
    """A file system of a few kilobytes. What is finished is kept, so that --resume goes on once there is room."""

    def setUp(self):
        super().setUp()
        self.study = self.write_study(observe={"uniform": 65536}, quantization={"bits": [3, 4, 5]})
        whole = self.folder / "whole.h5"
        self.assertEqual(quantbound("sweep", self.study, "--output", whole).code, 0)
        self.whole, self.size = program.describe(whole), whole.stat().st_size

    def assert_failed_in_order(self, run):
        """One error, although all ranks met it, and no rank pulled the rug from under the others."""
        self.assertEqual((len(run.errors), run.code), (1, FAILED), run.err)
        self.assertNotIn("MPI_ABORT", run.err)

    def assert_room_helps(self, place, out):
        self.remount(place, "size=64m")
        run = quantbound("sweep", self.study, "--output", out, "--resume")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(program.differences(self.whole, program.describe(out)), [])
        self.assertEqual([path.name for path in place.iterdir()], ["out.h5"])

    def test_full_while_the_journal_grows(self):
        for ranks in (None, 3):
            with self.subTest(ranks=ranks), self.mounted("size=256k") as place:
                out = place / "out.h5"
                run = quantbound("sweep", self.study, "--output", out, ranks=ranks)
                self.assert_failed_in_order(run)
                self.assertRegex(run.errors[0], r"cannot write: No space left on device; free space.*--resume.*\.journal\)")
                self.assertEqual([path.name for path in place.iterdir()], ["out.h5.journal"])
                self.assert_room_helps(place, out)

    def test_full_before_anything_was_written(self):
        with self.mounted("size=4k") as place:
            (place / "filler").write_bytes(bytes(4096))
            out = place / "out.h5"
            run = quantbound("sweep", self.study, "--output", out, ranks=2)
            self.assert_failed_in_order(run)
            self.assertRegex(run.errors[0], r"No space left on device")
            (place / "filler").unlink()
            self.assert_room_helps(place, out)

    def test_full_when_the_result_is_written(self):
        out = self.folder / "out.h5"
        (self.folder / "out.h5.partial").mkdir()
        self.assertEqual(quantbound("sweep", self.study, "--output", out).code, FAILED)
        journal = {path.name: path.read_bytes() for path in (self.folder / "out.h5.journal").iterdir()}
        used = sum(len(content) for content in journal.values())
        for ranks in USUALLY_ALONE:
            with self.subTest(ranks=ranks), self.mounted(f"size={used // 1024 + self.size // 2048}k") as place:
                out = place / "out.h5"
                (place / "out.h5.journal").mkdir()
                for name, content in journal.items():
                    (place / "out.h5.journal" / name).write_bytes(content)
                run = quantbound("sweep", self.study, "--output", out, "--resume", ranks=ranks)
                self.assert_failed_in_order(run)
                self.assertRegex(run.errors[0], r"No space left on device; free space and run again with --resume")
                self.assertEqual([path.name for path in place.iterdir()], ["out.h5.journal"])
                self.assert_room_helps(place, out)


class CommandLine(BadInput):
    def test_usage_errors(self):
        network, study = MODELS / "digits_mlp_5.onnx", self.write_study()
        bound = ("bound", network, "--box", 0, 1)
        for words, pattern in (
                ((), "a verb is needed"), (("sweeep", study), "'sweeep'"), (("sweep",), "sweep needs STUDY"),
                (("sweep", study, study), "."), (("sweep", study, "--frobnicate"), "frobnicate"),
                (("sweep", study, "--thread", 2), "thread"), (("sweep", study, "--threads", "many"), "threads"),
                (("sweep", study, "--threads", 0), "--threads must be"), (("sweep", study, "--schedule", "fair"), "static or dynamic"),
                (("sweep", study, "--max-time", -1), "--max-time"), (("sweep", study, "--output"), "output"),
                (("sweep", study, "--threads", 1, "--threads", 2), "threads"), (("show", study, "--bits", "x"), "bits"),
                ((*bound, "--vnnlib", "a.vnnlib"), "exclude each other"), (("bound", network), "a domain is needed"),
                (("bound", network, "--box", 1, 0), "LOW <= HIGH"), (("bound", network, "--box", 1), "LOW HIGH"),
                (("bound", network, "--radius", 1, "--box", 0, 1), "--radius"),
                (("bound", network, "--clip", 0, 1, "--box", 0, 1), "--clip"),
                ((*bound, "--bits", 1), "--bits must be"), ((*bound, "--edge-bits", 17), "--edge-bits must be from 2 to 16"),
                ((*bound, "--quantizer", "rond"), "round"),
                ((*bound, "--step", "big"), "--step"), ((*bound, "--step", -1), "--step"), ((*bound, "--uniform", -1), "--uniform"),
                ((*bound, "--precision", "half"), "--precision"), ((*bound, "--threads", 0), "--threads"),
                ((*bound, "--seed", "abc"), "seed"), (("inspect", network, "--input-shape", 0), "."),
                (("bound", network, "--around", f"{DIGITS['images']}:360", "--radius", 1), "360"),
                (("bound", network, "--around", f"{DIGITS['images']}:1.5", "--radius", 1), "."),
                (("bound", network, "--around", f"{DIGITS['images']}:0"), "--radius"),
                (("inspect", network, "--input-shape", 1, 8, 9), "."), (("help", "sweeep"), "'sweeep'")):
            with self.subTest(words=words):
                self.assert_refused(quantbound(*words, folder=self.folder), pattern)
        self.assertEqual(self.listing(), ["study.toml"])

    def test_usage_errors_are_told_once_under_mpirun(self):
        for words in ((), ("sweeep",), ("sweep", self.write_study(), "--frobnicate"), ("bound", MODELS / "digits_mlp_5.onnx")):
            with self.subTest(words=words):
                self.assert_refused(quantbound(*words, ranks=2, folder=self.folder), ".")

    def test_show_refuses_what_is_no_result(self):
        foreign = self.folder / "foreign.h5"
        with h5py.File(foreign, "w") as file:
            file["numbers"] = np.arange(3.0)
        study, out = self.write_study(), self.folder / "out.h5"
        self.assertEqual(quantbound("sweep", study, "--output", out).code, 0)
        whole = out.read_bytes()
        garbage = {"text.h5": b"no HDF5 at all\n", "empty.h5": b"", "half.h5": whole[:len(whole) // 2],
                   "head.h5": whole[:100], "zeros.h5": whole[:600] + bytes(len(whole) - 600), "random.h5": np.random.default_rng(2).bytes(5000)}
        for path in [foreign, *(self.write(name, content) for name, content in garbage.items()), MODELS / "digits_mlp_5.onnx",
                     self.folder]:
            with self.subTest(path=path.name):
                self.assert_refused(quantbound("show", path), path.name)
        for words in (("--network", "none"), ("--bits", 13), ("--quantizer", "none"), ("--granularity", "none")):
            with self.subTest(words=words):
                self.assert_refused(quantbound("show", out, *words), "nothing in the file fits")


if __name__ == "__main__":
    unittest.main()
