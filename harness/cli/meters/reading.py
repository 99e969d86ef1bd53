"""`joulebench meters read` and `watch`: what a meter says right now, in watts, with what is known of its error."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
from rich.table import Table

from analysis.readings.character import Character, characterise
from analysis.readings.curve import build_curve
from harness.bench.live_power import LivePower
from harness.bench.single_meter import SingleMeter, opened
from harness.cli.format import engineering, percent
from harness.cli.meters.choose import Chosen, board_for
from harness.cli.results import console, print_json
from harness.core.clock import ClockMap
from harness.core.errors import DeviceError
from harness.core.trace import ChannelSpec, Trace, join_blocks
from harness.core.waiting import RealClock

LINE_EVERY_S = 0.5


def read_meter(meter: Chosen, *, seconds: float, as_json: bool) -> None:
    """Print each channel's mean power over `seconds`. DeviceError if nothing was read."""
    with board_for(meter) as board, opened(meter.opener(), RealClock(), board=board) as device:
        trace = join_blocks(device.info, list(device.blocks(seconds)))
    if len(trace) == 0:
        why = trace.gaps[0].reason if trace.gaps else "nothing arrived"
        raise DeviceError(
            f"meter {meter.name} gave no reading in {seconds:g} s: {why}",
            hint=f"find out why: joulebench meters selftest {meter.name}",
        )
    rows = [_row(trace, channel) for channel in device.info.channels]
    if as_json:
        print_json({**_about(device), "seconds": seconds, "channels": rows, "counts": dict(trace.counts)})
        return
    out = console()
    out.print(_headline(device))
    table = Table(box=None, pad_edge=False)
    for column in ("channel", "mean power", "limit of error", "least", "most", "readings", "every", "covered"):
        table.add_column(column, justify="left" if column == "channel" else "right")
    for row in rows:
        table.add_row(
            row["channel"], _watt(row["mean_w"]), _watt(row["limit_w"]), _watt(row["least_w"]), _watt(row["most_w"]),
            str(row["readings"]), _time(row["every_s"]), _share(row["covered"]),
        )  # fmt: skip
    out.print(table)
    if any(row["limit_w"] is None for row in rows):
        out.print("no limit of error: nobody states this channel's accuracy; declare it in the bench file")
    if trace.counts:
        out.print("counts: " + ", ".join(f"{name} {count}" for name, count in sorted(trace.counts.items())))


def watch_meter(meter: Chosen, *, seconds: float | None) -> None:
    """A line of watts, renewed while it runs; Ctrl-C ends it."""
    out = console()
    with board_for(meter) as board, opened(meter.opener(), RealClock(), board=board) as device:
        out.print(_headline(device) + "  (Ctrl-C ends it)")
        live = {c.name: LivePower(device.info, c.name) for c in device.info.channels}
        newest: dict[str, list[float]] = {name: [] for name in live}
        readings = gaps = 0
        printed_s = time.monotonic()
        try:
            for block in device.blocks(seconds if seconds is not None else 86_400.0):
                readings, gaps = readings + len(block), gaps + len(block.gaps)
                for name, power in live.items():
                    newest[name] += power.feed(block)[1].tolist()
                if time.monotonic() - printed_s >= LINE_EVERY_S:
                    _print_line(out, newest, readings, gaps)
                    newest, readings, gaps = {name: [] for name in live}, 0, 0
                    printed_s = time.monotonic()
        except KeyboardInterrupt:
            pass
        if readings:
            _print_line(out, newest, readings, gaps)
        if out.is_terminal:
            out.print()


def _print_line(out: Any, newest: dict[str, list[float]], readings: int, gaps: int) -> None:
    parts = []
    for name, power in newest.items():
        if power:
            low, high = min(power), max(power)
            parts.append(f"{name} {engineering(float(np.mean(power)), 'W')} ({low:.3g} to {high:.3g})")
        else:
            parts.append(f"{name} no reading")
    losses = f", {gaps} gaps" if gaps else ""
    line = f"{time.strftime('%H:%M:%S')}  " + "  ".join(parts) + f"  [{readings} readings{losses}]"
    if out.is_terminal:
        out.print(f"{line:<{max(out.width - 1, 40)}}", end="\r", markup=False, highlight=False, no_wrap=True)
    else:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def characterise_meter(meter: Chosen, *, seconds: float, as_json: bool) -> None:
    """Print how the meter's readings behave at whatever the board is doing: keep it at rest meanwhile."""
    with board_for(meter) as board, opened(meter.opener(), RealClock(), board=board) as device:
        trace = join_blocks(device.info, list(device.blocks(seconds)))
    found = [characterise(trace, channel.name) for channel in device.info.channels]
    stated = {c.name: c.reading for c in device.info.channels}
    if as_json:
        rows = [
            {
                **dataclasses.asdict(row),
                "stated": {
                    "kind": str(stated[row.channel].kind),
                    "period_s": stated[row.channel].period_ns * 1e-9,
                    "window_s": stated[row.channel].window_ns * 1e-9,
                    "tau_s": stated[row.channel].tau_ns * 1e-9,
                },
            }
            for row in found
        ]
        print_json({**_about(device), "seconds": seconds, "channels": rows})
        return
    out = console()
    out.print(_headline(device))
    for row in found:
        _print_character(out, row, stated[row.channel].period_ns * 1e-9, str(stated[row.channel].kind))
    out.print("window, delay and filter cannot be told without a coded load: this is what readings alone show")


def _print_character(out: Any, row: Character, period_s: float, kind: str) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row(row.channel, f"{kind} readings, stated every {engineering(period_s, 's', digits=3)}")
    table.add_row("readings", f"{row.rows} in {row.seconds:.3g} s, {_number(row.rate_hz, 'a second')}; {row.gaps} gaps")
    repeated = "-" if row.repeated_share is None else percent(row.repeated_share)
    table.add_row("changes", f"{_number(row.changes_hz, 'a second')}, every {_time(row.update_s)}; {repeated} repeated")
    table.add_row("smallest step", _watt(row.step_w))
    table.add_row("between neighbours", f"{_watt(row.noise_w)} (the load's unrest is in it)")
    table.add_row("level", f"{_watt(row.mean_w)} ({_watt(row.least_w)} to {_watt(row.most_w)})")
    if row.clock_ppm is not None:
        table.add_row("its clock", f"{row.clock_ppm:+.3g} ppm slow against the host's (u {row.u_clock_ppm:.2g} ppm)")
    out.print(table)


def _row(trace: Trace, channel: ChannelSpec) -> dict[str, Any]:
    curve = build_curve(trace, channel.name, ClockMap.identity(trace.info.clock, trace.info.clock)).curve
    begin, end = int(curve.edge_ns[0]), int(curve.edge_ns[-1])
    mean = float(curve.mean_power_w(begin, end))
    shown = characterise(trace, channel.name)
    known = np.isfinite(mean)
    limit = None
    if known and channel.accuracy is not None:
        limit = abs(mean) * channel.accuracy.gain_rel + channel.accuracy.offset_w
    return {
        "channel": channel.name,
        "mean_w": mean if known else None,
        "limit_w": limit,
        "least_w": shown.least_w,
        "most_w": shown.most_w,
        "readings": len(trace),
        "every_s": float(np.median(np.diff(trace.t_ns))) * 1e-9 if len(trace) > 1 else None,
        "covered": curve.coverage(begin, end) if known else None,
        "accuracy_source": channel.accuracy.source if channel.accuracy else None,
    }


def _about(device: SingleMeter) -> dict[str, Any]:
    info = device.info
    return {
        "driver": info.driver, "model": info.model, "serial": info.serial, "firmware": info.firmware,
        "clock": info.clock, "simulated": info.simulated,
    }  # fmt: skip


def _headline(device: SingleMeter) -> str:
    mark = "  SIMULATED" if device.info.simulated else ""
    return f"{device.info.driver}: {device.info.model} {device.info.serial}{mark}"


def _watt(value: float | None) -> str:
    return "-" if value is None else engineering(value, "W")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.4g} %"


def _time(value: float | None) -> str:
    return "-" if value is None else engineering(value, "s", digits=3)


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.4g} {unit}"
