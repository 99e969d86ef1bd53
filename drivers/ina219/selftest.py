"""What an opened streamer can say of its own health: wires, voltage, shunt, burden, line and clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.chips.ina219 import BUS_LSB_V, SHUNT_LSB_V, bus_code, clipped
from drivers.ina219.description import burden_warning
from drivers.ina219.link import InasLink
from drivers.ina219.messages import Pong
from drivers.ina219.options import InaOptions
from drivers.ina219.rows import NEAR_FULL_SCALE, MicrosClock
from harness.core.ports import CheckItem
from harness.core.waiting import NS_PER_S, WaitClock

CLOCK_PPM = 6000.0  # a ceramic resonator is off by up to 5000
CLOCK_S = 2.0
PINGS = 10


def self_test(link: InasLink, options: InaOptions, clock: WaitClock) -> Sequence[CheckItem]:
    """Findings about an opened meter that does not sample. Leaves the chip in mode both."""
    seen = link.look()
    shunt_v = float(np.mean(seen.shunt_raw)) * SHUNT_LSB_V
    bus_v = float(np.mean(bus_code(seen.bus_raw))) * BUS_LSB_V
    current_a = shunt_v / options.shunt_ohm
    supply_v = bus_v + shunt_v
    full_a = options.range_mv * 1e-3 / options.shunt_ohm
    items = [CheckItem("streamer", True, f"answers on {options.port} at {options.baud} baud, configuration read back")]
    top_v = 0.95 * options.bus_range_v
    items.append(
        CheckItem(
            "bus voltage",
            0.5 < bus_v < top_v,
            f"{bus_v:.3f} V on the board's side",
            ""
            if 0.5 < bus_v < top_v
            else "supply into VIN+, board at VIN-, grounds joined; above 16 V set bus_range_v: 32",
        )
    )
    forward = shunt_v > -20 * SHUNT_LSB_V
    items.append(
        CheckItem(
            "direction",
            forward,
            f"{current_a:+.4f} A",
            "" if forward else "swap VIN+ and VIN-: the current runs backwards",
        )
    )
    room = (
        not np.any(clipped(seen.shunt_raw, options.config)) and abs(shunt_v) < NEAR_FULL_SCALE * options.range_mv * 1e-3
    )
    items.append(
        CheckItem(
            "range",
            room,
            f"{abs(current_a) / full_a:.0%} of {full_a:.3g} A",
            "" if room else "set range_mv: 320, or use a smaller shunt",
        )
    )
    now, full = burden_warning(options, supply_v, current_a), burden_warning(options, supply_v, full_a)
    drop = f"the shunt takes {shunt_v * 1e3:.1f} mV now, {options.range_mv} mV at full scale"
    items.append(
        CheckItem(
            "burden",
            not now,
            f"{drop}; {now or full}" if now or full else drop,
            "use a shunt of 0.01-0.02 ohm" if now else "",
        )
    )
    if options.supply_v is not None:
        near = abs(supply_v - options.supply_v) <= options.supply_tolerance_rel * options.supply_v
        items.append(
            CheckItem(
                "declared voltage",
                near,
                f"{supply_v:.3f} V measured, supply_v says {options.supply_v:g} V",
                "" if near else f"set supply_v: {supply_v:.2f}",
            )
        )
    bad = sum(link.decoder.take_counts().values())
    items.append(
        CheckItem("line", bad == 0, f"{bad} damaged lines", "" if not bad else "use another cable or USB port")
    )
    items.append(_clock_item(link, clock))
    return items


def _clock_item(link: InasLink, clock: WaitClock) -> CheckItem:
    """The microcontroller's rate against the host's, from pings at both ends of some seconds."""
    micros = MicrosClock()
    pairs: list[list[tuple[float, float]]] = []
    for _ in range(2):
        group: list[tuple[float, float]] = []
        for _ in range(PINGS // 2):
            before_ns = clock.now_ns()
            pong = link.ask(f"PING {len(group) + 1:x}", Pong)
            after_ns = clock.now_ns()
            device_us = int(micros.extend(np.array([pong.t_us], np.int64))[0])
            micros.note(device_us)
            group.append((after_ns - before_ns, (before_ns + after_ns) / 2 - device_us * 1000.0))
        pairs.append(group)
        if len(pairs) == 1:
            begin_ns = clock.now_ns()
            clock.sleep_until(begin_ns + round(CLOCK_S * NS_PER_S))
    (trip_a, first), (trip_b, second) = (min(group) for group in pairs)
    ppm = (second - first) / (CLOCK_S * NS_PER_S) * 1e6
    doubt = (trip_a + trip_b) / 2 / (CLOCK_S * NS_PER_S) * 1e6
    fine = abs(ppm) - doubt < CLOCK_PPM
    return CheckItem(
        "clock",
        fine,
        f"{ppm:+.0f} ppm against this machine, known to {doubt:.0f}",
        "" if fine else "give the microcontroller a crystal: its clock is worse than any resonator",
    )
