"""A unit that plays a capture: its registers answer as recorded, its packets are the recorded bytes."""

from __future__ import annotations

from drivers.monsoon.fields import BULK_IN, Request
from drivers.monsoon.split import split
from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmUnit


class ReplayDevice(HvpmDevice):
    """`capture`: concatenated packets; they are ready at once after a start."""

    def __init__(self, unit: HvpmUnit, capture: bytes) -> None:
        super().__init__(FunctionSource(0.0, 0.0, begin_ns=0), now_ns=lambda: 0, unit=unit)
        slots, lengths, dropped = split(capture)
        assert dropped == 0
        self._capture = [bytes(s[:n]) for s, n in zip(slots, lengths, strict=True)]

    def control(self, setup: tuple[int, int, int, int], data: bytes, length: int) -> bytes:
        reply = super().control(setup, data, length)
        if setup[1] == Request.START:
            self._ready.extend(self._capture)
        elif setup[1] == Request.STOP:
            self._ready.clear()
        return reply

    def bulk_in(self, endpoint: int, max_packets: int) -> list[bytes]:
        assert endpoint == BULK_IN
        return [self._ready.popleft() for _ in range(min(max_packets, len(self._ready)))]
