"""The recipes for tools that are not here: the Spack recipe runs against a stand-in for Spack's vocabulary and is held against
CMakeLists.txt, the commands of the Apptainer definition against what the Debian package holds. This says that they fit this
repository, not that Spack or Apptainer build them.
"""
import pathlib
import re
import sys
import types
import unittest

from program import REPOSITORY

HPC = REPOSITORY / "scripts" / "hpc"
CMAKE = (REPOSITORY / "CMakeLists.txt").read_text()
# What CMake looks for, by Spack's name.
PACKAGES = {"MPI": "mpi", "HDF5": "hdf5", "Eigen3": "eigen", "Boost": "boost", "OpenSSL": "openssl", "Protobuf": "protobuf", "ONNX": "onnx",
            "tomlplusplus": "tomlplusplus", "fmt": "fmt", "dnnl": "onednn", "PkgConfig": "pkgconfig", "libxxhash": "xxhash", "clp": "clp"}
OF_THE_COMPILER = {"OpenMP"}


class Recipe:
    """Runs package.py with directives that write down what they are told."""

    def __init__(self, **variants):
        self.told, defined = [], []
        vocabulary = types.ModuleType("spack.package")

        class CMakePackage:
            def define(self, name, value):
                defined.append(name)
                return f"-D{name}={value}"

            def define_from_variant(self, name, variant):
                return self.define(name, {True: "ON", False: "OFF"}[variants[variant]])

        def directive(kind):
            return lambda *words, **more: self.told.append((kind, words, more))

        class when:
            def __init__(self, spec):
                self.spec = spec

            def __enter__(self):
                return self

            def __exit__(self, *_):
                return False

        vocabulary.when = when
        for kind in ("version", "license", "variant", "depends_on", "conflicts"):
            setattr(vocabulary, kind, directive(kind))
        system = types.ModuleType("spack_repo.builtin.build_systems.cmake")
        system.CMakePackage, system.generator = CMakePackage, directive("generator")
        sys.modules.update({"spack": types.ModuleType("spack"), "spack.package": vocabulary, system.__name__: system})
        for name in ("spack_repo", "spack_repo.builtin", "spack_repo.builtin.build_systems"):
            sys.modules[name] = types.ModuleType(name)
        space = {}
        exec(compile((HPC / "spack" / "package.py").read_text(), "package.py", "exec"), space)
        package = space["Quantbound"]()
        python = types.SimpleNamespace(command=types.SimpleNamespace(path="/opt/python"))
        package.spec = {"python": python}
        self.arguments, self.defined = package.cmake_args(), defined

    def of(self, kind):
        return [words[0] for what, words, _ in self.told if what == kind]


class Spack(unittest.TestCase):
    def setUp(self):
        self.recipe = Recipe(tests=False, analysis=True)

    def test_every_package_of_the_build_is_a_dependency(self):
        needed = set(re.findall(r"find_package\((\w+)", CMAKE)) | set(re.findall(r"IMPORTED_TARGET (\w+)\)", CMAKE))
        self.assertEqual(needed - OF_THE_COMPILER, set(PACKAGES))
        named = {re.match(r"[\w-]+", spec)[0] for spec in self.recipe.of("depends_on")}
        self.assertLessEqual(set(PACKAGES.values()) | {"c", "cxx", "cmake", "ninja", "python"}, named)

    def test_every_option_exists(self):
        options = set(re.findall(r"(?:option|set)\((QUANTBOUND_\w+)", CMAKE))
        self.assertGreater(len(self.recipe.defined), 2)
        for name in self.recipe.defined:
            self.assertIn(name, options)
        self.assertIn("-DQUANTBOUND_TESTS=OFF", self.recipe.arguments)
        self.assertIn("-DQUANTBOUND_TESTS=ON", Recipe(tests=True, analysis=True).arguments)

    def test_versions_are_those_of_the_build(self):
        self.assertEqual(self.recipe.of("version"), re.findall(r"project\(quantbound VERSION ([\d.]+)", CMAKE))
        self.assertIn(f"cmake@{re.search(r'cmake_minimum_required.VERSION ([0-9.]+)', CMAKE)[1]}:", self.recipe.of("depends_on"))


class Apptainer(unittest.TestCase):
    def test_the_sections(self):
        text = (HPC / "quantbound.def").read_text()
        head, *rest = re.split(r"(?m)^%(\w+)\n", text)
        sections = dict(zip(rest[::2], rest[1::2], strict=True))
        fields = dict(line.split(": ") for line in head.splitlines() if line and not line.startswith("#"))
        self.assertEqual(fields, {"Bootstrap": "docker", "From": "debian:12"})
        self.assertEqual(set(sections), {"files", "post", "environment", "test", "runscript", "help"})
        # Each file that is copied in is used, and what the test reads is in the package.
        for copied in re.findall(r"\S+ (/\S+)", sections["files"]):
            self.assertIn(copied, sections["post"])
        for path in re.findall(r"/usr/share/quantbound/(configs/\S+)", sections["test"]):
            self.assertTrue((REPOSITORY / path).is_file(), path)
        listed = (REPOSITORY / "scripts" / "dev" / "packages.sh").read_text()
        for package in re.findall(r"python3-\w+", sections["post"]):
            self.assertIn(package, listed)


if __name__ == "__main__":
    unittest.main()
