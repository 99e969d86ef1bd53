"""What readings alone show of a meter: rate, repetitions, resolution, noise, clock."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.readings.character import characterise
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind, Trace

PERIOD_NS = 10_000_000


def trace_of(raw: np.ndarray, t_ns: np.ndarray, anchors: np.ndarray | None = None) -> Trace:  # type: ignore[type-arg]
    reading = Reading(ReadingKind.POINT, PERIOD_NS, PERIOD_NS)
    info = MeterInfo(
        "toy", "T1", "1", "1", "meter:1", (ColumnSpec("i", "A"), ColumnSpec("v", "V")),
        (ChannelSpec("main", "power_w", ("i", "v"), reading),),
    )  # fmt: skip
    pieces = (CalibrationPiece(0, "i", 0, 0.001, 0.0), CalibrationPiece(0, "v", 0, 0.004, 0.0))
    volts = np.full(len(raw), 1250)
    none = np.empty((0, 2), np.int64)
    return Trace(info, t_ns, {"i": raw, "v": volts}, pieces, (), none if anchors is None else anchors)


def test_rate_repetition_and_resolution() -> None:
    rng = np.random.default_rng(5)
    fresh = rng.integers(190, 211, 200) * 2  # a register that moves in twos, renewed every fifth read
    raw = np.repeat(fresh, 5)
    t = np.arange(len(raw), dtype=np.int64) * PERIOD_NS
    found = characterise(trace_of(raw, t), "main")
    assert found.rate_hz == pytest.approx(100, rel=1e-3)
    assert found.update_s == pytest.approx(0.05)
    assert found.repeated_share == pytest.approx(0.8, abs=0.03)
    assert found.step_w == pytest.approx(2 * 0.001 * 5.0)
    assert found.mean_w == pytest.approx(float(raw.mean()) * 0.001 * 5.0)


def test_noise_between_neighbours() -> None:
    rng = np.random.default_rng(6)
    raw = np.rint(1000 + 20 * rng.standard_normal(4000)).astype(np.int64)
    found = characterise(trace_of(raw, np.arange(4000, dtype=np.int64) * PERIOD_NS), "main")
    assert found.noise_w == pytest.approx(20 * 0.001 * 5.0, rel=0.1)


@pytest.mark.parametrize("ppm", [-3000.0, 0.0, 5000.0])
def test_clock_against_the_host(ppm: float) -> None:
    meter = np.arange(0, 20_000_000_000, 50_000_000, dtype=np.int64)
    rng = np.random.default_rng(7)
    late = rng.exponential(2e5, len(meter))
    host = np.rint(7_000_000_000 + meter * (1 + ppm * 1e-6) + late).astype(np.int64)
    t = np.arange(2000, dtype=np.int64) * PERIOD_NS
    found = characterise(trace_of(rng.integers(1, 9, 2000), t, np.stack([meter, host], 1)), "main")
    assert found.clock_ppm is not None and found.u_clock_ppm is not None
    assert abs(found.clock_ppm - ppm) < max(5.0, 4 * found.u_clock_ppm)


def test_too_few_readings_show_nothing() -> None:
    found = characterise(trace_of(np.arange(3), np.arange(3, dtype=np.int64) * PERIOD_NS), "main")
    assert (found.rows, found.rate_hz, found.noise_w) == (3, None, None)
