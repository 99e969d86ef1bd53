"""Measurements that others made: declared stamps, gross energy, one bracket; written as runs and analysed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.derive import check, derive
from harness.core.clock import meter_clock
from harness.core.result import EnergyResult, Status
from harness.core.spec import MeterBinding, ProtocolSpec
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.imports.foreign import ForeignMeter, ForeignRun, imported_protocol, write_run
from harness.store.run_reader import RunReader

CLOCK = meter_clock("foreign")
MS = 1_000_000
ACTIVE_W, IDLE_W, SCALE = 0.8, 0.3, 1e-6


def timeline(windows: list[tuple[float, float, int]], brackets: list[tuple[Phase, float, float]]) -> Timeline:
    """Windows (begin s, end s, inferences), each a start of its own, back to back; brackets of standby."""
    begin, end, start = [], [], []
    for k, (a, b, n) in enumerate(windows):
        cut = np.linspace(a * 1e9, b * 1e9, n + 1).astype(np.int64)
        begin.append(cut[:-1])
        end.append(cut[1:])
        start.append(np.full(n, k))
    spans = [Span(k, Phase.MEASURED, int(a * 1e9), int(b * 1e9)) for k, (a, b, _) in enumerate(windows)]
    spans += [Span(0, phase, int(a * 1e9), int(b * 1e9)) for phase, a, b in brackets]
    rows = np.concatenate(start).astype(np.int64)
    code = np.full(len(rows), PHASE_CODE[Phase.MEASURED], np.int64)
    return Timeline(CLOCK, tuple(spans), rows, code, np.concatenate(begin), np.concatenate(end))


def foreign(
    root: Path, *, seed: int = 0, accuracy: Accuracy | None = None, windows: Any = ((10, 20, 50), (25, 35, 50)),
    brackets: Any = (), document: Any = None, **protocol: Any,
) -> EnergyResult:  # fmt: skip
    rng = np.random.default_rng(seed)
    t = np.arange(1, 40_001) * MS
    power = np.full(len(t), IDLE_W)
    for a, b, _ in windows:
        power[int(a * 1000) : int(b * 1000)] = ACTIVE_W
    power += rng.normal(0, 0.01, len(t))
    raw = np.rint(power / SCALE).astype(np.int32)
    reading = Reading(ReadingKind.MEAN, MS, MS)
    channel = ChannelSpec("main", "power_w", ("power",), reading, accuracy)
    info = MeterInfo("imported", "made up", "0", "", CLOCK, (ColumnSpec("power", "W"),), (channel,))
    block = Block(t, {"power": raw}, (CalibrationPiece(0, "power", 0, SCALE, 0.0),))
    binding = MeterBinding("meter", "imported", (("main", "board"),), "dc_input", ("board",))
    run = ForeignRun(
        "made", "net", "0" * 64, "made for a test", (ForeignMeter(binding, info, [block]),),
        timeline(list(windows), list(brackets)), imported_protocol(**protocol), documents={"import": document or {}},
    )  # fmt: skip
    path = write_run(root, run)
    return analyse_run(RunReader.open(path)).primary


def test_gross_without_standby_has_an_interval_and_no_dynamic_energy(tmp_path: Path) -> None:
    sheet = Accuracy(0.01, 0.006, 0.0, "sheet")
    result = foreign(tmp_path, accuracy=sheet)
    assert result.status is Status.VALID
    assert result.energy_per_inference_j is None and result.interval_95_j is None
    assert result.standby_w is None and result.leverage is None and result.gap_energy_per_inference_j is None
    assert result.gross_energy_per_inference_j == pytest.approx(ACTIVE_W * 0.2, rel=0.002)
    assert result.gross_interval_95_j is not None and result.gross_u_j is not None
    low, high = result.gross_interval_95_j
    assert low < ACTIVE_W * 0.2 < high
    parts = {p.name: p for p in result.budget}
    assert parts["meter offset"].u_j == parts["meter offset"].gross_u_j == pytest.approx(0.006 / 3**0.5 * 0.2)
    assert parts["meter gain"].u_j == pytest.approx(0.01 / 3**0.5 * ACTIVE_W * 0.2, rel=0.01)
    assert not any(name.startswith("standby") for name in parts)
    assert {"no_standby", "alignment_declared"} <= set(result.flags)
    assert result.measurand.startswith("gross energy of one inference at dc_input, standby included")
    (run,) = (p for p in tmp_path.iterdir() if p.is_dir())
    derive(run)
    assert check(run).identical


def test_edges_that_are_declared_badly_widen_the_interval(tmp_path: Path) -> None:
    fine = foreign(tmp_path / "a", accuracy=None)
    coarse = foreign(tmp_path / "b", accuracy=None, alignment_u_s=0.05)
    part = {p.name: p for p in coarse.budget}["clock"]
    # two windows of two edges, 50 ms each, at active power, over 100 inferences
    assert part.u_j == pytest.approx(0.05 * ACTIVE_W * 2 / 100, rel=0.02)
    assert "meter_accuracy_unknown" in fine.flags
    assert fine.gross_u_j is not None and coarse.gross_u_j is not None
    assert coarse.gross_u_j > 3 * fine.gross_u_j


def test_one_bracket_alone_gives_dynamic_energy_with_room_for_drift(tmp_path: Path) -> None:
    result = foreign(tmp_path, brackets=((Phase.STANDBY_BEFORE, 1, 9),), measurand="dynamic")
    assert result.status is Status.VALID
    assert result.energy_per_inference_j == pytest.approx((ACTIVE_W - IDLE_W) * 0.2, rel=0.003)
    drift = {p.name: p for p in result.budget}["standby drift"]
    assert drift.u_j == pytest.approx(0.05 * IDLE_W / 3**0.5 * 0.2, rel=0.02)
    assert "single_bracket" in result.flags and "no_standby" not in result.flags
    other = foreign(tmp_path / "b", brackets=((Phase.STANDBY_AFTER, 36, 39),), measurand="dynamic")
    assert other.energy_per_inference_j == pytest.approx((ACTIVE_W - IDLE_W) * 0.2, rel=0.003)


def test_dynamic_energy_needs_a_bracket_all_the_same(tmp_path: Path) -> None:
    result = foreign(tmp_path, measurand="dynamic")
    assert result.reason == "standby_missing"


def test_a_measurement_that_asks_for_two_brackets_still_needs_both(tmp_path: Path) -> None:
    result = foreign(tmp_path, brackets=((Phase.STANDBY_BEFORE, 1, 9),), measurand="dynamic", standby_s=8.0)
    assert result.reason == "standby_missing"


def test_one_window_of_one_row_shows_its_scatter_in_time(tmp_path: Path) -> None:
    told = {"stamps": "window edges", "unit": "marked window", "flags": ["window_count_unknown"]}
    result = foreign(tmp_path, windows=((10, 20, 1),), document=told)
    assert result.status is Status.VALID
    assert result.gross_energy_per_inference_j == pytest.approx(ACTIVE_W * 10, rel=0.002)
    assert {p.name: p.u_j for p in result.budget}["repeatability"] > 0
    assert "window_count_unknown" in result.flags and "single_start" in result.flags
    assert "one marked window" in result.measurand


def test_a_trace_that_lies_elsewhere_in_time_is_refused(tmp_path: Path) -> None:
    result = foreign(tmp_path, windows=((100, 110, 50),))
    assert result.status is Status.INVALID and result.reason == "clocks"
    assert "do not overlap" in result.details["invalid"]


def test_the_interval_of_gross_energy_holds_the_truth(tmp_path: Path) -> None:
    held = 0
    for seed in range(20):
        gain = np.random.default_rng(900 + seed).uniform(-0.01, 0.01)
        result = foreign(tmp_path / str(seed), seed=seed, accuracy=Accuracy(0.01, 0.003, 0.0, "sheet"))
        assert result.gross_interval_95_j is not None
        low, high = (v * (1 + gain) for v in result.gross_interval_95_j)
        held += low <= ACTIVE_W * 0.2 <= high
    assert held >= 17


def test_protocol_of_imports_is_the_one_that_is_declared() -> None:
    protocol: ProtocolSpec = imported_protocol()
    assert (protocol.measurand, protocol.alignment, protocol.standby_s) == ("gross", "declared", 0.0)
    assert replace(protocol, measurand="dynamic") == imported_protocol(measurand="dynamic")
