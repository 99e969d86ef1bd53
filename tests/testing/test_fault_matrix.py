"""The judge of fault trials, on trials whose outcome is known; and all installed trials under it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.clock import HOST
from harness.core.errors import DeviceError
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.registry import registered
from harness.testing import fault_matrix
from harness.testing.fault_matrix import CRASHED, FAULTS, OUTCOMES, judge, judge_all
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

PERIOD_NS = 5_000_000
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (t_s, power_w) -> power_w


def recorded(scene: Scene, change: Change = lambda t_s, power_w: power_w, **more: Any) -> Recorded:
    """A meter that reads the mean of every 5 ms in units of 10 uW, with noise of 5 mW, after `change`."""
    t_s = np.arange(1, round(scene.duration_s * 1e9 / PERIOD_NS) + 1) * (PERIOD_NS * 1e-9)
    power_w = np.diff(scene.energy_j(np.r_[0.0, t_s])) / (PERIOD_NS * 1e-9)
    power_w = change(t_s, power_w) + 0.005 * np.random.default_rng(1).standard_normal(len(t_s))
    kept = np.isfinite(power_w)
    block = Block(
        BEGIN_NS + np.rint(t_s[kept] * 1e9).astype(np.int64),
        {"p": np.rint(power_w[kept] / 1e-5).astype(np.int64)},
        (CalibrationPiece(0, "p", 0, 1e-5, 0.0),),
    )
    reading = Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS)
    accuracy = Accuracy(0.01, 0.002, 0.005, "made up")
    channel = ChannelSpec("main", "power_w", ("p",), reading, accuracy)
    info = MeterInfo("toy", "toy", "1", "1", HOST, (ColumnSpec("p", "W"),), (channel,), simulated=True)
    return Recorded(info, [replace(block, **more)], "main")


def outcome(play: Callable[[Scene], Recorded], **more: Any) -> fault_matrix.Judged:
    return judge(FaultTrial("toy", "made-up", "what the test says", play, **more))


def test_what_is_right_within_the_limits_is_recovered() -> None:
    found = outcome(recorded)
    assert (found.outcome, found.gap_marked) == ("recovered", False)
    assert abs(found.energy_rel_error or 1.0) < 1e-3
    assert outcome(lambda s: recorded(s, lambda t, p: 1.009 * p)).outcome == "recovered"


@pytest.mark.parametrize(
    "change",
    [
        lambda t, p: 1.03 * p,
        lambda t, p: p + 0.1,
        lambda t, p: np.where((t < 6) | (t > 18), 2.2, p),  # gross is right, dynamic is not
        lambda t, p: np.where((t > 6) & (t < 18), 5.2, p),
    ],
)
def test_a_wrong_joule_that_looks_right_is_found(change: Change) -> None:
    assert outcome(lambda s: recorded(s, change)).outcome == "silent_wrong"


def test_a_result_may_be_saved_by_its_own_interval_alone() -> None:
    """Half a second of zeros: the scatter between blocks is then as wide as the error, and the result says so."""
    found = outcome(lambda s: recorded(s, lambda t, p: np.where((t > 8) & (t < 8.5), 0.0, p)))
    assert found.outcome == "recovered"
    assert found.energy_rel_error == pytest.approx(-0.5 / 11.5, abs=1e-3)
    assert float(found.detail.split("limit ")[1].split("%")[0]) > 4.4


def test_scale_faults_are_silent_wrong_unless_they_are_declared_constant() -> None:
    def play(scene: Scene) -> Recorded:
        return recorded(scene, lambda t, p: 1.1 * p)

    assert outcome(play).outcome == "silent_wrong"
    found = outcome(play, constant_scale=True)
    assert found.outcome == "unobservable"
    assert found.energy_rel_error == pytest.approx(0.1, abs=1e-3)


def test_a_meter_of_wide_limits_does_not_hide_a_fault_of_less() -> None:
    """Good to 15 % as stated, and 10 % is lost to the fault: compared with the same meter without it."""

    def rough(scene: Scene, factor: float) -> Recorded:
        found = recorded(scene, lambda t, p: factor * p)
        channel = replace(found.info.channels[0], accuracy=Accuracy(0.15, 0.0, 0.005, "made up"))
        return replace(found, info=replace(found.info, channels=(channel,)))

    plain = FaultTrial("toy", "none", "nothing", lambda s: rough(s, 1.0))
    lost = FaultTrial("toy", "lost", "a tenth", lambda s: rough(s, 0.9))
    assert judge(lost).outcome == "recovered"
    assert [row.outcome for row in judge_all([plain, lost])] == ["recovered", "silent_wrong"]
    assert [row.outcome for row in judge_all([plain, replace(lost, constant_scale=True)])][1] == "unobservable"


def test_offsets_that_cancel_in_dynamic_energy_are_still_wrong_in_gross() -> None:
    found = outcome(lambda s: recorded(s, lambda t, p: p + 0.3))
    assert found.outcome == "silent_wrong"
    assert "dynamic +0.0" in found.detail or "dynamic -0.0" in found.detail


def test_errors_of_ours_are_typed_and_accidents_are_crashes() -> None:
    def refuse(scene: Scene) -> Recorded:
        raise DeviceError("unplugged", hint="plug it in")

    def trip(scene: Scene) -> Recorded:
        raise ZeroDivisionError("oops")

    assert outcome(refuse).outcome == "typed_error"
    assert "unplugged" in outcome(refuse).detail
    crashed = outcome(trip)
    assert (crashed.outcome, crashed.wrong) == (CRASHED, True)
    assert CRASHED not in OUTCOMES


def test_an_accident_of_the_analysis_is_a_crash_too() -> None:
    def play(scene: Scene) -> Recorded:
        return replace(recorded(scene), channel="nowhere")

    assert outcome(play).outcome == CRASHED


def test_missing_readings_are_marked_and_refused_when_too_many() -> None:
    few = outcome(lambda s: recorded(s, lambda t, p: np.where((t > 9) & (t < 9.5), np.nan, p)))
    assert (few.outcome, few.gap_marked) == ("recovered", True)
    many = outcome(lambda s: recorded(s, lambda t, p: np.where((t > 7) & (t < 13), np.nan, p)))
    assert (many.outcome, many.gap_marked, many.energy_rel_error) == ("typed_error", True, None)
    assert "coverage" in many.detail
    said = outcome(lambda s: recorded(s, gaps=(Gap(BEGIN_NS + 9_000_000_000, BEGIN_NS + 9_004_000_000, 1, "lost"),)))
    assert said.gap_marked


@pytest.mark.slow
def test_a_meter_of_large_loads_is_shown_one() -> None:
    seen: list[Scene] = []
    found = outcome(lambda scene: (seen.append(scene), recorded(scene))[1], load_factor=50.0)
    assert found.outcome == "recovered"
    assert (seen[0].idle_w, seen[0].busy_w) == (100.0, 250.0)


@pytest.mark.parametrize("meter", sorted(registered(FAULTS)))
def test_no_fault_of_any_meter_passes_in_silence(meter: str) -> None:
    trials = list(registered(FAULTS)[meter].load()())
    names = [(trial.meter, trial.fault) for trial in trials]
    assert len(set(names)) == len(names)
    rows = list(judge_all(trials))
    assert not [row for row in rows if row.wrong]
    for trial, row in zip(trials, rows, strict=True):
        assert row.outcome in OUTCOMES
        assert trial.constant_scale or row.outcome != "unobservable"
    plain = [row for row in rows if row.fault == "none"]
    assert plain, f"{meter} has no trial in which nothing goes wrong"
    assert all(row.outcome == "recovered" for row in plain), plain


def test_the_command_prints_a_list_and_fails_for_a_wrong_joule(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = FaultTrial("toy", "loud", "reads 10 % more", lambda s: recorded(s, lambda t, p: 1.1 * p))
    monkeypatch.setattr("harness.testing.fault_matrix._points", lambda: [lambda: [wrong]])
    done = CliRunner().invoke(app, ["meters", "faults", "--json"])
    assert isinstance(done.exception, DeviceError)
    assert "toy loud (silent_wrong)" in str(done.exception)
    (row,) = json.loads(done.stdout)
    assert set(row) == {"meter", "fault", "outcome", "energy_rel_error", "gap_marked", "detail"}
