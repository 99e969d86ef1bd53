"""A stored trace played again: the same readings, gaps, clock and calibration; the end of it; damage; its marks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.replay.meter import ENDED, open_meter
from drivers.replay.stored import read_run
from drivers.simulated.replay import Recording
from drivers.simulated.replay.recording import FAST_PPM, PERIOD_NS, W_PER_COUNT
from drivers.simulated.replay.trials import trials
from harness.core.clock import HOST
from harness.core.errors import BenchError, DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.trace import Block, ReadingKind, Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.store.run_reader import RunReader
from harness.testing.fault_matrix import judge

ROOT = Path(__file__).parents[3]
CSV = Path(__file__).parent / "data/ina219-hwmon-simulated-bench.csv"
STORED = next((ROOT / "tests/store/data/format-1").iterdir())
TYPED = {
    "truncated", "bit-flip", "no-calibration", "no-manifest", "half-line", "rows-out-of-order", "ends-early",
    "ends-early-error",
}  # fmt: skip


def played(options: Mapping[str, Any], seconds: float, *, step_s: float = 0.25, start_ns: int = 9 * NS_PER_S) -> Trace:
    clock = VirtualClock(start_ns)
    meter = open_meter(MeterRequest("then", options), clock=clock)
    info = meter.open()
    meter.start()
    blocks: list[Block | None] = []
    while clock.now_ns() < start_ns + seconds * NS_PER_S:
        blocks.append(meter.step(clock.now_ns() + round(step_s * NS_PER_S)))
    blocks.append(meter.stop())
    assert meter.stop() is None
    meter.close()
    return join_blocks(info, [block for block in blocks if block is not None])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Recording(lambda t_s: 2.0 * t_s + 0.5 * t_s**2, 10.0, gap_s=(4.0, 4.5)).write_run(tmp_path)


def test_all_of_it_comes_again(run: Path) -> None:
    recorded, trace = read_run(run, "scope"), played({"run": str(run)}, 10.5)
    assert np.array_equal(trace.t_ns, recorded.t_ns)
    assert np.array_equal(trace.columns["power"], recorded.columns["power"])
    assert trace.calibration == recorded.calibration
    assert trace.gaps[0] == recorded.gaps[0]
    assert trace.power_w("main") == pytest.approx(recorded.columns["power"] * W_PER_COUNT)
    assert trace.info.channels == recorded.info.channels


@pytest.mark.parametrize("step_s", [0.01, 0.13, 20.0])
def test_it_does_not_matter_how_it_is_asked(run: Path, step_s: float) -> None:
    trace, other = played({"run": str(run)}, 9.9, step_s=step_s), played({"run": str(run)}, 9.9, step_s=0.5)
    shared = min(len(trace), len(other))
    assert np.array_equal(trace.t_ns[:shared], other.t_ns[:shared])
    assert trace.calibration == other.calibration


def test_it_has_the_clock_it_was_recorded_with(run: Path) -> None:
    """40 ppm fast, against anchors that are moved to now and lie within the playing."""
    start_ns = 50 * NS_PER_S
    trace = played({"run": str(run)}, 10.0, start_ns=start_ns)
    assert trace.info.clock == f"meter:{trace.info.serial}"
    anchors = trace.anchors
    assert start_ns <= anchors[:, 1].min() and anchors[:, 1].max() <= start_ns + 10.5 * NS_PER_S
    rate = np.polyfit(anchors[:, 1] - anchors[0, 1], anchors[:, 0] - anchors[0, 0], 1)[0] - 1
    assert rate * 1e6 == pytest.approx(FAST_PPM, abs=250)
    due_ns = anchors[:, 1] - start_ns - (anchors[:, 0] - trace.t_ns[0])
    assert np.median(due_ns) == pytest.approx(PERIOD_NS, abs=3_000_000)


def test_readings_come_when_they_are_due_and_not_before(run: Path) -> None:
    clock = VirtualClock(9 * NS_PER_S)
    meter = open_meter(MeterRequest("then", {"run": str(run)}), clock=clock)
    meter.open()
    meter.start()
    first = meter.step(clock.now_ns() + NS_PER_S)
    assert first is not None and len(first) == pytest.approx(100, abs=2)
    assert meter.step(clock.now_ns()) is None
    again = meter.step(clock.now_ns() + 10_000_000)
    assert again is not None and len(again) == 1


def test_the_end_of_the_trace_is_a_gap_and_no_zero(run: Path) -> None:
    trace = played({"run": str(run)}, 14.0)
    gap = trace.gaps[-1]
    assert gap.reason == ENDED and gap.begin_ns == trace.t_ns[-1]
    assert (gap.end_ns - gap.begin_ns) / NS_PER_S == pytest.approx(4.0, abs=0.02)
    assert trace.power_w("main").min() > 1.9


def test_or_it_is_an_error(run: Path) -> None:
    with pytest.raises(DeviceError, match=r"10\.0 s long"):
        played({"run": str(run), "at_end": "error"}, 14.0)


def test_stopped_in_a_gap_the_gap_ends_there(run: Path) -> None:
    trace = played({"run": str(run)}, 4.25)
    assert [gap.reason for gap in trace.gaps] == ["the cable came out"]
    assert (trace.gaps[0].end_ns - trace.gaps[0].begin_ns) / NS_PER_S == pytest.approx(0.25, abs=0.02)


def test_it_says_that_it_is_no_measurement(tmp_path: Path) -> None:
    """Also of what was once measured with a real meter."""
    run = Recording(lambda t_s: 2.0 * t_s, 2.0, simulated=False).write_run(tmp_path)
    assert not read_run(run, None).info.simulated
    info = played({"run": str(run)}, 0.5).info
    assert info.simulated and info.driver == "replay"
    assert (info.details["recorded_driver"], info.details["recorded_serial"]) == ("scope", "42")
    assert info.details["recorded_simulated"] == "false"


def test_a_run_of_the_store_reads_as_the_store_reads_it() -> None:
    """The store's own fixture of format 1, written by the shipped writer."""
    theirs, ours = RunReader.open(STORED).trace("monsoon"), read_run(STORED, "monsoon")
    assert ours.info == theirs.info
    assert np.array_equal(ours.t_ns, theirs.t_ns) and np.array_equal(ours.anchors, theirs.anchors)
    assert (ours.calibration, ours.gaps) == (theirs.calibration, theirs.gaps)
    for name, values in theirs.columns.items():
        assert np.array_equal(ours.columns[name], values)
        assert ours.columns[name].dtype == values.dtype


# --- CSV ------------------------------------------------------------------------------------------------


def test_an_export_of_the_shipped_command_is_played(tmp_path: Path) -> None:
    trace = played({"file": str(CSV), "kind": "part_time", "window_s": 0.000532}, 7.0)
    assert len(trace) == 600
    reading = trace.info.channel("main").reading
    assert (reading.kind, reading.window_ns) == (ReadingKind.PART_TIME, 532_000)
    assert reading.period_ns == pytest.approx(10_000_000, rel=0.05)
    first = float(CSV.read_text().splitlines()[2].split(",")[1])
    assert trace.power_w("main")[0] == pytest.approx(first, abs=1e-6)
    assert trace.info.clock == HOST and trace.info.details["recorded_simulated"] == "true"


def test_an_empty_field_is_a_gap(tmp_path: Path) -> None:
    path = Recording(lambda t_s: 3.0 * t_s, 3.0, gap_s=(1.0, 1.2)).write_csv(tmp_path / "p.csv")
    trace = played({"file": str(path), "kind": "mean"}, 2.9)
    (gap,) = trace.gaps
    assert gap.reason == "missing in the file" and gap.lost == 20
    assert np.abs(trace.power_w("main") - 3.0).max() < 0.01


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("t_ns,main_power_w\n1,2.0\n2,2.1", DeviceError),
        ("t_ns,main_power_w\n2,2.0\n1,2.1\n", DeviceError),
        ("t_ns,main_power_w\n1,2.0\n", DeviceError),
        ("t_ns,main_power_w\n1,two\n2,2.0\n", DeviceError),
        ("t_ns,main_power_w\n1,2.0\n2,2.0,7\n", DeviceError),
        ("t_ns,package_j\n1,2.0\n2,2.1\n", SpecError),
        ("seconds,main_power_w\n1,2.0\n2,2.1\n", SpecError),
        ("\n", DeviceError),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, text: str, error: type[BenchError]) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(error, match=r"p\.csv"):
        open_meter(MeterRequest("then", {"file": str(path)})).open()


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"speed": 2}, {"run": ""}, {"run": 3}, {"run": "a", "file": "b"}, {"at_end": "zero"}, {"kind": "counter"},
     {"period_s": 0}, {"window_s": "x"}],
)  # fmt: skip
def test_options_are_checked_before_a_file_is_opened(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="replay"):
        open_meter(MeterRequest("then", options))


def test_there_must_be_something_to_play(tmp_path: Path, run: Path) -> None:
    for options in ({}, {"run": str(tmp_path / "nowhere")}, {"run": str(run), "meter": "other"}):
        with pytest.raises(SpecError):
            open_meter(MeterRequest("then", options)).open()
    with pytest.raises(SpecError, match="no channel 'usb'"):
        open_meter(MeterRequest("then", {"run": str(run)}, (("usb", "usb"),))).open()


def test_a_run_of_another_format_is_refused(tmp_path: Path, run: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(SpecError, match="99"):
        open_meter(MeterRequest("then", {"run": str(other)})).open()


@pytest.mark.parametrize("trial", trials(), ids=lambda trial: trial.fault)
def test_faults_end_as_they_should(trial: Any) -> None:
    judged = judge(trial)
    assert judged.outcome == ("typed_error" if trial.fault in TYPED else "recovered"), judged
