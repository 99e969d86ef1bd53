"""The PMIC for the conformance suite: a Raspberry Pi 5 at 3 W (`joulebench.subjects`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.pmic.onboard import open_on_board
from drivers.simulated.pmic import simulator
from drivers.simulated.pmic.converter import Converter
from harness.boards.state.files import LocalFiles
from harness.core.ports import MeterRequest, SamplerPlan
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.on_board import OnBoardSubject


@contextmanager
def subject(fit: str = "community") -> Iterator[OnBoardSubject]:
    """All channels, in virtual time."""
    clock = VirtualClock()
    converter = Converter(lambda t_s: 3.0)

    def answers(plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...]:
        return (converter.text(now_ns / NS_PER_S).encode("ascii"),)

    with tempfile.TemporaryDirectory(prefix="joulebench-pmic-") as folder:
        tree = simulator(Path(folder))
        request = MeterRequest("pi5", {"fit": fit}, sysfs_root=tree.root, simulated=True)
        yield OnBoardSubject(lambda: open_on_board(request), LocalFiles(), clock, answers, acquire_s=1.0)
