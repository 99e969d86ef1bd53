"""Bytes of a sketch to records: lines cut anywhere, boot text, garbage; the unreadable is counted, never half read."""

from __future__ import annotations

from collections import deque

from drivers.ina219.options import BREAKOUT_OHM
from drivers.ina219.text_formats import Record, TextFormat
from drivers.ina219.text_sanity import Sanity

LONGEST = 512
JUDGED = 200  # newest lines by which the share of bad ones is judged
BAD_SHARE = 0.2
LEAST_JUDGED = 25


class LineSplitter:
    """`feed` bytes, get lines: stripped, the first (partial) line left out.

    A byte that is no UTF-8 stays in its place as U+FFFD, so that no format reads across it: a damaged digit left out
    would make another number.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._first = True

    def feed(self, chunk: bytes) -> list[str]:
        lines: list[str] = []
        self._rest += chunk
        while True:
            end = self._rest.find(b"\n", 0, LONGEST)
            if end < 0:
                if len(self._rest) < LONGEST:
                    return lines
                end = LONGEST - 1
            text = bytes(self._rest[:end])
            del self._rest[: end + 1]
            if self._first:
                self._first = False
            else:
                lines.append(text.decode("utf-8", "replace").strip("\0").strip())


class TextDecoder:
    """`feed` chunks, get records. `bad` lines are counted; `too_bad` says when there are too many of them."""

    def __init__(self, form: TextFormat, splitter: LineSplitter | None = None, sanity: Sanity | None = None) -> None:
        self.form = form
        self._sanity = sanity or Sanity(BREAKOUT_OHM)
        self.bad = 0
        self._splitter = splitter or LineSplitter()
        self._judged: deque[bool] = deque(maxlen=JUDGED)

    def feed(self, chunk: bytes) -> list[Record]:
        found: list[Record] = []
        for line in self._splitter.feed(chunk):
            found += self.line(line)
        return found

    def line(self, line: str) -> list[Record]:
        """Records that this line completes."""
        records = self.form.parse(line)
        sane = [record for record in records or [] if self._sanity.sane(record)]
        if line or sane or records:
            self._judged.append(records is None or len(sane) < len(records))
        if records is None or len(sane) < len(records):
            self.bad += 1
        return sane

    @property
    def too_bad(self) -> float | None:
        """Share of bad lines among the newest, if it is above the limit."""
        if len(self._judged) < LEAST_JUDGED:
            return None
        share = sum(self._judged) / len(self._judged)
        return share if share > BAD_SHARE else None

    def take_bad(self) -> int:
        """Bad lines since the last call."""
        bad, self.bad = self.bad, 0
        return bad
