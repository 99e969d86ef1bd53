"""Made-up cards under loads that go on and off, seen by sensors that look a part of the time: CSV in, truth beside it.

Everything is drawn by the seed: update, window, phase and delay of the sensor, polls, gain; periods, levels, ramps and
delays of the load. Nothing here is used by the analysis, and no constant is from a capture.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from analysis.analyse import analyse_run
from harness.core.clock import FloatArray
from harness.core.result import EnergyResult
from harness.imports import nvidia_smi
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.nvidia_smi import SmiOptions
from harness.imports.source import Source
from harness.store.run_reader import RunReader

STEP_S = 2e-4
BEGIN_US = 1_700_000_000_000_000
HEAD = "timestamp, power.draw [W]"
GAIN_LIMIT = 0.05


@dataclass(frozen=True)
class Drawn:
    """Ranges of what is drawn. `update_s`, `load`: of the load's period in updates, logarithmic; `duty`: share of the
    update that a value sees (above 1: a running mean); `strict`: whether the load repeats itself exactly; `level`:
    relative ramp of the work's power over the record; `boost`: by how much (relative) each stretch of work begins
    higher or lower than it goes on, falling off within a tenth to a half of it."""

    update_s: tuple[float, float] = (0.02, 0.2)
    duty: tuple[float, float] = (0.1, 0.9)
    load: tuple[float, float] = (0.3, 6.0)
    share: tuple[float, float] = (0.25, 0.75)
    updates: tuple[float, float] = (60.0, 160.0)
    strict: bool | None = None
    level: float = 0.05
    late_s: float = 0.003
    boost: float = 0.0


@dataclass(frozen=True)
class PartTimeWorld:
    """One card. `window_j`: true energy of each marked window (K,); `span_j`: from the first mark to the last;
    `marks_s` (2 K,): on, off, on, ... seconds from the first row of the CSV."""

    update_s: float
    window_s: float
    delay_s: float
    gain: float
    marks_s: FloatArray
    window_j: FloatArray
    span_j: float
    row_s: FloatArray
    row_w: FloatArray
    levels_w: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))

    @property
    def kind(self) -> str:
        if abs(self.window_s - self.update_s) < 1e-9:
            return "mean"
        return "part_time" if self.window_s < self.update_s else "overlapping"

    def source(self) -> Source:
        """The CSV as nvidia-smi writes it: stamps in ms, W with two decimals."""
        first = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=BEGIN_US)
        rows = [HEAD]
        for t, w in zip(self.row_s.tolist(), self.row_w.tolist(), strict=True):
            stamp = (first + datetime.timedelta(seconds=t)).strftime("%Y/%m/%d %H:%M:%S.%f")[:-3]
            rows.append(f"{stamp}, {w:.2f} W")
        return Source(Path("gpu.csv"), ("\n".join(rows) + "\n").encode(), "0" * 64)


def world(seed: int, drawn: Drawn | None = None) -> PartTimeWorld:
    """A card by its seed."""
    d, rng = drawn or Drawn(), np.random.default_rng(seed)
    update = _log(rng, d.update_s)
    window = update * rng.uniform(*d.duty)
    period = update * _log(rng, d.load)
    share, rest_s = rng.uniform(*d.share), 1.5
    seconds = update * rng.uniform(*d.updates)
    strict = bool(rng.integers(2)) if d.strict is None else d.strict
    count = max(4, int(seconds / period))
    spread = 0.0 if strict else 0.5
    length = share * period * (1 + spread * rng.uniform(-0.5, 0.5, count))
    pause = (1 - share) * period * (1 + spread * rng.uniform(-1, 1, count))
    begin = rest_s + np.r_[0.0, np.cumsum(length + pause)[:-1]]
    end = begin + length
    outside = rng.uniform(20, 60)
    off = outside + rng.uniform(0, 30)
    on = off + rng.uniform(30, 250)
    late = rng.uniform(0, min(d.late_s, 0.1 * float(length.min())))
    rise = rng.uniform(1e-5, min(2e-3, 0.05 * float(length.min())))
    grid = np.arange(0.0, float(end[-1]) + rest_s, STEP_S)
    ramp = d.level * rng.uniform(-1, 1)
    factor = (1 + ramp * np.linspace(-0.5, 0.5, count)) * (1 + 0.01 * rng.standard_normal(count))
    power = np.full(len(grid), outside)
    power[(grid >= begin[0]) & (grid < end[-1])] = off
    boost, fades = (d.boost * rng.uniform(-1, 1), rng.uniform(0.1, 0.5)) if d.boost else (0.0, 1.0)
    for a, b, f in zip(begin + late, end + late * rng.uniform(0, 1), factor, strict=True):
        now = (grid >= a) & (grid < b)
        power[now] = off + (on - off) * f * (1 + boost * np.exp(-(grid[now] - a) / (fades * (b - a))))
    power = _risen(power, rise)
    total = np.r_[0.0, np.cumsum(power) * STEP_S]
    edge = np.r_[grid, grid[-1] + STEP_S]
    delay = update * rng.uniform(0, 0.3)
    gain = 1 + GAIN_LIMIT * rng.uniform(-1, 1)
    written = np.arange(window + update * rng.uniform(), grid[-1], update)
    ends = written - delay
    value = gain * (np.interp(ends, edge, total) - np.interp(ends - window, edge, total)) / window
    value += rng.normal(0, 0.3, len(value))
    polls = update / rng.uniform(5, 15)
    row = np.arange(written[0] + 1e-3, grid[-1] - 1e-3, polls)
    row = np.sort(row + 0.1 * polls * rng.uniform(-1, 1, len(row)))
    last = np.clip(np.searchsorted(written, row, side="right") - 1, 0, None)
    first = float(row[0])

    def joule(a: FloatArray, b: FloatArray) -> FloatArray:
        return np.asarray(np.interp(b, edge, total) - np.interp(a, edge, total), np.float64)

    return PartTimeWorld(
        float(update), float(window), float(delay), float(gain), np.stack([begin, end], axis=1).ravel() - first,
        joule(begin, end), float(joule(begin[:1], end[-1:])[0]), row - first, value[last], (outside, off, on),
    )  # fmt: skip


KINDS_OF_WORLDS = {
    "part-time": Drawn(),
    "part-time, strict load": Drawn(strict=True),
    "part-time, in step within 3 %": Drawn(strict=True, load=(0.97, 1.03)),
    "part-time, in step within 0.5 %": Drawn(strict=True, load=(0.995, 1.005)),
    "part-time, two periods an update": Drawn(strict=True, load=(0.495, 0.505)),
    "part-time, work that boosts by up to 50 %": Drawn(boost=0.5),
    "mean": Drawn(duty=(1.0, 1.0)),
    "running mean": Drawn(duty=(2.0, 12.0)),
}


def judged(made: PartTimeWorld, root: Path, *, rule: str) -> tuple[EnergyResult, float]:
    """(what the shipped importer and analysis say of it, the true energy per window); the run is written to `root`."""
    run = nvidia_smi.build(
        made.source(), made.marks_s.tolist(), None, SmiOptions(kind=made.kind, window_s=made.window_s, rule=rule),
        Declared(gain_rel=GAIN_LIMIT, offset_w=0.0, accuracy_source="made up"),
    )  # fmt: skip
    result = analyse_run(RunReader.open(write_run(root, run))).primary
    return result, float(made.window_j.mean()) if rule == "steps" else made.span_j


def _log(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _risen(power: FloatArray, tau_s: float) -> FloatArray:
    from scipy.signal import lfilter

    keep = float(np.exp(-STEP_S / tau_s))
    return np.asarray(lfilter([1 - keep], [1, -keep], power, zi=[keep * power[0]])[0], np.float64)
