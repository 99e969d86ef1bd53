"""What travels in inas/1, as objects: the body of a line or frame to a message and back (docs/meters/inas-1.md)."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from drivers.ina219.checksum import cobs_encode, crc16
from harness.core.clock import Int64Array

NAME, MAJOR = "inas", 1
LONGEST_BODY = 120
SAMPLES_FRAME, LINE_FRAME = 0x01, 0x24
MOST_SAMPLES = 16
_HEAD = struct.Struct("<BBHIBH")
_SAMPLE = np.dtype([("shunt", "<i2"), ("bus", "<u2")])
_NUMBER = re.compile(r"-?[0-9]{1,10}")
_HEX4 = re.compile(r"[0-9A-F]{4}")


@dataclass(frozen=True)
class Hello:
    """`version` of the protocol as printed ("inas/1"), and what else the device said of itself."""

    version: str
    keys: Mapping[str, str]

    @property
    def major(self) -> int | None:
        """Of our protocol; None for another one."""
        name, _, number = self.version.partition("/")
        return int(number.partition(".")[0]) if name == NAME and number.partition(".")[0].isdigit() else None


@dataclass(frozen=True)
class Configured:
    """The configuration in force: `cfg`, `cal` as read back from the chip."""

    epoch: int
    cfg: int
    cal: int
    rs_uohm: int
    per_us: int
    fmt: str


@dataclass(frozen=True)
class Samples:
    """K samples in order: `seq` of the first; `t_us` int64 (K,) as sent (u32); registers int32 (K,).

    `epoch`: of a binary frame, None for a line.
    """

    seq: int
    t_us: Int64Array
    shunt_raw: Int64Array
    bus_raw: Int64Array
    epoch: int | None = None


@dataclass(frozen=True)
class Event:
    """An event while sampling or a refusal: `kind`, and its keys as text."""

    kind: str
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Pong:
    nonce: str
    t_us: int


@dataclass(frozen=True)
class Counted:
    """Reply to STAT and STOP: counts since START."""

    counts: Mapping[str, int] = field(default_factory=dict)


Message = Hello | Configured | Samples | Event | Pong | Counted


def parse_body(body: str) -> Message | None:
    """A body whose CRC was right -> message; None if its content is not of the protocol."""
    kind, _, rest = body.partition(",")
    fields = rest.split(",") if rest else []
    try:
        match kind:
            case "S":
                return _sample(fields)
            case "H" if fields:
                return Hello(fields[0], _keys(fields[1:]))
            case "C":
                return _configured(fields)
            case "E" if fields:
                return Event(fields[0], _keys(fields[1:]))
            case "T" if len(fields) == 2:
                return Pong(fields[0], _whole(fields[1], 0, 0xFFFFFFFF))
            case "Q":
                return Counted({key: _whole(value, 0, 0xFFFFFFFF) for key, value in _keys(fields).items()})
    except (ValueError, KeyError):
        return None
    return None


def parse_samples(frame: bytes) -> Samples | None:
    """A binary samples frame without its CRC -> message; None if its length or count contradict each other."""
    if len(frame) < _HEAD.size:
        return None
    kind, epoch, seq, t0_us, count, dt_us = _HEAD.unpack_from(frame)
    if kind != SAMPLES_FRAME or not 1 <= count <= MOST_SAMPLES or len(frame) != _HEAD.size + count * _SAMPLE.itemsize:
        return None
    both = np.frombuffer(frame, _SAMPLE, count, _HEAD.size)
    t_us = (t0_us + np.arange(count, dtype=np.int64) * dt_us) & 0xFFFFFFFF
    return Samples(seq, t_us, both["shunt"].astype(np.int64), both["bus"].astype(np.int64), epoch)


def _whole(text: str, low: int, high: int) -> int:
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise ValueError(text)
    return int(text)


def _hex4(text: str) -> int:
    if not _HEX4.fullmatch(text):
        raise ValueError(text)
    return int(text, 16)


def _keys(fields: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in fields:
        key, separator, value = part.partition("=")
        if not separator or key in found:
            raise ValueError(part)
        found[key] = value
    return found


def _sample(fields: list[str]) -> Samples | None:
    if len(fields) != 4:
        return None
    seq, t_us = _whole(fields[0], 0, 0xFFFF), _whole(fields[1], 0, 0xFFFFFFFF)
    shunt, bus = _whole(fields[2], -0x8000, 0x7FFF), _whole(fields[3], 0, 0xFFFF)
    return Samples(seq, np.array([t_us], np.int64), np.array([shunt], np.int64), np.array([bus], np.int64))


def _configured(fields: list[str]) -> Configured:
    keys = _keys(fields[1:])
    if keys["fmt"] not in ("a", "b"):
        raise ValueError(keys["fmt"])
    return Configured(
        epoch=_whole(fields[0], 0, 255),
        cfg=_hex4(keys["cfg"]),
        cal=_hex4(keys["cal"]),
        rs_uohm=_whole(keys["rs_uohm"], 0, 0xFFFFFFFF),
        per_us=_whole(keys["per_us"], 0, 0xFFFFFFFF),
        fmt=keys["fmt"],
    )


# --- the other way ----------------------------------------------------------------------------------


def line(body: str) -> bytes:
    """A body as the device sends it in ASCII."""
    return f"${body}*{crc16(body.encode()):04X}\r\n".encode()


def command(body: str) -> bytes:
    """A command as the host sends it."""
    return f">{body}*{crc16(body.encode()):04X}\n".encode()


def frame(data: bytes) -> bytes:
    """A binary frame on the wire: CRC added, COBS, delimiter."""
    return cobs_encode(data + crc16(data).to_bytes(2, "little")) + b"\0"


def line_frame(body: str) -> bytes:
    """A body as the device sends it in binary mode."""
    return frame(bytes([LINE_FRAME]) + body.encode())


def samples_frame(samples: Samples, *, dt_us: int) -> bytes:
    """Samples as the device sends them in binary mode, at even spacing."""
    count = len(samples.t_us)
    head = _HEAD.pack(SAMPLES_FRAME, samples.epoch or 0, samples.seq, int(samples.t_us[0]), count, dt_us)
    both = np.zeros(count, _SAMPLE)
    both["shunt"], both["bus"] = samples.shunt_raw, samples.bus_raw
    return frame(head + both.tobytes())
