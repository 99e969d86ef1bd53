"""The lag between power and stamps: found to a fraction of a reading, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.readings.curve import build_curve
from analysis.timing.busy import BusyTime
from analysis.timing.chain import board_map
from analysis.timing.lag import find_lag


def lag_of(world: Any, root: Path) -> Any:
    reader = world.run(root)
    trace, timeline = reader.trace("main"), reader.timeline()
    to_board = board_map(trace, reader, timeline)
    return find_lag(build_curve(trace, "main", to_board), timeline)


@pytest.mark.parametrize("latency_s", [-0.3, 0.0, 0.0123, 2.5, 9.6])
@pytest.mark.parametrize(("rise_s", "fall_s"), [(1e-4, 5e-5), (5e-3, 1e-3), (0.03, 2e-3)])
def test_lag_is_found_whatever_the_rise(
    latency_s: float, rise_s: float, fall_s: float, SmallWorld: Any, tmp_path: Path
) -> None:
    found = lag_of(SmallWorld(latency_s=latency_s, rise_s=rise_s, fall_s=fall_s, chip_s=0.03), tmp_path)
    assert found.reason == ""
    assert set(found.lag_ns) == {0, 1, 2}
    for lag in found.lag_ns.values():  # on top of the least transport delay of the anchors, 0.5 ms and a little
        assert lag * 1e-9 == pytest.approx(latency_s, abs=1.5e-3)
    assert found.fall.tau_ns * 1e-9 == pytest.approx(fall_s, rel=0.35, abs=2e-4)  # or one reading


def test_a_quiet_board_has_no_lag(SmallWorld: Any, tmp_path: Path) -> None:
    found = lag_of(SmallWorld(active_w=2.0, gap_w=2.0), tmp_path)
    assert found.reason
    assert found.lag_ns == {}


def test_power_of_another_run_is_refused(SmallWorld: Any, tmp_path: Path) -> None:
    """Same bench, other minute: stamps of one run with the power of one whose pattern differs."""
    a, b = SmallWorld(seed=1), SmallWorld(seed=2, starts=2, n=300, chip_s=0.031, probe_pause_s=0.05)
    ra, rb = a.run(tmp_path / "a"), b.run(tmp_path / "b")
    trace = rb.trace("main")
    curve = build_curve(trace, "main", board_map(trace, rb, rb.timeline()))
    assert find_lag(curve, ra.timeline()).reason


def test_busy_time_is_exact_between_and_inside_stretches() -> None:
    busy = BusyTime.of(np.array([10, 30, 40]), np.array([20, 40, 55]))
    assert busy.until(np.array([0, 10, 15, 25, 35, 40, 60])).tolist() == [0, 0, 5, 10, 15, 20, 35]
    assert busy.share(np.array([10, 20, 40])).tolist() == [1.0, 0.5]
