"""Durations: the scatter of stamps is a part of its own and is taken out of that of blocks and starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.energy.durations import Durations, durations_of
from analysis.timing.windows import start_windows
from harness.core.clock import FloatArray
from harness.core.timeline import PHASE_CODE, Phase, Timeline


def found_in(durations_s: FloatArray) -> Durations:
    """`durations_s`: (starts, n), back to back with pauses of 1 us."""
    starts, n = durations_s.shape
    length = np.rint(durations_s * 1e9).astype(np.int64)
    begin = np.concatenate([10**12 * k + np.r_[0, np.cumsum(row + 1000)[:-1]] for k, row in enumerate(length)])
    timeline = Timeline(
        "board:x", (), np.repeat(np.arange(starts), n), np.full(starts * n, PHASE_CODE[Phase.MEASURED]), begin,
        begin + length.ravel(),
    )  # fmt: skip
    found = durations_of(timeline, start_windows(timeline, period_ns=200_000))
    assert found is not None
    return found


def test_independent_durations_by_the_textbook() -> None:
    rows = 0.01 * (1 + 0.05 * np.random.default_rng(1).standard_normal((4, 500)))
    found = found_in(rows)
    assert found.mean_s == pytest.approx(rows.mean(), rel=1e-6)
    assert found.u_s == pytest.approx(0.01 * 0.05 / 2000**0.5, rel=0.05)
    assert found.dof == 2000 - 4
    assert abs(found.skew) < 0.01
    assert found.start_u_s < 2 * found.u_s


def test_rare_long_inferences_are_skew() -> None:
    rows = np.full((4, 500), 0.01)
    rows[1, 7] = 0.1
    assert found_in(rows).skew == pytest.approx(1.0, rel=0.01)  # one event


def test_slow_changes_are_seen_in_batches() -> None:
    random = np.random.default_rng(2)
    slow = np.repeat(random.standard_normal((4, 10)), 60, axis=1)
    rows = 0.01 * (1 + 0.05 * slow + 0.01 * random.standard_normal(slow.shape))
    found = found_in(rows)
    assert found.u_s > 3 * float(rows.std()) / rows.size**0.5
    assert found.dof < 100


def test_a_level_of_each_start_is_scatter_between_starts() -> None:
    random = np.random.default_rng(3)
    level = np.array([[-0.03], [0.01], [0.04], [-0.02]])
    found = found_in(0.01 * (1 + level + 0.005 * random.standard_normal((4, 500))))
    assert found.start_u_s == pytest.approx(0.01 * float(level.std(ddof=1)) / 2, rel=0.05)
    assert found.start_dof == 3


def test_durations_leave_the_scatter_of_power_to_the_starts(SmallWorld: Any, tmp_path: Path) -> None:
    """Inferences of very unequal length at one power: nothing scatters but their stamps."""
    result = analyse_run(SmallWorld(inference_cv=0.3, starts=4).run(tmp_path)).primary
    parts = {p.name: p for p in result.budget}
    energy = result.energy_per_inference_j
    assert energy is not None
    assert parts["durations"].u_j == pytest.approx(energy * 0.3 / result.n**0.5, rel=0.15)
    assert parts["repeatability"].u_j < 0.1 * parts["durations"].u_j
    assert parts["process start"].u_j < 1.5 * parts["durations"].u_j  # by chance, of three degrees of freedom
    assert parts["process start"].dof > 2.5
    assert parts["durations"].gross_u_j > parts["durations"].u_j
