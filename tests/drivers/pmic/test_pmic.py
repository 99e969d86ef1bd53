"""The Raspberry Pi 5's PMIC: prints taken whole, paired by name, and what becomes of those that are not."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pmic.codec import DENIED, MALFORMED, RAILS, SCALE, UNKNOWN, Print, Refused, parse_print
from drivers.pmic.onboard import OnBoardPmic, find_on_board, open_on_board
from drivers.simulated.pmic import simulator
from drivers.simulated.pmic.converter import REST_W, Converter
from drivers.simulated.pmic.trials import trials
from harness.bench.rails import check_total
from harness.boards.local import LocalBoard
from harness.boards.state.files import LocalFiles
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, OnBoardMeter, RawSamples, SamplerPlan, SelfTesting
from harness.core.spec import MeterBinding
from harness.core.trace import Block, MeterInfo, Trace, join_blocks
from harness.testing.fault_matrix import judge

MS = 1_000_000
CAPTURED = (Path(__file__).parent / "data/lines.txt").read_bytes()  # lines of a real print, 2026-09-27


def text(core_w: float = 3.0, seed: int = 1) -> bytes:
    return Converter(lambda t_s: core_w, seed=seed).text(0.0).encode("ascii")


GOOD = text()


def test_captured_lines_are_parsed_to_the_last_digit() -> None:
    found = parse_print(CAPTURED)
    assert found == Print(
        {"VDD_CORE": 72097620, "EXT5V": 511478000, "BATT": 1880340},
        {"VDD_CORE": 94657990},
    )
    assert found.amperes["VDD_CORE"] * SCALE == pytest.approx(0.9465799)


def test_the_simulated_print_has_the_captured_shape() -> None:
    def shape(line: str) -> str:
        return re.sub(r"\d", "0", re.sub(r"\(\d+\)", "(0)", line.strip()))

    shapes = {shape(line) for line in GOOD.decode().splitlines()}
    assert {shape(line) for line in CAPTURED.decode().splitlines()} <= shapes
    found = parse_print(GOOD)
    assert isinstance(found, Print)
    assert set(found.amperes) == set(RAILS) and set(found.volts) == {*RAILS, "EXT5V", "BATT"}


LINES = GOOD.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", UNKNOWN),
        (b"\n", UNKNOWN),
        (GOOD[:-1], MALFORMED),  # the last newline is missing: cut
        (GOOD[: len(GOOD) // 2], MALFORMED),
        (b"".join(LINES[:5]) + b"VDD_CORE_A\n", UNKNOWN),
        (GOOD + LINES[3], MALFORMED),
        (GOOD.replace(b"V\n", b"V\x1d\n", 1), UNKNOWN),  # a control character that Python takes for a blank
        (GOOD.replace(b"current", b"volt"), MALFORMED),
        (GOOD.replace(b"A\n", b"mA\n"), UNKNOWN),
        (GOOD.replace(b"A\n", b"V\n"), MALFORMED),
        (GOOD.replace(b"=0.", b"=nan", 1), UNKNOWN),
        (re.sub(rb"=(\d)\.(\d{4})\d{4}", rb"=\1.\2", GOOD), UNKNOWN),  # fewer digits: of another firmware
        (b"".join(line for line in LINES if b"HDMI_V" not in line), MALFORMED),
        (b'error=1 error_msg="Command not registered"\n', UNKNOWN),
        (b"VCHI initialization failed\n", DENIED),
        (b"Can't open device file: /dev/vcio\n", DENIED),
    ],
)
def test_what_is_not_a_whole_print_gives_nothing(data: bytes, kind: str) -> None:
    found = parse_print(data)
    assert isinstance(found, Refused), found
    assert found.kind == kind and found.why


def test_the_order_and_the_channel_numbers_mean_nothing() -> None:
    shuffled = b"".join(reversed(LINES))
    renumbered = re.sub(rb"\((\d+)\)", lambda m: b"(%d)" % (99 - int(m[1])), shuffled)
    assert parse_print(renumbered) == parse_print(GOOD)


@given(st.data())
def test_a_mutated_print_gives_only_what_is_printed_in_it(data: st.DataObject) -> None:
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        if data.draw(st.booleans()):
            del changed[at : at + data.draw(st.integers(0, 60))]
        else:
            changed[at:at] = data.draw(st.binary(max_size=5))
    found = parse_print(bytes(changed))
    if isinstance(found, Refused):
        assert found.why
        return
    printed = re.findall(rb"(\w+)_([AV]) \w+\(\d+\)=(-?\d+)\.(\d{8})[AV]", bytes(changed))
    assert len(printed) == len([line for line in bytes(changed).splitlines() if line.strip()])
    for rail, what, whole, digits in printed:
        side = found.amperes if what == b"A" else found.volts
        assert side[rail.decode()] == int(whole + digits)


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data: bytes) -> None:
    parse_print(data)


# --- on a board ---------------------------------------------------------------------------------------


def prepared(root: Path, *rails: str, **options: str | float) -> tuple[OnBoardPmic, MeterInfo, SamplerPlan]:
    simulator(root)
    meter = open_on_board(MeterRequest("pi5", options, tuple((r, r) for r in rails), root, simulated=True))
    info, plan = meter.prepare(LocalFiles(), clock="board:pi")
    return meter, info, plan


def decoded(meter: OnBoardPmic, info: MeterInfo, rows: Sequence[tuple[int, int, bytes | int]]) -> Trace:
    """Rows of (begin ms, end ms, print)."""
    blocks: list[Block | None] = []
    for first in range(0, len(rows), 4):
        part = rows[first : first + 4]
        begin, end = (np.array([row[k] * MS for row in part], np.int64) for k in (0, 1))  # type: ignore[operator]
        blocks.append(meter.decode(RawSamples(begin, end, tuple((row[2],) for row in part))))
    blocks.append(meter.finish())
    return join_blocks(info, [block for block in blocks if block is not None])


def test_it_is_twelve_rails_by_amperes_and_volts(tmp_path: Path) -> None:
    meter, info, plan = prepared(tmp_path, period_s=0.2)
    assert isinstance(meter, OnBoardMeter) and isinstance(meter, SelfTesting)
    assert plan == SamplerPlan(command=("vcgencmd", "pmic_read_adc"), repeat_s=0.2)
    assert tuple(c.name for c in info.channels) == RAILS
    assert all(item.ok for item in meter.self_test())
    assert "USB" in info.details["not_seen"]


def test_power_is_that_of_each_rail(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path)
    trace = decoded(meter, info, [(100 * k, 100 * k + 8, text(3.0, k)) for k in range(20)])
    assert trace.t_ns[:2].tolist() == [4 * MS, 104 * MS]  # the middle of the run
    assert trace.power_w("VDD_CORE").mean() == pytest.approx(3.0, abs=0.01)
    assert sum(trace.power_w(rail).mean() for rail in RAILS) == pytest.approx(3.0 + sum(REST_W.values()), abs=0.03)


def test_the_fit_is_an_option_and_its_raw_figure_the_exact_sum(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no channel 'board'"):
        prepared(tmp_path, "board")
    meter, info, _ = prepared(tmp_path, "board", fit="community")
    trace = decoded(meter, info, [(0, 8, GOOD)])
    found = parse_print(GOOD)
    assert isinstance(found, Print)
    total_w = sum(found.amperes[rail] * found.volts[rail] for rail in RAILS) * 1e-16
    assert trace.power_w("board")[0] == pytest.approx(1.1451 * total_w + 0.5879, rel=1e-9)
    _, info, _ = prepared(tmp_path, fit="community")
    both = MeterBinding("p", "pi5-pmic", (("board", "a"), ("HDMI", "b")), "rail", ("a", "b"))
    with pytest.raises(SpecError, match="is a part of it"):
        check_total(both, info)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (GOOD[:-40], "ends within a line"),
        (b"".join(line for line in LINES if b"HDMI" not in line), "HDMI is missing"),
        (errno.ETIMEDOUT, "did not end"),
        (errno.ENOBUFS, "ENOBUFS"),
    ],
)
def test_what_is_refused_is_part_of_a_gap(tmp_path: Path, bad: bytes | int, why: str) -> None:
    meter, info, _ = prepared(tmp_path)
    rows: list[tuple[int, int, bytes | int]] = [(100 * k, 100 * k + 8, text(3.0, k)) for k in range(8)]
    rows[3] = (300, 308, bad)
    trace = decoded(meter, info, rows)
    (gap,) = trace.gaps
    assert (gap.begin_ns, gap.end_ns) == (204 * MS, 404 * MS) and why in gap.reason and len(trace) == 7


def test_a_print_in_which_no_digit_changed_is_no_new_reading(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path)
    trace = decoded(meter, info, [(100 * k, 100 * k + 8, text(3.0, k // 2)) for k in range(8)])
    assert len(trace) == 4 and trace.counts["repeated_prints"] == 4


def test_a_run_longer_than_a_period_says_too_little_about_when(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path)
    trace = decoded(meter, info, [(0, 8, text(3.0, 0)), (100, 350, text(3.0, 1)), (400, 408, text(3.0, 2))])
    assert len(trace) == 2 and "longer than a period" in trace.gaps[0].reason


def test_missing_rights_name_the_group(tmp_path: Path) -> None:
    meter, info, _ = prepared(tmp_path)
    with pytest.raises(DeviceError, match="may not be read") as caught:
        decoded(meter, info, [(0, 8, b"VCHI initialization failed\n")])
    assert "usermod -aG video" in (caught.value.hint or "")


def test_a_pi_4_has_none(tmp_path: Path) -> None:
    simulator(tmp_path)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    assert list(find_on_board(LocalFiles(), MeterRequest("any", sysfs_root=tmp_path))) == []
    with pytest.raises(DeviceError, match="no Raspberry Pi 5"):
        open_on_board(MeterRequest("pi", sysfs_root=tmp_path)).prepare(LocalFiles(), clock="host")


def test_it_is_found_on_a_pi_5(tmp_path: Path) -> None:
    tree = simulator(tmp_path)
    (found,) = find_on_board(LocalFiles(), MeterRequest("any", sysfs_root=tmp_path))
    assert found.usable and found.where == str(tree.program) and found.channels == RAILS
    tree.program.unlink()
    (found,) = find_on_board(LocalFiles(), MeterRequest("any", sysfs_root=tmp_path))
    assert not found.usable and "apt install" in found.mend


@pytest.mark.parametrize("options", [{"speed": 1}, {"period_s": 0.01}, {"fit": "mine"}, {"command": ""}])
def test_wrong_options_are_refused(options: dict[str, str | float]) -> None:
    with pytest.raises(SpecError):
        open_on_board(MeterRequest("pi5", options=options))


@pytest.mark.parametrize("fault", [trial.fault for trial in trials()])
def test_no_fault_is_silently_wrong(fault: str) -> None:
    (trial,) = [trial for trial in trials() if trial.fault == fault]
    judged = judge(trial)
    assert not judged.wrong, judged
    if fault == "none":
        assert judged.outcome == "recovered" and abs(judged.energy_rel_error or 1.0) < 0.01


def test_the_real_program_under_a_real_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tree = simulator(tmp_path / "pi")
    converter = Converter(lambda t_s: 3.0)
    meter = open_on_board(MeterRequest("pi5", {"command": str(tree.program)}, (("VDD_CORE", "core"),), tree.root))
    board = LocalBoard("pi5-test", lambda run: run)
    tree.show(converter.text(0.0))
    info, plan = meter.prepare(board.files, clock=board.clock)
    sampler = board.start_sampler(plan, lease_s=30.0)
    try:
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            tree.show(converter.text(0.0))
            time.sleep(0.02)
        samples = sampler.stop()
        cost = sampler.cost()
    finally:
        sampler.close()
        board.close()
    trace = join_blocks(info, [b for b in (meter.decode(samples), meter.finish()) if b is not None])
    assert len(trace) > 8
    assert trace.power_w("VDD_CORE").mean() == pytest.approx(3.0, abs=0.02)
    assert cost["command_cpu_s"] / len(samples.data) < 0.05
