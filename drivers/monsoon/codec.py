"""Sample packets -> blocks: pure, vectorised over a batch of packets, no transport and no clock of its own.

Time. The unit sends no stamps, it fills slots of 200 us. Every slot counts: measurements, calibration
samples, invalid samples and the samples it says it dropped. Reading i ends at (slot + 1) * 200 us. A
calibration or invalid sample leaves a hole of one period in `t_ns` (no Gap object: there are thousands);
lost samples are a Gap.

Damage. A packet that is the one before it, byte for byte, is left out; so is a count of dropped samples by which a
sample would have been taken after its packet arrived (given arrivals and the start of sampling).

Loss. `droppedCount` rises by what the unit dropped; a jump of the 4-bit sequence means packets lost
between unit and host, whose samples can only be estimated (1 to 3 each; here as many as in the packets
around), so that Gap says lost = -1. What a unit drops is placed before the packet that first shows it. After a loss
longer than the unit's FIFO, up to 16 measurements of that FIFO may be older than the loss: these are withdrawn
(`unplaced_samples`) rather than dated wrongly.

Before the rings of a channel are full its rows come out without calibration and read NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drivers.monsoon.calibration import Calibration, RangeScales
from drivers.monsoon.fields import (
    AT_VOLTAGE_BIT,
    FIFO_DEPTH,
    HEADER,
    HEADER_BYTES,
    MAX_OBS,
    MEASUREMENT,
    OBS_BYTES,
    OVERCURRENT_BIT,
    PERIOD_NS,
    SEQUENCE_MASK,
    TYPE_MASK,
    VOLT_PER_COUNT,
    SampleType,
)
from drivers.monsoon.models import HVPM_MODEL, Model, code_ends
from harness.core.clock import Int64Array
from harness.core.trace import Block, CalibrationPiece, Gap, IntColumn

BoolArray = npt.NDArray[np.bool_]
Observations = npt.NDArray[np.void]  # of dtype MEASUREMENT
FULL_SCALE = 65_535
AHEAD_NS = 50_000_000  # by which a unit's start may lie before the host's stamp of it, generously
RATE_LIMIT = 1e-3  # by which a unit's clock may be fast, generously
_MEASUREMENT, _ZERO_CAL, _INVALID, _REF_CAL = (int(kind) for kind in SampleType)  # plain: faster against arrays


@dataclass(frozen=True)
class Decoded:
    """`block` without anchors; for each packet (K,) the end of its newest slot, and whether it was well formed.

    `repeats`: how often one packet came again without another between, at most; over batches.
    """

    block: Block
    packet_end_ns: Int64Array
    well_formed: BoolArray
    overcurrent: bool
    repeats: int = 0


@dataclass(frozen=True)
class _Packets:
    """Headers of the well-formed packets of a batch (columns of equal length), and where each lies in slots."""

    flags: Int64Array
    obs: Int64Array  # as the header says
    usable: Int64Array  # complete within the packet
    dropped: Int64Array  # samples lost in the unit since the packet before
    missing: Int64Array  # packets lost on the way since the packet before
    estimate: Int64Array  # samples in those
    before_slot: Int64Array  # end of the packet before
    first_slot: Int64Array
    end_slot: Int64Array
    impossible: int  # counts of dropped samples that were not believed


class _Present:
    """How many slots a unit can have filled when a packet arrives: those since its start, and what its clock gains."""

    def __init__(self, first_slot: int, start_ns: int) -> None:
        self._lead_ns, self._at_ns = first_slot * PERIOD_NS - start_ns, start_ns

    def check(self, dropped: Int64Array, without: Int64Array, arrival_ns: Int64Array) -> int:
        """Set to 0 the entries of `dropped` (K,) by which a packet would come from the future; how many these were.

        `without`: ends of the packets (K,) in slots if nothing was dropped in this batch.
        """
        believed = impossible = 0
        for k in np.flatnonzero(dropped):
            gained_ns = AHEAD_NS + RATE_LIMIT * (int(arrival_ns[k]) - self._at_ns)
            lead_ns = int(without[k] + believed + dropped[k]) * PERIOD_NS - int(arrival_ns[k])
            if lead_ns > self._lead_ns + gained_ns:
                dropped[k] = 0
                impossible += 1
            believed += int(dropped[k])
        if len(dropped):
            lead_ns = int(without[-1] + believed) * PERIOD_NS - int(arrival_ns[-1])
            if lead_ns > self._lead_ns:
                self._lead_ns, self._at_ns = lead_ns, int(arrival_ns[-1])
        return impossible


class PacketDecoder:
    """State that passes from batch to batch: slot count, counters, calibration rings.

    `channels`: names of those of `model`; `aux_signed`: read the aux words as s16 (manual) instead of u16 (code);
    `first_slot`: where this start of sampling lies on the meter's clock; `start_ns`: when that was on the host's.
    """

    def __init__(
        self, channels: Sequence[str], scales: RangeScales, *, aux_signed: bool = False, first_slot: int = 0,
        start_ns: int | None = None, model: Model = HVPM_MODEL,
    ) -> None:  # fmt: skip
        self.channels = tuple(channels)
        self.calibration = Calibration(self.channels, scales)
        self.slots = first_slot
        self._aux_signed, self._model = aux_signed, model
        self._before: tuple[int, int, int] | None = None  # counter, sequence, obs of the packet before
        self._last: npt.NDArray[np.uint8] | None = None  # that packet, well formed or not
        self._repeats = self._run = 0  # how often one came again: the longest run of the batch, and the last one
        self._present = None if start_ns is None else _Present(first_slot, start_ns)
        self._unplaced = 0  # observations still to be withdrawn
        self._fresh: set[str] = set()  # channels whose calibration changed since their last row
        self._told = False  # the constant voltage pieces have been handed on

    def decode(
        self, slots: npt.NDArray[np.uint8], lengths: npt.ArrayLike, arrival_ns: Int64Array | None = None
    ) -> Decoded:
        """(K, 64) uint8, lengths (K,) and host arrivals (K,), if known -> what they hold, whatever the bytes are.

        Raises DeviceError only for calibration samples that cannot be used.
        """
        complete = (np.asarray(lengths, np.int64) - HEADER_BYTES) // OBS_BYTES
        said = slots[:, 3]
        repeated = self._repeated(slots)
        damaged = (complete < 0) | (said < 1) | (said > MAX_OBS)
        well_formed = ~damaged & ~repeated
        kept = slots[well_formed]
        arrived = arrival_ns[well_formed] if arrival_ns is not None else None
        strays = self.calibration.strays
        packets = self._place(kept, complete[well_formed], arrived)
        present = np.arange(MAX_OBS) < packets.usable[:, None]
        slot = (packets.first_slot[:, None] + np.arange(MAX_OBS))[present]
        body = kept[:, HEADER_BYTES : HEADER_BYTES + MAX_OBS * OBS_BYTES].reshape(-1, MAX_OBS, OBS_BYTES)[present]
        obs: Observations = np.ascontiguousarray(body).view(MEASUREMENT)[:, 0]
        kind = obs["main_gain"] & TYPE_MASK
        unplaced = self._withdraw(packets, len(obs))
        row = (kind == _MEASUREMENT) & ~unplaced
        of_type = np.bincount(kind >> 4, minlength=4)
        rows = int(np.count_nonzero(row))

        columns, saturated = self._columns(obs[row])
        calibration, uncalibrated = self._calibrate(obs, kind, row, rows)
        counts = {
            "malformed_packets": np.count_nonzero(damaged & ~repeated),
            "repeated_packets": np.count_nonzero(repeated),
            "impossible_drop_counts": packets.impossible,
            "stray_calibration_codes": self.calibration.strays - strays,
            "short_packets": np.count_nonzero(packets.usable < packets.obs),
            "missing_packets": packets.missing.sum(),
            "missing_samples_estimated": packets.estimate.sum(),
            "dropped_samples": packets.dropped.sum() + (packets.obs - packets.usable).sum(),
            "zero_cal_samples": of_type[_ZERO_CAL >> 4],
            "ref_cal_samples": of_type[_REF_CAL >> 4],
            "invalid_samples": of_type[_INVALID >> 4],
            "unplaced_samples": of_type[_MEASUREMENT >> 4] - rows,
            "not_at_voltage_packets": np.count_nonzero(packets.flags & AT_VOLTAGE_BIT == 0),
            "saturated_samples": saturated,
            "uncalibrated_samples": uncalibrated,
        }
        block = Block(
            t_ns=(slot[row] + 1) * PERIOD_NS,
            columns=columns,
            calibration=calibration,
            gaps=_gaps(packets),
            counts={name: int(count) for name, count in counts.items() if count},
        )
        end_ns = np.zeros(len(slots), np.int64)
        end_ns[well_formed] = packets.end_slot * PERIOD_NS
        over = bool(np.any(packets.flags & OVERCURRENT_BIT))
        return Decoded(block, end_ns, well_formed, over, self._repeats)

    def _repeated(self, slots: npt.NDArray[np.uint8]) -> BoolArray:
        """Packets (K,) that are the one before them once more: a converter's noise never repeats itself."""
        repeated = np.zeros(len(slots), np.bool_)
        if not len(slots):
            return repeated
        before = np.roll(slots, 1, axis=0)
        if self._last is not None:
            before[0] = self._last
        used = np.arange(slots.shape[1]) < HEADER_BYTES + OBS_BYTES * np.clip(slots[:, 3:4], 1, MAX_OBS)
        repeated[:] = ((slots == before) | ~used).all(axis=1)
        repeated[0] &= self._last is not None
        self._last = slots[-1].copy()
        edges = np.r_[-1 - self._run, np.flatnonzero(~repeated), len(slots)]
        runs = np.diff(edges) - 1
        self._repeats, self._run = int(runs.max()), int(runs[-1])
        return repeated

    def _place(self, kept: npt.NDArray[np.uint8], complete: Int64Array, arrival_ns: Int64Array | None) -> _Packets:
        """Read the headers and number the slots."""
        head = np.ascontiguousarray(kept[:, :HEADER_BYTES]).view(HEADER)[:, 0]
        flags, obs = head["flags"].astype(np.int64), head["obs"].astype(np.int64)
        counter, sequence = head["dropped"].astype(np.int64), flags & SEQUENCE_MASK
        if len(kept) and self._before is None:
            self._before = (int(counter[0]), int(sequence[0]) - 1, int(obs[0]))
        counter_before, sequence_before, obs_before = self._before or (0, 0, 0)
        dropped = counter - _shifted(counter, counter_before) & 0xFFFF
        missing = sequence - _shifted(sequence, sequence_before) - 1 & SEQUENCE_MASK
        estimate = missing * (obs + _shifted(obs, obs_before)) // 2
        impossible = 0
        if self._present is not None and arrival_ns is not None:
            impossible = self._present.check(dropped, self.slots + np.cumsum(estimate + obs), arrival_ns)
        end = self.slots + np.cumsum(dropped + estimate + obs)
        before = _shifted(end, self.slots)
        if len(kept):
            self._before = (int(counter[-1]), int(sequence[-1]), int(obs[-1]))
            self.slots = int(end[-1])
        return _Packets(
            flags, obs, np.minimum(obs, complete), dropped, missing, estimate, before, end - obs, end, impossible
        )

    def _withdraw(self, packets: _Packets, total: int) -> BoolArray:
        """Observations (M,) that may be older than the loss shown by their packet."""
        mask = np.zeros(total, np.bool_)
        mask[: self._unplaced] = True
        left = max(0, self._unplaced - total)
        first_obs = np.cumsum(packets.usable) - packets.usable
        for begin in first_obs[packets.dropped > FIFO_DEPTH]:
            mask[begin : begin + FIFO_DEPTH] = True
            left = max(left, int(begin) + FIFO_DEPTH - total)
        self._unplaced = left
        return mask

    def _columns(self, obs: Observations) -> tuple[dict[str, IntColumn], int]:
        """Raw columns of the chosen channels, and how many rows stand at full scale."""
        columns: dict[str, IntColumn] = {}
        saturated = np.zeros(len(obs), np.bool_)
        for name in self.channels:
            fields = self._model.channels[name]
            fine, coarse = self._codes(obs, name)
            is_coarse = fine >= fields.threshold
            bottom, top = code_ends(signed=self._signed(name))
            columns[f"{name}_current_raw"] = np.where(is_coarse, coarse, fine)
            columns[f"{name}_range"] = is_coarse.astype(np.uint8)
            columns[f"{name}_voltage_raw"] = obs[fields.voltage_field].astype(np.uint16)
            saturated |= (is_coarse & (coarse >= top)) | (columns[f"{name}_voltage_raw"] == FULL_SCALE)
            saturated |= ~is_coarse & (fine <= bottom)
        return columns, int(np.count_nonzero(saturated))

    def _signed(self, channel: str) -> bool:
        return self._model.signed or (self._aux_signed and channel == "aux")

    def _codes(self, obs: Observations, channel: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """(fine, coarse) codes as int32 (M,)."""
        fine, coarse = obs[f"{channel}_fine"], obs[f"{channel}_coarse"]
        if self._signed(channel):
            fine, coarse = fine.astype(np.uint16).view(np.int16), coarse.astype(np.uint16).view(np.int16)
        return fine.astype(np.int32), coarse.astype(np.int32)

    def _calibrate(
        self, obs: Observations, kind: npt.NDArray[np.integer], row: BoolArray, rows: int
    ) -> tuple[list[CalibrationPiece], int]:
        """Feed the rings in order; pieces hold from the first row after the sample that changed them.

        Also returns how many rows came before the rings of all channels were full.
        """
        pieces = self._voltage_pieces() if rows else []
        uncalibrated = rows if self.calibration.missing() else 0
        samples = np.flatnonzero((kind == _ZERO_CAL) | (kind == _REF_CAL))
        first_rows = [*np.cumsum(row)[samples].tolist(), rows] if len(samples) else [rows]
        if first_rows[0] > 0:
            pieces += self._fresh_pieces(0)
        for sample, first_row, following in zip(samples, first_rows[:-1], first_rows[1:], strict=True):
            codes = {name: tuple(int(c[0]) for c in self._codes(obs[[sample]], name)) for name in self.channels}
            was_missing = bool(self.calibration.missing())
            self._fresh |= self.calibration.add(SampleType(int(kind[sample])), codes)
            if was_missing and not self.calibration.missing():
                uncalibrated = first_row
            if first_row < following:
                pieces += self._fresh_pieces(first_row)
        return pieces, uncalibrated

    def _voltage_pieces(self) -> list[CalibrationPiece]:
        """The constant scales of the voltage columns, once."""
        names = () if self._told else self.channels
        self._told = True
        return [
            CalibrationPiece(
                0, f"{name}_voltage_raw", 0, VOLT_PER_COUNT * self._model.channels[name].voltage_divider, 0.0
            )
            for name in names
        ]

    def _fresh_pieces(self, first_row: int) -> list[CalibrationPiece]:
        """Pieces of the channels whose calibration changed since they were last told."""
        names = [name for name in self.channels if name in self._fresh]
        self._fresh.clear()
        return [piece for name in names for piece in self.calibration.pieces(name, first_row)]


def _shifted(column: Int64Array, first: int) -> Int64Array:
    """What stood before each entry: `first`, then all but the last."""
    before = np.empty_like(column)
    before[:1] = first
    before[1:] = column[:-1]
    return before


def _gaps(packets: _Packets) -> list[Gap]:
    """One Gap for each stretch of lost samples, in order of time."""
    gaps: list[Gap] = []
    lossy = (packets.first_slot > packets.before_slot) | (packets.usable < packets.obs)
    for k in np.flatnonzero(lossy):
        before, first, end = (int(x[k]) for x in (packets.before_slot, packets.first_slot, packets.end_slot))
        dropped, missing, usable = (int(x[k]) for x in (packets.dropped, packets.missing, packets.usable))
        if first > before:
            withdrawn = FIFO_DEPTH if dropped > FIFO_DEPTH else 0
            reasons = [f"unit dropped {dropped} samples"] if dropped else []
            reasons += [f"{missing} packets missing (about {first - before - dropped} samples)"] if missing else []
            reasons += [f"{withdrawn} samples withdrawn: older or newer than the loss"] if withdrawn else []
            gaps.append(
                Gap(before * PERIOD_NS, (first + withdrawn) * PERIOD_NS, -1 if missing else dropped, "; ".join(reasons))
            )
        if first + usable < end:
            lost = end - first - usable
            gaps.append(Gap((end - lost) * PERIOD_NS, end * PERIOD_NS, lost, f"packet cut short by {lost} samples"))
    return gaps


class AnchorPicker:
    """Pairs (meter time, host arrival), at most one each 50 ms: of each stretch the packet that came soonest.

    Arrival is late by the transport, never early, so the smallest delay of a stretch says most.
    """

    def __init__(self, window_ns: int = 50_000_000) -> None:
        self._window_ns = window_ns
        self._best: tuple[int, int] | None = None

    def pick(self, end_ns: Int64Array, arrival_ns: Int64Array) -> Int64Array:
        """Meter and host time of packets (K,) in order -> anchors (A, 2) of the stretches now complete."""
        if self._best is not None:
            end_ns = np.concatenate([[self._best[0]], end_ns])
            arrival_ns = np.concatenate([[self._best[1]], arrival_ns])
        if not len(end_ns):
            return np.empty((0, 2), np.int64)
        window = end_ns // self._window_ns
        order = np.lexsort((arrival_ns - end_ns, window))
        first = np.flatnonzero(np.diff(window[order], prepend=-1))
        best = np.stack([end_ns, arrival_ns], axis=1)[order[first]]
        self._best = (int(best[-1, 0]), int(best[-1, 1]))
        return np.asarray(best[:-1], np.int64)

    def flush(self) -> Int64Array:
        """The anchor of the stretch still open."""
        left = [self._best] if self._best else []
        self._best = None
        return np.array(left, np.int64).reshape(-1, 2)
