"""On-board meters in the conformance suite: a sampler in this process, in virtual time, and a Meter around it.

On a board the agent's sampler reads and the driver's half here decodes. `as_subject` puts the shipped `OnBoardMeter`
behind the protocol of a polled meter, so that the very checks of other meters hold for it; `sampled` feeds one for a
stretch of time and gives its blocks, which is what a fault trial needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.core.clock import HOST
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, OnBoardMeter
from harness.core.sampling import RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, WaitClock
from harness.testing.conformance import Subject

PAGE = 4096
Answers = Callable[[SamplerPlan, int], tuple[bytes | int, ...] | None]


def read_files(plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...]:
    """One pass over the files and registers of a plan, as they are on disk: bytes, or the errno of a failed read."""
    places = [(path, 0, PAGE) for path in plan.files] + list(plan.registers)
    return tuple(_read(path, offset, size) for path, offset, size in places)


def _read(path: str, offset: int, size: int) -> bytes | int:
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            return os.pread(fd, size, offset)
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno or 0


@dataclass(frozen=True)
class OnBoardSubject:
    """A driver's on-board half under test. `make` gives a new one; `files` are the board's.

    `answers(plan, now_ns)`: what one pass, one line or one run of the command gives at that time; None for no line yet.
    `line_s`: how often a command that goes on prints a line. The rest as in `Subject`.
    """

    make: Callable[[], OnBoardMeter]
    files: BoardFiles
    clock: WaitClock
    answers: Answers = read_files
    line_s: float = 0.1
    acquire_s: float = 0.5
    move: Callable[[], None] = lambda: None


def as_subject(subject: OnBoardSubject) -> Subject:
    """The on-board meter as one that the conformance suite can open, step and stop."""
    return Subject(lambda: SampledMeter(subject), subject.clock, subject.acquire_s, subject.move)


class SampledMeter:
    """PolledMeter over an OnBoardMeter and a sampler in this process; on the host's clock."""

    def __init__(self, subject: OnBoardSubject) -> None:
        self._subject, self._clock = subject, subject.clock
        self._driver = subject.make()
        self._plan: SamplerPlan | None = None
        self._due_ns: int | None = None
        self.poll_s = 0.02
        self.recovered = False

    def open(self) -> MeterInfo:
        info, self._plan = self._driver.prepare(self._subject.files, clock=HOST)
        self.poll_s = beat_s(self._plan, line_s=self._subject.line_s)
        self._due_ns = None
        return info

    def start(self) -> None:
        if self._plan is None:
            self._driver.decode(EMPTY)  # says itself that it is not prepared
            raise DeviceError("the meter is not open", hint="call open() first")
        self._due_ns = self._clock.now_ns()

    def step(self, until_ns: int) -> Block | None:
        """All passes that are due until `until_ns`."""
        passes: list[tuple[int, int, tuple[bytes | int, ...]]] = []
        while self._plan is not None and self._due_ns is not None and self._due_ns <= until_ns:
            self._clock.sleep_until(self._due_ns)
            begin_ns = self._clock.now_ns()
            data = self._subject.answers(self._plan, begin_ns)
            if data is not None:
                passes.append((begin_ns, self._clock.now_ns(), data))
            self._due_ns += round(self.poll_s * NS_PER_S)
        return self._driver.decode(raw_samples(passes)) if passes else None

    def stop(self) -> Block | None:
        if self._due_ns is None:
            return None
        self._due_ns = None
        return self._driver.finish()

    def close(self) -> None:
        """The next opening finds a driver that has seen nothing, as it is on a board."""
        if self._plan is not None:
            self._driver, self._plan, self._due_ns = self._subject.make(), None, None


EMPTY = RawSamples(np.empty(0, np.int64), np.empty(0, np.int64), ())


def beat_s(plan: SamplerPlan, *, line_s: float) -> float:
    """How often the sampler of `plan` has something."""
    if plan.command:
        return plan.repeat_s or line_s
    return plan.period_s


def raw_samples(passes: list[tuple[int, int, tuple[bytes | int, ...]]]) -> RawSamples:
    """(begin_ns, end_ns, data) of passes in order, as a sampler hands them on."""
    return RawSamples(
        np.array([p[0] for p in passes], np.int64),
        np.array([p[1] for p in passes], np.int64),
        tuple(p[2] for p in passes),
    )


def sampled(subject: OnBoardSubject, *, until_ns: int, step_s: float = 0.5) -> tuple[MeterInfo, list[Block]]:
    """Open, sample until host time `until_ns`, stop: the info and all blocks."""
    meter = SampledMeter(subject)
    info = meter.open()
    meter.start()
    blocks = [*_steps(subject, meter, until_ns, round(step_s * NS_PER_S)), meter.stop()]
    meter.close()
    return info, [block for block in blocks if block is not None]


def _steps(subject: OnBoardSubject, meter: SampledMeter, until_ns: int, step_ns: int) -> Iterator[Block | None]:
    while (now_ns := subject.clock.now_ns()) < until_ns:
        subject.move()
        end_ns = min(until_ns, now_ns + step_ns)
        block = meter.step(end_ns)
        subject.clock.sleep_until(end_ns)
        yield block
