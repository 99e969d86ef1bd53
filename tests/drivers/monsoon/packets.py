"""Hand-made packets for the codec's tests, written down from the wire format and not from the codec."""

from __future__ import annotations

import struct

MEASUREMENT, ZERO, INVALID, REFERENCE = 0x00, 0x10, 0x20, 0x30
ZERO_CODES = (1500, 2000)  # coarse, fine
REFERENCE_CODES = (30000, 40000)


def observation(
    coarse: int = 1515, fine: int = 2015, volt: int = 20_000, *, kind: int = MEASUREMENT, usb_volt: int = 0
) -> bytes:
    """18 bytes, big endian; main, usb and aux carry the same codes; type bits in the last byte."""
    return struct.pack(">8H2B", coarse, fine, coarse, fine, coarse, fine, volt, usb_volt, 0x0F, 0x01 | kind)


def packet(observations: list[bytes], *, sequence: int = 0, dropped: int = 0, flags: int = 0x20) -> bytes:
    """Header (little-endian counter, flags with the sequence, count) and up to three observations."""
    return struct.pack("<HBB", dropped & 0xFFFF, flags | sequence & 15, len(observations)) + b"".join(observations)


def calibrating(sequence: int = 0, *, dropped: int = 0) -> list[bytes]:
    """Ten packets that fill all rings."""
    pair = [observation(*ZERO_CODES, kind=ZERO), observation(*REFERENCE_CODES, kind=REFERENCE)]
    return [packet([pair[k % 2]], sequence=sequence + k, dropped=dropped) for k in range(10)]
