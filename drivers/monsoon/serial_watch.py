"""What a stream of old serial packets shows only over seconds: damage by the line, a loss longer than their sequence.

The sequence has four bits, so 16 lost packets look like none. Then all that follows is dated too early, and arrivals
come later against it for good, which a host that is late for a moment does not do: of every second the soonest arrival
counts.
"""

from __future__ import annotations

import statistics

from harness.core.clock import Int64Array
from harness.core.errors import DeviceError, TransientError

WINDOW_NS = 1_000_000_000
JUMP_NS = 100_000_000
KEPT = 100  # seconds whose least lag is remembered: a run of hours costs no more than these
BAD_SHARE, BAD_WINDOW_BYTES = 0.3, 20_000


class LagWatch:
    """`see` what arrived; TransientError once arrivals are late for good by JUMP_NS, beyond what each second adds."""

    def __init__(self) -> None:
        self._window = -1
        self._least: list[int] = []  # least lag of the last seconds in which packets came

    def see(self, end_ns: Int64Array, arrival_ns: Int64Array) -> None:
        """Meter time of packets (K,) and their host arrivals."""
        for end, arrival in zip(end_ns.tolist(), arrival_ns.tolist(), strict=True):
            lag, window = arrival - end, arrival // WINDOW_NS
            if window != self._window:
                self._judge()
                self._window = window
                self._least.append(lag)
                del self._least[:-KEPT]
            else:
                self._least[-1] = min(self._least[-1], lag)

    def _judge(self) -> None:
        """Is the second before last, and the last one, late against those before?"""
        if len(self._least) < 4:
            return
        steps = [b - a for a, b in zip(self._least[:-2], self._least[1:-1], strict=True)]
        usual = statistics.median(steps)
        before, after = self._least[-3], min(self._least[-2] + usual, self._least[-1])
        late_ns = after - before - 2 * usual
        if late_ns > JUMP_NS:
            raise TransientError(
                f"packets were lost beyond counting: what follows came {late_ns * 1e-9:.2f} s later than it is dated",
                hint="run again with less load on this machine; the packets' sequence counts to 16 only",
            )


class DamageWatch:
    """`see` how many bytes came and how many of them were damaged; DeviceError when too many are."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._bytes = self._bad = 0

    def see(self, received: int, bad: int) -> None:
        self._bytes += received
        self._bad += bad
        if self._bytes < BAD_WINDOW_BYTES:
            return
        share = self._bad / self._bytes
        self._bytes = self._bad = 0
        if share > BAD_SHARE:
            raise DeviceError(
                f"{share:.0%} of the newest bytes from {self._path} belong to no packet with a right checksum",
                hint="use another cable and a port of its own",
            )
