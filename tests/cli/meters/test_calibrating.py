"""Calibrating a meter of known gain and zero gives them back, within what the file says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers.monsoon.meter import open_meter
from drivers.simulated.monsoon import FunctionSource, HvpmDevice
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.bench.single_meter import HostMeter
from harness.cli.meters.calibrating import Load, References, level_of, load_from, powers
from harness.config.calibration import load_calibration, write_calibration
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock

GAIN, ZERO_A = 1.012, 0.004
KNOWN = References(tolerance_rel=0.001, volt_u=0.0005, watt_u=0.0, common_rel=0.0005)


def reading(ohm: float | None, volt: float, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """What an HVPM with a wrong gain and zero reads at a resistor: the shipped driver on its wire."""
    rng = np.random.default_rng(seed)
    true_a = 0.0 if ohm is None else volt / ohm

    def current(t_s: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return GAIN * true_a + ZERO_A + 0.002 * rng.standard_normal(len(t_s))

    clock = VirtualClock()
    source = FunctionSource(current, volt, begin_ns=clock.now_ns())
    backend = InProcessUsbBackend([HvpmDevice(source, now_ns=clock.now_ns)])
    meter = HostMeter(open_meter(MeterRequest("supply", usb_backend=backend, simulated=True), clock=clock), clock)
    try:
        return powers(meter, "main", 2.0)
    finally:
        meter.close()


def test_gain_and_zero_come_back(tmp_path: Path) -> None:
    from analysis.calibrating import fit_calibration

    loads = [Load("open", None, 5.0, None), Load("10", 10.0, 5.0, None), Load("5", 5.0, 5.0, None)]
    levels = [
        level_of(load, reading(load.ohm, 5.0, seed), KNOWN, same_resistor=False) for seed, load in enumerate(loads)
    ]
    (found,) = fit_calibration(levels, channel="main", serial="1", date="2026-11-22", by="test").channels
    assert abs(found.gain - GAIN) < found.gain_u95 + 0.0005  # the unit's own scales are good to some 0.05 %
    assert found.offset_w == pytest.approx(ZERO_A * 5.0, abs=found.offset_u95_w + 0.002)
    assert found.gain_u95 < 0.01
    assert found.corrected_w(GAIN * 2.5 + ZERO_A * 5.0) == pytest.approx(2.5, rel=0.005)
    path = tmp_path / "unit.yaml"
    calibration = fit_calibration(levels, channel="main", serial="1", date="2026-11-22", by="test")
    write_calibration(calibration, path)
    assert load_calibration(path).channels[0].gain == pytest.approx(found.gain)


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ("10:5.02", (10.0, 5.02, None)),
        ("open:5.05", (None, 5.05, None)),
        ("2.5W", (None, None, 2.5)),
        ("4.7e0:5", (4.7, 5.0, None)),
    ],
)
def test_levels_are_read(text: str, load: tuple[float | None, float | None, float | None]) -> None:
    found = load_from(text)
    assert (found.ohm, found.volt, found.watt) == load


@pytest.mark.parametrize("text", ["10", "W", "10:", "ten:5", "1.2.3:4", "2.5 watt"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="level"):
        load_from(text)
