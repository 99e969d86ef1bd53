"""Where boards, meters and benches are described: --configs, then the checkout upwards, then the packaged copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config.complain import did_you_mean
from harness.core.errors import SpecError

FOLDER = "device_configs"
KINDS = ("boards", "meters", "benches", "worlds")
_PACKAGE = Path(__file__).resolve().parents[1]


def config_dirs(configs: Path | None = None, *, start: Path | None = None) -> tuple[Path, ...]:
    """Directories to look in, first one first: `configs`, upwards from `start` (a campaign's directory) and from the
    working directory, what comes with the program. SpecError if `configs` is given and is no directory."""
    found: list[Path] = []
    if configs is not None:
        if not configs.is_dir():
            raise SpecError(f"--configs {configs} is not a directory", hint=f"name a directory like {FOLDER}/")
        found.append(configs)
    for here in (start, Path.cwd()):
        if here is not None:
            found += _upwards(here.resolve())[:1]
    found += [p for p in (_PACKAGE / "_device_configs", _PACKAGE.parent / FOLDER) if p.is_dir()]
    return tuple(dict.fromkeys(found))


def _upwards(here: Path) -> list[Path]:
    return [p / FOLDER for p in (here, *here.parents) if any((p / FOLDER / kind).is_dir() for kind in KINDS)]


def find_config(kind: str, name: str, dirs: Sequence[Path], *, beside: Path | None = None) -> Path:
    """The file of `kind` ("boards", "meters", "benches", "worlds") called `name`, in the first directory that has it.

    A name with a slash or ending in .yaml is a path, relative to the directory `beside` (default: the
    working directory). SpecError listing what there is.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = (beside or Path.cwd()) / Path(name).expanduser()
        if path.is_file():
            return path
        raise SpecError(f"there is no file {path}", hint="check the path; a bare name is looked up in device_configs/")
    for folder in dirs:
        path = folder / kind / f"{name}.yaml"
        if path.is_file():
            return path
    known = {p.stem for folder in dirs for p in (folder / kind).glob("*.yaml")}
    singular = {"benches": "bench"}.get(kind, kind.rstrip("s"))
    searched = ", ".join(str(folder / kind) for folder in dirs) or "no directory"
    raise SpecError(f"there is no {singular} called {name!r} in {searched}", hint=did_you_mean(name, known))
