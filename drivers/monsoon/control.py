"""Control transfers of the HVPM as bytes: pure functions, used by the driver and, reversed, by the simulator."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from drivers.monsoon.fields import ERROR_WORD, NO_LIMIT, VOLTAGE_SET_SCALE, Opcode, Request

IN, OUT = 0xC0, 0x40  # vendor request, recipient device


@dataclass(frozen=True)
class Setup:
    """One control transfer: setup packet and, for OUT, its data stage; for IN, `length` bytes are asked for."""

    request_type: int
    request: int
    value: int
    index: int
    data: bytes = b""
    length: int = 0

    def to_bytes(self) -> bytes:
        """The 8-byte setup packet (USB 2.0 section 9.3) and the data stage behind it, as a capture keeps them."""
        length = len(self.data) or self.length
        return struct.pack("<BBHHH", self.request_type, self.request, self.value, self.index, length) + self.data


class BadTransfer(ValueError):
    """A control transfer that contradicts itself or is not part of the protocol; a unit stalls on it."""


def get_value(opcode: Opcode) -> Setup:
    return Setup(IN, Request.VALUE, 0, opcode, length=4)


def set_value(opcode: Opcode, value: int) -> Setup:
    """`value` 0..0xFFFFFFFF; the data stage carries all of it, wValue and wIndex repeat bits 0..23."""
    return Setup(
        OUT, Request.VALUE, value & 0xFFFF, opcode | (value >> 16 & 0xFF) << 8, struct.pack("<I", value & 0xFFFFFFFF)
    )


def start(*, cal_ms: int, max_samples: int = NO_LIMIT) -> Setup:
    """Start sampling with calibration samples every `cal_ms` and an end after `max_samples`."""
    return Setup(OUT, Request.START, cal_ms & 0xFFFF, 0, struct.pack("<I", max_samples))


def stop() -> Setup:
    return Setup(OUT, Request.STOP, 0, 0)


def parse_value(reply: bytes, *, size: int, signed: bool = False) -> int | None:
    """The first `size` bytes of a 4-byte reply as a number; None for the error word (unit is sampling).

    Raises BadTransfer when the reply has not 4 bytes. All four bytes decide: the low 2 bytes of the error
    word alone (65534) are a legal value.
    """
    if len(reply) != 4:
        raise BadTransfer(f"reply has {len(reply)} bytes, not 4: {reply.hex()}")
    if reply == ERROR_WORD:
        return None
    return int.from_bytes(reply[:size], "little", signed=signed)


def parse_set(setup: Setup) -> tuple[int, int]:
    """(opcode, value) of a set request; raises BadTransfer when wValue or wIndex contradict the data stage."""
    if len(setup.data) != 4:
        raise BadTransfer(f"set needs a data stage of 4 bytes, got {len(setup.data)}")
    value = int.from_bytes(setup.data, "little")
    if setup.value != value & 0xFFFF or setup.index >> 8 != value >> 16 & 0xFF:
        raise BadTransfer(f"wValue {setup.value:#06x}, wIndex {setup.index:#06x} contradict the data {value:#010x}")
    return setup.index & 0xFF, value


def parse_start(setup: Setup) -> tuple[int, int]:
    """(calibration period in ms, number of samples) of a start request."""
    if len(setup.data) != 4:
        raise BadTransfer(f"start needs a data stage of 4 bytes, got {len(setup.data)}")
    return setup.value, int.from_bytes(setup.data, "little")


def volts_to_raw(voltage_v: float) -> int:
    return round(voltage_v * VOLTAGE_SET_SCALE)


def raw_to_volts(raw: int) -> float:
    return raw / VOLTAGE_SET_SCALE


def limit_raw_to_amps(raw: int) -> float:
    """HVPM current limit as the vendor's code reads it; its manual prints 15.625*(1 - raw/65535) instead.

    The driver therefore never sets a limit and records the raw word beside this figure.
    """
    return 15.625 * (raw - 3840) / (65535 - 3840)


def lvpm_limit_raw_to_amps(raw: int) -> float:
    """LVPM current limit: 8 A * (1 - raw/1023), on which manual and code agree."""
    return 8.0 * (1 - min(raw, 1023) / 1023)
