# shellcheck shell=bash disable=SC2034  # the arrays are for whoever sources this
# The packages quantbound needs, by purpose; Debian 12 and Ubuntu 24.04 call them the same. One place: scripts/quickstart,
# scripts/test and .ci/run read it, and so may you: apt-get install --no-install-recommends "${build_packages[@]}".

build_packages=(
  git g++ cmake ninja-build pkg-config
  openmpi-bin libopenmpi-dev libhdf5-openmpi-dev     # hdf5: the parallel one
  libeigen3-dev libboost-program-options-dev libfmt-dev libtomlplusplus-dev libxxhash-dev libssl-dev
  libonnx-dev libprotobuf-dev protobuf-compiler
  coinor-libclp-dev                                  # linear programs of certify's star
  libdnnl-dev ocl-icd-opencl-dev                     # dnnl-config.cmake asks for OpenCL
)
analysis_packages=(
  python3-numpy python3-h5py python3-xarray python3-h5netcdf python3-netcdf4 python3-pandas python3-matplotlib
)
test_packages=(
  libgtest-dev libgmock-dev netcdf-bin hdf5-tools python3-onnx
  dpkg-dev file                                      # cpack asks them what a Debian package depends on
  man-db mandoc bash-completion
)
ci_packages=(
  ccache clang-format-14 shellcheck python3-sklearn
  environment-modules                                # not for everybody: it excludes lmod
  slurm-wlm munge                                    # a Slurm of its own for tests/e2e/slurm_test.py
  chromium python3-nbclient python3-ipykernel        # the report in a browser, the notebook in a kernel
)
