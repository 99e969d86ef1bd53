"""The truth log: what each busy stretch really cost. Written by the rig only, read by the examiner and tests only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.simulated.rig.layer_truth import LayerLog
from harness.core.clock import FloatArray, Int64Array
from harness.core.errors import SpecError

# One busy stretch. Times in ns of the host clock; energies in J at the plane named, over the stretch's own time.
RECORD = np.dtype(
    [
        ("begin_ns", "<i8"),  # edges of the marker pin
        ("end_ns", "<i8"),
        ("kind", "<i4"),
        ("process", "<i4"),
        ("dynamic_j", "<f8"),  # DC input: above what standby would have been at that moment
        ("gross_j", "<f8"),  # DC input: everything
        ("expected_j", "<f8"),  # dynamic, with process start and instance noise at 1
        ("load_dynamic_j", "<f8"),  # dynamic at the load itself, without the leads
        ("load_gross_j", "<f8"),
        ("gap_dynamic_j", "<f8"),  # of the time between the stretch before and this one
        ("gap_gross_j", "<f8"),
        ("expected_ns", "<f8"),  # mean duration of an inference in this world; NaN where only the clock knows
    ]
)
Records = npt.NDArray[np.void]


class TruthLog:
    """Appends records to `<folder>/truth.bin` and the world to `truth.json`; with no folder, to memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._memory: list[Records] = []
        self._file = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "truth.bin").open("ab")
        self.layers = LayerLog(folder)  # of kernels, in runs that ask for layers

    def describe(self, world: Mapping[str, Any]) -> None:
        if self.folder is not None:
            (self.folder / "truth.json").write_text(json.dumps(world, indent=1), encoding="utf-8")

    def append(self, records: Records) -> None:
        if self._file is not None:
            self._file.write(records.tobytes())
        else:
            self._memory.append(records)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()
        self.layers.flush()

    def records(self) -> RunTruth:
        """Everything logged so far."""
        self.flush()
        if self.folder is not None:
            return RunTruth.load(self.folder)
        return RunTruth(np.concatenate(self._memory) if self._memory else np.empty(0, RECORD))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self.layers.close()


@dataclass(frozen=True)
class RunTruth:
    """Records of busy stretches in order of time."""

    records: Records

    @classmethod
    def load(cls, folder: Path) -> RunTruth:
        path = folder / "truth.bin"
        if not path.exists():
            raise SpecError(f"no truth log at {path}", hint="give the state directory of a simulated bench")
        data = path.read_bytes()
        return cls(np.frombuffer(data[: len(data) // RECORD.itemsize * RECORD.itemsize], RECORD))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, name: str) -> FloatArray | Int64Array:
        return np.asarray(self.records[name])

    def between(self, begin_ns: int, end_ns: int) -> RunTruth:
        """Stretches that begin in [begin_ns, end_ns)."""
        begin = self.records["begin_ns"]
        return RunTruth(self.records[(begin >= begin_ns) & (begin < end_ns)])

    def at(self, middle_ns: Int64Array) -> RunTruth:
        """The stretches around the times (K,), in order; SpecError where there is none."""
        row, found = self.find(middle_ns)
        if not np.all(found):
            missing = int(np.count_nonzero(~found))
            raise SpecError(f"{missing} of {len(middle_ns)} stamped stretches are not in the truth log")
        return RunTruth(self.records[row])

    def find(self, middle_ns: Int64Array) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
        """(row, found), both (K,): which stretch is around each time, if any."""
        if len(self.records) == 0:
            return np.zeros(len(middle_ns), np.int64), np.zeros(len(middle_ns), np.bool_)
        row = np.searchsorted(self.records["begin_ns"], middle_ns, side="right") - 1
        found = (row >= 0) & (self.records["end_ns"][np.maximum(row, 0)] >= middle_ns)
        return np.asarray(row, np.int64), np.asarray(found, np.bool_)
