"""Frames of the LVPM's old serial firmware (RevD, protocol 17): bytes to payloads and back, any chunking, any garbage.

Both ways: `len, payload, checksum`, where len counts payload and checksum, and checksum = (len + sum of payload) mod
256. No byte marks a beginning, so after damage a frame is believed only if its checksum is right, its kind is one that
the unit sends, and what follows looks like the head of another.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

STATUS_TYPE, STATUS_BYTES = 0x10, 58
DATA_TYPE = 0x20  # low four bits: sequence
DATA_HEAD, RECORD_BYTES = 4, 8
OUTPUT_MIN_V, OUTPUT_MAX_V = 2.01, 4.55

STATUS_REQUEST = bytes([0x01, 0x00, 0x00])
STOP = bytes([0x03, 0x00])
BEFORE_START = bytes([0x01, 0x1B, 0x01])  # sent by all known hosts; what it does is not published
START = bytes([0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0x03, 0xE8])  # no end; 1000 is taken to be the calibration period in ms


def frame(payload: bytes) -> bytes:
    """`payload` of 1 to 254 bytes as it goes over the line."""
    length = len(payload) + 1
    return bytes([length, *payload, (length + sum(payload)) & 0xFF])


def set_voltage(voltage_v: float) -> bytes:
    """Payload that sets the output in steps of 10 mV above 2 V; 0 switches it off."""
    return bytes([0x01, 0x01, round((voltage_v - 2.0) * 100) if voltage_v else 0])


def records_of(payload: bytes) -> int:
    """8-byte records behind the head of a data packet."""
    return (len(payload) - DATA_HEAD) // RECORD_BYTES


def is_data(payload: bytes) -> bool:
    whole = len(payload) >= DATA_HEAD + RECORD_BYTES and (len(payload) - DATA_HEAD) % RECORD_BYTES == 0
    return whole and payload[0] & 0xF0 == DATA_TYPE


class FrameSplitter:
    """`feed` chunks; `bad_bytes` counts bytes that belong to no frame that was believed, `unknown` frames of other
    kinds, `bytes_in` all.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._in_step = True
        self.bad_bytes = self.unknown = self.bytes_in = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Payloads that are complete now: status and data packets."""
        self.bytes_in += len(chunk)
        data, at, found = self._rest + chunk, 0, []
        while at < len(data):
            verdict = self._judge(data, at)
            if verdict is None:
                break
            if not verdict:
                at += 1
                self.bad_bytes += 1
                self._in_step = False
                continue
            end = at + 1 + data[at]
            payload = data[at + 1 : end - 1]
            at, self._in_step = end, True
            if _known(payload):
                found.append(payload)
            else:
                self.unknown += 1
        self._rest = data[at:]
        return found

    def take_bad(self) -> dict[str, int]:
        """Counts since the last call."""
        counts = {"bad_bytes": self.bad_bytes, "unknown_frames": self.unknown}
        self.bad_bytes = self.unknown = 0
        return {name: count for name, count in counts.items() if count}

    def take_bytes(self) -> int:
        """Bytes fed since the last call."""
        taken, self.bytes_in = self.bytes_in, 0
        return taken

    def _judge(self, data: bytes, at: int) -> bool | None:
        """Is there a frame at `at`? None: not enough bytes to say."""
        length = data[at]
        if length < 2:
            return False
        if at + 1 < len(data) and not self._in_step and not _head(length, data[at + 1]):
            return False
        end = at + 1 + length
        if end > len(data):
            # in step a length that no packet has is damage: do not wait for bytes that may never come
            return None if at + 1 >= len(data) or _head(length, data[at + 1]) else False
        payload, check = data[at + 1 : end - 1], data[end - 1]
        if (length + sum(payload)) & 0xFF != check:
            return False
        if self._in_step and _known(payload):
            return True
        return None if end + 1 >= len(data) else _head(data[end], data[end + 1])  # the next frame's head decides


def _known(payload: bytes) -> bool:
    return is_data(payload) or (len(payload) == STATUS_BYTES and payload[0] == STATUS_TYPE)


def _head(length: int, first: int) -> bool:
    """Whether a length and a first byte are those of a packet that a unit sends."""
    if first == STATUS_TYPE:
        return length == STATUS_BYTES + 1
    whole = length > DATA_HEAD + RECORD_BYTES and (length - 1 - DATA_HEAD) % RECORD_BYTES == 0
    return whole and first & 0xF0 == DATA_TYPE


def data_packet(sequence: int, kind: int, records: Sequence[tuple[int, int, int, int]], trailing: bytes = b"") -> bytes:
    """Payload of a data packet as published: for captures made by hand and for simulators."""
    body = b"".join(struct.pack(">hhhH", *record) for record in records)
    return bytes([DATA_TYPE | sequence & 0x0F, kind, 0, 0]) + body + trailing
