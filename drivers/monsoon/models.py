"""The two models behind one USB protocol, as facts: which words a channel has, how codes and limits read.

HVPM: black case, part AAA10F. LVPM: white case, part FTA22D; its words are signed, its scales follow from the resistors
that its EEPROM names, and its aux channel is not read: the vendor's own constants for it disagree with those of main
and USB by a factor of 1e6 (fine) and 1e3 (coarse), and nobody has checked them against a current.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from drivers.monsoon.control import limit_raw_to_amps, lvpm_limit_raw_to_amps
from drivers.monsoon.fields import CHANNELS, OUTPUT_MAX_V, OUTPUT_MIN_V, ChannelFields, Opcode

LVPM_THRESHOLD = 30_000
LVPM_FACTORY_OHM = 0.05
LVPM_OHM_PER_COUNT = 0.0001
LVPM_SCALE = (
    35_946.0,
    3_103.4,
)  # uA (fine), mA (coarse) at the reference level, at LVPM_FACTORY_OHM; the vendor's code
LVPM_RESISTOR_OPCODES = {  # channel -> (fine, coarse); the value is a signed byte
    "main": (Opcode.MAIN_FINE_RESISTOR, Opcode.MAIN_COARSE_RESISTOR),
    "usb": (Opcode.USB_FINE_RESISTOR, Opcode.USB_COARSE_RESISTOR),
}


@dataclass(frozen=True)
class Model:
    """`number`: what opcode MODEL answers; `signed`: current words are s16;
    `resistors`: scales follow from resistor offsets, there are no zero offsets; `guards_dac`: a wrong DAC word is a
    hazard.
    """

    number: int
    name: str
    case: str
    signed: bool
    channels: Mapping[str, ChannelFields]
    output_min_v: float
    output_max_v: float
    limit_a: Callable[[int], float]
    resistors: bool
    guards_dac: bool


def code_ends(*, signed: bool) -> tuple[int, int]:
    """The codes at which a current is beyond its range, (bottom, top); an unsigned 0 is none, so -1 stands there."""
    return (-32_768, 32_767) if signed else (-1, 65_535)


HVPM_MODEL = Model(
    2, "HVPM", "black case", signed=False, channels=CHANNELS, output_min_v=OUTPUT_MIN_V, output_max_v=OUTPUT_MAX_V,
    limit_a=limit_raw_to_amps, resistors=False, guards_dac=True,
)  # fmt: skip
LVPM_MODEL = Model(
    1, "LVPM", "white case", signed=True,
    channels={
        "main": replace(CHANNELS["main"], threshold=LVPM_THRESHOLD, voltage_divider=2.0),
        "usb": replace(CHANNELS["usb"], threshold=LVPM_THRESHOLD),
    },
    output_min_v=2.01, output_max_v=4.55, limit_a=lvpm_limit_raw_to_amps, resistors=True, guards_dac=False,
)  # fmt: skip
MODELS = {model.number: model for model in (HVPM_MODEL, LVPM_MODEL)}


def lvpm_scale(fine_raw: int, coarse_raw: int) -> tuple[float, float]:
    """(uA, mA) at the reference level for two resistor offsets (signed): the scale falls as the resistor grows."""
    fine_ohm, coarse_ohm = (LVPM_FACTORY_OHM + LVPM_OHM_PER_COUNT * n for n in (fine_raw, coarse_raw))
    return LVPM_SCALE[0] * LVPM_FACTORY_OHM / fine_ohm, LVPM_SCALE[1] * LVPM_FACTORY_OHM / coarse_ohm
