"""Records of a buffered instrument as rows of whole picounits, and as gaps where a value is missing. Vectorised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from drivers.visa.numbers import MOST, OVER_RANGE, REASONS, UNDER_RANGE, VALID, Values, to_pico
from drivers.visa.rows import column_of
from harness.core.clock import FloatArray, Int64Array
from harness.core.trace import Block, CalibrationPiece, Gap

if TYPE_CHECKING:
    from drivers.visa.timebase import Stretch

SATURATED = "saturated_samples"  # a name that the analysis knows


@dataclass(frozen=True)
class Records:
    """`value`: float64 (N, items), NaN where missing; `why`: int8 (N, items), 0 or the code of `REASONS`."""

    value: FloatArray
    why: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.value)

    @staticmethod
    def of(values: Values, items: int) -> Records:
        """Values of whole records, one after the other."""
        return Records(values.value.reshape(-1, items), values.why.reshape(-1, items))


class TraceRows:
    """Stretches turned into blocks. `record`: names of a record's items; `items`: those that become columns;
    `constants`: values of those that no record holds."""

    def __init__(
        self,
        record: Sequence[str],
        items: Sequence[str],
        pieces: Sequence[CalibrationPiece],
        period_ns: int,
        constants: Mapping[str, float],
    ) -> None:
        self._items = tuple(items)
        self._read = [name for name in items if name not in constants]
        self._places = [tuple(record).index(name) for name in self._read]
        self._constants = {name: int(to_pico(np.array([value]))[0]) for name, value in constants.items()}
        self._pieces: tuple[CalibrationPiece, ...] = tuple(pieces)
        self._period_ns = period_ns
        self._edge_ns: int | None = None  # the last record
        self._clear()

    def _clear(self) -> None:
        self._t_ns: list[Int64Array] = []
        self._raw: list[Int64Array] = []
        self._gaps: list[Gap] = []
        self._anchors: list[tuple[int, int]] = []
        self._counts: dict[str, int] = {}

    def count(self, name: str, more: int = 1) -> None:
        if more:
            self._counts[name] = self._counts.get(name, 0) + more

    def add(self, stretch: Stretch) -> None:
        """The records of one stretch, which lies after the last one."""
        self._gaps += stretch.gaps
        if stretch.anchor is not None:
            self._anchors.append(stretch.anchor)
        t_ns = stretch.t_ns
        if not len(t_ns):
            return
        value, why = stretch.records.value[:, self._places], stretch.records.why[:, self._places]
        with np.errstate(invalid="ignore"):
            beyond = np.abs(value) > MOST
        bad = (why != VALID).any(axis=1) | beyond.any(axis=1)
        if bad.any():
            self._gaps += self._missing(t_ns, why, bad)
        kept = ~bad
        self._t_ns.append(t_ns[kept])
        self._raw.append(to_pico(value[kept]))
        self._edge_ns = int(t_ns[-1])

    def take(self) -> Block | None:
        """The rows since the last call; None if there are none."""
        rows = sum(map(len, self._t_ns))
        if not rows:
            return None
        return self._block()

    def finish(self) -> Block | None:
        """The rest, also gaps without rows."""
        return self._block() if self._t_ns or self._gaps or self._counts else None

    def _missing(self, t_ns: Int64Array, why: npt.NDArray[np.int8], bad: npt.NDArray[np.bool_]) -> list[Gap]:
        """A gap for each run of records in which a value is missing."""
        over = ((why == OVER_RANGE) | (why == UNDER_RANGE)).any(axis=1)
        self.count(SATURATED, int((bad & over).sum()))
        self.count("invalid_values", int((bad & ~over).sum()))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
        gaps = []
        for first, after in edges.reshape(-1, 2).tolist():
            before_ns = int(t_ns[first - 1]) if first else self._edge_ns
            begin_ns = int(t_ns[first]) - self._period_ns
            codes = why[first]
            wrong = np.flatnonzero(codes)
            reason = f"{self._read[wrong[0]]}: {REASONS[codes[wrong[0]]]}" if len(wrong) else "beyond what can be read"
            begin_ns = begin_ns if before_ns is None else max(begin_ns, before_ns)
            gaps.append(Gap(begin_ns, int(t_ns[after - 1]), after - first, reason))
        return gaps

    def _block(self) -> Block:
        raw = np.concatenate(self._raw) if self._raw else np.empty((0, len(self._read)), np.int64)
        columns: Mapping[str, Int64Array] = {
            column_of(name): np.full(len(raw), self._constants[name], np.int64)
            if name in self._constants
            else np.ascontiguousarray(raw[:, self._read.index(name)])
            for name in self._items
        }
        block = Block(
            t_ns=np.concatenate(self._t_ns) if self._t_ns else np.empty(0, np.int64),
            columns=columns,
            calibration=self._pieces,
            gaps=tuple(sorted(self._gaps, key=lambda gap: gap.begin_ns)),
            anchors=np.array(self._anchors, np.int64).reshape(-1, 2),
            counts=dict(self._counts),
        )
        self._pieces = ()
        self._clear()
        return block
