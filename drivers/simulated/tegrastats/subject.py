"""tegrastats for the conformance suite: a Jetson that draws 5 to 6 W (`joulebench.subjects`)."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.simulated.tegrastats import PROFILES, simulator
from drivers.simulated.tegrastats.chips import Chips
from drivers.tegrastats.onboard import open_on_board
from harness.boards.state.files import LocalFiles
from harness.core.ports import MeterRequest, SamplerPlan
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.on_board import OnBoardSubject


def _energy_j(t_s: float) -> float:
    return 5.5 * t_s - 0.5 * math.cos(t_s)


@contextmanager
def subject(profile: str = "orin-nano-jp6") -> Iterator[OnBoardSubject]:
    """All rails of a profile (a key of PROFILES), in virtual time."""
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    printed = PROFILES[profile]
    chips = Chips(_energy_j, printed.rails)

    def answers(plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...]:
        now = chips.read_mw((now_ns - begin_ns) / NS_PER_S)
        return (printed.line(now, now, "09-27-2026 02:30:00").encode("ascii"),)

    with tempfile.TemporaryDirectory(prefix="joulebench-tegrastats-") as folder:
        tree = simulator(Path(folder), profile)
        request = MeterRequest("jetson", sysfs_root=tree.root, simulated=True)
        yield OnBoardSubject(lambda: open_on_board(request), LocalFiles(), clock, answers, acquire_s=1.0)
