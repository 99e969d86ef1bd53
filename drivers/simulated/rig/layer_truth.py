"""What each kernel of each inference really cost, beside the truth of whole stretches; for the examiner and tests only.

The book asks the rig for energies at the edges of kernels as it does for those of stretches, so the kernels and what
lies outside them sum up to the inference. The supply's filter has no part in it: energy belongs to the kernel that
drew it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from drivers.simulated.rig.kernels import OUTSIDE, Instances, KernelList
from harness.core.clock import FloatArray, Int64Array

COLUMNS = ("dynamic_j", "gross_j", "expected_j", "load_dynamic_j", "load_gross_j", "duration_s")
Evaluate = Callable[[FloatArray], FloatArray]  # times (M,) -> (M, 6): the columns of the book


def record(layers: int) -> np.dtype[np.void]:
    """One inference of `layers` kernels: its begin edge, and the columns of each kernel and of what lies outside."""
    return np.dtype([("begin_ns", "<i8"), ("values", "<f4", (layers + 1, len(COLUMNS)))])


@dataclass(frozen=True)
class LayerTruth:
    """Inferences of one kernel list. `begin_ns`: (n,) begin edges; `values`: (n, L + 1, 6), the last row is outside.

    `names`, `ops`: (L + 1,); `given`: the kernels are those of a real model, not made up by the rig.
    """

    names: tuple[str, ...]
    ops: tuple[str, ...]
    given: bool
    begin_ns: Int64Array
    values: npt.NDArray[np.float32]

    def rows(self, begin_ns: Int64Array) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
        """(row, found), both (K,): which inferences begin at these edges."""
        if len(self.begin_ns) == 0:
            return np.zeros(len(begin_ns), np.int64), np.zeros(len(begin_ns), np.bool_)
        row = np.minimum(np.searchsorted(self.begin_ns, begin_ns), len(self.begin_ns) - 1)
        return np.asarray(row, np.int64), np.asarray(self.begin_ns[row] == begin_ns, np.bool_)

    def mean(self, rows: Int64Array) -> dict[str, FloatArray]:
        """Mean of each column over these inferences, (L + 1,) each."""
        means = self.values[rows].mean(axis=0, dtype=np.float64)
        return {name: means[:, k] for k, name in enumerate(COLUMNS)}


class LayerLog:
    """Appends to `<folder>/layers-<digest>.bin`, one file a kernel list; with no folder, to memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lists: dict[str, KernelList] = {}
        self._memory: dict[str, list[npt.NDArray[np.void]]] = {}
        self._files: dict[str, IO[bytes]] = {}

    def append(self, kernels: KernelList, begin_ns: Int64Array, values: FloatArray) -> None:
        key = kernels.digest
        records = np.zeros(len(begin_ns), record(len(kernels)))
        records["begin_ns"], records["values"] = begin_ns, values
        if self._folder is None:
            self._lists[key] = kernels
            self._memory.setdefault(key, []).append(records)
            return
        if key not in self._files:
            (self._folder / f"layers-{key}.json").write_text(json.dumps(kernels.to_json()), encoding="utf-8")
            self._files[key] = (self._folder / f"layers-{key}.bin").open("ab")
        self._files[key].write(records.tobytes())

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def truths(self) -> list[LayerTruth]:
        """Everything logged so far, by kernel list."""
        if self._folder is not None:
            self.flush()
            return load_layers(self._folder)
        return [_truth(self._lists[key], np.concatenate(parts)) for key, parts in self._memory.items()]


def load_layers(folder: Path) -> list[LayerTruth]:
    """All layer truths of a bench's truth folder; none if no run asked for layers."""
    found = []
    for path in sorted(folder.glob("layers-*.json")):
        kernels = KernelList.from_json(json.loads(path.read_text("utf-8")))
        form = record(len(kernels))
        data = path.with_suffix(".bin").read_bytes()
        found.append(_truth(kernels, np.frombuffer(data[: len(data) // form.itemsize * form.itemsize], form)))
    return found


def _truth(kernels: KernelList, records: npt.NDArray[np.void]) -> LayerTruth:
    names = (*(k.name for k in kernels.kernels), OUTSIDE)
    ops = (*(k.op for k in kernels.kernels), "outside")
    return LayerTruth(names, ops, kernels.given, np.asarray(records["begin_ns"]), np.asarray(records["values"]))


class LayerBook:
    """Kernels of laid inferences, kept until their time has been played."""

    def __init__(self, log: LayerLog) -> None:
        self._log = log
        self._open: list[_Block] = []

    def add(
        self,
        begin_ns: Int64Array,
        own_begin_s: FloatArray,
        own_end_s: FloatArray,
        drawn: Instances,
        excess_j: FloatArray,
    ) -> None:
        """`excess_j`: (n, L + 1) realised minus expected energy of the kernels and, last, of what lies outside."""
        times = np.empty((len(begin_ns), 2 * len(drawn.course) + 2))
        times[:, 0], times[:, -1] = own_begin_s, own_end_s
        times[:, 1:-1:2], times[:, 2:-1:2] = drawn.begin_s, drawn.end_s
        self._open.append(_Block(drawn.course.kernels, begin_ns, times, excess_j))

    def settle(self, until_s: float, evaluate: Evaluate) -> None:
        """Everything before `until_s` was played; `evaluate` knows the energies of the part played just now."""
        while self._open:
            block = self._open[0]
            begin_ns, values = block.settle(until_s, evaluate)
            if len(begin_ns):
                self._log.append(block.kernels, begin_ns, values)
            if not block.settled:
                return
            self._open.pop(0)


class _Block:
    """Inferences that were laid at once."""

    def __init__(self, kernels: KernelList, begin_ns: Int64Array, times_s: FloatArray, excess_j: FloatArray) -> None:
        self.kernels = kernels
        self._begin_ns, self._excess_j = begin_ns, excess_j
        self._width = times_s.shape[1]
        self._times = times_s.ravel()
        self._values: FloatArray = np.empty((0, 6))  # of the first inference that is not written, as far as known
        self._known = self._written = 0

    @property
    def settled(self) -> bool:
        return self._written == len(self._begin_ns)

    def settle(self, until_s: float, evaluate: Evaluate) -> tuple[Int64Array, FloatArray]:
        """Begins and values of the inferences that are known as a whole by now."""
        last = self._known + int(np.searchsorted(self._times[self._known :], until_s, side="right"))
        if last > self._known:
            self._values = np.concatenate([self._values, evaluate(self._times[self._known : last])])
            self._known = last
        n = self._known // self._width - self._written
        rows = slice(self._written, self._written + n)
        known = self._values[: n * self._width].reshape(n, self._width, 6)
        times = self._times.reshape(-1, self._width)[rows]
        self._values = self._values[n * self._width :]
        self._written += n
        return self._begin_ns[rows], _columns(known, times, self._excess_j[rows])


def _columns(known: FloatArray, times_s: FloatArray, excess_j: FloatArray) -> FloatArray:
    """Cumulative energies (n, 2L + 2, 6) at the edges -> (n, L + 1, 6) by kernel, what lies outside last."""
    layers = times_s.shape[1] // 2 - 1
    spent: Any = np.empty((len(known), layers + 1, 7))
    cumulative = np.concatenate([known, times_s[:, :, None]], 2)
    spent[:, :-1] = cumulative[:, 2:-1:2] - cumulative[:, 1:-1:2]
    total = cumulative[:, -1] - cumulative[:, 0]
    spent[:, -1] = total - spent[:, :-1].sum(1)
    kept = total[:, 5] / np.maximum(total[:, 4], 1e-12)  # what throttling left, as the book has it for stretches
    at_plane = total[:, 0] / np.maximum(total[:, 2], 1e-12)
    expected = spent[:, :, 0] - excess_j * (kept * at_plane)[:, None]
    return np.stack([spent[:, :, 0], spent[:, :, 1], expected, spent[:, :, 2], spent[:, :, 3], spent[:, :, 6]], 2)
