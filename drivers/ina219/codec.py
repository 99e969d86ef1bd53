"""Bytes of inas/1 to messages: any chunking, any garbage; resynchronises by itself and counts what it dropped.

Lines and binary frames share the line, so the decoder tells which it is in from the bytes alone: a 0x00 never occurs in
text and begins binary; an empty frame, or a whole line with a good CRC, ends it.
"""

from __future__ import annotations

import re
from collections import Counter

from drivers.ina219.checksum import cobs_decode, crc16
from drivers.ina219.messages import LINE_FRAME, LONGEST_BODY, Message, parse_body, parse_samples

LONGEST_LINE = LONGEST_BODY + 8
LONGEST_FRAME = 160
LONGEST_TEXT = 512  # without any end: noise
_LINE = re.compile(rb"\$([\x20-\x23\x25-\x29\x2b-\x3d\x3f-\x7e]{1,120})\*([0-9A-F]{4})\r?")


class InasDecoder:
    """`feed` chunks as they come; `counts` holds what was dropped since it was last taken.

    Counts: `bad_lines` (CRC or form), `unknown_lines` (CRC right, content not), `bad_frames`, `noise_lines` (text
    without a `$`: boot loaders talk).
    """

    def __init__(self) -> None:
        self.binary = False
        self.counts: Counter[str] = Counter()
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[Message]:
        """Messages that are complete now, in order."""
        found: list[Message] = []
        self._rest += chunk
        while self._step(found):
            pass
        return found

    def take_counts(self) -> dict[str, int]:
        """Counts since the last call."""
        taken = {name: count for name, count in self.counts.items() if count}
        self.counts.clear()
        return taken

    def _step(self, found: list[Message]) -> bool:
        """Take one line or frame off the front; False when more bytes are needed."""
        return self._step_binary(found) if self.binary else self._step_text(found)

    def _step_text(self, found: list[Message]) -> bool:
        rest = self._rest
        zero, end = rest.find(0, 0, LONGEST_TEXT), rest.find(b"\n", 0, LONGEST_TEXT)
        if zero >= 0 and (end < 0 or zero < end):
            if bytes(rest[:zero]).strip():
                self.counts["bad_lines"] += 1
            del rest[: zero + 1]
            self.binary = True
            return True
        if end < 0:
            if len(rest) < LONGEST_TEXT:
                return False
            self.counts["bad_lines"] += 1
            del rest[:LONGEST_LINE]
            return True
        text = bytes(rest[:end])
        del rest[: end + 1]
        self._line(text, found)
        return True

    def _step_binary(self, found: list[Message]) -> bool:
        rest = self._rest
        zero = rest.find(0, 0, LONGEST_TEXT)
        end = rest.find(b"\n", 0, LONGEST_TEXT if zero < 0 else zero)
        while end >= 0:  # a whole line with a good CRC: the device talks text again
            begin = rest.rfind(b"$", 0, end)
            body = _body(bytes(rest[begin:end])) if begin >= 0 else None
            if body is not None:
                self.counts["bad_frames"] += int(bool(bytes(rest[:begin]).strip()))
                del rest[: end + 1]
                self.binary = False
                self._body(body, found)
                return True
            end = rest.find(b"\n", end + 1, LONGEST_TEXT if zero < 0 else zero)
        if zero < 0:
            if len(rest) < LONGEST_TEXT:
                return False
            self.counts["bad_frames"] += 1
            del rest[:LONGEST_FRAME]
            self.binary = False
            return True
        coded = bytes(rest[:zero])
        del rest[: zero + 1]
        if coded:
            self._frame(coded, found)
        else:
            self.binary = False
        return True

    def _line(self, text: bytes, found: list[Message]) -> None:
        begin = text.rfind(b"$")
        if begin < 0:
            if text.strip():
                self.counts["noise_lines"] += 1
            return
        if begin > 0 and b"$" in text[:begin]:
            self.counts["bad_lines"] += 1  # a line that lost its end to the one after it
        body = _body(text[begin:])
        if body is None:
            self.counts["bad_lines"] += 1
        else:
            self._body(body, found)

    def _frame(self, coded: bytes, found: list[Message]) -> None:
        data = cobs_decode(coded) if len(coded) <= LONGEST_FRAME else None
        if data is None or len(data) < 3 or crc16(data[:-2]) != int.from_bytes(data[-2:], "little"):
            self.counts["bad_frames"] += 1
            return
        if data[0] == LINE_FRAME:
            self._body(data[1:-2].decode("ascii", "replace"), found)
            return
        samples = parse_samples(data[:-2])
        if samples is None:
            self.counts["bad_frames"] += 1
        else:
            found.append(samples)

    def _body(self, body: str, found: list[Message]) -> None:
        message = parse_body(body)
        if message is None:
            self.counts["unknown_lines"] += 1
        else:
            found.append(message)


def _body(text: bytes) -> str | None:
    """The body of a line from `$` to its CRC (a CR may follow), if the CRC is right."""
    match = _LINE.fullmatch(text)
    if match is None or crc16(match[1]) != int(match[2], 16):
        return None
    return match[1].decode("ascii")
