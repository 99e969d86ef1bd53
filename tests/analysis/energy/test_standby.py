"""Standby brackets: plain means, and a level that moves inside one is seen where daemons' spikes are not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.energy.standby import find_standby
from analysis.readings.curve import ChannelCurve
from harness.core.curve import EnergyCurve
from harness.core.timeline import Phase, Span, Timeline
from harness.core.trace import Reading, ReadingKind

PERIOD_NS = 1_000_000
NONE = np.empty(0, np.int64)
TIMELINE = Timeline(
    "host",
    (Span(0, Phase.STANDBY_BEFORE, 0, 5 * 10**9), Span(0, Phase.STANDBY_AFTER, 20 * 10**9, 25 * 10**9)),
    NONE, NONE, NONE, NONE,
)  # fmt: skip


def channel(power_w: np.ndarray) -> ChannelCurve:
    edge_ns = np.arange(len(power_w) + 1, dtype=np.int64) * PERIOD_NS
    energy_j = np.concatenate([[0.0], np.cumsum(power_w) * PERIOD_NS * 1e-9])
    curve = EnergyCurve("host", edge_ns, energy_j, edge_ns.astype(np.float64))
    return ChannelCurve("main", curve, Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS), PERIOD_NS, len(power_w))


def noisy(seed: int) -> np.ndarray:
    return 2.0 + 0.02 * np.random.default_rng(seed).standard_normal(25_000)


def test_a_quiet_bracket_is_its_plain_mean() -> None:
    found = find_standby(channel(noisy(1)), TIMELINE, 0)
    assert found.problem == ""
    assert found.brackets[0].mean_w == pytest.approx(2.0, abs=0.002)
    assert found.level_range_w < 0.01


def test_spikes_raise_the_mean_and_not_the_level() -> None:
    power = noisy(2)
    power[1_000:1_250] += 2.0  # a daemon for a quarter of a second
    found = find_standby(channel(power), TIMELINE, 0)
    assert found.brackets[0].mean_w > 2.08
    assert found.level_range_w < 0.02


def test_a_fan_that_switches_on_within_a_bracket_moves_its_level() -> None:
    power = noisy(3)
    power[22_500:] += 0.6
    found = find_standby(channel(power), TIMELINE, 0)
    assert found.level_range_w == pytest.approx(0.6, abs=0.02)
    assert found.brackets[0].level_range_w < 0.02


def test_a_missing_bracket_is_named() -> None:
    short = Timeline("host", TIMELINE.spans[:1], NONE, NONE, NONE, NONE)
    assert "standby_after" in find_standby(channel(noisy(4)), short, 0).problem
