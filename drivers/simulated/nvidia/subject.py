"""NVML and nvidia-smi for the conformance suite: a machine with two GPUs (`joulebench.subjects`)."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.nvidia.nvml_meter import open_meter
from drivers.nvidia.nvml_onboard import open_on_board
from drivers.nvidia.smi_onboard import open_on_board as open_smi
from drivers.simulated.nvidia.machine import GpuSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Errors
from drivers.simulated.nvidia.smi.feed import ProgramFiles
from drivers.simulated.nvidia.smi.program import options_of
from drivers.simulated.nvidia.smi.query import Query, driver_of, looks
from drivers.simulated.nvidia.virtual import UPDATE_NS
from harness.boards.agent.nvml_source import NvmlReader
from harness.boards.state.files import LocalFiles
from harness.core.ports import MeterRequest, SamplerPlan
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.conformance import Subject
from harness.testing.on_board import OnBoardSubject

ACQUIRE_S = 1.5


def energy_j(t_s: float) -> float:
    """150 W that swing by 50 W."""
    return 150 * t_s - 50 * math.cos(t_s)


@contextmanager
def machine(*products: str) -> Iterator[tuple[NvidiaMachine, VirtualClock]]:
    """GPUs that live in virtual time."""
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    specs = [GpuSpec(product, energy_j, Errors(noise_mw=300.0)) for product in products]
    with tempfile.TemporaryDirectory(prefix="joulebench-gpus-") as folder:
        made = NvidiaMachine(Path(folder), specs)
        made.state.smi_first_ms = 0
        clock.subscribe(lambda now_ns: made.advance((now_ns - begin_ns) / NS_PER_S), period_ns=UPDATE_NS)
        try:
            yield made, clock
        finally:
            made.close()


@contextmanager
def subject() -> Iterator[Subject]:
    """The half that polls here."""
    with machine("a100", "rtx3090") as (made, clock):
        request = MeterRequest("gpus", nvml_library=made.library, simulated=True)
        yield Subject(lambda: open_meter(request, clock=clock), clock, acquire_s=ACQUIRE_S)


@contextmanager
def on_board() -> Iterator[OnBoardSubject]:
    """The half that a board's sampler reads for."""
    with machine("a100", "rtx3090") as (made, clock):
        request = MeterRequest("gpus", nvml_library=made.library, simulated=True)
        readers: dict[SamplerPlan, NvmlReader] = {}

        def answers(plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...]:
            reader = readers.get(plan)
            if reader is None:
                reader = readers[plan] = NvmlReader(plan.nvml_library, plan.nvml)
            return tuple(reader.read(k) for k in range(len(plan.nvml)))

        try:
            yield OnBoardSubject(lambda: open_on_board(request), LocalFiles(), clock, answers, acquire_s=ACQUIRE_S)
        finally:
            for reader in readers.values():
                reader.close()


@contextmanager
def smi() -> Iterator[OnBoardSubject]:
    """nvidia-smi, whose lines a board's sampler reads."""
    with machine("a100", "rtx3090") as (made, clock):
        request = MeterRequest("gpus", {"command": str(made.program)}, simulated=True)
        running: list[_Loop] = []

        def answers(plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...] | None:
            if not running or running[-1].plan is not plan:
                running.append(_Loop(made, plan, now_ns))
            line = running[-1].line(now_ns)
            return None if line is None else (line.encode("ascii"),)

        make = lambda: open_smi(request)  # noqa: E731
        yield OnBoardSubject(make, ProgramFiles(made.shared), clock, answers, line_s=0.001, acquire_s=ACQUIRE_S)


class _Loop:
    """One process of a plan's command in its loop mode: a line a call, a pass whenever one is due."""

    def __init__(self, made: NvidiaMachine, plan: SamplerPlan, now_ns: int) -> None:
        self.plan, self._machine, self._due_ns = plan, made, now_ns
        options = options_of(plan.command[1:])
        self._wanted, self._every_ns = options.id, options.loop_ms * 1_000_000
        self._query = Query.of(options.query_gpu, options.format, driver_of(made.state))
        self._waiting = [self._query.header()]

    def line(self, now_ns: int) -> str | None:
        if now_ns >= self._due_ns:
            state = self._machine.state
            self._waiting += self._query.rows(looks(self._machine.shared, self._wanted, state.now_us * 1e-6))
            self._due_ns += self._every_ns
        return self._waiting.pop(0) if self._waiting else None
