"""The Python of a board: is it there, is it new enough, which packages does it find, and what to type if not."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from harness.core.errors import DeviceError
from harness.core.ports import CheckItem, Completed, Transport

OLDEST = (3, 6)
COMMAND_S = 60.0
VERSION = "import sys; print('joulebench-python %d.%d.%d' % sys.version_info[:3])"  # any Python can run this
ABOUT = """
import json, platform, sys, sysconfig
print("joulebench-python " + json.dumps({
    "executable": sys.executable, "version": list(sys.version_info[:3]), "machine": platform.machine(),
    "libc": list(platform.libc_ver()), "implementation": platform.python_implementation(),
    "bits": 64 if sys.maxsize > 2**32 else 32, "multiarch": sysconfig.get_config_var("MULTIARCH") or "",
}))
"""

# Asked before every run, so torch is not imported for it, which takes seconds: loading a model tells the rest.
MODULE = """
import importlib.util, sys
name = sys.argv[1]
if importlib.util.find_spec(name) is None:
    sys.exit("No module named {!r}".format(name))
try:
    from importlib.metadata import version
    found = version(name)
except Exception:
    found = __import__(name).__version__
print("joulebench-module", found)
"""


@dataclass(frozen=True)
class BoardPython:
    """An interpreter on a board: what wheels it can use follows from this."""

    executable: str
    version: tuple[int, int, int]
    machine: str
    libc: tuple[str, str]
    multiarch: str


def require_python(transport: Transport, python: str, *, board: str) -> tuple[int, ...]:
    """The version of `python` on the board. DeviceError, with what to install, if it is missing or too old."""
    item, version = _look(transport, python)
    if not item.ok:
        raise DeviceError(f"board {board}: {item.found}", hint=item.mend)
    return version


def check_python(transport: Transport, python: str) -> CheckItem:
    """Can agents run there at all?"""
    return _look(transport, python)[0]


def _look(transport: Transport, python: str) -> tuple[CheckItem, tuple[int, ...]]:
    needed = ".".join(str(part) for part in OLDEST)
    mend = f"sudo apt install python3 (on the board), or set `python:` in the board's file to Python >= {needed}"
    try:
        done = transport.run([python, "-c", VERSION], timeout_s=COMMAND_S)
    except DeviceError as error:
        return CheckItem("python", False, f"no {python}, and agents need Python >= {needed}: {error.message}", mend), ()
    found = re.search(r"joulebench-python (\d+)\.(\d+)\.(\d+)", done.stdout)
    if done.status != 0 or found is None:
        said = _last_line(done) or f"exit status {done.status}"
        return CheckItem(
            "python", False, f"{python} cannot be run, and agents need Python >= {needed}: {said}", mend
        ), ()
    version = tuple(int(part) for part in found.groups())
    shown = ".".join(found.groups())
    if version < OLDEST:
        return CheckItem("python", False, f"{python} is Python {shown}, and agents need Python >= {needed}", mend), ()
    return CheckItem("python", True, f"{python} {shown}"), version


def check_module(transport: Transport, python: str, module: str, *, board: str) -> CheckItem:
    """Does that Python find the runtime `module`, and which version?"""
    mend = f"{python} -m pip install {module} (on the board), or: joulebench boards install {board} {module}"
    try:
        done = transport.run([python, "-c", MODULE, module], timeout_s=COMMAND_S)
    except DeviceError as error:
        return CheckItem(module, False, error.message, mend)
    found = re.search(r"joulebench-module (\S+)", done.stdout)
    if done.status != 0 or found is None:
        return CheckItem(module, False, _last_line(done) or f"exit status {done.status}", mend)
    return CheckItem(module, True, found.group(1))


def describe_python(transport: Transport, python: str, *, board: str) -> BoardPython:
    """Version, architecture and C library. DeviceError if there is no Python or one that is too old."""
    require_python(transport, python, board=board)
    done = transport.run([python, "-c", ABOUT], timeout_s=COMMAND_S)
    lines = [line for line in done.stdout.splitlines() if line.startswith("joulebench-python {")]
    if done.status != 0 or not lines:
        raise DeviceError(f"board {board}: {python} does not say what it is: {_last_line(done)}")
    about = json.loads(lines[-1].partition(" ")[2])
    if about["implementation"] != "CPython":
        raise DeviceError(
            f"board {board}: {python} is {about['implementation']}; wheels of the runtimes are for CPython",
            hint="set `python:` in the board's file to a CPython",
        )
    machine = str(about["machine"])
    if about["bits"] == 32 and machine == "aarch64":  # a 32-bit userland below a 64-bit kernel
        machine = "armv7l"
    if about["bits"] == 32 and machine == "x86_64":
        machine = "i686"
    major, minor, micro = (int(part) for part in about["version"])
    name, release = (str(part) for part in about["libc"])
    return BoardPython(
        str(about["executable"]), (major, minor, micro), machine, (name, release), str(about["multiarch"])
    )


def _last_line(done: Completed) -> str:
    return next((line.strip() for line in reversed((done.stderr or done.stdout).splitlines()) if line.strip()), "")
