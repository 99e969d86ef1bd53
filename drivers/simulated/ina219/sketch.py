"""Sketches as people run them: a loop that reads the library's registers and prints them, in formats found in the wild.

The library is Adafruit's default: 32 V, 2 A, calibration 4096, current in steps of 0.1 mA, power in steps of 2 mW.
Two decimals are printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.chips.ina219 import BUS_LSB_V, BUS_SHIFT, RESET_CONFIG
from drivers.simulated.ina219.chip import Ina219Chip
from drivers.simulated.ina219.line import SerialLine
from drivers.simulated.ina219.streamer import Mishap

CALIBRATION = 4096
CURRENT_LSB_MA = 0.1
READ_NS = 1_500_000  # four registers over I2C at 100 kHz


@dataclass(frozen=True)
class Printed:
    """What the library returns: milliseconds, V, mV, mA, mW."""

    millis: int
    bus_v: float
    shunt_mv: float
    current_ma: float
    milliwatt: float

    @property
    def load_v(self) -> float:
        return self.bus_v + self.shunt_mv / 1000


def _csv(p: Printed) -> str:
    return f"{p.millis},{p.load_v:.2f},{p.current_ma:.2f}\r\n"


def _five(p: Printed) -> str:
    return f"{p.millis},{p.bus_v:.2f},{p.shunt_mv:.2f},{p.load_v:.2f},{p.current_ma:.2f}\r\n"


def _four(p: Printed) -> str:
    return f"{p.bus_v:.2f},{p.shunt_mv:.2f},{p.load_v:.2f},{p.current_ma:.2f}\r\n"


def _adafruit(p: Printed) -> str:
    return (
        f"Bus Voltage:   {p.bus_v:.2f} V\r\nShunt Voltage: {p.shunt_mv:.2f} mV\r\nLoad Voltage:  {p.load_v:.2f} V\r\n"
        f"Current:       {p.current_ma:.2f} mA\r\nPower:         {p.milliwatt:.2f} mW\r\n\r\n"
    )


def _esp(p: Printed) -> str:
    return f"Voltage: {p.bus_v:.2f} V\r\nCurrent: {p.current_ma:.2f} mA\r\nPower: {p.milliwatt:.2f} mW\r\n"


def _blanks(p: Printed) -> str:
    return f"{p.millis} {p.current_ma:.2f} {p.milliwatt:.2f}\r\n"


def _json(p: Printed) -> str:
    return f'{{"millis": {p.millis}, "bus_V": {p.bus_v:.3f}, "current_mA": {p.current_ma:.2f}}}\r\n'


FORMATS: dict[str, Callable[[Printed], str]] = {
    "csv": _csv, "five": _five, "four": _four, "header": _four, "adafruit": _adafruit, "esp": _esp, "blanks": _blanks,
    "json": _json,
}  # fmt: skip
HEADERS = {"header": "BusV[V],ShuntV[mV],LoadV[V],Current[mA]\r\n"}


class Sketch:
    """A device that prints by itself every `period_ns`. `waits`: until the host has sent a byte.

    Mishaps: reset, mute, other_format (prints `other` from then on), nan.
    """

    def __init__(
        self, chip: Ina219Chip, out: SerialLine, *, begin_ns: int, form: str, period_ns: int = 20_000_000,
        clock_rel: float = 0.0, first_ms: int = 0, waits: bool = False, mishaps: Sequence[Mishap] = (),
        other: str = "esp",
    ) -> None:  # fmt: skip
        self._chip, self._line, self._form, self._other = chip, out, form, other
        self._period_ns, self._clock_rel, self._first_ms = period_ns, clock_rel, first_ms
        self._boot_ns = begin_ns
        self._next_ns = begin_ns + 10_000_000
        self._waits = waits
        self._mishaps = sorted(mishaps, key=lambda m: m.at_ns)
        self._mute_until_ns = self._nan_until_ns = 0
        self._registers: tuple[int, int] = (0, 0)
        chip.write(RESET_CONFIG, CALIBRATION, begin_ns)
        self._line.send(("INA219 begun\r\n" + HEADERS.get(form, "")).encode(), begin_ns)

    def transmit(self, now_ns: int) -> bytes:
        return self._line.receive(now_ns)

    def receive(self, data: bytes, now_ns: int) -> None:
        if self._waits and data:
            self._waits, self._next_ns = False, now_ns

    def advance(self, now_ns: int) -> None:
        while self._mishaps and self._mishaps[0].at_ns <= now_ns:
            mishap = self._mishaps.pop(0)
            self._loop(mishap.at_ns)
            self._befall(mishap)
        self._loop(now_ns)

    def _befall(self, mishap: Mishap) -> None:
        match mishap.kind:
            case "reset":
                self._line.cut(mishap.at_ns)
                self._boot_ns = mishap.at_ns + mishap.duration_ns
                self._next_ns, self._first_ms = self._boot_ns + 10_000_000, 0
                self._line.send(("INA219 begun\r\n" + HEADERS.get(self._form, "")).encode(), self._boot_ns)
            case "mute":
                self._mute_until_ns = mishap.at_ns + mishap.duration_ns
            case "nan":
                self._nan_until_ns = mishap.at_ns + mishap.duration_ns
            case "other_format":
                self._form = self._other
            case _:
                raise ValueError(f"unknown mishap {mishap.kind!r}")

    def _loop(self, until_ns: int) -> None:
        while not self._waits and self._next_ns <= until_ns:
            at_ns, self._next_ns = self._next_ns, self._next_ns + self._period_ns
            printed = self._measure(at_ns)
            if at_ns < self._mute_until_ns:
                continue
            text = FORMATS[self._form](printed)
            if at_ns < self._nan_until_ns:
                text = text.replace(f"{printed.current_ma:.2f}", "nan")
            self._line.send(text.encode(), at_ns + READ_NS)

    def _measure(self, at_ns: int) -> Printed:
        found = self._chip.convert(at_ns)
        if len(found.shunt_raw):
            self._registers = (int(found.shunt_raw[-1]), int(found.bus_raw[-1]))
        shunt, bus = self._registers
        counts = shunt * CALIBRATION // 4096
        millis = self._first_ms + math.floor((at_ns - self._boot_ns) * 1e-6 * (1 + self._clock_rel))
        bus_counts = bus >> BUS_SHIFT
        power = abs(counts) * bus_counts // 5000 * 20 * CURRENT_LSB_MA
        return Printed(
            millis & 0xFFFFFFFF,
            float(np.float32(bus_counts * BUS_LSB_V)),
            float(np.float32(shunt * 0.01)),
            float(np.float32(counts * CURRENT_LSB_MA)),
            power,
        )
