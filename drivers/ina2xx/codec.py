"""Text of the kernel's attribute files -> integers; pure."""

from __future__ import annotations

import re

_INTEGER = re.compile(rb"\s*([+-]?\d{1,18})\s*")
_FRACTION = re.compile(rb"\s*(\d{1,9}\.\d{1,12})\s*")


def parse_integer(text: bytes) -> int:
    """One decimal integer, signed. Raises ValueError for anything else: an empty file, a half number, two numbers."""
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise ValueError(f"reads {text[:40]!r}, which is no whole number")
    return int(match[1])


def parse_reading(entry: bytes) -> int:
    """What one read of a file that moves gave. The kernel ends every attribute with a newline: a text without one was
    cut off, and half a number is a smaller number. Raises ValueError."""
    if not entry.endswith(b"\n"):
        raise ValueError(f"reads {entry[:40]!r}, which is cut off")
    return parse_integer(entry)


def parse_number(text: bytes) -> float:
    """An integer or a plain decimal fraction. Raises ValueError for anything else."""
    if _INTEGER.fullmatch(text) or _FRACTION.fullmatch(text):
        return float(text)
    raise ValueError(f"reads {text[:40]!r}, which is no number")


def parse_shunt_uohm(text: bytes) -> int:
    """`shunt_resistor` (uohm), or the IIO driver's `in_shunt_resistor`: uohm as a whole number on older kernels, ohm as
    a fraction on newer ones. Raises ValueError."""
    if b"." in text:
        return round(parse_number(text) * 1e6)
    return parse_integer(text)
