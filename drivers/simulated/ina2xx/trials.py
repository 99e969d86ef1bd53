"""What can go wrong with INA chips behind kernel files, each played in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drivers.ina2xx.onboard import open_on_board
from drivers.simulated.ina2xx.board import FakeBoard
from drivers.simulated.ina2xx.converter import Front
from drivers.simulated.ina2xx.feeder import feed
from drivers.simulated.ina2xx.fronts import EnergyFront
from drivers.simulated.ina2xx.kernel_files import BUGGY
from drivers.simulated.ina2xx.layouts import LAYOUTS, Layout, build
from harness.core.clock import HOST
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

METER = "ina2xx"
ROOT = Path("/simulated")
BRANCH = 0.3  # share of a rail that is a part of the whole
WHOLES = ("main", "VDD_IN", "POM_5V_IN")
FAST, SLOW = "ina226", "ina219"  # every update is seen; a part of the time is seen
Wrong = Callable[[str, int], "int | bytes | None"]


@dataclass(frozen=True)
class Play:
    """How one recording goes: the board, what the bench file says, what is wrong with reads (`t_ns` since BEGIN_NS).

    `spoil(board)`: changes something inside the simulated board; `held_s`, `slow_s`: (from, to, by how much), s.
    """

    layout: str | Layout = FAST
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    channel: str = "main"
    wrong: Wrong | None = None
    spoil: Callable[[FakeBoard, Scene], None] | None = None
    held_s: tuple[float, float, float] | None = None
    slow_s: tuple[float, float, float] | None = None
    slow_clock: float = 1.0
    supply_v: float = 5.0
    first_number: int = 2

    def __call__(self, scene: Scene) -> Recorded:
        def front_of(label: str) -> Front:
            share = 1.0 if label in WHOLES else BRANCH
            return EnergyFront(scene.energy_j, BEGIN_NS, self.supply_v, share)

        board = build(
            self.layout, ROOT, front_of=front_of, first_number=self.first_number, now_ns=BEGIN_NS, slow=self.slow_clock
        )
        if self.wrong is not None:
            wrong = self.wrong
            board.fault(lambda path, t_ns: wrong(path, t_ns - BEGIN_NS))
        if self.spoil is not None:
            self.spoil(board, scene)
        meter = open_on_board(
            MeterRequest(METER, self.options, ((self.channel, "board"),), sysfs_root=ROOT, simulated=True)
        )
        info, plan = meter.prepare(board, clock=HOST)
        blocks = []
        end_ns = BEGIN_NS + round(scene.duration_s * NS_PER_S)
        for samples in feed(
            board, plan, begin_ns=BEGIN_NS, end_ns=end_ns, held_ns=_during(self.held_s), slow_ns=_during(self.slow_s)
        ):
            if (block := meter.decode(samples)) is not None:
                blocks.append(block)
        if (rest := meter.finish()) is not None:
            blocks.append(rest)
        return Recorded(info, blocks, self.channel)


def _during(stretch: tuple[float, float, float] | None) -> Callable[[int], int]:
    if stretch is None:
        return lambda t_ns: 0
    begin, end, extra_s = stretch
    return lambda t_ns: round(extra_s * NS_PER_S) if begin <= (t_ns - BEGIN_NS) / NS_PER_S < end else 0


def between(begin_s: float, end_s: float, what: int | bytes, *, file: str = "") -> Wrong:
    """Reads of files whose names end in `file` give `what` from `begin_s` on until `end_s`."""

    def wrong(path: str, t_ns: int) -> int | bytes | None:
        return what if path.endswith(file) and begin_s * NS_PER_S <= t_ns < end_s * NS_PER_S else None

    return wrong


def now_and_then(code: int, *, every: int) -> Wrong:
    """One read of the current in `every` fails, by the time's own digits: the same at each play."""

    def wrong(path: str, t_ns: int) -> int | bytes | None:
        return code if path.endswith("curr1_input") and t_ns > 0 and (t_ns // 8_800_000) % every == 3 else None

    return wrong


def _without_calibration(board: FakeBoard, scene: Scene, *, begin_s: float, end_s: float) -> None:
    chip = board.chips["1-0040"]
    chip.calibrated = lambda t_ns: not begin_s <= (t_ns - BEGIN_NS) / NS_PER_S < end_s


def stands_still(*, from_s: float) -> Callable[[FakeBoard, Scene], None]:
    """The chip stops converting: its files go on showing the last registers."""

    def spoil(board: FakeBoard, scene: Scene) -> None:
        board.stop_ns = BEGIN_NS + round(from_s * NS_PER_S)

    return spoil


def _rewired(name: str, *, release: str | None = None, **changes: object) -> Layout:
    """A layout whose only chip has other facts."""
    layout = LAYOUTS[name]
    chip = dataclasses.replace(layout.chips[0], **changes)  # type: ignore[arg-type]
    return Layout((chip,), release if release is not None else layout.release)


def _trial(fault: str, what: str, play: Callable[[Scene], Recorded], *, constant_scale: bool = False) -> FaultTrial:
    return FaultTrial(METER, fault, what, play, constant_scale=constant_scale)


def trials() -> Sequence[FaultTrial]:
    """All faults of this meter."""
    undeclared = _rewired(SLOW, kernel_uohm=(10_000,))
    buggy = _rewired(SLOW, generation=BUGGY, release="4.17.2")
    small = _rewired(FAST, shunt_ohm=(0.1,), kernel_uohm=(100_000,))
    no_bus = between(9.0, 11.0, b"0\n", file="in1_input")
    denied = between(-99.0, 99.0, errno.EACCES, file="_input")
    lost = functools.partial(_without_calibration, begin_s=9.0, end_s=11.0)
    blink = functools.partial(_without_calibration, begin_s=9.0, end_s=9.001)
    return (
        _trial("none", "an INA226 with 16 averages, every update read", Play()),
        _trial("none-part-time", "an INA219, polled slower than it converts", Play(SLOW)),
        _trial("none-old-kernel", "an INA219 below a driver of before the rework", Play("ina219-old")),
        _trial("none-jetson", "VDD_IN of an Orin Nano", Play("orin-nano", channel="VDD_IN")),
        _trial(
            "none-averages",
            "VDD_IN of an Orin Nano with 16 samples: a filter of 0.1 s",
            Play("orin-nano-averages", channel="VDD_IN"),
        ),
        _trial("none-jetpack4", "POM_5V_IN of a Nano", Play("nano", channel="POM_5V_IN")),
        _trial("none-iio", "an INA219 at the IIO driver, flags in its bus register", Play("iio-ina219")),
        _trial("shunt-default", "the kernel computes with 10 mohm, 100 are fitted, nobody said so", Play(undeclared)),
        _trial("shunt-default-declared", "the same, with shunt_ohm", Play(undeclared, {"shunt_ohm": 0.1})),
        _trial("shunt-is-calibration", "shunt_resistor shows the calibration register", Play(buggy)),
        _trial(
            "shunt-off-its-marking",
            "the resistor is 4 % larger than printed on it",
            Play(_rewired(SLOW, shunt_ohm=(0.104,))),
            constant_scale=True,
        ),
        _trial("eio-burst", "the bus is dead for 0.4 s", Play(wrong=between(9.0, 9.4, errno.EIO))),
        _trial("eagain-now-and-then", "one read in ten is refused", Play(wrong=now_and_then(errno.EAGAIN, every=10))),
        _trial("timed-out", "ETIMEDOUT for 3 s", Play(SLOW, wrong=between(9.0, 12.0, errno.ETIMEDOUT))),
        _trial("gone", "the device is unbound and stays away", Play(wrong=between(10.0, 99.0, errno.ENODEV))),
        _trial("renumbered", "other devices come first at boot: hwmon7", Play(first_number=7)),
        _trial("brown-out-zeroes", "the calibration register is 0 for 2 s, unnoticed", Play(SLOW, spoil=lost)),
        _trial(
            "brown-out-mended",
            "the kernel sets up the chip anew and sleeps 69 ms in the read",
            Play(SLOW, spoil=blink, slow_s=(9.0, 9.01, 0.069)),
        ),
        _trial("bus-pin-off", "the bus voltage reads 0 for 2 s", Play(SLOW, wrong=no_bus)),
        _trial("slow-reads", "each pass takes 45 ms for 2 s", Play(SLOW, slow_s=(9.0, 11.0, 0.045))),
        _trial("held-up", "the sampler does not run for 0.7 s", Play(held_s=(10.0, 10.01, 0.7))),
        _trial("memory-full", "nobody fetched: a stretch is lost", Play(wrong=between(8.0, 8.5, errno.ENOBUFS))),
        _trial("half-line", "a value is cut off", Play(SLOW, wrong=between(9.0, 10.0, b"4", file="power1_input"))),
        _trial("no-number", "a file is empty", Play(SLOW, wrong=between(9.0, 10.0, b"\n", file="in1_input"))),
        _trial("saturated", "0.1 ohm under an INA226: it ends at 0.8 A", Play(small)),
        _trial("registers-stand-still", "the chip stops converting at work", Play(spoil=stands_still(from_s=9.0))),
        _trial("slow-chip-clock", "conversions take 10 % longer: registers repeat", Play(slow_clock=1.1)),
        _trial("fast-chip-clock", "conversions take 7 % less", Play(slow_clock=0.93)),
        _trial("no-permission", "the files may not be read", Play(wrong=denied)),
    )  # fmt: skip
