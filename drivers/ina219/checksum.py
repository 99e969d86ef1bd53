"""CRC-16/CCITT-FALSE and COBS: the two codings of inas/1 that are not its own (docs/meters/inas-1.md)."""

from __future__ import annotations

import binascii


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF): of b"123456789" it is 0x29B1."""
    return binascii.crc_hqx(data, 0xFFFF)


def cobs_encode(data: bytes) -> bytes:
    """`data` (below 254 bytes) without zero bytes, and without the delimiter."""
    out = bytearray()
    for block in data.split(b"\0"):
        if len(block) >= 254:
            raise ValueError(f"a COBS block of {len(block)} bytes is not part of inas/1")
        out.append(len(block) + 1)
        out += block
    return bytes(out)


def cobs_decode(coded: bytes) -> bytes | None:
    """The data of one frame, delimiter removed; None if it is no COBS frame of inas/1."""
    out, at = bytearray(), 0
    while at < len(coded):
        code = coded[at]
        if code in (0, 0xFF) or at + code > len(coded):
            return None
        if at:
            out.append(0)
        out += coded[at + 1 : at + code]
        at += code
    return bytes(out)
