"""Telemetry goes into a run directory and comes out unchanged, also out of one that was never finished."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness import load_run
from harness.core.errors import DeviceError, SpecError
from harness.core.telemetry import Telemetry, TelemetryChannel, TelemetryKind
from harness.store.layout import check_name
from harness.store.parquet import mark_of
from harness.store.recover import recover_partial
from harness.store.run_writer import RunWriter

CHANNELS = (
    TelemetryChannel(TelemetryKind.TEMPERATURE_C, "thermal_zone0 cpu-thermal"),
    TelemetryChannel(TelemetryKind.TEMPERATURE_C, "thermal_zone1 gpu"),
    TelemetryChannel(TelemetryKind.FREQUENCY_HZ, "policy0"),
)


def part(first_s: int, rows: list[list[float]], clock: str = "board:local") -> Telemetry:
    t_ns = (first_s + np.arange(len(rows), dtype=np.int64)) * 1_000_000_000
    return Telemetry(clock, t_ns, CHANNELS, np.array(rows, np.float64).reshape(-1, 3))


FIRST = part(1, [[40.0, np.nan, 1.5e9], [41.5, 39.0, 1.2e9]])
SECOND = part(3, [[np.nan, np.nan, np.nan]])


def check(told: Telemetry | None) -> None:
    assert told is not None
    assert told.clock == "board:local"
    assert told.channels == CHANNELS
    np.testing.assert_array_equal(told.t_ns, np.array([1, 2, 3]) * 1_000_000_000)
    np.testing.assert_array_equal(told.values, np.concatenate([FIRST.values, SECOND.values]))
    np.testing.assert_array_equal(told.hottest_c(), [40.0, 41.5, np.nan])
    names, hertz = told.of(TelemetryKind.FREQUENCY_HZ)
    assert names == ("policy0",)
    np.testing.assert_array_equal(hertz[:2, 0], [1.5e9, 1.2e9])
    assert len(told.between(2_000_000_000, 3_000_000_000).t_ns) == 1


def test_telemetry_reads_back_while_measuring_and_afterwards(samples: SimpleNamespace, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, samples.spec())
    samples.fill(writer, [samples.block(0)])
    writer.put_telemetry(FIRST)
    writer.put_telemetry(SECOND)
    check(recover_partial(writer.path).telemetry())
    final = writer.finish()
    check(load_run(final).telemetry())
    assert mark_of(final / "raw" / "telemetry.parquet")["simulated"] is True
    assert not list(final.rglob("*.arrows"))


def test_a_run_without_telemetry_has_none(samples: SimpleNamespace, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, samples.spec())
    samples.fill(writer, [samples.block(0)])
    assert recover_partial(writer.path).telemetry() is None
    final = writer.finish()
    assert load_run(final).telemetry() is None
    assert not (final / "raw" / "telemetry.parquet").exists()


def test_one_clock_and_no_meter_of_that_name(samples: SimpleNamespace, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, samples.spec())
    writer.put_telemetry(FIRST)
    with pytest.raises(DeviceError, match="clock"):
        writer.put_telemetry(part(9, [[1.0, 1.0, 1.0]], "host"))
    with pytest.raises(SpecError):
        check_name("telemetry")


def test_no_reading_is_no_temperature() -> None:
    nothing = Telemetry("host", np.array([1], np.int64), (), np.empty((1, 0)))
    assert np.isnan(nothing.hottest_c()).all()
