"""Rows of a meter in the order in which they are decoded, and the gaps between them where something was refused.

Decoders of on-board meters share this: what is not a reading becomes part of a gap that lasts from the last reading to
the next one, with the reason of the first refusal and the number of readings lost. Nothing here knows a format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.core.trace import Block, CalibrationPiece, Gap


class DecodedRows:
    """Blocks of int64 columns from rows of whole numbers; `calibration`: pieces from the first row on.

    Times of rows must increase: a row that does not lie after the last one is not taken.
    """

    def __init__(self, columns: Sequence[str], calibration: Sequence[CalibrationPiece]) -> None:
        self._names = tuple(columns)
        self._calibration: tuple[CalibrationPiece, ...] = tuple(calibration)
        self._edge_ns: int | None = None  # the last reading, or the begin
        self._last_ns: int | None = None  # the last reading
        self._lost = 0
        self._reason = ""
        self._clear()

    def _clear(self) -> None:
        self._t_ns: list[int] = []
        self._rows: list[Sequence[int]] = []
        self._gaps: list[Gap] = []
        self._counts: dict[str, int] = {}

    def begin(self, t_ns: int) -> None:
        """Acquisition began: what is missing before the first reading is a gap from here."""
        if self._edge_ns is None:
            self._edge_ns = t_ns

    @property
    def edge_ns(self) -> int | None:
        """Time of the last reading, or of the begin."""
        return self._edge_ns

    def count(self, name: str, more: int = 1) -> None:
        if more:
            self._counts[name] = self._counts.get(name, 0) + more

    def calibrate(self, pieces: Sequence[CalibrationPiece]) -> None:
        """Pieces that hold from the next row on."""
        row = len(self._t_ns)
        moved = [CalibrationPiece(row, p.column, p.code, p.scale, p.offset_raw) for p in pieces]
        self._calibration = (*self._calibration, *moved)

    def lose(self, reason: str, lost: int = 1) -> None:
        """A reading that is missing, and why; the first reason names the gap, unless a later one is a `reset: `."""
        if not self._reason or (reason.startswith("reset: ") and not self._reason.startswith("reset: ")):
            self._reason = reason
        self._lost += lost

    def add(self, t_ns: int, values: Sequence[int], *, window_ns: int = 0) -> bool:
        """A reading, which says something of the `window_ns` before it too: a gap ends where that begins.

        False, and nothing changed, if it does not lie after the last one.
        """
        if self._last_ns is not None and t_ns <= self._last_ns:
            return False
        self._close_gap(t_ns if self._last_ns is None else max(t_ns - window_ns, self._last_ns + 1))
        self._edge_ns = self._last_ns = t_ns
        self._t_ns.append(t_ns)
        self._rows.append(values)
        return True

    def take(self) -> Block | None:
        """The rows since the last call, or None; gaps and counts wait for the row that ends them."""
        return self._block() if self._t_ns else None

    def finish(self, end_ns: int) -> Block | None:
        """The rest; a gap that is still open ends at `end_ns`."""
        self._close_gap(end_ns)
        return self._block() if self._t_ns or self._gaps or self._counts else None

    def _close_gap(self, end_ns: int) -> None:
        if self._reason and self._edge_ns is not None and end_ns > self._edge_ns:
            self._gaps.append(Gap(self._edge_ns, end_ns, self._lost or -1, self._reason))
        self._lost, self._reason = 0, ""

    def _block(self) -> Block:
        table = np.array(self._rows, np.int64).reshape(len(self._rows), len(self._names))
        columns: Mapping[str, np.ndarray] = {
            name: np.ascontiguousarray(table[:, k]) for k, name in enumerate(self._names)
        }
        block = Block(
            t_ns=np.array(self._t_ns, np.int64),
            columns=columns,
            calibration=self._calibration,
            gaps=tuple(self._gaps),
            counts=dict(self._counts),
        )
        self._calibration = ()
        self._clear()
        return block
