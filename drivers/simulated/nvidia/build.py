"""The fake libnvidia-ml.so.1, built by the compiler of this machine when it is first needed, and kept.

It is kept under a name that tells its sources, so that an old one is never taken for a new one. Where there is no
compiler, `missing()` says which package has one.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from drivers.simulated.nvidia.layout import c_header

HERE = Path(__file__).resolve().parent / "library"
SOURCES = ("state.c", "devices.c", "readings.c", "settings.c")
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-pthread")
LINKED = ("-ldl",)  # without a soname: the loader would give this library for the machine's real one later on
LIBRARY = "libnvidia-ml.so.1"


def compiler() -> str | None:
    """The C compiler, or None."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def missing() -> str:
    """The package that lacks here to build the library, or an empty string."""
    return "" if compiler() else "gcc"


def _kept() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "joulebench" / "simulated-nvml"


@functools.cache
def library() -> Path:
    """The built library. RuntimeError with the compiler's words."""
    program = compiler()
    if program is None:
        raise RuntimeError("the fake libnvidia-ml.so.1 needs a C compiler: install gcc")
    header = c_header()
    sources = [(HERE / name).read_text("utf-8") for name in ("fake.h", *SOURCES)]
    digest = hashlib.sha256("\0".join([header, *sources, program, *FLAGS, *LINKED]).encode()).hexdigest()[:16]
    built = _kept() / f"libnvidia-ml-{digest}.so"
    if built.exists():
        return built
    with contextlib.suppress(OSError):
        built.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(built.parent, os.W_OK):  # nowhere to keep it: built anew by each process
        own = Path(tempfile.mkdtemp(prefix="joulebench-nvml-"))
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        built = own / built.name
    with tempfile.TemporaryDirectory(prefix="joulebench-nvml-", dir=built.parent) as folder:
        (Path(folder) / "state.h").write_text(header, "ascii")
        out = Path(folder) / LIBRARY
        command = [program, *FLAGS, "-I", folder, "-I", str(HERE), *(str(HERE / name) for name in SOURCES),
                   "-o", str(out), *LINKED]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"the fake libnvidia-ml.so.1 does not build: {done.stderr[-2000:]}")
        out.replace(built)
    return built
