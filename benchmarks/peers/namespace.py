"""A mount namespace of our own, in which /sys shows a simulated powercap tree to programs that know no other place.

`enter` starts this program again inside (`unshare -m`, root needed); nothing outside sees what is mounted there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INSIDE = "JOULEBENCH_PEERS_NAMESPACE"
PLACES = (Path("/sys/class"), Path("/sys/devices/virtual"))
"""Folders of sysfs in which `powercap` must be there to be mounted on: the first holds links into the second."""


def possible() -> str | None:
    """None, or why there can be no such namespace here."""
    if os.geteuid() != 0:
        return "needs root, to show peers a /sys of our own (unshare -m)"
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return "needs unshare and mount (Debian: util-linux)"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True, check=False)
    return f"unshare -m: {tried.stderr.strip()}" if tried.returncode else None


def enter(module: str) -> None:
    """Go on as `python -m module` with the same arguments in a new mount namespace; returns when inside."""
    if os.environ.get(INSIDE) == "1":
        _prepare()
        return
    os.environ[INSIDE] = "1"
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-m", module, *sys.argv[1:]]
    os.execvp("unshare", command)


def _prepare() -> None:
    """Make sure that /sys/class/powercap and /sys/devices/virtual/powercap are there: sysfs itself takes no folders."""
    for place in PLACES:
        if (place / "powercap").is_dir():
            continue
        before = Path(tempfile.mkdtemp(prefix="joulebench-sys-"))
        mount("--bind", place, before)
        mount("-t", "tmpfs", "none", place)
        place.chmod(0o755)
        for entry in before.iterdir():
            (place / entry.name).mkdir()
            mount("--bind", entry, place / entry.name)
        (place / "powercap").mkdir()
        unmount(before)
        before.rmdir()


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)
