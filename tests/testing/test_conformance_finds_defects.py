"""The conformance suite must fail drivers that deserve it: a sound driver with one defect at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import simulator
from harness.core.ports import Meter, MeterRequest
from harness.core.trace import Block, Gap, MeterInfo
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing import conformance as kit


class Defective:
    """The sound meter, with its info or its blocks changed on the way out."""

    def __init__(
        self,
        sound: Meter,
        info: Callable[[MeterInfo], MeterInfo] = lambda info: info,
        block: Callable[[Block], Block] = lambda block: block,
    ) -> None:
        self._sound, self._info, self._block = sound, info, block
        self.poll_s = 0.02

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sound, name)

    def open(self) -> MeterInfo:
        return self._info(self._sound.open())

    def step(self, until_ns: int) -> Block | None:
        block = self._sound.step(until_ns)
        return block if block is None else self._block(block)


Make = Callable[[], Meter]


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[tuple[Make, VirtualClock]]:
    clock = VirtualClock()
    tree = simulator(tmp_path)
    origin_ns = clock.now_ns()
    clock.subscribe(
        lambda now_ns: tree.set_energy_j("package-0", 40.0 * (now_ns - origin_ns) / NS_PER_S), period_ns=1_000_000
    )
    yield lambda: open_meter(MeterRequest("rapl", sysfs_root=tmp_path), clock=clock), clock
    tree.close()


def first_channel(info: MeterInfo, **changes: Any) -> MeterInfo:
    return dataclasses.replace(info, channels=(dataclasses.replace(info.channels[0], **changes), *info.channels[1:]))


def accuracy(info: MeterInfo, **changes: Any) -> MeterInfo:
    stated = info.channels[0].accuracy
    assert stated is not None
    return first_channel(info, accuracy=dataclasses.replace(stated, **changes))


def first_column(block: Block, change: Callable[[Any], Any]) -> Block:
    name = next(iter(block.columns))
    return dataclasses.replace(block, columns={**block.columns, name: change(block.columns[name])})


INFO_DEFECTS = [
    (kit.check_identity, lambda i: dataclasses.replace(i, serial=""), "serial is empty"),
    (kit.check_identity, lambda i: dataclasses.replace(i, clock="utc"), "clock is 'utc'"),
    (kit.check_identity, lambda i: dataclasses.replace(i, details={"gain": 1}), "details are text"),
    (
        kit.check_columns_declare_units,
        lambda i: dataclasses.replace(i, columns=(dataclasses.replace(i.columns[0], unit="mJ"), *i.columns[1:])),
        "unit 'mJ'",
    ),
    (kit.check_channels_refer_to_columns, lambda i: first_channel(i, columns=("nowhere",)), "not declared"),
    (kit.check_channels_refer_to_columns, lambda i: first_channel(i, quantity="power_w"), "multiplies"),
    (kit.check_channels_say_what_a_reading_means, lambda i: first_channel(i, modulus_raw=None), "where it wraps"),
    (kit.check_channels_say_what_a_reading_means, lambda i: accuracy(i, gain_rel=0.0), "perfect gain"),
    (kit.check_channels_say_what_a_reading_means, lambda i: accuracy(i, source=""), "where its accuracy comes from"),
    (
        kit.check_info_crosses_a_process,
        lambda i: dataclasses.replace(i, details={"now": np.array([1.0, np.nan])}),
        "pickling|truth value",
    ),
    (kit.check_counters_stay_below_their_modulus, lambda i: first_channel(i, modulus_raw=1000), "beyond its modulus"),
]

BLOCK_DEFECTS = [
    (
        kit.check_times_are_whole_nanoseconds_that_increase,
        lambda b: dataclasses.replace(b, t_ns=b.t_ns.astype(np.float64)),
        "float64, not int64",
    ),
    (
        kit.check_times_are_whole_nanoseconds_that_increase,
        lambda b: dataclasses.replace(b, t_ns=b.t_ns[::-1]),
        "do not increase",
    ),
    (
        kit.check_times_lie_within_the_acquisition,
        lambda b: dataclasses.replace(b, t_ns=b.t_ns + 10 * NS_PER_S),
        "outside the acquisition",
    ),
    (
        kit.check_blocks_hold_the_declared_columns,
        lambda b: dataclasses.replace(b, columns=dict(list(b.columns.items())[1:])),
        "a block has columns",
    ),
    (
        kit.check_blocks_hold_the_declared_columns,
        lambda b: first_column(b, lambda raw: raw * 1e-6),
        "raw values are integers",
    ),
    (kit.check_blocks_hold_the_declared_columns, lambda b: first_column(b, lambda raw: raw[:-1]), "t_ns has"),
    (kit.check_calibration_covers_the_rows, lambda b: dataclasses.replace(b, calibration=()), "no calibration"),
    (
        kit.check_gaps_hold_no_readings,
        lambda b: dataclasses.replace(b, gaps=[Gap(int(b.t_ns[0]) - 1, int(b.t_ns[0]) + 1, 1, "lost")]),
        "lie inside gap",
    ),
    (
        kit.check_gaps_hold_no_readings,
        lambda b: dataclasses.replace(b, gaps=[Gap(5, 5, 1, "lost")]),
        "no length",
    ),
]


@pytest.mark.parametrize(("check", "defect", "words"), INFO_DEFECTS)
def test_a_wrong_description_is_found(
    sound: tuple[Make, VirtualClock],
    check: Callable[[kit.Subject], None],
    defect: Callable[[MeterInfo], MeterInfo],
    words: str,
) -> None:
    make, clock = sound
    with pytest.raises((kit.Violation, ValueError), match=words):
        check(kit.Subject(lambda: Defective(make(), info=defect), clock))


@pytest.mark.parametrize(("check", "defect", "words"), BLOCK_DEFECTS)
def test_a_wrong_block_is_found(
    sound: tuple[Make, VirtualClock],
    check: Callable[[kit.Subject], None],
    defect: Callable[[Block], Block],
    words: str,
) -> None:
    make, clock = sound
    with pytest.raises(kit.Violation, match=words):
        check(kit.Subject(lambda: Defective(make(), block=defect), clock))


class StartsAnyway(Defective):
    def start(self) -> None: ...


class StopsWithTheSame(Defective):
    def stop(self) -> Block | None:
        return Block(np.arange(3, dtype=np.int64), {})


class NeverReads(Defective):
    def step(self, until_ns: int) -> Block | None:
        return None

    def stop(self) -> Block | None:
        return None


@pytest.mark.parametrize(
    ("kind", "check", "words"),
    [
        (StartsAnyway, kit.check_starting_unopened_is_an_error, "went through"),
        (StopsWithTheSame, kit.check_stop_may_come_twice, "second stop"),
        (NeverReads, kit.check_it_opens_again, "no readings"),
        (NeverReads, kit.check_calibration_covers_the_rows, "no reading within"),
    ],
)
def test_wrong_behaviour_is_found(
    sound: tuple[Make, VirtualClock], kind: type[Defective], check: Callable[[kit.Subject], None], words: str
) -> None:
    make, clock = sound
    with pytest.raises(kit.Violation, match=words):
        check(kit.Subject(lambda: kind(make()), clock))


def test_a_meter_that_neither_streams_nor_is_polled_is_found(sound: tuple[Make, VirtualClock]) -> None:
    make, clock = sound

    class Neither:
        def __getattribute__(self, name: str) -> Any:
            if name in ("poll_s", "buffer_s"):
                raise AttributeError(name)
            return getattr(make(), name)

    with pytest.raises(kit.Violation, match="either poll_s"):
        kit.check_one_way_of_acquiring(kit.Subject(Neither, clock))
