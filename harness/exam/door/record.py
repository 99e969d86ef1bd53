"""What the board of a foreign world recorded: stamps and phases, pings, and telemetry as a state of the board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.complain import did_you_mean
from harness.core.clock import HOST, Int64Array, board_clock
from harness.core.errors import SpecError
from harness.core.telemetry import Telemetry, TelemetryChannel, TelemetryKind
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.exam.door.format import WorldFile
from harness.exam.door.tables import Table, read_table

STANDBY = (Phase.STANDBY_BEFORE, Phase.STANDBY_AFTER)
LIMITS = ("throttled", "frequency_capped", "soft_temperature_limit", "undervoltage")
TELEMETRY = (*LIMITS, "throttle_count", "temperature_c", "frequency_hz", "frequency_max_hz", "frequency_min_hz")
TOLD = {
    "temperature_c": TelemetryKind.TEMPERATURE_C,
    "frequency_hz": TelemetryKind.FREQUENCY_HZ,
    "frequency_max_hz": TelemetryKind.FREQUENCY_LIMIT_HZ,
}


def stamped_clock(world: WorldFile) -> str:
    """Name of the clock that the stamps are on."""
    return HOST if world.board.clock == "host" else board_clock(world.board.name)


def timeline_of(folder: Path, world: WorldFile) -> Timeline:
    """Busy stretches and spans. SpecError for stretches out of order or on top of each other, and for another n."""
    stamps = _phases(folder / world.board.stamps, "the stamps")
    start, phase, begin_ns, end_ns = stamps
    count = int(np.count_nonzero(phase == PHASE_CODE[Phase.MEASURED]))
    if count != world.measurement.n:
        raise SpecError(
            f"holds {count} measured inferences, world.json says n: {world.measurement.n}",
            hint="is the file cut off? rows of the phase `measured` are counted", file=folder / world.board.stamps,
        )  # fmt: skip
    spans: tuple[Span, ...] = ()
    if world.board.spans is not None:
        path = folder / world.board.spans
        columns = _phases(path, "the spans")
        spans = tuple(Span(int(s), tuple(Phase)[int(p)], int(a), int(b)) for s, p, a, b in zip(*columns, strict=True))
        for row, span in enumerate(spans):
            if span.phase in STANDBY:
                _idle(path, row, span, begin_ns, end_ns)
    return Timeline(stamped_clock(world), spans, start, phase, begin_ns, end_ns)


def _phases(path: Path, what: str) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    table = read_table(
        path, what, times=("begin", "end"), ints=("start",), texts=("phase",), required=("start", "phase")
    )
    begin_ns, end_ns = table.time_ns("begin"), table.time_ns("end")
    names = table.full("phase")
    codes = {str(phase): code for phase, code in PHASE_CODE.items()}
    for row, name in enumerate(names):
        if name not in codes:
            raise table.error(f"phase is {name!r}", row, hint=did_you_mean(str(name), codes))
    short = end_ns <= begin_ns
    if short.any():
        row = int(np.argmax(short))
        raise table.error("ends before it begins, or at that moment", row, hint="are begin and end swapped?")
    table.increasing(begin_ns, "begin")
    _apart(table, begin_ns, end_ns)
    start = np.asarray(table.full("start"), np.int64)
    table.increasing(start, "start", strictly=False)
    return start, np.array([codes[name] for name in names], np.int64), begin_ns, end_ns


def _apart(table: Table, begin_ns: Int64Array, end_ns: Int64Array) -> None:
    inside = begin_ns[1:] < end_ns[:-1]
    if inside.any():
        row = int(np.argmax(inside)) + 1
        raise table.error(
            f"begins {(end_ns[row - 1] - begin_ns[row]) * 1e-9:.9g} s before the row before it ends",
            row,
            hint="inferences that run side by side have no energy each: stamp them as one batch",
        )


def _idle(path: Path, row: int, span: Span, begin_ns: Int64Array, end_ns: Int64Array) -> None:
    if np.any((begin_ns < span.end_ns) & (end_ns > span.begin_ns)):
        raise SpecError(
            f"the {span.phase} bracket holds busy stretches: it must be standby from begin to end",
            hint="shorten the span", file=path, line=None if path.suffix == ".npz" else row + 2,
        )  # fmt: skip


def pings_of(folder: Path, world: WorldFile) -> Int64Array:
    """int64 (K, 3): host before, board, host after; empty without a file."""
    if world.board.pings is None:
        return np.empty((0, 3), np.int64)
    if world.board.clock == "host":
        raise SpecError(
            "board.pings are given, but the stamps are on the host's clock", hint="leave pings out, or say clock: own",
            file=folder / "world.json",
        )  # fmt: skip
    table = read_table(folder / world.board.pings, "the pings", times=("host_before", "board", "host_after"))
    before, board, after = (table.time_ns(name) for name in ("host_before", "board", "host_after"))
    table.increasing(before, "host_before")
    late = after < before
    if late.any():
        raise table.error("host_after lies before host_before", int(np.argmax(late)))
    return np.stack([before, board, after], axis=1)


def telemetry_of(folder: Path, world: WorldFile, timeline: Timeline) -> tuple[Mapping[str, Any], Telemetry | None]:
    """The documents `world_telemetry` (as it is) and `board_state` (what the analysis judges throttling by); and how
    warm the board was and how fast it ran, as the telemetry of a run."""
    if world.board.telemetry is None:
        return {}, None
    table = read_table(folder / world.board.telemetry, "the telemetry", times=("t",), floats=TELEMETRY)
    t_ns = table.time_ns("t")
    table.increasing(t_ns, "t")
    for name in LIMITS:
        if name in table:
            strange = ~table.empty[name] & ~np.isin(table.columns[name], (0.0, 1.0))
            if strange.any():
                row = int(np.argmax(strange))
                raise table.error(f"{name} is {table.columns[name][row]:g}", row, hint="0 or 1, or empty if unknown")
    columns = {
        name: [None if none else value for value, none in zip(values.tolist(), table.empty[name].tolist(), strict=True)]
        for name, values in table.columns.items()
    }
    documents = {"world_telemetry": columns, "board_state": _board_state(table, t_ns, timeline)}
    kinds = {name: kind for name, kind in TOLD.items() if name in table}
    if not kinds or not len(t_ns):
        return documents, None
    values = np.stack([np.where(table.empty[name], np.nan, table.columns[name]) for name in kinds], axis=1)
    channels = tuple(TelemetryChannel(kind, world.board.name) for kind in kinds.values())
    return documents, Telemetry(stamped_clock(world), t_ns, channels, np.asarray(values, np.float64))


def _board_state(table: Table, t_ns: Int64Array, timeline: Timeline) -> dict[str, Any]:
    """States before and after the measured inferences. A limit seen while they ran is one that set in since."""
    begin_ns, end_ns = timeline.rows(Phase.MEASURED)
    if len(begin_ns) == 0 or len(t_ns) == 0:
        return {}
    first = max(int(np.searchsorted(t_ns, begin_ns[0], side="right")) - 1, 0)
    last = min(int(np.searchsorted(t_ns, end_ns[-1])), len(t_ns) - 1)
    during = np.zeros(len(t_ns), np.bool_)
    for start in timeline.starts:
        begin, end = timeline.rows(Phase.MEASURED, start)
        during |= (t_ns >= begin[0]) & (t_ns <= end[-1])
    before: dict[str, Any] = {"firmware_limits": {}}
    after: dict[str, Any] = {"firmware_limits": {}}
    for name in (n for n in TELEMETRY if n in table):
        values, empty = table.columns[name], table.empty[name]
        ends = [None if empty[row] else float(values[row]) for row in (first, last)]
        if name in LIMITS:
            seen = bool(np.any(during & ~empty & (values == 1)))
            now = [None if value is None else value == 1 for value in ends]
            before["firmware_limits"][name] = {"now": now[0], "since_boot": False}
            after["firmware_limits"][name] = {"now": now[1], "since_boot": seen}
        else:
            before[name], after[name] = ends
    return {"before": before, "after": after}
