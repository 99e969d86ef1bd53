"""A Monsoon on a simulated cable in virtual time, for the tests of its driver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drivers.monsoon.meter import Monsoon, open_meter
from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmFaults, HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.ports import MeterRequest
from harness.core.trace import Block, MeterInfo, Trace, join_blocks
from harness.core.waiting import VirtualClock

MS = 1_000_000
ROOT = Path(__file__).parents[3]


@dataclass
class WireBench:
    """Clock, unit, backend and the shipped meter on it."""

    clock: VirtualClock
    device: HvpmDevice
    backend: InProcessUsbBackend
    meter: Monsoon
    blocks: list[Block] = field(default_factory=list)
    info: MeterInfo | None = None

    def begin(self) -> None:
        self.info = self.meter.open()
        self.meter.start()

    def run(self, seconds: float, *, every_ms: int = 20) -> None:
        """Let time pass and step the meter on the way."""
        end_ns = self.clock.now_ns() + round(seconds * 1e9)
        while self.clock.now_ns() < end_ns:
            self.clock.sleep_until(min(end_ns, self.clock.now_ns() + every_ms * MS))
            self._keep(self.meter.step(self.clock.now_ns()))

    def finish(self) -> Trace:
        self._keep(self.meter.stop())
        self.meter.close()
        return self.trace()

    def trace(self) -> Trace:
        assert self.info is not None
        return join_blocks(self.info, self.blocks)

    def _keep(self, block: Block | None) -> None:
        if block is not None:
            self.blocks.append(block)


@pytest.fixture
def bench() -> Iterator[Callable[..., WireBench]]:
    """`bench(current_a=..., voltage_v=..., unit=..., faults=..., options=..., **device)` builds one."""
    made: list[WireBench] = []

    def build(
        *,
        current_a: Any = 0.5,
        voltage_v: Any = 5.0,
        rate_ppm: float = 0.0,
        unit: HvpmUnit | None = None,
        faults: HvpmFaults | None = None,
        options: dict[str, str | int | float] | None = None,
        **device: Any,
    ) -> WireBench:
        clock = VirtualClock()
        source = FunctionSource(current_a, voltage_v, begin_ns=clock.now_ns(), rate_ppm=rate_ppm)
        hvpm = HvpmDevice(source, now_ns=clock.now_ns, unit=unit, faults=faults, **device)
        backend = InProcessUsbBackend([hvpm])
        request = MeterRequest("supply", options=options or {}, usb_backend=backend, simulated=True)
        made.append(WireBench(clock, hvpm, backend, open_meter(request, clock=clock)))
        return made[-1]

    yield build
    for one in made:
        one.meter.close()


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A unit in another process; the parameter is its current."""
    path = tmp_path / "usb"
    argv = [sys.executable, "-m", "tests.drivers.monsoon.serve_unit", str(path), str(request.param)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield path
        process.stdin.close()
        process.wait(timeout=10)
