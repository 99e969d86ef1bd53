"""Any CSV of readings, by a map of its columns. Units are stated, never guessed.

A column is named as in the heading, with its unit behind a colon: `--time t:ms --power P:mW`. The unit may be left out
only where the heading states it in brackets or as an ending (`Power [mW]`, `power_mw`, `t (s)`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.clock import HOST, FloatArray, Int64Array, meter_clock
from harness.core.errors import SpecError
from harness.core.timeline import Phase
from harness.core.trace import STAMPS, STAMPS_IN_BURSTS, Reading, ReadingKind
from harness.imports.foreign import ForeignRun, imported_protocol
from harness.imports.marks import Window, counts_of, load_told, pairs_of, windows_timeline
from harness.imports.meter import Declared, Readings, foreign_meter, run_name
from harness.imports.source import Source, identity, number

FORMAT = "csv"
CLOCK = meter_clock("csv")
UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0},
    "power": {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "kW": 1e3},
    "current": {"A": 1.0, "mA": 1e-3, "uA": 1e-6},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "energy": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9, "Wh": 3600.0, "mWh": 3.6, "kWh": 3.6e6},
}
SI = {"power": "W", "current": "A", "voltage": "V", "energy": "J"}
KINDS = ("point", "mean", "counter", "overlapping", "filtered")
STAMPED = ("own", STAMPS_IN_BURSTS)  # by the meter, or by a host as bursts of samples came in
EMPTY = ("", "nan", "na", "n/a", "null", "none", "-")


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """Which columns hold what: `COL` or `COL:unit`. Power, or current with voltage (a column, or a number of volts in
    `volts`), or energy (a counter). `kind`: what a reading is; lines that begin with `comment` are passed over."""

    time: str
    power: str | None = None
    current: str | None = None
    voltage: str | None = None
    energy: str | None = None
    volts: float | None = None
    kind: str | None = None
    window_s: float | None = None
    delimiter: str = ","
    comment: str = "#"

    def columns(self) -> dict[str, str]:
        """Quantity -> column; SpecError unless exactly one way to a power is given."""
        given = {q: c for q in SI if (c := getattr(self, q)) is not None}
        ways = [{"power"}, {"current", "voltage"}, {"energy"}]
        wanted = set(given) | ({"voltage"} if self.volts is not None else set())
        if wanted not in ways:
            raise SpecError(
                f"columns for {sorted(wanted) or 'nothing'} make no power",
                hint="give --power COL:W, or --current COL:A with --voltage COL:V or --volts 5.0, or --energy COL:J",
            )
        return given


def column_of(source: Source, head: Sequence[str], text: str, quantity: str) -> tuple[int, float]:
    """(index, factor to SI) of `COL:unit`. SpecError saying what to type if the unit is not stated."""
    name, _, unit = text.rpartition(":") if ":" in text and text not in head else (text, "", "")
    if name not in head:
        raise source.wrong(f"no column {name!r}", line=1, hint=f"columns are: {', '.join(map(repr, head))}")
    units = UNITS[quantity]
    if not unit:
        stated = re.search(r"[\[(]\s*([A-Za-zµ]+)\s*[\])]\s*$", name) or re.search(r"_([A-Za-z]+)$", name)
        found = stated[1].replace("µ", "u") if stated else ""
        matches = [u for u in units if u == found] or [u for u in units if u.lower() == found.lower()]
        if len(matches) != 1:
            raise source.wrong(
                f"the heading {name!r} does not state the unit of {quantity}", line=1,
                hint=f"type it: --{quantity} '{name}:UNIT' with one of {', '.join(units)}",
            )  # fmt: skip
        unit = matches[0]
    if unit not in units:
        raise source.wrong(f"unknown unit {unit!r} of {quantity}", line=1, hint=f"use one of {', '.join(units)}")
    return head.index(name), units[unit]


@dataclass(frozen=True)
class Table:
    """Rows in order: seconds as in the file, quantity -> numbers as in the file, factors to SI; `index`: int64 (N,)
    count of each row, those that lack a value counted too."""

    time_s: FloatArray
    values: Mapping[str, FloatArray]
    factor: Mapping[str, float]
    missing: int
    notes: tuple[str, ...]
    index: Int64Array


def parse(source: Source, columns: ColumnMap) -> Table:
    """SpecError naming file, line and column; a cut last line is left out; an empty value is a missing row."""
    wanted = columns.columns()
    lines = source.lines()
    kept = [(k, text) for k, text in enumerate(lines, 1) if text.strip() and not text.startswith(columns.comment)]
    if not kept:
        raise source.wrong("no heading and no rows")
    rows = list(csv.reader([text for _, text in kept], delimiter=columns.delimiter))
    head = [h.strip() for h in rows[0]]
    if len(head) == 1:
        raise source.wrong(f"one column only: {head[0][:60]!r}", line=kept[0][0], hint="give --delimiter ';' or so")
    time_at, time_factor = column_of(source, head, columns.time, "time")
    at = {q: column_of(source, head, c, q) for q, c in wanted.items()}
    times, values = [], {q: [] for q in at}  # type: tuple[list[float], dict[str, list[float]]]
    notes = ["the file breaks off; what came before is kept"] if source.truncated else []
    missing, index = 0, []  # type: tuple[int, list[int]]
    for (line, _), row in zip(kept[1:], rows[1:], strict=True):
        if line == len(lines) and len(row) < len(head) and not source.data.endswith(b"\n"):
            notes.append(f"line {line} breaks off and is left out")
            continue
        if len(row) <= max([time_at, *(k for k, _ in at.values())]):
            raise source.wrong(f"{len(row)} fields; the heading has {len(head)}", line=line)
        if any(row[k].strip().lower() in EMPTY for k, _ in at.values()):
            missing += 1
            continue
        index.append(missing + len(times))
        times.append(number(source, row[time_at], head[time_at], line=line) * time_factor)
        for quantity, (k, _) in at.items():
            values[quantity].append(number(source, row[k], head[k], line=line))
    if len(times) < 2:
        raise source.wrong(f"{len(times)} rows with values; at least two are needed")
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise source.wrong(
            f"time runs back from {times[back[0]]:g} s to {times[back[0] + 1]:g} s", line=kept[1:][int(back[0]) + 1][0],
            hint="rows must be in order of time; several channels go into columns of their own",
        )  # fmt: skip
    arrays = {q: np.array(v) for q, v in values.items()}
    return Table(
        np.array(times), arrays, {q: f for q, (_, f) in at.items()}, missing, tuple(notes), np.array(index, np.int64)
    )


def _counted(table: Table, t_ns: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Times on the device's count at the period that the file runs at, and each row's (that time, stamp); ns.

    The period is the median of that over a sixteenth of the file, so that what is lost somewhere does not change it.
    """
    lag = max(len(t_ns) // 16, 1)
    period = max(round(float(np.median((t_ns[lag:] - t_ns[:-lag]) / (table.index[lag:] - table.index[:-lag])))), 1)
    count = (table.index + 1) * period
    return count, np.stack([count, t_ns], axis=1)


def _readings(table: Table, columns: ColumnMap, t_ns: Int64Array, anchors: Int64Array | None = None) -> Readings:
    kind = columns.kind or ("counter" if "energy" in table.values else None)
    if kind not in KINDS or (kind == "counter") != ("energy" in table.values):
        raise SpecError(
            "what a reading is is not said" if kind is None else f"--kind {kind!r} with {sorted(table.values)}",
            hint="give --kind mean (over the time since the row before), point, or overlapping or filtered (with "
            "--window); an energy counter is --energy COL:J",
        )  # fmt: skip
    period = max(int(np.median(np.diff(t_ns))), 1)
    needs = kind in ("overlapping", "filtered")
    if needs and columns.window_s is None:
        raise SpecError(f"--kind {kind} without --window", hint="give the averaging window in seconds")
    window = round((columns.window_s or 0.0) * 1e9) if needs else (0 if kind in ("point", "counter") else period)
    si = {q: (SI[q], values, table.factor[q]) for q, values in table.values.items()}
    if columns.volts is not None:
        si["voltage"] = ("V", np.full(len(t_ns), columns.volts), 1.0)
    return Readings(
        t_ns=t_ns, columns=si, channels={"main": tuple(si)}, reading=Reading(ReadingKind(kind), period, window),
        clock=CLOCK, missing=table.missing, anchors=np.empty((0, 2), np.int64) if anchors is None else anchors,
    )  # fmt: skip


def build(
    source: Source, columns: ColumnMap, marks: Sequence[float], inferences: str | None,
    standby: Sequence[tuple[float, float]], declared: Declared, *,
    rule: str = "pairs", align: str = "declared", others: Sequence[Source] = (), stamps: str = "own",
) -> ForeignRun:  # fmt: skip
    """The run. `marks`, `standby`: seconds on the file's own time axis; with `standby` the measurand is dynamic.

    `stamps`: "own", of the meter, or "bursts", of the host when they came in: then the rows are counted, and laid out
    by the analysis.
    """
    if stamps not in STAMPED:
        raise SpecError(f"--stamps {stamps!r} is unknown", hint=f"use one of {', '.join(STAMPED)}")
    table = parse(source, columns)
    origin = float(table.time_s[0])
    t_ns = np.rint((table.time_s - origin) * 1e9).astype(np.int64)
    in_bursts = stamps == STAMPS_IN_BURSTS
    readings = _readings(table, columns, *(_counted(table, t_ns) if in_bursts else (t_ns, None)))
    pairs = pairs_of([m - origin for m in marks], rule=rule)
    counts = counts_of(inferences, len(pairs))
    windows = [Window(round(a * 1e9), round(b * 1e9), n) for (a, b), n in zip(pairs, counts, strict=True)]
    if windows[0].begin_ns >= int(t_ns[-1]) or windows[-1].end_ns <= 0:
        raise SpecError(
            f"marks from {marks[0]:g} s to {marks[-1]:g} s lie outside the file, whose time goes from {origin:g} s to "
            f"{float(table.time_s[-1]):g} s", file=source.path, hint="marks are seconds on the file's own time axis",
        )  # fmt: skip
    brackets = []
    for a, b in standby:
        phase = Phase.STANDBY_BEFORE if b - origin <= windows[0].begin_ns * 1e-9 else Phase.STANDBY_AFTER
        brackets.append((phase, round((a - origin) * 1e9), round((b - origin) * 1e9)))
    timeline, told = windows_timeline(HOST if in_bursts else CLOCK, windows, brackets)
    meter = foreign_meter(
        "meter", readings, driver=FORMAT, model=declared.meter_model or "unknown meter",
        plane=declared.plane or "dc_input", accuracy=declared.accuracy(),
        details={
            "kind": str(readings.reading.kind), "time_of_first_row_s": repr(origin),
            **({STAMPS: STAMPS_IN_BURSTS} if in_bursts else {}),
        },
    )  # fmt: skip
    load = load_told([m - origin for m in marks], rule=rule)
    told |= {"notes": list(table.notes), **load,
             "sample_rate_hz": 1e9 / readings.reading.period_ns,
             "flags": [*told["flags"], *declared.flags(), *(["file_truncated"] if table.notes else [])]}  # fmt: skip
    asked = [
        [[w.begin_ns, w.end_ns, w.inferences] for w in windows],
        brackets,
        vars(columns),
        align,
        declared.to_json(),
        *(["stamps in bursts"] if in_bursts else []),
        *([load] if rule != "pairs" else []),  # the same windows, but something else is known of the load
    ]
    return ForeignRun(
        FORMAT, run_name(declared.name or source.stem), identity([source, *others], asked),
        declared.origin or f"CSV {source.path.name}", (meter,), timeline,
        imported_protocol(
            measurand="dynamic" if brackets else "gross", alignment=align, alignment_u_s=declared.alignment_u_s or 0.0
        ),
        declared.board, declared.batch, documents={"import": told},
    )  # fmt: skip
