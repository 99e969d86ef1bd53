"""CSV of a Monsoon power monitor with marks of inferences, as PlatformX and others record them on phones.

Header `Time(ms),Main(mA),Main Voltage(V),`. What is in the time column is not what the header says: the unit is found
by asking in which one the file runs at the device's 5 kHz. The stamps are those of the host when it took a USB burst
in, so up to 160 samples share a moment. The rows are laid out at the nominal period and keep their stamps as anchors;
where on the device's clock they belong, what is missing and what came twice is found by `analysis.readings.bursts`.

The marks are stamps of the phone, said to be synchronised to the host. They are not good enough: in the traces of
PlatformX the power rises 0.3 s after the first mark. So the lag is searched in the power unless `--align declared` says
how far the marks can be trusted.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.clock import HOST, FloatArray, Int64Array, meter_clock
from harness.core.errors import SpecError
from harness.core.timeline import Phase, Timeline
from harness.core.trace import STAMPS, STAMPS_IN_BURSTS, Gap, Reading, ReadingKind
from harness.imports.foreign import ForeignRun, imported_protocol
from harness.imports.marks import Window, counts_of, inferences_timeline, pairs_of, windows_timeline
from harness.imports.meter import Declared, Readings, foreign_meter, run_name
from harness.imports.source import Source, identity, number

FORMAT = "monsoon-csv"
RATE_HZ = 5000
PERIOD_NS = 1_000_000_000 // RATE_HZ
NEAR_RATE = 0.2
UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
CLOCK = meter_clock("monsoon")
IDLE_AWAY_NS = 1_000_000_000
ALIGNMENTS = ("search", "declared")


@dataclass(frozen=True)
class MonsoonLog:
    """Samples in order: `host_ns` since 1970 as the host stamped them, current (mA), voltage (V); `index`: which
    sample of the device each is; `unit`: of the time column as found."""

    host_ns: Int64Array
    current_ma: FloatArray
    voltage_v: FloatArray
    index: Int64Array
    unit: str
    missing: int
    notes: tuple[str, ...]

    @property
    def power_w(self) -> FloatArray:
        return self.current_ma * self.voltage_v * 1e-3


def parse_power(source: Source) -> MonsoonLog:
    """SpecError naming file and line; a last line that was cut off is left out, with a note."""
    lines = source.lines()
    head = [h.strip() for h in lines[0].split(",")]
    columns = [_column(source, head, word) for word in ("time", "main(ma)", "main voltage")]
    stamps: list[str] = []
    rows: list[tuple[float, float]] = []
    index: list[int] = []
    notes = ["the file breaks off; what came before is kept"] if source.truncated else []
    at = -1
    for line, text in enumerate(lines[1:], 2):
        if not text.strip():
            continue
        part = text.split(",")
        if line == len(lines) and not source.data.endswith(b"\n") and len(part) < len(head):
            notes.append(f"line {line} breaks off and is left out")
            break
        if len(part) <= max(columns):
            raise source.wrong(f"{len(part)} fields in {text[:50]!r}; the heading has {len(head)}", line=line)
        at += 1
        if not all(part[c].strip() for c in columns):
            continue
        number(source, part[columns[0]], head[columns[0]], line=line)
        stamps.append(part[columns[0]])
        rows.append((number(source, part[columns[1]], "Main(mA)", line=line),
                     number(source, part[columns[2]], "Main Voltage(V)", line=line)))  # fmt: skip
        index.append(at)
    if len(rows) < 100:
        raise source.wrong(f"{len(rows)} samples; at least 100 are needed to find the unit of the time column")
    unit, host = _times(source, head[columns[0]], stamps)
    said = head[columns[0]].lower()
    if f"({unit})" not in said:
        notes.append(f"the heading says {head[columns[0]]!r}; at {RATE_HZ} Hz the values are {unit}")
    values = np.array(rows)
    missing = at + 1 - len(rows)
    return MonsoonLog(host, values[:, 0], values[:, 1], np.array(index, np.int64), unit, missing, tuple(notes))


def _column(source: Source, head: Sequence[str], word: str) -> int:
    for k, name in enumerate(head):
        if name.lower().startswith(word):
            return k
    raise source.wrong(
        f"no column {word!r} among {list(head)}", line=1,
        hint="a Monsoon CSV begins Time(ms),Main(mA),Main Voltage(V); for others: joulebench import csv",
    )  # fmt: skip


def _times(source: Source, said: str, stamps: Sequence[str]) -> tuple[str, Int64Array]:
    """(unit, ns) of the time column: the unit in which the samples come at the device's rate."""
    value = np.array([float(t) for t in stamps])
    span = float(value.max() - value.min())
    for unit, ns in UNITS.items():
        rate = (len(value) - 1) / (span * ns * 1e-9) if span > 0 else 0.0
        if abs(rate / RATE_HZ - 1) < NEAR_RATE:
            exact = [int(t) * ns if t.strip().lstrip("-").isdigit() else round(float(t) * ns) for t in stamps]
            return unit, np.array(exact, np.int64)
    raise source.wrong(
        f"column {said!r} runs from {value.min():g} to {value.max():g} over {len(value)} samples: in none of "
        f"{', '.join(UNITS)} is that about {RATE_HZ} Hz", line=2, hint="for other rates: joulebench import csv",
    )  # fmt: skip


def parse_inferences(source: Source) -> tuple[Int64Array, Int64Array]:
    """(begin, end) in ns since 1970 from `inference_index,start_us,end_us,duration_us`."""
    rows = list(csv.reader(source.lines()))
    head = [h.strip() for h in rows[0]]
    if "start_us" not in head or "end_us" not in head:
        raise source.wrong(f"heading {head}; expected start_us and end_us among it", line=1)
    a, b = head.index("start_us"), head.index("end_us")
    begin, end = [], []
    for line, row in enumerate(rows[1:], 2):
        if not any(part.strip() for part in row):
            continue
        if len(row) <= max(a, b):
            raise source.wrong(f"{len(row)} fields; the heading has {len(head)}", line=line)
        begin.append(round(number(source, row[a], "start_us", line=line)) * 1000)
        end.append(round(number(source, row[b], "end_us", line=line)) * 1000)
    if not begin:
        raise source.wrong(
            "no inferences in it: nothing says which part of the trace was measured",
            hint="give --marks T0,T1 in seconds from the trace's start instead, for the energy of that window",
        )
    first, last = np.array(begin, np.int64), np.array(end, np.int64)
    bad = np.flatnonzero((last <= first) | np.r_[False, first[1:] < last[:-1]])
    if len(bad):
        raise source.wrong("the inference has no length, or begins before the last one ends", line=int(bad[0]) + 2)
    return first, last


def samples_inside_j(log: MonsoonLog, begin_ns: Int64Array, end_ns: Int64Array) -> float:
    """The recorders' own formula, for comparison: mean over inferences of sum(mA V)/5000 over the samples whose host
    stamps lie inside. Bursts make it count samples of neighbours."""
    total = np.r_[0.0, np.cumsum(log.power_w)] / RATE_HZ
    a, b = np.searchsorted(log.host_ns, begin_ns), np.searchsorted(log.host_ns, end_ns, side="right")
    return float(np.mean(total[b] - total[a]))


def build(
    power: Source, inferences: Source | None, marks: Sequence[float] | None, count: str | None, idle: Source | None,
    declared: Declared, *, align: str = "search",
) -> ForeignRun:  # fmt: skip
    """The run. Either `inferences` (a file of stamps) or `marks` (s from the trace's first sample); `idle`: a trace of
    the same device at rest, put before the run as its one standby bracket."""
    log = parse_power(power)
    rest = None if idle is None else parse_power(idle)
    origin = int(log.host_ns[0])
    notes = [*log.notes]
    brackets: list[tuple[Phase, int, int]] = []
    if rest is not None:
        length = int(rest.host_ns[-1] - rest.host_ns[0])
        brackets = [(Phase.STANDBY_BEFORE, -IDLE_AWAY_NS - length, -IDLE_AWAY_NS)]
        notes += [*(f"idle: {note}" for note in rest.notes),
                  "standby is from another file, put before the run: its drift until the run is not known"]  # fmt: skip
    timeline, told = _timeline(log, origin, inferences, marks, count, brackets)
    readings = _readings(log, rest, origin)
    flags = [*told.get("flags", []), *declared.flags()]
    if log.notes and any("breaks off" in note for note in log.notes):
        flags.append("file_truncated")
    if rest is not None and not rest.power_w.mean() > 0:
        flags.append("negative_baseline")
        notes.append(f"mean power at rest is {rest.power_w.mean():.3g} W: the meter's zero is off by at least that")
    elif (log.current_ma < 0).any():
        notes.append(
            f"{np.count_nonzero(log.current_ma < 0)} currents are negative, down to {log.current_ma.min():.3g} mA"
        )
    if inferences is not None:
        begin, end = parse_inferences(inferences)
        inside_j = samples_inside_j(log, begin, end)
        told["samples_inside_j"] = inside_j
        notes.append(f"samples by their own stamps: {inside_j * 1e3:.4g} mJ an inference")
    rate = (len(log.index) - 1) / float(log.host_ns[-1] - log.host_ns[0]) * 1e9
    told |= {"notes": notes, "flags": flags, "sample_rate_hz": rate, "time_unit": log.unit}
    meter = foreign_meter(
        "meter", readings, driver=FORMAT, model=declared.meter_model or "Monsoon power monitor",
        plane=declared.plane or "dc_input", accuracy=declared.accuracy(),
        details={"origin_unix_ns": str(origin), STAMPS: STAMPS_IN_BURSTS},
    )  # fmt: skip
    if align not in ALIGNMENTS or (align == "declared" and declared.alignment_u_s is None):
        raise SpecError(
            f"--align {align} without --marks-u" if align == "declared" else f"--align {align!r} is unknown",
            hint="use search, or declared with --marks-u SECONDS: how far the marks' clock may be off the host's",
        )
    sources = [s for s in (power, inferences, idle) if s is not None]
    asked = [None if marks is None else list(marks), count, align, declared.to_json()]
    return ForeignRun(
        FORMAT, run_name(declared.name or power.stem), identity(sources, asked),
        declared.origin or f"Monsoon CSV {power.path.name}", (meter,), timeline,
        imported_protocol(
            measurand="gross" if rest is None else "dynamic", alignment=align,
            alignment_u_s=declared.alignment_u_s or 0.0,
        ),
        declared.board, declared.batch, documents={"import": told},
    )  # fmt: skip


def _timeline(
    log: MonsoonLog, origin: int, inferences: Source | None, marks: Sequence[float] | None, count: str | None,
    brackets: Sequence[tuple[Phase, int, int]],
) -> tuple[Timeline, dict[str, Any]]:  # fmt: skip
    if (inferences is None) == (marks is None):
        raise SpecError(
            "what was measured is not said" if marks is None else "--inference-times and --marks at once",
            hint="give --inference-times FILE (start_us,end_us), or --marks T0,T1 in seconds from the trace's start",
        )
    if inferences is not None:
        begin, end = parse_inferences(inferences)
        if not (begin[0] < log.host_ns[-1] and end[-1] > log.host_ns[0]):
            away = max(int(begin[0] - log.host_ns[-1]), int(log.host_ns[0] - end[-1])) * 1e-9
            raise inferences.wrong(f"the inferences and the power trace are {away:.1f} s apart", line=2)
        return inferences_timeline(HOST, begin - origin, end - origin, brackets)
    pairs = pairs_of(marks or [])
    counts = counts_of(count, len(pairs))
    windows = [Window(round(a * 1e9), round(b * 1e9), n) for (a, b), n in zip(pairs, counts, strict=True)]
    return windows_timeline(HOST, windows, brackets)


def _readings(log: MonsoonLog, rest: MonsoonLog | None, origin: int) -> Readings:
    """Both files on the device's sample counter; the stretch between them is a gap."""
    t_ns, host = (log.index + 1) * PERIOD_NS, log.host_ns - origin
    current, voltage, gaps = log.current_ma, log.voltage_v, []
    if rest is not None:
        before = rest.host_ns - rest.host_ns[-1] - IDLE_AWAY_NS
        first = round(int(before[0]) / PERIOD_NS)
        t_rest = (first + rest.index + 1) * PERIOD_NS
        gaps = [Gap(int(t_rest[-1]), 0, -1, "another file")]
        t_ns, host = np.r_[t_rest, t_ns], np.r_[before, host]
        current, voltage = np.r_[rest.current_ma, current], np.r_[rest.voltage_v, voltage]
    return Readings(
        t_ns=t_ns, columns={"current": ("A", current, 1e-3), "voltage": ("V", voltage, 1.0)},
        channels={"main": ("current", "voltage")}, reading=Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS), clock=CLOCK,
        gaps=gaps, anchors=np.stack([t_ns, host], axis=1), missing=log.missing + (rest.missing if rest else 0),
    )  # fmt: skip
