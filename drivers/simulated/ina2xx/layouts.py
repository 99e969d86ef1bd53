"""Boards as people have them: chips, their places, labels, shunts, and which driver of which kernel serves them.

Jetson places and labels: public listings of Orin Nano, AGX Orin, AGX Xavier and Nano (JetPack 4 and 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.simulated.ina2xx.board import FakeBoard
from drivers.simulated.ina2xx.converter import ALTERNATING, Channel, Converter, Front, in_turns
from drivers.simulated.ina2xx.fronts import HeldFront
from drivers.simulated.ina2xx.kernel_files import NEW, OLD, Hwmon3221, HwmonIna, IioIna, JetPack4
from drivers.simulated.ina2xx.registers import MODELS

FrontOf = Callable[[str], Front]
"""Label of a rail -> what flows through its shunt."""

MS = 1_000_000
NEW_RELEASE, OLD_RELEASE, TEGRA_RELEASE = "6.6.31-v8", "4.9.35", "4.9.253-tegra"


@dataclass(frozen=True)
class Wired:
    """One chip: at `place`, with `labels` a channel, true shunts, and shunts that the kernel computes with (uohm).

    `driver`: "hwmon", "hwmon3221", "jetpack4", "iio", or "iio-old"; `declared`: the device tree names the shunt;
    `averages`: of an INA3221 a filter that moves at every round, of the others a longer round.
    """

    model: str
    place: str
    labels: tuple[str, ...] = ("main",)
    shunt_ohm: tuple[float, ...] = (0.1,)
    kernel_uohm: tuple[int, ...] = (100_000,)
    driver: str = "hwmon"
    generation: str = NEW
    averages: int = 16
    declared: bool = False


@dataclass(frozen=True)
class Layout:
    """A board's chips and its kernel's release."""

    chips: tuple[Wired, ...]
    release: str = NEW_RELEASE


def _jetson(place: str, *labels: str, driver: str = "hwmon3221", averages: int = 1) -> Wired:
    shunts = tuple(5e-3 for _ in labels)
    return Wired("ina3221", place, labels, shunts, tuple(round(s * 1e6) for s in shunts), driver, averages=averages)


LAYOUTS: dict[str, Layout] = {
    "ina226": Layout((Wired("ina226", "1-0040", shunt_ohm=(0.01,), kernel_uohm=(10_000,), declared=True),)),
    "ina219": Layout((Wired("ina219", "1-0040"),)),
    "ina219-old": Layout((Wired("ina219", "1-0040", generation=OLD),), OLD_RELEASE),
    "ina226-old": Layout(
        (Wired("ina226", "1-0040", shunt_ohm=(0.02,), kernel_uohm=(20_000,), generation=OLD),), OLD_RELEASE
    ),
    "ina260": Layout((Wired("ina260", "1-0040", shunt_ohm=(0.002,), kernel_uohm=(2000,)),)),
    "iio-ina219": Layout((Wired("ina219", "1-0040", driver="iio-old"),), OLD_RELEASE),
    "iio-ina226": Layout((Wired("ina226", "1-0040", shunt_ohm=(0.02,), kernel_uohm=(20_000,), driver="iio"),)),
    "orin-nano": Layout((_jetson("1-0040", "VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),), "5.15.136-tegra"),
    "agx-orin": Layout(
        (
            _jetson("1-0040", "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
            _jetson("1-0041", "NC", "VDDQ_VDD2_1V8AO", "NC"),
        ),
        "5.15.136-tegra",
    ),
    "nano": Layout((_jetson("6-0040", "POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU", driver="jetpack4"),), TEGRA_RELEASE),
    "agx-xavier": Layout(
        (
            _jetson("1-0040", "GPU", "CPU", "SOC", driver="jetpack4"),
            _jetson("1-0041", "CV", "VDDRQ", "SYS5V", driver="jetpack4"),
        ),
        TEGRA_RELEASE,
    ),
    "tx2": Layout(
        (
            _jetson("0-0040", "VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", driver="jetpack4"),
            _jetson("0-0041", "VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR", driver="jetpack4"),
        ),
        TEGRA_RELEASE,
    ),
    "orin-nano-averages": Layout(
        (_jetson("1-0040", "VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC", averages=16),), "5.15.136-tegra"
    ),
}


def build(
    layout: str | Layout,
    root: Path,
    *,
    front_of: FrontOf | None = None,
    first_number: int = 2,
    now_ns: int = 0,
    slow: float = 1.0,
    held: bool = False,
) -> FakeBoard:
    """A board with the chips of `layout`. `first_number`: N of the first hwmonN, which differs from boot to boot;
    `slow`: how much slower than typical the chips' clocks are; `held`: registers follow their fronts at once, since
    whoever sets these (HeldFront) knows when a conversion has ended; an INA3221's averages are left out then."""
    what = LAYOUTS[layout] if isinstance(layout, str) else layout
    board = FakeBoard(root, now_ns=now_ns)
    board.add("proc/sys/kernel", {"osrelease": what.release.encode() + b"\n"})
    for k, wired in enumerate(what.chips):
        _wire(board, wired, first_number + k, front_of if front_of is not None else _nothing, slow, held=held)
    return board


def _nothing(label: str) -> Front:
    return HeldFront()


def _wire(board: FakeBoard, wired: Wired, number: int, front_of: FrontOf, slow: float, *, held: bool) -> None:
    model = MODELS[wired.model]
    channels = [
        Channel(ohm, front_of(label)) for ohm, label in zip(wired.shunt_ohm, wired.labels, strict=True)
    ]  # fmt: skip
    filters = wired.model == "ina3221" and not held
    converter = Converter(
        model, channels, 1.0 if held else round_ns(wired), slow, recursive=wired.averages if filters else 1
    )
    _set_windows(wired, channels)
    device = f"sys/bus/i2c/devices/{wired.place}"
    hwmon, iio = f"{device}/hwmon/hwmon{number}", f"{device}/iio:device{number}"
    if wired.driver == "hwmon":
        update_ms = round(round_ns(wired) / MS) if wired.model != "ina219" else None
        one = HwmonIna(converter, wired.generation, wired.kernel_uohm[0], update_ms)
        board.add(hwmon, one.files())
        board.chips[wired.place] = one
    elif wired.driver == "hwmon3221":
        wired_ms = round(round_ns(wired) * wired.averages / MS)
        board.add(hwmon, Hwmon3221(converter, wired.labels, wired.kernel_uohm, wired_ms, wired.averages).files())
    elif wired.driver == "jetpack4":
        board.add(iio, JetPack4(converter, wired.labels, wired.kernel_uohm).files())
    else:
        old = wired.driver == "iio-old"
        board.add(iio, IioIna(converter, wired.kernel_uohm[0], wired.averages, whole_bus=old).files())
    if wired.declared:
        board.add(f"{device}/of_node", {"shunt-resistor": wired.kernel_uohm[0].to_bytes(4, "big")})


def round_ns(wired: Wired) -> float:
    """From one update of a chip's registers to the next."""
    if wired.model == "ina219":
        return 1.064 * MS
    if wired.model == "ina3221":
        wires = sum(label != "NC" for label in wired.labels)
        return 2.2 * MS * wires
    return 2.2 * MS * wired.averages


def _set_windows(wired: Wired, channels: list[Channel]) -> None:
    if wired.model == "ina3221":
        wires = [channel for channel, label in zip(channels, wired.labels, strict=True) if label != "NC"]
        for channel, windows in zip(wires, in_turns(len(wires)), strict=True):
            channel.shunt_window, channel.bus_window = windows
    elif wired.model != "ina219" and wired.averages > 1:
        channels[0].shunt_window, channels[0].bus_window = ALTERNATING
