"""Readings of a foreign meter, given as a table in SI or raw integers, become the blocks that a driver would yield."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.core.clock import HOST, Int64Array, meter_clock
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    IntColumn,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.exam.door.format import AccuracySection, MeterSection, RawScale, SeriesSection
from harness.exam.door.quantise import counter_quantised, quantised
from harness.exam.door.tables import BoolArray, Table, read_table
from harness.imports.foreign import ForeignMeter

BLOCK_ROWS = 1 << 16
POWER = (("power_w",), ("current_a", "voltage_v"), ("power_raw",), ("current_raw", "voltage_raw"))
COUNTER = (("energy_j",), ("energy_raw",))
UNITS = {"power": "W", "current": "A", "voltage": "V", "energy": "J"}
SPACING = 1.5  # the median spacing of readings lies within this factor of the declared period


def binding_of(meter: MeterSection, driver: str, *, calibrated: bool) -> MeterBinding:
    """`calibrated`: the declared accuracy replaces that of the driver."""
    stated = meter.accuracy if calibrated else None
    return MeterBinding(
        meter.name, driver, tuple(meter.rails.items()), meter.plane, meter.total,
        accuracy_rel=stated.gain_rel if stated else None, accuracy_offset_w=stated.offset_w if stated else None,
    )  # fmt: skip


def series_meter(
    folder: Path, meter: MeterSection, series: SeriesSection, *, board_clock_name: str, simulated: bool
) -> ForeignMeter:
    """The meter of a `series` section. SpecError for what its table cannot mean."""
    table = _read(folder / series.file, meter)
    t_ns = table.time_ns("t")
    table.increasing(t_ns, "t")
    _check_period(table, t_ns, series.reading.period_s)
    chosen = {channel: _columns_of(table, channel, meter, series) for channel in meter.rails}
    held = ~np.any([table.empty[name] for names in chosen.values() for name in names], axis=0)
    encoded = _encode(table, chosen, series, held)
    clock = {"own": meter_clock(meter.name), "host": HOST, "board": board_clock_name}[series.clock]
    info = MeterInfo(
        driver="world", model=f"{meter.name} (foreign)", serial=meter.name, firmware="", clock=clock,
        columns=tuple(encoded.specs),
        channels=tuple(_channel(c, chosen[c], meter, series, encoded.modulus_raw) for c in meter.rails),
        simulated=simulated, details={"quantised": "SI values to integers, within 1e-7 of the largest"},
    )  # fmt: skip
    gaps = [*_empty_gaps(t_ns, held, series.reading.period_s), *_told_gaps(folder, series)]
    gaps.sort(key=lambda gap: gap.begin_ns)
    anchors = _anchors(folder, series)
    blocks = _blocks(t_ns[held], encoded, gaps, anchors, missing=int(np.count_nonzero(~held)))
    return ForeignMeter(binding_of(meter, "world", calibrated=False), info, blocks)


def _read(path: Path, meter: MeterSection) -> Table:
    prefixes = _prefixes(meter)
    si = [f"{p}{name}" for p in prefixes for name in ("power_w", "current_a", "voltage_v", "energy_j")]
    raw = [f"{p}{name}_{kind}" for p in prefixes for name in UNITS for kind in ("raw", "range")]
    return read_table(path, f"the readings of {meter.name}", times=("t",), floats=si, ints=raw)


def _prefixes(meter: MeterSection) -> list[str]:
    """With one channel a column is called power_w, with several <channel>_power_w."""
    return [""] if len(meter.rails) == 1 else [f"{channel}_" for channel in meter.rails]


def _columns_of(table: Table, channel: str, meter: MeterSection, series: SeriesSection) -> tuple[str, ...]:
    """The columns whose product is the channel's quantity: exactly one of the possible sets is there."""
    prefix = "" if len(meter.rails) == 1 else f"{channel}_"
    sets = COUNTER if series.reading.kind == "counter" else POWER
    found = [tuple(prefix + n for n in names) for names in sets if all(prefix + n in table for n in names)]
    if len(found) != 1:
        raise table.error(
            f"the channel {channel!r} needs the columns of one of "
            f"{[' and '.join(prefix + n for n in names) for names in sets]}, found {sorted(table.columns)}",
            0 if table.rows else None,
            hint=f"a {series.reading.kind} reading is given in one way only; with several channels columns are "
            "called <channel>_power_w",
        )
    return found[0]


def _check_period(table: Table, t_ns: Int64Array, period_s: float) -> None:
    if len(t_ns) < 2:
        raise table.error(f"there are {len(t_ns)} readings, at least 2 are needed")
    median_s = float(np.median(np.diff(t_ns))) * 1e-9
    if not period_s / SPACING <= median_s <= period_s * SPACING:
        raise table.error(
            f"the readings are {median_s:.6g} s apart (median), world.json says period_s: {period_s:g}",
            hint="correct period_s, or the unit of t",
        )


@dataclass
class _Encoded:
    """Integer columns with their specs and calibration, rows without a value left out."""

    columns: dict[str, IntColumn] = field(default_factory=dict)
    specs: list[ColumnSpec] = field(default_factory=list)
    pieces: list[CalibrationPiece] = field(default_factory=list)
    modulus_raw: int | None = None


def _encode(table: Table, chosen: Mapping[str, Sequence[str]], series: SeriesSection, held: BoolArray) -> _Encoded:
    encoded = _Encoded(modulus_raw=series.modulus_raw)
    scales: dict[str, list[RawScale]] = {}
    for scale in series.raw:
        scales.setdefault(scale.column, []).append(scale)
    names = [name for group in chosen.values() for name in group]
    if strangers := sorted(set(scales) - set(names)):
        raise table.error(f"`raw` gives a scale for {strangers[0]!r}, which is no column of raw readings")
    for name in names:
        unit = UNITS[name.rsplit("_", 2)[-2]]
        if name.endswith("_raw"):
            _raw_column(encoded, table, name, unit, scales.get(name, []), held)
            continue
        values = table.columns[name][held]
        if name.endswith("energy_j"):
            _check_counter(table, name, held, series.modulus_j)
            raw, step, encoded.modulus_raw = counter_quantised(values, series.modulus_j)
        else:
            raw, step = quantised(values)
        encoded.columns[name] = raw
        encoded.specs.append(ColumnSpec(name, unit))
        encoded.pieces.append(CalibrationPiece(0, name, 0, step, 0.0))
    return encoded


def _check_counter(table: Table, name: str, held: BoolArray, modulus_j: float | None) -> None:
    over = held & (table.columns[name] >= modulus_j if modulus_j is not None else False)
    if np.any(over):
        row = int(np.argmax(over))
        raise table.error(f"{name} is {table.columns[name][row]:g}, not below modulus_j ({modulus_j:g} J)", row)


def _raw_column(
    encoded: _Encoded, table: Table, name: str, unit: str, scales: Sequence[RawScale], held: BoolArray
) -> None:
    """A column of raw counts with its declared scales; with several codes, also its column of range codes."""
    if not scales:
        raise table.error(f"{name} has no scale", hint=f'add {{"column": "{name}", "scale": ...}} to `raw`')
    ranges = f"{name.removesuffix('_raw')}_range"
    codes = [scale.code for scale in scales]
    if len(set(codes)) < len(codes):
        raise table.error(f"`raw` gives {name} two scales for the same range code; the codes are {codes}")
    if (len(codes) > 1) != (ranges in table):
        raise table.error(
            f"{name} has {len(codes)} scales and {'a' if ranges in table else 'no'} column {ranges}",
            hint="several ranges need a column of codes, and a column of codes needs a scale for each",
        )
    encoded.columns[name] = table.columns[name][held]
    encoded.specs.append(ColumnSpec(name, unit, ranges if ranges in table else None))
    encoded.pieces += [CalibrationPiece(0, name, s.code, s.scale, s.offset_raw) for s in scales]
    if ranges in table:
        found = table.full(ranges)
        strange = ~np.isin(found, codes)
        if strange.any():
            row = int(np.argmax(strange))
            raise table.error(f"{ranges} is {found[row]}, `raw` has scales for {codes}", row)
        encoded.columns[ranges] = found[held].astype(np.uint8)


def _channel(
    channel: str, columns: Sequence[str], meter: MeterSection, series: SeriesSection, modulus_raw: int | None
) -> ChannelSpec:
    reading, counter = series.reading, series.reading.kind == "counter"
    period_ns = round(reading.period_s * 1e9)
    touching = reading.kind in ("mean", "counter")
    window_ns = period_ns if touching else round((reading.window_s or 0.0) * 1e9)
    kernel = Reading(ReadingKind(reading.kind), period_ns, window_ns, round(reading.tau_s * 1e9))
    return ChannelSpec(
        channel, "energy_j" if counter else "power_w", tuple(columns), kernel, accuracy_of(meter.accuracy),
        modulus_raw if counter else None, series.max_power_w,
    )  # fmt: skip


def accuracy_of(stated: AccuracySection | None) -> Accuracy | None:
    """The declared sheet; None where nobody states one."""
    return None if stated is None else Accuracy(stated.gain_rel, stated.offset_w, stated.noise_w, stated.source)


def _empty_gaps(t_ns: Int64Array, held: BoolArray, period_s: float) -> list[Gap]:
    """A Gap for every stretch of rows without a value: from the row before it to its last row."""
    edge = np.flatnonzero(np.diff(np.r_[True, held, True].astype(np.int8)))
    gaps = []
    for first, stop in zip(edge[::2].tolist(), edge[1::2].tolist(), strict=True):
        begin_ns = int(t_ns[first - 1]) if first else int(t_ns[0]) - round(period_s * 1e9)
        gaps.append(Gap(begin_ns, int(t_ns[stop - 1]), stop - first, "empty fields"))
    return gaps


def _told_gaps(folder: Path, series: SeriesSection) -> list[Gap]:
    if series.gaps is None:
        return []
    table = read_table(folder / series.gaps, "the gaps", times=("begin", "end"), ints=("lost",), texts=("reason",))
    begin_ns, end_ns = table.time_ns("begin"), table.time_ns("end")
    table.increasing(begin_ns, "begin")
    if np.any(end_ns <= begin_ns):
        raise table.error("a gap ends before it begins", int(np.argmax(end_ns <= begin_ns)))
    lost = np.where(table.empty["lost"], -1, table.columns["lost"]) if "lost" in table else np.full(table.rows, -1)
    reason = table.columns["reason"] if "reason" in table else np.full(table.rows, "lost", object)
    return [Gap(int(a), int(b), int(k), str(why)) for a, b, k, why in zip(begin_ns, end_ns, lost, reason, strict=True)]


def _anchors(folder: Path, series: SeriesSection) -> Int64Array:
    if series.anchors is None:
        return np.empty((0, 2), np.int64)
    table = read_table(folder / series.anchors, "the anchors", times=("meter", "host"))
    meter_ns, host_ns = table.time_ns("meter"), table.time_ns("host")
    table.increasing(meter_ns, "meter")
    if table.rows < 2:
        raise SpecError(
            f"there are {table.rows} anchors, at least 2 are needed: nothing else tells the rate of the meter's clock",
            file=table.path,
        )
    return np.stack([meter_ns, host_ns], axis=1)


def _blocks(
    t_ns: Int64Array, encoded: _Encoded, gaps: Sequence[Gap], anchors: Int64Array, *, missing: int
) -> list[Block]:
    counts = {"missing_readings": missing} if missing else {}
    lost = sum(max(gap.lost, 1) for gap in gaps if gap.reason != "empty fields")
    counts |= {"lost_readings": lost} if lost else {}
    blocks = []
    for first in range(0, max(len(t_ns), 1), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        columns = {name: column[rows] for name, column in encoded.columns.items()}
        if first == 0:
            blocks.append(Block(t_ns[rows], columns, tuple(encoded.pieces), tuple(gaps), anchors, counts))
        else:
            blocks.append(Block(t_ns[rows], columns))
    return blocks
