"""A calibration applied to a curve of energy: raw stays as it was read, joules are corrected.

A channel reads gain x true power + offset, so true energy = (energy read - offset x covered time) / gain.
"""

from __future__ import annotations

import datetime
from dataclasses import replace

import numpy as np

from analysis.readings.curve import ChannelCurve
from harness.core.bench_facts import Calibration
from harness.core.curve import EnergyCurve
from harness.core.trace import MeterInfo

SECONDS_A_DAY = 86_400


def corrected(channel: ChannelCurve, calibration: Calibration | None) -> ChannelCurve:
    """The curve as the calibration has it; the same curve if there is none for this channel."""
    found = calibration.channel(channel.name) if calibration else None
    if found is None:
        return channel
    curve = channel.curve
    energy = (curve.energy_j - found.offset_w * curve.covered_ns * 1e-9) / found.gain
    return replace(
        channel, curve=EnergyCurve(curve.clock, curve.edge_ns, np.asarray(energy, np.float64), curve.covered_ns)
    )


def of_another_unit(calibration: Calibration | None, info: MeterInfo) -> str:
    """Why this calibration is not of this meter; empty if it is, or if there is none."""
    if calibration is None or calibration.serial == info.serial:
        return ""
    return f"the calibration is of serial {calibration.serial!r}, the meter that recorded is {info.serial!r}"


def is_old(calibration: Calibration | None, unix_s: float | None) -> bool:
    """Whether it was older than it holds when the run began."""
    if calibration is None or unix_s is None:
        return False
    made = datetime.datetime.fromisoformat(calibration.date).replace(tzinfo=datetime.UTC).timestamp()
    return unix_s - made > calibration.valid_days * SECONDS_A_DAY
