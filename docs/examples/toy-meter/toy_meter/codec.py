"""Lines of the Toy W1 -> rows, gaps and counts. Knows no port and no clock.

A hundred times a second the meter prints `<sequence> <milliwatt> <check>`, the mean power of the last 10 ms:
`00042 002315 61`. The sequence counts to 65535 and on from 0; `check` is the sum of the bytes before it, modulo 256;
`------` in place of a power is one beyond its 20 W.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from harness.core.trace import Block, CalibrationPiece, Gap

PERIOD_NS = 10_000_000
LONGEST_JUMP = 6000  # lines; a minute
LINE = re.compile(rb"(\d{5}) (\d{6}|------) ([0-9a-f]{2})")
MILLIWATT = CalibrationPiece(0, "power_raw", 0, 1e-3, 0.0)


class Codec:
    """`feed` takes bytes as they come, `take` gives what became whole. `begin_ns`: when the first reading begins."""

    def __init__(self, begin_ns: int = 0) -> None:
        self.t_ns = begin_ns  # end of the newest reading that is accounted for
        self._waiting, self._sequence, self._told = b"", 65_535, False
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[int, int]] = []
        self._gaps: list[Gap] = []
        self._anchors: list[tuple[int, int]] = []
        self._counts: Counter[str] = Counter()

    def feed(self, data: bytes, arrival_ns: int = 0) -> list[tuple[int, int]]:
        """The (t_ns, milliwatt) of each whole line."""
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        before = len(self._rows)
        for line in lines:
            self._line(line.rstrip(b"\r"))
        if len(self._rows) > before:
            self._anchors.append((self._rows[-1][0], arrival_ns))
        return self._rows[before:]

    def _line(self, line: bytes) -> None:
        match = LINE.fullmatch(line)
        whole = match is not None and sum(line[:-2]) % 256 == int(match[3], 16)
        steps = (int(match[1]) - self._sequence) % 65_536 if match and whole else 0
        if match is None or not 0 < steps <= LONGEST_JUMP:
            self._counts["repeated_lines" if whole else "damaged_lines"] += 1
            return
        self._sequence, begin_ns, self.t_ns = int(match[1]), self.t_ns, self.t_ns + steps * PERIOD_NS
        if steps > 1:
            self._gaps.append(Gap(begin_ns, self.t_ns - PERIOD_NS, steps - 1, "lines lost"))
            self._counts["lost_lines"] += steps - 1
        if match[2] == b"------":
            self._gaps.append(Gap(self.t_ns - PERIOD_NS, self.t_ns, 1, "beyond 20 W"))
            self._counts["saturated_samples"] += 1
        else:
            self._rows.append((self.t_ns, int(match[2])))

    def take(self) -> Block | None:
        """What came since the last call; None if nothing did."""
        if not (self._rows or self._gaps or self._counts):
            return None
        rows, anchors = (np.array(pairs, np.int64).reshape(-1, 2) for pairs in (self._rows, self._anchors))
        scale = () if self._told or not self._rows else (MILLIWATT,)
        self._told = self._told or bool(scale)
        block = Block(rows[:, 0], {"power_raw": rows[:, 1]}, scale, self._gaps, anchors, dict(self._counts))
        self._clear()
        return block
