"""A calibration of another unit is refused before anything is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.intake import Intake
from harness.core.bench_facts import Calibration, ChannelCalibration
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding
from harness.core.trace import ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind


def intake(path: Path, serial: str) -> Intake:
    channel = ChannelCalibration("main", 1.01, 0.001, 0.0, 0.001)
    calibration = Calibration(serial, "2026-03-01", "us", (channel,))
    binding = MeterBinding("m", "d", (("main", "all"),), "dc_input", ("all",), calibration=calibration)
    columns = (ColumnSpec("w", "W"),)
    spec = ChannelSpec("main", "power_w", ("w",), Reading(ReadingKind.MEAN, 1000, 1000))
    return Intake(binding, MeterInfo("d", "model", "7", "1", "meter:7", columns, (spec,)), path / "m.arrows")


def test_the_calibration_of_this_very_unit_is_taken(tmp_path: Path) -> None:
    intake(tmp_path, "7").close()


def test_that_of_another_unit_is_refused_and_nothing_is_begun(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is of serial '8', this one is '7'") as caught:
        intake(tmp_path, "8")
    assert "this very unit" in caught.value.hint
    assert not list(tmp_path.iterdir())
