"""scripts/dev/check_layers.py finds what it is for, and this repository has none of it."""
import pathlib
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts" / "dev"))

import check_layers  # noqa: E402


class CheckLayers(unittest.TestCase):
    def found_in(self, path, text):
        """The violations in a repository that has this one file."""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, path)
            file.parent.mkdir(parents=True)
            file.write_text(text)
            return check_layers.violations(pathlib.Path(folder))[0]

    def test_includes_point_downwards(self):
        self.assertEqual(self.found_in("src/bounds/r.cpp", '#include "quantbound/network/graph.hpp"\n'), [])
        upwards = self.found_in("include/quantbound/tensor/shape.hpp", '\n#include "quantbound/network/graph.hpp"\n')
        self.assertEqual(upwards, ["include/quantbound/tensor/shape.hpp:2: the room tensor may not include network"])

    def test_siblings_do_not_include_each_other(self):
        siblings = ("bounds", "certify", "observe", "reconstruct")
        for room in siblings:
            for other in set(siblings) - {room}:
                self.assertEqual(len(self.found_in(f"src/{room}/x.cpp", f'#include "quantbound/{other}/x.hpp"\n')), 1)

    def test_libraries_have_their_place(self):
        for header, good, bad in (("mpi.h", "src/parallel/a.cpp", "src/sweep/a.cpp"),
                                  ("hdf5.h", "src/store/a.cpp", "src/network/a.cpp"),
                                  ("onnx/onnx_pb.h", "src/network/onnx_reader.cpp", "src/network/nnet_reader.cpp"),
                                  ("google/protobuf/message.h", "src/network/onnx_reader.cpp", "src/bounds/a.cpp"),
                                  ("boost/program_options.hpp", "apps/main.cpp", "src/core/a.cpp"),
                                  ("oneapi/dnnl/dnnl.hpp", "src/tensor/a.cpp", "src/network/a.cpp")):
            self.assertEqual(self.found_in(good, f"#include <{header}>\n"), [], header)
            self.assertEqual(len(self.found_in(bad, f"#include <{header}>\n")), 1, header)

    def test_libraries_neither_print_nor_exit(self):
        for code in ("std::cout << 1;", 'std::printf("%d", 1);', 'fputs("a", stderr);', "fmt::print(x);", "#include <iostream>",
                     "std::exit(1);", "std::abort();"):
            self.assertEqual(len(self.found_in("src/core/a.cpp", code + "\n")), 1, code)
            self.assertEqual(self.found_in("apps/main.cpp", code + "\n"), [], code)
        for code in ("std::snprintf(b, n, f);", "// std::cout", '/* exit(1) */ f("std::cout <<");', "session.abort(1);"):
            self.assertEqual(self.found_in("src/core/a.cpp", code + "\n"), [], code)

    def test_an_unknown_room_and_a_stray_quoted_include_are_reported(self):
        self.assertEqual(len(self.found_in("src/misc/a.cpp", "int a;\n")), 1)
        self.assertEqual(len(self.found_in("src/core/a.cpp", '#include "quantbound/misc/a.hpp"\n')), 1)
        self.assertEqual(len(self.found_in("src/core/a.cpp", '#include "../network/graph.hpp"\n')), 1)

    def test_a_type_has_one_definition(self):
        named = "namespace quantbound::{} {{\nstruct Lines {{\n  int a;\n}};\nstruct Later;\n}}  // namespace\n"
        hidden = "namespace quantbound::core {\nnamespace {\nstruct Lines {};\nclass Text : public Lines {\n};\n}  // namespace\n}  // namespace\n"
        with tempfile.TemporaryDirectory() as folder:
            core = pathlib.Path(folder, "src/core")
            core.mkdir(parents=True)
            for name, text in {"a": named.format("core"), "b": named.format("core::detail"), "c": hidden, "d": hidden}.items():
                (core / f"{name}.cpp").write_text(text)
            self.assertEqual(check_layers.violations(pathlib.Path(folder))[0], [])
            (core / "e.hpp").write_text("\n" + named.format("core"))
            self.assertEqual(check_layers.violations(pathlib.Path(folder))[0],
                             ["src/core/e.hpp:3: quantbound::core::Lines is also defined in src/core/a.cpp:2"])

    def test_this_repository_keeps_to_its_rooms(self):
        found, files = check_layers.violations(REPOSITORY)
        self.assertEqual(found, [])
        self.assertGreater(files, 20)


if __name__ == "__main__":
    unittest.main()
