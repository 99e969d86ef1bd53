"""Falls that come late after the stamps put the stamps in doubt, if the edges tell a delay at all."""

from __future__ import annotations

import dataclasses

import pytest

from analysis.energy.gap import _late
from analysis.timing.lag import Lag
from analysis.timing.steps import StepFit

PERIOD_NS = 200_000
FALL = StepFit(2_000_000.0, 400_000.0, 6.0, 3.0, 0.05, 60, 3_600_000.0, 20e6)
RISE = StepFit(500_000.0, 900_000.0, 3.0, 6.0, 0.05, 60, 4_100_000.0, 20e6)


def late_ns(fall: StepFit, rise: StepFit) -> float:
    return _late(Lag(0, {0: 0}, 1e5, 1.0, 0.0, fall, rise), PERIOD_NS)


def test_a_fall_that_is_late_is_said() -> None:
    assert late_ns(FALL, RISE) == 1_500_000
    assert late_ns(dataclasses.replace(FALL, delay_ns=700_000.0), RISE) == 0


@pytest.mark.parametrize(
    "rise", [dataclasses.replace(RISE, tau_ns=7e6), dataclasses.replace(RISE, rms_w=0.5)], ids=["slow", "odd"]
)
def test_an_edge_that_tells_no_delay_says_nothing(rise: StepFit) -> None:
    """Still rising at the end of a marker chip, or of another shape: delay and time constant are one."""
    assert late_ns(FALL, rise) == 0
