"""Boards with INA chips for the tests beside it: built, prepared and fed in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.ina2xx.onboard import OnBoardIna, open_on_board
from drivers.simulated.ina2xx.board import FakeBoard
from drivers.simulated.ina2xx.feeder import feed
from drivers.simulated.ina2xx.fronts import EnergyFront, HeldFront
from drivers.simulated.ina2xx.layouts import Layout, build
from harness.core.ports import MeterRequest, SamplerPlan
from harness.core.trace import MeterInfo, Trace, join_blocks

ROOT = Path("/simulated")
BEGIN_NS = 1_000_000_000_000
CLOCK = "board:pi"


def request(*channels: str, **options: str | float) -> MeterRequest:
    named = {name.replace("__", ":"): value for name, value in options.items()}
    return MeterRequest("ina", named, tuple((c, c) for c in channels), sysfs_root=ROOT, simulated=True)


@dataclass
class Bench:
    """A board whose rails draw `power_w` each at `supply_v`, and the shipped driver."""

    board: FakeBoard
    meter: OnBoardIna
    info: MeterInfo
    plan: SamplerPlan

    def record(self, seconds: float) -> Trace:
        end_ns = BEGIN_NS + round(seconds * 1e9)
        found = [
            self.meter.decode(samples) for samples in feed(self.board, self.plan, begin_ns=BEGIN_NS, end_ns=end_ns)
        ]
        found.append(self.meter.finish())
        return join_blocks(self.info, [block for block in found if block is not None])


def held(
    layout: str | Layout,
    *channels: str,
    current_a: float = 0.5,
    voltage_v: float = 5.0,
    first_number: int = 2,
    **options: str | float,
) -> Bench:
    """A steady load, every register as exact as its bits."""
    board = build(layout, ROOT, front_of=lambda label: HeldFront(current_a, voltage_v), first_number=first_number)
    return prepared(board, *channels, **options)


def prepared(board: FakeBoard, *channels: str, **options: str | float) -> Bench:
    meter = open_on_board(request(*channels, **options))
    info, plan = meter.prepare(board, clock=CLOCK)
    return Bench(board, meter, info, plan)


def drawing(layout: str | Layout, energy_j: Callable[..., object], *channels: str, **options: str | float) -> Bench:
    """Rails that draw `energy_j(t_s)`, t_s since BEGIN_NS."""
    board = build(
        layout, ROOT, front_of=lambda label: EnergyFront(energy_j, BEGIN_NS), now_ns=BEGIN_NS  # type: ignore[arg-type]
    )  # fmt: skip
    return prepared(board, *channels, **options)


@pytest.fixture
def make_held() -> Callable[..., Bench]:
    return held


@pytest.fixture
def make_drawing() -> Callable[..., Bench]:
    return drawing


@pytest.fixture
def make_prepared() -> Callable[..., Bench]:
    return prepared
