# Spack recipe of quantbound, for Spack 1.0 and later. docs/install.md says how to put it into a package repository of your own;
# in a clone of the repository then: spack dev-build --source-path . quantbound@0.1.0
#
# Not built: Spack could not be had where this was written. tests/e2e/recipes_test.py holds it against CMakeLists.txt: every
# package that the build looks for is a dependency, and every option that it sets exists.
from spack_repo.builtin.build_systems.cmake import CMakePackage, generator

from spack.package import *


class Quantbound(CMakePackage):
    """How far a quantized neural network can stray from the original: bounds from theory, certificates with rounding errors
    included, and measurements, for thousands of pairs of a network (ONNX) and a quantization, under MPI."""

    version("0.1.0")

    license("Apache-2.0")

    variant("analysis", default=True, description="Install what quantbound-plot and quantbound-table need")
    variant("tests", default=False, description="Build the tests")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("ninja", type="build")
    depends_on("git", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("python@3.9:", type=("build", "run"))

    depends_on("mpi@3.1:")
    depends_on("hdf5+mpi+hl")
    depends_on("boost@1.74:+program_options")
    depends_on("eigen@3.4:")
    depends_on("fmt@9:")
    depends_on("onednn@2.6:2")
    depends_on("onnx@1.12:")
    depends_on("openssl")
    depends_on("protobuf@3.21:")
    depends_on("tomlplusplus")
    depends_on("xxhash")
    depends_on("clp")
    depends_on("googletest+gmock", when="+tests", type="build")

    with when("+analysis"):
        depends_on("py-numpy", type="run")
        depends_on("py-h5py", type="run")
        depends_on("py-h5netcdf", type="run")
        depends_on("py-xarray", type="run")
        depends_on("py-pandas", type="run")
        depends_on("py-matplotlib", type="run")

    conflicts("%gcc@:11", msg="C++20 as of GCC 12")

    generator("ninja")

    def cmake_args(self):
        # The target that Spack builds for decides about instructions, not the -march of the build's own default.
        return [
            self.define("QUANTBOUND_ARCH", ""),
            self.define("QUANTBOUND_PYTHON", self.spec["python"].command.path),
            self.define_from_variant("QUANTBOUND_TESTS", "tests"),
        ]

    def setup_run_environment(self, env):
        env.prepend_path("PYTHONPATH", self.prefix.share.quantbound.analysis)
