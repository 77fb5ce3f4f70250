#!/usr/bin/env bash
# Tries setup.sh, install.sh and .ci/run on simulated machines: each lacks one thing, and each failure has to be
# one sentence that names it. Wheels come from a folder of tiny ones, so no network is needed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset LIBTORCH LIBTORCH_LIB LIBTORCH_INCLUDE LIBTORCH_USE_PYTORCH VIRTUAL_ENV CARGO_TARGET_DIR CC CXX
unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX

failures=0
passed=0
real_python=$(python3 -c 'import sys; print(sys.executable)')

# --- machines ---------------------------------------------------------------------------------------

# A machine is a PATH of links to the tools that any system has, and stand-ins that a test may break.
new_machine() {
    machine=$scratch/machine
    rm -rf "$machine" "$scratch/repo"
    mkdir -p "$machine" "$scratch/repo"
    cp -R "$root/scripts" "$root/.ci" "$root/Cargo.toml" "$scratch/repo"
    local tool
    for tool in awk bash cat chmod cp df dirname env find grep head ln ls mkdir mv rm sed sort tail touch uname; do
        ln -s "$(command -v "$tool")" "$machine/$tool"
    done
    stand_in cargo 'echo "cargo 99.0.0 (stand-in)"'
    stand_in cc 'exit 0'
    stand_in c++ 'exit 0'
    stand_in python3 "exec $real_python \"\$@\""
}

stand_in() {
    rm -f "$machine/$1"
    printf '#!/usr/bin/env bash\n%s\n' "$2" >"$machine/$1"
    chmod +x "$machine/$1"
}

without() { rm -f "$machine/$1"; }

# Wheels with the names and folders of the real ones and almost nothing in them.
make_wheels() {
    wheels=$scratch/wheels
    mkdir -p "$wheels"
    echo 'int nothing;' | cc -shared -fPIC -x c - -o "$scratch/library"
    "$real_python" - "$wheels" "$scratch/library" "$(uname -m)" <<'PYTHON'
import pathlib, sys, zipfile
out, library, arch = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes(), sys.argv[3]
def wheel(name, version, python, platform, files):
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(out / f"{name}-{version}-{python}-{platform}_{arch}.whl", "w") as archive:
        for path in files:
            archive.writestr(path, library)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {python}-{platform}_{arch}\n")
        archive.writestr(f"{info}/licenses/LICENSE", "terms")
        archive.writestr(f"{info}/RECORD", "")
libraries = "libtorch_cpu.so libtorch.so libc10.so libgomp.so.1 libtorch_cuda.so libtorch_python.so".split()
wheel("torch", "2.11.0", "cp311-cp311", "manylinux_2_28",
      [f"torch/lib/{name}" for name in libraries] + ["torch/include/a.h", "torch/nn/a.py"])
wheel("nvidia_cuda_runtime", "13.0.96", "py3-none", "manylinux2014", ["nvidia/cu13/lib/libcudart.so.13"])
wheel("nvidia_cuda_cupti", "13.0.85", "py3-none", "manylinux_2_25", ["nvidia/cu13/lib/libcupti.so.13"])
PYTHON
}

# A folder that looks like libtorch of the version given.
make_libtorch() {
    mkdir -p "$1/lib" "$1/include/torch/headeronly" "$1/include/torch/csrc/api/include/torch"
    touch "$1/lib/libtorch_cpu.so" "$1/include/torch/csrc/api/include/torch/torch.h"
    awk -v v="$2" 'BEGIN { n = split(v, p, "."); split("MAJOR MINOR PATCH", k, " ")
        for (i = 1; i <= n; i++) print "#define TORCH_VERSION_" k[i], p[i] }' >"$1/include/torch/headeronly/version.h"
}

# --- checks -----------------------------------------------------------------------------------------

# setup [NAME=VALUE…]: runs setup.sh on the machine with these variables.
setup() {
    try env PIP_NO_INDEX=1 PIP_FIND_LINKS="$wheels" "$@" "$scratch/repo/scripts/setup.sh"
}

# install [--uninstall] PREFIX
install() {
    try "$scratch/repo/scripts/install.sh" "$@"
}

# A braced group, so that bash's own remark about a killed script is not shown.
try() {
    status=0
    { env -i PATH="$machine" HOME="$scratch" "$@" >"$scratch/out" 2>"$scratch/err"; } 2>/dev/null || status=$?
}

# refuses WHAT TEXT: the last run failed with one sentence that contains TEXT.
refuses() {
    local lines
    lines=$(awk 'END { print NR }' "$scratch/err")
    if [ "$status" -eq 1 ] && [ "$lines" -eq 1 ] && grep -qF -- "$2" "$scratch/err"; then
        verdict ok "$1"
    else
        verdict FAILED "$1: status $status, expected one line with \"$2\""
    fi
}

# accepts WHAT TEXT: the last run went well and said TEXT.
accepts() {
    if [ "$status" -eq 0 ] && grep -qF -- "$2" "$scratch/out"; then
        verdict ok "$1"
    else
        verdict FAILED "$1: status $status, expected \"$2\""
    fi
}

# holds WHAT COMMAND…
holds() {
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then verdict ok "$what"; else verdict FAILED "$what"; fi
}

lacks() { ! compgen -G "$1" >/dev/null; }

verdict() {
    printf '%-6s %s\n' "$1" "$2"
    if [ "$1" = ok ]; then
        passed=$((passed + 1))
    else
        failures=$((failures + 1))
        sed 's/^/       | /' "$scratch/out" "$scratch/err"
    fi
}

# --- what may be missing ----------------------------------------------------------------------------

missing_tools() {
    new_machine && without cargo && setup
    refuses "no cargo" "cargo is missing: install Rust"

    new_machine && stand_in cargo 'echo "cargo 1.63.0"' && setup
    refuses "an old cargo" "cargo is 1.63.0, haq needs"

    new_machine && without c++ && setup
    refuses "no C++ compiler" "no C++ compiler"

    new_machine && without cc && setup
    refuses "no linker" "no C++ compiler"

    new_machine && stand_in c++ 'exit 1' && setup
    refuses "a compiler without C++ headers" "cannot compile a C++17 program"

    new_machine && without python3 && setup
    refuses "no python3" "python3 is missing"

    # shellcheck disable=SC2016 # for the stand-in
    new_machine && stand_in python3 '[ "$1" = --version ] && echo "Python 3.6.8" || exit 1' && setup
    refuses "an old python3" "python3 is 3.6.8"

    # shellcheck disable=SC2016
    new_machine && stand_in python3 '[ "$1" = -m ] && exit 1; exit 0' && setup
    refuses "neither pip nor venv" "python3 has neither pip nor venv"

    new_machine && stand_in uname 'echo Plan9' && setup
    refuses "a system without wheels" "no libtorch 2.11.0 wheel for Plan9"
}

missing_space_or_network() {
    new_machine && stand_in df 'echo header; echo "disk 9 9 1200000 9% /"' && setup
    refuses "too little disk space" "of disk space"
    holds "1.2 GB of it are named" grep -q 'has 1.2 GB' "$scratch/err"

    new_machine && touch "$scratch/repo/.libtorch" && setup
    refuses "a repository that cannot be written" "cannot write to"

    new_machine && setup PIP_NO_INDEX=0 PIP_FIND_LINKS= PIP_INDEX_URL=http://127.0.0.1:9/simple PIP_RETRIES=0
    refuses "no network" "cannot reach the Python package index"

    new_machine && setup PIP_FIND_LINKS="$scratch/repo"
    refuses "an index without the package" "pip cannot download nvidia-cuda-runtime==13.0.96"

    new_machine && stand_in python3 "case \"\$*\" in *download*) echo 'No space left on device' >&2; exit 1 ;; esac; exec $real_python \"\$@\"" && setup
    refuses "a disk that fills while downloading" "the disk became full"

    new_machine && rm -rf "$scratch/torn" && cp -R "$wheels" "$scratch/torn"
    for wheel in "$scratch"/torn/torch-*; do echo torn >"$wheel"; done
    setup PIP_FIND_LINKS="$scratch/torn"
    refuses "a damaged wheel" "pip cannot download torch==2.11.0"
    holds "nothing is left behind" lacks "$scratch/repo/.libtorch/*"
}

# --- what is there already --------------------------------------------------------------------------

own_libtorch() {
    new_machine
    setup LIBTORCH=libtorch && refuses "a relative LIBTORCH" "not an absolute path"
    setup LIBTORCH="$scratch/nowhere" && refuses "LIBTORCH that is not there" "no libtorch headers"
    make_libtorch "$scratch/old" 2.9.1
    setup LIBTORCH="$scratch/old" && refuses "LIBTORCH of another version" "which is version 2.9.1"
    make_libtorch "$scratch/bare" 2.11.0 && rm "$scratch/bare/lib/libtorch_cpu.so"
    setup LIBTORCH="$scratch/bare" && refuses "LIBTORCH without libraries" "no lib/libtorch_cpu"
    make_libtorch "$scratch/good" 2.11.0
    setup LIBTORCH="$scratch/good" && accepts "LIBTORCH of the right version" "$scratch/good (LIBTORCH)"
    holds "and nothing is installed" lacks "$scratch/repo/.libtorch"
}

python_torch() {
    new_machine && stand_in python3 'echo "No module named torch" >&2; exit 1'
    setup LIBTORCH_USE_PYTORCH=1 && refuses "Python without torch" "cannot import torch"
    stand_in python3 'echo 2.9.0+cpu'
    setup LIBTORCH_USE_PYTORCH=1 && refuses "Python with another torch" "Python's torch is 2.9.0+cpu"
    stand_in python3 'echo 2.11.0+cu130'
    setup LIBTORCH_USE_PYTORCH=1 && accepts "Python with the right torch" "Python's torch 2.11.0+cu130"
    without python3
    setup LIBTORCH_USE_PYTORCH=1 && refuses "no Python" "python3 is missing"
}

# --- the installation itself ------------------------------------------------------------------------

installation() {
    local home=$scratch/repo/.libtorch
    new_machine && setup
    accepts "a fresh machine" "libtorch 2.11.0 is in .libtorch"
    holds "libtorch_cpu is there" test -f "$home/torch/lib/libtorch_cpu.so"
    holds "the two NVIDIA libraries are beside it" ls "$home/torch/lib/libcudart.so.13" "$home/torch/lib/libcupti.so.13"
    holds "the headers are there" test -f "$home/torch/include/a.h"
    holds "-ltorch links without CUDA" test "$home/torch/lib/libtorch.so" -ef "$home/torch/lib/libtorch_cpu.so"
    holds "CUDA and Python parts are not" lacks "$home/torch/lib/*_cuda*"
    holds "the licences are kept" test -f "$home/torch/licenses/torch-2.11.0/LICENSE"
    holds "wheels and temporary files are gone" lacks "$home/part.*"

    without python3 && setup
    accepts "a second run, which needs no Python" "libtorch 2.11.0 is in .libtorch"

    new_machine && stand_in python3 "case \"\$*\" in *unpack*) mkdir -p \"\${@: -1}/lib\"; kill -9 \$PPID ;; esac; exec $real_python \"\$@\"" && setup
    holds "a killed run leaves no version behind" test "$status" -ne 0 -a ! -e "$home/version" -a ! -e "$home/torch"
    stand_in python3 "exec $real_python \"\$@\"" && setup
    accepts "the run after it" "libtorch 2.11.0 is in .libtorch"
    holds "it removes what the killed one left" lacks "$home/part.*"

    new_machine && stand_in python3 "[ \"\$1 \$2\" = '-m pip' ] && exit 1; exec $real_python \"\$@\"" && setup
    accepts "a python3 with venv but no pip" "libtorch 2.11.0 is in .libtorch"
}

program() {
    local prefix="$scratch/some prefix"
    new_machine && setup
    install "$prefix"
    refuses "install without a build" "run \`cargo build --release\` first"
    mkdir -p "$scratch/repo/target/release"
    cp "$machine/cargo" "$scratch/repo/target/release/haq"
    install "$prefix"
    accepts "install" "installed $prefix/bin/haq"
    holds "it says how to extend PATH" grep -q 'is not on PATH' "$scratch/out"
    holds "the program starts" "$prefix/bin/haq" --version
    holds "libtorch is below the prefix" test -f "$prefix/lib/haq/libtorch_cpu.so"
    holds "links for the linker are not" test ! -e "$prefix/lib/haq/libtorch.so"
    install "$prefix"
    accepts "install over an installation" "installed $prefix/bin/haq"
    install --uninstall "$prefix"
    accepts "uninstall" "removed $prefix/bin/haq"
    holds "it removes everything" lacks "$prefix/*/*"
    mkdir -p "$prefix/lib/haq" && touch "$prefix/lib/haq/theirs"
    install "$prefix"
    refuses "install over files of someone else" "holds files that haq did not install"
    install --uninstall "$prefix"
    refuses "uninstall of files of someone else" "holds files that haq did not install"
}

continuous_integration() {
    local ci=$scratch/repo/.ci/run
    new_machine && stand_in make 'echo "make $*"'
    local tool
    for tool in chromium chromedriver nats-server openssl ip; do stand_in "$tool" 'exit 0'; done
    stand_in id 'echo 0'
    # shellcheck disable=SC2016 # for the stand-in
    stand_in apt-get 'echo "apt-get $*"; case $* in install*) ln -s cc "${0%/*}/c++" ;; esac'
    try "$ci"
    accepts "CI where nothing is missing" "make test"
    holds "it installs nothing" test ! -s "$scratch/err" -a "$(grep -c apt-get "$scratch/out")" = 0

    without c++ && try "$ci"
    accepts "CI without a compiler, as root" "installing g++"
    holds "it goes on to the tests" grep -qx 'make test' "$scratch/out"

    # shellcheck disable=SC2016
    without c++ && stand_in id 'echo 1000' && try "$ci"
    refuses "CI without a compiler, as somebody" "install g++ first"

    stand_in c++ 'exit 0' && without chromium && try "$ci"
    accepts "CI without a browser, as somebody" "chromium cannot be installed: no browser tests"
    holds "it goes on to the tests" grep -qx 'make test' "$scratch/out"

    stand_in chromium 'exit 0' && without openssl && try "$ci"
    accepts "CI without certificates, as somebody" "openssl cannot be installed: no tests with them"
    holds "it goes on to the tests" grep -qx 'make test' "$scratch/out"

    stand_in rustup 'echo "rustup $*"' && try "$ci"
    accepts "CI with a minimal Rust" "rustup component add clippy"
}

main() {
    make_wheels
    missing_tools
    missing_space_or_network
    own_libtorch
    python_torch
    installation
    program
    continuous_integration
    echo "$passed passed, $failures failed"
    [ "$failures" -eq 0 ]
}

main
