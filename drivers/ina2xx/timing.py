"""How often a chip has something new, what one reading is a mean over, and how often to ask.

The files show the last finished conversion, again and again. Asked three times an update or oftener, every one is seen
and none is counted twice; asked slower than the chip updates, every answer is new. In between some are missed and
some repeated, in a beat: that is refused. An INA3221 with averages updates at every round of conversions, by a part of
the difference: its registers are an exponential filter of the load, however often they are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.chips.ina226 import AVERAGES
from drivers.chips.ina3221 import filter_tau_s
from drivers.chips.monitor import SLOW_REL
from drivers.ina2xx import codec
from drivers.ina2xx.rails import Rail
from drivers.ina2xx.tree import Chip, Layout, text
from harness.core.errors import SpecError
from harness.core.trace import Reading, ReadingKind
from harness.core.waiting import NS_PER_S
from harness.io.sysfs import Sysfs

SHORTEST_UPDATE_POLL_S = 0.005  # a pass over two or three files takes a millisecond of the bus
DEFAULT_POLL_S = 0.010
ASKS = 3  # an update, at least, to see every one
DEFAULT_AVERAGES = 16  # hwmon configures INA226 and INA260 so
ASSUMED_ROUND_S = 0.0066  # INA3221 at reset: three channels, shunt and bus, 1.1 ms each


@dataclass(frozen=True)
class Update:
    """How a chip converts: `update_s` from one new value to the next, `window_s` of it looking at the current;
    `spread`: the window lies all over the update (averages in turns) and not in one piece; `averaged`: current and
    voltage are averages of many conversions, each by itself; `tau_s`: an update adds a part of the new conversion to
    the registers, an exponential filter of this time constant (0: it replaces them); `source`: who says so."""

    update_s: float
    window_s: float
    spread: bool
    source: str
    averaged: bool = False
    tau_s: float = 0.0


@dataclass(frozen=True)
class Timing:
    """`poll_s`: between passes; `update_s`: the slowest chip's; `follows`: every update is seen, and a register that
    has not changed since is the same conversion; `slowest`: places of the chips that update so slowly."""

    poll_s: float
    update_s: float
    follows: bool
    slowest: frozenset[str] = frozenset()

    @property
    def period_ns(self) -> int:
        return round((self.update_s if self.follows else self.poll_s) * NS_PER_S)

    @property
    def longest_ns(self) -> int:
        """No conversion takes longer: an unchanged register is a new one that happens to be equal."""
        return round(self.update_s * (1 + SLOW_REL) * NS_PER_S)


def update_of(sysfs: Sysfs, chip: Chip) -> Update:
    """How `chip` converts, by its own files where it has them."""
    if chip.layout is Layout.HWMON_3221:
        return _ina3221(sysfs, chip)
    if chip.layout is Layout.IIO_3221:
        one_s = chip.kind.sheet.conversion_s
        return Update(ASSUMED_ROUND_S, one_s, spread=False, source="assumed: the chip's settings at reset")
    if chip.layout is Layout.IIO:
        return _iio(sysfs, chip)
    return _hwmon(sysfs, chip)


def timing_of(rails: Sequence[Rail], updates: Sequence[Update], poll_s: float | None) -> Timing:
    """The beat of all rails. SpecError for a `poll_s` at which updates are missed and repeated in turns."""
    update_s = max(update.update_s for update in updates)
    slowest = frozenset(r.chip.place for r, u in zip(rails, updates, strict=True) if u.update_s > 0.99 * update_s)
    fast_s, slow_s = update_s / ASKS, update_s * (1 + SLOW_REL)
    if poll_s is None:
        quick_s = update_s / (ASKS + 1)
        if quick_s >= SHORTEST_UPDATE_POLL_S:
            return Timing(round(quick_s, 4), update_s, follows=True, slowest=slowest)
        return Timing(max(DEFAULT_POLL_S, round(1.2 * update_s, 3)), update_s, follows=False, slowest=slowest)
    if fast_s < poll_s < slow_s:
        names = sorted({rail.chip.name for rail in rails})
        raise SpecError(
            f"ina2xx option poll_s is {poll_s:g} s, but {', '.join(names)} has a new value every {update_s:.4g} s: "
            "some would be missed and some read twice",
            hint=f"poll at {fast_s:.3g} s or faster to see every one, or at {slow_s:.3g} s or slower; "
            "without it the driver chooses",
        )
    return Timing(poll_s, update_s, follows=poll_s <= fast_s, slowest=slowest)


def reading_of(update: Update, timing: Timing) -> Reading:
    """What one reading of a rail is. A mean only where windows touch and cover the time between them."""
    if update.tau_s:
        return Reading(ReadingKind.FILTERED, timing.period_ns, 0, tau_ns=round(update.tau_s * NS_PER_S))
    window_ns = round(update.window_s * NS_PER_S)
    if update.spread:
        whole_ns = round(update.update_s * NS_PER_S)
        if timing.follows and abs(update.update_s - timing.update_s) < 1e-9:
            return Reading(ReadingKind.MEAN, timing.period_ns, timing.period_ns)
        if whole_ns < timing.period_ns:
            return Reading(ReadingKind.PART_TIME, timing.period_ns, whole_ns)
    return Reading(ReadingKind.PART_TIME, timing.period_ns, min(window_ns, timing.period_ns))


def _hwmon(sysfs: Sysfs, chip: Chip) -> Update:
    one_s = chip.kind.sheet.conversion_s
    if not chip.kind.sheet.interleaved:  # INA219: nothing to set, 12 bit, shunt then bus
        return Update(2 * one_s, one_s, spread=False, source="the kernel's configuration 0x399F")
    interval_ms = _integer(text(sysfs, f"{chip.folder}/update_interval"))
    if interval_ms is None:
        averages, source = DEFAULT_AVERAGES, "the kernel's configuration, 16 averages"
    else:
        averages = min(AVERAGES, key=lambda n: abs(2 * one_s * n * 1e3 - interval_ms))
        source = f"update_interval {interval_ms} ms: {averages} averages"
    many = averages > 1
    return Update(2 * one_s * averages, one_s * averages, spread=many, source=source, averaged=many)


def _ina3221(sysfs: Sysfs, chip: Chip) -> Update:
    enabled = [text(sysfs, f"{chip.folder}/in{n}_enable") != "0" for n in (1, 2, 3)]
    channels = max(1, sum(enabled))
    interval_ms = _integer(text(sysfs, f"{chip.folder}/update_interval"))
    samples = max(1, _integer(text(sysfs, f"{chip.folder}/samples")) or 1)
    if interval_ms:  # the kernel's: samples rounds of all channels, shunt and bus
        round_s, source = interval_ms * 1e-3 / samples, f"update_interval {interval_ms} ms, {samples} samples"
    else:
        round_s = 2 * chip.kind.sheet.conversion_s * channels
        source = f"{samples} samples of {channels} channels at the chip's conversion time at reset"
    tau_s = filter_tau_s(round_s, samples)
    if tau_s:
        source += f": an exponential filter of {tau_s * 1e3:.4g} ms"
    window_s = round_s / (2 * channels)
    return Update(round_s, window_s, spread=False, source=source, averaged=samples > 1, tau_s=tau_s)


def _iio(sysfs: Sysfs, chip: Chip) -> Update:
    averages = _integer(text(sysfs, f"{chip.folder}/in_oversampling_ratio")) or 1
    one_s = chip.kind.sheet.conversion_s
    shunt_s = _seconds(sysfs, f"{chip.folder}/in_voltage0_shunt_integration_time") or one_s
    bus_s = _seconds(sysfs, f"{chip.folder}/in_voltage1_supply_integration_time") or one_s
    spread = chip.kind.sheet.interleaved and averages > 1
    source = f"integration times {shunt_s:g} s and {bus_s:g} s, {averages} averages"
    averaged = averages > 1 or shunt_s > 1.5 * one_s
    return Update((shunt_s + bus_s) * averages, shunt_s * averages, spread=spread, source=source, averaged=averaged)


def _integer(value: str | None) -> int | None:
    try:
        return codec.parse_integer(value.encode()) if value is not None else None
    except ValueError:
        return None


def _seconds(sysfs: Sysfs, path: str) -> float | None:
    value = text(sysfs, path)
    try:
        return codec.parse_number(value.encode()) if value is not None else None
    except ValueError:
        return None
