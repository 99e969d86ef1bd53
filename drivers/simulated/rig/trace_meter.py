"""TraceMeter: a generic streaming meter in virtual time, straight from a front, for campaigns of many worlds.

It speaks no wire protocol; what it hands on has the form of any streaming meter's blocks: 16-bit raw
integers with a calibration, lost samples as gaps, anchors whose host time is late by the transport.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from harness.core.clock import FloatArray, Int64Array, meter_clock
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.core.waiting import WaitClock

SCALE_A, OFFSET_RAW = 1.6e-4, 1000.0
SCALE_V = 2.5e-4
_ANCHOR_NS = 20_000_000

UInt16Array = npt.NDArray[np.uint16]


class TraceMeter:
    """Implements StreamingMeter on a virtual clock. `name` selects its draw of imperfections."""

    buffer_s = 4.0

    def __init__(self, rig: Rig, name: str, *, clock: WaitClock, spec: FrontSpec | None = None) -> None:
        self._rig, self._name, self._clock = rig, name, clock
        self._spec = spec if spec is not None else FrontSpec(ranged=True)
        self._front: StreamingFront | None = None
        seeds = [rig.world.seed, *name.encode()]
        self._rng, self._late_rng = np.random.default_rng([*seeds, 3]), np.random.default_rng([*seeds, 8])
        self._first_block = True

    @property
    def recovered(self) -> bool:
        return False

    def open(self) -> MeterInfo:
        spec = self._spec
        reading = Reading(ReadingKind.MEAN, spec.period_ns, spec.period_ns)
        accuracy = Accuracy(spec.gain_rel, spec.offset_w, noise_w=0.01, source="rig: limits of the simulated front")
        full_w = spec.full_scale_a * self._rig.world.supply.voltage_v
        channel = ChannelSpec("main", "power_w", ("current", "voltage"), reading, accuracy, max_power_w=full_w)
        serial = f"trace-{self._name}"
        return MeterInfo(
            "trace", "rig trace meter", serial, "1", meter_clock(serial),
            (ColumnSpec("current", "A"), ColumnSpec("voltage", "V")), (channel,),
            simulated=True,
        )  # fmt: skip

    def start(self) -> None:
        self._front = StreamingFront(self._rig, self._name, start_ns=self._clock.now_ns(), spec=self._spec)
        self._first_block = True

    def step(self, until_ns: int) -> Block | None:
        if self._front is None:
            return None
        first = self._front.slot
        current, voltage = self._front.take(until_ns)
        if len(current) == 0:
            return None
        t_ns = (first + 1 + np.arange(len(current), dtype=np.int64)) * self._spec.period_ns
        columns = self._converted(current, voltage)
        kept, gaps = self._losses(t_ns)
        calibration = self._calibration() if self._first_block else ()
        self._first_block = False
        lost = int(np.count_nonzero(~kept))
        return Block(
            t_ns[kept], {k: v[kept] for k, v in columns.items()}, calibration, gaps, self._anchors(t_ns, until_ns),
            {"lost": lost} if lost else {},
        )  # fmt: skip

    def _converted(self, current_a: FloatArray, voltage_v: FloatArray) -> dict[str, UInt16Array]:
        """Raw columns (K,) of what the front saw."""
        return {
            "current": np.clip(np.rint(current_a / SCALE_A + OFFSET_RAW), 0, 65535).astype(np.uint16),
            "voltage": np.clip(np.rint(voltage_v / SCALE_V), 0, 65535).astype(np.uint16),
        }

    def _calibration(self) -> tuple[CalibrationPiece, ...]:
        return (
            CalibrationPiece(0, "current", 0, SCALE_A, OFFSET_RAW),
            CalibrationPiece(0, "voltage", 0, SCALE_V, 0.0),
        )

    def _losses(self, t_ns: Int64Array) -> tuple[npt.NDArray[np.bool_], list[Gap]]:
        """Which rows survive, and the gaps between them; bursts of 1-30 readings are lost."""
        kept = np.ones(len(t_ns), bool)
        gaps: list[Gap] = []
        p = self._front.world.loss_p if self._front is not None else 0.0
        bursts = self._rng.poisson(p * len(t_ns))
        last = 0
        for begin in np.sort(self._rng.integers(1, max(2, len(t_ns) - 31), bursts)).tolist():
            if begin <= last or begin >= len(t_ns):
                continue
            end = min(len(t_ns), begin + int(self._rng.integers(1, 31)))
            kept[begin:end] = False
            gaps.append(Gap(int(t_ns[begin - 1]), int(t_ns[end - 1]), end - begin, "lost on the way"))
            last = end
        return self._switches(t_ns, kept, gaps)

    def _switches(
        self, t_ns: Int64Array, kept: npt.NDArray[np.bool_], gaps: list[Gap]
    ) -> tuple[npt.NDArray[np.bool_], list[Gap]]:
        """The same without the readings that are lost while the range is switched."""
        count = round(self._front.world.range_lost) if self._front is not None and self._spec.ranged else 0
        if count == 0 or self._front is None or not self._front.switched.any():
            return kept, gaps
        lost = np.zeros(len(kept) + count, bool)
        rows = np.flatnonzero(self._front.switched)
        for k in range(count):
            lost[rows + k] = True
        lost = lost[: len(kept)]
        lost[0] = False
        kept = kept & ~lost
        edges = np.flatnonzero(np.diff(np.concatenate([[False], ~kept, [False]])))
        reason = {gap.begin_ns: gap.reason for gap in gaps}
        found = [
            Gap(int(t_ns[a - 1]), int(t_ns[b - 1]), b - a, reason.get(int(t_ns[a - 1]), "range switched"))
            for a, b in edges.reshape(-1, 2).tolist()
        ]
        return kept, found

    def _anchors(self, t_ns: Int64Array, until_ns: int) -> Int64Array:
        """(A, 2) pairs (meter time, host arrival); arrival is never before the reading was made."""
        assert self._front is not None
        world = self._front.world
        every = max(1, _ANCHOR_NS // self._spec.period_ns)
        meter_ns = t_ns[every - 1 :: every] if len(t_ns) >= every else t_ns[-1:]
        true_ns = self._front.clock.host_ns(meter_ns.astype(np.float64))
        n = len(meter_ns)
        delay_s = 2e-4 + world.burst_s * self._rng.random(n)
        delay_s += np.where(self._late_rng.random(n) < world.late_burst_p, world.late_burst_s, 0.0)
        host_ns = np.rint(true_ns + delay_s * 1e9).astype(np.int64)
        return np.stack([meter_ns, host_ns], 1)

    def stop(self) -> Block | None:
        block = self.step(self._clock.now_ns())
        self.close()
        return block

    def close(self) -> None:
        if self._front is not None:
            self._front.close()
            self._front = None
