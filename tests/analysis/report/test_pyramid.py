"""Envelopes hide no peak at any level, leave gaps open, and survive their packing to within a quantisation step."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from analysis.report.pyramid import FINEST, MISSING, Scale, borders, level_json, levels, stretch_json
from harness.core.curve import EnergyCurve

PERIOD_NS = 200_000


def curve_of(power: np.ndarray, covered: np.ndarray | None = None) -> EnergyCurve:
    covered = np.full(len(power), float(PERIOD_NS)) if covered is None else covered
    edge = np.arange(len(power) + 1, dtype=np.int64) * PERIOD_NS
    return EnergyCurve("c", edge, np.r_[0, np.cumsum(power * covered * 1e-9)], np.r_[0, np.cumsum(covered)])


def unpacked(text: str, kind: str = "<u2") -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_one_high_reading_is_seen_at_every_level() -> None:
    power = np.full(300_000, 2.0)
    power[123_456], power[200_001] = 9.0, 0.5
    found = levels(curve_of(power), 0, 300_000 * PERIOD_NS, period_ns=PERIOD_NS)
    assert [len(level.mean_w) for level in found] == [1024, 4096, 16384, 65536]
    for level in found:
        assert np.nanmax(level.high_w) == pytest.approx(9.0)
        assert np.nanmin(level.low_w) == pytest.approx(0.5)
        at = 123_456 * len(level.mean_w) // 300_000
        assert level.high_w[at] == pytest.approx(9.0)
        assert np.all(level.low_w <= level.mean_w + 1e-9)


def test_every_bin_holds_the_extremes_of_its_readings() -> None:
    rng = np.random.default_rng(3)
    power = rng.normal(5, 1, 40_000)
    level = levels(curve_of(power), 0, 40_000 * PERIOD_NS, period_ns=PERIOD_NS)[-1]
    cut = borders(0, 40_000 * PERIOD_NS, len(level.mean_w))
    for k in rng.integers(0, len(level.mean_w), 200):
        first, last = int(cut[k] // PERIOD_NS), int(-(-cut[k + 1] // PERIOD_NS))
        assert level.low_w[k] == pytest.approx(power[first:last].min(), rel=1e-6)
        assert level.high_w[k] == pytest.approx(power[first:last].max(), rel=1e-6)


def test_a_stretch_without_readings_is_missing_and_never_zero() -> None:
    covered = np.full(100_000, float(PERIOD_NS))
    covered[50_000:60_000] = 0
    curve = curve_of(np.full(100_000, 2.0), covered)
    scale = Scale.of(0.0, 4.0)
    for level in levels(curve, 0, 100_000 * PERIOD_NS, period_ns=PERIOD_NS):
        packed = level_json(level, scale)
        for name in ("low", "mean", "high"):
            codes = unpacked(packed[name])
            assert np.mean(codes == MISSING) == pytest.approx(0.1, abs=2 / len(codes))
            assert not np.any(codes == 0)


def test_readings_survive_packing() -> None:
    power = np.random.default_rng(1).uniform(1.0, 7.0, 5000)
    power[77] = np.nan
    curve = curve_of(np.nan_to_num(power), np.where(np.isfinite(power), PERIOD_NS, 0.0))
    scale = Scale.of(1.0, 7.0)
    packed = stretch_json(curve, 0, 5001, begin_ns=0, tick_ns=1000, scale=scale)
    codes, edge = unpacked(packed["power"]), unpacked(packed["edge"], "<u4")
    assert codes[77] == MISSING
    known = np.isfinite(power)
    assert np.allclose(scale.low_w + codes[known] * scale.step_w, power[known], atol=scale.step_w)
    assert np.array_equal(edge.astype(np.int64) * 1000, curve.edge_ns)


def test_a_record_of_any_length_takes_a_few_megabytes() -> None:
    """An hour at 5 kHz is 18 million readings; from 0.8 million on the finest level does not grow."""
    power = np.random.default_rng(2).normal(5, 1, 1_500_000)
    found = levels(curve_of(power), 0, 1_500_000 * PERIOD_NS, period_ns=PERIOD_NS)
    scale = Scale.of(float(power.min()), float(power.max()))
    document: list[dict[str, Any]] = [level_json(level, scale) for level in found]
    assert len(found[-1].mean_w) == FINEST
    assert len(json.dumps(document)) < 4_000_000


def test_a_short_record_is_drawn_too() -> None:
    found = levels(curve_of(np.array([1.0, 2.0, 3.0])), 0, 3 * PERIOD_NS, period_ns=PERIOD_NS)
    assert np.nanmax(found[0].high_w) == pytest.approx(3.0)
