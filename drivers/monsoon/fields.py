"""Facts of the Monsoon wire, as tables: identifiers, opcodes, packet fields, channels, factory scales.

Nothing here computes. The vendor's printed opcode table is shifted by one row from SetMainFineZeroOffset on
(it gives 0x42 there and 0xC1 for the hardware model); these values are the ones its own code uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

VENDOR_ID = 0x2AB9
PRODUCT_ID = 0x0001
BULK_IN = 0x81
CDC_CLASSES = frozenset({0x02, 0x0A})  # an interface of these classes is the old serial firmware

PERIOD_NS = 200_000  # one measurement each 200 us
FIFO_DEPTH = 16  # measurements that the unit keeps for a host that does not read
PACKET_BYTES = 64  # largest bulk packet
HEADER_BYTES = 4
OBS_BYTES = 18
MAX_OBS = 3

ERROR_WORD = b"\xfe\xff\xff\xff"  # answer to most Gets in sample mode: compare all four bytes
NO_LIMIT = 0xFFFFFFFF
DEFAULT_CAL_MS = 1250
FIRMWARE_WITH_SAMPLE_BIT = 26  # from here on opcode STATUS carries the sample mode in bit 7
SAMPLE_MODE_BIT = 0x80

VOLT_PER_COUNT = 62.5e-6  # of the ADC, before the channel's divider
VOLTAGE_SET_SCALE = 1 << 20  # opcode MAIN_VOLTAGE: volt * 1048576
OUTPUT_MIN_V, OUTPUT_MAX_V = 0.8, 13.5  # HVPM; 0 switches the output off
DAC_CAL_HIGH_RANGE = (0xC000, 0xD000)  # open intervals: outside, a set voltage may come out far too high
DAC_CAL_LOW_RANGE = (0xD000, 0xF000)


class Request(IntEnum):
    """bRequest of the vendor control transfers."""

    VALUE = 0x01
    START = 0x02
    STOP = 0x03
    BOOTLOADER = 0xFF


class Opcode(IntEnum):
    """What a VALUE request asks for or sets."""

    MAIN_FINE_RESISTOR = 0x02  # LVPM, as all resistors
    CALIBRATE_VOLTAGE = 0x03
    RESET = 0x05
    POWER_UP_TIME = 0x0C
    USB_FINE_RESISTOR = 0x0D
    AUX_FINE_RESISTOR = 0x0E
    USB_PASSTHROUGH = 0x10
    MAIN_COARSE_RESISTOR = 0x11
    USB_COARSE_RESISTOR = 0x12
    AUX_COARSE_RESISTOR = 0x13
    MAIN_FINE_SCALE = 0x1A
    MAIN_COARSE_SCALE = 0x1B
    USB_FINE_SCALE = 0x1C
    USB_COARSE_SCALE = 0x1D
    AUX_FINE_SCALE = 0x1E
    AUX_COARSE_SCALE = 0x1F
    VOLTAGE_CHANNEL = 0x23
    MAIN_FINE_ZERO = 0x25
    MAIN_COARSE_ZERO = 0x26
    USB_FINE_ZERO = 0x27
    USB_COARSE_ZERO = 0x28
    FAN_LIMIT = 0x29
    MAIN_VOLTAGE = 0x41
    SERIAL = 0x42
    POWER_UP_LIMIT = 0x43
    RUN_LIMIT = 0x44
    MODEL = 0x45
    DAC_CAL_LOW = 0x88
    DAC_CAL_HIGH = 0x89
    FIRMWARE = 0xC0
    PROTOCOL = 0xC1
    STATUS = 0xC4


MODEL_NAMES = {1: "LVPM", 2: "HVPM"}
HVPM = 2


class SampleType(IntEnum):
    """Bits 5..4 of wire byte 17 of a measurement (the main gain byte)."""

    MEASUREMENT = 0x00
    ZERO_CAL = 0x10
    INVALID = 0x20
    REF_CAL = 0x30


TYPE_MASK = 0x30
SEQUENCE_MASK = 0x0F
OVERCURRENT_BIT = 0x10
AT_VOLTAGE_BIT = 0x20
RESERVED_BITS = 0xC0

# droppedCount is little endian, the measurements are big endian.
HEADER = np.dtype([("dropped", "<u2"), ("flags", "u1"), ("obs", "u1")])
MEASUREMENT = np.dtype(
    [
        ("main_coarse", ">u2"),
        ("main_fine", ">u2"),
        ("usb_coarse", ">u2"),
        ("usb_fine", ">u2"),
        ("aux_coarse", ">u2"),
        ("aux_fine", ">u2"),
        ("main_voltage", ">u2"),
        ("usb_voltage", ">u2"),
        ("usb_gain", "u1"),
        ("main_gain", "u1"),
    ]
)
CURRENT_FIELDS = MEASUREMENT.names[:6] if MEASUREMENT.names else ()

FINE, COARSE = 0, 1  # range codes
RANGE_NAMES = ("fine", "coarse")
RANGE_UNIT_A = (1e-6, 1e-3)  # EEPROM scales are uA (fine) and mA (coarse) at the reference level


@dataclass(frozen=True)
class ChannelFields:
    """Where one channel is found: threshold (counts of the fine range) above which the coarse one holds,
    opcodes of its scales and zero offsets by range code (None: always 0), word and divider of its voltage."""

    name: str
    threshold: int
    scale_opcodes: tuple[Opcode, Opcode]
    zero_opcodes: tuple[Opcode | None, Opcode | None]
    voltage_field: str
    voltage_divider: float
    voltage_channel: int | None  # what VOLTAGE_CHANNEL must be for this word to belong to this channel


CHANNELS = {
    "main": ChannelFields(
        "main", 64_000, (Opcode.MAIN_FINE_SCALE, Opcode.MAIN_COARSE_SCALE),
        (Opcode.MAIN_FINE_ZERO, Opcode.MAIN_COARSE_ZERO), "main_voltage", 4.0, 0,
    ),
    "usb": ChannelFields(
        "usb", 64_000, (Opcode.USB_FINE_SCALE, Opcode.USB_COARSE_SCALE),
        (Opcode.USB_FINE_ZERO, Opcode.USB_COARSE_ZERO), "usb_voltage", 2.0, None,
    ),
    "aux": ChannelFields(
        "aux", 30_000, (Opcode.AUX_FINE_SCALE, Opcode.AUX_COARSE_SCALE), (None, None), "main_voltage", 4.0, 1,
    ),
}  # fmt: skip

FACTORY_SCALE = {  # channel -> (fine uA, coarse mA) at the reference level
    "main": (36_500, 6_400),
    "usb": (14_000, 600),
    "aux": (3_100, 250),
}
FACTORY_ZERO = {"main": (15, 15), "usb": (0, 0), "aux": (0, 0)}
