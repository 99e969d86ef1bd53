"""One meter by itself, without a run: opened, read for a while, left in peace.

Whoever looks at a meter (reads it, watches it, tests it, captures it) does so through the same two kinds of meter that
a run records: one that this machine opens, or one that is part of a board and that the board's agent samples.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from harness.bench.board_recorder import OnBoardOpener
from harness.bench.recorder import AnyOpener
from harness.core.errors import SpecError
from harness.core.ports import Board, Meter, OnBoardMeter, RawSamples, Sampler, SamplerPlan, SamplingBoard
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, WaitClock

STEP_S = 0.25
LEASE_MARGIN_S = 30.0
PINGS = 3

OnSamples = Callable[[RawSamples], None]


class SingleMeter(Protocol):
    """A meter that is open. `device` is the driver's own object, which may be SelfTesting."""

    info: MeterInfo
    recovered: bool

    @property
    def device(self) -> Meter | OnBoardMeter: ...

    def blocks(self, seconds: float) -> Iterator[Block]: ...  # what arrives in so many seconds; stops it at the end

    def close(self) -> None: ...


class HostMeter:
    """A meter that this machine reads."""

    def __init__(self, meter: Meter, clock: WaitClock) -> None:
        self.device = meter
        self._clock = clock
        try:
            self.info = meter.open()
        except BaseException:
            meter.close()
            raise
        self.recovered = meter.recovered

    def blocks(self, seconds: float) -> Iterator[Block]:
        self.device.start()
        end_ns = self._clock.now_ns() + round(seconds * NS_PER_S)
        while (now_ns := self._clock.now_ns()) < end_ns:
            until_ns = min(end_ns, now_ns + round(STEP_S * NS_PER_S))
            block = self.device.step(until_ns)
            self._clock.sleep_until(until_ns)  # in virtual time a step does not wait
            if block is not None:
                yield block
        rest = self.device.stop()
        if rest is not None:
            yield rest

    def close(self) -> None:
        self.device.close()


class BoardMeter:
    """A meter that the agent of `board` samples. `plan`: what is sampled; `on_samples` sees it undecoded."""

    recovered = False

    def __init__(
        self, meter: OnBoardMeter, board: SamplingBoard, clock_name: str, clock: WaitClock,
        on_samples: OnSamples = lambda samples: None,
    ) -> None:  # fmt: skip
        self.device = meter
        self._board, self._clock, self._on_samples = board, clock, on_samples
        self.info, self.plan = meter.prepare(board.files, clock=clock_name)
        self._sampler: Sampler | None = None

    def blocks(self, seconds: float) -> Iterator[Block]:
        self._sampler = self._board.start_sampler(self.plan, lease_s=seconds + LEASE_MARGIN_S)
        end_ns = self._clock.now_ns() + round(seconds * NS_PER_S)
        while (now_ns := self._clock.now_ns()) < end_ns:
            self._clock.sleep_until(min(end_ns, now_ns + round(STEP_S * NS_PER_S)))
            yield from self._decoded(self._sampler.take(), self._sampler)
        yield from self._decoded(self._sampler.stop(), self._sampler)
        rest = self.device.finish()
        if rest is not None:
            yield rest

    def _decoded(self, samples: RawSamples, sampler: Sampler) -> Iterator[Block]:
        self._on_samples(samples)
        block = self.device.decode(samples)
        if block is not None:
            pings = sampler.ping(PINGS)
            best = pings[np.argmin(pings[:, 2] - pings[:, 0])]
            yield dataclasses.replace(block, anchors=np.array([[best[1], best[2]]], np.int64))

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.close()


@contextlib.contextmanager
def opened(
    opener: AnyOpener, clock: WaitClock, *, board: Board | None, on_samples: OnSamples = lambda samples: None
) -> Iterator[SingleMeter]:
    """The meter of `opener`, open; `board` is needed for one that is part of it. Raises what the driver raises."""
    meter: SingleMeter
    if isinstance(opener, OnBoardOpener):
        if board is None or not isinstance(board, SamplingBoard):
            raise SpecError(
                f"this meter is part of a board, and board {board.name if board else '(none)'} cannot sample meters",
                hint="name a local board or one over SSH with --board",
            )
        meter = BoardMeter(opener.make(), board, board.clock, clock, on_samples)
    else:
        meter = HostMeter(opener(), clock)
    try:
        yield meter
    finally:
        meter.close()


def plan_of(meter: SingleMeter) -> SamplerPlan | None:
    """What the board samples for this meter; None for one that this machine reads."""
    return meter.plan if isinstance(meter, BoardMeter) else None
