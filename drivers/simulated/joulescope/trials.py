"""What can go wrong with a Joulescope: faults played behind the package's topics (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from drivers.joulescope.meter import CHANNEL, PACKAGE, open_meter
from drivers.simulated.joulescope.device import Instrument, simulator
from harness.core.clock import FloatArray
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene, record_scene

METER = "joulescope"
SCALE = 0.5
LEAD_NS = 2_000_000_000
RATE_HZ = 100.0
Value = dict[str, Any]
Prepare = Callable[[Instrument, Scene], None]


def _play(prepare: Prepare) -> Callable[[Scene], Recorded]:
    def play(scene: Scene) -> Recorded:
        clock = VirtualClock(BEGIN_NS - LEAD_NS)

        def energy_j(t_ns: FloatArray) -> FloatArray:
            t_s = (t_ns - BEGIN_NS) * 1e-9
            return np.where(t_s < 0, scene.idle_w * t_s, scene.energy_j(np.maximum(t_s, 0.0)))

        instrument = Instrument(energy_j, clock, clock_rel=20e-6, supply_v=scene.supply_v)
        prepare(instrument, scene)
        request = MeterRequest("trial", stand_ins={PACKAGE: simulator(instrument)}, simulated=True)
        return record_scene(open_meter(request, clock=clock), clock, scene, CHANNEL)

    return play


def _with(**settings: Any) -> Prepare:
    def prepare(instrument: Instrument, scene: Scene) -> None:
        for name, value in settings.items():
            setattr(instrument, name, value)

    return prepare


def _between(a: float, b: float, change: Callable[[Value, int], Value | None]) -> Prepare:
    """Messages between two shares of the scene are changed, or lost (None)."""

    def prepare(instrument: Instrument, scene: Scene) -> None:
        first, last = (round(share * scene.duration_s * RATE_HZ) for share in (a, b))
        instrument.spoil = lambda value, k: change(value, k) if first <= k < last else value

    return prepare


def _samples_lost(instrument: Instrument, scene: Scene) -> None:
    """One window in thirty has lost samples: it is no number, and its energy is in no accumulator from then on."""
    lost = [0]

    def spoil(value: Value, k: int) -> Value:
        energy, power = value["accumulators"]["energy"], value["signals"]["power"]
        if k % 30 == 29:
            lost[0] += round(power["integral"]["value"] / energy["int_scale"])
            power["avg"]["value"] = float("nan")
        energy["int_value"] -= lost[0]
        energy["value"] = energy["int_value"] * energy["int_scale"]
        return value

    instrument.spoil = spoil


def _renamed(value: Value, k: int) -> Value:
    value["accumulators"]["energy_j"] = value["accumulators"].pop("energy")
    return value


def _rescaled(value: Value, k: int) -> Value:
    value["accumulators"]["energy"]["int_scale"] = 2.0**-31
    return value


def _cleared(instrument: Instrument, scene: Scene) -> None:
    """The accumulators are cleared in the middle of the work."""
    at = round(0.5 * scene.duration_s * RATE_HZ)

    def spoil(value: Value, k: int) -> Value:
        if k == at:
            instrument.accum = value["time"]["samples"]["value"][1]
        return value

    instrument.spoil = spoil


def _stale(instrument: Instrument, scene: Scene) -> None:
    """Every other message is the one before once more."""
    last: list[Value] = []

    def spoil(value: Value, k: int) -> Value:
        if k % 2 and last:
            return last[0]
        last[:] = [value]
        return value

    instrument.spoil = spoil


def _unplugged(instrument: Instrument, scene: Scene) -> None:
    instrument.gone_at_ns = BEGIN_NS + round(0.5 * scene.duration_s * 1e9)


def trials() -> Sequence[FaultTrial]:
    """All named faults of a Joulescope."""
    table: Sequence[tuple[str, str, Prepare]] = (
        ("none", "no fault", _with()),
        ("messages_lost", "every third message is lost", _between(0.2, 0.8, lambda v, k: v if k % 3 else None)),
        ("long_silence", "half a second of messages is lost", _between(0.4, 0.44, lambda v, k: None)),
        ("silence", "no messages come any more", _between(0.5, 9.0, lambda v, k: None)),
        ("missing_samples", "windows with samples that were lost", _samples_lost),
        ("cleared", "the accumulators are cleared in mid-run", _cleared),
        ("stale", "every other message comes twice", _stale),
        ("unplug", "the plug is pulled", _unplugged),
        ("renamed_field", "a version of the package with other names", _between(0.3, 9.0, _renamed)),
        ("unit_change", "the accumulator counts in another unit", _between(0.3, 9.0, _rescaled)),
        ("left_on", "somebody left its statistics on", lambda i, scene: i.left_on()),
        ("range_off", "its current range is off", _with(settings={"s/i/range/mode": "off"})),
        ("busy", "another program holds it", _with(refuses="jsdrv_open failed: IN_USE")),
        ("clock_off", "its clock is 300 ppm fast", _with(clock_rel=300e-6)),
        ("js110", "no fault: a JS110 with statistics on the host", _with(path="u/js110/001234", sample_hz=2e6)),
    )
    made = [FaultTrial(METER, fault, what, _play(prepare), scale=SCALE) for fault, what, prepare in table]
    high = _play(_with(gain=1.08))
    return [*made, FaultTrial(METER, "wrong_scale", "power 8 % high", high, scale=SCALE, constant_scale=True)]
