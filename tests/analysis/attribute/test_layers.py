"""Layers of runs whose true energies are known: errors, intervals, groups, closure, and what must be noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.attribute.layers import OUTSIDE
from harness.core.result import EnergyResult, LayerReport

pytestmark = pytest.mark.slow
CLASSES = ((0.5e-3, 9.0), (150e-6, 0.5e-3), (50e-6, 150e-6), (0.0, 50e-6))


def _measured(world: Any, root: Path) -> EnergyResult:
    result = analyse_run(world.run(root)).primary
    assert result.status == "valid", result.details
    return result


def _layers(result: EnergyResult) -> LayerReport:
    assert result.layers is not None and not result.layers.problem, result.layers
    return result.layers


def _errors(world: Any, report: LayerReport) -> tuple[dict[int, list[float]], list[bool]]:
    """Relative errors by class of duration, and whether each interval holds the truth."""
    errors: dict[int, list[float]] = {i: [] for i in range(4)}
    holds = []
    for row in report.layers:
        if row.name == OUTSIDE:
            continue
        true = float(world.true_j[list(row.kernels)].sum())
        holds.append(row.interval_95_j[0] <= true <= row.interval_95_j[1])
        kind = next(i for i, (a, b) in enumerate(CLASSES) if a <= row.duration_s < b)
        errors[kind].append(row.energy_j / true - 1)
    return errors, holds


def _rms(values: list[float]) -> float:
    """0 where no row is of the class: what was joined is counted apart."""
    return float(np.sqrt(np.mean(np.square(values)))) if values else 0.0


def test_every_layer_is_found_from_stamps_of_instances(LayerWorld: Any, tmp_path: Path) -> None:
    world = LayerWorld(seed=1)
    report = _layers(_measured(world, tmp_path))
    errors, holds = _errors(world, report)
    assert np.mean(holds) >= 0.9
    for kind, limit in enumerate((0.002, 0.005, 0.02, 0.06)):
        assert _rms(errors[kind]) < limit
    assert [r.group for r in report.layers].count(None) >= 18  # those of some 10 us are joined: no stamp places them
    assert sorted(k for r in report.layers for k in r.kernels) == list(range(world.kernels))
    assert report.closes and report.details["stamps"] == "instances"
    naive = [r.proportional_j / world.true_j[r.kernels[0]] - 1 for r in report.layers if len(r.kernels) == 1]
    assert _rms(naive) > 0.2  # sharing by time is no method


@pytest.mark.parametrize(("tau_s", "q"), [(200e-6, 0.7)])
def test_an_unknown_supply_filter_is_found(LayerWorld: Any, tmp_path: Path, tau_s: float, q: float) -> None:
    world = LayerWorld(seed=11, tau_s=tau_s, q=q)
    report = _layers(_measured(world, tmp_path))
    errors, holds = _errors(world, report)
    assert report.details["supply_tau_s"] == pytest.approx(tau_s, rel=0.2)
    assert np.mean(holds) >= 0.9
    assert errors[0] and _rms(errors[0]) < 0.03 and _rms(errors[1]) < 0.05


def test_without_the_filter_the_same_run_is_wrong(
    LayerWorld: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above must rest on the filter, not on luck."""
    from analysis.attribute import align, supply

    monkeypatch.setattr(supply.SupplyFilter, "poles", lambda self: ())
    monkeypatch.setattr(align, "TAUS_NS", (0.0,))
    world = LayerWorld(seed=11, tau_s=200e-6)
    errors, _ = _errors(world, _layers(_measured(world, tmp_path)))
    assert _rms(errors[1] + errors[2] + errors[3]) > 0.03 or len(errors[1]) < 5


def test_shares_of_a_profile_hold_within_their_intervals(LayerWorld: Any, tmp_path: Path) -> None:
    errors: list[float] = []
    holds: list[bool] = []
    for seed in (3, 4):
        world = LayerWorld(seed=seed, layers="profile", cost_s=8e-6)
        report = _layers(_measured(world, tmp_path / str(seed)))
        found, kept = _errors(world, report)
        errors, holds = errors + found[0] + found[1], holds + kept
        assert report.details["stamps"] == "profile" and report.details["profiler_excess_s"] > 0
    assert np.mean(holds) >= 0.85 and _rms(errors) < 0.08


def test_power_that_rises_after_the_onset(LayerWorld: Any, tmp_path: Path) -> None:
    world = LayerWorld(seed=5, n=120, ramp=0.5, ramp_s=1e-3, onset_s=80e-6)
    errors, holds = _errors(world, _layers(_measured(world, tmp_path)))
    assert np.mean(holds) >= 0.9 and _rms(errors[0]) < 0.02


SLOPED = {"seed": 4, "slope": 0.6, "kernels": 8, "shortest_s": 0.3e-3, "longest_s": 2.5e-3}


def test_each_kernel_may_rise_or_fall_in_its_own_way(LayerWorld: Any, tmp_path: Path) -> None:
    world = LayerWorld(**SLOPED)
    report = _layers(_measured(world, tmp_path))
    errors, holds = _errors(world, report)
    assert len(holds) >= 6 and np.mean(holds) >= 0.85
    assert _rms([e for of_class in errors.values() for e in of_class]) < 0.05


def test_flat_kernels_would_be_wrong_there_and_are_not_told_apart(
    LayerWorld: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above must rest on the pieces, not on luck; without them a course takes their place, and too much."""
    monkeypatch.setattr("analysis.attribute.layers.PIECE", 1e9)
    measured = _measured(LayerWorld(**SLOPED), tmp_path / "a")
    report = _layers(measured)
    assert [r.group is not None for r in report.layers if r.name != OUTSIDE] == [True]
    assert report.details["not_told_apart"] == ["power within kernels stands in for alignment"]
    monkeypatch.setattr("analysis.attribute.groups.COURSE_LIMIT", np.inf)
    world = LayerWorld(**SLOPED)
    errors, holds = _errors(world, _layers(_measured(world, tmp_path / "b")))
    assert 1 < len(holds) < 6 and _rms([e for of_class in errors.values() for e in of_class]) > 0.05
