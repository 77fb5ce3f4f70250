#!/usr/bin/env bash
# Installs the release build below a prefix: PREFIX/bin/haq and libtorch in PREFIX/lib/haq.
# The binary looks there first (build.rs), so it works without this repository.
#
#     install.sh PREFIX              after `cargo build --release`
#     install.sh --uninstall PREFIX
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

main() {
    local uninstall=
    if [ "${1:-}" = --uninstall ]; then
        uninstall=yes
        shift
    fi
    [ -n "${1:-}" ] || die "usage: install.sh [--uninstall] PREFIX"
    local prefix
    case $1 in
    /*) prefix=$1 ;;
    [~]/*) prefix=$HOME/${1#*/} ;; # only some shells expand that of `make install PREFIX=~/.local`
    *) prefix=$PWD/$1 ;;
    esac
    bin=$prefix/bin
    lib=$prefix/lib/haq
    if [ -n "$uninstall" ]; then remove; else install; fi
}

install() {
    local binary=${CARGO_TARGET_DIR:-$root/target}/release/haq
    [ -x "$binary" ] || die "$binary is not there: run \`cargo build --release\` first"
    mkdir -p "$bin" "$lib" 2>/dev/null || die "cannot write to ${bin%/bin}: choose another with \`make install PREFIX=...\`"
    check_ours
    install_libtorch
    # A new file under the same name: a haq that runs now keeps its own.
    cp "$binary" "$bin/.haq.new"
    mv -f "$bin/.haq.new" "$bin/haq"
    (cd / && "$bin/haq" --version >/dev/null) || die "$bin/haq was installed but does not start"
    echo "installed $bin/haq"
    case ":$PATH:" in
    *":$bin:"*) ;;
    *) echo "$bin is not on PATH; this adds it: export PATH=\"$bin:\$PATH\"" ;;
    esac
}

install_libtorch() {
    local source
    source=$(libtorch_lib)
    rm -rf "$lib.new"
    mkdir "$lib.new"
    if [ -z "$source" ] || compgen -G "$source/libtorch_cuda.*" >/dev/null; then
        # Gigabytes, and their user has them anyway: the binary's second run path leads there.
        echo "libtorch with CUDA is not copied: keep it where it is"
    else
        # Links serve the linker only, archives too.
        find "$source" -maxdepth 1 -type f \( -name '*.so' -o -name '*.so.*' -o -name '*.dylib' \) -exec cp {} "$lib.new" \;
        [ ! -d "$source/../licenses" ] || cp -R "$source/../licenses" "$lib.new"
    fi
    touch "$lib.new/installed-by-haq"
    rm -rf "$lib"
    mv "$lib.new" "$lib"
}

# The folder the build linked with; empty for a Python's torch.
libtorch_lib() {
    if [ -n "${LIBTORCH_USE_PYTORCH+set}" ]; then
        return
    fi
    echo "${LIBTORCH_LIB:-${LIBTORCH:-$root/.libtorch/torch}}/lib"
}

# Nothing that someone else put there is removed.
check_ours() {
    [ -e "$lib/installed-by-haq" ] || [ -z "$(ls -A "$lib" 2>/dev/null)" ] ||
        die "$lib holds files that haq did not install: move them or choose another PREFIX"
}

remove() {
    [ ! -d "$lib" ] || check_ours
    rm -rf "$lib"
    rm -f "$bin/haq"
    echo "removed $bin/haq and $lib"
}

main "$@"
