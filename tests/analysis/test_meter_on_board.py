"""A meter that is part of the board, stamped on the very clock of the timeline."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.timing.chain import board_map
from harness.core.result import InvalidReason
from harness.core.trace import Block, MeterInfo, ReadingKind
from harness.store.run_writer import RunWriter
from tests.analysis.conftest import ORIGIN_NS, SmallWorld

RAPL = {"kind": ReadingKind.COUNTER, "period_ns": 20_000_000, "latency_s": 0.0, "n": 300, "modulus_raw": 1 << 40}


class OnBoard(SmallWorld):
    """The counter is read by the board itself: same clock, no anchors."""

    clock = "board:small"

    def _info(self) -> MeterInfo:
        return dataclasses.replace(super()._info(), clock=self.clock)

    def _block(self, rng: np.random.Generator, info: MeterInfo) -> Block:
        block = super()._block(rng, info)
        t_ns = block.t_ns + ORIGIN_NS + self._board_offset_ns
        return dataclasses.replace(block, t_ns=t_ns, anchors=np.empty((0, 2), np.int64))


def test_trace_and_timeline_of_one_clock_are_mapped_by_identity(tmp_path: Path) -> None:
    reader = OnBoard(**RAPL).run(tmp_path)
    trace, timeline = reader.trace("main"), reader.timeline()
    to_board = board_map(trace, reader, timeline)
    assert (to_board.source, to_board.target) == ("board:small", "board:small")
    assert np.array_equal(to_board.apply(trace.t_ns), trace.t_ns)
    assert to_board.u_offset_ns == to_board.u_rate == 0.0


def test_the_energy_is_that_of_the_world(tmp_path: Path) -> None:
    world = OnBoard(**RAPL)
    result = analyse_run(world.run(tmp_path)).primary
    assert result.status == "valid", result.reason
    low, high = result.interval_95_j
    assert low <= world.true_j <= high
    assert result.energy_per_inference_j == pytest.approx(world.true_j, rel=0.03)


def test_a_meter_of_another_board_is_refused(tmp_path: Path) -> None:
    world = OnBoard(**RAPL)
    world.clock = "board:other"
    result = analyse_run(world.run(tmp_path)).primary
    assert result.reason == InvalidReason.CLOCKS
    assert result.energy_per_inference_j is None


def test_a_clock_that_jumped_is_refused_although_both_stamps_are_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = RunWriter.put_pings

    def jumped(self: RunWriter, clock: str, pings: Any) -> None:
        pings = pings.copy()
        pings[10:, 1] += 3_600_000_000_000
        put(self, clock, pings)

    monkeypatch.setattr(RunWriter, "put_pings", jumped)
    result = analyse_run(OnBoard(**RAPL).run(tmp_path)).primary
    assert result.reason == InvalidReason.CLOCKS
