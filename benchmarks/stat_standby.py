"""How well standby at the time of the inferences is found: many worlds of rest and warmth, without meters and clocks.

    python benchmarks/stat_standby.py --seed 1 --worlds 200
    python benchmarks/stat_standby.py --worlds 200 --drift 0.03     # and a drift of random sign, 3 % of the dynamic
    power
    python benchmarks/stat_standby.py --worlds 200 --jump 0.3       # something switches on or off between the brackets

Rest and warmth are those of the simulated rig, drawn from the ranges of `default`; readings are exact means over 10 ms,
so that errors of standby stand alone. Errors are those of dynamic power, in percent of it, by the sign of the drift
added: of the shipped course, and of the straight line through the plain means.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.energy.standby import Standby, find_standby
from analysis.readings.curve import ChannelCurve
from analysis.verdict.standby_moved import standby_flags, standby_moved
from drivers.simulated.rig.physics_heat import Aftermath
from drivers.simulated.rig.physics_rest import Standby as Rest
from drivers.simulated.rig.world import World, draw
from harness.core.curve import EnergyCurve
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.core.trace import Reading, ReadingKind

CALM = dict.fromkeys(("daemon_rate_hz", "tick_w", "minute_w", "writeback_w", "beacon_w", "link_w"), 0.0)
CELL_S = 0.01
CELL_NS = 10_000_000
Power = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """One run in one world. `rest_w`: what the board would have drawn had nothing been run; `dynamic_w`: of the
    work."""

    power_w: Power
    rest_w: Power
    timeline: Timeline
    dynamic_w: float


class Player:
    """Plays the protocol of the exam on rest and warmth alone."""

    def __init__(self, world: World) -> None:
        self.world, self.rest, self.after = world, Rest(world), Aftermath(world, CELL_S)
        self.cells, self.held_s = 0, 0.0
        self.power: list[Power] = []
        self.without: list[Power] = []
        level_w = world.load.dynamic_w
        self.gap_w = max(
            world.load.gap_over_active * (world.standby.idle_w + level_w) - world.standby.idle_w, 0.01 * level_w
        )

    def _play(self, load_w: Power) -> None:
        factor, extra_w = self.after.play(load_w)
        rest_w = self.rest.power_w(self.cells, len(load_w), CELL_S)
        self.power.append(load_w * factor + extra_w + rest_w)
        self.without.append(rest_w)
        self.cells += len(load_w)

    def work(self, seconds: float, share: float = 1.0) -> tuple[int, int]:
        begin = self.cells
        self._play(np.full(round(seconds / CELL_S), share * self.world.load.dynamic_w))
        self.held_s = self.world.load.hold_s
        return begin, self.cells

    def idle(self, seconds: float) -> tuple[int, int]:
        begin = self.cells
        load_w = np.zeros(round(seconds / CELL_S))
        load_w[: round(self.held_s / CELL_S)] = self.gap_w
        self.held_s = max(self.held_s - seconds, 0.0)
        self._play(load_w)
        return begin, self.cells

    def settle(self, least_s: float, most_s: float = 30.0) -> None:
        """Until the gap's power has been left for the two seconds that the judge sees, and what is above rest is below
        5 % of it."""
        self.idle(least_s)
        waited = least_s
        quiet_s = least_s - min(self.world.load.hold_s, least_s)
        while waited < most_s:
            recent = float(np.median(self.power[-1][-20:] - self.without[-1][-20:]))
            if quiet_s >= min(2.0, least_s) and recent < 0.05 * self.world.standby.idle_w:
                return
            quiet_s += 0.25 if self.held_s <= 0 else 0.0
            self.idle(0.25)
            waited += 0.25


def play(world: World, *, starts: int, measure_s: float, standby_s: float, settle_s: float) -> Played:
    p, spin = Player(world), world.load.spin_factor / 2
    spans: list[Span] = []
    measured: list[tuple[int, int]] = []
    p.idle(1.5)
    for start in range(starts):
        p.idle(0.5)
        p.rest.process_started(p.cells * CELL_S)
        p.work(0.25)
        if start == 0:
            p.settle(settle_s)
            spans.append(_span(start, Phase.STANDBY_BEFORE, p.idle(standby_s)))
        p.work(0.8, spin)
        p.work(1.5)
        measured.append(p.work(measure_s))
        p.work(0.5)
        p.work(0.5, 0.5)
        p.work(0.8, spin)
    p.settle(settle_s)
    spans.append(_span(starts - 1, Phase.STANDBY_AFTER, p.idle(standby_s)))
    p.idle(0.5)
    edges = np.array(measured, np.int64) * CELL_NS
    code = np.full(starts, PHASE_CODE[Phase.MEASURED], np.int64)
    timeline = Timeline("host", tuple(spans), np.arange(starts), code, edges[:, 0], edges[:, 1])
    return Played(np.concatenate(p.power), np.concatenate(p.without), timeline, world.load.dynamic_w)


def _span(start: int, phase: Phase, cells: tuple[int, int]) -> Span:
    return Span(start, phase, cells[0] * CELL_NS, cells[1] * CELL_NS)


def channel(power_w: Power) -> ChannelCurve:
    edge_ns = np.arange(len(power_w) + 1, dtype=np.int64) * CELL_NS
    curve = EnergyCurve("host", edge_ns, np.r_[0.0, np.cumsum(power_w) * CELL_S], edge_ns.astype(np.float64))
    return ChannelCurve("main", curve, Reading(ReadingKind.MEAN, CELL_NS, CELL_NS), CELL_NS, len(power_w))


def in_work(timeline: Timeline, power_w: Power) -> float:
    """Mean (W) over the measured stretches."""
    stretches = zip(*timeline.rows(Phase.MEASURED), strict=True)
    return float(np.mean([power_w[a // CELL_NS : b // CELL_NS].mean() for a, b in stretches]))


def said(found: Standby, timeline: Timeline) -> tuple[float, float]:
    """Standby in the measured stretches (W): of the course, and of the straight line through plain means."""
    begin, end = timeline.rows(Phase.MEASURED)
    middle = (begin + end) / 2
    line = Standby(found.brackets)
    return float(found.at(middle).mean()), float(line.at(middle).mean())


def table(name: str, error: Power) -> str:
    spread = error.std() / max(len(error), 1) ** 0.5
    return (
        f"  {name:24s} mean {error.mean():+.3f} +- {spread:.3f}   median |.| {np.median(np.abs(error)):.3f}   "
        f"rms {np.sqrt(np.mean(error**2)):.3f}   95 % below {np.quantile(np.abs(error), 0.95):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--drift", type=float, default=0.0, help="of the dynamic power, over the run, either sign")
    parser.add_argument("--jump", type=float, default=0.0, help="the same, at once, between the brackets")
    parser.add_argument("--calm", action="store_true", help="warmth and the room alone, no daemons")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--measure-s", type=float, default=5.0)
    parser.add_argument("--standby-s", type=float, default=10.0)
    parser.add_argument("--settle-s", type=float, default=2.0)
    told = parser.parse_args()
    rows = []
    for seed in range(told.seed, told.seed + told.worlds):
        world = draw(seed)
        if told.calm:
            world = dataclasses.replace(world, standby=dataclasses.replace(world.standby, **CALM))
        if world.heat.fan_w or world.heat.throttle_drop:  # faults
            continue
        rng = np.random.default_rng([seed, 77])
        sign = int(rng.choice([-1, 1]))
        run = play(
            world, starts=told.starts, measure_s=told.measure_s, standby_s=told.standby_s, settle_s=told.settle_s
        )
        t = np.arange(len(run.power_w)) / len(run.power_w)
        first, last = (run.timeline.spans_of(p)[0] for p in (Phase.STANDBY_BEFORE, Phase.STANDBY_AFTER))
        jump_at = rng.uniform(first.end_ns, last.begin_ns) / CELL_NS / len(t)
        added = sign * run.dynamic_w * (told.drift * t + told.jump * (t > jump_at))
        found = find_standby(channel(run.power_w + added), run.timeline, 0)
        if found.course is None:
            raise SystemExit(f"world {seed}: no course ({found.problem or 'brackets too short'})")
        truth = in_work(run.timeline, run.rest_w + added)
        percent = 100 / run.dynamic_w
        by_course, by_line = said(found, run.timeline)
        twin = find_standby(channel(run.power_w), run.timeline, 0)  # the same run without drift and jump
        twin_u = float(np.hypot(twin.course.u_w if twin.course else np.inf, twin.u_scatter_w))
        far = abs(by_course - said(twin, run.timeline)[0]) > 3 * twin_u
        flags = standby_flags(found, run.dynamic_w)
        rows.append((
            sign, (truth - by_course) * percent, (truth - by_line) * percent, found.course.u_w * percent,
            float(np.hypot(found.course.u_w, found.u_scatter_w)) * percent, bool(standby_moved(found, run.dynamic_w)),
            flags["standby_drift"], flags["standby_not_equivalent"], far,
        ))  # fmt: skip
    columns = (np.array(c) for c in zip(*rows, strict=True))
    signs, course, line, drift_u, u, refused, drifting, unknown, moved = columns
    print(f"{len(rows)} worlds without fan or throttling; error of dynamic power in percent of it")
    for name, error in (("straight line", line), ("course", course)):
        print(table(name, error))
        for s, word in ((1, "up"), (-1, "down")):
            print(table(f"  drift {word}", error[signs == s]))
    wide = float(np.mean(np.abs(course) > 2 * u))
    print(f"  u: median {np.median(u):.3f} (of what moved {np.median(drift_u):.3f}); error > 2 u: {wide:.1%}")
    shares = f"standby_drift {np.mean(drifting):.1%}, not equivalent {np.mean(unknown):.1%}"
    print(f"  refused {np.mean(refused):.1%}, {shares}")
    if told.jump and moved.any():
        caught = np.mean((refused | drifting)[moved])
        print(f"  figures that the jump moved by more than 3 u: {moved.sum()}, refused or flagged: {caught:.1%}")


if __name__ == "__main__":
    main()
