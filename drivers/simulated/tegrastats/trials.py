"""Faults of tegrastats, played in virtual time: what its lines suffer on the way from the chips to the sampler."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from drivers.simulated.tegrastats import PROFILES, simulator
from drivers.simulated.tegrastats.chips import Chips
from drivers.simulated.tegrastats.feed import NS, Pace, Row, lines, samples
from drivers.tegrastats.onboard import open_on_board
from harness.boards.state.files import LocalFiles
from harness.core.clock import HOST
from harness.core.ports import MeterRequest
from harness.core.trace import Block
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

METER = "tegrastats"
PROFILE, CHANNEL = "orin-nano-jp6", "VDD_IN"
ASKED_MS = 100
Spoil = Callable[[list[Row], Scene], list[Row]]


def _at(scene: Scene, share: float) -> int:
    """Host time (ns) at a share of the scene."""
    return BEGIN_NS + round(share * scene.duration_s * NS)


def _chips(scene: Scene, profile: str, **more: object) -> Chips:
    def energy_j(t_s: float) -> float:
        return float(scene.energy_j(t_s))  # type: ignore[arg-type]

    return Chips(energy_j, PROFILES[profile].rails, **more)  # type: ignore[arg-type]


def _printed(scene: Scene, profile: str = PROFILE, *, pace: Pace | None = None, **more: object) -> list[Row]:
    chips = _chips(scene, profile, **more)
    return list(
        lines(PROFILES[profile], chips, begin_ns=BEGIN_NS, seconds=scene.duration_s + 1, pace=pace or Pace())
    )  # fmt: skip


def _record(
    rows: Sequence[Row],
    profile: str = PROFILE,
    channel: str = CHANNEL,
    *,
    round_ms: int | None = None,
    averages: int = 1,
) -> Recorded:
    """The shipped decoder on these rows."""
    with tempfile.TemporaryDirectory(prefix="joulebench-tegrastats-") as folder:
        root = Path(folder)
        simulator(root, profile, round_ms=round_ms, averages=averages)
        channels = tuple((rail.name, rail.name) for rail in PROFILES[profile].rails) or ((channel, channel),)
        meter = open_on_board(MeterRequest(METER, {"interval_ms": ASKED_MS}, channels, root, simulated=True))
        info, _ = meter.prepare(LocalFiles(), clock=HOST)
    blocks: list[Block | None] = [meter.decode(part) for part in samples(rows)]
    blocks.append(meter.finish())
    return Recorded(info, [block for block in blocks if block is not None], channel)


def _spoilt(spoil: Spoil) -> Callable[[Scene], Recorded]:
    def play(scene: Scene) -> Recorded:
        return _record(spoil(_printed(scene), scene))

    return play


def _between(scene: Scene, a: float, b: float, change: Callable[[bytes, int], bytes]) -> Callable[[Row], Row]:
    begin, end = _at(scene, a), _at(scene, b)
    seen = [0]

    def apply(row: Row) -> Row:
        t_ns, line = row
        if isinstance(line, int) or not begin <= t_ns < end:
            return row
        seen[0] += 1
        return t_ns, change(line, seen[0])

    return apply


def _changed(a: float, b: float, change: Callable[[bytes, int], bytes]) -> Callable[[Scene], Recorded]:
    return _spoilt(lambda rows, scene: list(map(_between(scene, a, b, change), rows)))


# --- what goes wrong ----------------------------------------------------------------------------------


def _half(line: bytes, k: int) -> bytes:
    return line[: len(line) * (3 + k % 7) // 10] if k % 4 == 0 else line


def _joined(rows: list[Row], scene: Scene) -> list[Row]:
    """Every tenth newline is lost: two lines arrive as one."""
    out: list[Row] = []
    for k, (t_ns, line) in enumerate(rows):
        if k % 10 == 0 and out and isinstance(line, bytes) and isinstance(out[-1][1], bytes):
            out[-1] = (t_ns, out[-1][1] + line)
        else:
            out.append((t_ns, line))
    return out


def _watts(line: bytes, k: int) -> bytes:
    """Another writer's unit: whole watts."""
    head, _, tail = line.partition(b" VDD_IN ")
    numbers = tail.split(b"mW")[0]
    watts = b"%d" % (int(numbers) // 1000)
    return head + b" VDD_IN " + watts + b"W/" + watts + b"W"


def _stutter(rows: list[Row], scene: Scene) -> list[Row]:
    """For a second the reader is held up: its lines are then read at once."""
    begin, end = _at(scene, 0.5), _at(scene, 0.5) + NS
    return [(end if begin <= t_ns < end else t_ns, line) for t_ns, line in rows]


def _blocks_of(rows: list[Row], size: int) -> list[Row]:
    """Its output is block-buffered: lines come when `size` of them are there."""
    return [(rows[min(k - k % size + size, len(rows)) - 1][0], line) for k, (_, line) in enumerate(rows)]


def _restarted(rows: list[Row], scene: Scene) -> list[Row]:
    """It dies in the middle of the work; the sampler starts it again, and its first line is slow."""
    end, again = _at(scene, 0.45), _at(scene, 0.45) + NS // 10
    back = again + NS // 2
    kept: list[Row] = [row for row in rows if row[0] < end]
    return [*kept, (end, errno.EPIPE), *(row for row in rows if row[0] > back)]


def _memory_full(rows: list[Row], scene: Scene) -> list[Row]:
    begin, end = _at(scene, 0.4), _at(scene, 0.4) + 2 * NS
    kept = [row for row in rows if row[0] < begin]
    return [*kept, (begin, errno.ENOBUFS), *(row for row in rows if row[0] > end)]


def _frozen(rows: list[Row], scene: Scene) -> list[Row]:
    """The chips do not answer for the first third of the work: every line repeats the last standby."""
    begin, end = _at(scene, 0.24), _at(scene, 0.5)
    last = b""
    out: list[Row] = []
    for t_ns, line in rows:
        if isinstance(line, bytes) and begin <= t_ns < end:
            last = last or line
            line = last
        out.append((t_ns, line))
    return out


def _dated_back(line: bytes, k: int) -> bytes:
    return b"09-27-2026 01:" + line[len(b"09-27-2026 02:") :]


def _twice(rows: list[Row], scene: Scene) -> list[Row]:
    """Every line is written twice (a second reader's echo)."""
    return [(t_ns + shift, line) for t_ns, line in rows for shift in (0, 40_000)]


def _zero(line: bytes, k: int) -> bytes:
    head, _, tail = line.partition(b" VDD_IN ")
    _, _, rest = tail.partition(b" ")
    return head + b" VDD_IN 0mW/0mW " + rest


def _without(rail: bytes) -> Callable[[bytes, int], bytes]:
    def change(line: bytes, k: int) -> bytes:
        head, _, tail = line.partition(b" " + rail + b" ")
        return head + b" " + tail.partition(b" ")[2]

    return change


def _new_rail(line: bytes, k: int) -> bytes:
    return line + b" VDD_NEW 1250mW/1250mW"


def _other_pace(scene: Scene) -> Recorded:
    """It does not take the interval and prints once a second, as it does by itself."""
    return _record(_printed(scene, pace=Pace(interval_s=1.0)))


def _without_power(scene: Scene) -> Recorded:
    """A JetPack whose tegrastats prints no power."""
    return _record(_printed(scene, "tx1-jp3"), "tx1-jp3", "VDD_IN")


def _wrong_shunt(scene: Scene) -> Recorded:
    """The kernel believes in 5 mohm where 5.75 mohm are fitted."""
    return _record(_printed(scene, gain={rail.name: 1.15 for rail in PROFILES[PROFILE].rails}))


def _averaging(scene: Scene) -> Recorded:
    """The kernel lets the chips average: what they show comes late."""
    return _record(_printed(scene, round_s=0.0066, averages=64), round_ms=422, averages=64)


def _round_known(scene: Scene) -> Recorded:
    """The kernel shows how long a round of conversions takes."""
    return _record(_printed(scene), round_ms=20)


def _other_rails(scene: Scene) -> Recorded:
    """The lines are of another module than the bench was written for."""
    return _record(_printed(scene, "nano-jp4"))


def trials() -> Sequence[FaultTrial]:
    """All named faults of tegrastats."""
    table: Sequence[tuple[str, str, Callable[[Scene], Recorded]]] = (
        ("none", "no fault", lambda scene: _record(_printed(scene))),
        ("none_round_known", "no fault, a kernel that shows the chips' round", _round_known),
        ("half_line", "every fourth line is cut", _changed(0.4, 0.7, _half)),
        (
            "garbage",
            "other text between lines",
            _changed(0.4, 0.6, lambda line, k: b"\xff\x00" if k % 5 == 0 else line),
        ),
        ("joined_lines", "newlines get lost", _spoilt(_joined)),
        ("header_drift", "the total rail vanishes", _changed(0.5, 0.6, _without(b"VDD_IN"))),
        ("part_vanishes", "a rail that is a part vanishes", _changed(0.5, 0.55, _without(b"VDD_CPU_GPU_CV"))),
        ("new_rail", "a rail appears", _changed(0.5, 1.1, _new_rail)),
        ("unit_change", "watts instead of milliwatts", _changed(0.5, 1.1, _watts)),
        ("lumped", "lines held up for a second", _spoilt(_stutter)),
        ("block_buffered", "its output is not flushed", _spoilt(lambda rows, scene: _blocks_of(rows, 10))),
        ("restart", "it dies and is started again", _spoilt(_restarted)),
        ("memory_full", "the sampler's memory is full", _spoilt(_memory_full)),
        ("stale_chips", "its chips are not read any more", _spoilt(_frozen)),
        ("zero_total", "the total reads 0", _changed(0.5, 0.58, _zero)),
        ("clock_step", "the date falls back by an hour", _changed(0.5, 1.1, _dated_back)),
        ("duplicate", "every line comes twice", _spoilt(_twice)),
        ("wrong_pace", "it does not keep the interval", _other_pace),
        ("no_power", "a JetPack that prints no power", _without_power),
        ("other_module", "rails of another module", _other_rails),
    )
    made = [FaultTrial(METER, fault, what, play) for fault, what, play in table]
    shunt = FaultTrial(METER, "wrong_shunt", "shunts other than the kernel believes", _wrong_shunt, constant_scale=True)
    slow = FaultTrial(METER, "averaging", "chips that average over 0.4 s", _averaging, scale=4.0)
    return [*made, slow, shunt]
