"""tegrastats as a board's sampler reads it: what is bound, what is refused, what becomes a gap."""

from __future__ import annotations

import dataclasses
import errno
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers.simulated.tegrastats import PROFILES, TegrastatsTree, simulator
from drivers.simulated.tegrastats.subject import subject
from drivers.simulated.tegrastats.trials import trials
from drivers.tegrastats.codec import Rails, Refused, parse_line
from drivers.tegrastats.onboard import FROZEN_LINES, OnBoardTegrastats, find_on_board, open_on_board
from harness.bench.rails import check_total
from harness.boards.local import LocalBoard
from harness.boards.state.files import LocalFiles
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, OnBoardMeter, RawSamples, SamplerPlan, SelfTesting
from harness.core.spec import MeterBinding
from harness.core.trace import Block, MeterInfo, ReadingKind, Trace, join_blocks
from harness.testing.conformance import CHECKS
from harness.testing.fault_matrix import judge
from harness.testing.on_board import as_subject

MS = 1_000_000
CLOCK = "board:jetson"


def prepared(
    root: Path, *rails: str, profile: str = "orin-nano-jp6", round_ms: int | None = None, **options: str | float
) -> tuple[OnBoardTegrastats, MeterInfo, SamplerPlan]:
    simulator(root, profile, round_ms=round_ms)
    meter = open_on_board(MeterRequest("jetson", options, tuple((r, r) for r in rails), root, simulated=True))
    info, plan = meter.prepare(LocalFiles(), clock=CLOCK)
    return meter, info, plan


def line(total: int, cpu: int = 1500, soc: int = 900) -> bytes:
    figures = {"VDD_IN": total, "VDD_CPU_GPU_CV": cpu, "VDD_SOC": soc}
    return PROFILES["orin-nano-jp6"].line(figures, figures, "09-27-2026 02:30:00").encode("ascii")


def decoded(meter: OnBoardTegrastats, info: MeterInfo, rows: Sequence[tuple[int, bytes | int]]) -> Trace:
    """Rows of (ms, line) in takes of three."""
    blocks: list[Block | None] = []
    for first in range(0, len(rows), 3):
        part = rows[first : first + 3]
        t_ns = np.array([t * MS for t, _ in part], np.int64)
        blocks.append(meter.decode(RawSamples(t_ns, t_ns, tuple((value,) for _, value in part))))
    blocks.append(meter.finish())
    return join_blocks(info, [block for block in blocks if block is not None])


def test_it_is_what_the_module_prints(tmp_path: Path) -> None:
    meter, info, plan = prepared(tmp_path, interval_ms=200)
    assert isinstance(meter, OnBoardMeter) and isinstance(meter, SelfTesting)
    assert plan == SamplerPlan(command=("tegrastats", "--interval", "200"))
    assert [c.name for c in info.channels] == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert info.details["part_of:VDD_SOC"] == "VDD_IN" and info.details["total"] == "VDD_IN"
    assert info.channels[0].reading.kind is ReadingKind.POINT
    assert info.channels[0].reading.period_ns == 200 * MS
    assert info.clock == CLOCK and "Orin Nano" in info.model
    assert {item.name: item.ok for item in meter.self_test()} == {
        "program": True, "module": True, "total": True, "window": False,
    }  # fmt: skip


@pytest.mark.parametrize(("round_ms", "kind"), [
    (7, ReadingKind.PART_TIME), (28, ReadingKind.PART_TIME), (540, ReadingKind.PART_TIME),
    (660, ReadingKind.OVERLAPPING),
])  # fmt: skip
def test_a_kernel_that_shows_the_chips_round_makes_the_window_known(
    tmp_path: Path, round_ms: int, kind: ReadingKind
) -> None:
    """Of a round, which has shunt and bus of three channels, a rail's current has a sixth."""
    _, info, _ = prepared(tmp_path, round_ms=round_ms)
    assert info.channels[0].reading.kind is kind
    assert info.channels[0].reading.window_ns == round(round_ms * MS / 6)


def test_averages_of_the_chip_are_an_exponential_filter(tmp_path: Path) -> None:
    tree = simulator(tmp_path, round_ms=64, averages=16)
    meter = open_on_board(MeterRequest("jetson", sysfs_root=tree.root))
    info, _ = meter.prepare(LocalFiles(), clock=CLOCK)
    reading = info.channels[0].reading
    assert reading.kind is ReadingKind.FILTERED
    assert np.exp(-4 * MS / reading.tau_ns) == pytest.approx(15 / 16)  # what a round of 4 ms leaves of a difference
    assert "16 averages" in info.details["window"]


def test_a_total_with_its_parts_is_refused(tmp_path: Path) -> None:
    _, info, _ = prepared(tmp_path)
    binding = MeterBinding("t", "tegrastats", (("VDD_IN", "a"), ("VDD_SOC", "b")), "dc_input", ("a", "b"))
    with pytest.raises(SpecError, match="is a part of it"):
        check_total(binding, info)
    check_total(dataclasses.replace(binding, total_rails=("a",)), info)


@pytest.mark.parametrize("profile", ["agx-xavier-jp5", "agx-orin-jp6"])
def test_a_module_without_a_total_has_the_sum_of_all(tmp_path: Path, profile: str) -> None:
    _, info, _ = prepared(tmp_path, profile=profile)
    assert info.details["total"] == "sum of " + " ".join(c.name for c in info.channels)
    assert not [key for key in info.details if key.startswith("part_of:")]


def test_lines_become_rows_stamped_on_arrival(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path, "VDD_IN", "VDD_SOC")
    trace = decoded(meter, info, [(100 * k, line(3000 + k, soc=900 + k)) for k in range(10)])
    assert trace.t_ns.tolist() == [100 * k * MS for k in range(10)]
    assert trace.columns["VDD_IN:power_mw"].tolist() == [3000 + k for k in range(10)]
    assert trace.power_w("VDD_SOC")[3] == pytest.approx(0.903)
    assert not trace.gaps


@pytest.mark.parametrize(
    ("bad", "count", "why"),
    [
        (line(3000)[:-30], "malformed_lines", "goes on behind its rails"),
        (line(3000)[: line(3000).index(b" VDD_CPU")], "header_drift", "rail VDD_CPU_GPU_CV is missing"),
        (b"\x00\xff", "unknown_lines", "not text"),
        (line(0), "zero_totals", "VDD_IN reads 0"),
        (errno.ENOBUFS, "", "ENOBUFS"),
        (errno.EPIPE, "", "ended and was started again"),
    ],
)
def test_what_is_refused_is_part_of_a_gap(tmp_path: Path, bad: bytes | int, count: str, why: str) -> None:
    meter, info, _ = prepared(tmp_path)
    rows: list[tuple[int, bytes | int]] = [(100 * k, line(3000 + k)) for k in range(9)]
    rows[4] = rows[4][0], bad
    rows[5] = rows[5][0], bad
    trace = decoded(meter, info, rows)
    (gap,) = trace.gaps
    assert (gap.begin_ns, gap.end_ns, gap.lost) == (300 * MS, 600 * MS, 2)
    assert why in gap.reason
    assert len(trace) == 7 and (not count or trace.counts[count] == 2)


def test_lines_that_came_at_once_have_no_times_but_the_last(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path)
    rows = [(100 * k, line(3000 + k)) for k in range(4)]
    rows += [(800, line(3000 + k)) for k in range(4, 9)]
    rows += [(900, line(3009))]
    trace = decoded(meter, info, rows)
    assert trace.t_ns[-2:].tolist() == [800 * MS, 900 * MS]
    assert trace.gaps[0].end_ns == 800 * MS
    assert trace.counts["unstamped_lines"] >= 4


def test_a_gated_part_that_reads_zero_is_a_reading(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path)
    trace = decoded(meter, info, [(100 * k, line(3000 + k, soc=0)) for k in range(5)])
    assert len(trace) == 5 and trace.power_w("VDD_SOC").tolist() == [0.0] * 5


def test_equal_lines_are_readings_until_they_are_too_many(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path, frozen_s=4.0)
    few = [(100 * k, line(3000)) for k in range(FROZEN_LINES)]
    rows = [*few, (100 * FROZEN_LINES, line(3040))]
    trace = decoded(meter, info, rows)
    assert len(trace) == FROZEN_LINES + 1 and not trace.gaps
    meter, info, _ = prepared(tmp_path, frozen_s=4.0)
    many = [(100 * k, line(3000)) for k in range(60)]
    trace = decoded(meter, info, [*many, (6000, line(3040)), (6100, line(3080))])
    assert trace.t_ns.tolist() == [0, 6000 * MS, 6100 * MS]
    assert trace.counts["frozen_lines"] == 59
    assert trace.gaps[0].reason == "all rails stood still"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([PROFILES["tx1-jp3"].line({}, {}).encode("ascii")] * 6, "prints no power"),
        ([PROFILES["nano-jp4"].line(*[dict.fromkeys(["POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"], 9)] * 2).encode()] * 6,
         "prints the rails POM_5V_IN, POM_5V_GPU, POM_5V_CPU"),
        ([b"tegrastats: something else entirely"] * 6, "none can be read"),
    ],
)  # fmt: skip
def test_lines_that_can_never_be_readings_are_an_error(tmp_path: Path, lines: list[bytes], words: str) -> None:
    meter, info, _ = prepared(tmp_path)
    with pytest.raises(DeviceError, match=words) as caught:
        decoded(meter, info, [(100 * k, text) for k, text in enumerate(lines)])
    assert caught.value.hint


def test_another_pace_than_asked_for_is_an_error(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path)
    with pytest.raises(DeviceError, match="prints one every 1000 ms") as caught:
        decoded(meter, info, [(1000 * k, line(3000 + k)) for k in range(30)])
    assert "interval_ms to 1000" in (caught.value.hint or "")


def test_a_module_nobody_knows_needs_its_rails_named(tmp_path: Path) -> None:
    simulator(tmp_path)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Some Board\0")
    meter = open_on_board(MeterRequest("jetson", sysfs_root=tmp_path))
    with pytest.raises(DeviceError, match="rails are unknown"):
        meter.prepare(LocalFiles(), clock=CLOCK)
    named = open_on_board(MeterRequest("jetson", rails=(("VDD_IN", "board"),), sysfs_root=tmp_path))
    info, _ = named.prepare(LocalFiles(), clock=CLOCK)
    assert info.details["module"] == "unknown"


@pytest.mark.parametrize(
    "options",
    [{"speed": 1}, {"interval_ms": 5}, {"interval_ms": 100.5}, {"interval_ms": "fast"}, {"run_as": "me"},
     {"module": "tx3"}, {"command": " "}, {"frozen_s": 0}],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, str | float]) -> None:
    with pytest.raises(SpecError):
        open_on_board(MeterRequest("jetson", options=options))


def test_root_goes_by_a_sudo_that_does_not_ask() -> None:
    meter = open_on_board(MeterRequest("jetson", {"run_as": "root", "command": "/usr/bin/tegrastats"}))
    assert meter._options.argv == ("sudo", "-n", "/usr/bin/tegrastats", "--interval", "100")


def test_it_is_found_on_a_board_that_has_it(tmp_path: Path) -> None:
    assert list(find_on_board(LocalFiles(), MeterRequest("any", sysfs_root=tmp_path))) == []
    tree = simulator(tmp_path)
    (found,) = find_on_board(LocalFiles(), MeterRequest("any", sysfs_root=tmp_path))
    assert found.usable and found.where == str(tree.program) and found.channels[0] == "VDD_IN"


@pytest.mark.parametrize("fault", [trial.fault for trial in trials()])
def test_no_fault_is_silently_wrong(fault: str) -> None:
    (trial,) = [trial for trial in trials() if trial.fault == fault]
    judged = judge(trial)
    assert not judged.wrong, judged
    if fault == "none":
        assert judged.outcome == "recovered" and not judged.gap_marked
        assert judged.energy_rel_error is not None and abs(judged.energy_rel_error) < 0.01


def test_the_real_program_under_a_real_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tree = simulator(tmp_path / "jetson")
    tree.show({"VDD_IN": 5320, "VDD_CPU_GPU_CV": 1640, "VDD_SOC": 1440})
    meter = open_on_board(MeterRequest("jetson", {"command": str(tree.program), "interval_ms": 50}, (), tree.root))
    board = LocalBoard("jetson-test", no_models)
    info, plan = meter.prepare(board.files, clock=board.clock)
    sampler = board.start_sampler(plan, lease_s=30.0)
    try:
        blocks = _for_a_while(meter.decode, sampler.take, 1.6)
        tree.show({"VDD_IN": 9120, "VDD_CPU_GPU_CV": 3640, "VDD_SOC": 2440})
        blocks += _for_a_while(meter.decode, sampler.take, 1.0)
        blocks.append(meter.decode(sampler.stop()))
    finally:
        sampler.close()
        board.close()
    trace = join_blocks(info, [b for b in [*blocks, meter.finish()] if b is not None])
    shown = trace.columns["VDD_IN:power_mw"].tolist()
    assert len(trace) > 20 and set(shown) == {5320, 9120}
    assert shown[0] == 5320 and shown[-1] == 9120


def no_models(run: object) -> object:
    raise AssertionError("no model is asked for")


def _for_a_while(
    decode: Callable[[RawSamples], Block | None], take: Callable[[], RawSamples], seconds: float
) -> list[Block | None]:
    until, blocks = time.monotonic() + seconds, []
    while time.monotonic() < until:
        time.sleep(0.4)
        blocks.append(decode(take()))
    return blocks


def lines_of(*argv: str, seconds: float, tree: TegrastatsTree) -> bytes:
    """What the program prints until it is ended."""
    process = subprocess.Popen([str(tree.program), *argv], stdout=subprocess.PIPE)
    time.sleep(seconds)
    process.terminate()
    return process.communicate(timeout=10)[0]


def test_the_simulated_program_paces_itself_and_dies_within_a_line(tmp_path: Path) -> None:
    tree = simulator(tmp_path)
    tree.show({"VDD_IN": 5320, "VDD_CPU_GPU_CV": 1640, "VDD_SOC": 1440})
    said = lines_of("--interval", "50", seconds=2.0, tree=tree)
    *whole, half = said.split(b"\n")
    assert 5 <= len(whole) <= 40
    assert all(isinstance(parse_line(text), Rails) for text in whole)
    assert isinstance(parse_line(half), Refused)


def test_the_simulated_program_logs_in_the_background(tmp_path: Path) -> None:
    tree, log = simulator(tmp_path), tmp_path / "log"
    tree.show({"VDD_IN": 5320, "VDD_CPU_GPU_CV": 1640, "VDD_SOC": 1440})
    subprocess.run([str(tree.program), "--interval", "50", "--logfile", str(log), "--start"], check=True, timeout=10)
    until = time.monotonic() + 10
    while time.monotonic() < until and (not log.exists() or log.read_bytes().count(b"\n") < 3):
        time.sleep(0.05)
    subprocess.run([str(tree.program), "--stop"], check=True, timeout=10)
    assert log.read_bytes().count(b"VDD_IN 5320mW/5320mW") >= 3


@pytest.mark.parametrize("profile", [name for name, profile in PROFILES.items() if profile.rails])
def test_every_module_keeps_what_a_meter_must(profile: str) -> None:
    for check in CHECKS:
        with subject(profile) as made:
            check(as_subject(made))
