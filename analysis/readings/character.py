"""How a meter's readings behave, told from the readings alone: rate, steps, repetitions, noise, its clock.

Without a coded load nobody can tell a meter's window or delay from its readings; what can be told is what is told here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.readings.counter import counter_steps
from analysis.timing.clocks import fit_meter_to_host
from harness.core.clock import HOST, FloatArray, Int64Array
from harness.core.trace import ChannelSpec, Trace

LEAST_ROWS = 8


@dataclass(frozen=True)
class Character:
    """What one channel's readings showed. None: it could not be told.

    `rate_hz`: readings a second; `changes_hz`: how often a reading differed from the one before; `repeated_share`: of
    readings equal to the one before; `update_s`: median time from one change to the next; `step_w`: what the smallest
    difference of two raw values that differ is worth, at the mean of the other columns (the coarsest column counts);
    `noise_w`: standard deviation between neighbours / sqrt 2, from their median (what the load did in between is in
    it); `clock_ppm`: how much slower the meter's clock runs than the host's, with `u_clock_ppm`.
    """

    channel: str
    rows: int
    seconds: float
    gaps: int
    rate_hz: float | None = None
    changes_hz: float | None = None
    repeated_share: float | None = None
    update_s: float | None = None
    step_w: float | None = None
    noise_w: float | None = None
    mean_w: float | None = None
    least_w: float | None = None
    most_w: float | None = None
    clock_ppm: float | None = None
    u_clock_ppm: float | None = None


def characterise(trace: Trace, channel: str) -> Character:
    """Character of `channel`. KeyError for an unknown one."""
    spec = trace.info.channel(channel)
    t = np.asarray(trace.t_ns)
    if len(t) < LEAST_ROWS:
        return Character(channel, len(t), 0.0, len(trace.gaps))
    seconds = float(t[-1] - t[0]) * 1e-9
    moved = _changes(trace, spec)
    changed_ns = t[1:][moved]
    spacing = np.diff(changed_ns)
    power, step_w, noise_w = _levels(trace, spec)
    clock_ppm, u_ppm = _clock(trace)
    known = power[np.isfinite(power)]
    return Character(
        channel=channel,
        rows=len(t),
        seconds=seconds,
        rate_hz=(len(t) - 1) / seconds,
        changes_hz=float(np.count_nonzero(moved)) / seconds,
        repeated_share=1.0 - float(np.mean(moved)),
        update_s=float(np.median(spacing)) * 1e-9 if len(spacing) >= LEAST_ROWS else None,
        step_w=step_w,
        noise_w=noise_w,
        mean_w=float(known.mean()) if len(known) else None,
        least_w=float(known.min()) if len(known) else None,
        most_w=float(known.max()) if len(known) else None,
        gaps=len(trace.gaps),
        clock_ppm=clock_ppm,
        u_clock_ppm=u_ppm,
    )


def _changes(trace: Trace, spec: ChannelSpec) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    moved = np.zeros(len(trace) - 1, bool)
    for name in spec.columns:
        column = np.asarray(trace.columns[name])
        moved |= column[1:] != column[:-1]
    return moved


def _levels(trace: Trace, spec: ChannelSpec) -> tuple[FloatArray, float | None, float | None]:
    """Power of the readings (W), resolution and noise in W; a counter's power is that between two movements."""
    if spec.quantity == "energy_j":
        steps = counter_steps(trace, spec)
        width = np.diff(steps.t_ns) * 1e-9
        return np.where(steps.plausible & (width > 0), steps.energy_j / np.maximum(width, 1e-12), np.nan), None, None
    power = trace.power_w(spec.name)
    steps_w = np.diff(power)
    steps_w = steps_w[np.isfinite(steps_w)]
    noise = 1.4826 * float(np.median(np.abs(steps_w))) / np.sqrt(2) if len(steps_w) else None
    return power, _resolution_w(trace, spec), noise


def _resolution_w(trace: Trace, spec: ChannelSpec) -> float | None:
    """Worth of the smallest raw step of each column at the mean of the others; the largest over the columns."""
    mean = {name: float(np.nanmean(trace.values(name))) for name in spec.columns}
    worth: list[float] = []
    for name in spec.columns:
        scales = [abs(piece.scale) for piece in trace.calibration if piece.column == name]
        distinct = np.unique(np.asarray(trace.columns[name]).astype(np.int64))
        if not scales or len(distinct) < 2:
            continue
        others = np.prod([abs(value) for other, value in mean.items() if other != name])
        worth.append(float(np.diff(distinct).min()) * min(scales) * float(others))
    return max(worth, default=None)


def _clock(trace: Trace) -> tuple[float | None, float | None]:
    """Rate of the meter's clock against the host's, ppm (positive: the meter's runs slow), and its uncertainty."""
    anchors: Int64Array = trace.anchors
    if trace.info.clock == HOST or len(anchors) < LEAST_ROWS:
        return None, None
    try:
        fitted = fit_meter_to_host(anchors, clock=trace.info.clock)
    except ValueError:
        return None, None
    meter_ns = float(anchors[-1, 0] - anchors[0, 0])
    if meter_ns <= 0:
        return None, None
    host_ns = float(np.diff(fitted.apply(anchors[[0, -1], 0]))[0])
    return (host_ns / meter_ns - 1) * 1e6, fitted.u_rate * 1e6
