"""INA monitors for the conformance suite: a board whose chips see 2 to 3 W (`joulebench.subjects`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.ina2xx.onboard import open_on_board
from drivers.simulated.ina2xx.fronts import EnergyFront
from drivers.simulated.ina2xx.layouts import build
from harness.core.clock import FloatArray
from harness.core.ports import MeterRequest, SamplerPlan
from harness.core.waiting import VirtualClock
from harness.testing.on_board import OnBoardSubject

ROOT = Path("/simulated")
POWER_W = 2.5


def _energy_j(t_s: FloatArray) -> FloatArray:
    return POWER_W * t_s


@contextmanager
def subject(layout: str = "ina226") -> Iterator[OnBoardSubject]:
    """All channels of the board `layout` (a key of LAYOUTS), in virtual time."""
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    board = build(layout, ROOT, front_of=lambda label: EnergyFront(_energy_j, begin_ns), now_ns=begin_ns)

    def answers(plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...]:
        return tuple(board.get(path, now_ns) for path in plan.files)

    yield OnBoardSubject(
        make=lambda: open_on_board(MeterRequest("ina", sysfs_root=ROOT, simulated=True)),
        files=board,
        clock=clock,
        answers=answers,
        acquire_s=1.0,
    )
