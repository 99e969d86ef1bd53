"""What a fault trial is: a simulated meter is shown a known power, something goes wrong, and the shipped code copes.

A meter's author says only how to play the fault. What came of it is judged by harness.testing.fault_matrix, for all
meters alike, by the shipped analysis: nobody grades his own work. Trials are found by the entry point
`joulebench.faults`: a callable without arguments that gives a sequence of FaultTrial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.ports import Meter
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import VirtualClock

BEGIN_NS = 1_000_000_000_000
"""Virtual host time at which a scene begins: simulated clocks of a trial stand here at t_s = 0."""
STEP_NS = 20_000_000
"""How often a recorded meter is read."""


@dataclass(frozen=True)
class Scene:
    """The true power that a meter under trial sees: standby, work, standby, with sharp edges.

    Time `t_s` is seconds since BEGIN_NS on the host's clock. `scale` stretches the scene for slow meters.
    A trial records from t_s = 0 to `duration_s`; a meter that answers late is read on for as long as it needs.
    """

    scale: float = 1.0
    idle_w: float = 2.0
    busy_w: float = 5.0
    supply_v: float = 5.0

    @property
    def edges_s(self) -> tuple[float, float]:
        """When the work begins and ends."""
        return 6.0 * self.scale, 18.0 * self.scale

    @property
    def duration_s(self) -> float:
        return 24.0 * self.scale

    def power_w(self, t_s: FloatArray) -> FloatArray:
        """True power at times (K,), W."""
        begin, end = self.edges_s
        return np.where((t_s >= begin) & (t_s < end), self.busy_w, self.idle_w)

    def energy_j(self, t_s: FloatArray) -> FloatArray:
        """True energy drawn between 0 and times (K,), J; exact: a difference is a window's mean power x length."""
        begin, end = self.edges_s
        busy_s = np.clip(np.asarray(t_s, np.float64) - begin, 0.0, end - begin)
        return np.asarray(self.idle_w * np.asarray(t_s) + (self.busy_w - self.idle_w) * busy_s, np.float64)


@dataclass(frozen=True)
class Recorded:
    """What the shipped driver handed on in a trial. `channel`: the one that saw the scene's power.

    `pings`: int64 (K, 3) as AgentSession.ping, for a meter stamped on a board's clock; None: that clock is the host's.
    """

    info: MeterInfo
    blocks: Sequence[Block]
    channel: str
    pings: Int64Array | None = None


def record_scene(meter: Meter, clock: VirtualClock, scene: Scene, channel: str) -> Recorded:
    """Open `meter`, wait for the scene, read it every STEP_NS to its end, and close it, whatever happens.

    For a meter that streams by itself. Its errors go through.
    """
    blocks: list[Block | None] = []
    end_ns = BEGIN_NS + round(scene.duration_s * 1e9)
    try:
        info = meter.open()
        clock.sleep_until(BEGIN_NS - STEP_NS)
        meter.start()
        while (now_ns := clock.now_ns()) < end_ns + 5 * STEP_NS:
            clock.sleep_until(now_ns + STEP_NS)
            blocks.append(meter.step(clock.now_ns()))
        blocks.append(meter.stop())
        return Recorded(info, [block for block in blocks if block is not None], channel)
    finally:
        meter.close()


@dataclass(frozen=True)
class FaultTrial:
    """One fault of one meter. `play` drives the shipped driver on its wire simulator in virtual time and returns what
    it recorded, or lets the driver's own error (a BenchError) through.

    `constant_scale`: the fault scales every reading alike from the first to the last, so that no single meter could
    notice; nothing else may come out as `unobservable`. `within_stated`: the limits that the meter states are there for
    this very thing (a supply that sags within its declared tolerance), so it may use them up. `load_factor`: how many
    times the usual power the scene has, for meters of large loads whose zero would drown 2 W.
    """

    meter: str
    fault: str
    what: str
    play: Callable[[Scene], Recorded]
    scale: float = 1.0
    constant_scale: bool = False
    within_stated: bool = False
    load_factor: float = 1.0

    @property
    def scene(self) -> Scene:
        """What the meter sees."""
        usual = Scene()
        return Scene(self.scale, usual.idle_w * self.load_factor, usual.busy_w * self.load_factor)
