"""What can be said of a chip's health from what it showed when it was found."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.ina2xx.rails import Rail
from drivers.ina2xx.readings import LIVE_A, LIVE_SHUNT_MV
from drivers.ina2xx.timing import Timing, Update
from drivers.ina2xx.tree import Layout
from harness.core.ports import CheckItem

CLEAR_MV = 10  # from here on whole mV tell one resistor from another
BURDEN_V = 0.1
HEADROOM = 0.7


def checks(rails: Sequence[Rail], updates: Sequence[Update], timing: Timing) -> list[CheckItem]:
    """Findings by rail; those that are not ok say what to type."""
    found: list[CheckItem] = []
    for rail, update in zip(rails, updates, strict=True):
        found += [_shunt(rail), _bus(rail), _headroom(rail), _burden(rail)]
        found += [item for item in (_calibration(rail),) if item is not None]
        found.append(_update(rail, update, timing))
    return found


def _shunt(rail: Rail) -> CheckItem:
    shunt, name = rail.shunt, f"shunt {rail.channel}"
    if shunt.kernel_uohm is None:
        return CheckItem(name, True, shunt.source)
    kernel = f"the kernel computes with {shunt.kernel_uohm * 1e-6:g} ohm"
    if not shunt.overridden:
        return CheckItem(name, True, f"{shunt.ohm:g} ohm ({shunt.source}); {kernel}")
    file = {Layout.HWMON: "shunt_resistor", Layout.HWMON_3221: f"shunt{rail.number}_resistor"}
    path = f"/{rail.chip.folder}/{file.get(rail.chip.layout, 'in_shunt_resistor')}"
    mend = f"echo {round(shunt.ohm * 1e6)} | sudo tee {path}"
    return CheckItem(name, False, f"{shunt.ohm:g} ohm declared, {kernel}: taken out again here, other tools err", mend)


def _bus(rail: Rail) -> CheckItem:
    found = f"{rail.bus_v:.3f} V, {rail.now_a * 1e3:.0f} mA"
    dead = rail.bus_v <= 0 and abs(rail.now_a) > LIVE_A
    mend = "connect the chip's VBUS (or VIN-) pin to the supply of the load" if dead else ""
    return CheckItem(f"bus {rail.channel}", not dead, found, mend)


def _headroom(rail: Rail) -> CheckItem:
    name = f"range {rail.channel}"
    if not math.isfinite(rail.full_a):
        return CheckItem(name, True, "full scale not known")
    ok = abs(rail.now_a) < HEADROOM * rail.full_a
    found = f"{rail.now_a:.3f} A of {rail.full_a:.3g} A"
    return CheckItem(name, ok, found, "" if ok else "fit a smaller shunt: larger currents are cut off without a sign")


def _burden(rail: Rail) -> CheckItem:
    drop_v = abs(rail.now_a) * rail.shunt.ohm
    ok = drop_v <= BURDEN_V
    mend = "" if ok else "fit a smaller shunt, or raise the supply: a Raspberry Pi throttles below 4.63 V"
    return CheckItem(f"burden {rail.channel}", ok, f"{drop_v * 1e3:.0f} mV lost in the shunt", mend)


def _calibration(rail: Rail) -> CheckItem | None:
    """The shunt's own voltage over the current that is printed is the shunt the chip is calibrated for."""
    item, kernel = rail.item("shunt"), rail.shunt.kernel_uohm
    if item is None or kernel is None or rail.shunt_mv is None or abs(rail.shunt_mv) < LIVE_SHUNT_MV:
        return None
    name = f"calibration {rail.channel}"
    again = "power-cycle the chip and `sudo modprobe -r ina2xx; sudo modprobe ina2xx`"
    if rail.now_a == 0:
        return CheckItem(name, False, f"0 mA at {rail.shunt_mv} mV across the shunt: calibration register is 0", again)
    if abs(rail.shunt_mv) < CLEAR_MV:
        return CheckItem(name, True, f"{rail.shunt_mv} mV across the shunt: too little to tell")
    seen_ohm = rail.shunt_mv * 1e-3 / (rail.now_a / rail.shunt.scale)
    blur_rel = 1.0 / abs(rail.shunt_mv) + 0.05
    ok = abs(seen_ohm / (kernel * 1e-6) - 1) < blur_rel
    return CheckItem(
        name, ok, f"calibrated for {seen_ohm:.4g} ohm, its file says {kernel * 1e-6:g}", "" if ok else again
    )


def _update(rail: Rail, update: Update, timing: Timing) -> CheckItem:
    every_one = timing.follows or update.tau_s > 0  # a filter takes up those that nobody reads as well
    looks = update.window_s / (update.update_s if every_one else timing.poll_s)
    how = "every update is read" if timing.follows else f"read every {timing.poll_s * 1e3:g} ms"
    found = f"{update.update_s * 1e3:.6g} ms ({update.source}); {how}; it looks at the current {looks:.0%} of the time"
    return CheckItem(f"update {rail.channel}", True, found)
