"""SPEC PTDaemon power logs with MLPerf LoadGen marks: wall power at 1 Hz around a run of at least ten minutes.

A line of spl.txt is `Time,<MM-DD-YYYY hh:mm:ss.mmm>,Watts,<W>,Volts,<V>,Amps,<A>,PF,<1>,Mark,<text>`. PTDaemon asks the
analyser once a second for the average over its own update interval, so a reading is taken as the mean over the time
since the line before (kind mean, 1 s, contiguous); a line of -1 or without a number is a missing reading. LoadGen
writes the window's edges as `power_begin` and `power_end` in mlperf_log_detail.txt. Both stamps are local times of
their machines; client.json and server.json hold the zones (seconds west of UTC).
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.clock import HOST, FloatArray, Int64Array
from harness.core.errors import SpecError
from harness.core.trace import Reading, ReadingKind
from harness.imports.foreign import ForeignRun, imported_protocol
from harness.imports.marks import Window, counts_of, windows_timeline
from harness.imports.meter import Declared, Readings, foreign_meter, run_name
from harness.imports.source import Source, identity, number

FORMAT = "ptdaemon"
SECOND_NS = 1_000_000_000
STAMP = "%m-%d-%Y %H:%M:%S.%f"
CLOCKS_U_S = 0.05  # NTP on both machines, and LoadGen's millisecond stamps
EPOCH = datetime.datetime(1970, 1, 1)


@dataclass(frozen=True)
class PowerLog:
    """Readings of spl.txt: `t_ns` since 1970 on the logger's wall clock; `missing`: lines without a value."""

    t_ns: Int64Array
    power_w: FloatArray
    missing: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadGenLog:
    """What LoadGen wrote: window edges in ns since 1970 on its wall clock; all its keys with their last values."""

    begin_ns: int
    end_ns: int
    values: Mapping[str, Any]


def _stamp_ns(source: Source, text: str, *, line: int) -> int:
    try:
        moment = datetime.datetime.strptime(text.strip(), STAMP)
    except ValueError:
        raise source.wrong(f"time is {text.strip()!r}; expected MM-DD-YYYY hh:mm:ss.mmm", line=line) from None
    return int((moment - EPOCH) / datetime.timedelta(microseconds=1)) * 1000


def parse_power(source: Source) -> PowerLog:
    """spl.txt. SpecError naming the line; a last line that was cut off is left out, with a note."""
    times, watts, missing = [], [], 0
    notes = ["the file breaks off; what came before is kept"] if source.truncated else []
    lines = source.lines()
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        part = text.split(",")
        if line == len(lines) and (len(part) < 4 or not source.data.endswith(b"\n")) and line > 1:
            notes.append(f"line {line} breaks off and is left out")
            continue
        if len(part) < 4 or part[0] != "Time" or part[2] != "Watts":
            raise source.wrong(
                f"found {text[:40]!r}; expected Time,<MM-DD-YYYY hh:mm:ss.mmm>,Watts,<W>,...", line=line,
                hint="give PTDaemon's spl.txt",
            )  # fmt: skip
        value = number(source, part[3], "Watts", line=line)
        if not np.isfinite(value) or value == -1.0:  # PTDaemon's sign for a reading it did not get
            missing += 1
            continue
        times.append(_stamp_ns(source, part[1], line=line))
        watts.append(value)
    if len(times) < 2:
        raise source.wrong(f"{len(times)} readings; at least two are needed")
    return PowerLog(np.array(times, np.int64), np.array(watts), missing, tuple(notes))


def parse_loadgen(source: Source) -> LoadGenLog:
    """mlperf_log_detail.txt: `:::MLLOG {json}` a line."""
    values: dict[str, Any] = {}
    where: dict[str, int] = {}
    for line, text in enumerate(source.lines(), 1):
        if not text.startswith(":::MLLOG "):
            continue
        try:
            entry = json.loads(text.removeprefix(":::MLLOG "))
            values[entry["key"]] = entry["value"]
            where[entry["key"]] = line
        except (ValueError, KeyError, TypeError):
            raise source.wrong(f"found {text[:60]!r}; expected :::MLLOG and a JSON object", line=line) from None
    for key in ("power_begin", "power_end"):
        if key not in values:
            raise source.wrong(
                f"no {key} among {len(values)} keys", hint="only a run with LoadGen's power marks can be imported"
            )
    begin, end = (_stamp_ns(source, str(values[k]), line=where[k]) for k in ("power_begin", "power_end"))
    if not end > begin:
        raise source.wrong(f"power_end {values['power_end']} is not after power_begin {values['power_begin']}")
    return LoadGenLog(begin, end, values)


def inferences_of(log: LoadGenLog, summary: Source | None) -> tuple[int, str]:
    """Inferences in the window, and where the number is from: a count where LoadGen wrote one (2.0 and later), else
    its rate times the window, as the submission checker has it."""
    values = log.values
    per_query = int(values.get("effective_samples_per_query", values.get("requested_samples_per_query", 1)) or 1)
    if per_query == 1 and summary is not None:
        found = re.search(rb"^samples_per_query\s*:\s*(\d+)", summary.data, re.MULTILINE)
        per_query = int(found[1]) if found else 1
    if values.get("result_query_count"):
        return int(values["result_query_count"]) * per_query, "result_query_count"
    seconds = (log.end_ns - log.begin_ns) * 1e-9
    for key, times in (
        ("result_qps_with_loadgen_overhead", per_query),
        ("result_samples_per_second", 1),
        ("result_completed_samples_per_sec", 1),
    ):
        if values.get(key):
            return round(float(values[key]) * seconds * times), f"{key} x {seconds:.3f} s"
    raise SpecError("LoadGen's log has neither result_query_count nor a rate of queries", hint="give --inferences N")


def zone_of(source: Source | None) -> int | None:
    """`timezone` of client.json or server.json: seconds west of UTC."""
    if source is None:
        return None
    found = source.json()
    if not isinstance(found, dict) or not isinstance(found.get("timezone"), int | float):
        raise source.wrong("no number under timezone", hint="give client.json and server.json of the power run")
    return int(found["timezone"])


@dataclass(frozen=True)
class PowerRun:
    """The files of one submission's run. `summary`, `client`, `server` may be absent."""

    power: Source
    detail: Source
    summary: Source | None = None
    client: Source | None = None
    server: Source | None = None

    def sources(self) -> list[Source]:
        return [s for s in (self.power, self.detail, self.summary, self.client, self.server) if s is not None]


def build(run: PowerRun, inferences: str | None, zone_offset_s: float | None, declared: Declared) -> ForeignRun:
    """The run. `zone_offset_s`: added to LoadGen's stamps to get the logger's; None: the difference of the zones.

    The client runs LoadGen, the server the logger: local + zone is UTC on either.
    """
    power, log = parse_power(run.power), parse_loadgen(run.detail)
    flags = []
    if zone_offset_s is None:
        client, server = zone_of(run.client), zone_of(run.server)
        if client is None or server is None:
            flags.append("time_zones_assumed_equal")
        zone_offset_s = 0.0 if client is None or server is None else float(client - server)
    origin = int(power.t_ns[0]) - SECOND_NS
    shift = round(zone_offset_s * 1e9) - origin
    if inferences is None:
        count, source_of_count = inferences_of(log, run.summary)
    else:
        (given,) = counts_of(inferences, 1)
        count, source_of_count = int(given or 1), "given"
    window = Window(log.begin_ns + shift, log.end_ns + shift, count)
    _check_overlap(run, power.t_ns - origin, window)
    timeline, told = windows_timeline(HOST, [window])
    readings = Readings(
        t_ns=power.t_ns - origin, columns={"power": ("W", power.power_w, 1.0)}, channels={"wall": ("power",)},
        reading=Reading(ReadingKind.MEAN, SECOND_NS, SECOND_NS), clock=HOST, missing=power.missing,
    )  # fmt: skip
    meter = foreign_meter(
        "meter", readings, driver=FORMAT, model=declared.meter_model or "unknown meter of PTDaemon",
        plane=declared.plane or "wall", accuracy=declared.accuracy(), details={"origin_unix_ns": str(origin)},
    )  # fmt: skip
    told |= {
        "notes": [*power.notes, f"{count} inferences: {source_of_count}"], "sample_rate_hz": 1.0,
        "zone_offset_s": zone_offset_s, "scenario": log.values.get("effective_scenario"),
        "flags": [*told["flags"], *flags, *declared.flags(), *(["file_truncated"] if power.notes else [])],
    }  # fmt: skip
    asked = [window.begin_ns, window.end_ns, count, declared.to_json()]
    u = CLOCKS_U_S if declared.alignment_u_s is None else declared.alignment_u_s
    name = declared.name or run.power.path.resolve().parent.name
    return ForeignRun(
        FORMAT, run_name(name), identity(run.sources(), asked), declared.origin or f"PTDaemon log {run.power.path}",
        (meter,), timeline, imported_protocol(alignment_u_s=u), declared.board, declared.batch,
        documents={"import": told},
    )  # fmt: skip


def _check_overlap(run: PowerRun, t_ns: Int64Array, window: Window) -> None:
    if window.end_ns > int(t_ns[0]) and window.begin_ns < int(t_ns[-1]):
        return
    away = min(abs(window.begin_ns - int(t_ns[-1])), abs(int(t_ns[0]) - window.end_ns)) * 1e-9
    raise SpecError(
        f"LoadGen's window and the power log are {away:.0f} s apart", file=run.power.path,
        hint="give client.json and server.json (time zones), or --zone-offset SECONDS to add to LoadGen's stamps",
    )  # fmt: skip
