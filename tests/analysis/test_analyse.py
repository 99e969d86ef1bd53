"""Whole runs of the small world, through the real store: the figure is right, or refused for the right reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from harness.core.result import EnergyResult, InvalidReason, Status
from harness.core.trace import Block, ReadingKind


def result_of(world: Any, root: Path) -> EnergyResult:
    return analyse_run(world.run(root)).primary


def detail(result: EnergyResult) -> str:
    return f"{result.reason}: {result.details.get('invalid')}"


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        ({}, 1e-3),
        ({"latency_s": 0.0}, 1e-3),
        ({"latency_s": 8.7}, 1e-3),
        ({"meter_rate": 1.005}, 1e-3),
        ({"meter_rate": 0.995, "rise_s": 0.03, "fall_s": 0.002}, 1e-3),
        ({"lose": 0.01}, 1e-3),
        ({"zero_w": 0.2}, 1e-3),
        ({"inference_s": 0.25, "n": 6}, 2e-3),
        ({"inference_s": 0.001, "n": 1500}, 8e-3),  # whose the fall is in 40 us of gap
        ({"dither_s": 0.006}, 15e-3),
        ({"hold_s": 0.012}, 1e-3),
        ({"period_ns": 1_000_000}, 2e-3),
        ({"period_ns": 10_000_000, "n": 300}, 5e-3),
        ({"kind": ReadingKind.COUNTER, "period_ns": 1_000_000}, 5e-3),
        ({"kind": ReadingKind.COUNTER, "period_ns": 10_000_000, "modulus_raw": 200_000, "n": 200}, 5e-3),
        ({"kind": ReadingKind.POINT}, 2e-3),
    ],
)
def test_finds_the_energy(settings: dict[str, Any], within: float, SmallWorld: Any, tmp_path: Path) -> None:
    world = SmallWorld(**settings)
    result = result_of(world, tmp_path)
    assert result.status is Status.VALID, detail(result)
    assert result.energy_per_inference_j == pytest.approx(world.true_j, rel=within)
    gross = world.true_gross_j + world.zero_w * result.details["mean_inference_s"]
    assert result.gross_energy_per_inference_j == pytest.approx(gross, rel=within)
    assert result.interval_95_j is not None
    assert result.interval_95_j[0] < world.true_j < result.interval_95_j[1]
    assert result.n == 3 * world.n


def test_gap_energy_is_a_line_of_its_own(SmallWorld: Any, tmp_path: Path) -> None:
    """Ten times the pauses at the same inference: the inference's energy stays, the gap's line grows."""
    short = result_of(SmallWorld(gap_s=100e-6, rise_s=1e-4, fall_s=5e-5), tmp_path / "a")
    long = result_of(SmallWorld(gap_s=1e-3, rise_s=1e-4, fall_s=5e-5), tmp_path / "b")
    assert short.u_j is not None
    assert long.energy_per_inference_j == pytest.approx(short.energy_per_inference_j, abs=short.u_j)
    assert long.gap_energy_per_inference_j == pytest.approx(1e-3 * 1.2 + 1.8 * 50e-6, rel=0.03)  # with the fall
    assert short.gap_energy_per_inference_j == pytest.approx(100e-6 * 1.2 + 1.8 * 43e-6, rel=0.25)


@pytest.mark.parametrize("drift_w", [0.2, -0.2])
def test_a_standby_that_drifts_evenly_is_followed(drift_w: float, SmallWorld: Any, tmp_path: Path) -> None:
    world = SmallWorld(drift_w=drift_w)
    result = result_of(world, tmp_path)
    first, last = result.details["standby_brackets_w"]
    assert np.sign(last - first) == np.sign(drift_w)
    drift = next(p for p in result.budget if p.name == "standby drift")
    assert result.energy_per_inference_j == pytest.approx(world.true_j, abs=2 * drift.u_j)
    assert drift.u_j < abs(last - first) / 2 * result.details["mean_inference_s"]


def test_one_watt_more_everywhere_leaves_dynamic_energy(SmallWorld: Any, tmp_path: Path) -> None:
    low = result_of(SmallWorld(), tmp_path / "a")
    high = result_of(SmallWorld(standby_w=3.0, gap_w=4.2, active_w=6.0), tmp_path / "b")
    assert high.energy_per_inference_j == pytest.approx(low.energy_per_inference_j, rel=1e-3)
    assert high.leverage == pytest.approx(1.5 * low.leverage, rel=0.01)  # type: ignore[operator]


def test_parts_have_names_and_gain_is_common(SmallWorld: Any, tmp_path: Path) -> None:
    result = result_of(SmallWorld(gain_limit=0.02), tmp_path)
    parts = {p.name: p for p in result.budget}
    assert set(parts) == {
        "process start", "repeatability", "meter noise", "standby", "standby drift", "meter gain", "meter offset",
        "durations", "gap power", "gap fall", "clock", "sampling",
    }  # fmt: skip
    energy = result.energy_per_inference_j
    assert energy is not None
    assert parts["meter gain"].u_j == pytest.approx(energy * 0.02 / np.sqrt(3))
    assert [p.name for p in result.budget if p.common] == ["meter gain", "meter offset"]
    assert parts["meter offset"].u_j == 0
    assert parts["meter offset"].gross_u_j == pytest.approx(0.01 / np.sqrt(3) * result.details["mean_inference_s"])
    assert result.u_j == pytest.approx(np.sqrt(sum(p.u_j**2 for p in result.budget)))


def _columns(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Block], Block]:
    return lambda block: replace(block, columns={"value": change(block.columns["value"].copy())})


def _stick(raw: np.ndarray) -> np.ndarray:
    raw[35_000:] = raw[35_000]  # from the measured inferences of the first start on
    return raw


def _cut(block: Block, first: int, last: int) -> Block:
    keep = np.r_[0:first, last : len(block)]
    return replace(block, t_ns=block.t_ns[keep], columns={"value": block.columns["value"][keep]})


WRONG_OUTPUT = {"outputs_check": {"ok": False, "max_rel_error": 0.3, "tolerance": 1e-3}}
HOT = {"board_state": {"before": {"cpu": {"throttle_count": 3}}, "after": {"cpu": {"throttle_count": 9}}}}
SLOW_FILTER = {"kind": ReadingKind.FILTERED, "period_ns": 1_000_000, "tau_ns": 100_000_000, "latency_s": 2.0}
REFUSALS: list[tuple[InvalidReason, dict[str, Any]]] = [
    (InvalidReason.NO_READINGS, {"tamper": lambda b: _cut(b, 1, len(b))}),
    (InvalidReason.NOT_CALIBRATED, {"tamper": lambda b: replace(b, calibration=())}),
    (InvalidReason.NO_INFERENCES, {"n": 0}),
    (InvalidReason.COVERAGE, {"lose": 0.4}),
    (InvalidReason.CLOCKS, {"active_w": 2.0005, "gap_w": 2.0003}),
    (InvalidReason.STANDBY_MISSING, {"bracket_s": 0.3}),
    (InvalidReason.STANDBY_MISSING, {"tamper": lambda b: _cut(b, 0, 50_000)}),
    (InvalidReason.STANDBY_MOVED, {"drift_w": 1.5}),
    (InvalidReason.BELOW_STANDBY, {"start_sd": 0.9, "starts": 2, "seed": 3}),
    (InvalidReason.STUCK, {"tamper": _columns(_stick)}),
    (InvalidReason.STUCK, {"kind": ReadingKind.COUNTER, "tamper": _columns(_stick), "period_ns": 200_000}),
    (InvalidReason.BELOW_RESOLUTION, {"period_ns": 200_000_000, "n": 20}),
    (InvalidReason.BELOW_RESOLUTION, SLOW_FILTER),
    (InvalidReason.BELOW_RESOLUTION, {"starts": 1, "n": 1}),
    (InvalidReason.OUTPUT_MISMATCH, {"documents": WRONG_OUTPUT}),
    (InvalidReason.THROTTLED, {"documents": HOT}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "settings"), REFUSALS, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSALS)])
def test_refuses_with_a_typed_reason(
    reason: InvalidReason, settings: dict[str, Any], SmallWorld: Any, tmp_path: Path
) -> None:
    result = result_of(SmallWorld(**settings), tmp_path)
    assert (result.status, result.reason) == (Status.INVALID, str(reason)), detail(result)
    assert result.energy_per_inference_j is None
    assert result.gross_energy_per_inference_j is None
    assert result.interval_95_j is None
    assert result.details["invalid"]


def test_saturated_readings_are_refused(SmallWorld: Any, tmp_path: Path) -> None:
    world = SmallWorld(tamper=_columns(lambda raw: np.minimum(raw, 480_000)))
    info = world._info()
    channel = replace(info.channels[0], max_power_w=4.8)
    world._info = lambda: replace(info, channels=(channel,))
    result = result_of(world, tmp_path)
    assert result.reason == InvalidReason.SATURATED, detail(result)


def test_a_pile_at_the_largest_code_is_refused_without_a_declared_limit(SmallWorld: Any, tmp_path: Path) -> None:
    """Every tenth reading of the work would lie above the top of the range."""
    clip = SmallWorld(noise_w=0.1, tamper=_columns(lambda raw: np.minimum(raw, 512_000)))
    result = result_of(clip, tmp_path)
    assert result.reason == InvalidReason.SATURATED, detail(result)
    assert result.to_json()["coverage"] is None  # not worked out, so not 0
    assert result.to_json()["largest_gap_ns"] is None
    assert "largest code" in result.details["invalid"]


@pytest.mark.parametrize(
    ("flag", "settings"),
    [
        ("single_start", {"starts": 1}),
        ("standby_drift", {"drift_w": 0.25}),
        ("low_coverage", {"lose": 0.05}),
        ("meter_accuracy_unknown", {"accuracy": False}),
        ("gap_power_bounded", {"probe_pause_s": 0.0}),
        ("uncalibrated_rows", {"tamper": lambda b: replace(b, calibration=[replace(b.calibration[0], first_row=9)])}),
        ("outputs_not_checked", {"documents": {}}),
        ("standby_not_settled", {"documents": {"settle_after": {"ok": False, "reason": "falls", "waited_s": 30.0}}}),
        ("clipped_readings", {"noise_w": 0.05, "tamper": _columns(lambda raw: np.minimum(raw, 512_000))}),
    ],
)
def test_flags(flag: str, settings: dict[str, Any], SmallWorld: Any, tmp_path: Path) -> None:
    plain = result_of(SmallWorld(), tmp_path / "a")
    result = result_of(SmallWorld(**settings), tmp_path / "b")
    assert result.status is Status.VALID, detail(result)
    assert flag in result.flags
    assert flag not in plain.flags


def test_unknown_accuracy_is_said_in_the_measurand(SmallWorld: Any, tmp_path: Path) -> None:
    result = result_of(SmallWorld(accuracy=False), tmp_path)
    assert "nobody states its accuracy" in result.measurand
    assert "meter gain" not in {p.name for p in result.budget}


def test_the_bench_calibration_overrides_the_sheet(SmallWorld: Any, tmp_path: Path) -> None:
    result = result_of(SmallWorld(accuracy=False, binding={"accuracy_rel": 0.001, "accuracy_offset_w": 0.5}), tmp_path)
    parts = {p.name: p for p in result.budget}
    assert parts["meter gain"].u_j == pytest.approx(result.energy_per_inference_j * 0.001 / np.sqrt(3))  # type: ignore[operator]
    assert parts["meter offset"].gross_u_j > 10 * parts["meter gain"].gross_u_j


def test_a_total_is_declared_never_guessed(SmallWorld: Any, tmp_path: Path) -> None:
    result = result_of(SmallWorld(binding={"total_rails": ("main", "gpu")}), tmp_path)
    assert result.reason == InvalidReason.NO_READINGS
    assert "gpu" in result.details["invalid"]


@pytest.mark.parametrize("gap_s", [0.006, 0.012])
def test_without_coded_markers_regular_pauses_alone_are_ambiguous(
    SmallWorld: Any, tmp_path: Path, gap_s: float
) -> None:
    """Pauses in lockstep in every start and nothing else: several lags fit. None is taken, or their distance, which is
    more than an inference, is in the uncertainty."""
    world = SmallWorld(marker=False, inference_cv=0.0, n=12, lead_s=0.0, starts=12, probe_pause_s=0.012, gap_s=gap_s)
    result = result_of(world, tmp_path)
    if result.reason == InvalidReason.CLOCKS:
        return
    assert result.interval_95_j is not None, detail(result)
    assert result.details["lag_u_s"] > result.details["mean_inference_s"]
    assert result.interval_95_j[0] < world.true_j < result.interval_95_j[1]


def test_same_bits_twice(SmallWorld: Any, tmp_path: Path) -> None:
    reader = SmallWorld(dither_s=0.004).run(tmp_path)
    assert analyse_run(reader).primary.to_json() == analyse_run(reader).primary.to_json()


def test_work_that_outlasts_its_end_stamp_is_noticed(SmallWorld: Any, tmp_path: Path) -> None:
    """Stamps that end 2 ms before the power falls: the gaps' share is in doubt, and the interval says so."""
    fast = {"rise_s": 1e-4, "fall_s": 1e-4, "dither_s": 0.006}
    plain = result_of(SmallWorld(**fast), tmp_path / "a")
    world = SmallWorld(**fast)
    timeline = world._timeline

    def early(rng: np.random.Generator) -> Any:
        true = timeline(rng)
        world._physics(np.random.default_rng(1), true)
        world._physics = lambda *_: None
        return replace(true, end_ns=true.end_ns - 2_000_000)

    world._timeline = early
    result = result_of(world, tmp_path / "b")
    assert "end_stamps_doubtful" in result.flags
    assert "end_stamps_doubtful" not in plain.flags
    assert result.u_j is not None
    assert plain.u_j is not None
    assert result.u_j > 2 * plain.u_j
    assert result.energy_per_inference_j == pytest.approx(world.true_j, abs=2 * result.u_j)
