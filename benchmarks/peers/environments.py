"""The peers' own virtual environments below .venv-peers, each pinned to the last package (pins/NAME.txt)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PINS = Path(__file__).parent / "pins"
ENVIRONMENTS = Path(__file__).parents[2] / ".venv-peers"


def install(names: Sequence[str] = ()) -> None:
    """Make the environments that are not there. The second line of a pin file may ask for an older Python."""
    for pins in sorted(PINS.glob("*.txt")):
        folder = ENVIRONMENTS / pins.stem
        if (names and pins.stem not in names) or (folder / "bin/python").exists():
            continue
        python = _python(pins)
        if python is None:
            print(f"{pins.stem}: not installed, {pins.read_text('utf-8').splitlines()[1].lstrip('# ')} is not here")
            continue
        print(f"{pins.stem}: installing", flush=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        try:
            command = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*command, "--no-deps", "-r", str(pins)], check=True)
        except subprocess.CalledProcessError:
            shutil.rmtree(folder)
            raise


def _python(pins: Path) -> str | None:
    second = pins.read_text("utf-8").splitlines()[1]
    if not second.startswith("# python"):
        return sys.executable
    name = second.lstrip("# ")
    found = shutil.which(name)
    if found is None:
        homes = sorted((Path.home() / ".pyenv/versions").glob(f"{name.removeprefix('python')}.*/bin/{name}"))
        found = str(homes[-1]) if homes else None
    return found
