"""One point of the joint fit over markers: levels by linear least squares, and how the residual moves with delays and
with the shape that all edges share (variable projection: Golub and Pereyra 2003).

Levels of each marker: what else the board draws (straight pieces), what was before its first chip, work, gap, and for
each chip how much more or less it draws than others and how much later or earlier it began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.attribute.supply import SupplyFilter
from analysis.timing.chips import JOINED_NS, Chips, Readings
from analysis.timing.response import Course, Shape
from harness.core.clock import FloatArray, Int64Array

BASE_S = 0.2  # spacing of the knots of what else the board draws
CHIP_SD = 0.02  # one spin draws more or less than another, relative
ONSET_SD_S = 1e-4  # one chip's load begins later or earlier than another's after its stamp
NOTCH_SD = 0.5  # how far power falls in a moment's pause between two chips is chance, relative
BISQUARE = 4.7
STEP = 1e-3
NUDGE_S = 1e-6
NAMES = ("onset_s", "rise_s", "fall_s", "tau_s", "q", "hold_s")
FLOOR = {"onset_s": 5e-5, "rise_s": 1e-4, "fall_s": 1e-4, "tau_s": 5e-5, "q": 0.0, "hold_s": 0.0}  # below: much alike
NEVER_S = 1e3  # a hold that no pause sees the end of


@dataclass(frozen=True)
class Columns:
    """Linear columns of M markers, L = F + 2 C each: `shared` (M, R, F); and two for each chip, which are 0 outside it:
    `own` (M, R, 2) their values, `chip` (M, R) whose they are, in order of time."""

    shared: FloatArray
    own: FloatArray
    chip: Int64Array
    chips: int

    def sums(self, value: FloatArray) -> FloatArray:
        """(M, R) columns times values (M, L)."""
        m, _, f = self.shared.shape
        of_chip = value[:, f:].reshape(m, 2, self.chips).transpose(0, 2, 1)[np.arange(m)[:, None], self.chip]
        return np.asarray((self.shared @ value[:, :f, None])[..., 0] + np.sum(self.own * of_chip, axis=2), np.float64)

    def moments(self, y: FloatArray) -> FloatArray:
        """(K, M, L) sums over readings of columns times y (K, M, R)."""
        k, m, _ = y.shape
        f = self.shared.shape[2]
        out = np.empty((k, m, f + 2 * self.chips))
        out[:, :, :f] = (y.transpose(1, 0, 2) @ self.shared).transpose(1, 0, 2)
        of_chip = self._by_chip(y.transpose(1, 2, 0)[..., None] * self.own[:, :, None])
        out[:, :, f:] = of_chip.transpose(2, 0, 3, 1).reshape(k, m, -1)
        return out

    def gram(self, weight: FloatArray) -> FloatArray:
        """(M, L, L) columns, weighted, times themselves; the work grows with readings times shared columns."""
        m, _, f = self.shared.shape
        c = self.chips
        out = np.zeros((m, f + 2 * c, f + 2 * c))
        out[:, :f, :f] = (self.shared * weight[..., None]).transpose(0, 2, 1) @ self.shared
        own = self.own * weight[..., None]
        cross = self._by_chip(own[..., None] * self.shared[:, :, None]).transpose(0, 2, 1, 3).reshape(m, 2 * c, f)
        out[:, f:, :f], out[:, :f, f:] = cross, cross.transpose(0, 2, 1)
        both = self._by_chip(own[..., None] * self.own[:, :, None])
        at = f + np.arange(c)
        for i in range(2):
            for k in range(2):
                out[:, at + i * c, at + k * c] = both[:, :, i, k]
        return out

    def _by_chip(self, x: FloatArray) -> FloatArray:
        """(M, C, ...) sums of x (M, R, ...) over the readings of each chip."""
        m = len(x)
        number = (self.chip + np.arange(m)[:, None] * self.chips).ravel()
        first = np.flatnonzero(np.diff(number, prepend=-1))
        out = np.zeros((m * self.chips, *x.shape[2:]))
        out[number[first]] = np.add.reduceat(x.reshape(len(number), *x.shape[2:]), first, axis=0)
        return out.reshape(m, self.chips, *x.shape[2:])


@dataclass(frozen=True)
class Fit:
    """One point of the search: residual (M, R), its cost, and what it takes to go on."""

    readings: Readings
    chips: Chips
    shape: Shape
    delay_s: FloatArray
    columns: Columns
    value: FloatArray
    gram: FloatArray
    course_w: FloatArray
    residual_w: FloatArray
    cost: float
    at: Int64Array

    @classmethod
    def of(cls, readings: Readings, chips: Chips, shape: Shape, delay_s: FloatArray) -> Fit:
        course = Course.of(chips.begin_s, chips.end_s, shape)
        power, at = _means(course, readings, delay_s)
        columns = _columns(readings, chips, shape, power, at, delay_s)
        w = readings.weight
        gram = columns.gram(w)
        moment = columns.moments((w * readings.power_w)[None])[0]
        prior = _prior(readings, gram, moment, chips, shape)
        value = np.linalg.solve(gram + prior, moment[..., None])[..., 0]
        residual = readings.power_w - columns.sums(value)
        cost = float(np.sum(w * residual**2) + np.einsum("mi,mij,mj->", value, prior, value))
        return cls(readings, chips, shape, delay_s, columns, value, gram + prior, power, residual, cost, at)

    @property
    def scale(self) -> float:
        """Scatter (W) of one reading, whatever daemons do."""
        w = self.readings.weight0
        return max(1.4826 * float(np.median(np.abs(self.residual_w * np.sqrt(w))[w > 0])), 1e-9)

    def without_outliers(self, cut: float) -> Readings:
        """Readings that daemons pulled away count for less (Tukey's bisquare)."""
        scaled = self.residual_w * np.sqrt(self.readings.weight0)
        scale = self.scale * BISQUARE * cut
        trust = np.where(np.abs(scaled) < scale, (1 - (scaled / max(scale, 1e-300)) ** 2) ** 2, 0.0)
        return replace(self.readings, weight=self.readings.weight0 * trust, plain=self.readings.weight0)

    def _each(self, shapes: list[Shape]) -> FloatArray:
        """Power (S, M, R) with these edges and the same levels, that of the first shape NUDGE_S later."""
        kinds = [Course.kind(s) for s in shapes]
        out = np.empty((len(shapes), *self.readings.power_w.shape))
        for kind in set(kinds):
            of = [i for i, k in enumerate(kinds) if k == kind]
            course = Course.of_each(self.chips.begin_s, self.chips.end_s, [shapes[i] for i in of])
            delay = np.concatenate([self.delay_s + (NUDGE_S if i == 0 else 0.0) for i in of])
            edge = np.tile(self.readings.edge_s, (len(of), 1))
            energy, _ = course.energy_j(edge - delay[:, None])
            power = (np.diff(energy, axis=1) / np.diff(edge, axis=1)[..., None]).reshape(len(of), *out.shape[1:], 2)
            for i, one in zip(of, power, strict=True):
                out[i] = self._with(one)
        return out

    def _with(self, power: FloatArray) -> FloatArray:
        c = self.chips.begin_s.shape[1]
        chip = np.clip(self.at // 3, 0, c - 1)
        own = np.take_along_axis(self.value[:, -2 * c : -c], chip, axis=1)
        a, g = self.value[:, -2 * c - 2, None], self.value[:, -2 * c - 1, None]
        return np.asarray((a + own) * power[..., 0] + g * power[..., 1], np.float64)

    def jacobian(self) -> tuple[FloatArray, FloatArray, list[str]]:
        """Derivatives of the prediction by the shape's logarithms (S, M, R) and by each marker's own delay (M, R), both
        without what the linear columns take up."""
        here = self._with(self.course_w)
        names = [n for n in NAMES if not (n == "hold_s" and self.shape.hold_s >= NEVER_S)]
        shapes = [self.shape]
        for name in names:
            value = getattr(self.shape, name)
            shapes.append(replace(self.shape, **{name: value + STEP * (value + FLOOR[name])}))
        moved = self._each(shapes)
        step = np.r_[NUDGE_S, np.full(len(names), np.log1p(STEP))]
        j = (moved - here) / step[:, None, None]
        j = np.concatenate([j[1:], j[:1]])
        taken = np.linalg.solve(self.gram, self.columns.moments(j * self.readings.weight).transpose(1, 2, 0))
        j = np.stack([one - self.columns.sums(np.asarray(taken[..., k])) for k, one in enumerate(j)])
        return j[:-1], j[-1], names

    def normal(self) -> tuple[FloatArray, FloatArray, FloatArray, list[str]]:
        """(J'WJ, J'Wr, scores of clusters (K, P), names of the shape's parameters)."""
        of_shape, of_delay, names = self.jacobian()
        s, m = len(names), len(self.delay_s)
        w, r = self.readings.weight, self.residual_w
        p = s + m
        h, g = np.zeros((p, p)), np.zeros(p)
        h[:s, :s] = np.einsum("amr,bmr->ab", of_shape * w, of_shape)
        cross = np.einsum("smr,mr->sm", of_shape, w * of_delay)
        h[:s, s:], h[s:, :s] = cross, cross.T
        h[np.arange(s, p), np.arange(s, p)] = np.sum(w * of_delay**2, axis=1)
        g[:s], g[s:] = np.einsum("smr,mr->s", of_shape, w * r), np.sum(w * of_delay * r, axis=1)
        c = self.chips.begin_s.shape[1]
        cluster = np.clip(self.at, 0, 3 * c - 1) // 3 * 2 + (np.clip(self.at, 0, None) % 3 > 0)
        scores = np.zeros((m, 2 * c, p))
        for i in range(m):
            for k in range(s):
                scores[i, :, k] = np.bincount(cluster[i], (w * r * of_shape[k])[i], minlength=2 * c)
            scores[i, :, s + i] = np.bincount(cluster[i], (w * r * of_delay)[i], minlength=2 * c)
        return h, g, scores.reshape(-1, p), names


def _means(course: Course, readings: Readings, delay_s: FloatArray) -> tuple[FloatArray, Int64Array]:
    energy, at = course.energy_j(readings.edge_s - delay_s[:, None])
    return np.diff(energy, axis=1) / np.diff(readings.edge_s, axis=1)[..., None], at[:, :-1]


def _columns(
    readings: Readings, chips: Chips, shape: Shape, power: FloatArray, at: Int64Array, delay_s: FloatArray
) -> Columns:
    """Knots of the base, what was before the first chip (3), work, gap; each chip's own share of work and delay."""
    middle = 0.5 * (readings.edge_s[:, 1:] + readings.edge_s[:, :-1])
    knots = np.arange(0.0, float(chips.until_s.max()) + BASE_S, BASE_S)
    base = np.maximum(1 - np.abs(middle[..., None] - knots) / BASE_S, 0.0)
    u = np.maximum(middle - delay_s[:, None], 0.0)
    slowest = max(shape.tau_s, shape.tau_s / shape.q)
    before = np.stack([np.exp(-u / shape.rise_s), np.exp(-u / slowest), np.exp(-u / shape.tau_s)], axis=2)
    c = chips.begin_s.shape[1]
    late = _late(readings, chips, shape, at, delay_s)
    shared = np.concatenate([base, before, power], axis=2)
    return Columns(shared, np.stack([power[..., 0], late], axis=2), np.clip(at // 3, 0, c - 1), c)


def _late(readings: Readings, chips: Chips, shape: Shape, at: Int64Array, delay_s: FloatArray) -> FloatArray:
    """(M, R) power that a chip lacks which began a little later than others, for 1 W at its onset."""
    busy = at % 3 == 0
    row = np.arange(len(delay_s))[:, None]
    onset = (chips.begin_s + shape.onset_s)[row, np.clip(at // 3, 0, None)] + delay_s[:, None]
    a = np.maximum(readings.edge_s[:, :-1] - onset, 0.0)
    b = np.maximum(readings.edge_s[:, 1:] - onset, 0.0)
    rate = 1 / shape.rise_s
    poles = SupplyFilter(shape.tau_s * 1e9, shape.q).poles()
    total = 1.0 if not poles else 0.0
    energy = np.zeros_like(a)
    for pole in poles:
        decay, c = pole.rate * 1e9, pole.c * (2 if pole.pair else 1)
        f = decay / (decay - rate * (1 + 1e-7))
        total += (c * f).real
        energy -= (c * f * (np.exp(-a * decay) - np.exp(-b * decay)) / decay).real
    energy += total * (np.exp(-a * rate) - np.exp(-b * rate)) / rate
    return np.where(busy, energy / np.diff(readings.edge_s, axis=1), 0.0)


def _prior(readings: Readings, gram: FloatArray, moment: FloatArray, chips: Chips, shape: Shape) -> FloatArray:
    """Inverse covariance (M, L, L) of the levels, in units of a reading's variance: chips are alike, other columns are
    free but for what keeps the system regular."""
    m, size, _ = gram.shape
    c = chips.begin_s.shape[1]
    free = size - 2 * c
    plain = gram[:, :free, :free]
    ridge = 1e-7 * np.trace(plain, axis1=1, axis2=2)[:, None] / free
    diagonal = np.broadcast_to(ridge, (m, size)).copy()
    solved = np.linalg.solve(plain + ridge[..., None] * np.eye(free), moment[:, :free, None])[..., 0]
    square = np.sum(readings.weight * readings.power_w**2, axis=1) - np.sum(solved * moment[:, :free], axis=1)
    variance = np.maximum(square, 1e-12) / np.maximum(np.count_nonzero(readings.weight, axis=1), 1)
    level = np.maximum(np.abs(solved[:, -2]), 1e-3)
    diagonal[:, free : free + c] = (variance / (CHIP_SD * level) ** 2)[:, None]
    pause_s = chips.begin_s[:, 1:] - chips.end_s[:, :-1]
    late = np.full((m, c), min(ONSET_SD_S / shape.rise_s, 1.0))
    late[:, 1:][pause_s * 1e9 < JOINED_NS] = NOTCH_SD  # how far power falls in a moment's pause is chance
    diagonal[:, free + c :] = variance[:, None] / (late * level[:, None]) ** 2
    return diagonal[:, :, None] * np.eye(size)
