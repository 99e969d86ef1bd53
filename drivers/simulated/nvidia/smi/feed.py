"""nvidia-smi in virtual time: the lines that the simulated program prints, and when each arrives at its reader."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.simulated.nvidia.smi.document import xml
from drivers.simulated.nvidia.smi.fields import help_text
from drivers.simulated.nvidia.smi.program import options_of
from drivers.simulated.nvidia.smi.query import Query, driver_of, looks
from drivers.simulated.nvidia.state import SharedState
from harness.boards.state.files import LocalFiles
from harness.core.ports import RawSamples
from harness.core.waiting import NS_PER_S, WaitClock

ASKED = "agent:nvidia_smi "
Row = tuple[int, bytes | int]
"""Arrival (ns) of a line without its newline, or an errno."""


@dataclass(frozen=True)
class Pace:
    """`first_s`: before the first line; `pass_s`: what one pass takes, in which the loop is late each time; `late_s`:
    scale of a random delay on top; `good`: passes before its loop mode breaks, 0: never."""

    first_s: float = 0.08
    pass_s: float = 0.004
    late_s: float = 0.0008
    good: int = 0


class ProgramFiles(LocalFiles):
    """A board's files, whose nvidia-smi is asked without a process."""

    def __init__(self, shared: SharedState) -> None:
        super().__init__()
        self._shared = shared

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        asked = [pattern for pattern in patterns if pattern.startswith(ASKED)]
        found = dict(super().read([pattern for pattern in patterns if pattern not in asked]))
        for question in asked:
            found[question] = self._answer(question.removeprefix(ASKED).split()[0]).encode("ascii")
        return found

    def _answer(self, what: str) -> str:
        state = self._shared.now
        if what == "fields":
            return help_text(driver_of(state))
        seen = looks(self._shared, "", state.now_us * 1e-6)
        if not seen:
            return "No devices were found\n"
        version = bytes(state.driver_version).decode("ascii")
        return xml(seen, driver_version=version, cuda_version=int(state.cuda_version), stamp="")


def lines(
    shared: SharedState,
    command: Sequence[str],
    clock: WaitClock,
    *,
    end_ns: int,
    pace: Pace | None = None,
    seed: int = 1,
) -> Iterator[Row]:
    """What one process of `command` prints from now to `end_ns`; the machine moves with the clock."""
    pace, rng = pace or Pace(), random.Random(seed)
    options = options_of(command[1:])
    query = Query.of(options.query_gpu, options.format, driver_of(shared.now))
    every_s = options.loop_ms / 1000
    due_ns = clock.now_ns() + round(pace.first_s * NS_PER_S)
    count = 0
    while due_ns < end_ns:
        clock.sleep_until(due_ns)
        count += 1
        seen = looks(shared, options.id, shared.now.now_us * 1e-6)
        printed = query.rows(seen, broken=0 < pace.good < count)
        if count == 1 and query.headed:
            printed.insert(0, query.header())
        arrival_ns = due_ns + round((0.0003 + rng.expovariate(1 / 0.0002)) * NS_PER_S)
        yield from ((arrival_ns + k * 2_000, line.encode("ascii")) for k, line in enumerate(printed))
        due_ns += round((every_s + pace.pass_s + rng.expovariate(1 / pace.late_s)) * NS_PER_S)


def samples(
    rows: Sequence[Row], move: Callable[[np.ndarray], np.ndarray], *, take_s: float = 1.7
) -> Iterator[RawSamples]:
    """Rows as a sampler hands them over, a piece every `take_s`, stamped by the board's clock (`move`)."""
    part: list[Row] = []
    for row in rows:
        if part and row[0] - part[0][0] > take_s * NS_PER_S:
            yield _raw(part, move)
            part = []
        part.append(row)
    if part:
        yield _raw(part, move)


def _raw(part: Sequence[Row], move: Callable[[np.ndarray], np.ndarray]) -> RawSamples:
    t_ns = move(np.array([t for t, _ in part], np.int64))
    return RawSamples(t_ns, t_ns.copy(), tuple((value,) for _, value in part))
