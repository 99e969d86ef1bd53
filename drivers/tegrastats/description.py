"""What tegrastats is as a meter on a board: module, rails, what a number means, assumed accuracy.

What a number means depends on how the kernel runs the INA3221 behind it: tegrastats prints the chip's newest result,
at some phase within its own interval. Without averaging (`samples` 1) that is the mean over one conversion, and of a
round (three channels, shunt and bus) a rail's current has one conversion of six. With averaging the chip adds
1/samples of the difference to its register at each round (SBOS576 as quoted by NVIDIA's DRIVE OS "Power Measurement
Tool"): an exponential filter whose time constant is about samples x round = `update_interval`.
A kernel that shows these (hwmon of JetPack 5 and newer) makes the kernel of a reading known; otherwise it is not.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drivers.chips.ina3221 import CHANNELS, filter_tau_s
from drivers.tegrastats.options import TegrastatsOptions
from drivers.tegrastats.rails import MODULES, Module, module_of
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind

MODEL, SERIAL, RELEASE = "/proc/device-tree/model", "/proc/device-tree/serial-number", "/etc/nv_tegra_release"
CHIP = "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/"
ROUND, SAMPLES = CHIP + "update_interval", CHIP + "samples"
PROGRAMS = ("/usr/bin/tegrastats", "/home/*/tegrastats")
EXECUTABLE = "agent:executable "
CONVERSIONS = 2 * CHANNELS  # of a round: shunt and bus of each channel, one after the other

GAIN_REL, OFFSET_W, OFFSET_AGX_W = 0.05, 0.1, 0.4
SOURCE = (
    "assumed: no accuracy of these rails is stated; 5 % for shunts and chips, 0.1 W (AGX modules 0.4 W) for the 80 uV "
    "offset of an INA3221 (SBOS576, electrical characteristics) over a shunt of about 5 mohm (1 mohm) at 5 V; override "
    "with a calibration of your own"
)


def limits_of(module: str) -> tuple[float, float]:
    """(gain_rel, offset_w) that are assumed for a key of MODULES: large modules have small shunts."""
    return GAIN_REL, OFFSET_AGX_W if module.startswith("agx") else OFFSET_W


@dataclass(frozen=True)
class Board:
    """What a board's files say. `model`: of the device tree; `module`: key of MODULES or ""; `round_ms`: the longest
    `update_interval` of its INA3221s, or 0 where the kernel does not tell; `samples`: the most averages; `programs`:
    where tegrastats lies."""

    model: str
    serial: str
    release: str
    module: str
    round_ms: int
    samples: int
    programs: tuple[str, ...]


def look(files: BoardFiles, root: Path, options: TegrastatsOptions) -> Board:
    """Asks the board once."""
    prefix = str(root).rstrip("/")
    at = glob.escape(prefix)
    asked = [
        *(at + path for path in (MODEL, SERIAL, RELEASE, ROUND, SAMPLES)),
        *(EXECUTABLE + at + path for path in PROGRAMS),
    ]
    found = files.read(asked)

    def text(path: str) -> str:
        return found.get(prefix + path, b"").decode("utf-8", "replace").strip("\0 \n")

    def numbers(name: str) -> list[int]:
        return [int(data) for path, data in found.items() if path.endswith(name) and data.strip().isdigit()]

    programs = [line for path in PROGRAMS for line in found.get(EXECUTABLE + at + path, b"").decode().splitlines()]
    model = text(MODEL)
    release = text(RELEASE).splitlines()
    return Board(
        model,
        text(SERIAL),
        release[0].lstrip("# ") if release else "",
        options.module or module_of(model),
        max(numbers("/update_interval"), default=0),
        max(numbers("/samples"), default=1),
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
    accuracy = Accuracy(*limits_of(board.module), source=SOURCE)
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
        channels=tuple(ChannelSpec(name, "power_w", (column_name(name),), reading, accuracy) for name in channels),
        simulated=simulated,
        details=details,
    )


def reading_of(board: Board, options: TegrastatsOptions) -> tuple[Reading, str]:
    """The kernel of a reading, and what is known of it, in words."""
    interval = options.interval_ns
    if not board.round_ms:
        words = "unknown: the newest result of the INA3221, 6.6 ms as it is reset, longer if the kernel set averaging"
        return Reading(ReadingKind.POINT, interval, 0), words
    if board.samples > 1:
        tau_ns = round(filter_tau_s(board.round_ms / board.samples, board.samples) * 1e6)
        words = f"an exponential filter of {tau_ns / 1e6:.4g} ms: {board.samples} averages of the INA3221"
        return Reading(ReadingKind.FILTERED, interval, 0, tau_ns=tau_ns), words
    window = round(board.round_ms * 1_000_000 / CONVERSIONS)
    words = (
        f"{window / 1e6:.3g} ms, one conversion of {CONVERSIONS} in a round of the INA3221 "
        f"(update_interval {board.round_ms} ms), ended up to a round before the line"
    )
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
