"""Response data that come as blocks of bytes (IEEE 488.2, 8.7.9 definite and 8.7.10 indefinite) or as lists of text."""

from __future__ import annotations

import re
from enum import StrEnum

import numpy as np

from drivers.visa.numbers import Values, judged, numbers, without_header

DEFINITE = re.compile(rb"#([1-9])")
INDEFINITE = b"#0"
BEFORE = re.compile(rb"[^#\"']{0,80}")  # a header
DENORMAL = 1e-30  # no instrument resolves it: bytes in the wrong order give such numbers


class Form(StrEnum):
    """How an instrument sends its readings."""

    ASCII = "ascii"
    REAL32 = "real32"  # 4-byte floats
    REAL64 = "real64"


BIG, LITTLE = "big", "little"


def payload(message: bytes) -> bytes:
    """The bytes of the one block in `message`, which may begin with a header.

    ValueError if there is none, if it is cut, or if more follows: half a block is not data.
    """
    before = BEFORE.match(message)
    at = before.end() if before else 0
    if message[at : at + 2] == INDEFINITE:
        return message[at + 2 :]
    found = DEFINITE.match(message, at)
    if found is None:
        raise ValueError(f"{message[:40]!r} is no block")
    begin = at + 2 + int(found[1])
    digits = message[at + 2 : begin]
    if len(digits) < int(found[1]) or not digits.isdigit():
        raise ValueError(f"{message[at : at + 12]!r} is no header of a block")
    size = int(digits)
    if len(message) < begin + size:
        raise ValueError(f"a block of {size} bytes was cut: {len(message) - begin} came")
    if message[begin + size :].strip(b"\r\n "):
        raise ValueError(f"{len(message) - begin - size} bytes follow a block of {size}")
    return message[begin : begin + size]


def readings(message: bytes, form: Form, *, order: str = BIG, multiple: int = 1) -> Values:
    """The readings of one response, float64 (N,) with what is missing.

    `multiple`: values of one record, whole records must come. ValueError for all that cannot be.
    """
    if form is Form.ASCII:
        found = numbers(text(message)) if message.strip() else judged(np.empty(0))
    else:
        found = judged(_floats(message, form, order))
    if len(found) % multiple:
        raise ValueError(f"{len(found)} values came, which are no whole records of {multiple}")
    tiny = (found.value != 0) & (np.abs(found.value) < DENORMAL)
    if tiny.any():
        raise ValueError(f"a value of {found.value[tiny][0]:g} came: is the byte order {order}?")
    return found


def text(message: bytes) -> str:
    """A response as text, without its header. ValueError if it is none."""
    try:
        return without_header(message.decode("ascii"))
    except UnicodeDecodeError:
        raise ValueError(f"{message[:40]!r} is no text") from None


def _floats(message: bytes, form: Form, order: str) -> np.ndarray:
    if order not in (BIG, LITTLE):
        raise ValueError(f"byte order {order!r} is neither big nor little")
    data = payload(message)
    width = 4 if form is Form.REAL32 else 8
    if len(data) % width:
        raise ValueError(f"{len(data)} bytes came, which are no whole numbers of {width}")
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return np.frombuffer(data, f"{'>' if order == BIG else '<'}f{width}").astype(np.float64)
