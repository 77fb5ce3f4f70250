#!/usr/bin/env bash
# Gets a fresh machine ready to build haq: checks the tools, brings libtorch into .libtorch.
#
# What is there already is used: LIBTORCH when set, the active Python's torch when
# LIBTORCH_USE_PYTORCH is set (for CUDA), .libtorch when an earlier run finished.
set -euo pipefail

torch_version=2.11.0
needed_kb=3000000 # wheels and libtorch 1.6 GB for a moment, then 0.5 GB, and the build
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=$root/.libtorch

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

main() {
    check_cargo
    check_compiler
    if [ -n "${LIBTORCH_USE_PYTORCH+set}" ]; then
        check_python_torch
    elif [ -n "${LIBTORCH:-}" ] && [ "$LIBTORCH" != "$home/torch" ]; then
        check_libtorch
    elif [ "$(cat "$home/version" 2>/dev/null)" = "$torch_version" ] && [ -d "$home/torch/lib" ]; then
        say "libtorch $torch_version is in .libtorch"
    else
        install_libtorch
    fi
}

check_cargo() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null ||
        die "cargo is missing: install Rust $wanted or newer from https://rustup.rs and open a new terminal"
    found=$(cargo --version | awk '{ print $2 }') || die "cargo does not run: \`cargo --version\` says why"
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
        die "cargo is $found, haq needs $wanted or newer: run \`rustup update stable\`"
}

# torch-sys is C++, and rustc links with cc.
check_compiler() {
    local compiler
    for compiler in "${CXX:-c++}" "${CC:-cc}"; do
        command -v "${compiler%% *}" >/dev/null ||
            die "no C++ compiler, \`$compiler\` is not there: $(how_to_get_compiler)"
    done
}

how_to_get_compiler() {
    if [ "$(uname -s)" = Darwin ]; then
        echo "run \`xcode-select --install\`"
    else
        echo "install g++ (\`sudo apt-get install g++\`, \`sudo dnf install gcc-c++\`) or set CXX and CC"
    fi
}

check_python_torch() {
    local python=python3 found
    [ -z "${VIRTUAL_ENV:-}" ] || python=python
    command -v "$python" >/dev/null ||
        die "LIBTORCH_USE_PYTORCH is set but $python is missing: install Python with torch $torch_version, or unset it"
    # torch-sys asks cpp_extension for the paths, which in turn needs setuptools.
    found=$("$python" -c 'import torch.utils.cpp_extension; print(torch.__version__)' 2>&1 | tail -n 1) || true
    case $found in
    "$torch_version" | "$torch_version"+*) say "libtorch is that of Python's torch $found" ;;
    [0-9]*) die "LIBTORCH_USE_PYTORCH is set but Python's torch is $found, haq needs $torch_version: install it, or unset the variable" ;;
    *) die "LIBTORCH_USE_PYTORCH is set but $python cannot import torch.utils.cpp_extension ($found): install torch==$torch_version and setuptools, or unset the variable" ;;
    esac
}

check_libtorch() {
    local found hint="point it to libtorch $torch_version, or unset it to have one installed in .libtorch"
    case $LIBTORCH in
    /*) ;;
    *) die "LIBTORCH is $LIBTORCH, which is not an absolute path: $hint" ;;
    esac
    [ -f "${LIBTORCH_INCLUDE:-$LIBTORCH}/include/torch/csrc/api/include/torch/torch.h" ] ||
        die "LIBTORCH is $LIBTORCH, which has no libtorch headers: $hint"
    compgen -G "${LIBTORCH_LIB:-$LIBTORCH}/lib/libtorch_cpu.*" >/dev/null ||
        die "LIBTORCH is $LIBTORCH, which has no lib/libtorch_cpu: $hint"
    found=$(version_of_headers "${LIBTORCH_INCLUDE:-$LIBTORCH}/include/torch")
    [ "$found" = "$torch_version" ] || die "LIBTORCH is $LIBTORCH, which is version ${found:-unknown}: $hint"
    say "libtorch $found is in $LIBTORCH (LIBTORCH)"
}

# The header that holds the version has moved between releases.
version_of_headers() {
    local header
    for header in headeronly/version.h csrc/api/include/torch/version.h; do
        if grep -q '#define TORCH_VERSION_MAJOR' "$1/$header" 2>/dev/null; then
            awk '/#define TORCH_VERSION_(MAJOR|MINOR|PATCH) / { printf "%s%s", dot, $3; dot = "." }' "$1/$header"
            return
        fi
    done
}

install_libtorch() {
    check_python
    check_compiles
    check_space
    mkdir -p "$home" 2>/dev/null || die "cannot write to $root: make it writable or clone haq elsewhere"
    remove_stale_parts
    part=$home/part.$$
    trap 'rm -rf "$part"' EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$part/tmp" "$part/wheels"
    # pip unpacks here too: /tmp is often a small file system in memory.
    export TMPDIR=$part/tmp
    find_pip
    download_wheels
    say "unpacking"
    python3 "$root/scripts/unpack_libtorch.py" "$part/wheels" "$part/torch" 2>"$part/log" || explain_unpack
    move_into_place
    say "libtorch $torch_version is in .libtorch"
}

check_python() {
    command -v python3 >/dev/null ||
        die "python3 is missing, it fetches libtorch: install it (\`sudo apt-get install python3 python3-venv\`) or set LIBTORCH"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null ||
        die "python3 is $(python3 --version 2>&1 | awk '{ print $2 }'), fetching libtorch needs 3.9 or newer: upgrade it or set LIBTORCH"
}

# clang++ without a C++ library is there but of no use.
check_compiles() {
    # shellcheck disable=SC2086 # CXX may carry flags
    ${CXX:-c++} -x c++ -std=c++17 -fsyntax-only - 2>/dev/null <<<$'#include <string>\nstd::string s;' ||
        die "the C++ compiler \`${CXX:-c++}\` cannot compile a C++17 program: $(how_to_get_compiler)"
}

check_space() {
    local free_kb
    free_kb=$(df -Pk "$root" | awk 'NR == 2 { print $4 }')
    case $free_kb in
    '' | *[!0-9]*) return ;; # a file system that does not tell
    esac
    [ "$free_kb" -ge "$needed_kb" ] ||
        die "libtorch and the build need $(gigabytes $needed_kb) of disk space, $root has $(gigabytes "$free_kb"): free some or clone haq elsewhere"
}

gigabytes() { awk -v kb="$1" 'BEGIN { printf "%.1f GB", kb / 1e6 }'; }

# What a killed run left; a running one keeps its own.
remove_stale_parts() {
    local stale
    for stale in "$home"/part.*; do
        kill -0 "${stale##*.}" 2>/dev/null || rm -rf "$stale"
    done
}

find_pip() {
    if python3 -m pip --version >/dev/null 2>&1; then
        pip=(python3 -m pip)
    elif python3 -m venv "$part/venv" >/dev/null 2>&1; then
        pip=("$part/venv/bin/python" -m pip)
    else
        die "python3 has neither pip nor venv: install one (\`sudo apt-get install python3-venv\`) or set LIBTORCH"
    fi
}

# The wheels are always those for Python 3.11: only their C++ libraries are used, by no Python at all.
download_wheels() {
    case $(uname -s)-$(uname -m) in
    Linux-x86_64) download_linux_wheels x86_64 ;;
    Linux-aarch64) download_linux_wheels aarch64 ;;
    Darwin-arm64) download torch==$torch_version macosx_11_0_arm64 ;;
    *) die "there is no libtorch $torch_version wheel for $(uname -s) on $(uname -m): build it and set LIBTORCH" ;;
    esac
}

download_linux_wheels() {
    download nvidia-cuda-runtime==13.0.96 "manylinux2014_$1"
    download nvidia-cuda-cupti==13.0.85 "manylinux_2_25_$1"
    download torch==$torch_version "manylinux_2_28_$1"
}

download() {
    local progress=(--quiet --progress-bar=off)
    [ ! -t 1 ] || progress=(--progress-bar=on)
    say "downloading $1"
    # No cache: older pips take a whole wheel into memory to cache it.
    PIP_REQUIRE_VIRTUALENV=0 "${pip[@]}" download "${progress[@]}" --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary=:all: --implementation cp --python-version 311 --platform "$2" --dest "$part/wheels" \
        --log "$part/pip.log" "$1" 2>"$part/log" || explain_download "$1"
}

explain_download() {
    local network='could not fetch url|max retries|connection (refused|reset|aborted|broken|error|timed)|timed out'
    network+='|failed to (establish|resolve)|unreachable|proxyerror|sslerror'
    if grep -qi 'no space left' "$part/log"; then
        die "the disk became full while downloading $1: free $(gigabytes $needed_kb) below $root and run it again"
    elif grep -qsiE "$network" "$part/log" "$part/pip.log"; then
        die "cannot reach the Python package index for $1: check the network (and pip's proxy or index settings) and run it again"
    fi
    die "pip cannot download $1 ($(last_error)): check pip's index settings or set LIBTORCH"
}

explain_unpack() {
    if grep -qi 'no space left' "$part/log"; then
        die "the disk became full while unpacking libtorch: free $(gigabytes $needed_kb) below $root and run it again"
    fi
    die "libtorch was downloaded but is not usable here ($(last_error)): run it again, or set LIBTORCH to one that is"
}

last_error() { { grep -v '^$' "$part/log" || echo "no reason given"; } | tail -n 1; }

# The version file comes last: without it the next run starts over.
move_into_place() {
    rm -f "$home/version"
    find "$home" -mindepth 1 -maxdepth 1 ! -name 'part.*' -exec rm -rf {} +
    mv "$part/torch" "$home/torch"
    echo "$torch_version" >"$home/version"
}

main
