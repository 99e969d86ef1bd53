"""From numbers in SI to a meter's raw integers and back: how foreign readings become a ForeignMeter.

Files of others hold numbers, not a converter's codes. Where they are printed to some decimal, a code is one step of
the last digit, so that what the analysis knows about codes (a pile at the largest, readings that stand still) holds for
them too. Otherwise a code is 2**-30 of the largest, less than any meter resolves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.imports.foreign import ForeignMeter

BLOCK = 1 << 16
BITS = 30
DECIMALS = 10
LARGEST_CODE = 2**31
NEAR = 0.02  # of a code: how near a decimal lies to its step


@dataclass(frozen=True)
class Declared:
    """What the user says about foreign data, as the data do not say it themselves.

    `gain_rel`, `offset_w`: limits of error of the meter, with the `accuracy_source` that prints them; None: unknown.
    """

    name: str | None = None
    board: str = "foreign"
    plane: str | None = None
    meter_model: str | None = None
    gain_rel: float | None = None
    offset_w: float | None = None
    accuracy_source: str = ""
    origin: str | None = None
    alignment_u_s: float | None = None
    batch: int = 1

    def accuracy(self) -> Accuracy | None:
        """None unless a gain limit is declared. SpecError if a figure has no source, or an offset no gain."""
        if self.gain_rel is None and self.offset_w is None:
            return None
        if self.gain_rel is None:
            raise SpecError("--offset-w without --gain-rel", hint="give both limits from the same sheet")
        if not self.accuracy_source:
            raise SpecError(
                "an accuracy without its source", hint='say where it is printed: --accuracy-source "sheet, page"'
            )
        if not 0 <= self.gain_rel < 1 or not (self.offset_w or 0.0) >= 0:
            raise SpecError(f"--gain-rel {self.gain_rel:g} is no relative limit", hint="1 % is 0.01; watts are >= 0")
        return Accuracy(self.gain_rel, self.offset_w or 0.0, 0.0, self.accuracy_source)

    def flags(self) -> list[str]:
        """A zero that nobody states is not a perfect one, and gross energy holds all of it."""
        return ["meter_zero_unknown"] if self.gain_rel is not None and self.offset_w is None else []

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def run_name(text: str) -> str:
    """`text` as the beginning of a run id: letters, digits, dot, '-' and '_'."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:80] or "trace"


def as_integers(values: FloatArray, *, rel: float = 1e-12) -> tuple[Int64Array, float]:
    """(raw, scale) with raw * scale the `values`, which are known to `rel` (6e-8: they were float32).

    The scale is the coarsest decimal on whose steps all values lie; without one, 2**-BITS of the largest or finer.
    """
    largest = float(np.max(np.abs(values))) if len(values) else 0.0
    if largest == 0.0:
        return np.zeros(len(values), np.int64), 1.0
    for decimals in range(DECIMALS + 1):
        codes = values * 10.0**decimals
        top = largest * 10.0**decimals
        if top > LARGEST_CODE or top * rel > NEAR:
            break
        if top >= 1 and np.all(np.abs(codes - np.rint(codes)) <= max(top * rel, 1e-9 * top)):
            return np.rint(codes).astype(np.int64), 10.0**-decimals
    scale = float(2.0 ** (int(np.floor(np.log2(largest))) - BITS + 1))
    return np.rint(values / scale).astype(np.int64), scale


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Readings of one foreign meter in SI. `columns`: name -> (unit, float64 (N,), factor to the unit).

    `channels`: name -> names of the columns whose product it is; `anchors`: int64 (A, 2); `missing`: rows left out
    since a value was not there; `rel`: to which the numbers are known.
    """

    t_ns: Int64Array
    columns: Mapping[str, tuple[str, FloatArray, float]]
    channels: Mapping[str, tuple[str, ...]]
    reading: Reading
    clock: str
    gaps: Sequence[Gap] = ()
    anchors: Int64Array = field(default_factory=lambda: np.empty((0, 2), np.int64))
    missing: int = 0
    rel: float = 1e-12


def foreign_meter(
    name: str, readings: Readings, *, driver: str, model: str, plane: str, accuracy: Accuracy | None,
    details: Mapping[str, str] | None = None, total: Sequence[str] | None = None,
) -> ForeignMeter:  # fmt: skip
    """The readings as a meter with blocks; `total`: the channels whose sum is the result (default: all)."""
    quantity = "energy_j" if readings.reading.kind is ReadingKind.COUNTER else "power_w"
    columns = {c: as_integers(values, rel=readings.rel) for c, (_, values, _) in readings.columns.items()}
    pieces = tuple(CalibrationPiece(0, c, 0, scale * readings.columns[c][2], 0.0) for c, (_, scale) in columns.items())
    info = MeterInfo(
        driver, model, "", "", readings.clock,
        tuple(ColumnSpec(c, unit) for c, (unit, _, _) in readings.columns.items()),
        tuple(ChannelSpec(c, quantity, parts, readings.reading, accuracy) for c, parts in readings.channels.items()),
        details=dict(details or {}),
    )  # fmt: skip
    blocks = [
        _block(readings, {c: raw for c, (raw, _) in columns.items()}, first, pieces)
        for first in range(0, len(readings.t_ns), BLOCK)
    ]
    rails = tuple((c, c) for c in readings.channels)
    binding = MeterBinding(name, driver, rails, plane, tuple(total or readings.channels))
    return ForeignMeter(binding, info, blocks)


def _block(
    readings: Readings, raw: Mapping[str, Int64Array], first: int, pieces: tuple[CalibrationPiece, ...]
) -> Block:
    """Rows from `first` on; what is said once, is said in the first block."""
    part = slice(first, first + BLOCK)
    rows = {c: values[part] for c, values in raw.items()}
    if first:
        return Block(readings.t_ns[part], rows)
    counts = {"missing_values": readings.missing} if readings.missing else {}
    return Block(readings.t_ns[part], rows, pieces, tuple(readings.gaps), readings.anchors, counts)
