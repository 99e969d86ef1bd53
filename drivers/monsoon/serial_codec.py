"""Data packets of the LVPM's old serial firmware -> blocks: pure, vectorised over the packets of a step.

A record is four words: main, USB, aux, voltage. The lowest bit of a main word says that it is of the coarse range; the
two lowest of the voltage are marks, not voltage. Packets of kind 1 and 2 carry zero and reference of the main channel:
fine in the first record, coarse in the second. The unit sends no stamps: every record is a slot of the sample period,
those of calibration packets as well (published hosts do not say; docs/meters/monsoon-serial.md).

Lost packets show as jumps of a four-bit sequence; how many records they held is estimated, so a Gap says lost = -1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drivers.monsoon.calibration import RING
from drivers.monsoon.fields import COARSE, FINE, RANGE_NAMES, SEQUENCE_MASK
from drivers.monsoon.serial_frames import DATA_HEAD, RECORD_BYTES, records_of
from harness.core.clock import Int64Array
from harness.core.errors import DeviceError
from harness.core.trace import Block, CalibrationPiece, Gap, IntColumn

MEASURED, ZERO, REFERENCE = 0, 1, 2
RECORD = np.dtype([("main", ">i2"), ("usb", ">i2"), ("aux", ">i2"), ("voltage", ">u2")])
COARSE_BIT = 1
VOLTAGE_MARKS = 3
TOP, BOTTOM, VOLTAGE_TOP = 32_766, -32_768, 65_532
CURRENT, RANGE, VOLTAGE = "main_current_raw", "main_range", "main_voltage_raw"


@dataclass(frozen=True)
class Layout:
    """What the protocol leaves open and a trial stretch tells. `trailing`: the last 8 bytes of a packet are no record;
    `period_ns`: of a record; `scale_a`: current at the reference, fine and coarse; `volt_per_count`: of the voltage.
    """

    trailing: bool
    period_ns: int
    scale_a: tuple[float, float]
    volt_per_count: float

    def records(self, payload: bytes) -> int:
        """Usable records of a data packet."""
        return max(0, records_of(payload) - int(self.trailing))


@dataclass(frozen=True)
class Decoded:
    """`block` without anchors; for each packet that was believed (K,) the end of its newest record and its arrival."""

    block: Block
    packet_end_ns: Int64Array
    arrival_ns: Int64Array
    repeats: int


@dataclass
class _Rings:
    """The last zeros and references by range, averaged."""

    kept: dict[int, tuple[deque[int], deque[int]]] = field(
        default_factory=lambda: {kind: (deque(maxlen=RING), deque(maxlen=RING)) for kind in (ZERO, REFERENCE)}
    )

    def add(self, kind: int, fine: int, coarse: int) -> None:
        for ring, code in zip(self.kept[kind], (fine, coarse & ~COARSE_BIT), strict=True):
            ring.append(code)

    @property
    def complete(self) -> bool:
        return all(ring for rings in self.kept.values() for ring in rings)

    def mean(self, kind: int, code: int) -> float:
        ring = self.kept[kind][code]
        return sum(ring) / len(ring)


class DataDecoder:
    """State that passes from step to step: slots, sequence, calibration. `first_slot`: where this start lies on the
    meter's clock."""

    def __init__(self, layout: Layout, *, first_slot: int = 0) -> None:
        self.layout = layout
        self.slots = first_slot
        self._rings = _Rings()
        self._sequence: int | None = None
        self._last = b""
        self._run = 0  # how often the last packet came again
        self._told = self._fresh = False  # the voltage's piece was handed on; calibration changed and was not

    @property
    def calibrated(self) -> bool:
        return self._rings.complete

    def decode(self, payloads: Sequence[bytes], arrival_ns: Int64Array) -> Decoded:
        """Data packets in order, with their host arrivals (K,) -> what they hold.

        DeviceError for a calibration that cannot be used.
        """
        kept, repeated, longest = self._without_repeats(payloads)
        layout, period = self.layout, self.layout.period_ns
        packets = [payloads[k] for k in kept]
        count = np.array([layout.records(p) for p in packets], np.int64)
        kind = np.array([p[1] for p in packets], np.int64)
        sequence = np.array([p[0] & SEQUENCE_MASK for p in packets], np.int64)
        missing = self._missing(sequence)
        estimate = missing * (count + np.concatenate([count[:1], count[:-1]])) // 2
        end = self.slots + np.cumsum(estimate + count)
        first = end - count
        if len(packets):
            self.slots = int(end[-1])

        data = kind == MEASURED
        rows_of = np.where(data, count, 0)
        rows = _records([p for p, is_data in zip(packets, data, strict=True) if is_data], count[data])
        inside = np.arange(len(rows)) - np.repeat(np.cumsum(count[data]) - count[data], count[data])
        slot = np.repeat(first[data], count[data]) + inside
        columns, saturated = _columns(rows)
        pieces, uncalibrated = self._calibrate(packets, kind, np.cumsum(rows_of) - rows_of, len(rows))
        counts = {
            "repeated_packets": repeated,
            "missing_packets": missing.sum(),
            "missing_samples_estimated": estimate.sum(),
            "zero_cal_samples": count[kind == ZERO].sum(),
            "ref_cal_samples": count[kind == REFERENCE].sum(),
            "invalid_samples": count[kind > REFERENCE].sum(),
            "saturated_samples": saturated,
            "uncalibrated_samples": uncalibrated,
        }
        gaps = [
            Gap(
                int(first[k] - estimate[k]) * period, int(first[k]) * period, -1,
                f"{int(missing[k])} packets missing (about {int(estimate[k])} samples)",
            )
            for k in np.flatnonzero(missing)
        ]  # fmt: skip
        block = Block(
            t_ns=(slot + 1) * period,
            columns=columns,
            calibration=pieces,
            gaps=gaps,
            counts={name: int(value) for name, value in counts.items() if value},
        )
        return Decoded(block, end * period, np.asarray(arrival_ns[kept], np.int64), longest)

    def _without_repeats(self, payloads: Sequence[bytes]) -> tuple[Int64Array, int, int]:
        """Indices of packets that are not the one before once more, how many were, and the longest run of these."""
        kept, longest = [], self._run
        for k, payload in enumerate(payloads):
            if payload == self._last:
                self._run += 1
                longest = max(longest, self._run)
            else:
                self._last, self._run = payload, 0
                kept.append(k)
        return np.array(kept, np.int64), len(payloads) - len(kept), longest

    def _missing(self, sequence: Int64Array) -> Int64Array:
        """Packets lost before each, as far as four bits tell."""
        if not len(sequence):
            return np.empty(0, np.int64)
        before = sequence[0] - 1 if self._sequence is None else self._sequence
        self._sequence = int(sequence[-1])
        return np.asarray(sequence - np.concatenate([[before], sequence[:-1]]) - 1 & SEQUENCE_MASK, np.int64)

    def _calibrate(
        self, packets: Sequence[bytes], kind: Int64Array, first_row: Int64Array, rows: int
    ) -> tuple[list[CalibrationPiece], int]:
        """Pieces that hold from the row after the packet that changed them, and rows before there was any."""
        pieces = [] if self._told or not rows else [CalibrationPiece(0, VOLTAGE, 0, self.layout.volt_per_count, 0.0)]
        self._told |= rows > 0
        uncalibrated = 0 if self._rings.complete else rows
        fresh: dict[int, list[CalibrationPiece]] = {}
        if self._fresh and rows:
            fresh[0], self._fresh = self._pieces(0), False
        for k in np.flatnonzero((kind == ZERO) | (kind == REFERENCE)).tolist():
            words = _records([packets[k]], np.array([records_of(packets[k])]))["main"]
            if len(words) < 2:
                continue
            was_complete = self._rings.complete
            self._rings.add(int(kind[k]), int(words[0]), int(words[1]))
            if self._rings.complete:
                if not was_complete:
                    uncalibrated = int(first_row[k])
                self._fresh = int(first_row[k]) >= rows
                if not self._fresh:
                    fresh[int(first_row[k])] = self._pieces(int(first_row[k]))
        return [*pieces, *(piece for at in sorted(fresh) for piece in fresh[at])], uncalibrated

    def _pieces(self, first_row: int) -> list[CalibrationPiece]:
        return [self._piece(code, first_row) for code in (FINE, COARSE)]

    def _piece(self, code: int, first_row: int) -> CalibrationPiece:
        zero, reference = self._rings.mean(ZERO, code), self._rings.mean(REFERENCE, code)
        if reference <= zero:
            raise DeviceError(
                f"calibration of the {RANGE_NAMES[code]} range is not usable: its reference reads {reference:.1f} "
                f"counts, its zero {zero:.1f}",
                hint="power-cycle the meter; if it stays so, the unit needs service",
            )
        return CalibrationPiece(first_row, CURRENT, code, self.layout.scale_a[code] / (reference - zero), zero)


def _records(packets: Sequence[bytes], count: Int64Array) -> npt.NDArray[np.void]:
    """The first `count` records of each packet, one behind the other."""
    body = b"".join(p[DATA_HEAD : DATA_HEAD + RECORD_BYTES * n] for p, n in zip(packets, count.tolist(), strict=True))
    return np.frombuffer(body, RECORD)


def _columns(rows: npt.NDArray[np.void]) -> tuple[dict[str, IntColumn], int]:
    main = rows["main"].astype(np.int32)
    coarse = (main & COARSE_BIT).astype(np.uint8)
    code = np.where(coarse, main & ~COARSE_BIT, main)
    volts = (rows["voltage"] & ~np.uint16(VOLTAGE_MARKS)).astype(np.uint16)
    ends = ((code >= TOP) & (coarse == COARSE)) | (code <= BOTTOM) | (volts >= VOLTAGE_TOP)
    return {CURRENT: code, RANGE: coarse, VOLTAGE: volts}, int(np.count_nonzero(ends))
