"""CSV of `nvidia-smi --query-gpu=... --format=csv`, alone or beside an external meter of the same card.

What a value of `power.draw` is depends on card and driver: a mean of the last second, of a quarter of the time, or an
instant (Z. Yang et al., SC'24, arXiv 2312.02741). The file does not say, so the user does; unsaid, a value is taken as
a point, with a flag. The tool repeats the register's value until the next update: a repeat is no new sample.
"""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.clock import HOST, FloatArray, Int64Array
from harness.core.errors import SpecError
from harness.core.trace import Reading, ReadingKind
from harness.imports.foreign import ForeignMeter, ForeignRun, imported_protocol
from harness.imports.marks import Window, counts_of, load_told, pairs_of, windows_timeline
from harness.imports.meter import Declared, Readings, foreign_meter, run_name
from harness.imports.source import Source, identity, number

FORMAT = "nvidia-smi"
STAMP = "%Y/%m/%d %H:%M:%S.%f"
ABSENT = re.compile(r"^\[.*\]$|^$|^N/A$")
UNITS_W = {"W": 1.0, "mW": 1e-3}
WHO = ("uuid", "pci.bus_id", "gpu_bus_id", "index", "gpu_uuid")
KINDS = ("unknown", "point", "mean", "overlapping", "part_time")
EPOCH = datetime.datetime(1970, 1, 1)
LAST_YEAR = 2200
MARK_UNITS = {"s": None, "unix-s": 1.0, "unix-us": 1e-6}


@dataclass(frozen=True)
class SmiLog:
    """Rows in order: `unix_ns` by the given offset from UTC, the field's value in W; `missing`: rows without one."""

    unix_ns: Int64Array
    power_w: FloatArray
    missing: int
    field: str
    notes: tuple[str, ...] = ()


def parse(source: Source, *, field: str, utc_offset_s: float, gpu: str | None) -> SmiLog:
    """Rows of one GPU. SpecError naming the line, or the fields that there are."""
    lines = source.lines()
    rows = [[part.strip() for part in row] for row in csv.reader(lines)]
    names = [re.sub(r"\s*\[.*\]$", "", h) for h in rows[0]]
    if "timestamp" not in names:
        raise source.wrong(
            f"no column timestamp in the heading {rows[0]}", line=1,
            hint="record with: nvidia-smi --query-gpu=timestamp,power.draw --format=csv -lms 10",
        )  # fmt: skip
    if field not in names:
        there = [n for n in names if "power" in n]
        raise source.wrong(f"no column {field!r}", line=1, hint=f"use --field with one of {there or names}")
    head = rows[0][names.index(field)]
    stated = re.search(r"\[(\w+)\]$", head)
    at, value = names.index("timestamp"), names.index(field)
    mine = _rows_of_gpu(source, rows, names, gpu)
    times, watts, missing = [], [], 0
    notes = ["the file breaks off; what came before is kept"] if source.truncated else []
    for line, row in mine:
        if line == len(lines) and len(row) < len(names) and not source.data.endswith(b"\n"):
            notes.append(f"line {line} breaks off and is left out")
            continue
        if len(row) < len(names):
            raise source.wrong(f"{len(row)} fields; the heading has {len(names)}", line=line)
        if ABSENT.match(row[value]):
            missing += 1
            continue
        times.append(_unix_ns(source, row[at], utc_offset_s, line=line))
        watts.append(_watt(source, row[value], stated[1] if stated else None, field, line=line))
    if len(times) < 2:
        raise source.wrong(
            f"{len(times)} values of {field} in {len(mine)} rows", hint="this card or driver may not report that field"
        )
    return SmiLog(np.array(times, np.int64), np.array(watts), missing, field, tuple(notes))


def _rows_of_gpu(
    source: Source, rows: list[list[str]], names: list[str], gpu: str | None
) -> list[tuple[int, list[str]]]:
    numbered = [(line, row) for line, row in enumerate(rows[1:], 2) if any(row)]
    who = next((names.index(n) for n in WHO if n in names), None)
    if who is None:
        if gpu is not None:
            raise source.wrong(f"--gpu {gpu}, but no column of {', '.join(WHO)}", line=1)
        return numbered
    found = sorted({row[who] for _, row in numbered if len(row) > who})
    if gpu is None and len(found) > 1:
        raise source.wrong(f"{len(found)} GPUs in one file", hint=f"choose one: --gpu {found[0]} (there are {found})")
    if gpu is not None and gpu not in found:
        raise source.wrong(f"no GPU {gpu!r}", hint=f"there are {found}")
    return [(line, row) for line, row in numbered if gpu is None or row[who] == gpu]


def _unix_ns(source: Source, text: str, utc_offset_s: float, *, line: int) -> int:
    try:
        moment = datetime.datetime.strptime(text, STAMP)
    except ValueError:
        raise source.wrong(f"timestamp is {text!r}; expected YYYY/MM/DD hh:mm:ss.mmm", line=line) from None
    if not EPOCH.year < moment.year < LAST_YEAR:
        raise source.wrong(f"timestamp is {text!r}; its year is not of this time", line=line)
    return int((moment - EPOCH) / datetime.timedelta(microseconds=1)) * 1000 - round(utc_offset_s * 1e9)


def _watt(source: Source, text: str, stated: str | None, field: str, *, line: int) -> float:
    part = text.split()
    unit = part[1] if len(part) == 2 else stated
    if unit not in UNITS_W:
        raise source.wrong(
            f"{field} is {text!r}, its unit {'is not stated' if unit is None else repr(unit)}; expected W", line=line,
            hint="record without the option nounits, or keep nvidia-smi's heading",
        )  # fmt: skip
    return number(source, part[0], field, line=line) * UNITS_W[unit]


def updates(t_ns: Int64Array, power_w: FloatArray) -> tuple[Int64Array, int]:
    """(rows at which the register was new, its update period in ns: the median time between changes).

    A new value is an update. One that stays for k periods was written k times with the same number; the rows nearest to
    these moments count. Where nobody asked for longer, there is no such row, and so a hole.
    """
    change = np.flatnonzero(np.r_[True, np.diff(power_w) != 0])
    poll = int(np.median(np.diff(t_ns)))
    period = max(int(np.median(np.diff(t_ns[change]))) if len(change) > 4 else poll, poll)
    rows = [change]
    ends = np.r_[change[1:], len(t_ns) - 1]
    for first, last in zip(change, ends, strict=True):
        times = round(int(t_ns[last] - t_ns[first]) / period)
        if times > 1:
            wanted = np.linspace(t_ns[first], t_ns[last], times + 1)[1:-1]
            rows.append(np.clip(np.searchsorted(t_ns, wanted), first, last))
    rows.append(np.array([len(t_ns) - 1]))
    return np.unique(np.concatenate(rows)), period


def smi_meter(log: SmiLog, origin: int, kind: str, window_s: float | None, declared: Declared) -> ForeignMeter:
    """The card's own sensor, one reading an update."""
    rows, period = updates(log.unix_ns, log.power_w)
    window = period if window_s is None else round(window_s * 1e9)
    reading = Reading(ReadingKind.POINT if kind == "unknown" else ReadingKind(kind), period, window)
    if reading.kind is ReadingKind.POINT:
        reading = Reading(ReadingKind.POINT, period, 0)
    readings = Readings(
        t_ns=log.unix_ns[rows] - origin, columns={"power": ("W", log.power_w[rows], 1.0)},
        channels={"card": ("power",)}, reading=reading, clock=HOST, missing=log.missing,
    )  # fmt: skip
    return foreign_meter(
        "smi", readings, driver=FORMAT, model=declared.meter_model or f"nvidia-smi {log.field}",
        plane=declared.plane or "card", accuracy=declared.accuracy(),
        details={"field": log.field, "rows": str(len(log.unix_ns)), "updates": str(len(rows)), "kind": kind},
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SmiOptions:
    """What the user says of an nvidia-smi CSV: which field, what a value means, where the marks are."""

    field: str = "power.draw"
    kind: str = "unknown"
    window_s: float | None = None
    utc_offset_s: float = 0.0
    gpu: str | None = None
    marks_unit: str = "s"
    rule: str = "pairs"


def build(
    source: Source, marks: Sequence[float], inferences: str | None, options: SmiOptions, declared: Declared,
    *, others: Sequence[Source] = (), second: Sequence[ForeignMeter] = (), second_origin_ns: int | None = None,
) -> ForeignRun:  # fmt: skip
    """The run. `marks`: seconds from the first row, or since 1970, as `options.marks_unit` says. `second`: meters on
    the same time axis, which begins at `second_origin_ns` since 1970; `others`: the files they and the marks are from.
    """
    if options.kind not in KINDS:
        raise SpecError(f"--kind {options.kind!r} is unknown", hint=f"use one of {', '.join(KINDS)}")
    if options.marks_unit not in MARK_UNITS:
        raise SpecError(f"--marks-unit {options.marks_unit!r} is unknown", hint=f"use one of {', '.join(MARK_UNITS)}")
    log = parse(source, field=options.field, utc_offset_s=options.utc_offset_s, gpu=options.gpu)
    origin = int(log.unix_ns[0]) if second_origin_ns is None else second_origin_ns
    unit = MARK_UNITS[options.marks_unit]
    ns = [(round(m * 1e9) if unit is None else round(m * unit * 1e6) * 1000 - origin) for m in marks]
    pairs = pairs_of([n * 1e-9 for n in ns], rule=options.rule)
    counts = counts_of(inferences, len(pairs))
    windows = [Window(round(a * 1e9), round(b * 1e9), n) for (a, b), n in zip(pairs, counts, strict=True)]
    first, last = int(log.unix_ns[0]) - origin, int(log.unix_ns[-1]) - origin
    if windows[0].begin_ns > last or windows[-1].end_ns < first:
        away = max(windows[0].begin_ns - last, first - windows[-1].end_ns) * 1e-9
        raise SpecError(
            f"the marks and the rows are {away:.0f} s apart", file=source.path,
            hint="nvidia-smi stamps local time: give --utc-offset HOURS (east positive), and --marks-unit",
        )  # fmt: skip
    timeline, told = windows_timeline(HOST, windows)
    meter = smi_meter(log, origin, options.kind, options.window_s, declared)
    flags = [*declared.flags(), *(["reading_kind_unknown"] if options.kind == "unknown" else [])]
    load = load_told([n * 1e-9 for n in ns], rule=options.rule)
    told |= {"notes": [*log.notes, f"{meter.info.details['updates']} updates in {meter.info.details['rows']} rows"],
             "flags": [*told["flags"], *(["file_truncated"] if log.notes else [])],
             "meter_flags": {"smi": flags}, "origin_unix_ns": origin,
             **load, "sample_rate_hz": 1e9 / meter.info.channels[0].reading.period_ns}  # fmt: skip
    asked = [[[w.begin_ns, w.end_ns, w.inferences] for w in windows], vars(options), declared.to_json(),
             *([load["load_ns"]] if "load_ns" in load else [])]  # fmt: skip
    return ForeignRun(
        FORMAT, run_name(declared.name or source.stem), identity([source, *others], asked),
        declared.origin or f"nvidia-smi CSV {source.path.name}", (meter, *second), timeline,
        imported_protocol(alignment_u_s=declared.alignment_u_s or 0.0), declared.board, declared.batch,
        documents={"import": told},
    )  # fmt: skip
