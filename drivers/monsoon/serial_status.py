"""The status packet of the LVPM's old serial firmware: what it is and is set to, and the resistors of its ranges."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from drivers.monsoon.control import lvpm_limit_raw_to_amps
from drivers.monsoon.models import LVPM_FACTORY_OHM, LVPM_OHM_PER_COUNT
from drivers.monsoon.serial_frames import STATUS_BYTES, STATUS_TYPE

LAYOUT = struct.Struct(">BBBhhhHhhhHBBBxBbHBHHHHBbbHHBBBbbbbbbbbbBH")
FIELDS = (
    "packet_type", "firmware", "protocol", "main_fine", "usb_fine", "aux_fine", "voltage1", "main_coarse", "usb_coarse",
    "aux_coarse", "voltage2", "output_setting", "temperature", "status", "leds", "main_fine_resistor", "serial",
    "sample_rate", "dac_cal_low", "dac_cal_high", "power_up_limit", "run_limit", "power_up_time", "usb_fine_resistor",
    "aux_fine_resistor", "initial_usb_voltage", "initial_aux_voltage", "hardware_revision", "temperature_limit",
    "usb_passthrough", "main_coarse_resistor", "usb_coarse_resistor", "aux_coarse_resistor",
    "default_main_fine_resistor", "default_usb_fine_resistor", "default_aux_fine_resistor",
    "default_main_coarse_resistor", "default_usb_coarse_resistor", "default_aux_coarse_resistor", "event_code",
    "event_data",
)  # fmt: skip
assert LAYOUT.size == STATUS_BYTES


@dataclass(frozen=True)
class Status:
    """The fields that matter here; `raw` holds all of them by name, as numbers of the wire."""

    raw: dict[str, int]

    @classmethod
    def parse(cls, payload: bytes) -> Status | None:
        """None if this is no status packet."""
        if len(payload) != STATUS_BYTES or payload[0] != STATUS_TYPE:
            return None
        return cls(dict(zip(FIELDS, LAYOUT.unpack(payload), strict=True)))

    @property
    def serial(self) -> int:
        return self.raw["serial"]

    @property
    def output_v(self) -> float:
        """What the output is set to; 0 when it is off."""
        setting = self.raw["output_setting"]
        return 2.0 + 0.01 * setting if setting else 0.0

    @property
    def samples_per_s(self) -> int:
        """The field is in kHz."""
        return 1000 * self.raw["sample_rate"]

    @property
    def run_limit_a(self) -> float:
        return lvpm_limit_raw_to_amps(self.raw["run_limit"])

    @property
    def resistors_ohm(self) -> tuple[float, float]:
        """Of the main channel: fine, coarse."""
        fine, coarse = self.raw["main_fine_resistor"], self.raw["main_coarse_resistor"]
        return LVPM_FACTORY_OHM + LVPM_OHM_PER_COUNT * fine, LVPM_FACTORY_OHM + LVPM_OHM_PER_COUNT * coarse

    def details(self) -> dict[str, str]:
        """Settings worth keeping with the data."""
        keep = (
            "protocol", "hardware_revision", "sample_rate", "temperature", "status", "usb_passthrough", "run_limit",
            "power_up_limit", "dac_cal_low", "dac_cal_high", "event_code",
        )  # fmt: skip
        said = {f"status_{name}": str(self.raw[name]) for name in keep}
        said["main_resistor_offset"] = f"{self.raw['main_fine_resistor']}/{self.raw['main_coarse_resistor']}"
        return said | {"run_limit_a": f"{self.run_limit_a:.3f}", "output_v": f"{self.output_v:.6g}"}
