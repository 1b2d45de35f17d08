# shellcheck shell=bash
# What scripts/quickstart, scripts/test and .ci/run share: packages, build, MPI's environment. Source it in the root of
# the repository under `set -euo pipefail`; it defines functions and does nothing else.

say() { printf '== %s\n' "$*"; }
fail() { printf '%s: error: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Those of the packages named that are not installed, on one line.
missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

require_known_system() {
  local id='' version='' name='an unknown system'
  if [ -r /etc/os-release ]; then
    read -r id version name <<<"$(. /etc/os-release && printf '%s %s %s' "$ID" "${VERSION_ID:-unknown}" "${PRETTY_NAME:-$ID}")"
  fi
  case "$id $version" in
    'debian 12' | 'ubuntu 24.04') ;;
    *) fail "this is $name; only Debian 12 and Ubuntu 24.04 are known. Install what scripts/dev/packages.sh lists your own way" \
            "and run this again with --no-install" ;;
  esac
}

# Installs those of the packages named that are missing, after saying which. Needs root or sudo only if there are any.
install_missing() {
  local missing as_root=() log=build/apt.log
  command -v dpkg-query >/dev/null || require_known_system
  read -ra missing <<<"$(missing_packages "$@")"
  [ ${#missing[@]} -gt 0 ] || return 0
  require_known_system
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "packages are missing, and this is neither root nor is there sudo. As root, run:" \
                                       "apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing with apt-get (and what they depend on): ${missing[*]}"
  mkdir -p build
  if ! "${as_root[@]}" true; then fail "sudo was refused. As root, run: apt-get install --no-install-recommends ${missing[*]}"; fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120)
  if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    grep -E '^(E|W|Err)[: ]' "$log" | tail -n 5 >&2 || true
    fail "apt-get could not install the packages (all it said: $log). Is there a network, room on the disk, and a mirror" \
         "in /etc/apt (on Ubuntu with universe)?"
  fi
}

# How many compilers at a time: one per core that has 1.5 GB.
build_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  [ "$memory" -lt "$cores" ] && echo "$memory" || echo "$cores"
}

# configure DIRECTORY [CMAKE OPTION...]: a release build unless the options say otherwise; what cmake says goes to a log.
configure() {
  local directory=$1 fresh=()
  shift
  mkdir -p "$directory"
  if [ ! -f "$directory/build.ninja" ]; then
    fresh=(-G Ninja -DCMAKE_BUILD_TYPE=Release)
    if command -v ccache >/dev/null; then fresh+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
    # The default, x86-64-v3, needs a processor of 2013 or later.
    if ! grep -qw avx2 /proc/cpuinfo || ! grep -qw fma /proc/cpuinfo; then fresh+=(-DQUANTBOUND_ARCH=); fi
  fi
  cmake -S . -B "$directory" "${fresh[@]}" "$@" >"$directory/configure.log" 2>&1 ||
    { tail -n 15 "$directory/configure.log" >&2; fail "cmake could not configure the build ($directory/configure.log)"; }
}

# build DIRECTORY [CMAKE OPTION...]: quiet where nobody watches.
build() {
  local directory=$1 quiet=()
  shift
  [ -t 1 ] || quiet=(-- --quiet)
  cmake --build "$directory" -j "$(build_jobs)" "$@" "${quiet[@]}" || fail "the build failed; what the compiler said is above"
}

# Lets MPI programs run as root, in containers, and on fewer cores than ranks.
export_mpi_environment() {
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
  export OMPI_MCA_btl_vader_single_copy_mechanism=none
}
