"""`joulebench meters calibrate`: known loads, one after the other, become a calibration file of this very unit."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from analysis.calibrating import Level, fit_calibration, mean_reading, resistor_level
from analysis.readings.counter import counter_steps
from harness.bench.single_meter import SingleMeter, opened
from harness.cli.format import engineering
from harness.cli.meters.choose import Chosen, board_for
from harness.cli.results import console, print_json
from harness.config.calibration import write_calibration
from harness.core.bench_facts import Calibration
from harness.core.clock import FloatArray
from harness.core.errors import DeviceError, SpecError
from harness.core.trace import join_blocks
from harness.core.waiting import RealClock

_FORMS = re.compile(r"^(?:(?P<ohm>[\d.eE+-]+|open):(?P<volt>[\d.eE+-]+)|(?P<watt>[\d.eE+-]+)W)$")
REFERENCE_HINT = "such as --level 10:5.02 (ohm:volt), --level open:5.05, or --level 2.513W (a reference meter)"


@dataclass(frozen=True)
class Load:
    """A load as the user says it: a resistor (ohm; None: open) at a measured voltage, or a reference meter's watts."""

    text: str
    ohm: float | None
    volt: float | None
    watt: float | None


def load_from(text: str) -> Load:
    """`10:5.02`, `open:5.05` or `2.513W`. SpecError for anything else."""
    found = _FORMS.match(text.strip())
    if found is None:
        raise SpecError(f"the level {text!r} is not understood", hint=REFERENCE_HINT)
    try:
        ohm = None if found["ohm"] in (None, "open") else float(found["ohm"])
        volt = None if found["volt"] is None else float(found["volt"])
        watt = None if found["watt"] is None else float(found["watt"])
    except ValueError:
        raise SpecError(f"the level {text!r} holds no number", hint=REFERENCE_HINT) from None
    return Load(text, ohm, volt, watt)


@dataclass(frozen=True)
class References:
    """How well the loads are known. `tolerance_rel`: printed limit of the resistors; `volt_u`, `watt_u`: standard
    uncertainties of a voltage (V) and of the reference meter's power (W); `common_rel`: of their shared scale."""

    tolerance_rel: float
    volt_u: float
    watt_u: float
    common_rel: float


def calibrate_meter(
    meter: Chosen, *, levels: Sequence[str], known: References, channel: str | None, seconds: float, out: Path, by: str,
    ask: Callable[[str], None], as_json: bool,
) -> None:  # fmt: skip
    """Read `meter` at each load (`ask` waits until it is connected), fit, and write `out`. SpecError if that fails."""
    loads = [load_from(text) for text in levels]
    if out.exists():
        raise SpecError(f"{out} exists already", hint="give another file name; nothing is overwritten")
    ohms = [load.ohm for load in loads if load.ohm is not None]
    same = len(set(ohms)) == 1 and len(ohms) > 1
    found: list[Level] = []
    serial = name = ""
    for load in loads:
        ask(f"connect the load {load.text}, wait until it is steady")
        with board_for(meter) as board, opened(meter.opener(), RealClock(), board=board) as device:
            name = channel or device.info.channels[0].name
            serial = device.info.serial
            power = powers(device, name, seconds)
        found.append(level_of(load, power, known, same_resistor=same))
    said = f"{len(loads)} loads ({', '.join(levels)}), {seconds:g} s each"
    today = datetime.date.today().isoformat()
    calibration = fit_calibration(found, channel=name, serial=serial, date=today, by=by, method=said)
    write_calibration(calibration, out)
    if as_json:
        (one,) = calibration.channels
        print_json({"file": str(out), "serial": serial, "channel": name, **{k: getattr(one, k) for k in vars(one)}})
    else:
        _print(calibration, found, out)


def powers(device: SingleMeter, channel: str, seconds: float) -> FloatArray:
    """Power of the readings of `seconds`, W; DeviceError if there are none."""
    try:
        spec = device.info.channel(channel)
    except KeyError as error:
        raise SpecError(str(error.args[0]), hint="name one of them with --channel") from None
    trace = join_blocks(device.info, list(device.blocks(seconds)))
    if len(trace) < 2:
        why = trace.gaps[0].reason if trace.gaps else "nothing arrived"
        raise DeviceError(f"no readings in {seconds:g} s: {why}", hint="joulebench meters selftest says what is wrong")
    if spec.quantity == "power_w":
        return trace.power_w(channel)
    steps = counter_steps(trace, spec)
    width = np.diff(steps.t_ns) * 1e-9
    return np.asarray(steps.energy_j / width)[steps.plausible & (width > 0)]


def level_of(load: Load, power_w: FloatArray, known: References, *, same_resistor: bool) -> Level:
    """The level that a load and its readings make."""
    mean, u = mean_reading(power_w)
    if load.watt is not None:
        return Level(load.watt, known.watt_u, mean, u, known.common_rel)
    if load.ohm is None:
        return Level(0.0, 0.0, mean, u, known.common_rel)
    assert load.volt is not None
    return resistor_level(
        resistance_ohm=load.ohm, tolerance_rel=known.tolerance_rel, voltage_v=load.volt, voltage_u_v=known.volt_u,
        reading_w=mean, reading_u_w=u, same_resistor=same_resistor, voltage_common_rel=known.common_rel,
    )  # fmt: skip


def _print(calibration: Calibration, levels: Sequence[Level], out: Path) -> None:
    screen = console()
    (one,) = calibration.channels
    table = Table(box=None, pad_edge=False)
    for column in ("true power", "u", "reading", "u", "residual"):
        table.add_column(column, justify="right")
    for level, residual in zip(levels, one.residuals_w, strict=True):
        true_u = float(np.hypot(level.reference_u_w, level.common_rel * level.reference_w))
        figures = (level.reference_w, true_u, level.reading_w, level.reading_u_w, residual)
        table.add_row(*(engineering(value, "W", digits=4 if k in (0, 2) else 2) for k, value in enumerate(figures)))
    screen.print(table)
    screen.print(
        f"channel {one.channel} of {calibration.serial} reads {one.gain:.6g} x true power "
        f"{'+' if one.offset_w >= 0 else '-'} {engineering(abs(one.offset_w), 'W')}; 95 %: gain ± {one.gain_u95:.2g}, "
        f"zero ± {engineering(one.offset_u95_w, 'W', digits=2)}"
    )
    screen.print(f"{out}: name it in the bench file, in the meter's entry: calibration: {out.name}", soft_wrap=True)
