"""Foreign worlds for the tests: written by the independent program, changed by hand, passed through the door."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.analyse import analyse_run
from harness.core.result import EnergyResult
from harness.exam.door.build import write_world_run
from harness.store.run_reader import RunReader

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/world"
INDEPENDENT = Path(__file__).parent / "independent"
EXAMPLE_TRUTH = INDEPENDENT / "example_truth.json"


def write_world(folder: Path, *, seed: int, meters: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
    """A world of the independent program in `folder`, by a process of its own; its truth."""
    truth = folder.parent / f"{folder.name}.truth.json"
    argv = [sys.executable, INDEPENDENT / "write_world.py", folder, "--seed", str(seed), "--meters", meters]
    subprocess.run([*argv, "--truth", truth, *options], check=True, timeout=120)
    found: dict[str, Any] = json.loads(truth.read_text("utf-8"))
    return found


def results_of(folder: Path, root: Path) -> tuple[EnergyResult, ...]:
    """Results of all meters of a world, as every run is analysed."""
    return analyse_run(RunReader.open(write_world_run(folder, root))).results


class Copy:
    """A copy of the example world that can be spoiled; without its layers, unless asked for."""

    def __init__(self, folder: Path, *, layers: bool = False) -> None:
        self.folder = folder / "world"
        shutil.copytree(EXAMPLE, self.folder)
        if not layers:
            self.world(lambda world: world.pop("layers"))

    def lines(self, name: str, change: Callable[[list[str]], list[str]]) -> None:
        """Change the lines of a table, header first, without their ends."""
        path = self.folder / name
        packed = path.suffix == ".gz"
        data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        text = "\n".join(change(data.decode().rstrip("\n").split("\n"))) + "\n"
        path.write_bytes(gzip.compress(text.encode(), mtime=0) if packed else text.encode())

    def cells(self, name: str, column: str, change: Callable[[int, str], str]) -> None:
        """Change one column of a table: (row, text) -> text."""

        def changed(lines: list[str]) -> list[str]:
            at = lines[0].split(",").index(column)
            rows = [line.split(",") for line in lines[1:]]
            for row, cells in enumerate(rows):
                cells[at] = change(row, cells[at])
            return [lines[0], *(",".join(cells) for cells in rows)]

        self.lines(name, changed)

    def world(self, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.folder / "world.json"
        data = json.loads(path.read_text("utf-8"))
        change(data)
        path.write_text(json.dumps(data, indent=2), encoding="utf-8")

    def truncate(self, name: str, share: float) -> None:
        data = (self.folder / name).read_bytes()
        (self.folder / name).write_bytes(data[: int(len(data) * share)])
