"""What an idle unit tells about itself: model, limits, EEPROM scales; and the MeterInfo made of it."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.control import limit_raw_to_amps, raw_to_volts
from drivers.monsoon.fields import CHANNELS, HVPM, MODEL_NAMES, OUTPUT_MAX_V, PERIOD_NS, Opcode
from drivers.monsoon.link import HvpmLink
from drivers.monsoon.options import MonsoonOptions
from harness.core.clock import meter_clock
from harness.core.errors import DeviceError
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind

GAIN_LIMIT_REL = 0.01
OFFSET_LIMIT_A = 50e-6
ACCURACY_SOURCE = "vendor's published +-1 % or +-50 uA, unverified"


def require_hvpm(link: HvpmLink) -> None:
    """DeviceError unless the unit says it is an HVPM; the official library only warns."""
    model = link.get(Opcode.MODEL, size=1)
    if model != HVPM:
        raise DeviceError(
            f"Monsoon {link.serial} says it is model {model} ({MODEL_NAMES.get(model, 'unknown')}), "
            f"this driver needs {HVPM} (HVPM)",
            hint="connect an HVPM (black case); the LVPM is not supported",
        )


def select_voltage_word(link: HvpmLink, channels: tuple[str, ...]) -> None:
    """The unit reports either the main or the aux voltage: make it the one of the channel in use."""
    wanted = {v for v in (CHANNELS[name].voltage_channel for name in channels) if v is not None}
    for value in wanted:  # one at most: the options refuse main and aux together
        if link.get(Opcode.VOLTAGE_CHANNEL, size=1) == value:
            continue
        link.set(Opcode.VOLTAGE_CHANNEL, value)
        if link.get(Opcode.VOLTAGE_CHANNEL, size=1) != value:
            raise DeviceError(
                f"Monsoon {link.serial} did not accept voltage channel {value}",
                hint="power-cycle the meter (this switches the board off)",
            )


def read_scales(link: HvpmLink) -> RangeScales:
    """EEPROM scales and zero offsets of all channels, two bytes each as in the vendor's code."""

    def pair(opcodes: tuple[Opcode | None, Opcode | None], *, signed: bool) -> tuple[int, int]:
        fine, coarse = (0 if o is None else link.get(o, size=2, signed=signed) for o in opcodes)
        return fine, coarse

    return RangeScales(
        scale={name: pair(fields.scale_opcodes, signed=False) for name, fields in CHANNELS.items()},
        zero={name: pair(fields.zero_opcodes, signed=True) for name, fields in CHANNELS.items()},
    )


def read_status(link: HvpmLink) -> dict[str, str]:
    """Settings worth keeping with the data. Current limits are raw, and in ampere by the vendor's code."""
    status: dict[str, str] = {}
    for name, opcode in (("power_up_limit", Opcode.POWER_UP_LIMIT), ("run_limit", Opcode.RUN_LIMIT)):
        raw = link.get(opcode, size=2)
        status |= {f"{name}_raw": str(raw), f"{name}_a": f"{limit_raw_to_amps(raw):.3f}"}
    return status | {
        "firmware": str(link.get(Opcode.FIRMWARE, size=1)),
        "protocol": str(link.get(Opcode.PROTOCOL, size=1)),
        "usb_passthrough": str(link.get(Opcode.USB_PASSTHROUGH, size=1)),
        "dac_cal_low": hex(link.get(Opcode.DAC_CAL_LOW, size=2)),
        "dac_cal_high": hex(link.get(Opcode.DAC_CAL_HIGH, size=2)),
        "output_v": f"{raw_to_volts(link.get(Opcode.MAIN_VOLTAGE, size=4)):.6g}",
    }


def meter_info(
    serial: str, options: MonsoonOptions, scales: RangeScales, status: Mapping[str, str], *, simulated: bool
) -> MeterInfo:
    """Columns and channels of the chosen options; the offset limit is 50 uA at the output's voltage."""
    output_v = float(status["output_v"]) or OUTPUT_MAX_V
    accuracy = Accuracy(gain_rel=GAIN_LIMIT_REL, offset_w=OFFSET_LIMIT_A * output_v, source=ACCURACY_SOURCE)
    reading = Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS)
    columns: list[ColumnSpec] = []
    channels: list[ChannelSpec] = []
    details = dict(status)
    for name in options.channels:
        current, voltage = f"{name}_current_raw", f"{name}_voltage_raw"
        columns += [ColumnSpec(current, "A", f"{name}_range"), ColumnSpec(voltage, "V")]
        channels.append(ChannelSpec(name, "power_w", (current, voltage), reading, accuracy))
        details[f"{name}_scale"] = "{}/{}".format(*scales.scale[name])
        details[f"{name}_zero"] = "{}/{}".format(*scales.zero[name])
    return MeterInfo(
        driver="monsoon",
        model="HVPM",
        serial=serial,
        firmware=status["firmware"],
        clock=meter_clock(serial),
        columns=tuple(columns),
        channels=tuple(channels),
        simulated=simulated,
        details=details,
    )
