"""Simulated sensors of known kernel under the coded load: what `joulebench meters characterise` must find again.

Built on a fine grid by arithmetic of its own, not by the estimator's: cell means, a recursive filter, registers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.characterise.identify import SensorCharacter, identify
from analysis.characterise.load import Load
from harness.bench.coded_load import coded_load
from harness.core.trace import ReadingKind

Floats = NDArray[np.float64]
GRID_S = 1e-4
RISE_S = 0.0003  # of the simulated supply
REST_W, MORE_W = 2.0, 3.5


@dataclass(frozen=True)
class Sensor:
    """update, window, tau, latency in s; `poll_s`: how often the register is asked (0: each value once); `jitter_s`."""

    update_s: float
    window_s: float
    tau_s: float = 0.0
    latency_s: float = 0.0
    poll_s: float = 0.0
    jitter_s: float = 0.0
    noise_w: float = 0.02
    step_w: float = 0.001


NVML = Sensor(0.1, 0.025, latency_s=0.012, poll_s=0.0068, jitter_s=0.0005)
RUNNING = Sensor(0.02, 1.0, latency_s=0.03, poll_s=0.02, jitter_s=0.0005)
FILTER = Sensor(0.01, 0.01, tau_s=0.5, latency_s=0.004)
SHORT = Sensor(0.1, 0.35, latency_s=0.01, noise_w=1.6)
INA219 = Sensor(0.001064, 0.000532, latency_s=0.0007, jitter_s=0.00002, noise_w=0.03)


def played(rng: np.random.Generator, *, memory_s: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Busy stamps of the coded load as an agent leaves them: on a grid, wake-ups late by some 60 us."""
    code = coded_load(memory_s=memory_s)
    bits = np.array([b == "1" for b in code.bits])
    edge = np.arange(len(bits) + 1) * code.chip_s
    late = np.exp(np.log(60e-6) + 0.7 * rng.standard_normal(len(bits)))
    begin, end = edge[:-1][bits] + late[bits], edge[1:][bits] + 2e-6
    return np.rint(begin * 1e9).astype(np.int64), np.rint(end * 1e9).astype(np.int64)


def power_of(
    begin: NDArray[np.int64], end: NDArray[np.int64], rng: np.random.Generator, *, hold_s: float = 0.0
) -> Floats:
    """True power on the grid: 2 W at rest, 3.5 W more when busy, the supply's 0.3 ms, warming, daemons."""
    n = int(end[-1] * 1e-9 / GRID_S) + 20_000
    knot = np.stack([begin, end], axis=1).ravel() * 1e-9
    busy_s = np.r_[0.0, np.cumsum((np.arange(1, len(knot)) % 2) * np.diff(knot))]
    power = np.diff(np.interp(np.arange(n + 1) * GRID_S, knot, busy_s)) / GRID_S * MORE_W
    if hold_s:  # power stays up after work, at 0.6 of what work adds
        inside = (np.arange(n) + 0.5) * GRID_S
        last = np.maximum(np.searchsorted(end * 1e-9, inside) - 1, 0)
        age = inside - end[last] * 1e-9
        power = np.maximum(power, 0.6 * MORE_W * ((age > 0) & (age < hold_s)))
    power = filtered(power, RISE_S) + REST_W + 0.03 * np.linspace(0, 1, n)
    for at in rng.uniform(0, n, rng.poisson(0.2 * n * GRID_S)).astype(int):
        power[at : at + int(rng.uniform(0.005, 0.1) / GRID_S)] += rng.uniform(0.05, 0.3)
    return np.asarray(power)


def filtered(x: Floats, tau_s: float) -> Floats:
    """First order; it delays by half a cell less than its time constant."""
    from scipy.signal import lfilter

    a = 1 - np.exp(-GRID_S / tau_s)
    return np.asarray(lfilter([a], [1, a - 1], x - x[0]) + x[0])


def readings(power: Floats, sensor: Sensor, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    seen = filtered(power, sensor.tau_s) if sensor.tau_s else power
    total = np.r_[0.0, np.cumsum(seen)] * GRID_S
    grid = np.arange(len(total)) * GRID_S
    last = grid[-1] - 0.1
    end = np.arange(rng.uniform(0, sensor.update_s) + sensor.window_s, last, sensor.update_s)
    value = (np.interp(end, grid, total) - np.interp(end - sensor.window_s, grid, total)) / sensor.window_s
    value = np.rint((value + sensor.noise_w * rng.standard_normal(len(end))) / sensor.step_w) * sensor.step_w
    there = end + sensor.latency_s
    if not sensor.poll_s:
        stamp = there + sensor.jitter_s * rng.exponential(size=len(end))
        return np.rint(stamp * 1e9).astype(np.int64), value
    if sensor.poll_s >= sensor.update_s:  # computed when asked
        return np.rint((there + sensor.jitter_s * rng.random(len(end))) * 1e9).astype(np.int64), value
    poll = np.cumsum(sensor.poll_s + sensor.jitter_s * rng.random(int(last / sensor.poll_s))) + there[0]
    poll = poll[poll < there[-1]]
    row = np.searchsorted(there, poll, side="right") - 1
    return np.rint(poll * 1e9).astype(np.int64), value[row]


@dataclass(frozen=True)
class Case:
    """A sensor, the longest memory that the load is made for, and what must be found (s)."""

    sensor: Sensor
    memory_s: float
    kind: ReadingKind
    truth: dict[str, float]

    def later(self, by_s: float) -> Case:
        return replace(self, sensor=replace(self.sensor, latency_s=self.sensor.latency_s + by_s))


def found(case: Case, seed: int) -> SensorCharacter:
    """What the estimator says of one draw of stamps, daemons, phases and noise."""
    rng = np.random.default_rng(seed)
    begin, end = played(rng, memory_s=case.memory_s)
    t_ns, value = readings(power_of(begin, end, rng), case.sensor, rng)
    return identify(Load.of_stamps(begin, end), t_ns, value, raw=None, lags_s=(-0.5, 2.0))


_RISE = RISE_S - GRID_S / 2
SENSORS = {
    "nvml": Case(NVML, 0.5, ReadingKind.PART_TIME, {"update": 0.1, "window": 0.025, "lag": 0.0245 + _RISE}),
    "running": Case(RUNNING, 1.0, ReadingKind.OVERLAPPING, {"update": 0.02, "window": 1.0, "lag": 0.53025 + _RISE}),
    "filter": Case(FILTER, 1.0, ReadingKind.FILTERED, {"tau": 0.5, "lag": 0.509 - GRID_S / 2 + _RISE}),
    "ina219": Case(INA219, 0.02, ReadingKind.PART_TIME, {"window": 0.000532, "lag": 0.000986 + _RISE}),
    "short": Case(SHORT, 0.3, ReadingKind.OVERLAPPING, {}),
}
