"""What sampling on the board costs the board: the sampler on against off, in turns, so that drift cancels.

Blocks run off, on, on, off, again and again: a machine that slows down steadily slows both alike. Each turn gives one
difference; their scatter says how well the mean of them is known, and whether it can be told from nothing at all.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.errors import DeviceError
from harness.core.ports import AgentSession, RecentPower, Sampler, SamplerPlan, SamplingBoard, Step
from harness.core.timeline import Phase
from harness.core.waiting import NS_PER_S, WaitClock

TURN = ("off", "on", "on", "off")
SETTLE_S = 0.5  # after a sampler was started or ended
LEAST_TURNS = 3


@dataclass(frozen=True)
class Difference:
    """On minus off, of several turns: mean and half of its 95 % interval, and the level without the sampler.

    Unit: that of the quantity (`s` for a period, `W` for power). `resolved`: the interval excludes 0.
    """

    level: float
    difference: float
    half_width: float

    @property
    def resolved(self) -> bool:
        return abs(self.difference) > self.half_width

    @classmethod
    def of(cls, off: Sequence[float], on: Sequence[float]) -> Difference:
        """`off`, `on`: one mean a turn."""
        from scipy.stats import t

        each = np.subtract(on, off)
        half = float(t.ppf(0.975, len(each) - 1) * np.std(each, ddof=1) / math.sqrt(len(each)))
        return cls(float(np.mean(off)), float(np.mean(each)), half)


@dataclass(frozen=True)
class SamplerCost:
    """`period`: of one inference, s; `idle`: power at rest, W, or None without an independent meter.

    `cpu_share`: CPU time of the sampler's process a second; `cpu_s_per_pass`: None if it reads lines.
    """

    turns: int
    period: Difference
    idle: Difference | None
    cpu_share: float
    cpu_s_per_pass: float | None
    late_passes: int
    lost_passes: int


class CostTrial:
    """Measures one sampler plan on a board where `session` has a model loaded.

    `power`: what an independent meter says of the last seconds, polled first by `poll`; without it idle power is
    left out. `settle_s`: from the last inference until power at rest counts; longer than that meter is late.
    `progress` is called with a line before each turn.
    """

    def __init__(
        self,
        board: SamplingBoard,
        session: AgentSession,
        plan: SamplerPlan,
        clock: WaitClock,
        *,
        lease_s: float,
        power: RecentPower | None = None,
        poll: Callable[[], None] = lambda: None,
        settle_s: float = SETTLE_S,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._board, self._session, self._plan, self._clock = board, session, plan, clock
        self._lease_s, self._power, self._poll, self._progress = lease_s, power, poll, progress
        self._settle_s = settle_s
        self._cpu_s = self._wall_s = 0.0
        self._passes = self._blocks = 0
        self._counts: dict[str, int] = {}

    def run(self, turns: int, *, block_s: float) -> SamplerCost:
        """`turns` times off, on, on, off, each block `block_s` of inferences (and as long at rest, with a meter)."""
        turns = max(turns, LEAST_TURNS)
        self._period_s(block_s)  # warm
        periods: dict[str, list[float]] = {"off": [], "on": []}
        idles: dict[str, list[float]] = {"off": [], "on": []}
        for turn in range(turns):
            self._progress(f"turn {turn + 1} of {turns}")
            of_turn: dict[str, list[tuple[float, float | None]]] = {"off": [], "on": []}
            for run in _runs(TURN):
                with self._sampling() if run[0] == "on" else contextlib.nullcontext():
                    for state in run:
                        of_turn[state].append(self._block(block_s))
            for state, blocks in of_turn.items():
                periods[state].append(float(np.mean([period for period, _ in blocks])))
                idle = [power for _, power in blocks if power is not None]
                if idle:
                    idles[state].append(float(np.mean(idle)))
        return SamplerCost(
            turns=turns,
            period=Difference.of(periods["off"], periods["on"]),
            idle=Difference.of(idles["off"], idles["on"]) if self._power is not None else None,
            cpu_share=self._cpu_s / self._wall_s,
            cpu_s_per_pass=self._cpu_s / self._passes if not self._plan.command else None,
            late_passes=self._counts.get("late_passes", 0),
            lost_passes=self._counts.get("lost_passes", 0),
        )

    def _block(self, seconds: float) -> tuple[float, float | None]:
        return self._period_s(seconds), self._idle_w(seconds)

    def _period_s(self, seconds: float) -> float:
        """Mean time from one inference to the next, back-to-back."""
        self._blocks += 1
        timeline = self._session.perform([Step("infer", Phase.MEASURED, seconds=seconds)], 0, seed=self._blocks)
        begin, _ = timeline.rows(Phase.MEASURED)
        if len(begin) < 2:
            raise DeviceError(
                f"one inference alone took {seconds:g} s: a period cannot be told", hint="lengthen --seconds"
            )
        return float(begin[-1] - begin[0]) / NS_PER_S / (len(begin) - 1)

    def _idle_w(self, seconds: float) -> float | None:
        if self._power is None:
            return None
        self._clock.sleep_until(self._clock.now_ns() + int((self._settle_s + seconds) * NS_PER_S))
        self._poll()
        t_ns, power_w = self._power.recent(seconds)
        if len(power_w) < 2:
            raise DeviceError("the meter gave no power at rest", hint="look at its cable: joulebench meters list")
        return float(np.average(power_w[1:], weights=np.diff(t_ns)))  # each bin says something about the time before it

    @contextlib.contextmanager
    def _sampling(self) -> Iterator[None]:
        """The sampler runs; what it spent between its start-up and its end is added up."""
        sampler: Sampler = self._board.start_sampler(self._plan, lease_s=self._lease_s)
        try:
            self._clock.sleep_until(self._clock.now_ns() + int(SETTLE_S * NS_PER_S))
            sampler.take()
            before = sampler.cost()
            yield
            after = sampler.cost()
            samples = sampler.stop()
            self._cpu_s += after["cpu_s"] - before["cpu_s"]
            self._wall_s += after["wall_s"] - before["wall_s"]
            self._passes += len(samples.data)
            for name, count in samples.counts.items():
                self._counts[name] = self._counts.get(name, 0) + count
        finally:
            sampler.close()
            self._clock.sleep_until(self._clock.now_ns() + int(SETTLE_S * NS_PER_S))


def _runs(states: Sequence[str]) -> list[list[str]]:
    """Neighbours that are alike, together: off, on on, off."""
    found: list[list[str]] = []
    for state in states:
        if found and found[-1][0] == state:
            found[-1].append(state)
        else:
            found.append([state])
    return found
