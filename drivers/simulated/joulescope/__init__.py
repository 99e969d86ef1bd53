"""Stands in for pyjoulescope_driver.Driver: its topics and its statistics, in virtual time."""

from __future__ import annotations

from drivers.simulated.joulescope.device import Instrument as Instrument
from drivers.simulated.joulescope.device import simulator as simulator
