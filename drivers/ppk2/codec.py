"""Bytes of a Power Profiler Kit II to readings: words, lost samples, ranges, means. Pure: no port, no clock.

A sample is a little-endian word of 4 bytes each 10 us: bits 0-13 converter, 14-16 range, 18-23 a counter that tells of
lost samples, 24-31 logic inputs. A mean of `average` samples that is not whole is no reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drivers.ppk2.metadata import RANGES, Metadata
from harness.core.clock import Int64Array
from harness.core.errors import TransientError
from harness.core.trace import Gap

SAMPLE_NS = 10_000
WORD_BYTES = 4
COUNTER = 64
SETTLING = 3  # samples after a change of range that the maker's application replaces by a running mean
LIMIT_A = 1.05  # the kit is for 1 A; what is further above cannot be trusted
NANO = 1e9


@dataclass
class Readings:
    """`end_slot`: int64 (K,), slots of 10 us at whose end the means end; `current_raw`: int64 (K,), nA; `code`: int8
    (K,), the highest range among the samples; gaps in slots' time; what was lost and left out, by name."""

    end_slot: Int64Array
    current_raw: Int64Array
    code: npt.NDArray[np.int8]
    gaps: list[Gap] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Ppk2Codec:
    """Feeds on bytes as they come. `vdd_v`: the board's voltage; slot 0 is the first sample's."""

    def __init__(self, metadata: Metadata, *, vdd_v: float, average: int, first_slot: int = 0) -> None:
        self._metadata, self._vdd_v, self._average = metadata, vdd_v, average
        self._rest = b""
        self._counter: int | None = None
        self._code: int | None = None
        self._unsettled = 0
        self.slot = first_slot
        self._reading_from = -(-first_slot // average) * average  # where the next mean begins
        self._slots = np.empty(0, np.int64)
        self._amps = np.empty(0)
        self._codes = np.empty(0, np.int64)
        self._waiting_lost = 0

    def lose(self, samples: int) -> None:
        """So many samples are known to be lost beyond what the counter can tell (a multiple of 64)."""
        self._waiting_lost += samples

    def feed(self, data: bytes) -> Readings:
        """All means that are whole now."""
        data = self._rest + data
        whole = len(data) // WORD_BYTES * WORD_BYTES
        self._rest = data[whole:]
        counts: dict[str, int] = {}
        if whole:
            self._append(np.frombuffer(data[:whole], "<u4").astype(np.int64), counts)
        return self._means(counts)

    def _append(self, word: Int64Array, counts: dict[str, int]) -> None:
        counter = word >> 18 & 0x3F
        before = counter[0] - 1 if self._counter is None else self._counter
        lost = np.mod(np.diff(counter, prepend=before) - 1, COUNTER)
        if len(word) >= COUNTER and np.count_nonzero(lost) > len(word) // 2:
            raise TransientError(
                f"{np.count_nonzero(lost)} of {len(word)} samples of the PPK2 do not follow on one another: bytes lost",
                hint="plug the kit into a port of its own, without a hub, and run again",
            )
        lost[0] += self._waiting_lost
        self._waiting_lost = 0
        self._counter = int(counter[-1])
        slots = self.slot + np.arange(len(word)) + np.cumsum(lost)
        self.slot = int(slots[-1]) + 1
        code = np.minimum(word >> 14 & 0x7, RANGES - 1)
        amps = self._metadata.current_a(word & 0x3FFF, code, self._vdd_v)
        unsettled = self._after_changes(code)
        amps[unsettled] = np.nan
        over = amps > LIMIT_A
        for name, number in (
            ("lost_samples", int(lost.sum())),
            ("settling_samples", int(np.count_nonzero(unsettled))),
        ):
            if number:
                counts[name] = number
        amps[over] = np.inf
        self._slots = np.append(self._slots, slots)
        self._amps, self._codes = np.append(self._amps, amps), np.append(self._codes, code)

    def _after_changes(self, code: Int64Array) -> npt.NDArray[np.bool_]:
        """The samples that follow a change of range, (K,)."""
        changed = np.diff(code, prepend=code[0] if self._code is None else self._code) != 0
        self._code = int(code[-1])
        at = np.arange(len(code))
        last = np.maximum.accumulate(np.where(changed, at, self._unsettled - SETTLING))
        self._unsettled = max(int(last[-1]) + SETTLING - len(code), 0)
        return np.asarray(at - last < SETTLING)

    def _means(self, counts: dict[str, int]) -> Readings:
        average, begin = self._average, self._reading_from
        end = self.slot // average * average
        ready = int(np.searchsorted(self._slots, end))
        slots, amps, codes = self._slots[:ready], self._amps[:ready], self._codes[:ready]
        self._slots, self._amps, self._codes = self._slots[ready:], self._amps[ready:], self._codes[ready:]
        if end <= begin:
            return Readings(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8), [], counts)
        self._reading_from = end
        keep = slots >= begin
        group = (slots[keep] - begin) // average
        amps, codes = amps[keep], codes[keep]
        number = (end - begin) // average
        settled = np.isfinite(amps) | np.isinf(amps)
        there = np.bincount(group, minlength=number)
        good = np.bincount(group, settled, minlength=number)
        with np.errstate(invalid="ignore"):  # over range: infinite, and so no reading
            mean = np.bincount(group, np.where(settled, amps, 0.0), minlength=number) / np.maximum(good, 1)
        code = np.zeros(number, np.int8)
        np.maximum.at(code, group, codes.astype(np.int8))
        whole = (there == average) & (2 * good >= average) & np.isfinite(mean)
        over = np.isinf(mean)
        if cut := int(np.count_nonzero(over)):
            counts["saturated_samples"] = cut  # readings, not words: the analysis takes the share of readings
        ends = begin + average * (1 + np.arange(number, dtype=np.int64))
        gaps = _gaps(~whole, ends, average, average - there, over=over)
        return Readings(ends[whole], np.rint(mean[whole] * NANO).astype(np.int64), code[whole], gaps, counts)


def _gaps(
    missing: npt.NDArray[np.bool_], ends: Int64Array, average: int, lost: Int64Array, *, over: npt.NDArray[np.bool_]
) -> list[Gap]:
    """Neighbouring means that are no readings make one gap."""
    edge = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
    found = []
    for first, stop in zip(edge[::2], edge[1::2], strict=True):
        number = int(lost[first:stop].sum())
        reason = "saturated: above 1 A" if over[first:stop].any() else "samples lost" if number else "range changing"
        begin_ns, end_ns = int(ends[first] - average) * SAMPLE_NS, int(ends[stop - 1]) * SAMPLE_NS
        found.append(Gap(begin_ns, end_ns, number if number else -1, reason))
    return found
