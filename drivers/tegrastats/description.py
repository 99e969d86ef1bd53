"""What tegrastats is as a meter on a board: module, rails, what a number means, assumed accuracy.

What a number means depends on how the kernel runs the INA3221 behind it: tegrastats prints the chip's newest result,
which is the mean over one round of conversions, at some phase within its own interval. A kernel that shows the
length of a round (`update_interval`, hwmon of JetPack 5 and newer) makes the window known; otherwise it is not.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drivers.tegrastats.options import TegrastatsOptions
from drivers.tegrastats.rails import MODULES, Module, module_of
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind

MODEL, SERIAL, RELEASE = "/proc/device-tree/model", "/proc/device-tree/serial-number", "/etc/nv_tegra_release"
ROUND = "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/update_interval"
PROGRAMS = ("/usr/bin/tegrastats", "/home/*/tegrastats")
EXECUTABLE = "agent:executable "

GAIN_REL, OFFSET_W = 0.05, 0.1
SOURCE = (
    "assumed: 5 % as NVIDIA's staff state for power of Jetson modules, and 0.1 W for the 80 uV offset of an INA3221 "
    "(SBOS576, electrical characteristics) over shunts of 1 to 5 mohm at 5 V; override with a calibration of your own"
)


@dataclass(frozen=True)
class Board:
    """What a board's files say. `model`: of the device tree; `module`: key of MODULES or ""; `round_ms`: the longest
    round of its INA3221s, or 0 where the kernel does not tell; `programs`: where tegrastats lies."""

    model: str
    serial: str
    release: str
    module: str
    round_ms: int
    programs: tuple[str, ...]


def look(files: BoardFiles, root: Path, options: TegrastatsOptions) -> Board:
    """Asks the board once."""
    prefix = str(root).rstrip("/")
    at = glob.escape(prefix)
    asked = [*(at + path for path in (MODEL, SERIAL, RELEASE, ROUND)), *(EXECUTABLE + at + path for path in PROGRAMS)]
    found = files.read(asked)

    def text(path: str) -> str:
        return found.get(prefix + path, b"").decode("utf-8", "replace").strip("\0 \n")

    rounds = [int(data) for path, data in found.items() if path.endswith("update_interval") and data.strip().isdigit()]
    programs = [line for path in PROGRAMS for line in found.get(EXECUTABLE + at + path, b"").decode().splitlines()]
    model = text(MODEL)
    release = text(RELEASE).splitlines()
    return Board(
        model,
        text(SERIAL),
        release[0].lstrip("# ") if release else "",
        options.module or module_of(model),
        max(rounds, default=0),
        tuple(programs),
    )


def channels_of(board: Board, rails: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The bound rails, or all that the module prints; DeviceError where neither is known."""
    if rails:
        return tuple(channel for channel, _ in rails)
    if not board.module:
        raise DeviceError(
            f"{board.model or 'this board'} is no Jetson module that tegrastats is known for, so its rails are unknown",
            hint=f"name its rails in the bench file, or set the option module to one of {', '.join(MODULES)}",
        )
    return MODULES[board.module].rails


def describe(
    board: Board, channels: tuple[str, ...], options: TegrastatsOptions, *, clock: str, simulated: bool
) -> MeterInfo:
    """The meter that prints `channels`."""
    module = MODULES.get(board.module)
    reading, window = reading_of(board, options)
    details = {"window": window, "latency": "unknown: from the chip's conversion to the line's arrival; >= 0"}
    details |= {"release": board.release or "unknown", "module": board.module or "unknown"}
    details |= _relations(module, channels) if module else {}
    return MeterInfo(
        driver="tegrastats",
        model=f"{board.model or 'unknown board'} (INA3221)",
        serial=board.serial or "unknown",
        firmware=board.release or "unknown",
        clock=clock,
        columns=tuple(ColumnSpec(column_name(name), "W") for name in channels),
        channels=tuple(
            ChannelSpec(name, "power_w", (column_name(name),), reading, Accuracy(GAIN_REL, OFFSET_W, source=SOURCE))
            for name in channels
        ),
        simulated=simulated,
        details=details,
    )


def reading_of(board: Board, options: TegrastatsOptions) -> tuple[Reading, str]:
    """The kernel of a reading, and what is known of it, in words."""
    interval = options.interval_ns
    if not board.round_ms:
        words = "unknown: the newest result of the INA3221, 6.6 ms as it is reset, longer if the kernel set averaging"
        return Reading(ReadingKind.POINT, interval, 0), words
    window = board.round_ms * 1_000_000
    words = f"{board.round_ms} ms, one round of the INA3221 (update_interval), ending up to as long before the line"
    kind = ReadingKind.PART_TIME if window < interval else ReadingKind.OVERLAPPING
    return Reading(kind, interval, window), words


def _relations(module: Module, channels: tuple[str, ...]) -> Mapping[str, str]:
    said = {f"part_of:{name}": module.part_of(name) for name in channels if module.part_of(name)}
    said["total"] = module.total or "sum of " + " ".join(module.summed)
    if module.note:
        said["note"] = module.note
    listed = {rail for rails in (module.rails, *module.older) for rail in rails}
    return said | {f"unlisted:{name}": "not in the table of this module" for name in channels if name not in listed}


def column_name(channel: str) -> str:
    """Raw column (mW, int64) of a rail."""
    return f"{channel}:power_mw"
