"""What an idle unit tells about itself: model, limits, EEPROM scales; and the MeterInfo made of it."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.control import raw_to_volts
from drivers.monsoon.fields import MODEL_NAMES, PERIOD_NS, Opcode
from drivers.monsoon.link import MonsoonLink
from drivers.monsoon.models import HVPM_MODEL, LVPM_RESISTOR_OPCODES, MODELS, Model, lvpm_scale
from drivers.monsoon.options import MonsoonOptions
from harness.core.clock import meter_clock
from harness.core.errors import DeviceError, SpecError
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind

GAIN_LIMIT_REL = 0.01
OFFSET_LIMIT_A = 50e-6
ACCURACY_SOURCE = "vendor's published +-1 % or +-50 uA, unverified"


def identify(link: MonsoonLink, options: MonsoonOptions) -> Model:
    """Which model answers; the official library only warns of another. SpecError if it cannot do what is asked of it.

    DeviceError for one that nobody knows, and for one that is not the model that `options` names.
    """
    number = link.get(Opcode.MODEL, size=1)
    model = MODELS.get(number)
    if model is None:
        raise DeviceError(
            f"Monsoon {link.serial} says it is model {number} ({MODEL_NAMES.get(number, 'unknown')}), "
            f"this driver knows {', '.join(f'{m.number} ({m.name})' for m in MODELS.values())}",
            hint="unplug it and plug it in again; if it stays so, the unit needs service",
        )
    if options.model is not None and options.model != model.name.lower():
        raise DeviceError(
            f"Monsoon {link.serial} is an {model.name} ({model.case}), the bench says model: {options.model}",
            hint=f"use the meter file monsoon-{model.name.lower()}, or choose the other unit by option `serial`",
        )
    for name in options.channels:
        if name not in model.channels:
            raise SpecError(
                f"channel {name!r} of an {model.name} is not supported: the vendor's constants for it contradict "
                "those of main and usb by a factor of a million",
                hint=f"use {' or '.join(model.channels)}",
            )
    return model


def select_voltage_word(link: MonsoonLink, model: Model, channels: tuple[str, ...]) -> None:
    """The unit reports either the main or the aux voltage: make it the one of the channel in use."""
    wanted = {v for v in (model.channels[name].voltage_channel for name in channels) if v is not None}
    for value in wanted:  # one at most: the options refuse main and aux together
        if link.get(Opcode.VOLTAGE_CHANNEL, size=1) == value:
            continue
        link.set(Opcode.VOLTAGE_CHANNEL, value)
        if link.get(Opcode.VOLTAGE_CHANNEL, size=1) != value:
            raise DeviceError(
                f"Monsoon {link.serial} did not accept voltage channel {value}",
                hint="power-cycle the meter (this switches the board off)",
            )


def read_scales(link: MonsoonLink, model: Model) -> RangeScales:
    """EEPROM scales and zero offsets of all channels, two bytes each as in the vendor's code; of an LVPM the resistors,
    one signed byte each (the vendor's code reads them unsigned, against its own table)."""
    if model.resistors:
        offsets = {
            name: tuple(link.get(opcode, size=1, signed=True) for opcode in opcodes)
            for name, opcodes in LVPM_RESISTOR_OPCODES.items()
        }
        return RangeScales(
            scale={name: lvpm_scale(*pair) for name, pair in offsets.items()},
            zero=dict.fromkeys(offsets, (0, 0)),
        )

    def pair(opcodes: tuple[Opcode | None, Opcode | None], *, signed: bool) -> tuple[int, int]:
        fine, coarse = (0 if o is None else link.get(o, size=2, signed=signed) for o in opcodes)
        return fine, coarse

    return RangeScales(
        scale={name: pair(fields.scale_opcodes, signed=False) for name, fields in model.channels.items()},
        zero={name: pair(fields.zero_opcodes, signed=True) for name, fields in model.channels.items()},
    )


def read_status(link: MonsoonLink, model: Model) -> dict[str, str]:
    """Settings worth keeping with the data. Current limits are raw, and in ampere by the vendor's code."""
    status: dict[str, str] = {}
    for name, opcode in (("power_up_limit", Opcode.POWER_UP_LIMIT), ("run_limit", Opcode.RUN_LIMIT)):
        raw = link.get(opcode, size=2)
        status |= {f"{name}_raw": str(raw), f"{name}_a": f"{model.limit_a(raw):.3f}"}
    if model.resistors:
        for name, opcodes in LVPM_RESISTOR_OPCODES.items():
            fine, coarse = (link.get(opcode, size=1, signed=True) for opcode in opcodes)
            status[f"{name}_resistor_offset"] = f"{fine}/{coarse}"
    return status | {
        "firmware": str(link.get(Opcode.FIRMWARE, size=1)),
        "protocol": str(link.get(Opcode.PROTOCOL, size=1)),
        "usb_passthrough": str(link.get(Opcode.USB_PASSTHROUGH, size=1)),
        "dac_cal_low": hex(link.get(Opcode.DAC_CAL_LOW, size=2)),
        "dac_cal_high": hex(link.get(Opcode.DAC_CAL_HIGH, size=2)),
        "output_v": f"{raw_to_volts(link.get(Opcode.MAIN_VOLTAGE, size=4)):.6g}",
    }


def meter_info(
    serial: str, options: MonsoonOptions, scales: RangeScales, status: Mapping[str, str], *, simulated: bool,
    model: Model = HVPM_MODEL,
) -> MeterInfo:  # fmt: skip
    """Columns and channels of the chosen options; the offset limit is 50 uA at the output's voltage."""
    output_v = float(status["output_v"]) or model.output_max_v
    accuracy = Accuracy(gain_rel=GAIN_LIMIT_REL, offset_w=OFFSET_LIMIT_A * output_v, source=ACCURACY_SOURCE)
    reading = Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS)
    columns: list[ColumnSpec] = []
    channels: list[ChannelSpec] = []
    details = dict(status)
    for name in options.channels:
        current, voltage = f"{name}_current_raw", f"{name}_voltage_raw"
        columns += [ColumnSpec(current, "A", f"{name}_range"), ColumnSpec(voltage, "V")]
        channels.append(ChannelSpec(name, "power_w", (current, voltage), reading, accuracy))
        details[f"{name}_scale"] = "{:.10g}/{:.10g}".format(*scales.scale[name])
        details[f"{name}_zero"] = "{}/{}".format(*scales.zero[name])
    return MeterInfo(
        driver="monsoon",
        model=model.name,
        serial=serial,
        firmware=status["firmware"],
        clock=meter_clock(serial),
        columns=tuple(columns),
        channels=tuple(channels),
        simulated=simulated,
        details=details,
    )
