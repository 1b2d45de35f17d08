#!/usr/bin/env bash
# Installs the Debian packages where it is run, uses everything in them, and removes them again. For a fresh Debian 12 root or
# container that may be thrown away, as root, with a mirror in reach:
#
#     cpack --config build/CPackConfig.cmake -G DEB -B /tmp/packages
#     DESTDIR=/tmp/destination cmake --install build --prefix /opt/quantbound
#     tar -C /tmp/destination -cf /tmp/packages/prefix.tar .
#     scripts/dev/check_packages.sh /tmp/packages            (in the fresh root: this repository and that folder)
#
# Steps, each of which may be named alone: program apptainer analysis manual development lmod removal.
set -euo pipefail
cd "$(dirname "$0")/../.."
repository=$PWD packages=$1
shift
configs=/usr/share/quantbound/configs
scratch=/tmp/quantbound_packages
mkdir -p "$scratch"
export DEBIAN_FRONTEND=noninteractive
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

fail() { printf 'check_packages.sh: error: %s\n' "$*" >&2; exit 1; }
install() { apt-get install -y --no-install-recommends "$@" >"$scratch/apt.log" 2>&1 || { tail "$scratch/apt.log" >&2; fail "apt-get install $*"; }; }

program() {
  apt-get update >/dev/null
  install "$packages"/quantbound_*.deb
  grep -E 'newly installed|disk space' "$scratch/apt.log"
  quantbound --version
  quantbound bound "$configs/models/digits_cnn.onnx" --box 0 1 --bits 4
  quantbound sweep "$configs/quickstart.toml" --output "$scratch/alone.h5" --set 'quantization.bits=[4]' --set observe.uniform=256
  mpirun -n 2 quantbound sweep "$configs/quickstart.toml" --output "$scratch/two.h5" --set 'quantization.bits=[4]' --set observe.uniform=256
  quantbound show "$scratch/two.h5" --quantizer round --granularity channel
  if quantbound-plot "$scratch/two.h5" gain-depth -o "$scratch/gain.png"; then fail "quantbound-plot needs xarray, which is not installed"; fi
}

section() { sed -n "/^%$1\$/,/^%/{/^%/d;p}" scripts/hpc/quantbound.def; }

apptainer() { # what the definition does inside its image
  cp "$packages"/quantbound_*.deb /tmp/quantbound.deb
  sh -ec "$(section post)" >"$scratch/post.log" 2>&1 || { tail "$scratch/post.log" >&2; fail "%post of quantbound.def"; }
  sh -ec "$(section test)"
}

analysis() {
  cd "$scratch"
  quantbound-plot two.h5 gain-depth -o gain.png
  quantbound-table two.h5
  python3 -c 'import quantbound_analysis as qa; print(qa.__file__, qa.open_result("two.h5").sizes["network"])'
  cd "$repository"
}

manual() {
  apt-get update >/dev/null
  install man-db bash-completion
  [ "$(man -w quantbound-sweep)" = /usr/share/man/man1/quantbound-sweep.1.gz ] || fail "man does not find quantbound-sweep"
  bash -c 'source /usr/share/bash-completion/bash_completion; _completion_loader quantbound; complete -p quantbound'
}

development() {
  install "$packages"/libquantbound-dev_*.deb g++ cmake ninja-build
  cmake -S tests/consumer -B "$scratch/consumer" -G Ninja >/dev/null
  cmake --build "$scratch/consumer" >/dev/null
  "$scratch/consumer/bounds_of_a_network" "$configs/models/digits_cnn.onnx"
  mkdir -p "$scratch/every_room"
  cat >"$scratch/every_room/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.22)
project(every_room LANGUAGES C CXX)
find_package(quantbound REQUIRED)
add_executable(every_room main.cpp)
target_link_libraries(every_room PRIVATE quantbound::store quantbound::parallel)
END
  cat >"$scratch/every_room/main.cpp" <<'END'
#include <iostream>
#include <quantbound/parallel/session.hpp>
#include <quantbound/store/result_file.hpp>
int main(int, char** arguments) {
  quantbound::store::read_result(arguments[1]);
  std::cout << quantbound::parallel::mpi_library() << '\n';
}
END
  cmake -S "$scratch/every_room" -B "$scratch/every_room/build" -G Ninja >/dev/null
  cmake --build "$scratch/every_room/build" >/dev/null
  "$scratch/every_room/build/every_room" "$scratch/two.h5"
}

lmod() { # the module file comes with `cmake --install`, not with the packages
  install lmod
  tar -C / -xf "$packages/prefix.tar"
  bash -c 'source /usr/share/lmod/lmod/init/bash; module use /opt/quantbound/share/modulefiles; module load quantbound
    module list 2>&1; command -v quantbound quantbound-plot; man -w quantbound-sweep
    case $(command -v quantbound) in /opt/*) ;; *) exit 1 ;; esac
    module unload quantbound; case $(command -v quantbound) in /opt/*) exit 1 ;; esac'
}

removal() {
  apt-get purge -y libquantbound-dev quantbound >/dev/null 2>&1
  local left
  left=$(find /usr /etc /var/lib/quantbound* -xdev -name '*quantbound*' -not -path "$repository/*" -not -path '/usr/share/modulefiles/*' 2>/dev/null || true)
  [ -z "$left" ] || fail "left behind: $left"
}

for step in "${@:-program apptainer analysis manual development lmod removal}"; do
  for name in $step; do
    printf '== %s\n' "$name"
    "$name"
  done
done
