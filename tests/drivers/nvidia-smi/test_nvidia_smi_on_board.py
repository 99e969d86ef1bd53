"""The host's half of nvidia-smi: which program is run for a bench, and what becomes of the lines that arrive."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers.nvidia.smi_onboard import OnBoardSmi, open_on_board
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo, ReadingKind

DATA = Path(__file__).parent / "data"
T4 = (DATA / "tesla-t4-v11-515.105.01.xml").read_text("utf-8")
NEW = (DATA / "rtx-3080-v13-595.58.03.xml").read_text("utf-8")
HELP = (DATA / "help-query-gpu.txt").read_bytes()
ONE, TWO = "GPU-d37e67a5-91dd-3774-a5cb-99096249601a", "GPU-e37e67a5-91dd-3774-a5cb-99096249601a"
HEAD = b"timestamp, uuid, power.draw [W]"
MS = 1_000_000


class Files:
    """BoardFiles that answers the two questions with texts."""

    def __init__(self, log: bytes | None, helped: bytes = HELP, command: str = "nvidia-smi") -> None:
        found = {"agent:nvidia_smi log " + command: log, "agent:nvidia_smi fields " + command: helped}
        self._found = {question: said for question, said in found.items() if said is not None}

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        return {pattern: self._found[pattern] for pattern in patterns if pattern in self._found}

    def write(self, path: str, data: bytes) -> None:
        raise AssertionError(path)

    keep = write

    def remove(self, path: str) -> None:
        raise AssertionError(path)


def two_t4() -> bytes:
    """A machine with two of them."""
    begin, end = T4.index("<gpu "), T4.index("</gpu>") + len("</gpu>")
    one = T4[begin:end]
    return (T4[:begin] + one + one.replace("00:1E.0", "00:1F.0").replace(ONE, TWO) + T4[end:]).encode()


def prepared(
    *rails: str, log: bytes | None = None, helped: bytes = HELP, **options: str | float
) -> tuple[OnBoardSmi, MeterInfo, SamplerPlan]:
    request = MeterRequest("gpu", options, tuple((name, name) for name in rails))
    meter = open_on_board(request)
    info, plan = meter.prepare(Files(T4.encode() if log is None else log, helped), clock="board:b")
    return meter, info, plan


def fed(meter: OnBoardSmi, lines: Iterable[tuple[int, bytes | int]]) -> Block:
    """What comes of lines at times in ms, all in one block."""
    pairs = list(lines)
    stamps = np.array([t * MS for t, _ in pairs], np.int64)
    blocks = [meter.decode(RawSamples(stamps, stamps, tuple((data,) for _, data in pairs))), meter.finish()]
    there = [block for block in blocks if block is not None]
    assert there
    counts: dict[str, int] = {}
    for block in there:
        for name, count in block.counts.items():
            counts[name] = counts.get(name, 0) + count
    return Block(
        np.concatenate([b.t_ns for b in there]),
        {name: np.concatenate([b.columns[name] for b in there]) for name in there[0].columns},
        gaps=tuple(gap for b in there for gap in b.gaps),
        counts=counts,
    )


def row(watt: str, uuid: str = ONE) -> bytes:
    return f"2026/08/23 12:00:00.000, {uuid}, {watt}".encode()


def steady(begin: int, end: int, every: int = 20, *, update: int = 100) -> list[tuple[int, bytes | int]]:
    """Rows from `begin` to `end` (ms), a new number each `update`."""
    return [(t, row(f"{26 + t // update % 7}.50 W")) for t in range(begin, end, every)]


def test_the_program_of_a_bench_is_one_loop_over_its_gpus() -> None:
    _, info, plan = prepared("gpu1/power", log=two_t4())
    asked = ("nvidia-smi", "--query-gpu=timestamp,uuid,power.draw", "--format=csv", "-i", TWO, "-lms", "20")
    assert plan == SamplerPlan(command=asked, renew_on="[Unknown Error]", renew_after=10)
    [channel] = info.channels
    assert channel.name == "gpu1/power" and channel.reading.kind is ReadingKind.MEAN
    assert info.serial == TWO and info.firmware == "515.105.01"


def test_a_field_that_the_driver_or_the_gpu_does_not_have_is_refused_by_name() -> None:
    old = HELP[: HELP.index(b'"power.draw.average"')]
    with pytest.raises(DeviceError, match="gpu0/instant"):
        prepared("gpu0/instant", helped=old)
    _, info, _ = prepared(log=NEW.encode())
    assert [channel.name for channel in info.channels] == ["gpu0/power", "gpu0/average", "gpu0/instant"]
    with pytest.raises(DeviceError, match="does not tell it"):
        prepared("gpu0/module", log=NEW.encode())


@pytest.mark.parametrize(
    ("said", "words", "mend"),
    [
        (None, "it cannot be run", "install"),
        (b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "couldn't", "modprobe"),
        (b"Failed to initialize NVML: Driver/library version mismatch\n", "mismatch", "reboot"),
        (b"No devices were found\n", "no GPU", "lspci"),
    ],
)
def test_a_board_without_a_working_program_is_said_with_the_mend(said: bytes | None, words: str, mend: str) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        open_on_board(MeterRequest("gpu")).prepare(Files(said), clock="board:b")
    assert mend in caught.value.hint


@pytest.mark.parametrize(
    "options",
    [{"interval_ms": 60}, {"interval_ms": 1}, {"visible": "x"}, {"unit": "V"}, {"ivl": 1}, {"command": "a b"}],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, str | float]) -> None:
    with pytest.raises(SpecError):
        open_on_board(MeterRequest("gpu", options)).prepare(Files(T4.encode()), clock="board:b")


def test_each_update_is_one_reading_and_a_number_read_again_is_none() -> None:
    meter, _, _ = prepared()
    block = fed(meter, [(0, HEAD), *steady(0, 3000)])
    assert len(block) == 30 and not block.gaps and block.counts["repeated"] == 120
    assert set(np.diff(block.t_ns[1:])) == {100 * MS}
    assert block.columns["gpu0/power:power_mw"][:3].tolist() == [26500, 27500, 28500]


def test_rows_of_two_gpus_are_one_reading_and_a_row_that_vanished_is_a_gap() -> None:
    meter, _, _ = prepared("gpu0/power", "gpu1/power", log=two_t4())
    lines: list[tuple[int, bytes | int]] = [(0, HEAD)]
    for t in range(0, 3000, 20):
        lines.append((t, row(f"{26 + t // 100 % 7}.50 W")))
        if not 1000 <= t < 1500:
            lines.append((t, row(f"{36 + t // 100 % 5}.50 W", TWO)))
    block = fed(meter, lines)
    [gap] = block.gaps
    assert gap.reason == "gpu1 has no row" and (gap.begin_ns, gap.end_ns) == (890 * MS, 1400 * MS)
    assert block.counts["vanished_rows"] == 25
    assert not np.any((block.t_ns > 1020 * MS) & (block.t_ns < 1480 * MS))


@pytest.mark.parametrize("rails", [("gpu0/power", "gpu1/power"), ("gpu1/power", "gpu0/power")])
def test_after_the_first_gpus_rows_were_missing_rows_of_two_queries_are_not_one_reading(rails: tuple[str, str]) -> None:
    meter, _, _ = prepared(*rails, log=two_t4())
    lines: list[tuple[int, bytes | int]] = [(0, HEAD)]
    for t in range(0, 3000, 20):
        if not 1000 <= t < 1500:
            lines.append((t, row(f"{30 + t // 100}.50 W")))
        lines.append((t, row(f"{30 + t // 100}.50 W", TWO)))
    block = fed(meter, lines)
    assert block.columns["gpu0/power:power_mw"].tolist() == block.columns["gpu1/power:power_mw"].tolist()
    assert [gap.reason for gap in block.gaps] == ["gpu0 has no row"] and block.counts["vanished_rows"] == 25


def test_other_gpus_and_mig_rows_are_not_this_meters() -> None:
    meter, _, _ = prepared()
    mig = [(t, row("[N/A]", "MIG-3d8a9a0c-2f9c-5bb1-8e3f-7f3e5c5a1b9d")) for t in range(5, 1000, 20)]
    block = fed(meter, sorted([(0, HEAD), *steady(0, 1000), *mig], key=lambda item: (item[0], item[1] != HEAD)))
    assert len(block) == 10 and not block.gaps and block.counts["other_rows"] == 50


@pytest.mark.parametrize(
    "bad",
    [
        b"[Unknown Error], [Unknown Error], [Unknown Error]",
        row("[Unknown Error]"),
        row("[GPU is lost]"),
        row("[N/A]"),
        row("0.00 W"),
        row("26500.00 W"),
        row("26.5"),
        b"Unable to determine the device handle for GPU0000:00:1E.0: Unknown Error",
    ],
)
def test_what_is_no_reading_is_a_gap_from_the_last_good_row_to_the_next(bad: bytes) -> None:
    meter, _, _ = prepared()
    block = fed(meter, [(0, HEAD), *steady(0, 1000), *((t, bad) for t in range(1000, 2000, 20)), *steady(2000, 3000)])
    [gap] = block.gaps
    assert (gap.begin_ns, gap.lost) == (900 * MS - 10 * MS, 50) and 1900 * MS <= gap.end_ns <= 2000 * MS
    inside = (block.t_ns > 1000 * MS) & (block.t_ns < 2000 * MS)
    assert not inside.any() and (block.columns["gpu0/power:power_mw"] > 0).all()


def test_a_program_that_was_started_again_says_its_header_first() -> None:
    meter, _, _ = prepared()
    lines = [(0, HEAD), *steady(0, 1000), (1000, errno.EPIPE), (1500, row("9.00 W")), (1510, HEAD), *steady(1520, 2500)]
    block = fed(meter, lines)
    [gap] = block.gaps
    assert gap.reason == "nvidia-smi ended and was started again"
    assert block.counts["header_drift"] == 1 and 9000 not in block.columns["gpu0/power:power_mw"]


def test_queries_that_come_in_one_lump_have_no_time() -> None:
    meter, _, _ = prepared()
    lump: list[tuple[int, bytes | int]] = [(2000, row(f"{40 + k}.00 W")) for k in range(40)]
    block = fed(meter, [(0, HEAD), *steady(0, 1000), *lump, *steady(2020, 3000)])
    assert block.counts["unstamped_lines"] == 39 and len(block.gaps) == 1
    values = block.columns["gpu0/power:power_mw"]
    assert np.count_nonzero(values >= 40000) <= 1


def test_a_number_that_stands_still_for_long_is_no_reading() -> None:
    meter, _, _ = prepared()
    stuck: list[tuple[int, bytes | int]] = [(t, row("31.00 W")) for t in range(1000, 9000, 20)]
    block = fed(meter, [(0, HEAD), *steady(0, 1000), *stuck, *steady(9000, 10000)])
    [gap] = block.gaps
    assert "stood still" in gap.reason and gap.begin_ns <= 1000 * MS and gap.end_ns >= 8900 * MS
    assert block.counts["frozen:gpu0/power"] > 40


def test_lines_that_can_never_be_readings_are_an_error() -> None:
    meter, _, _ = prepared()
    with pytest.raises(DeviceError, match="not a valid field"):
        fed(meter, [(0, b'Field "power.draw" is not a valid field to query.')])
    meter, _, _ = prepared()
    with pytest.raises(DeviceError, match="gives nothing to measure"):
        fed(meter, [(0, HEAD), *((t, row("[N/A]")) for t in range(0, 1000, 20))])
    meter, _, _ = prepared()
    with pytest.raises(DeviceError, match="no unit") as caught:
        fed(meter, [(0, HEAD), *((t, row("26.5")) for t in range(0, 1000, 20))])
    assert "option unit" in caught.value.hint


def test_queries_too_slow_to_see_every_update_are_refused_and_slow_ones_that_are_asked_for_are_not() -> None:
    meter, _, _ = prepared()
    with pytest.raises(DeviceError, match="makes one every 95 ms") as caught:
        fed(meter, [(0, HEAD), *steady(0, 4000, 95)])
    assert "interval_ms to 120" in caught.value.hint
    meter, info, _ = prepared(interval_ms=200)
    reading = info.channels[0].reading
    assert (reading.kind, reading.period_ns, reading.window_ns) == (ReadingKind.PART_TIME, 200 * MS, 100 * MS)
    block = fed(meter, [(0, HEAD), *steady(0, 4000, 205)])
    assert len(block) == 20 and not block.gaps


def test_a_meter_that_is_not_prepared_says_so() -> None:
    with pytest.raises(DeviceError, match="not prepared"):
        open_on_board(MeterRequest("gpu")).decode(RawSamples(np.empty(0, np.int64), np.empty(0, np.int64), ()))
