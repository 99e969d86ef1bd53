"""Faults of the Raspberry Pi 5's PMIC, played in virtual time: what happens to the runs of vcgencmd."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from drivers.pmic.onboard import open_on_board
from drivers.simulated.pmic import simulator
from drivers.simulated.pmic.converter import Converter
from drivers.simulated.pmic.feed import NS, Row, runs, samples
from harness.boards.state.files import LocalFiles
from harness.core.clock import HOST
from harness.core.ports import MeterRequest
from harness.core.trace import Block
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

METER = "pi5-pmic"
CHANNEL = "VDD_CORE"
Spoil = Callable[[list[Row], Scene], list[Row]]


def _converter(scene: Scene, **more: float) -> Converter:
    return Converter(lambda t_s: float(scene.power_w(np.array([t_s]))[0]), **more)  # type: ignore[arg-type]


def _printed(scene: Scene, **more: float) -> list[Row]:
    return list(runs(_converter(scene, **more), begin_ns=BEGIN_NS, seconds=scene.duration_s + 1))


def _record(rows: Sequence[Row]) -> Recorded:
    """The shipped decoder on these rows."""
    with tempfile.TemporaryDirectory(prefix="joulebench-pmic-") as folder:
        root = Path(folder)
        simulator(root)
        meter = open_on_board(MeterRequest(METER, sysfs_root=root, simulated=True))
        info, _ = meter.prepare(LocalFiles(), clock=HOST)
    blocks: list[Block | None] = [meter.decode(part) for part in samples(rows)]
    blocks.append(meter.finish())
    return Recorded(info, [block for block in blocks if block is not None], CHANNEL)


def _spoilt(spoil: Spoil) -> Callable[[Scene], Recorded]:
    return lambda scene: _record(spoil(_printed(scene), scene))


def _changed(a: float, b: float, change: Callable[[bytes, int], bytes | int]) -> Callable[[Scene], Recorded]:
    """Prints between two shares of the scene are changed."""

    def spoil(rows: list[Row], scene: Scene) -> list[Row]:
        begin, end = (BEGIN_NS + round(share * scene.duration_s * NS) for share in (a, b))
        return [
            (t, done, change(text, k) if isinstance(text, bytes) and begin <= t < end else text)
            for k, (t, done, text) in enumerate(rows)
        ]

    return _spoilt(spoil)


def _without(rail: bytes) -> Callable[[bytes, int], bytes]:
    return lambda text, k: b"".join(line for line in text.splitlines(keepends=True) if rail not in line)


def _half(text: bytes, k: int) -> bytes:
    return text[: len(text) * (2 + k % 7) // 9] if k % 6 == 0 else text


def _renamed(text: bytes, k: int) -> bytes:
    """A firmware that counts in milliamperes."""
    return text.replace(b"A\n", b"mA\n")


def _twice(text: bytes, k: int) -> bytes:
    return text + text.splitlines(keepends=True)[7] if k % 8 == 0 else text


def _stale(rows: list[Row], scene: Scene) -> list[Row]:
    """The converter is renewed only every other run."""
    return [(t, end, rows[k - k % 2][2]) for k, (t, end, _) in enumerate(rows)]


def _stuck(rows: list[Row], scene: Scene) -> list[Row]:
    """The firmware gives the same figures from the middle of the standby to that of the work."""
    first = len(rows) // 7
    return [(t, end, rows[first][2] if first < k < len(rows) // 2 else text) for k, (t, end, text) in enumerate(rows)]


def _hung(rows: list[Row], scene: Scene) -> list[Row]:
    """A run hangs and is ended after two seconds; so long there is no other."""
    k = len(rows) * 2 // 5
    begin, end = rows[k][0], rows[k][0] + 2 * NS
    return [*rows[:k], (begin, end, errno.ETIMEDOUT), *(row for row in rows if row[0] > end)]


def _slow(rows: list[Row], scene: Scene) -> list[Row]:
    """The board is busy: every sixth run takes three periods."""
    out: list[Row] = []
    for k, (t, end, text) in enumerate(rows):
        if not out or t > out[-1][1]:
            out.append((t, end + (3 * NS // 10 if k % 18 == 0 else 0), text))
    return out


def _memory_full(rows: list[Row], scene: Scene) -> list[Row]:
    a, b = len(rows) * 2 // 5, len(rows) // 2
    return [*rows[:a], (rows[a][0], rows[b][1], errno.ENOBUFS), *rows[b + 1 :]]


def _denied(text: bytes, k: int) -> bytes:
    return b"Can't open device file: /dev/vcio\nTry creating a device file with: sudo mknod /dev/vcio c 100 0\n"


def _unregistered(text: bytes, k: int) -> bytes:
    return b'error=1 error_msg="Command not registered"\n'


def trials() -> Sequence[FaultTrial]:
    """All named faults of the PMIC."""
    table: Sequence[tuple[str, str, Callable[[Scene], Recorded]]] = (
        ("none", "no fault", lambda scene: _record(_printed(scene))),
        ("half_print", "every sixth print is cut", _changed(0.4, 0.7, _half)),
        ("garbage", "other text in prints", _changed(0.5, 0.6, lambda text, k: b"#" + text if k % 4 == 0 else text)),
        ("row_vanishes", "a bound rail is missing", _changed(0.5, 0.56, _without(b"VDD_CORE_V"))),
        ("unit_change", "another unit", _changed(0.5, 1.1, _renamed)),
        ("duplicate", "a line stands twice", _changed(0.3, 0.8, _twice)),
        ("stale_read", "each figure is printed twice", _spoilt(_stale)),
        ("stuck", "the figures stand still", _spoilt(_stuck)),
        ("hang", "a run hangs", _spoilt(_hung)),
        ("slow_runs", "runs longer than a period", _spoilt(_slow)),
        ("memory_full", "the sampler's memory is full", _spoilt(_memory_full)),
        ("permission", "the user is not in the group video", _changed(0.0, 1.1, _denied)),
        ("old_firmware", "a firmware that does not know the command", _changed(0.0, 1.1, _unregistered)),
    )
    made = [FaultTrial(METER, fault, what, play) for fault, what, play in table]
    return [
        *made,
        FaultTrial(
            METER, "wrong_scale", "currents 12 % high", lambda s: _record(_printed(s, gain=1.12)), constant_scale=True
        ),
    ]  # fmt: skip
