"""Layers of runs whose true energies are known: errors, intervals, groups, closure, and what must be noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.attribute.layers import OUTSIDE
from analysis.derive import check, derive
from harness.core.result import EnergyResult, LayerReport
from harness.core.trace import ReadingKind

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


def test_flat_kernels_are_one_group_there(LayerWorld: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above must rest on the pieces, not on luck."""
    monkeypatch.setattr("analysis.attribute.layers.PIECE", 1e9)
    world = LayerWorld(**SLOPED)
    _, holds = _errors(world, _layers(_measured(world, tmp_path)))
    assert len(holds) < 6  # the course that all have in common takes too much: they are one group


def test_doubts_of_the_alignment_widen_the_intervals(
    LayerWorld: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = LayerWorld(seed=1).run(tmp_path)
    doubted = {row.name: row.u_j for row in _layers(analyse_run(run).primary).layers}
    monkeypatch.setattr("analysis.attribute.doubts.Doubted.changes", lambda *_: [])
    believed = {row.name: row.u_j for row in _layers(analyse_run(run).primary).layers}
    both = [name for name in doubted if name in believed and name != OUTSIDE]
    assert len(both) > 10 and all(doubted[name] >= 0.999 * believed[name] for name in both)
    assert np.median([doubted[name] / believed[name] for name in both]) > 1.2


def test_a_slower_meter_makes_groups_and_keeps_its_promise(LayerWorld: Any, tmp_path: Path) -> None:
    world = LayerWorld(seed=10, period_ns=1_000_000)
    report = _layers(_measured(world, tmp_path))
    _, holds = _errors(world, report)
    groups = [r for r in report.layers if r.group is not None]
    assert groups and np.mean(holds) >= 0.9
    for row in groups:
        assert row.group is not None and len(row.group) == len(row.kernels) and "layers)" in row.name
        assert list(row.kernels) == list(range(row.kernels[0], row.kernels[-1] + 1))


def test_sampling_in_step_with_the_inferences_is_never_a_wrong_single_figure(LayerWorld: Any, tmp_path: Path) -> None:
    world = LayerWorld(seed=6, period_ns=1_000_000, locked_s=0.02, jitter=0.0, run_jitter=0.0, kernels=20)
    result = analyse_run(world.run(tmp_path)).primary
    if result.status != "valid":  # the whole may be refused as well
        assert result.layers is not None and result.layers.problem
        return
    report = _layers(result)
    _, holds = _errors(world, report)
    assert np.mean(holds) >= 0.9 and len(report.layers) < 15


@pytest.mark.parametrize("wrong", [{"stamp_error_s": 300e-6}, {"swap": (3, 7)}])
def test_wrong_stamps_are_noticed(LayerWorld: Any, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A run with wrong stamps leaves more of the power unexplained, or its layers fall together."""
    right = _layers(_measured(LayerWorld(seed=2), tmp_path / "right"))
    report = _layers(_measured(LayerWorld(seed=2, **wrong), tmp_path / "wrong"))
    shifted = abs(report.details["shift_s"]["0"] - right.details["shift_s"]["0"])
    worse = report.details["residual_w"] > 1.5 * right.details["residual_w"]
    assert worse or shifted > 200e-6 or len(report.layers) < 0.7 * len(right.layers)


def test_permuted_stamps_show_no_contrast(LayerWorld: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stamps dealt out to other inferences carry no information on layers: no narrow single rows may come of them."""
    world = LayerWorld(seed=8, jitter=0.3, run_jitter=0.2)
    reader = world.run(tmp_path)
    stamps = reader.layer_stamps()
    assert stamps is not None
    order = np.random.default_rng(0).permutation(len(stamps.begin_ns))
    far = stamps.inference_begin_ns
    from dataclasses import replace

    mixed = replace(
        stamps,
        begin_ns=stamps.begin_ns[order] - far[order][:, None] + far[:, None],
        end_ns=stamps.end_ns[order] - far[order][:, None] + far[:, None],
    )
    monkeypatch.setattr(type(reader), "layer_stamps", lambda self: mixed)
    report = analyse_run(reader).primary.layers
    assert report is not None
    singles = [r for r in report.layers if r.group is None and r.name != OUTSIDE]
    assert report.problem or len(singles) < 20


def test_counter_steps_serve_as_means(LayerWorld: Any, tmp_path: Path) -> None:
    world = LayerWorld(seed=9, kind=ReadingKind.COUNTER, period_ns=1_000_000)
    _, holds = _errors(world, _layers(_measured(world, tmp_path)))
    assert np.mean(holds) >= 0.85


def test_no_layers_where_they_were_not_asked_for_or_cannot_be(LayerWorld: Any, tmp_path: Path) -> None:
    assert analyse_run(LayerWorld(layers="off", n=60).run(tmp_path / "off")).primary.layers is None
    slow = analyse_run(LayerWorld(n=60, period_ns=10_000_000).run(tmp_path / "slow")).primary
    assert slow.layers is not None and slow.layers.problem and not slow.layers.layers
    document = slow.to_json()
    assert document["layers"] == [] and document["closure"]["problem"] == slow.layers.problem


def test_another_process_gets_the_same_bits_of_layers(LayerWorld: Any, tmp_path: Path) -> None:
    run = LayerWorld(n=60, kernels=12, layers="profile").run(tmp_path).path
    derive(run)
    assert check(run).identical
    code = (
        "import sys; from pathlib import Path; from analysis.derive import check; print(check(Path(sys.argv[1])).text)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, str(run)], cwd=root, capture_output=True, text=True, check=True)
    assert "bit for bit" in done.stdout
