"""The serial line from the streamer to the host: baud rate, a short transmit buffer, USB bursts, damaged bytes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

HOST_BUFFER = 4095  # what the host's terminal driver keeps for a reader who does not come; the newest is lost


@dataclass(frozen=True)
class LineFaults:
    """Probabilities a byte of being lost or flipped, between `begin_ns` and `end_ns`; `burst_ns`: the adapter
    hands on what it has at multiples of this (16 ms on an FTDI)."""

    lost_byte: float = 0.0
    flipped_byte: float = 0.0
    begin_ns: int = 0
    end_ns: int = 1 << 62
    burst_ns: int = 0


class SerialLine:
    """Messages go in whole at a time, bytes come out when they have been sent."""

    def __init__(self, baud: int, faults: LineFaults, *, seed: int = 0, room_bytes: int = 256) -> None:
        self.byte_ns = 10e9 / baud
        self.faults = faults
        self.room_bytes = room_bytes
        self._rng = np.random.default_rng([seed, 232])
        self._queue: deque[tuple[float, bytes]] = deque()  # when its first byte begins, and what is left
        self._free_ns = 0.0

    def room(self, size: int, at_ns: int) -> bool:
        """Whether the transmit buffer has room for `size` more bytes."""
        return (self._free_ns - at_ns) / self.byte_ns + size <= self.room_bytes

    def send(self, data: bytes, at_ns: int) -> None:
        begin = max(float(at_ns), self._free_ns)
        self._free_ns = begin + len(data) * self.byte_ns
        self._queue.append((begin, data))

    def cut(self, at_ns: int) -> None:
        """The sender stops in the middle of a byte."""
        kept = deque((begin, data) for begin, data in self._queue if begin < at_ns)
        if kept:
            begin, data = kept.pop()
            kept.append((begin, data[: max(0, int((at_ns - begin) / self.byte_ns))]))
        self._queue, self._free_ns = kept, float(at_ns)

    def receive(self, now_ns: int) -> bytes:
        """What the host can read at `now_ns`."""
        burst = self.faults.burst_ns
        by_ns = now_ns // burst * burst if burst else now_ns
        out = bytearray()
        while self._queue:
            begin, data = self._queue[0]
            done = int((by_ns - begin) / self.byte_ns + 1e-6)
            if done <= 0:
                break
            out += self._damaged(data[:done], begin)
            if done < len(data):
                self._queue[0] = (begin + done * self.byte_ns, data[done:])
                break
            self._queue.popleft()
        return bytes(out[:HOST_BUFFER])

    def _damaged(self, data: bytes, at_ns: float) -> bytes:
        f = self.faults
        if f.lost_byte + f.flipped_byte == 0 or not f.begin_ns <= at_ns < f.end_ns:
            return data
        luck = self._rng.random(len(data))
        raw = np.frombuffer(data, np.uint8).copy()
        flip = luck < f.flipped_byte
        raw[flip] ^= np.left_shift(1, self._rng.integers(0, 8, int(flip.sum()))).astype(np.uint8)
        return raw[luck < 1 - f.lost_byte].tobytes()
