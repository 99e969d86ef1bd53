"""Records a meter that is part of the board: the board's sampler reads it, this fetches, decodes and appends.

Nothing is fetched unless `poll` is called, which the runner does outside the measured windows only.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.bench.intake import Intake
from harness.bench.live_power import RecentBins
from harness.core.clock import FloatArray, Int64Array
from harness.core.errors import BenchError, DeviceError, SpecError
from harness.core.ports import OnBoardMeter, RawSamples, Sampler, SamplingBoard
from harness.core.spec import MeterBinding
from harness.core.trace import Block
from harness.core.waiting import WaitClock
from harness.store.durable import json_bytes, write_durably
from harness.store.layout import STREAM_SUFFIX

PINGS = 3


@dataclass(frozen=True)
class OnBoardOpener:
    """Makes the host's half of a meter that the board samples: what a bench has in place of a meter's opener."""

    make: Callable[[], OnBoardMeter]


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def clock(self) -> str: ...


class BoardRecorder:
    """Recorder of an on-board meter. Its errors name the board, since drivers speak of "this machine"."""

    def __init__(
        self,
        binding: MeterBinding,
        opener: OnBoardOpener,
        path: Path,
        clock: WaitClock,
        *,
        board: _Named | None,
        lease_s: float,
    ) -> None:
        if board is None or not isinstance(board, SamplingBoard):
            raise SpecError(
                f"meter {binding.name!r} is part of the board, but the board "
                f"{board.name if board else 'of this run'} cannot sample meters",
                hint="use a local board or one over SSH",
            )
        self._board, self._lease_s, self._clock = board, lease_s, clock
        self._board_name = board.name
        self._path = path
        self._meter = opener.make()
        with self._named():
            self.info, self._plan = self._meter.prepare(board.files, clock=board.clock)
        self._intake = Intake(binding, self.info, path)
        self._kept = RecentBins()
        self._sampler: Sampler | None = None

    @property
    def recovered(self) -> bool:
        """Always False: a sampler that a crash left was ended with the other orphans."""
        return False

    def start(self) -> None:
        with self._named():
            self._sampler = self._board.start_sampler(self._plan, lease_s=self._lease_s)

    def poll(self) -> None:
        sampler = self._running()
        self._take(sampler.take(), sampler)

    def recent(self, seconds: float) -> tuple[Int64Array, FloatArray]:
        return self._kept.recent(seconds, self._clock.now_ns())

    def stop(self) -> dict[str, int]:
        sampler = self._running()
        self._take(sampler.stop(), sampler)
        self._append(self._meter.finish())
        self._say_what_it_cost(sampler)
        return dict(self._intake.counts)

    def close(self) -> None:
        try:
            if self._sampler is not None:
                self._sampler.close()
        finally:
            self._intake.close()

    def _running(self) -> Sampler:
        if self._sampler is None:
            raise DeviceError(f"board {self._board_name}: the sampler is not started", hint="call start() first")
        return self._sampler

    def _take(self, samples: RawSamples, sampler: Sampler) -> None:
        with self._named():
            block = self._meter.decode(samples)
        if block is not None:
            self._append(dataclasses.replace(block, anchors=_anchor(sampler.ping(PINGS))))

    def _append(self, block: Block | None) -> None:
        self._kept.add(*self._intake.take(block))

    def _say_what_it_cost(self, sampler: Sampler) -> None:
        """`<meter>.sampler.json`: what was sampled, and the CPU time that it took on the board."""
        meter = self._path.name.removesuffix(STREAM_SUFFIX)
        said = {"plan": dataclasses.asdict(self._plan), "cost": dict(sampler.cost())}
        write_durably(self._path.with_name(f"{meter}.sampler.json"), json_bytes(said))

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of a driver, which does not know on which board it looked, get the board's name."""
        try:
            yield
        except BenchError as error:
            prefix = f"board {self._board_name}: "
            if error.message.startswith(prefix):
                raise
            raise type(error)(prefix + error.message, hint=error.hint) from error


def _anchor(pings: Int64Array) -> Int64Array:
    """The quickest of pings (K, 3) as one pair (board time, host arrival)."""
    best = pings[np.argmin(pings[:, 2] - pings[:, 0])]
    return np.array([[best[1], best[2]]], np.int64)
