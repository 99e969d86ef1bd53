"""A simulated machine in virtual time, and the shipped driver `nvml` on it: here, and through a board's sampler."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from drivers.nvidia.nvml_meter import open_meter
from drivers.nvidia.nvml_onboard import open_on_board
from drivers.simulated.nvidia.machine import DRIVER, GpuSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Energy, Errors
from harness.boards.agent.nvml_source import NvmlReader
from harness.boards.state.files import LocalFiles
from harness.core.ports import MeterRequest, SamplerPlan
from harness.core.sampling import RawSamples
from harness.core.trace import Block
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.faults import BEGIN_NS, Recorded, Scene

EPOCH_S = 1_790_000_000.0  # wall-clock time at which a scene begins
UPDATE_NS = 4_000_000
OTHERS = 0.4  # of the scene's power: what GPUs draw that are not looked at
NOISE_MW = 500.0
AHEAD_NS = 7_000_000_000_000
DRIFT_PPM = 30
Act = Callable[["Bench"], None]


@dataclass(frozen=True)
class Gpu:
    """A GPU of the bench. `more`: what else `GpuSpec` takes; `share`: of the scene's power."""

    product: str = "a100"
    errors: Errors = field(default_factory=lambda: Errors(noise_mw=NOISE_MW))
    share: float = 1.0
    more: dict[str, Any] = field(default_factory=dict)


def scene_energy(scene: Scene, share: float = 1.0) -> Energy:
    """The scene's energy as a GPU's, in plain numbers: it is asked for thousands of times."""
    begin, end = scene.edges_s

    def energy_j(t_s: float) -> float:
        busy_s = min(max(t_s - begin, 0.0), end - begin)
        return share * (scene.idle_w * t_s + (scene.busy_w - scene.idle_w) * busy_s)

    return energy_j


class Bench:
    """A machine whose GPU `gpu0` draws the scene's power, unless the GPUs' shares say otherwise.

    `events` happen at shares of the work (0: its begin, 1: its end). `channel`: the one that is judged.
    """

    def __init__(
        self,
        scene: Scene,
        gpus: Sequence[Gpu] = (Gpu(),),
        *,
        channel: str = "gpu0/power",
        also: Sequence[str] = (),
        options: dict[str, str | int | float] | None = None,
        events: Sequence[tuple[float, Act]] = (),
        driver: str = DRIVER,
        seed: int = 1,
    ) -> None:
        self.scene, self.channel = scene, channel
        self.clock = VirtualClock(BEGIN_NS)
        self.cleared = ExitStack()
        self.root = Path(self.cleared.enter_context(tempfile.TemporaryDirectory(prefix="joulebench-gpus-")))
        specs = [GpuSpec(g.product, scene_energy(scene, g.share), g.errors, **g.more) for g in gpus]
        self.machine = NvidiaMachine(self.root, specs, seed=seed, driver_version=driver, epoch_s=EPOCH_S)
        self.machine.state.smi_first_ms = 0
        self.cleared.callback(self.machine.close)
        begin, end = scene.edges_s
        self._events = sorted((begin + share * (end - begin), k, act) for k, (share, act) in enumerate(events))
        self.options = dict(options or {})
        self.rails = tuple((name, name) for name in (channel, *also))
        self.clock.subscribe(self._move, period_ns=UPDATE_NS)

    @property
    def t_s(self) -> float:
        return (self.clock.now_ns() - BEGIN_NS) / NS_PER_S

    def at_ns(self, share: float) -> int:
        """Host time at a share of the work."""
        begin, end = self.scene.edges_s
        return BEGIN_NS + round((begin + share * (end - begin)) * NS_PER_S)

    @property
    def end_ns(self) -> int:
        return BEGIN_NS + round(self.scene.duration_s * NS_PER_S)

    def _move(self, now_ns: int) -> None:
        t_s = (now_ns - BEGIN_NS) / NS_PER_S
        self.machine.advance(t_s)
        while self._events and self._events[0][0] <= t_s:
            self._events.pop(0)[2](self)

    def request(self, **more: Any) -> MeterRequest:
        return MeterRequest("trial", options={**self.options, **more}, rails=self.rails,
                            nvml_library=self.machine.library, simulated=True)  # fmt: skip

    def record(self, *, stall: tuple[float, float] | None = None) -> Recorded:
        """Poll through the scene; nobody runs the driver between the two shares of the work of `stall`."""
        with self.cleared:
            meter = open_meter(self.request(), clock=self.clock)
            blocks: list[Block | None] = []
            try:
                info = meter.open()
                meter.start()
                if stall is not None:
                    blocks.append(meter.step(self.at_ns(stall[0])))
                    self.clock.sleep_until(self.at_ns(stall[1]))
                while self.clock.now_ns() < self.end_ns:
                    blocks.append(meter.step(min(self.end_ns, self.clock.now_ns() + NS_PER_S)))
                blocks.append(meter.stop())
            finally:
                meter.close()
            return Recorded(info, [b for b in blocks if b is not None], self.channel)

    def on_board(self, spoil: Callable[[Bench, int, bytes], bytes | int] | None = None) -> Recorded:
        """The same machine sampled by a board's agent (its own reader of the library), whose clock runs ahead and fast.

        `spoil(bench, k, data)` makes an entry of what pass k read.
        """
        with self.cleared:
            meter = open_on_board(self.request())
            info, plan = meter.prepare(LocalFiles(), clock="board:trial")
            here, rows = self._sampled(plan, spoil or (lambda bench, k, data: data))
            there = on_the_board(here)
            blocks: list[Block | None] = []
            for part in np.array_split(np.arange(len(rows)), 5):
                data = tuple(rows[int(k)] for k in part)
                blocks.append(meter.decode(RawSamples(there[part], there[part] + 30_000, data)))
            blocks.append(meter.finish())
            return Recorded(info, [b for b in blocks if b is not None], self.channel, pings(here))

    def _sampled(
        self, plan: SamplerPlan, spoil: Callable[[Bench, int, bytes], bytes | int]
    ) -> tuple[np.ndarray, list[tuple[bytes | int, ...]]]:
        reader = NvmlReader(plan.nvml_library, plan.nvml)
        here: list[int] = []
        rows: list[tuple[bytes | int, ...]] = []
        try:
            for k in range(round(self.scene.duration_s / plan.period_s)):
                self.clock.sleep_until(BEGIN_NS + round(k * plan.period_s * NS_PER_S))
                here.append(self.clock.now_ns())
                rows.append(tuple(spoil(self, k, reader.read(i)) for i in range(len(plan.nvml))))
        finally:
            reader.close()
        return np.array(here, np.int64), rows


def on_the_board(host_ns: np.ndarray) -> np.ndarray:
    """Host times (K,) as the board's clock has them."""
    there: np.ndarray = host_ns + AHEAD_NS + (host_ns - BEGIN_NS) * DRIFT_PPM // 1_000_000
    return there


def pings(here: Sequence[int] | np.ndarray) -> np.ndarray:
    """int64 (40, 3) as AgentSession.ping, over the host times of a recording."""
    some = np.linspace(int(here[0]), int(here[-1]), 40).astype(np.int64)
    return np.stack([some - 40_000, on_the_board(some), some + 40_000], axis=1)
