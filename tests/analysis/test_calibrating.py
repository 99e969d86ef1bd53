"""A straight line through known loads: its statements cover the truth as often as they say; a bent one is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.calibrating import Level, fit_calibration, mean_reading, resistor_level
from harness.config.calibration import load_calibration, write_calibration
from harness.core.bench_facts import Calibration, ChannelCalibration
from harness.core.errors import SpecError
from tests.analysis.conftest import SmallWorld

WHO = {"channel": "main", "serial": "s1", "date": "2026-03-01", "by": "a test"}
DRAWS = 2000


def drawn(rng: np.random.Generator, gain: float, offset_w: float, *, same: bool, bend: float = 0.0) -> list[Level]:
    """Three loads of a meter with this gain and zero: resistors anywhere within 1 %, a voltmeter with noise."""
    shared = rng.uniform(-0.01, 0.01)
    levels = []
    for ohm, volt in ((8.0, 5.0), (8.0, 9.0), (8.0, 12.0)) if same else ((50.0, 5.0), (12.0, 5.0), (5.0, 5.0)):
        true_ohm = ohm * (1 + (shared if same else rng.uniform(-0.01, 0.01)))
        true_w = volt**2 / true_ohm
        reading = gain * true_w * (1 + bend * true_w) + offset_w + 0.003 * rng.standard_normal()
        levels.append(
            resistor_level(
                resistance_ohm=ohm, tolerance_rel=0.01, voltage_v=volt + 0.003 * rng.standard_normal(),
                voltage_u_v=0.003, reading_w=reading, reading_u_w=0.003, same_resistor=same,
            )
        )  # fmt: skip
    return levels


@pytest.mark.parametrize("same", [False, True])
def test_what_is_stated_covers_the_truth_as_often_as_it_says(*, same: bool) -> None:
    rng = np.random.default_rng(7)
    inside = np.zeros(2)
    for _ in range(DRAWS):
        gain, offset_w = rng.uniform(0.9, 1.1), rng.uniform(-0.05, 0.05)
        try:
            found = fit_calibration(drawn(rng, gain, offset_w, same=same), **WHO).channels[0]
        except SpecError:  # one in a thousand straight lines looks bent: it states nothing, and covers nothing here
            continue
        inside += abs(found.gain - gain) <= found.gain_u95, abs(found.offset_w - offset_w) <= found.offset_u95_w
    print(f"same resistor {same}: gain {inside[0] / DRAWS:.3f}, zero {inside[1] / DRAWS:.3f} of {DRAWS} draws")
    assert np.all(inside / DRAWS > 0.93)
    if not same:  # one shared rectangular error alone is never beyond 1.96 of its standard deviation
        assert inside[1] / DRAWS < 0.985


def test_a_bent_meter_is_refused_with_its_residuals() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(SpecError, match=r"not linear.*residuals"):
        fit_calibration(drawn(rng, 1.0, 0.0, same=False, bend=0.05), **WHO)


def test_a_straight_meter_is_rarely_refused() -> None:
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(DRAWS):
        try:
            fit_calibration(drawn(rng, 1.0, 0.0, same=False), **WHO)
        except SpecError:
            refused += 1
    assert refused / DRAWS < 0.005


@pytest.mark.parametrize(
    ("references", "words"),
    [([1.0, 2.0], "at least 3"), ([], "at least 3"), ([4.0, 4.1, 4.2], "alike"), ([1.0, 1.0, 5.0], "alike")],
)
def test_levels_that_show_no_line_are_refused(references: list[float], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        fit_calibration([Level(r, 0.01, r, 0.01) for r in references], **WHO)


def test_an_exact_line_is_found_exactly_and_an_open_output_is_a_level() -> None:
    levels = [Level(p, 0.01 * p, 1.02 * p - 0.1, 1e-4) for p in (0.0, 2.0, 5.0, 9.0)]
    found = fit_calibration(levels, **WHO).channels[0]
    assert found.gain == pytest.approx(1.02)
    assert found.offset_w == pytest.approx(-0.1)
    assert found.corrected_w(1.02 * 7 - 0.1) == pytest.approx(7.0)


def test_the_scatter_of_a_reading_is_that_of_its_mean() -> None:
    rng = np.random.default_rng(1)
    mean, u = mean_reading(5 + 0.2 * rng.standard_normal(10_000))
    assert u == pytest.approx(0.2 / 100, rel=0.4)
    assert abs(mean - 5) < 4 * u


def test_a_calibration_file_is_read_as_it_was_written_and_never_overwritten(tmp_path: Path) -> None:
    calibration = fit_calibration(drawn(np.random.default_rng(2), 1.05, 0.02, same=False), **WHO, method="3 resistors")
    path = tmp_path / "c.yaml"
    write_calibration(calibration, path)
    assert load_calibration(path) == calibration
    with pytest.raises(SpecError, match="exists already"):
        write_calibration(calibration, path)


def calibrated(**more: object) -> Calibration:
    channel = ChannelCalibration("main", 1.08, 0.004, 0.06, 0.005)
    return Calibration(**{"serial": "s1", "date": "2999-01-01", "by": "a test", "channels": (channel,), **more})  # type: ignore[arg-type]


FAULTY = {"gain": 1.08, "zero_w": 0.06, "gain_limit": 0.002, "zero_limit_w": 0.001, "noise_w": 0.01}


def test_a_calibration_corrects_readings_and_replaces_the_limits(tmp_path: Path) -> None:
    wrong = analyse_run(SmallWorld(**FAULTY).run(tmp_path / "raw")).primary
    world = SmallWorld(**FAULTY, binding={"calibration": calibrated()})
    reader = world.run(tmp_path / "corrected")
    right = analyse_run(reader).primary
    assert wrong.energy_per_inference_j == pytest.approx(1.08 * world.true_j, rel=0.01)
    low, high = right.interval_95_j or (0, 0)
    assert low <= world.true_j <= high
    assert right.gross_energy_per_inference_j == pytest.approx(world.true_gross_j, rel=0.01)
    assert right.standby_w == pytest.approx(world.standby_w, rel=0.01)
    assert "calibration of 2999-01-01" in right.details["accuracy"]["source"]
    gain = next(p for p in right.budget if p.name == "meter gain")
    assert gain.u_j == pytest.approx(0.004 / 1.96 / 1.08 * world.true_j, rel=0.05)
    assert reader.spec.meters[0].calibration == calibrated()  # kept with the run, part of its identity


def test_a_calibration_of_another_unit_gives_no_figure(tmp_path: Path) -> None:
    world = SmallWorld(**FAULTY, binding={"calibration": calibrated(serial="other")})
    result = analyse_run(world.run(tmp_path)).primary
    assert (result.status, result.reason) == ("invalid", "not_calibrated")
    assert "'other'" in result.details["invalid"]


def test_an_old_calibration_is_flagged(tmp_path: Path) -> None:
    world = SmallWorld(**FAULTY, binding={"calibration": calibrated(date="2020-01-01")})
    assert "calibration_old" in analyse_run(world.run(tmp_path / "old")).primary.flags
    fresh = SmallWorld(**FAULTY, binding={"calibration": calibrated()})
    assert "calibration_old" not in analyse_run(fresh.run(tmp_path / "fresh")).primary.flags
