"""Which resistor is really there: what was declared, what the kernel believes, and when to refuse.

The kernel takes 10 mohm where nobody told it, and the breakout that most people wire up has 100 mohm: everything reads
ten times too much, smoothly and plausibly. So its default is believed only if somebody declared it, in the bench
file or in the device tree; and where a declaration differs from the kernel's belief, the belief is taken out again.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.ina2xx import codec
from drivers.ina2xx.kernel import DEFAULT_SHUNT_UOHM, is_calibration_register
from drivers.ina2xx.tree import Chip, Layout
from harness.core.errors import SpecError
from harness.io.sysfs import Sysfs, reason

SAME_REL = 0.01
"""Closer than this the kernel and the declaration mean the same resistor: older kernels give back their rounded
calibration (99902 for 100000 uohm)."""


@dataclass(frozen=True)
class Shunt:
    """`ohm`: what currents are computed with (0: the kernel alone knows); `kernel_uohm`: what the kernel computes with,
    None if not told; `scale`: what its current and power are multiplied by; `source`: who says `ohm`."""

    ohm: float
    kernel_uohm: int | None
    scale: float
    source: str

    @property
    def overridden(self) -> bool:
        return abs(self.scale - 1) > SAME_REL


def shunt_of(
    sysfs: Sysfs, chip: Chip, number: int, channel: str, *, declared_ohm: float | None, kernel_ohm: float | None
) -> Shunt:
    """The shunt of a channel. SpecError where two readings of the facts would differ by a factor."""
    if chip.layout is Layout.IIO_3221:  # its driver shows no shunt: that of the module's own device tree
        return _untold(chip, channel, declared_ohm, kernel_ohm)
    if chip.kind.name == "ina260":
        return _inside(chip, declared_ohm)
    path = _path(chip, number)
    file_uohm = _file_uohm(sysfs, path)
    told = chip.tree_uohm.get(number)
    kernel_uohm = round(kernel_ohm * 1e6) if kernel_ohm is not None else file_uohm
    if kernel_ohm is None and file_uohm is not None and is_calibration_register(chip.kind, file_uohm):
        if told is None:
            raise SpecError(
                f"{chip.name}: {sysfs.path(path)} reads {file_uohm}, which is the chip's calibration register and not "
                "a shunt (a bug of Linux 4.16 to 4.18), so nobody can say what the kernel computes with",
                hint="write the true value into that file (`echo 100000 | sudo tee ...` for 0.1 ohm) and give the same "
                "as options kernel_shunt_ohm and shunt_ohm, or use a mended kernel",
            )
        kernel_uohm = told
    if kernel_uohm is None or kernel_uohm <= 0:
        raise SpecError(
            f"{chip.name}: {sysfs.path(path)} does not tell which shunt the kernel computes with",
            hint="give it as option kernel_shunt_ohm, and the resistor that is really there as shunt_ohm",
        )
    if declared_ohm is None:
        if kernel_uohm == DEFAULT_SHUNT_UOHM and told is None and kernel_ohm is None:
            raise SpecError(
                f"{chip.name}, channel {channel!r}: the kernel computes with 10 mohm, which is what it takes when "
                "nobody told it; with the 100 mohm of a common breakout every figure would be ten times too large",
                hint="look at the resistor and declare it in options: shunt_ohm: 0.1 for R100, 0.01 for R010",
            )
        said = "device tree" if told == kernel_uohm else "kernel's file"
        return Shunt(kernel_uohm * 1e-6, kernel_uohm, 1.0, said)
    return Shunt(declared_ohm, kernel_uohm, kernel_uohm * 1e-6 / declared_ohm, "declared")


def _inside(chip: Chip, declared_ohm: float | None) -> Shunt:
    inside_ohm = 0.002
    if declared_ohm is not None and abs(declared_ohm / inside_ohm - 1) > SAME_REL:
        raise SpecError(
            f"{chip.name} has its shunt of 0.002 ohm inside, but shunt_ohm is {declared_ohm:g}",
            hint="leave shunt_ohm out for an INA260",
        )
    return Shunt(inside_ohm, 2000, 1.0, "inside the chip")


def _untold(chip: Chip, channel: str, declared_ohm: float | None, kernel_ohm: float | None) -> Shunt:
    if declared_ohm is None:
        return Shunt(0.0, None, 1.0, "module's device tree, not shown by its driver")
    if kernel_ohm is None:
        raise SpecError(
            f"{chip.name}, channel {channel!r}: shunt_ohm is declared, but this driver does not show which shunt it "
            "computes with",
            hint="leave shunt_ohm out (a Jetson's own rails are right), or give kernel_shunt_ohm too",
        )
    return Shunt(declared_ohm, round(kernel_ohm * 1e6), kernel_ohm / declared_ohm, "declared")


def _path(chip: Chip, number: int) -> str:
    name = {Layout.HWMON: "shunt_resistor", Layout.HWMON_3221: f"shunt{number}_resistor"}
    return f"{chip.folder}/{name.get(chip.layout, 'in_shunt_resistor')}"


def _file_uohm(sysfs: Sysfs, path: str) -> int | None:
    try:
        return codec.parse_shunt_uohm(sysfs.text(path).encode())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise SpecError(
            f"{sysfs.path(path)} cannot be used ({why}), so it is unknown which shunt the kernel computes with",
            hint="give it as option kernel_shunt_ohm",
        ) from error
