"""Power of the load above standby as a closed form between edges, so that energies are exact at any time.

After a busy stretch the power falls to the gap level (time constant fall_s), is held there for hold_s and
then falls to zero. At the onset of work a part of the step is immediate and the rest rises with rise_s;
within the stretch the power follows the model's layers. Every segment is
    p(u) = linear + amplitude * exp(-u / tau) + profile(u / duration)
whose integral is known, so `cumulative` is exact: no grid, no edge is ever rounded to one. Where kernels are drawn
instance by instance, the profile is a curve of its own over the inferences laid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from drivers.simulated.rig.kernels import Instances
from drivers.simulated.rig.workload import Workload
from drivers.simulated.rig.world import World
from harness.core.clock import FloatArray, Int64Array

BoolArray = npt.NDArray[np.bool_]
_FIELDS = ("begin", "base", "linear", "amplitude", "tau", "profile", "duration", "workload")
_CURVE = -1.0  # in the column of the workload: the profile is on the curve of kernels
_COLUMN = {name: column for column, name in enumerate(_FIELDS)}


class Kind(IntEnum):
    """What a busy stretch was."""

    INFERENCE = 0
    CHIP = 1  # a marker's spin
    FLAT = 2  # longer than the latency: played before its end was known, without layers


@dataclass(frozen=True)
class Laid:
    """Stretches as they were laid down; all (n,), seconds and joules.

    [own_begin_s, own_end_s] is the time that belongs to the stretch: from its begin edge (or the end of the
    work before it) to the end of its work. `excess_j`: realised minus expected energy of its work, where
    the factors of process start and instance stand at 1. `drawn`: the kernels of inferences that have some, with
    `kernel_excess_j`, (n, L + 1), the excess of each and of what lies outside them.
    """

    own_begin_s: FloatArray
    own_end_s: FloatArray
    excess_j: FloatArray
    drawn: Instances | None = None
    kernel_excess_j: FloatArray | None = None


class LoadCurve:
    """Energy of the load above standby since the rig's origin, built stretch by stretch in order of time."""

    def __init__(self, world: World, first: Workload) -> None:
        self._load = world.load
        self._seed = world.seed
        self._idle_w = world.standby.idle_w
        self._workloads = [first]
        self._lag = np.random.default_rng([world.seed, 11])
        self._instance = np.random.default_rng([world.seed, 12])
        self._kernels = np.random.default_rng([world.seed, 14])
        self._stalls = np.random.default_rng([world.seed, 15])
        self._start_factor = 1.0
        self._curve_s: FloatArray = np.zeros(1)  # the profiles of all inferences laid with kernels, end to end
        self._curve_j: FloatArray = np.zeros(1)
        self._new_curves: list[Instances] = []
        self._curve_end_j = 0.0
        self._segments = np.zeros((1, len(_FIELDS)))
        self._segments[0, _COLUMN["tau"]] = 1.0
        self._new: list[FloatArray] = []
        self._end_s = 0.0  # end of the last work; the tail after it is not laid before it is known
        self._end_edge_s = -math.inf
        self._end_j = 0.0
        self._power = (0.0, 0.0)  # at the end of the last work: realised, expected
        self._held_w = 0.0  # level of the gap after the last work, fixed when it ended
        self._open: tuple[float, float, float, float, float] | None = None

    # --- what is being run ------------------------------------------------------------------------

    @property
    def workload(self) -> Workload:
        return self._workloads[-1]

    def announce(self, workload: Workload) -> None:
        self._workloads.append(workload)

    def begin_process(self, number: int) -> None:
        """A new process of the agent: its level (constant within it) is drawn."""
        z = np.random.default_rng([self._seed, 13, number]).standard_normal()
        self._start_factor = 1.0 + self._load.start_sd * float(np.clip(z, -4, 4))

    def gap_w(self, level_w: FloatArray) -> FloatArray:
        """Power above standby that is held in the gap after work of this level (K,) above standby."""
        held = self._load.gap_over_active * (self._idle_w + level_w) - self._idle_w
        return np.maximum(held, 0.01 * level_w)

    @property
    def end_s(self) -> float:
        """End of the last work laid."""
        return self._end_s

    # --- laying stretches --------------------------------------------------------------------------

    def stalls_s(self, n: int) -> FloatArray:
        """By how much the kernels of the next n inferences are stretched, (n, L); (n, 0) without kernels."""
        course = self.workload.course
        return np.zeros((n, 0)) if course is None else course.stalls_s(self._stalls, n)

    def add(self, begin_s: FloatArray, end_s: FloatArray, kind: Int64Array, stalls_s: FloatArray | None = None) -> Laid:
        """Lay closed stretches (n,), in order and after all before them.

        `stalls_s`: from `stalls_s`, if the durations of these inferences contain them; None: some are drawn.
        """
        onset, level, expected = self._prepare(begin_s, end_s - begin_s, kind)
        onset, work_end = self._work(begin_s, end_s, onset)
        before = np.concatenate([[self._end_s], work_end[:-1]])
        own_begin = np.maximum(begin_s, before)
        layered = np.asarray(kind == int(Kind.INFERENCE))  # a spin draws the same power throughout
        drawn = None
        if self.workload.course is not None and layered.all():
            stalls_s = self.stalls_s(len(begin_s)) if stalls_s is None else stalls_s
            drawn = Instances.drawn(self.workload.course, own_begin, work_end, level, expected, stalls_s, self._kernels)
        excess, of_kernels = self._lay(onset, work_end, level, expected, layered=layered, drawn=drawn)
        self._end_edge_s = float(end_s[-1])
        return Laid(own_begin, work_end, excess, drawn, of_kernels)

    def open(self, begin_s: float) -> float:
        """Begin a stretch whose end is not known yet; it will have no layers. Returns its own begin."""
        no_duration = np.array([math.inf])
        onset, level, expected = self._prepare(np.array([begin_s]), no_duration, np.array([int(Kind.FLAT)]))
        own_begin = max(begin_s, self._end_s)
        self._open = (max(float(onset[0]), own_begin), float(level[0]), float(expected[0]), own_begin, begin_s)
        return own_begin

    def close(self, end_s: float) -> Laid:
        """End the open stretch."""
        assert self._open is not None, "close without open"
        onset, level, expected, own_begin, begin_s = self._open
        self._open = None
        end_s = max(end_s, onset + 1e-6)
        late = min(self._load.late_end_s, 0.3 * (end_s - begin_s))
        arrays = [np.array([x]) for x in (onset, end_s + late, level, expected)]
        excess, _ = self._lay(*arrays, layered=np.zeros(1, bool), drawn=None)
        self._end_edge_s = end_s
        return Laid(np.array([own_begin]), arrays[1], excess)

    def _prepare(
        self, begin_s: FloatArray, duration_s: FloatArray, kind: Int64Array
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Onset by the lag alone, and mean level (realised, expected) of each stretch, W above standby."""
        load, n = self._load, len(begin_s)
        lag = load.onset_lag_s * load.onset_lag_factor ** self._lag.standard_normal(n)
        onset = begin_s + np.minimum(lag, 0.5 * duration_s)
        ends = np.concatenate([[self._end_edge_s], begin_s[1:]])
        ends[1:] = begin_s[:-1] + duration_s[:-1]
        rest = np.maximum(begin_s - ends, 0.0)
        gained = 1.0 + load.gap_gain * -np.expm1(-rest / load.gap_gain_tau_s)
        is_chip = kind == int(Kind.CHIP)
        expected = self.workload.dynamic_w * np.where(is_chip, load.spin_factor, gained)
        noise = 1.0 + load.instance_sd * np.clip(self._instance.standard_normal(n), -4, 4)
        return onset, expected * noise * self._start_factor, expected

    def _work(self, begin_s: FloatArray, end_s: FloatArray, onset: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Onsets and ends of work, where work that ends late pushes what follows."""
        late = self._load.late_end_s
        if late == 0.0:
            onset[0] = max(onset[0], self._end_s)
            return onset, end_s
        work_end = end_s.copy()
        last = self._end_s
        for k in range(len(onset)):
            duration = end_s[k] - begin_s[k]
            onset[k] = max(onset[k], last)
            work_end[k] = last = max(end_s[k] + min(late, 0.3 * duration), onset[k] + 0.5 * duration)
        return onset, work_end

    def _lay(
        self, onset: FloatArray, end: FloatArray, level: FloatArray, expected: FloatArray, *, layered: BoolArray,
        drawn: Instances | None,
    ) -> tuple[FloatArray, FloatArray | None]:  # fmt: skip
        """Append gap and work segments; returns the realised minus the expected energy of each work, and of kernels."""
        load, n = self._load, len(onset)
        before = np.concatenate([[self._end_s], end[:-1]])
        rest = onset - before
        held = np.minimum(rest, load.hold_s)
        fading = np.exp(-(rest - held) / load.fall_s)
        falling = np.exp(-held / load.fall_s)
        after_w = self.gap_w(expected)
        gap_w = np.concatenate([[self._held_w], after_w[:-1]])
        work = self.workload
        slow = np.where(layered, min(1.0, work.lowest), 1.0)
        duration = end - onset
        risen = np.exp(-duration / load.rise_s)
        last = np.where(layered, work.last, 1.0)
        realised = self._chain(self._power[0], level, gap_w, falling, fading, slow, last, risen)
        ideal = self._chain(self._power[1], expected, gap_w, falling, fading, slow, last, risen)
        missing, ideal_missing = slow * (level - realised[0]), slow * (expected - ideal[0])
        work_j = level * duration - missing * load.rise_s * (1 - risen)
        ideal_j = expected * duration - ideal_missing * load.rise_s * (1 - risen)
        of_kernels = curve_j = None
        if drawn is not None:
            before_j = drawn.realised_at(onset[:, None])[:, 0]
            curve_j = self._profiles(drawn) + before_j  # of all profiles before the onset
            work_j += drawn.realised_j[:, -1] - before_j - level * duration
            ideal_j += drawn.expected_j[:, -1] - drawn.expected_at(onset[:, None])[:, 0] - expected * duration
            of_kernels = self._kernel_excess(drawn, onset, (missing - ideal_missing) * load.rise_s, work_j - ideal_j)
        ends_w = np.concatenate([[self._power[0]], realised[1][:-1]])
        hold_j = gap_w * held + (ends_w - gap_w) * load.fall_s * (1 - falling)
        held_w = gap_w + (ends_w - gap_w) * falling
        fade_j = held_w * load.fall_s * (1 - fading)
        base = self._end_j + np.concatenate([[0.0], np.cumsum(hold_j + fade_j + work_j)])
        rows = np.zeros((n, 3, len(_FIELDS)))
        rows[:, 0, :5] = np.stack([before, base[:-1], gap_w, ends_w - gap_w, np.full(n, load.fall_s)], 1)
        rows[:, 1, :5] = np.stack([before + held, base[:-1] + hold_j, np.zeros(n), held_w, np.full(n, load.fall_s)], 1)
        rows[:, 2, :5] = np.stack(
            [onset, base[:-1] + hold_j + fade_j, np.zeros(n), -missing, np.full(n, load.rise_s)], 1
        )
        rows[~layered, 2, 2] = level[~layered]
        rows[:, 2, 7] = len(self._workloads) - 1
        if curve_j is not None:
            rows[:, 2, 1] -= curve_j
            rows[:, 2, 7] = _CURVE
        else:
            rows[layered, 2, 5], rows[layered, 2, 6] = level[layered], duration[layered]
        keep = np.ones((n, 3), bool)
        keep[:, 1] = rest > held
        self._new.append(rows[keep])
        self._end_s, self._end_j = float(end[-1]), float(base[-1])
        self._power = (float(realised[1][-1]), float(ideal[1][-1]))
        self._held_w = float(after_w[-1])
        return np.asarray(work_j - ideal_j, np.float64), of_kernels

    def _profiles(self, drawn: Instances) -> FloatArray:
        """Append these inferences to the curve of profiles; (n,) its value at the begin of each of them."""
        self._new_curves.append(drawn)
        total = self._curve_end_j + np.cumsum(drawn.realised_j[:, -1])
        self._curve_end_j = float(total[-1])
        return np.asarray(total - drawn.realised_j[:, -1], np.float64)

    def _kernel_excess(
        self, drawn: Instances, onset: FloatArray, missing_j: FloatArray, total_j: FloatArray
    ) -> FloatArray:
        """(n, L + 1): realised minus expected energy of each kernel; the rest of `total_j` (n,) lies outside."""
        edges = np.maximum(np.stack([drawn.begin_s, drawn.end_s], 2).reshape(len(onset), -1), onset[:, None])
        of_profile = drawn.realised_at(edges) - drawn.expected_at(edges)
        of_onset = missing_j[:, None] * np.exp(-(edges - onset[:, None]) / self._load.rise_s)
        excess = of_profile + of_onset
        kernels = excess[:, 1::2] - excess[:, 0::2]
        return np.concatenate([kernels, (total_j - kernels.sum(1))[:, None]], 1)

    @staticmethod
    def _chain(
        power: float, level: FloatArray, gap_w: FloatArray, falling: FloatArray, fading: FloatArray,
        slow: FloatArray, last: FloatArray, risen: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """Power just before each onset and at each end: a linear recursion through gaps and stretches."""
        keep, add = (falling * fading).tolist(), (gap_w * (1 - falling) * fading).tolist()
        gain, lift = (slow * risen).tolist(), (level * (last - slow * risen)).tolist()
        onset_w, end_w = [], []
        for k, a, g, c in zip(keep, add, gain, lift, strict=True):
            before = a + k * power
            power = c + g * before
            onset_w.append(before)
            end_w.append(power)
        return np.array(onset_w), np.array(end_w)

    # --- reading -----------------------------------------------------------------------------------

    def _table(self) -> FloatArray:
        """Laid segments and, after them, what follows as far as it is known now."""
        if self._new:
            self._segments = np.concatenate([self._segments, *self._new])
            self._new = []
        if self._new_curves:
            self._join_curves()
        load = self._load
        gap_w = self._held_w
        end_w = self._power[0]
        falling = math.exp(-load.hold_s / load.fall_s)
        held_w = gap_w + (end_w - gap_w) * falling
        hold_j = gap_w * load.hold_s + (end_w - gap_w) * load.fall_s * (1 - falling)
        tail = [
            [self._end_s, self._end_j, gap_w, end_w - gap_w, load.fall_s, 0, 0, 0],
            [self._end_s + load.hold_s, self._end_j + hold_j, 0, held_w, load.fall_s, 0, 0, 0],
        ]
        if self._open is not None:
            onset, level = self._open[:2]
            rest = onset - self._end_s
            if rest <= load.hold_s:
                tail.pop()
                falling = math.exp(-rest / load.fall_s)
                before_w = gap_w + (end_w - gap_w) * falling
                base = self._end_j + gap_w * rest + (end_w - gap_w) * load.fall_s * (1 - falling)
            else:
                fading = math.exp(-(rest - load.hold_s) / load.fall_s)
                before_w = held_w * fading
                base = self._end_j + hold_j + held_w * load.fall_s * (1 - fading)
            tail.append([onset, base, level, before_w - level, load.rise_s, 0, 0, 0])
        return np.concatenate([self._segments, np.array(tail, np.float64)])

    def _join_curves(self) -> None:
        """What `_profiles` appended becomes part of the curve."""
        end_j = self._curve_j[-1]
        for drawn in self._new_curves:
            before_j = end_j + np.concatenate([[0.0], np.cumsum(drawn.realised_j[:-1, -1])])
            self._curve_s = np.concatenate([self._curve_s, drawn.knot_s.ravel()])
            self._curve_j = np.concatenate([self._curve_j, (drawn.realised_j + before_j[:, None]).ravel()])
            end_j = self._curve_j[-1]
        self._new_curves = []

    def cumulative(self, t_s: FloatArray) -> FloatArray:
        """Energy above standby (J) from the origin to each time (K,), which must be in order."""
        table = self._table()
        counts = np.diff(np.searchsorted(t_s, table[:, 0]), append=len(t_s))
        counts[0] += len(t_s) - int(counts.sum())
        rows = np.repeat(np.arange(len(table)), counts)
        begin, base, linear, amplitude, tau, profile, duration, number = table.T
        u = t_s - begin[rows]
        energy = base[rows] + linear[rows] * u - (amplitude * tau)[rows] * np.expm1(-u / tau[rows])
        curved = (number == _CURVE)[rows]
        if curved.any():
            energy[curved] += np.interp(t_s[curved], self._curve_s, self._curve_j)
        layered = duration > 0
        for index in np.unique(number[layered]).astype(int):
            mask = (layered & (number == index))[rows]
            if mask.any():
                work = self._workloads[index]
                row = rows[mask]
                at = np.interp(u[mask] / duration[row], work.share, work.cumulative)
                energy[mask] += (profile * duration)[row] * at
        return np.asarray(energy, np.float64)

    def forget(self, before_s: float) -> None:
        """Drop segments that end before this time."""
        self._table()
        keep_from = int(np.searchsorted(self._segments[:, 0], before_s, side="right")) - 1
        if keep_from > 64:
            self._segments = self._segments[keep_from:]
        curve_from = int(np.searchsorted(self._curve_s, before_s, side="right")) - 1
        if curve_from > 10_000:
            self._curve_s, self._curve_j = self._curve_s[curve_from:], self._curve_j[curve_from:]
