"""Reads a CSV that `joulebench export` wrote (or anybody, with `t_ns` and columns `<channel>_power_w`).

A CSV has lost what a run directory keeps: raw counts, calibration, gaps, what a reading means. Power becomes whole
microwatts; an empty field is a missing reading; kind and window of the readings are the user's to say.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from drivers.replay.options import ReplayOptions
from drivers.replay.stored import Stored
from harness.core.clock import HOST, Int64Array
from harness.core.errors import DeviceError, SpecError
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, Gap, MeterInfo, Reading, ReadingKind
from harness.core.waiting import NS_PER_S

SUFFIX = "_power_w"
W_PER_COUNT = 1e-6
MAX_SPACING = 1.5


def read_csv(path: Path, options: ReplayOptions) -> Stored:
    """SpecError for a file of another form, DeviceError for one that is cut off."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path} cannot be read ({error.strerror})", hint="option file is the path of a CSV") from error
    if not data.endswith(b"\n"):
        raise DeviceError(
            f"{path} ends in the middle of a line: half a number is another number",
            hint="export it again: joulebench export RUN FILE.csv",
        )
    head, body = _split(data)
    try:
        table = pa.csv.read_csv(pa.BufferReader(body))
    except pa.ArrowException as error:
        raise DeviceError(
            f"{path} is no CSV ({error})", hint="export it again: joulebench export RUN FILE.csv"
        ) from error
    channels = [name.removesuffix(SUFFIX) for name in table.column_names if name.endswith(SUFFIX)]
    if "t_ns" not in table.column_names or not channels:
        raise SpecError(
            f"{path} has columns {table.column_names}, not t_ns and at least one <channel>{SUFFIX}",
            hint="energy counters are replayed from their run directory (option run)",
        )
    t_ns, power_w = _numbers(path, table, channels)
    kept = ~np.isnan(power_w).any(axis=1)
    return _stored(path, head, channels, t_ns, power_w, kept, options)


def _split(data: bytes) -> tuple[str, bytes]:
    """The comment of the first line, and the table."""
    if not data.startswith(b"#"):
        return "", data
    first, _, rest = data.partition(b"\n")
    return first.decode("utf-8", "replace"), rest


def _numbers(path: Path, table: pa.Table, channels: list[str]) -> tuple[Int64Array, np.ndarray]:
    try:
        t_ns = np.asarray(table.column("t_ns").cast(pa.int64()).to_numpy(), np.int64)
        columns = [table.column(f"{c}{SUFFIX}").cast(pa.float64()).to_numpy() for c in channels]
    except (pa.ArrowException, ValueError) as error:
        raise DeviceError(f"{path} holds what is no number ({error})", hint="export it again") from error
    if len(t_ns) < 2 or np.any(np.diff(t_ns) <= 0):
        raise DeviceError(f"{path}: t_ns has fewer than two rows or does not increase", hint="export it again")
    return t_ns, np.stack(columns, 1).astype(np.float64)


def _stored(
    path: Path, head: str, channels: list[str], t_ns: Int64Array, power_w: np.ndarray,
    kept: np.ndarray, options: ReplayOptions,
) -> Stored:  # fmt: skip
    period_ns = int(np.median(np.diff(t_ns)))
    if options.period_s is not None:
        period_ns = round(options.period_s * NS_PER_S)
    window_ns = round(options.window_s * NS_PER_S) if options.window_s is not None else period_ns
    if options.kind is ReadingKind.PART_TIME and window_ns >= period_ns:
        raise SpecError("a replay of kind part_time needs a window_s below its period", hint="give window_s")
    reading = Reading(options.kind, period_ns, window_ns if options.kind is not ReadingKind.POINT else 0)
    names = [f"{channel}:power_uw" for channel in channels]
    raw = np.rint(power_w[kept] / W_PER_COUNT).astype(np.int64)
    facts = dict(re.findall(r"(\w+)=(\S+)", head))
    info = MeterInfo(
        driver="unknown", model=f"CSV {path.name}", serial=facts.get("meter", path.stem), firmware="unknown",
        clock=HOST,
        columns=tuple(ColumnSpec(name, "W") for name in names),
        channels=tuple(ChannelSpec(c, "power_w", (n,), reading) for c, n in zip(channels, names, strict=True)),
        simulated=facts.get("simulated") != "false",
    )  # fmt: skip
    return Stored(
        info=info,
        t_ns=t_ns[kept],
        columns={name: raw[:, k] for k, name in enumerate(names)},
        calibration=tuple(CalibrationPiece(0, name, 0, W_PER_COUNT, 0.0) for name in names),
        gaps=_gaps(t_ns[kept], period_ns),
        anchors=np.empty((0, 2), np.int64),
        origin=f"{path.name}: {head.lstrip('# ') or 'a CSV without a heading'}",
    )


def _gaps(t_ns: Int64Array, period_ns: int) -> tuple[Gap, ...]:
    """Where rows are missing or empty: never taken for a 0, nor for the last value again."""
    apart = np.flatnonzero(np.diff(t_ns) > MAX_SPACING * period_ns)
    return tuple(
        Gap(
            int(t_ns[k]), int(t_ns[k + 1]) - period_ns, round(int(t_ns[k + 1] - t_ns[k]) / period_ns) - 1,
            "missing in the file",
        )
        for k in apart.tolist()
    )  # fmt: skip
