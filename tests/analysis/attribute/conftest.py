"""A bench with kernels of its own: piecewise constant power, a supply filter on a fine grid, a boxcar meter.

It shares no code and no constants with the simulated rig or with the attribution. Runs go through the real store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import cont2discrete, lfilter

from harness.core.layers import Kernel, LayerProfile, LayerStamps
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
ORIGIN_NS = 7_000_000_000_000
GRID_S = 5e-6


@dataclass
class LayerWorld:
    """Settings (SI) of one run; `run(root)` writes it and returns a reader; `true_j` (L,) is then known."""

    seed: int = 1
    kernels: int = 30
    shortest_s: float = 20e-6
    longest_s: float = 2e-3
    starts: int = 3
    n: int = 200
    jitter: float = 0.02
    run_jitter: float = 0.01
    power_cv: float = 0.02
    start_sd: float = 0.01
    dispatch_s: float = 2e-6
    gap_s: float = 60e-6
    gap_spread_s: float = 60e-6
    standby_w: float = 2.0
    gap_w: float = 3.0
    ramp: float = 0.0
    ramp_s: float = 1e-3
    onset_s: float = 0.0
    slope: float = 0.0  # power within each kernel rises or falls by up to this share, each in its own way
    tau_s: float = 0.0
    q: float = 0.7
    period_ns: int = 200_000
    noise_w: float = 0.02
    gain: float = 1.0
    gain_limit: float = 0.002
    latency_s: float = 0.3001
    layers: str = "instances"
    profiled: int = 50
    cost_s: float = 0.0
    cost_within: float = 0.5
    stamp_error_s: float = 0.0
    swap: tuple[int, int] | None = None
    kind: ReadingKind = ReadingKind.MEAN
    locked_s: float = 0.0
    names: list[str] = field(default_factory=list)

    def run(self, root: Path) -> RunReader:
        rng = np.random.default_rng(self.seed)
        d = np.geomspace(self.shortest_s, self.longest_s, self.kernels) * np.exp(
            0.1 * rng.standard_normal(self.kernels)
        )
        self.mean_d = rng.permutation(d)
        self.mean_w = rng.uniform(4.0, 10.0, self.kernels)
        self._play(rng)
        spec = self._spec()
        info = self._info()
        writer = RunWriter.create(root, spec)
        blocks = writer.block_writer("main", info)
        blocks.append(self._readings(rng))
        writer.put_timeline(self.timeline)
        kernels = tuple(Kernel(f"k{i}", "Conv" if i % 3 else "Relu", (f"node{i}",)) for i in range(self.kernels))
        if self.layers == "instances":
            order = np.arange(self.kernels)
            if self.swap:
                order[list(self.swap)] = order[list(self.swap)[::-1]]
            off = round(self.stamp_error_s * 1e9)
            a, b = self._stamps
            if self.swap:  # two kernels' durations under each other's places
                i, j = self.swap
                edges = np.concatenate([a, b[:, -1:]], axis=1)
                length = np.diff(edges, axis=1)
                length[:, [i, j]] = length[:, [j, i]]
                a = edges[:, :1] + np.cumsum(length, axis=1) - length
                b = a + length
            m = self._measured
            writer.put_profile(self._profile(kernels, rng))
            writer.put_layer_stamps(
                LayerStamps(kernels, self.timeline.start[m], self.timeline.begin_ns[m], a + off, b + off)
            )
        elif self.layers == "profile":
            writer.put_profile(self._profile(kernels, rng))
        writer.put_json("outputs_check", {"ok": True, "max_rel_error": 0.0, "tolerance": 1e-3})
        middle = np.linspace(ORIGIN_NS, self.timeline.end_ns.max(), 20).astype(np.int64)
        trip = rng.integers(40_000, 60_000, 20)
        writer.put_pings("host", np.stack([middle - trip // 2, middle, middle + trip - trip // 2], axis=1))
        return RunReader.open(writer.finish())

    def _one(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(durations, powers) of kernels of `count` inferences."""
        d = self.mean_d * (1 + self.jitter * rng.standard_normal((count, self.kernels)))
        d *= 1 + self.run_jitter * rng.standard_normal((count, 1))
        p = self.mean_w * (1 + self.power_cv * rng.standard_normal((count, self.kernels)))
        return np.maximum(d, 2e-6), p

    def _play(self, rng: np.random.Generator) -> None:
        knots: list[np.ndarray] = [np.array([0.0])]
        power: list[np.ndarray] = []
        rows: list[tuple[int, Phase, float, float]] = []
        spans: list[tuple[int, Phase, float, float]] = []
        stamps_a, stamps_b, energy = [], [], []
        now = 0.0

        def hold(seconds: float, watts: float) -> None:
            nonlocal now
            now += seconds
            knots.append(np.array([now]))
            power.append(np.array([watts]))

        def infer(start: int, phase: Phase, count: int, level: float, pause_s: float = 0.0) -> None:
            nonlocal now
            first = now
            ds, ps = self._one(rng, count)
            for d, p in zip(ds, ps * level + self.standby_w * (1 - level), strict=True):
                begin = now
                if self.onset_s:
                    hold(self.onset_s, self.gap_w)
                at = now + np.cumsum(d + self.dispatch_s) - d
                edges = np.stack([at, at + d], axis=1).ravel()
                watts = np.stack([np.full(len(d), 5.0), p], axis=1).ravel()
                if self.slope:
                    tilt = np.random.default_rng([self.seed, 5]).uniform(-self.slope, self.slope, len(d))
                    step = (np.arange(8) + 0.5) / 4 - 1
                    edges = np.c_[at, at[:, None] + d[:, None] * np.arange(1, 9) / 8].ravel()
                    watts = np.c_[np.full(len(d), 5.0), p[:, None] * (1 + tilt[:, None] * step)].ravel()
                if self.ramp:  # the first kernels still rise
                    fine = np.unique(np.r_[edges, begin + np.arange(1, 40) * self.ramp_s / 10])
                    fine = fine[(fine > begin) & (fine <= edges[-1])]
                    middle = 0.5 * (np.r_[begin, fine[:-1]] + fine)
                    watts = watts[np.searchsorted(edges, middle)]
                    watts = watts - self.ramp * (watts - self.gap_w) * np.exp(-(middle - begin) / self.ramp_s)
                    if phase is Phase.MEASURED:
                        cum = np.r_[0.0, np.cumsum(watts * np.diff(np.r_[begin, fine]))]
                        e = np.interp(np.c_[at, at + d], np.r_[begin, fine], cum)
                        energy.append(e[:, 1] - e[:, 0] - self.standby_w * d)
                    edges = fine
                elif phase is Phase.MEASURED:
                    energy.append((p - self.standby_w) * d)
                knots.append(edges)
                power.append(watts)
                now = float(edges[-1])
                rows.append((start, phase, begin, now))
                if phase is Phase.MEASURED:
                    stamps_a.append(at)
                    stamps_b.append(at + d)
                gap = self.gap_s + rng.uniform(0, self.gap_spread_s) + pause_s
                if self.locked_s:
                    gap = self.locked_s - (now - begin)
                hold(gap, self.gap_w)
            spans.append((start, phase, first, now))

        def idle(start: int, phase: Phase, seconds: float) -> None:
            spans.append((start, phase, now, now + seconds))
            hold(seconds, self.standby_w)

        def marker(start: int) -> None:
            first = now
            for bit in MARKER:
                if bit == "1":
                    rows.append((start, Phase.MARKER, now, now + 0.02 - 1e-5))
                    hold(0.02 - 1e-5, 7.0)
                    hold(1e-5, self.gap_w)
                else:
                    hold(0.02, self.gap_w)
            hold(0.05, self.gap_w)
            spans.append((start, Phase.MARKER, first, now))

        for start in range(self.starts):
            level = 1 + self.start_sd * rng.standard_normal()
            hold(0.5, self.standby_w)
            if start == 0:
                idle(0, Phase.STANDBY_BEFORE, 2.5)
            marker(start)
            infer(start, Phase.LEAD_IN, 5, level)
            infer(start, Phase.MEASURED, self.n, level)
            infer(start, Phase.LEAD_OUT, 5, level)
            infer(start, Phase.PROBE, 20, level, 0.015)
            marker(start)
        hold(0.5, self.standby_w)
        idle(self.starts - 1, Phase.STANDBY_AFTER, 2.5)
        hold(0.5, self.standby_w)
        self._knot, self._watt = np.concatenate(knots), np.concatenate(power)

        def ns(x: float) -> int:
            return ORIGIN_NS + round(x * 1e9)

        self.timeline = Timeline(
            "host", tuple(Span(s, p, ns(a), ns(b)) for s, p, a, b in spans),
            np.array([r[0] for r in rows], np.int64), np.array([PHASE_CODE[r[1]] for r in rows], np.int64),
            np.array([ns(r[2]) for r in rows], np.int64), np.array([ns(r[3]) for r in rows], np.int64),
        )  # fmt: skip
        self._measured = self.timeline.phase == PHASE_CODE[Phase.MEASURED]
        turn = lambda x: ORIGIN_NS + np.rint(np.array(x) * 1e9).astype(np.int64)  # noqa: E731
        self._stamps = turn(stamps_a), turn(stamps_b)
        self.true_j = np.array(energy).mean(axis=0)
        self.true_s = (np.array(stamps_b) - np.array(stamps_a)).mean(axis=0)

    def _profile(self, kernels: tuple[Kernel, ...], rng: np.random.Generator) -> LayerProfile:
        """Other inferences, each kernel `cost_s` slower: partly within its stamps, partly between them."""
        d, _ = self._one(rng, self.profiled)
        within, between = self.cost_within * self.cost_s, (1 - self.cost_within) * self.cost_s
        plain = self.onset_s + (d + self.dispatch_s).sum(axis=1)
        d = d + within
        at = self.onset_s + np.cumsum(d + self.dispatch_s + between, axis=1) - d - between
        whole = (at + d)[:, -1] + between
        other, _ = self._one(rng, self.profiled)
        plain = self.onset_s + (other + self.dispatch_s).sum(axis=1)
        ns = lambda x: np.rint(x * 1e9).astype(np.int64)  # noqa: E731
        return LayerProfile(kernels, ns(at), ns(at + d), ns(whole), ns(plain), "test")

    def _readings(self, rng: np.random.Generator) -> Block:
        joule = np.r_[0.0, np.cumsum(self._watt * np.diff(self._knot))]
        grid = np.arange(0, self._knot[-1], GRID_S)
        cells = np.diff(np.interp(grid, self._knot, joule)) / GRID_S
        if self.tau_s:
            b, a, _ = cont2discrete(([1.0], [self.tau_s**2, self.tau_s / self.q, 1.0]), GRID_S, method="zoh")
            zi = np.zeros(2)
            warm = np.full(2000, cells[0])
            _, zi = lfilter(b[0], a, np.full(200_000, cells[0]), zi=zi)
            del warm
            cells, _ = lfilter(b[0], a, cells, zi=zi)
        seen = np.r_[0.0, np.cumsum(cells) * GRID_S]
        period = self.period_ns * 1e-9
        k = np.arange(1, int((self._knot[-1] - 0.01) / period))
        edge = np.r_[0, k] * period + 3.3e-5
        power = np.diff(np.interp(edge, grid, seen)) / period * self.gain
        power = power + self.noise_w * rng.standard_normal(len(power))
        t = ORIGIN_NS + np.rint((edge[1:] + self.latency_s) * 1e9).astype(np.int64)
        if self.kind is ReadingKind.COUNTER:
            raw = np.floor(np.cumsum(power * period) / 61e-6).astype(np.int64) + 1000
            scale = 61e-6
        else:
            scale = 1e-5
            raw = np.rint(power / scale).astype(np.int64)
        return Block(t, {"value": raw}, (CalibrationPiece(0, "value", 0, scale, 0.0),),
                     anchors=np.stack([t, t + 300_000], axis=1)[::50])  # fmt: skip

    def _info(self) -> MeterInfo:
        counter = self.kind is ReadingKind.COUNTER
        return MeterInfo(
            "small", "layers", "s1", "1", "host", (ColumnSpec("value", "J" if counter else "W"),),
            (ChannelSpec("main", "energy_j" if counter else "power_w", ("value",),
                         Reading(self.kind, self.period_ns, self.period_ns),
                         Accuracy(self.gain_limit, 1e-3, self.noise_w, "made up"), None, 50.0 if counter else None),),
            simulated=True,
        )  # fmt: skip

    def _spec(self) -> RunSpec:
        protocol = ProtocolSpec(
            "quick", "back-to-back", self.starts, None, 1.0, 2.5, 1.0, 5.0, 1.0, 0.1, 0.1, 0.005, 20, 0.015, MARKER,
            0.02, 1e-3, layers=self.layers,
        )  # fmt: skip
        return RunSpec(
            "test", "small", BoardSpec("small"),
            (MeterBinding("main", "small", rails=(("main", "main"),), plane="dc_input", total_rails=("main",)),),
            ModelSpec("net", "gen:net", "0" * 64, 1), RuntimeSpec(), protocol, 0, self.seed, True,
        )  # fmt: skip


@pytest.fixture(name="LayerWorld")
def layer_world_class() -> type[LayerWorld]:
    return LayerWorld
