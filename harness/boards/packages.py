"""Python packages on a board that may have no network: wheels are fetched here, carried over, installed offline.

A virtual environment of the harness's own below its directory on the board is all that is changed there; it needs
neither root nor pip on the board. What arrives is verified by its SHA-256, and what was installed by importing it.
"""

from __future__ import annotations

import ensurepip
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.boards.board_python import BoardPython, describe_python
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import Completed, Transport
from harness.io.digest import sha256_of

FETCH_S = 1800.0
INSTALL_S = 1800.0  # a small board unpacks torch for many minutes
COMMAND_S = 120.0
GROWTH = 4  # a wheel and what it unpacks to, over the wheel
OLDEST_GLIBC = 5
MARK = "joulebench.json"
DEFAULT_PYTHON = "python3"
Say = Callable[[str], None]

VERIFY = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    found[name] = str(getattr(module, "__version__", ""))
print("joulebench-modules " + json.dumps(found))
"""


@dataclass(frozen=True)
class Installed:
    """`python`: the environment's interpreter on the board; `modules`: name -> version, each of them imported."""

    python: str
    wheels: tuple[str, ...]
    modules: dict[str, str]


def install(
    transport: Transport, root: str, packages: Sequence[str], *, board: str, python: str, say: Say = lambda line: None
) -> Installed:
    """Install `packages` (requirements such as `onnxruntime==1.20`, or paths of wheels) below `root` on the board.

    `python`: the board's interpreter that the environment `<root>/venv` is made from (or that environment's own, if
    it is there already). Installing again adds to it.
    Errors: SpecError (no such wheel for that board), DeviceError (Python, space, a package that cannot be imported),
    TransientError (link).
    """
    about = describe_python(transport, _base_of(transport, root, python), board=board)
    shown = ".".join(str(part) for part in about.version)
    say(f"board {board}: Python {shown}, {about.machine}, {' '.join(about.libc) or 'unknown C library'}")
    with tempfile.TemporaryDirectory(prefix="joulebench-wheels-") as scratch:
        wheels = fetch_wheels(packages, about, Path(scratch) / "wheels", board=board)
        pip = _pip_wheel(about, Path(scratch) / "pip", board=board)
        names = importable(packages, wheels)
        _check_space(transport, root, [*wheels, pip], board=board)
        folder = PurePosixPath(root) / "files" / "wheels"
        remote = []
        for wheel in [pip, *wheels]:
            size_mib = wheel.stat().st_size / 2**20
            say(f"  {wheel.name} ({size_mib:.1f} MiB)")
            target = str(folder / sha256_of(wheel)[:16] / wheel.name)  # pip wants a wheel to keep its name
            transport.put(wheel, target)
            remote.append(target)
    venv = _environment(transport, root, about, board=board)
    _step(
        transport,
        [venv, f"{remote[0]}/pip", "install", "--quiet", "--no-index", "--no-deps", "--no-cache-dir", *remote[1:]],
        f"board {board}: pip cannot install {', '.join(packages)}", timeout_s=INSTALL_S,
    )  # fmt: skip
    modules = _verify(transport, venv, names, board=board)
    return Installed(venv, tuple(PurePosixPath(path).name for path in remote[1:]), modules)


def fetch_wheels(packages: Sequence[str], about: BoardPython, folder: Path, *, board: str) -> list[Path]:
    """The wheels of `packages` and of all they need, for that board, downloaded by this host's pip into `folder`."""
    for package in packages:
        if package.startswith("-"):
            raise SpecError(
                f"{package!r} is no package", hint="name requirements or wheels: onnxruntime==1.20 ./mine.whl"
            )
        if package.endswith(".whl") and not Path(package).is_file():
            raise SpecError(f"there is no wheel {package}")
    major, minor = about.version[:2]
    argv = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder),
        "--only-binary=:all:", "--implementation", "cp", "--python-version", f"{major}.{minor}",
        *(part for abi in abis(about) for part in ("--abi", abi)),
        *(part for tag in platforms(about) for part in ("--platform", tag)),
        *packages,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SpecError(f"wheels of {', '.join(packages)} did not arrive within {FETCH_S:g} s") from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise SpecError(
            f"no wheels of {', '.join(packages)} for board {board} (Python {major}.{minor}, {about.machine}, "
            f"{' '.join(about.libc) or 'unknown C library'}): {errors[-1] if errors else 'pip does not say why'}",
            hint="ask for another version (onnxruntime==1.16.3), or give the path of a wheel built for that board",
        )
    return sorted(folder.glob("*.whl"))


def _pip_wheel(about: BoardPython, folder: Path, *, board: str) -> Path:
    """The pip that comes with this host's Python if that board's can run it, else the newest one that it can."""
    for wheel in sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            oldest = re.search(r"^Requires-Python: *>=(\d+)\.(\d+)", archive.read(name).decode(), re.MULTILINE)
        if oldest and about.version[:2] >= (int(oldest.group(1)), int(oldest.group(2))):
            return wheel
    return fetch_wheels(["pip"], about, folder, board=board)[0]


def platforms(about: BoardPython) -> list[str]:
    """Platform tags of wheels that board can use, best first (PEP 600, PEP 656)."""
    machine = about.machine
    name, release = about.libc
    if name == "glibc":
        newest = int((re.findall(r"\d+", release) or ["0", "17"])[1])
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, OLDEST_GLIBC - 1, -1)]
        old = [(17, "manylinux2014"), (12, "manylinux2010"), (5, "manylinux1")]
        tags += [f"{alias}_{machine}" for minor, alias in old if newest >= minor]
    elif "musl" in about.multiarch or name == "musl":
        tags = [f"musllinux_1_{minor}_{machine}" for minor in (2, 1)]
    else:
        tags = []
    return [*tags, f"linux_{machine}"]


def abis(about: BoardPython) -> list[str]:
    """ABI tags that interpreter takes; Python before 3.8 had an `m` in it."""
    tag = "cp{}{}".format(*about.version[:2])
    return [tag, tag + "m", "abi3", "none"] if about.version < (3, 8) else [tag, "abi3", "none"]


def importable(packages: Sequence[str], wheels: Sequence[Path]) -> list[str]:
    """Top-level modules of the wheels that were asked for: what is imported on the board to know that they work."""
    asked = {_normal(Path(p).name.split("-")[0] if p.endswith(".whl") else _project(p)) for p in packages}
    names: list[str] = []
    for wheel in wheels:
        if _normal(wheel.name.split("-")[0]) in asked:
            with zipfile.ZipFile(wheel) as archive:
                names += _top_level(archive.namelist())
    return names


def _top_level(entries: Sequence[str]) -> list[str]:
    packages = {e.split("/")[0] for e in entries if e.count("/") == 1 and e.endswith("/__init__.py")}
    modules = {e[:-3] for e in entries if "/" not in e and e.endswith(".py")}
    return sorted(n for n in packages | modules if n.isidentifier() and not n.startswith("_"))


def _project(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;@]", requirement.strip(), maxsplit=1)[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_space(transport: Transport, root: str, wheels: Sequence[Path], *, board: str) -> None:
    needed_mib = GROWTH * sum(wheel.stat().st_size for wheel in wheels) / 2**20
    script = 'mkdir -p "$1" && df -Pk "$1" | tail -n 1'
    done = transport.run(["sh", "-c", script, "sh", root], timeout_s=COMMAND_S)
    fields = done.stdout.split()
    if done.status != 0 or len(fields) < 4:
        raise DeviceError(f"board {board}: {root} cannot be made: {_said(done)}", hint=f"ls -ld {root} on the board")
    free_mib = int(fields[3]) / 1024
    if free_mib < needed_mib:
        raise DeviceError(
            f"board {board}: {root} has {free_mib:.0f} MiB free, the packages need about {needed_mib:.0f} MiB",
            hint=f"joulebench boards clean {board}, or set `directory:` in the board's file to a larger disk",
        )


def _environment(transport: Transport, root: str, about: BoardPython, *, board: str) -> str:
    """The interpreter of `<root>/venv`, made if it is not there, is half made, or is of another Python."""
    venv = f"{root}/venv"
    record = json.dumps({"executable": about.executable, "version": list(about.version)})
    same = transport.run(["grep", "-qxF", record, f"{venv}/{MARK}"], timeout_s=COMMAND_S).status == 0
    if not same:
        _step(transport, ["rm", "-rf", venv], f"board {board}: {venv} cannot be removed", timeout_s=COMMAND_S)
        _step(
            transport, [about.executable, "-m", "venv", "--without-pip", venv],
            f"board {board}: no virtual environment can be made", timeout_s=COMMAND_S,
            hint="sudo apt install python3-venv (on the board)",
        )  # fmt: skip
        script = 'printf "%s\\n" "$1" > "$2"'
        mark = ["sh", "-c", script, "sh", record, f"{venv}/{MARK}"]
        _step(transport, mark, f"board {board}: {venv} cannot be written", timeout_s=COMMAND_S)
    return f"{venv}/bin/python"


def _base_of(transport: Transport, root: str, python: str) -> str:
    """What the environment was made from, if `python` is the environment's own."""
    if python != f"{root}/venv/bin/python":
        return python
    done = transport.run(["cat", f"{root}/venv/{MARK}"], timeout_s=COMMAND_S)
    return str(json.loads(done.stdout)["executable"]) if done.status == 0 else DEFAULT_PYTHON


def _verify(transport: Transport, python: str, names: Sequence[str], *, board: str) -> dict[str, str]:
    if not names:
        return {}
    done = transport.run([python, "-c", VERIFY, *names], timeout_s=COMMAND_S)
    lines = [line for line in done.stdout.splitlines() if line.startswith("joulebench-modules ")]
    if done.status != 0 or not lines:
        raise DeviceError(
            f"board {board}: {', '.join(names)} is installed but cannot be imported: {_said(done)}",
            hint="a wheel for another processor or C library? Ask for an older version, or give a wheel built for it",
        )
    modules: dict[str, str] = json.loads(lines[-1].partition(" ")[2])
    return modules


def _step(transport: Transport, argv: Sequence[str], failed: str, *, timeout_s: float, hint: str = "") -> None:
    done = transport.run(argv, timeout_s=timeout_s)
    if done.status != 0:
        raise DeviceError(f"{failed}: {_said(done)}", hint=hint)


def _said(done: Completed) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1][:400] if lines else f"exit status {done.status}"
