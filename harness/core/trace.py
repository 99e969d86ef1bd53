"""What a meter hands on: raw integer columns, how to turn them into SI, and what is missing.

A reading i of a trace says something about the time up to `t_ns[i]`: for means it is the END of the
averaging window, for points the instant, for counters the instant of the read. What it says is in
`Reading`. Raw integers are kept; `value = (raw - offset) * scale` with the calibration piece that
covers the row (and, for a column with a range column, the row's range code).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray, Int64Array

STAMPS, STAMPS_IN_BURSTS = "stamps", "bursts"  # in a meter's details: rows came in bursts, every one has its anchor

IntColumn = npt.NDArray[np.signedinteger] | npt.NDArray[np.unsignedinteger]


class ReadingKind(StrEnum):
    """What one reading means (design: every reading says what it means)."""

    POINT = "point"  # the value at an instant
    MEAN = "mean"  # the mean over a window that touches the next one
    OVERLAPPING = "overlapping"  # a mean over a window longer than the period
    FILTERED = "filtered"  # an exponentially weighted mean (time constant tau)
    PART_TIME = "part_time"  # a mean over a window shorter than the period
    COUNTER = "counter"  # energy since some origin, modulo a wrap


@dataclass(frozen=True)
class Reading:
    """Kernel of a channel's readings: nominal period, window and filter time constant in ns."""

    kind: ReadingKind
    period_ns: int
    window_ns: int
    tau_ns: int = 0


@dataclass(frozen=True)
class Accuracy:
    """Limits of error (not standard uncertainties) of a channel, from the datasheet or a calibration.

    `gain_rel`: relative limit of the scale; `offset_w`: limit of the zero in watt; `noise_w`: standard
    deviation of one reading; `source`: where the figures are printed.
    """

    gain_rel: float
    offset_w: float
    noise_w: float = 0.0
    source: str = ""


@dataclass(frozen=True)
class ColumnSpec:
    """One raw column: SI unit after calibration (A, V, W, J) and, if ranged, the column of range codes."""

    name: str
    unit: str
    range_column: str | None = None


@dataclass(frozen=True)
class ChannelSpec:
    """One supply that the meter sees: the product of calibrated columns is `quantity` (power_w, energy_j).

    `modulus_raw`: where a counter wraps (counter values are 0..modulus_raw-1).
    """

    name: str
    quantity: str
    columns: tuple[str, ...]
    reading: Reading
    accuracy: Accuracy | None = None
    modulus_raw: int | None = None
    max_power_w: float | None = None


@dataclass(frozen=True)
class MeterInfo:
    """What the meter said it is when it was opened."""

    driver: str
    model: str
    serial: str
    firmware: str
    clock: str
    columns: tuple[ColumnSpec, ...]
    channels: tuple[ChannelSpec, ...]
    simulated: bool = False
    details: Mapping[str, str] = field(default_factory=dict)

    def channel(self, name: str) -> ChannelSpec:
        for channel in self.channels:
            if channel.name == name:
                return channel
        raise KeyError(f"{self.driver} {self.serial} has no channel {name!r}; it has {[c.name for c in self.channels]}")


@dataclass(frozen=True)
class CalibrationPiece:
    """From `first_row` on, `value = (raw - offset_raw) * scale` for `column` where its range code is `code`."""

    first_row: int
    column: str
    code: int
    scale: float
    offset_raw: float


@dataclass(frozen=True)
class Gap:
    """A stretch (begin_ns, end_ns] on the meter's clock without readings. `lost` samples if known, else -1."""

    begin_ns: int
    end_ns: int
    lost: int
    reason: str


@dataclass(frozen=True)
class Block:
    """What one acquisition step yields: rows, and what belongs to them.

    `t_ns`: int64 (N,); `columns`: name -> integer array (N,) for every column and range column;
    `calibration`: pieces whose first_row counts from this block's first row (a meter repeats a piece
    only when it changes); `anchors`: int64 (A, 2) pairs (meter time, host arrival time);
    `counts`: what was lost or dropped in this block, by name.
    """

    t_ns: Int64Array
    columns: Mapping[str, IntColumn]
    calibration: Sequence[CalibrationPiece] = ()
    gaps: Sequence[Gap] = ()
    anchors: Int64Array = field(default_factory=lambda: np.empty((0, 2), np.int64))
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.t_ns)


@dataclass(frozen=True)
class Trace:
    """All blocks of one meter in one run, joined: raw columns with calibration, gaps and anchors."""

    info: MeterInfo
    t_ns: Int64Array
    columns: Mapping[str, IntColumn]
    calibration: tuple[CalibrationPiece, ...]
    gaps: tuple[Gap, ...]
    anchors: Int64Array
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.t_ns)

    def values(self, column: str) -> FloatArray:
        """Calibrated SI values of `column`, float64 (N,). Rows that no calibration covers are NaN."""
        raw = self.columns[column]
        spec = next(c for c in self.info.columns if c.name == column)
        codes = self.columns[spec.range_column] if spec.range_column else None
        mine = [p for p in self.calibration if p.column == column]
        if codes is None and len(mine) == 1 and mine[0].first_row == 0:  # as most meters have it
            return np.asarray((raw - mine[0].offset_raw) * mine[0].scale, np.float64)
        scale = np.full(len(raw), np.nan)
        offset = np.zeros(len(raw))
        for code in sorted({p.code for p in mine}):
            pieces = [p for p in mine if p.code == code]
            pieces.sort(key=lambda p: p.first_row)
            first = np.array([p.first_row for p in pieces])
            piece_of_row = np.searchsorted(first, np.arange(len(raw)), side="right") - 1
            covered = piece_of_row >= 0
            if codes is not None:
                covered &= np.asarray(codes) == code
            k = piece_of_row[covered]
            scale[covered] = np.array([p.scale for p in pieces])[k]
            offset[covered] = np.array([p.offset_raw for p in pieces])[k]
        return np.asarray((raw - offset) * scale, np.float64)

    def power_w(self, channel: str) -> FloatArray:
        """Power of a power channel at each reading, float64 (N,), watt; NaN where not calibrated."""
        spec = self.info.channel(channel)
        if spec.quantity != "power_w":
            raise ValueError(f"channel {channel!r} of {self.info.driver} is a {spec.quantity} channel, not power")
        power = self.values(spec.columns[0])
        for name in spec.columns[1:]:
            power = power * self.values(name)
        return power


def join_blocks(info: MeterInfo, blocks: Sequence[Block]) -> Trace:
    """Blocks in order -> Trace; calibration rows are re-based, counts are added up."""
    names = list(blocks[0].columns) if blocks else []
    calibration: list[CalibrationPiece] = []
    counts: dict[str, int] = {}
    row = 0
    for block in blocks:
        calibration += [
            CalibrationPiece(p.first_row + row, p.column, p.code, p.scale, p.offset_raw) for p in block.calibration
        ]
        for key, value in block.counts.items():
            counts[key] = counts.get(key, 0) + value
        row += len(block)
    return Trace(
        info=info,
        t_ns=np.concatenate([b.t_ns for b in blocks]) if blocks else np.empty(0, np.int64),
        columns={n: np.concatenate([b.columns[n] for b in blocks]) for n in names},
        calibration=tuple(calibration),
        gaps=tuple(g for b in blocks for g in b.gaps),
        anchors=np.concatenate([b.anchors for b in blocks]) if blocks else np.empty((0, 2), np.int64),
        counts=counts,
    )
