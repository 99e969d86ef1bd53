"""Physics of an independent world, from first principles and in numpy alone: a board that works, idles and drifts.

Nothing here comes from joulebench or its rig: this is a second opinion on what a board does. Time is true time in
seconds from 0; clocks are put on top of it afterwards. Power is that at the meter's plane.
"""

from dataclasses import dataclass, field

import numpy as np

CODE = "1101001100010111"  # busy and idle chips of a marker


@dataclass
class Network:
    """Layers as linear ramps of power: mean duration (s), watt above idle at begin and end of each."""

    duration_s: np.ndarray
    begin_w: np.ndarray
    end_w: np.ndarray
    jitter_cv: float
    straggler_share: float

    def draw(self, rng, count):
        """Durations of the layers of `count` inferences, (count, K); stragglers wait at the same energy per time."""
        shape = 1 / self.jitter_cv**2
        factor = rng.gamma(shape, 1 / shape, (count, 1))
        late = rng.random((count, 1)) < self.straggler_share
        return self.duration_s * factor * np.where(late, rng.uniform(1.3, 3.0, (count, 1)), 1.0)

    @property
    def mean_w(self):
        return float((self.duration_s * (self.begin_w + self.end_w)).sum() / 2 / self.duration_s.sum())

    def energies_j(self, durations_s):
        return (durations_s * (self.begin_w + self.end_w) / 2).sum(axis=1)


@dataclass
class Work:
    """What the board does, in order: busy stretches (start, phase, begin, end) and phases, and its power in pieces.

    `pieces`: (begin, end, watt at begin, watt at end) of the load above idle, without overlap.
    """

    pieces: list = field(default_factory=list)
    stamps: list = field(default_factory=list)
    spans: list = field(default_factory=list)
    ping_at_s: list = field(default_factory=list)
    realised_j: list = field(default_factory=list)
    inference_s: list = field(default_factory=list)


def draw_network(rng):
    count = int(rng.integers(3, 10))
    duration_s = rng.uniform(0.1e-3, 2.5e-3, count)
    peak_w = rng.uniform(1.0, 6.0)
    return Network(
        duration_s,
        peak_w * rng.uniform(0.4, 1.0, count),
        peak_w * rng.uniform(0.4, 1.0, count),
        jitter_cv=rng.uniform(0.005, 0.04),
        straggler_share=rng.uniform(0, 0.01),
    )


def plan(rng, network, *, starts, measured_s, lead_s, chip_s, standby_s, gap_share, hold_s, pauses_s):
    """Carry out a whole protocol. `pauses_s`: (shortest, longest) pause after a measured inference."""
    work, t = Work(), 0.5
    spin_w = network.mean_w * rng.uniform(0.8, 1.1)
    for start in range(starts):
        level = 1 + rng.normal(0, 0.008)
        work.ping_at_s.append(t)
        t += 0.3
        t = _busy(work, start, "load", t, rng.uniform(0.4, 0.9), 0.7 * spin_w)
        if start == 0:
            t = _standby(work, start, "standby_before", t + 2.5, standby_s)
        t = _marker(work, start, t, chip_s, spin_w * level, gap_share, hold_s)
        for phase, length_s, pauses in (
            ("lead_in", lead_s, (2e-5, 8e-5)),
            ("measured", measured_s, pauses_s),
            ("lead_out", lead_s, (2e-5, 8e-5)),
            ("probe", None, (0.02, 0.02)),
        ):
            t = _infer(rng, work, network, start, phase, t, length_s, pauses, level, gap_share, hold_s)
        t = _marker(work, start, t, chip_s, spin_w * level, gap_share, hold_s)
        if start == starts - 1:
            t = _standby(work, start, "standby_after", t + 3.0, standby_s)
        t += 0.4
        work.ping_at_s.append(t)
        t += 0.3
    return work, t + 1.0


def _busy(work, start, phase, t, length_s, watt):
    work.pieces.append((t, t + length_s, watt, 0.6 * watt))
    work.stamps.append((start, phase, t, t + length_s))
    work.spans.append((start, phase, t, t + length_s))
    return t + length_s


def _standby(work, start, phase, t, length_s):
    work.spans.append((start, phase, t, t + length_s))
    return t + length_s


def _pause(work, t, length_s, gap_w, hold_s):
    """After work the board goes on at `gap_w` for `hold_s` (polling, clocks up), then it is idle."""
    if length_s > 0:
        work.pieces.append((t, t + min(length_s, hold_s), gap_w, gap_w))
    return t + length_s


def _marker(work, start, t, chip_s, watt, gap_share, hold_s):
    begin = t
    for bit in CODE:
        if bit == "1":
            work.pieces.append((t, t + chip_s, watt, watt))
            work.stamps.append((start, "marker", t, t + chip_s))
            t += chip_s
        else:
            t = _pause(work, t, chip_s, gap_share * watt, hold_s)
    work.spans.append((start, "marker", begin, t))
    return t


def _infer(rng, work, network, start, phase, t, length_s, pauses, level, gap_share, hold_s):
    begin, done = t, 0
    gap_w = gap_share * network.mean_w * level
    while (done < 14) if length_s is None else (t - begin < length_s):
        durations = network.draw(rng, 1)
        at = t + np.r_[0.0, np.cumsum(durations[0])]
        for k in range(len(at) - 1):
            work.pieces.append((at[k], at[k + 1], level * network.begin_w[k], level * network.end_w[k]))
        work.stamps.append((start, phase, t, at[-1]))
        if phase == "measured":
            work.realised_j.append(level * float(network.energies_j(durations)[0]))
            work.inference_s.append(float(at[-1] - t))
        t = _pause(work, float(at[-1]), rng.uniform(*pauses), gap_w, hold_s)
        done += 1
    work.spans.append((start, phase, begin, t))
    return t


@dataclass
class Power:
    """Cumulative energy (J) on a grid of true time (s): the one thing that meters look at."""

    t_s: np.ndarray
    energy_j: np.ndarray

    def energy_until(self, t_s):
        return np.interp(t_s, self.t_s, self.energy_j)


def draw_power(rng, work, end_s, step_s):
    """Idle power with drift, daemons, beacons and ripple, plus the load behind a reservoir capacitor."""
    t_s = np.arange(0.0, end_s, step_s)
    idle_w = rng.uniform(0.8, 3.5)
    drift = rng.uniform(-0.004, 0.004) * t_s / 60 + rng.uniform(0, 0.001) * np.sin(
        2 * np.pi * t_s / rng.uniform(20, 90)
    )
    power_w = idle_w * (1 + drift + 0.01 * np.sin(2 * np.pi * 100 * t_s))
    power_w += rng.uniform(0, 0.06) * (t_s % 0.1024 < 0.001)
    rate, watt = rng.uniform(0.05, 0.5), rng.uniform(0.05, 0.5)
    for at in np.flatnonzero(rng.random(len(t_s)) < rate * step_s):
        length = int(rng.uniform(0.01, 0.2) / step_s)
        part = power_w[at : at + length]
        part += watt * np.linspace(1, 0, length)[: len(part)]
    load_w = _averaged(np.array(work.pieces), t_s, step_s)
    tau_s = rng.uniform(2e-5, 6e-4)
    power_w += _one_pole(load_w, np.exp(-step_s / tau_s))
    return Power(np.r_[t_s, end_s], np.r_[0.0, np.cumsum(power_w) * step_s]), idle_w


def _averaged(pieces, t_s, step_s):
    """Mean of piecewise linear power over each grid step, by its antiderivative: no energy is lost at edges."""
    begin, end, a, b = pieces.T
    knots = np.stack([begin, end], axis=1).ravel()
    energy = np.cumsum(np.stack([np.zeros(len(begin)), (a + b) / 2 * (end - begin)], axis=1).ravel())

    def until(t):
        at = np.clip(np.searchsorted(begin, t, side="right") - 1, 0, None)
        inside = np.clip(t - begin[at], 0, end[at] - begin[at])
        slope = (b[at] - a[at]) / (end[at] - begin[at])
        return np.where(t < begin[0], 0.0, energy[2 * at] + a[at] * inside + slope * inside**2 / 2)

    assert np.all(np.diff(knots) > -1e-9), "pieces must follow one another"
    return (until(t_s + step_s) - until(t_s)) / step_s


def _one_pole(x, keep):
    """y[i] = keep y[i-1] + (1 - keep) x[i], in blocks so that powers of `keep` stay finite. It keeps energy."""
    y, last = np.empty_like(x), 0.0
    block = max(1, int(min(len(x), 200 / max(-np.log(max(keep, 1e-300)), 1e-9))))
    for first in range(0, len(x), block):
        part = x[first : first + block]
        powers = keep ** np.arange(1, len(part) + 1)
        y[first : first + block] = powers * (last + (1 - keep) * np.cumsum(part / powers))
        last = y[first + len(part) - 1]
    return y
