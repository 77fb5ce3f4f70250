#!/usr/bin/env python3
"""Takes the CPU libtorch out of PyTorch's wheels: libraries and headers, no CUDA kernels, no Python.

    unpack_libtorch.py WHEELS OUT

leaves OUT/lib, OUT/include, OUT/licenses and OUT/build-version, the layout that LIBTORCH stands for.
"""

import ctypes
import pathlib
import re
import shutil
import sys
import zipfile

# The Linux wheels are built for CUDA. libtorch_cpu itself needs only these two small NVIDIA libraries,
# which it looks for beside itself; the rest of CUDA, and what serves Python, stays in the wheel.
NVIDIA = re.compile(r"nvidia/.*/lib(cudart|cupti)\.so\.\d+$")
LIBRARY = re.compile(r"torch/lib/[^/]+(\.so(\.\d+)*|\.dylib)$")
LEFT_OUT = re.compile(r"libtorch_cuda|libc10_cuda|nvshmem|nvrtc|libtorch_python|libtorch_global_deps|libshm")
LICENSE = re.compile(r"([^/]+)\.dist-info/(?:licenses/)?((?:LICEN[CS]E|NOTICE)[^/]*)$", re.IGNORECASE)


def destination(member):
    """Where a wheel's member goes below OUT, or None."""
    if member.startswith("torch/include/"):
        return member.removeprefix("torch/")
    if NVIDIA.match(member) or (LIBRARY.match(member) and not LEFT_OUT.search(member)):
        return f"lib/{member.rsplit('/', 1)[1]}"
    if found := LICENSE.match(member):
        return f"licenses/{found[1]}/{found[2]}"
    return None


def unpack(wheel, out):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            target = destination(member)
            if target is None or member.endswith("/"):
                continue
            path = out / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def point_past_cuda(lib):
    """Lets `-ltorch` and `-lgomp` link.

    The wheel's libtorch.so is an empty shell around libtorch_cpu and libtorch_cuda; without the latter it
    cannot be loaded. As a link to libtorch_cpu it stands for the same symbols.
    """
    if not (lib / "libtorch_cpu.so").exists():
        return
    (lib / "libtorch.so").unlink()
    (lib / "libtorch.so").symlink_to("libtorch_cpu.so")
    (lib / "libgomp.so").symlink_to("libgomp.so.1")


def check_loads(lib):
    """Loads it as a program would, so that a missing system library is named now and not at run time."""
    name = "libtorch_cpu.dylib" if sys.platform == "darwin" else "libtorch_cpu.so"
    ctypes.CDLL(str(lib / name))


def main():
    wheels, out = map(pathlib.Path, sys.argv[1:])
    version = None
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel, out)
        if wheel.name.startswith("torch-"):
            version = wheel.name.split("-")[1]
        wheel.unlink()
    point_past_cuda(out / "lib")
    check_loads(out / "lib")
    (out / "build-version").write_text(f"{version}\n")


if __name__ == "__main__":
    try:
        main()
    except (OSError, zipfile.BadZipFile) as error:
        sys.exit(f"{error}")
