"""The kernel's drivers above a chip: which files they show, and what they print of the registers.

Written from drivers/hwmon/ina2xx.c (as of 2016 and as of the rework), drivers/hwmon/ina3221.c, drivers/iio/adc/
ina2xx-adc.c and what is known of NVIDIA's ina3221x. Files that move are functions of time; an int is an errno.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from drivers.simulated.ina2xx.converter import Converter
from drivers.simulated.ina2xx.registers import current_count, power_count

Live = Callable[[int], bytes | int]
OLD, NEW, BUGGY = "old", "new", "buggy"


def nearest(value: int, divisor: int) -> int:
    """Division to the nearest, halves away from zero, as the kernel rounds."""
    half = divisor // 2
    return (value + half) // divisor if value >= 0 else -((-value + half) // divisor)


def line(value: int) -> bytes:
    return b"%d\n" % value


@dataclass
class HwmonIna:
    """hwmon ina2xx. `generation`: old, new, or buggy (new, and `shunt_resistor` shows the calibration register).

    `calibrated`: cleared by a brown-out; a kernel that does not notice prints zeros until it is set again.
    """

    converter: Converter
    generation: str
    kernel_uohm: int
    update_ms: int | None = None
    calibrated: Callable[[int], bool] = lambda t_ns: True

    @property
    def calibration(self) -> int:
        model = self.converter.model
        if self.generation == OLD:
            return nearest(model.calibration_factor, self.kernel_uohm)
        return model.fixed_calibration

    @property
    def current_lsb_ua(self) -> int:
        if self.generation == OLD:
            return 1000
        return (10**9 // self.converter.model.shunt_divider) // self.kernel_uohm

    def files(self) -> dict[str, bytes | Live]:
        model = self.converter.model
        if model.name == "ina260":
            return self._ina260()
        files: dict[str, bytes | Live] = {
            "name": model.name.encode() + b"\n",
            "in0_input": lambda t: line(nearest(self.converter.shunt(0, t), model.shunt_divider)),
            "in1_input": self._bus,
            "curr1_input": lambda t: line(nearest(self._current(t) * self.current_lsb_ua, 1000)),
            "power1_input": lambda t: line(self._power(t) * model.power_factor * self.current_lsb_ua),
            "shunt_resistor": line(self._shown_uohm()),
        }
        if self.update_ms is not None:
            files["update_interval"] = line(self.update_ms)
        return files

    def _shown_uohm(self) -> int:
        if self.generation == OLD:
            return nearest(self.converter.model.calibration_factor, self.calibration)
        return self.calibration if self.generation == BUGGY else self.kernel_uohm

    def _bus(self, t_ns: int) -> bytes:
        return line(nearest(self.converter.bus(0, t_ns) * int(self.converter.model.bus_lsb_uv), 1000))

    def _current(self, t_ns: int) -> int:
        calibration = self.calibration if self.calibrated(t_ns) else 0
        return current_count(self.converter.model, self.converter.shunt(0, t_ns), calibration)

    def _power(self, t_ns: int) -> int:
        model, product_w = self.converter.model, self.converter.product_w(0, t_ns)
        if product_w is not None and self.calibrated(t_ns):
            seen_w = product_w * self.converter.channels[0].shunt_ohm / (self.kernel_uohm * 1e-6)
            return int(seen_w * 1e6 / (model.power_factor * self.current_lsb_ua))
        return power_count(model, self._current(t_ns), self.converter.bus(0, t_ns))

    def _ina260(self) -> dict[str, bytes | Live]:
        def current(t_ns: int) -> int:  # counts of 1.25 mA: those of 2.5 uV on 2 mohm
            return self.converter.shunt(0, t_ns)

        def power(t_ns: int) -> bytes:
            watt = current(t_ns) * 1.25e-3 * self.converter.bus(0, t_ns) * 1.25e-3
            return line(int(abs(watt) / 10e-3) * 10_000)

        return {
            "name": b"ina260\n",
            "in1_input": self._bus,
            "curr1_input": lambda t: line(nearest(current(t) * 1250, 1000)),
            "power1_input": power,
            "update_interval": line(self.update_ms or 35),
        }


@dataclass
class Hwmon3221:
    """hwmon ina3221 (mainline; JetPack 5 and newer). `labels`: of the three channels, "NC" where nothing is wired."""

    converter: Converter
    labels: tuple[str, ...]
    kernel_uohm: tuple[int, ...]
    update_ms: int
    samples: int = 1

    def files(self) -> dict[str, bytes | Live]:
        files: dict[str, bytes | Live] = {
            "name": b"ina3221\n",
            "samples": line(self.samples),
            "update_interval": line(self.update_ms),
            "in7_label": b"sum of shunt voltages\n",
            "in7_input": self._sum,
        }
        for k, (label, uohm) in enumerate(zip(self.labels, self.kernel_uohm, strict=True)):
            n = k + 1
            wired = label != "NC"
            files[f"in{n}_label"] = label.encode() + b"\n"
            files[f"in{n}_enable"] = line(int(wired))
            files[f"shunt{n}_resistor"] = line(uohm)
            files[f"in{n}_input"] = self._bus(k) if wired else _no_data
            files[f"curr{n}_input"] = self._current(k, uohm) if wired else _no_data
            files[f"in{n + 3}_input"] = self._shunt_uv(k) if wired else _no_data
        return files

    def _bus(self, k: int) -> Live:
        return lambda t: line(self.converter.bus(k, t) * 8)

    def _shunt_uv(self, k: int) -> Live:
        return lambda t: line(self.converter.shunt(k, t) * 40)

    def _current(self, k: int, uohm: int) -> Live:
        return lambda t: line(nearest(self.converter.shunt(k, t) * 40_000, uohm))

    def _sum(self, t_ns: int) -> bytes:
        return line(sum(self.converter.shunt(k, t_ns) * 40 for k in range(len(self.labels))))


@dataclass
class JetPack4:
    """NVIDIA's ina3221x (JetPack 4 and older)."""

    converter: Converter
    labels: tuple[str, ...]
    kernel_uohm: tuple[int, ...]

    def files(self) -> dict[str, bytes | Live]:
        files: dict[str, bytes | Live] = {"name": b"ina3221x\n"}
        for k, (label, uohm) in enumerate(zip(self.labels, self.kernel_uohm, strict=True)):
            files[f"rail_name_{k}"] = label.encode() + b"\n"
            files[f"in_voltage{k}_input"] = self._bus(k)
            files[f"in_current{k}_input"] = self._current(k, uohm)
            files[f"in_power{k}_input"] = self._power(k, uohm)
            files[f"warn_current_limit_{k}"] = line(32760)
            files[f"crit_current_limit_{k}"] = line(32760)
        return files

    def _bus(self, k: int) -> Live:
        return lambda t: line(self.converter.bus(k, t) * 8)

    def _current(self, k: int, uohm: int) -> Live:
        return lambda t: line(self.converter.shunt(k, t) * 40_000 // uohm)

    def _power(self, k: int, uohm: int) -> Live:
        return lambda t: line(self.converter.bus(k, t) * 8 * (self.converter.shunt(k, t) * 40_000 // uohm) // 1000)


@dataclass
class IioIna:
    """iio ina2xx-adc: raw registers and scales. `whole_bus`: the INA219's bus register with its flag bits, as older
    kernels show it; `shunt_text`: uohm on older kernels, ohm as a fraction on newer ones."""

    converter: Converter
    kernel_uohm: int
    averages: int
    whole_bus: bool = False

    def files(self) -> dict[str, bytes | Live]:
        model = self.converter.model
        shifted = model.name == "ina219" and self.whole_bus
        bus_scale = {"ina219": b"0.500000000\n" if shifted else b"4.000000000\n"}.get(model.name, b"1.250000000\n")
        files: dict[str, bytes | Live] = {
            "name": model.name.encode() + b"\n",
            "in_voltage0_shunt_raw": lambda t: line(self.converter.shunt(0, t)),
            "in_voltage0_shunt_scale": b"0.010000000\n" if model.name == "ina219" else b"0.002500000\n",
            "in_voltage1_supply_raw": self._whole if shifted else (lambda t: line(self.converter.bus(0, t))),
            "in_voltage1_supply_scale": bus_scale,
            "in_shunt_resistor": line(self.kernel_uohm) if self.whole_bus else b"%.9f\n" % (self.kernel_uohm * 1e-6),
        }
        one = b"0.000532\n" if model.name == "ina219" else b"0.001100\n"
        files["in_voltage0_shunt_integration_time"] = one
        files["in_voltage1_supply_integration_time"] = one
        if model.name != "ina219":
            files["in_oversampling_ratio"] = line(self.averages)
        return files

    def _whole(self, t_ns: int) -> bytes:
        ready = 2 if (t_ns // 1_000_000) % 2 else 0  # CNVR comes and goes
        return line((self.converter.bus(0, t_ns) << 3) | ready)


def _no_data(t_ns: int) -> int:
    return errno.ENODATA
