"""Cuts a byte stream of concatenated packets (a capture file) into packets again.

A USB transfer keeps packet borders; a capture does not. The length follows from the header (4 + 18 * obs), so a
lost or added byte would shift everything after it. The splitter therefore accepts a packet only when a
plausible header follows it, searches byte by byte when that fails, and counts what it dropped. It is fed
any chunking and yields the same packets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drivers.monsoon.fields import HEADER_BYTES, MAX_OBS, OBS_BYTES, PACKET_BYTES, RESERVED_BITS, SEQUENCE_MASK

Slots = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.int64]


def to_slots(packets: list[bytes]) -> tuple[Slots, Lengths]:
    """Packets of at most 64 bytes -> (K, 64) uint8, zero filled, and their lengths (K,)."""
    lengths = np.minimum(np.fromiter(map(len, packets), np.int64, len(packets)), PACKET_BYTES)
    slots = np.zeros((len(packets), PACKET_BYTES), np.uint8)
    slots[np.arange(PACKET_BYTES) < lengths[:, None]] = np.frombuffer(
        b"".join(p[:PACKET_BYTES] for p in packets), np.uint8
    )
    return slots, lengths


class PacketSplitter:
    """`feed` chunks, then `finish`; `dropped_bytes` counts bytes that belong to no accepted packet."""

    def __init__(self) -> None:
        self._rest = b""
        self._in_step = False
        self.dropped_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Packets that are certain now; the last one or two wait for what follows them."""
        return self._cut(chunk, at_end=False)

    def finish(self) -> list[bytes]:
        """The remaining packets; what is left over counts as dropped."""
        packets = self._cut(b"", at_end=True)
        self.dropped_bytes += len(self._rest)
        self._rest, self._in_step = b"", False
        return packets

    def _cut(self, chunk: bytes, *, at_end: bool) -> list[bytes]:
        data, at, packets = self._rest + chunk, 0, []
        while at < len(data):
            verdict = self._judge(data, at, at_end=at_end)
            if verdict is None:
                break
            if verdict:
                end = at + _length(data, at)
                packets.append(data[at:end])
                at, self._in_step = end, True
            else:
                at += 1
                self.dropped_bytes += 1
                self._in_step = False
        self._rest = data[at:]
        return packets

    def _judge(self, data: bytes, at: int, *, at_end: bool) -> bool | None:
        """Is there a packet at `at`? None: not enough bytes to say.

        In step one plausible header must follow; out of step two must, the first with the next sequence number.
        """
        if at + HEADER_BYTES > len(data):
            return False if at_end else None
        if not _plausible(data, at):
            return False
        here = at
        for hop in range(1 if self._in_step else 2):
            follows = here + _length(data, here)
            if follows + HEADER_BYTES > len(data):
                if not at_end:
                    return None
                return follows <= len(data) and (self._in_step or hop > 0 or follows == len(data))
            if not _plausible(data, follows):
                return False
            if not self._in_step and hop == 0 and (data[follows + 2] - data[here + 2]) & SEQUENCE_MASK != 1:
                return False
            here = follows
        return True


def _plausible(data: bytes, at: int) -> bool:
    return 1 <= data[at + 3] <= MAX_OBS and not data[at + 2] & RESERVED_BITS


def _length(data: bytes, at: int) -> int:
    return HEADER_BYTES + OBS_BYTES * data[at + 3]


def split(capture: bytes) -> tuple[Slots, Lengths, int]:
    """A whole capture -> (slots (K, 64), lengths (K,), bytes dropped)."""
    splitter = PacketSplitter()
    packets = splitter.feed(capture)
    packets += splitter.finish()
    return (*to_slots(packets), splitter.dropped_bytes)
