"""CounterMeter: an energy counter of the load in virtual time, sampled on the board that it is part of.

It has what makes counters awkward: it moves once a millisecond by its own clock, it is read a little late and by
sleeps that overshoot, its counts are coarse (61 uJ), it wraps, and it counts a share of the board only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drivers.simulated.rig.clocks import NS, DeviceClock
from drivers.simulated.rig.rig import Rig, Tap
from harness.core.clock import FloatArray, Int64Array
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.core.waiting import WaitClock

UNIT_J = 61.035e-6  # 2^-14 J, as kernels cut it
MODULUS = 1 << 32
UPDATE_NS = 1_000_000
POLL_NS = 5_000_000
GAIN_REL, OFFSET_W = 0.05, 0.5  # what the driver of RAPL assumes, since no vendor states it
MAX_POWER_W = 2000.0
_JITTER_NS = 50_000  # of an update (Haehnel et al. 2012)
_HANDED_ON_NS = 20_000_000  # reads younger than this are still to come
_WRAPS_WITHIN_J = 800.0


class CounterMeter:
    """Implements StreamingMeter on a virtual clock. `share`: of the load that the zone counts.

    `stamp`: host ns (K,) -> ns of the board's clock `clock_name`, on which readings are stamped. Its gain and its
    zero are drawn for `name`, in units of the limits that its sheet states; it never runs backwards.
    """

    buffer_s = 4.0

    def __init__(
        self, rig: Rig, name: str, *, clock: WaitClock, stamp: Callable[[Int64Array], Int64Array], clock_name: str,
        share: float,
    ) -> None:  # fmt: skip
        self._rig, self._clock, self._stamp, self._clock_name = rig, clock, stamp, clock_name
        self._world = rig.world.meter(name)
        self._name, self._share = name, share
        self._rng = np.random.default_rng([rig.world.seed, *name.encode(), 4])
        self._first_count = MODULUS - int(self._rng.uniform(0, _WRAPS_WITHIN_J) / UNIT_J)
        self._tap: Tap | None = None
        self._first_block = True

    @property
    def recovered(self) -> bool:
        return False

    def open(self) -> MeterInfo:
        reading = Reading(ReadingKind.COUNTER, POLL_NS, POLL_NS)
        accuracy = Accuracy(GAIN_REL, OFFSET_W, source="rig: assumed limits of the simulated energy counter")
        channel = ChannelSpec(
            "package-0", "energy_j", ("energy",), reading, accuracy, modulus_raw=MODULUS, max_power_w=MAX_POWER_W
        )
        return MeterInfo(
            "counter", "rig energy counter", f"counter-{self._name}", "1", self._clock_name,
            (ColumnSpec("energy", "J"),), (channel,), simulated=True,
        )  # fmt: skip

    def start(self) -> None:
        now = self._clock.now_ns()
        self._tap = self._rig.tap(now)
        self._start_ns, self._reads, self._last_read_ns, self._last_count = now, 0, now, 0
        self._updates = DeviceClock.of(self._world, now)
        self._start_j = float(self._tap.energy_at(np.array([float(now)]), at_load=True)[0])
        self._first_block = True

    def step(self, until_ns: int) -> Block | None:
        return self._taken(until_ns - _HANDED_ON_NS)

    def _taken(self, until_ns: int) -> Block | None:
        """Reads whose beat lies before `until_ns`."""
        n = (until_ns - self._start_ns) // POLL_NS - self._reads
        if self._tap is None or n <= 0:
            return None
        beat = self._start_ns + (self._reads + 1 + np.arange(n, dtype=np.int64)) * POLL_NS
        after = np.maximum.accumulate(np.r_[self._last_read_ns, beat + self._overslept(n)])
        read_ns = after[1:][np.diff(after) > 0]  # who oversleeps several beats reads once
        self._reads += n
        if len(read_ns) == 0:
            return None
        self._last_read_ns = int(read_ns[-1])
        counts = self._counts(read_ns)
        block = Block(
            self._stamp(read_ns),
            {"energy": (self._first_count + counts) % MODULUS},
            (CalibrationPiece(0, "energy", 0, UNIT_J, 0.0),) if self._first_block else (),
            anchors=np.stack([self._stamp(read_ns[-1:]), read_ns[-1:]], 1),
        )
        self._first_block = False
        return block

    def _overslept(self, n: int) -> Int64Array:
        """How much later than its beat a read is, ns; never as much as `_HANDED_ON_NS`."""
        board = self._rig.world.board
        late_s = board.overshoot_s * board.overshoot_factor ** self._rng.standard_normal(n)
        long = self._rng.random(n) < board.long_overshoot_p
        late_s += np.where(long, self._rng.uniform(0.001, 0.01, n), 0.0)
        return np.asarray(np.rint(np.minimum(late_s * NS, 0.9 * _HANDED_ON_NS)), np.int64)

    def _counts(self, read_ns: Int64Array) -> Int64Array:
        """Whole units since the start that the counter shows at these host times: those of its last update."""
        assert self._tap is not None
        own = age = (read_ns - self._start_ns).astype(np.float64)
        for _ in range(3):  # its clock at the read: off by half a per cent at most, so this converges at once
            own = own + age - (self._updates.host_ns(own) - self._start_ns)
        number = np.maximum(np.floor(own / UPDATE_NS), 0.0)
        moved_ns = self._updates.host_ns(number * UPDATE_NS) + self._rng.uniform(0, _JITTER_NS, len(number))
        moved_ns = np.maximum.accumulate(np.minimum(moved_ns, read_ns))
        load_j: FloatArray = self._tap.energy_at(moved_ns, at_load=True) - self._start_j
        self._tap.done(int(moved_ns[0]) - UPDATE_NS)
        gain = 1 + GAIN_REL * self._world.gain_over_spec
        zero_j = OFFSET_W * self._world.zero_over_spec * (moved_ns - self._start_ns) / NS
        counts = np.floor((load_j * self._share * gain + zero_j) / UNIT_J).astype(np.int64)
        counts = np.maximum.accumulate(np.r_[self._last_count, counts])[1:]
        self._last_count = int(counts[-1])
        return np.asarray(counts, np.int64)

    def stop(self) -> Block | None:
        block = self._taken(self._clock.now_ns() - _HANDED_ON_NS)
        self.close()
        return block

    def close(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._tap = None
