"""RAPL that a board's sampler reads: found, described, refused and judged as by the meter that polls."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers.rapl import codec
from drivers.rapl.meter import open_meter
from drivers.rapl.onboard import OnBoardRapl, open_on_board
from drivers.simulated.powercap import LAYOUTS, PowercapTree
from harness.boards.state.files import LocalFiles
from harness.core.errors import BenchError, DeviceError, SpecError
from harness.core.ports import BoardFiles, MeterRequest, OnBoardMeter, RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo, join_blocks

CLOCK = "board:pi"
MS = 1_000_000
Machine = Callable[[str], PowercapTree]


class Refusing(LocalFiles):
    """A board on which files refuse to be read: path -> errno (as root a test meets no EACCES)."""

    def __init__(self, refused: Mapping[str, int]) -> None:
        super().__init__()
        self._refused = refused

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        found = {path: data for path, data in super().read(patterns).items() if path not in self._refused}
        answer = json.dumps(dict(self._refused)).encode()
        return found | {pattern: answer for pattern in patterns if pattern.startswith("agent:refused ")}


def request(root: Path, *channels: str, **options: float) -> MeterRequest:
    return MeterRequest("cpu", options=options, rails=tuple((c, c) for c in channels), sysfs_root=root, simulated=True)


def prepared(asked: MeterRequest, files: BoardFiles | None = None) -> tuple[OnBoardRapl, MeterInfo, SamplerPlan]:
    meter = open_on_board(asked)
    info, plan = meter.prepare(files or LocalFiles(), clock=CLOCK)
    return meter, info, plan


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_the_meter_that_polling_finds(machine: Machine, layout: str) -> None:
    tree = machine(layout)
    polled = open_meter(request(tree.root))
    found = polled.open()
    polled.close()
    meter, info, plan = prepared(request(tree.root, poll_s=0.05))
    assert isinstance(meter, OnBoardMeter)
    assert info.clock == CLOCK
    assert [c.name for c in info.channels] == [c.name for c in found.channels]
    assert (info.model, info.serial, info.details) == (found.model, found.serial, found.details)
    assert plan == SamplerPlan(files=tuple(str(tree.energy_path(c.name)) for c in info.channels), period_s=0.05)


def error_of(act: Callable[[], object]) -> BenchError:
    with pytest.raises(BenchError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize(
    ("channels", "options"),
    [(("package-7",), {}), (("package-0",), {"poll_s": 60.0}), ((), {"poll_s": 0.0001}), ((), {"speed": 1.0})],
)
def test_it_refuses_what_polling_refuses(
    machine: Machine, channels: tuple[str, ...], options: dict[str, float]
) -> None:
    asked = request(machine("amd").root, *channels, **options)
    here = error_of(lambda: open_meter(asked).open())
    there = error_of(lambda: prepared(asked))
    assert (type(there), str(there)) == (type(here), str(here))


def test_a_board_without_zones_is_refused_alike(tmp_path: Path) -> None:
    here = error_of(lambda: open_meter(request(tmp_path)).open())
    there = error_of(lambda: prepared(request(tmp_path)))
    assert isinstance(there, DeviceError) and str(there) == str(here)


def test_missing_privilege_is_an_error_and_a_broken_zone_is_left_out(machine: Machine) -> None:
    tree = machine("client")
    path = str(tree.energy_path("package-0/uncore"))
    denied = error_of(lambda: prepared(request(tree.root), Refusing({path: errno.EACCES})))
    assert isinstance(denied, DeviceError) and "permission denied" in denied.message and path in denied.message
    _, info, plan = prepared(request(tree.root), Refusing({path: errno.EIO}))
    assert path not in plan.files
    assert "EIO" in info.details["left_out:package-0/uncore"]
    asked = request(tree.root, "package-0/uncore")
    assert "EIO" in error_of(lambda: prepared(asked, Refusing({path: errno.EIO}))).message


# --- decoding ----------------------------------------------------------------------------------------

Entry = bytes | int
MODULUS = codec.modulus_uj(65_532_610_987)


@pytest.fixture
def decode(machine: Machine) -> Callable[..., list[Block]]:
    """Passes every 20 ms, as (values of the one counter[, duration ns]) in batches -> blocks; AMD's package."""

    def run(*batches: Sequence[Entry], counts: Mapping[str, int] | None = None, **more: object) -> list[Block]:
        meter, _, _ = prepared(request(machine("amd").root, "package-0", **more))  # type: ignore[arg-type]
        blocks, k = [], 0
        for batch in batches:
            begin = np.array([(k + i) * 20 * MS for i in range(len(batch))], np.int64)
            slow = np.array([MS * 3 if isinstance(v, bytes) and v.endswith(b"slow") else 20_000 for v in batch])
            data = tuple((v.removesuffix(b"slow") if isinstance(v, bytes) else v,) for v in batch)
            blocks.append(meter.decode(RawSamples(begin, begin + slow, data, counts or {})))
            k += len(batch)
        blocks.append(meter.finish())
        return [block for block in blocks if block is not None]

    return run


def uj(value: int) -> bytes:
    return b"%d\n" % value


def reasons(blocks: list[Block]) -> list[str]:
    return [gap.reason for block in blocks for gap in block.gaps]


def rows(blocks: list[Block]) -> list[int]:
    return [int(v) for block in blocks for v in block.columns["package-0:energy_uj"]]


def test_passes_become_rows_stamped_at_their_middle(decode: Callable[..., list[Block]]) -> None:
    blocks = decode([uj(1000), uj(3000)], [uj(4000)])
    assert rows(blocks) == [1000, 3000, 4000]
    assert np.concatenate([b.t_ns for b in blocks]).tolist() == [10_000, 20 * MS + 10_000, 40 * MS + 10_000]
    assert [len(b.calibration) for b in blocks] == [1, 0]
    assert not reasons(blocks)


def test_a_wrap_is_energy_and_a_reset_is_not(decode: Callable[..., list[Block]]) -> None:
    assert not reasons(decode([uj(MODULUS - 1000), uj(500)]))
    (why,) = reasons(decode([uj(30_000_000_000), uj(5)]))
    assert why.startswith("reset: package-0 went from 30000000000 to 5 uJ")


@pytest.mark.parametrize(
    ("between", "why"),
    [
        ([errno.EIO, errno.EIO], "package-0: EIO"),
        ([errno.ENODATA], "package-0: ENODATA"),
        ([errno.ENODEV, errno.ENOENT], "reset: package-0 was gone and may have started anew"),
        ([errno.ENOBUFS], "package-0: ENOBUFS"),
        ([b"gone\n"], "package-0: energy_uj reads b'gone\\n', which is not a number"),
        ([uj(MODULUS)], f"package-0: reads {MODULUS} uJ, beyond its range"),
    ],
)
def test_failed_passes_become_a_gap_with_their_reason(
    decode: Callable[..., list[Block]], between: list[Entry], why: str
) -> None:
    blocks = decode([uj(1000), uj(2000), *between], [uj(3000), uj(4000)])
    assert reasons(blocks) == [why]
    (gap,) = [gap for block in blocks for gap in block.gaps]
    assert (gap.begin_ns, gap.end_ns) == (20 * MS + 10_000, (2 + len(between)) * 20 * MS + 10_000)
    assert rows(blocks) == [1000, 2000, 3000, 4000]


def test_a_stretch_in_which_it_may_have_wrapped_twice_is_no_energy(machine: Machine) -> None:
    meter, info, _ = prepared(request(machine("amd").root, "package-0"))
    t_ns = np.array([0, 200_000_000_000], np.int64)
    block = meter.decode(RawSamples(t_ns, t_ns + 1, ((uj(1000),), (uj(2000),))))
    assert block is not None
    trace = join_blocks(info, [block])
    assert trace.gaps[0].reason.startswith("reset: not read for 200.0 s")


def test_slow_passes_are_left_out_but_never_three_in_a_row(decode: Callable[..., list[Block]]) -> None:
    slow = [b"%dslow" % value for value in (2000, 3000, 4000, 5000)]
    blocks = decode([uj(1000), *slow, uj(6000)])
    assert rows(blocks) == [1000, 4000, 6000]
    assert sum(block.counts.get("slow_passes", 0) for block in blocks) == 4
    assert not reasons(blocks)


def test_what_the_sampler_counted_is_handed_on(decode: Callable[..., list[Block]]) -> None:
    (block,) = decode([uj(1000), uj(1000)], counts={"late_passes": 3, "lost_passes": 5})
    assert block.counts == {"late_polls": 3, "lost_passes": 5, "unchanged:package-0": 1}


def test_a_gap_that_is_still_open_ends_with_the_last_pass(decode: Callable[..., list[Block]]) -> None:
    blocks = decode([uj(1000), errno.EIO, errno.EIO])
    assert reasons(blocks) == ["package-0: EIO"]
    assert blocks[-1].gaps[0].end_ns == 40 * MS + 20_000


def test_nothing_read_is_no_block(decode: Callable[..., list[Block]]) -> None:
    assert decode([]) == []


def test_decoding_needs_what_was_found() -> None:
    meter = open_on_board(MeterRequest("cpu"))
    none = np.empty(0, np.int64)
    with pytest.raises(DeviceError, match="not prepared"):
        meter.decode(RawSamples(none, none, ()))


def test_options_are_checked_before_anything_is_touched() -> None:
    with pytest.raises(SpecError, match="poll_s"):
        open_on_board(MeterRequest("cpu", options={"poll_s": -1.0}))
