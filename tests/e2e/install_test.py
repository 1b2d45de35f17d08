"""`cmake --install` into a prefix of our own: what is there, and that it works from there, for people, for other programs
(find_package) and for environment modules. The build is the one that the tested program comes from.
"""
import json
import math
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

import program
from program import REPOSITORY

BUILD = pathlib.Path(program.BINARY).resolve().parents[1]
CONSUMER = REPOSITORY / "tests" / "consumer"
PYTHON = "/usr/bin/python3"
ROOMS = re.findall(r"(?m)^quantbound_room\((\w+)", (REPOSITORY / "src" / "CMakeLists.txt").read_text())


def run(*words, **more):
    return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, timeout=500, **more)


class Installed(program.WithFolder):
    @classmethod
    def setUpClass(cls):
        if not (BUILD / "cmake_install.cmake").exists():
            raise unittest.SkipTest(f"{BUILD} is no build tree")
        folder = tempfile.TemporaryDirectory(prefix="quantbound_install_")
        cls.addClassCleanup(folder.cleanup)
        cls.prefix = pathlib.Path(folder.name) / "prefix"
        done = run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        cls.configs = cls.prefix / "share" / "quantbound" / "configs"
        # As a user has it who puts the prefix first, without the repository: nothing else of ours is on the way.
        cls.environment = {name: value for name, value in program.ENVIRONMENT.items() if not name.startswith(("PYTHON", "QUANTBOUND"))}
        cls.environment["PYTHONDONTWRITEBYTECODE"] = "1"  # test_nothing_else_is_there may come last
        cls.environment["PATH"] = f"{cls.prefix / 'bin'}:/usr/bin:/bin"

    def bash(self, command, **more):
        done = run("bash", "-c", command, cwd=self.folder, env=self.environment | more)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr}")
        return done.stdout

    # ------------------------------------------------------------------------------------------------- what is there

    def test_everything_is_in_its_usual_place(self):
        for name in ("bin/quantbound", "bin/quantbound-plot", "bin/quantbound-table", "lib/cmake/quantbound/quantboundConfig.cmake",
                     "share/man/man1/quantbound.1.gz", "share/man/man1/quantbound-sweep.1.gz", "share/man/man1/quantbound-plot.1.gz",
                     "share/man/man1/quantbound-table.1.gz", "share/bash-completion/completions/quantbound",
                     "share/bash-completion/completions/quantbound-plot", "share/doc/quantbound/copyright", "share/doc/quantbound/LICENSE",
                     "share/quantbound/configs/quickstart.toml", "share/quantbound/configs/models/digits_cnn.onnx",
                     "share/quantbound/hpc/quantbound.def"):
            self.assertTrue((self.prefix / name).is_file(), name)
        for room in ROOMS:
            self.assertTrue((self.prefix / "lib" / f"libquantbound_{room}.a").is_file(), room)
        headers = {path.relative_to(REPOSITORY / "include") for path in (REPOSITORY / "include").rglob("*.hpp")}
        self.assertEqual({path.relative_to(self.prefix / "include") for path in (self.prefix / "include").rglob("*.hpp")}, headers)
        module = self.prefix / "share" / "modulefiles" / "quantbound"
        self.assertEqual(len(list(module.iterdir())), 1)

    def test_nothing_else_is_there(self):
        for path in self.prefix.rglob("*"):
            name = path.relative_to(self.prefix).as_posix()
            self.assertNotIn("__pycache__", name)
            self.assertFalse(name.startswith("share/quantbound/configs/paper/data"), name)
            self.assertTrue(path.exists(), f"{name} is a dangling link")
            if path.is_symlink():
                self.assertFalse(os.path.isabs(os.readlink(path)), f"{name} is an absolute link")
                continue
            mode = stat.S_IMODE(path.stat().st_mode)
            executable = path.is_dir() or name.startswith("bin/") or re.fullmatch(r"share/quantbound/(analysis/quantbound-\w+|hpc/\w+\.sh)", name)
            self.assertEqual(mode, 0o755 if executable else 0o644, f"{name}: {mode:o}")
        for name in ("bin/quantbound",):
            self.assertNotIn("PATH", "".join(re.findall(r"(?m)^.*\((?:RPATH|RUNPATH)\).*$", run("readelf", "-d", self.prefix / name).stdout)))

    # -------------------------------------------------------------------------------------------------- for people

    def test_a_study_from_the_prefix_to_the_picture(self):
        out = self.bash(f"quantbound sweep {self.configs}/quickstart.toml --output q.h5 --set quantization.bits=[4] --set observe.uniform=64")
        self.assertIn("q.h5 is complete", out)
        self.assertIn("digits_cnn", self.bash("quantbound show q.h5"))
        self.bash("quantbound-plot q.h5 gain-depth -o gain.png")
        self.assertEqual((self.folder / "gain.png").read_bytes()[:4], b"\x89PNG")
        self.assertIn("digits_mlp_11", self.bash("quantbound-table q.h5"))
        says = self.bash(f"{PYTHON} -c 'import quantbound_analysis as qa; print(qa.open_result(\"q.h5\").sizes[\"network\"], qa.__file__)'",
                         PYTHONPATH=str(self.prefix / "share/quantbound/analysis"))
        self.assertTrue(says.startswith(f"5 {self.prefix}"), says)

    def test_the_prefix_may_be_moved(self):
        moved = self.folder / "moved"
        shutil.copytree(self.prefix, moved, symlinks=True)
        done = run(moved / "bin" / "quantbound-table", "none.h5", cwd=self.folder, env=self.environment)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertTrue(done.stderr.startswith("quantbound-table: error:") and "none.h5" in done.stderr, done.stderr)
        self.assertTrue(self.bash(f"{moved}/bin/quantbound --version").startswith("quantbound "))

    def test_man_finds_the_pages(self):
        where = self.bash("man -w quantbound-sweep quantbound-plot", MANPATH=f"{self.prefix}/share/man:")
        self.assertEqual(where.split(), [f"{self.prefix}/share/man/man1/quantbound-{page}.1.gz" for page in ("sweep", "plot")])
        page = self.bash("man quantbound-sweep | col -b", MANPATH=f"{self.prefix}/share/man:", MANWIDTH="100")
        self.assertIn("--max-time MINUTES", page)
        self.assertIn("EXIT CODES", page)

    def test_an_environment_module_sets_it_all(self):
        command = next((place for place in ("/usr/lib/x86_64-linux-gnu/modulecmd.tcl", "/usr/libexec/modulecmd.tcl") if pathlib.Path(place).exists()), None)
        if command is None:
            self.skipTest("environment-modules is not installed")
        module = f'module() {{ eval "$({command} bash "$@")"; }}; module use {self.prefix}/share/modulefiles; module load quantbound; '
        clean = {"PATH": "/usr/bin:/bin"}
        self.assertEqual(self.bash(f"{module} command -v quantbound quantbound-plot", **clean).split(),
                         [f"{self.prefix}/bin/quantbound", f"{self.prefix}/bin/quantbound-plot"])
        self.assertEqual(self.bash(f"{module} man -w quantbound-bound", **clean).strip(), f"{self.prefix}/share/man/man1/quantbound-bound.1.gz")
        self.assertIn("/ls.1", self.bash(f"{module} man -w ls", **clean))  # the system's pages stay in reach
        self.bash(f"{module} {PYTHON} -c 'import quantbound_analysis'", **clean)
        self.assertEqual(self.bash(f"{module} module unload quantbound; command -v quantbound || echo gone", **clean).strip(), "gone")
        if pathlib.Path("/usr/share/bash-completion/bash_completion").exists():
            self.assertIn("_quantbound quantbound", self.bash(
                f"{module} source /usr/share/bash-completion/bash_completion; _completion_loader quantbound; complete -p quantbound", **clean))

    # ------------------------------------------------------------------------------------------- for other programs

    def configure(self, source, build, *more):
        return run("cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_PREFIX_PATH={self.prefix}", *more)

    def test_a_program_computes_the_bounds_of_a_network(self):
        done = self.configure(CONSUMER, self.folder / "build")
        self.assertEqual(done.returncode, 0, done.stderr)
        # Only what the rooms need was looked for, and nothing was taken from the repository.
        self.assertNotRegex((self.folder / "build" / "CMakeCache.txt").read_text(), r"(?m)^(MPI_C_HEADER_DIR|HDF5_DIR)")
        done = run("cmake", "--build", self.folder / "build")
        self.assertEqual(done.returncode, 0, done.stdout)
        network = self.configs / "models" / "digits_cnn.onnx"
        said = run(self.folder / "build" / "bounds_of_a_network", network)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        found = {name: float(value) for name, value in map(str.split, said.stdout.splitlines())}
        wanted = json.loads(self.bash(f"quantbound bound {network} --box 0 1 --bits 4 --granularity channel --json"))["log10_bound"]
        self.assertEqual(len(found), 9)
        self.assertEqual({name: None if math.isnan(value) else value for name, value in found.items()}, wanted)

    def project(self, languages, find, main="int main() {}", link=""):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "CMakeLists.txt").write_text(f"cmake_minimum_required(VERSION 3.22)\nproject(x LANGUAGES {languages})\n"
                                               f"find_package(quantbound {find})\nadd_executable(x main.cpp)\n{link}\n")
        (folder / "main.cpp").write_text(main)
        return folder

    def test_all_rooms_link(self):
        links = " ".join(f"quantbound::{room}" for room in ROOMS)
        folder = self.project("C CXX", "0.1 REQUIRED", """
#include <cstdio>
#include <quantbound/certify/method.hpp>
#include <quantbound/parallel/session.hpp>
#include <quantbound/store/result_file.hpp>
#include <quantbound/sweep/study.hpp>
int main() {
  try { quantbound::store::read_result("none.h5"); } catch (const std::exception& error) { std::puts(error.what()); }
  std::printf("%s\\n%zu\\n", quantbound::parallel::mpi_library().c_str(), quantbound::certify::methods().size());
}
""", f"target_link_libraries(x PRIVATE {links})")
        done = self.configure(folder, folder / "build")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run("cmake", "--build", folder / "build")
        self.assertEqual(done.returncode, 0, done.stdout)
        said = run(folder / "build" / "x")
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertRegex(said.stdout, r"none\.h5[^\0]*\n.*MPI.*\n9\n")

    def test_what_cannot_be_found_is_said(self):
        for languages, find, message in (("CXX", "REQUIRED COMPONENTS bounds kitchen", "no room 'kitchen'; there are: core tensor"),
                                         ("CXX", "REQUIRED", "need the language C"), ("CXX", "9.1 REQUIRED COMPONENTS core", "version"),
                                         ("CXX", "0.2 REQUIRED COMPONENTS core", "version")):
            folder = self.project(languages, find)
            done = self.configure(folder, folder / "build")
            with self.subTest(find):
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(message, " ".join(done.stderr.split()))
        folder = self.project("CXX", "OPTIONAL_COMPONENTS core kitchen", link='if(quantbound_kitchen_FOUND OR NOT quantbound_core_FOUND)\n'
                              'message(FATAL_ERROR "components")\nendif()')
        done = self.configure(folder, folder / "build")
        self.assertEqual(done.returncode, 0, done.stderr)


class DebianPackages(program.WithFolder):
    """What cpack makes; that it installs and runs in a fresh root is shown in docs/install.md and takes a network."""

    @classmethod
    def setUpClass(cls):
        if shutil.which("dpkg-shlibdeps") is None:
            raise unittest.SkipTest("dpkg-dev is not installed")
        folder = tempfile.TemporaryDirectory(prefix="quantbound_deb_")
        cls.addClassCleanup(folder.cleanup)
        cls.place = pathlib.Path(folder.name)
        done = run("cpack", "--config", BUILD / "CPackConfig.cmake", "-G", "DEB", "-B", cls.place)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        cls.packages = {path.name.split("_")[0]: path for path in cls.place.glob("*.deb")}

    def field(self, package, name):
        return run("dpkg-deb", "--field", self.packages[package], name).stdout.strip()

    def contents(self, package):
        """{name: mode} as `tar` lists them."""
        lines = run("dpkg-deb", "--contents", self.packages[package]).stdout.splitlines()
        return {line.split()[5].removeprefix("."): line.split()[0] for line in lines} | {
            "owner": {line.split()[1] for line in lines}}

    def test_control_fields(self):
        self.assertEqual(set(self.packages), {"quantbound", "libquantbound-dev"})
        depends = self.field("quantbound", "Depends")
        for library in ("libboost-program-options", "libc6", "libdnnl", "libhdf5-openmpi", "libonnx", "libopenmpi", "libprotobuf", "libssl", "openmpi-bin"):
            self.assertIn(library, depends)
        self.assertNotIn("-dev", depends)
        self.assertIn("python3-xarray", self.field("quantbound", "Recommends"))
        self.assertEqual(self.field("quantbound", "Section"), "science")
        needed = self.field("libquantbound-dev", "Depends").split(", ")
        listed = (REPOSITORY / "scripts" / "dev" / "packages.sh").read_text()
        for package in needed:
            self.assertIn(re.sub(r" .*", "", package), listed)

    def test_files_and_permissions(self):
        for package, wanted, unwanted in (("quantbound", ["/usr/bin/quantbound", "/usr/share/man/man1/quantbound-sweep.1.gz",
                                                          "/usr/lib/python3/dist-packages/quantbound_analysis"], r"/usr/(include|lib/.*\.a$)|modulefile"),
                                          ("libquantbound-dev", ["/usr/include/quantbound/core/error.hpp"], r"/usr/(bin|share/(man|quantbound))")):
            contents = self.contents(package)
            self.assertEqual(contents.pop("owner"), {"root/root"})
            for name in (*wanted, f"/usr/share/doc/{package}/copyright", f"/usr/share/doc/{package}/changelog.gz"):
                self.assertIn(name, contents)
            for name, mode in contents.items():
                self.assertNotRegex(name, unwanted)
                self.assertTrue(name.startswith("/usr/") or name == "/", name)
                self.assertIn(mode, ("drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"), name)

    def test_it_runs_from_where_it_is_unpacked(self):
        run("dpkg-deb", "--extract", self.packages["quantbound"], self.folder)
        said = run(self.folder / "usr/bin/quantbound", "bound", self.folder / "usr/share/quantbound/configs/models/digits_mlp_5.onnx", "--box", 0, 1)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        self.assertIn("houache_mean", said.stdout)
        sections = run("readelf", "-SW", self.folder / "usr/bin/quantbound").stdout
        self.assertIn(".text", sections)
        self.assertNotIn(".symtab", sections)  # stripped


if __name__ == "__main__":
    unittest.main()
