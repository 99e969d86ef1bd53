"""Where a run lies in a trace: starts are alike, and a lag that is off by one of them is not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.readings.curve import build_curve
from analysis.timing.chain import board_map
from analysis.timing.search import search
from harness.core.timeline import Timeline
from harness.exam.clock_trials import run_trial


def known(world: Any, root: Path) -> tuple[Any, Timeline]:
    reader = world.run(root)
    timeline = reader.timeline()
    return build_curve(reader.trace("main"), "main", board_map(reader.trace("main"), reader, timeline)), timeline


@pytest.mark.parametrize("seed", [65000, 65009])
def test_a_lag_beyond_a_second_before_the_stamps_is_found(seed: int) -> None:
    """The host stamped 8 s too early: one process start later everything but that start would fit as well."""
    trial = run_trial(seed, period_ns=1_000_000, fit=False)
    assert trial.reason == ""
    assert trial.away_s < 0.05


def test_a_start_that_the_trace_does_not_show_is_refused(SmallWorld: Any, tmp_path: Path) -> None:
    channel, timeline = known(SmallWorld(chip_s=0.03), tmp_path)
    assert search(channel, timeline).reason == ""
    late = 3_000_000_000_000 * (timeline.start == 2)
    gone = Timeline(
        timeline.clock, timeline.spans, timeline.start, timeline.phase, timeline.begin_ns + late, timeline.end_ns + late
    )
    assert search(channel, gone).reason == "at no lag does every process start show its work"


def test_a_shift_by_one_start_is_never_the_answer(SmallWorld: Any, tmp_path: Path) -> None:
    """The stamps of the last two starts only: the power of the first is there as well, and rest is where none is."""
    channel, timeline = known(SmallWorld(chip_s=0.03), tmp_path)
    found = search(channel, timeline)
    keep = timeline.start > 0
    some = Timeline(
        timeline.clock, timeline.spans, *(v[keep] for v in (timeline.start, timeline.phase, timeline.begin_ns)),
        timeline.end_ns[keep],
    )  # fmt: skip
    again = search(channel, some)
    assert again.reason or abs(again.coarse_ns - found.coarse_ns) < 20_000_000
    assert np.isfinite(again.first)
