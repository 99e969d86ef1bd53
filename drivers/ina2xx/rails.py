"""From a chip's files to rails: what they are called, which files make their power, what a step of a file is worth."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.ina2xx import codec
from drivers.ina2xx.kernel import Generation, current_step_a, largest_current_a, power_step_w
from drivers.ina2xx.shunt import Shunt, shunt_of
from drivers.ina2xx.tree import Chip, Layout, numbered, text
from harness.io.sysfs import Sysfs

MAIN = "main"
NOT_CONNECTED = "NC"
WHOLES = ("VDD_IN", "POM_5V_IN", "VIN")
"""Rails that a board's other rails are branches of: Jetson Nano, TX, Xavier NX, Orin NX and Nano, Thor."""

MV, MA, UW = 1e-3, 1e-3, 1e-6
FALLBACK_V = 5.0  # for choosing files where the rail is off
LEAST_W = 1.0
AVERAGED_REL = 0.01
"""Of power, for the choice of files: what the product of two long averages errs where the supply sags by 2 %."""


@dataclass(frozen=True)
class Item:
    """One file of a rail. `scale`: SI per count, the shunt put right; `mask`: bits that are value and not flags."""

    role: str
    column: str
    unit: str
    path: str
    scale: float
    mask: int = -1


@dataclass(frozen=True)
class Rail:
    """A supply that a chip sees. `power`: names of the columns whose product is its power; `step_w`: what one step of
    them is worth at `bus_v`; `full_a`: where the current is cut off; `now_a`, `bus_v`: what it read when it was found.
    """

    channel: str
    chip: Chip
    number: int
    items: tuple[Item, ...]
    power: tuple[str, ...]
    shunt: Shunt
    bus_v: float
    now_a: float
    step_w: float
    full_a: float
    shunt_mv: int | None = None  # in0_input when it was found

    def item(self, role: str) -> Item | None:
        return next((item for item in self.items if item.role == role), None)

    @property
    def by_power_file(self) -> bool:
        return len(self.power) == 1


@dataclass(frozen=True)
class Spot:
    """A channel of a chip before its files are judged: `number` 1..3 (INA3221), 0..2 (JetPack 4), 0 (one channel)."""

    channel: str
    chip: Chip
    number: int


def spots(sysfs: Sysfs, found: list[Chip]) -> list[Spot]:
    """All channels of the chips, by unique names: the rail's label; `main` for the only chip of one channel."""
    single = [chip for chip in found if chip.layout in (Layout.HWMON, Layout.IIO)]
    named: list[Spot] = []
    for chip in found:
        names = sysfs.names(chip.folder)
        if chip.layout is Layout.HWMON_3221:
            for number in numbered(names, r"curr([123])_input"):
                label = text(sysfs, f"{chip.folder}/in{number}_label") or f"channel{number}"
                if label != NOT_CONNECTED and text(sysfs, f"{chip.folder}/in{number}_enable") != "0":
                    named.append(Spot(label, chip, number))
        elif chip.layout is Layout.IIO_3221:
            for number in numbered(names, r"rail_name_([012])"):
                label = text(sysfs, f"{chip.folder}/rail_name_{number}") or f"channel{number}"
                if label != NOT_CONNECTED:
                    named.append(Spot(label, chip, number))
        else:
            label = text(sysfs, f"{chip.folder}/label") or (MAIN if len(single) == 1 else chip.place)
            named.append(Spot(label, chip, 0))
    labels = [spot.channel for spot in named]
    return [
        spot if labels.count(spot.channel) == 1 else Spot(f"{spot.chip.place}/{spot.channel}", spot.chip, spot.number)
        for spot in named
    ]


def part_of(channel: str, others: list[str]) -> str | None:
    """The rail that already holds this one's energy. AGX modules have none: their rails are beside each other."""
    whole = next((name for name in WHOLES if name in others), None)
    return whole if whole is not None and channel != whole else None


def rail_of(
    sysfs: Sysfs, spot: Spot, generation: Generation, *, declared_ohm: float | None, kernel_ohm: float | None
) -> Rail:
    """The rail with its files and scales. SpecError (which shunt?); OSError or ValueError (files that refuse)."""
    shunt = shunt_of(sysfs, spot.chip, spot.number, spot.channel, declared_ohm=declared_ohm, kernel_ohm=kernel_ohm)
    make = {
        Layout.HWMON: _hwmon,
        Layout.HWMON_3221: _ina3221,
        Layout.IIO_3221: _jetpack4,
        Layout.IIO: _iio,
    }[spot.chip.layout]
    return make(sysfs, spot, generation, shunt)


def read(sysfs: Sysfs, path: str) -> int:
    attribute = sysfs.attribute(path)
    try:
        return codec.parse_integer(attribute.read())
    except ValueError as error:
        raise ValueError(f"{sysfs.path(path)} {error}") from error
    finally:
        attribute.close()


def _hwmon(sysfs: Sysfs, spot: Spot, generation: Generation, shunt: Shunt) -> Rail:
    chip, base, folder = spot.chip, spot.channel, spot.chip.folder
    items = [
        Item("voltage", f"{base}:in1_mv", "V", f"{folder}/in1_input", MV),
        Item("current", f"{base}:curr1_ma", "A", f"{folder}/curr1_input", MA * shunt.scale),
    ]
    names = sysfs.names(folder)
    if "power1_input" in names:
        items.append(Item("power", f"{base}:power1_uw", "W", f"{folder}/power1_input", UW * shunt.scale))
    if "in0_input" in names:
        items.append(Item("shunt", f"{base}:in0_mv", "V", f"{folder}/in0_input", MV))
    volt, ampere = read(sysfs, items[0].path) * MV, read(sysfs, items[1].path) * items[1].scale
    kernel_uohm = shunt.kernel_uohm or round(shunt.ohm * 1e6)
    current_w = current_step_a(chip.kind, generation, kernel_uohm) * shunt.scale * max(volt, FALLBACK_V)
    register_w = power_step_w(chip.kind, generation, kernel_uohm) * shunt.scale
    full_a = min(chip.kind.sheet.full_a(shunt.ohm), largest_current_a(chip.kind, generation, kernel_uohm) * shunt.scale)
    if chip.kind.sheet.interleaved:  # its power register is the mean of products, not the product of means
        product_w = 0.5 * current_w + AVERAGED_REL * max(abs(ampere) * volt, LEAST_W)
        finer = 0.5 * register_w < product_w
    else:
        finer = register_w < current_w
    by_power = finer and len(items) > 2 and items[2].role == "power"
    power = (items[2].column,) if by_power else (items[1].column, items[0].column)
    step_w = register_w if by_power else current_w
    shunt_mv = read(sysfs, items[-1].path) if items[-1].role == "shunt" else None
    return Rail(base, chip, 0, tuple(items), power, shunt, volt, ampere, step_w, full_a, shunt_mv)


def _ina3221(sysfs: Sysfs, spot: Spot, generation: Generation, shunt: Shunt) -> Rail:
    n, folder = spot.number, spot.chip.folder
    files = (f"{folder}/in{n}_input", f"{folder}/curr{n}_input", f"in{n}_mv", f"curr{n}_ma")
    return _of_two_files(sysfs, spot, shunt, files)


def _jetpack4(sysfs: Sysfs, spot: Spot, generation: Generation, shunt: Shunt) -> Rail:
    n, folder = spot.number, spot.chip.folder
    files = (f"{folder}/in_voltage{n}_input", f"{folder}/in_current{n}_input", "voltage_mv", "current_ma")
    return _of_two_files(sysfs, spot, shunt, files)


def _of_two_files(sysfs: Sysfs, spot: Spot, shunt: Shunt, files: tuple[str, str, str, str]) -> Rail:
    """INA3221: whole mV and whole mA of a 13-bit register, which is the coarser of the two."""
    sheet = spot.chip.kind.sheet
    items = (
        Item("voltage", f"{spot.channel}:{files[2]}", "V", files[0], MV),
        Item("current", f"{spot.channel}:{files[3]}", "A", files[1], MA * shunt.scale),
    )
    volt, ampere = read(sysfs, files[0]) * MV, read(sysfs, files[1]) * items[1].scale
    register_a = sheet.shunt_lsb_v / shunt.ohm if shunt.ohm else MA
    step_w = max(register_a, MA * shunt.scale) * max(volt, sheet.bus_lsb_v)
    full_a = sheet.full_a(shunt.ohm) if shunt.ohm else float("inf")
    power = (items[1].column, items[0].column)
    return Rail(spot.channel, spot.chip, spot.number, items, power, shunt, volt, ampere, step_w, full_a)


def _iio(sysfs: Sysfs, spot: Spot, generation: Generation, shunt: Shunt) -> Rail:
    """Raw registers: the shunt voltage needs no belief of the kernel's, only the shunt."""
    folder, base, sheet = spot.chip.folder, spot.channel, spot.chip.kind.sheet
    shunt_mv, bus_mv = (
        codec.parse_number(sysfs.text(f"{folder}/in_voltage{name}_scale").encode())
        for name in ("0_shunt", "1_supply")
    )  # fmt: skip
    whole_register = spot.chip.kind.shunt_divider == 100 and abs(bus_mv - 0.5) < 1e-6  # INA219, older: flags are in it
    items = (
        Item(
            "voltage", f"{base}:bus_raw", "V", f"{folder}/in_voltage1_supply_raw", bus_mv * MV,
            mask=~7 if whole_register else -1,
        ),
        Item("current", f"{base}:shunt_raw", "A", f"{folder}/in_voltage0_shunt_raw", shunt_mv * MV / shunt.ohm),
    )  # fmt: skip
    volt = (read(sysfs, items[0].path) & items[0].mask) * items[0].scale
    ampere = read(sysfs, items[1].path) * items[1].scale
    step_w = items[1].scale * max(volt, FALLBACK_V)
    power = (items[1].column, items[0].column)
    return Rail(base, spot.chip, 0, items, power, shunt, volt, ampere, step_w, sheet.full_a(shunt.ohm))
