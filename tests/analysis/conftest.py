"""A small world of its own: power as a closed form between edges, so that every energy is known exactly.

It shares no code and no constants with the simulated rig. Runs go through the real store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.store.run_reader import RunReader
from harness.store.run_writer import RunWriter

MARKER = "1110010110100011"
ORIGIN_NS = 5_000_000_000_000


@dataclass
class SmallWorld:
    """Settings (SI) of one run; `run(root)` writes it and returns a reader; the truths are then attributes."""

    seed: int = 1
    starts: int = 3
    n: int = 120
    inference_s: float = 0.012
    inference_cv: float = 0.02
    gap_s: float = 40e-6
    dither_s: float = 0.0
    standby_w: float = 2.0
    drift_w: float = 0.0
    active_w: float = 5.0
    gap_w: float = 3.2
    rise_s: float = 2e-3
    fall_s: float = 0.4e-3
    hold_s: float = 5.0
    start_sd: float = 0.0
    power_cv: float = 0.0
    bracket_s: float = 4.0
    probe_pause_s: float = 0.03
    chip_s: float = 0.02
    latency_s: float = 0.7
    meter_rate: float = 1.0
    gain: float = 1.0
    zero_w: float = 0.0
    noise_w: float = 0.02
    period_ns: int = 200_000
    window_ns: int = 0  # that is really seen; 0: the whole period
    tau_ns: int = 0
    filtered: bool = False  # readings really are filtered with tau_ns
    kind: ReadingKind = ReadingKind.MEAN
    gain_limit: float = 0.01
    zero_limit_w: float = 0.01
    lose: float = 0.0
    accuracy: bool = True
    marker: bool = True
    lead_s: float = 0.3
    documents: dict[str, object] = field(
        default_factory=lambda: {"outputs_check": {"ok": True, "max_rel_error": 0.0, "tolerance": 1e-3}}
    )
    tamper: Callable[[Block], Block] | None = None
    binding: dict[str, object] = field(default_factory=dict)
    modulus_raw: int | None = None

    def run(self, root: Path) -> RunReader:
        rng = np.random.default_rng(self.seed)
        timeline = self._timeline(rng)
        self.timeline = timeline
        self._physics(rng, timeline)
        spec = run_spec(self.seed, **self.binding)
        info = self._info()
        writer = RunWriter.create(root, spec)
        blocks = writer.block_writer("main", info)
        block = self._block(rng, info)
        if self.tamper is not None:
            block = self.tamper(block)
        for first in range(0, len(block), 50_000):
            blocks.append(_part(block, first, first + 50_000))
        writer.put_timeline(timeline)
        middle = np.linspace(ORIGIN_NS, timeline.end_ns.max(), 20).astype(np.int64)
        trip = rng.integers(40_000, 90_000, 20)
        board = middle + self._board_offset_ns
        writer.put_pings(timeline.clock, np.stack([middle - trip // 2, board, middle + trip - trip // 2], axis=1))
        for name, data in self.documents.items():
            writer.put_json(name, data)
        return RunReader.open(writer.finish())

    _board_offset_ns: int = 123_456_789_000

    def _timeline(self, rng: np.random.Generator) -> Timeline:
        now = 0.0
        rows: list[tuple[int, Phase, float, float]] = []
        spans: list[tuple[int, Phase, float, float]] = []

        def idle(start: int, phase: Phase, seconds: float) -> None:
            nonlocal now
            spans.append((start, phase, now, now + seconds))
            now += seconds

        def infer(start: int, phase: Phase, count: int, *, pause_s: float = 0.0, dither_s: float = 0.0) -> None:
            nonlocal now
            begin = now
            for _ in range(count):
                d = self.inference_s * max(0.2, 1 + self.inference_cv * rng.standard_normal())
                rows.append((start, phase, now, now + d))
                now += d + self.gap_s + pause_s + (rng.uniform(0, dither_s) if dither_s else 0.0)
            spans.append((start, phase, begin, now))

        def marker(start: int) -> None:
            nonlocal now
            begin = now
            bits = MARKER if self.marker else ""
            for bit in bits:
                if bit == "1":
                    rows.append((start, Phase.MARKER, now, now + self.chip_s - 1e-5))
                now += self.chip_s
            now += 0.05
            spans.append((start, Phase.MARKER, begin, now))

        lead = max(3, int(self.lead_s / self.inference_s))
        for start in range(self.starts):
            now += 1.0
            if start == 0:
                now += self.hold_s + 0.5
                idle(0, Phase.STANDBY_BEFORE, self.bracket_s)
            marker(start)
            infer(start, Phase.LEAD_IN, lead)
            infer(start, Phase.MEASURED, self.n, dither_s=self.dither_s)
            infer(start, Phase.LEAD_OUT, lead)
            infer(start, Phase.PROBE, 25 if self.probe_pause_s else 0, pause_s=self.probe_pause_s)
            marker(start)
        now += self.hold_s + 0.5
        idle(self.starts - 1, Phase.STANDBY_AFTER, self.bracket_s)
        now += 1.0
        self._end_s = now
        off = ORIGIN_NS + self._board_offset_ns
        ns = np.array([[off + round(r[2] * 1e9), off + round(r[3] * 1e9)] for r in rows], np.int64)
        return Timeline(
            "board:small",
            tuple(Span(s, p, off + round(a * 1e9), off + round(b * 1e9)) for s, p, a, b in spans),
            np.array([r[0] for r in rows], np.int64),
            np.array([PHASE_CODE[r[1]] for r in rows], np.int64),
            ns[:, 0],
            ns[:, 1],
        )

    def _physics(self, rng: np.random.Generator, timeline: Timeline) -> None:
        """Segments (t0, target, amplitude, tau) of dynamic power; truth of the measured stretches."""
        begin = (timeline.begin_ns - timeline.begin_ns[0]) * 1e-9
        end = (timeline.end_ns - timeline.begin_ns[0]) * 1e-9
        level = self.active_w - self.standby_w
        factor = 1 + self.start_sd * rng.standard_normal(self.starts)
        active = level * factor[timeline.start] * (1 + self.power_cv * rng.standard_normal(len(begin)))
        held = self.gap_w - self.standby_w
        time, target, tau = [], [], []
        for i in range(len(begin)):
            time.append(begin[i]), target.append(active[i]), tau.append(self.rise_s)
            time.append(end[i]), target.append(held), tau.append(self.fall_s)
            if i + 1 == len(begin) or begin[i + 1] - end[i] > self.hold_s:
                time.append(end[i] + self.hold_s), target.append(0.0), tau.append(self.fall_s)
        self._t, self._target, self._tau = np.array(time), np.array(target), np.array(tau)
        amplitude, energy = np.empty(len(time)), np.empty(len(time))
        power, total = 0.0, 0.0
        step = np.diff(np.r_[self._t, self._t[-1] + 1e3])
        for i in range(len(time)):
            amplitude[i], energy[i] = power - self._target[i], total
            decay = float(np.exp(-step[i] / self._tau[i]))
            total += self._target[i] * step[i] + amplitude[i] * self._tau[i] * (1 - decay)
            power = self._target[i] + amplitude[i] * decay
        self._amplitude, self._energy = amplitude, energy
        self._t0 = (timeline.begin_ns[0] - ORIGIN_NS - self._board_offset_ns) * 1e-9
        if self.n == 0:
            return
        measured = timeline.phase == PHASE_CODE[Phase.MEASURED]
        drawn = self.dynamic_until(end[measured]) - self.dynamic_until(begin[measured])
        self.true_j = float(drawn.mean())
        self.true_gross_j = self.true_j + self.standby_w * float((end - begin)[measured].mean())
        self.expected_j = float(
            np.mean([drawn[timeline.start[measured] == s].mean() / factor[s] for s in range(self.starts)])
        )

    def dynamic_until(self, t_s: np.ndarray) -> np.ndarray:
        """Dynamic energy (J) since the first stretch began, at times since then."""
        k = np.clip(np.searchsorted(self._t, t_s, side="right") - 1, 0, None)
        u = np.maximum(t_s - self._t[k], 0)
        return self._energy[k] + self._target[k] * u - self._amplitude[k] * self._tau[k] * np.expm1(-u / self._tau[k])

    def _info(self) -> MeterInfo:
        counter = self.kind is ReadingKind.COUNTER
        reading = Reading(self.kind, self.period_ns, self.window_ns or self.period_ns, self.tau_ns)
        accuracy = Accuracy(self.gain_limit, self.zero_limit_w, self.noise_w, "made up") if self.accuracy else None
        return MeterInfo(
            "small", "world", "s1", "1", "meter:s1",
            (ColumnSpec("value", "J" if counter else "W"),),
            (ChannelSpec("main", "energy_j" if counter else "power_w", ("value",), reading, accuracy,
                         self.modulus_raw, 50.0 if counter else None),),
            simulated=True,
        )  # fmt: skip

    def _block(self, rng: np.random.Generator, info: MeterInfo) -> Block:
        true_period_s = self.period_ns * 1e-9 / self.meter_rate
        k = np.arange(1, int((self._end_s + self.latency_s) / true_period_s))
        edge_s = np.r_[k[0] - 1, k] * true_period_s - self.latency_s  # what the reading sees is that old
        total = self.dynamic_until(edge_s - self._t0) + self.standby_w * edge_s
        total += self.drift_w * 0.5 * (edge_s / self._end_s) ** 2 * self._end_s
        meter_ns = k * self.period_ns
        host_ns = ORIGIN_NS + (k * true_period_s * 1e9).astype(np.int64)
        keep = rng.random(len(k)) >= self.lose
        arrival = host_ns + rng.exponential(2e6, len(k)).astype(np.int64) + 500_000
        anchors = np.stack([meter_ns, arrival], axis=1)[:: max(1, int(0.01 / true_period_s))]
        if self.kind is ReadingKind.COUNTER:
            scale = 61e-6
            raw = np.floor((total[1:] - total[0]) * self.gain / scale).astype(np.int64) + 1000
            if self.modulus_raw:
                raw %= self.modulus_raw
        else:
            scale = 1e-5
            mean = self._seen_w(edge_s, total, true_period_s)
            raw = np.rint((mean * self.gain + self.zero_w + self.noise_w * rng.standard_normal(len(k))) / scale)
            raw = raw.astype(np.int32)
        return Block(
            meter_ns[keep], {"value": raw[keep]}, (CalibrationPiece(0, "value", 0, scale, 0.0),), anchors=anchors
        )

    def _seen_w(self, edge_s: np.ndarray, total_j: np.ndarray, period_s: float) -> np.ndarray:
        """What each reading says before noise: the mean over its window, or an exponentially weighted one."""
        mean = np.diff(total_j) / period_s
        if self.filtered:
            keep = float(np.exp(-period_s / (self.tau_ns * 1e-9)))
            return lfilter([1 - keep], [1, -keep], mean, zi=[keep * mean[0]])[0]
        if not self.window_ns:
            return mean
        window_s = self.window_ns * 1e-9
        begin_s = edge_s[1:] - window_s
        before = self.dynamic_until(begin_s - self._t0) + self.standby_w * begin_s
        before += self.drift_w * 0.5 * (begin_s / self._end_s) ** 2 * self._end_s
        return (total_j[1:] - before) / window_s


def _part(block: Block, first: int, last: int) -> Block:
    calibration = [p for p in block.calibration if first <= p.first_row < last]
    share = slice(None) if first == 0 else slice(0, 0)
    return replace(
        block, t_ns=block.t_ns[first:last], columns={k: v[first:last] for k, v in block.columns.items()},
        calibration=[replace(p, first_row=p.first_row - first) for p in calibration],
        anchors=block.anchors[share], gaps=block.gaps if first == 0 else (),
    )  # fmt: skip


def run_spec(seed: int, **binding: object) -> RunSpec:
    protocol = ProtocolSpec(
        "quick", "back-to-back", 3, None, 1.0, 4.0, 1.0, 5.0, 1.0, 0.3, 0.3, 0.005, 25, 0.03, MARKER, 0.02, 1e-3
    )
    fields = {"rails": (("main", "main"),), "plane": "dc_input", "total_rails": ("main",), **binding}
    return RunSpec(
        "test", "small", BoardSpec("small"), (MeterBinding("main", "small", **fields),),  # type: ignore[arg-type]
        ModelSpec("net", "gen:net", "0" * 64, 1), RuntimeSpec(), protocol, 0, seed, True,
    )  # fmt: skip


@pytest.fixture(name="SmallWorld")
def small_world_class() -> type[SmallWorld]:
    return SmallWorld
