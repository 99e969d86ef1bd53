"""A simulated instrument at the end of the shipped driver's line, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from drivers.simulated.visa import Front, FunctionElectrical, Instrument, opener, simulator
from drivers.visa.meter import VisaMeter, open_meter
from harness.core.ports import MeterRequest
from harness.core.trace import Block, MeterInfo, Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.io.visa_line import LineSettings, OpenLine, VisaLine
from harness.testing.faults import BEGIN_NS, Scene

VOLTS = 230.0


@dataclass
class Bench:
    """`sim` sees `scene` at 230 V, power factor 0.9, with some noise and no other errors."""

    sim: Instrument
    clock: VirtualClock
    scene: Scene
    instrument: str
    wire: list[tuple[str, bytes]] = field(default_factory=list)
    spoil: Callable[[bytes], bytes | None] | None = None
    line: OpenLine | None = None

    def meter(self, rails: tuple[tuple[str, str], ...] = (), **options: str | int | float) -> VisaMeter:
        given: dict[str, str | int | float] = {"resource": "TCPIP0::10.0.0.9::inst0::INSTR"}
        if "description" not in options:
            given["instrument"] = self.instrument
        request = MeterRequest(
            "wall",
            given | options,
            rails=rails,
            visa=self.line or opener(self.sim, self.clock, spoil=self.spoil),
            simulated=True,
            tap=lambda way, data: self.wire.append((way, data)),
        )
        return open_meter(request, clock=self.clock)

    def sent(self) -> list[str]:
        return [data.decode().strip() for way, data in self.wire if way == "out"]

    def read(
        self, meter: VisaMeter, seconds: float, *, at: dict[float, Callable[[], object]] | None = None
    ) -> tuple[MeterInfo, Trace]:
        """Open, read for so long while `at` (seconds after the start -> what happens then), close."""
        info = meter.open()
        meter.start()
        begin_ns = self.clock.now_ns()
        todo = sorted((at or {}).items())
        blocks: list[Block | None] = []
        for k in range(round(seconds / 0.1)):
            while todo and todo[0][0] <= k * 0.1:
                todo.pop(0)[1]()
            blocks.append(meter.step(begin_ns + round((k + 1) * 0.1 * NS_PER_S)))
        blocks.append(meter.stop())
        meter.close()
        return info, join_blocks(info, [block for block in blocks if block is not None])

    def true_mean_w(self, t_ns: Any, window_s: float) -> Any:
        t_s = (np.asarray(t_ns) - BEGIN_NS) * 1e-9
        return (self.scene.energy_j(t_s) - self.scene.energy_j(t_s - window_s)) / window_s


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """`bench("wt310")`: a bench with that simulator and the description of the same name."""

    def make(name: str, *, instrument: str = "", scene: Scene | None = None, **more: Any) -> Bench:
        scene = scene or Scene(scale=2.0, idle_w=20.0, busy_w=50.0)
        source = FunctionElectrical(scene.energy_j, lambda t_s: np.full(len(t_s), VOLTS), BEGIN_NS, 0.9, 50.0)
        sim = simulator(name, source, begin_ns=BEGIN_NS, front=Front(source, noise_rel=1e-3), **more)
        return Bench(sim, VirtualClock(BEGIN_NS), scene, instrument or name)

    return make


class Scripted:
    """A line that answers as somebody wrote down: query -> answers in turn, the last one for ever; else silence."""

    def __init__(self, answers: dict[str, list[bytes]], clock: VirtualClock) -> None:
        self._answers = {query: list(given) for query, given in answers.items()}
        self._clock = clock
        self._waiting: list[bytes] = []

    def __call__(self, resource: str, settings: LineSettings) -> VisaLine:
        return self

    def write(self, message: str) -> None:
        self._clock.sleep_until(self._clock.now_ns() + 1_000_000)
        given = self._answers.get(message)
        if given:
            self._waiting.append(given.pop(0) if len(given) > 1 else given[0])

    def read(self, timeout_s: float | None = None) -> bytes:
        from harness.core.errors import TransientError

        if not self._waiting:
            raise TransientError("no response came")
        return self._waiting.pop(0)

    def drain(self) -> int:
        count = sum(map(len, self._waiting))
        self._waiting.clear()
        return count

    def close(self) -> None:
        self._waiting.clear()


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted
