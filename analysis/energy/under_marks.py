"""Energy of short marked windows from readings too slow to be cut at the marks: levels by overlap, with what they leave
open.

A reading that saw 25 ms of every 100 ms, or all of them, says little of a window of 50 ms: cut by interpolation it
bills the pause's power to the window, in each window alike, and no scatter shows it. But the marks are known, so each
reading's overlap with them is:

    y_k = levels outside + rest + (work - rest) O_k(lag, window, tau) + slow course + e_k

Levels are linear; what is not (lag of the stamps, length of the window, rise of the load, whether stamps are the
readings' own or those of the polls that found them) is averaged over: each trial counts by its likelihood
(S^-(nu/2), with as many readings as are free of each other), so that two lags that fit alike both count. Energy is
level times marked time. Where readings see one phase of the load only, the overlap hardly changes, and nothing is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.characterise.fit import free_readings
from analysis.characterise.load import Load
from analysis.characterise.updates import regular_grid
from analysis.energy.sampling import SPARSE
from analysis.readings.curve import ChannelCurve, delay_of, remembered_ns
from analysis.timing.windows import StartWindow
from harness.core.clock import FloatArray, Int64Array
from harness.core.trace import Reading, ReadingKind

SHORT = (
    33  # readings' reach in a window below which its edges cost more than 1 % of the contrast (2 x 1/6 of a reading)
)
LEAST_WINDOWS = 3  # that show levels where nobody says that the marks are the load's own edges
LEAST_READINGS = 8  # more than there are levels
LAGS = 48  # tried, then as many again where the first were likely, twice
ROUNDS = 3
UNLIKELY = 12.0  # a trial this much less likely (natural logarithm) is not looked at again
WINDOWS = (0.8, 0.9, 1.0, 1.1, 1.25)  # of the declared one: what a sheet or another unit may be off by
WINDOW_SD = 0.1
UNKNOWN = (0.0, *(0.1 * 1.1**k for k in range(53)))
"""Of the update: windows that are tried where nobody knows what a reading is; many cards show means of ten updates."""
RISES = (0.0, 0.03, 0.1)  # of the update: time constants of the load before a window
LATE_S = 0.005  # what power may begin or end off its mark: supplies and boards take as long
HIDDEN = 0.5  # of the contrast: what parts of the windows that nobody saw may differ by (as of energy.sampling)
PLACES = 16  # of a window
LEAST_CHANGE = 0.1  # rms of what the overlap changes by itself; below, readings saw one phase, or blurred all of them
BLURRED = 0.05  # weight of trials below it from which on nothing is said
LONGEST = 4000  # readings that are looked at: of longer records stretches that are spread over all of it, ...
STRETCH = 100  # ... of so many readings each


@dataclass(frozen=True)
class MarkedLevels:
    """Per window: mean gross energy `energy_j`, and `window_j` (K,), each at its own place of the slow course;
    `u_fit_j` (scatter of the readings) with `dof`, `u_kernel_j` (lag, window and rise, which are not known),
    `u_late_j` (power off its marks), `u_hidden_j` (places of the windows that no reading saw).

    `work_w`, `rest_w`: levels; `lag_s`: mean age of a reading's content at its stamp, with `u_lag_s`; `changes`: rms of
    what the overlap changes by itself. `problem`: why there are no levels; empty if there are.
    """

    energy_j: float
    window_j: FloatArray
    u_fit_j: float
    dof: float
    u_kernel_j: float
    u_late_j: float
    u_hidden_j: float
    work_w: float
    rest_w: float
    lag_s: float
    u_lag_s: float
    window_s: float
    readings: int
    changes: float
    problem: str = ""

    def described(self) -> dict[str, float | int]:
        """For `details`."""
        names = ("work_w", "rest_w", "lag_s", "u_lag_s", "window_s", "readings", "changes", "dof")
        return {name: getattr(self, name) for name in names}


def refused(problem: str) -> MarkedLevels:
    return MarkedLevels(np.nan, np.empty(0), *(np.nan,) * 9, np.nan, 0, 0.0, problem)


def load_of(reading: Reading, windows: Sequence[StartWindow], on_ns: Int64Array | None) -> Int64Array:
    """int64 (K, 2): when the load was on. `on_ns`: stretches within the windows; a meter that sees all the time needs
    no more than the windows themselves."""
    if on_ns is not None and reading.kind in SPARSE:
        return on_ns
    return np.array([[w.begin_ns, w.end_ns] for w in windows], np.int64).reshape(-1, 2)


def is_short(reading: Reading, windows: Sequence[StartWindow], on_ns: Int64Array, *, edges: bool) -> bool:
    """Whether windows whose edges alone are known are to be solved by overlap. `on_ns`: of `load_of`; `edges`: the
    marks are those at which the load went on and off."""
    if reading.kind is ReadingKind.COUNTER or not windows or not all(w.by_time for w in windows):
        return False
    if len(windows) < LEAST_WINDOWS and not edges:
        return False
    return int(np.diff(on_ns, axis=1).min()) < SHORT * max(reading.period_ns, remembered_ns(reading))


@dataclass(frozen=True)
class _Seen:
    """Readings: stamps on several time axes (s), W."""

    axes: tuple[FloatArray, ...]
    power_w: FloatArray
    period_s: float


def levels_under_marks(
    channel: ChannelCurve, windows: Sequence[StartWindow], on_ns: Int64Array, *, edges: bool, slack_s: float,
    kind_known: bool = True,
) -> MarkedLevels:  # fmt: skip
    """Levels of work and rest from the readings of `channel`. `on_ns`: of `load_of`; `slack_s`: what the marks may be
    off all together; `kind_known`: False where nobody says what a reading is the mean of.
    """
    begin = np.array([w.begin_ns for w in windows], np.int64)
    end = np.array([w.end_ns for w in windows], np.int64)
    load = Load.of_stamps(on_ns[:, 0], on_ns[:, 1])
    a_s, b_s = load.at(begin), load.at(end)
    reach_s = 1e-9 * max(remembered_ns(channel.reading), 2 * channel.reading.period_ns)
    seen = _readings(channel, load.origin_ns, float(a_s[0]), float(b_s[-1]), reach_s, edges=edges)
    if seen is None:
        return refused("too few readings lie within the marks")
    model = _Model(load, a_s, b_s, load.at(on_ns), edges=edges)
    if len(seen.power_w) < model.size + LEAST_READINGS:
        return refused(f"{len(seen.power_w)} readings are too few for levels of work and rest")
    trials = _trials(seen, model, _shapes(channel.reading, seen.period_s, kind_known=kind_known), slack_s)
    return _judged(trials, seen, model)


def _readings(
    channel: ChannelCurve, origin_ns: int, first_s: float, last_s: float, reach_s: float, *, edges: bool
) -> _Seen | None:
    """Readings of the marked time; with the rest around it where the marks are the load's own."""
    curve, reading = channel.curve, channel.reading
    width = np.diff(curve.edge_ns)
    known = (np.diff(curve.covered_ns) > 0) & (width > 0)
    t = np.asarray((curve.edge_ns[1:] + delay_of(reading) - origin_ns) * 1e-9, np.float64)
    around = max(3 * reach_s, 10 * reading.period_ns * 1e-9) if edges else 0.0
    known &= (t > first_s - around) & (t < last_s + reach_s + around)
    if not edges:
        known &= t - reach_s > first_s
    known[: 1 + int(np.argmax(known))] = False  # nobody knows how old a register was when the record began
    row = np.flatnonzero(known)
    if len(row) < LEAST_READINGS:
        return None
    power = np.diff(curve.energy_j)[row] / (width[row] * 1e-9)
    stamps, period_s = t[row], reading.period_ns * 1e-9
    axes: list[FloatArray] = [stamps]
    found = regular_grid(stamps, np.full(len(stamps), 0.25 * period_s))
    if found is not None:
        phase, period_s, _, _, number, fits = found
        grid = np.asarray(phase + number * period_s, np.float64)
        axes, power = [stamps[fits], grid[fits]], power[fits]
    spread = _spread(len(power))
    return _Seen(tuple(axis[spread] for axis in axes), np.asarray(power[spread], np.float64), float(period_s))


def _spread(readings: int) -> Int64Array:
    """Which of so many readings are looked at: a record's beginning alone would stand for what came after it."""
    if readings <= LONGEST:
        return np.arange(readings)
    first = np.linspace(0, readings - STRETCH, LONGEST // STRETCH).astype(np.int64)
    return np.asarray((first[:, None] + np.arange(STRETCH)[None, :]).ravel(), np.int64)


class _Model:
    """Columns of the levels: outside (before, after), in the marked time, work above rest, and how both drift."""

    def __init__(self, load: Load, begin_s: FloatArray, end_s: FloatArray, on_s: FloatArray, *, edges: bool) -> None:
        """Windows from `begin_s` to `end_s` (K,) of a load that is on during `on_s` (M, 2)."""
        self.load, self.begin_s, self.end_s, self.on_s, self.edges = load, begin_s, end_s, on_s, edges
        first, last = float(begin_s[0]), float(end_s[-1])
        self.middle_s, self.half_s = (first + last) / 2, (last - first) / 2
        far = 1e6
        self.inside = _steps(load, [first - far, first, last, last + far], [0.0, 1.0, 0.0])
        self.after = _steps(load, [first - far, last, last + far], [0.0, 1.0])
        self.pauses = bool(np.any(on_s[1:, 0] - on_s[:-1, 1] > 0))
        self.names = (["outside", "after"] if edges else []) + ["rest"] * self.pauses + ["work"]
        self.names += ["drift of rest"] * self.pauses + ["drift of work"]
        place = (0.5 * (begin_s + end_s) - self.middle_s) / self.half_s
        length, worked = end_s - begin_s, load.integral(end_s) - load.integral(begin_s)
        rows = {"outside": 0 * length, "after": 0 * length, "rest": length, "work": worked,
                "drift of rest": length * place, "drift of work": worked * place}  # fmt: skip
        self.worked_s, self.edged = float(worked.mean()), len(on_s) / len(begin_s)
        self.window = np.column_stack([rows[n] for n in self.names])

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def energy(self) -> FloatArray:
        """(p,): mean energy of a window from the levels."""
        return np.asarray(self.window.mean(axis=0), np.float64)

    def columns(self, ends_s: FloatArray, window_s: float, tau_s: float) -> FloatArray:
        """(..., p) for readings whose window ends at `ends_s`."""
        on = self.load.read(ends_s, window_s=window_s, tau_s=tau_s)
        inside = self.inside.read(ends_s, window_s=window_s, tau_s=tau_s)
        x = np.clip((ends_s - window_s / 2 - self.middle_s) / self.half_s, -1.0, 1.0)
        every = {"work": on, "rest": inside, "drift of rest": x * inside, "drift of work": x * on}
        if self.edges:
            after = self.after.read(ends_s, window_s=window_s, tau_s=tau_s)
            every |= {"outside": 1.0 - inside - after, "after": after}
        return np.stack([every[n] for n in self.names], axis=-1)


def _steps(load: Load, knot_s: list[float], level: list[float]) -> Load:
    return Load.of_levels(load.origin_ns, np.array(knot_s), np.array(level), watt=False)


def _shapes(reading: Reading, period: float, *, kind_known: bool) -> list[tuple[float, float, float]]:
    """(window, time constant, logarithm of how likely beforehand) of the kernels that are tried, s."""
    window = reading.window_ns * 1e-9
    if not kind_known:
        lengths = [(share * period, 0.0) for share in UNKNOWN]
    elif reading.kind is ReadingKind.POINT:
        lengths = [(0.0, 0.0)]
    elif reading.kind is ReadingKind.MEAN:
        lengths = [(period, 0.0)]
    else:
        lengths = [(f * window, -0.5 * (float(np.log(f)) / WINDOW_SD) ** 2) for f in WINDOWS]
    slow = reading.tau_ns * 1e-9
    rises = [(f * slow, -0.5 * (float(np.log(f)) / WINDOW_SD) ** 2) for f in WINDOWS] if slow > 0 else []
    rises = rises or [(r * period, 0.0) for r in RISES]
    every = itertools.product(lengths, rises)
    return [(w, tau, p + q) for (w, p), (tau, q) in every if kind_known or w <= period or tau == rises[0][0]]


@dataclass(frozen=True)
class _Trials:
    """Of each trial (T,): square of what is left, lag, window, time constant, weight of its cell, axis; levels (T, p),
    variance of the energy and of the levels' (per W^2 of noise)."""

    square: FloatArray
    prior: FloatArray
    lag_s: FloatArray
    window_s: FloatArray
    tau_s: FloatArray
    axis: FloatArray
    level: FloatArray
    spread: FloatArray
    change: FloatArray


def _trials(seen: _Seen, model: _Model, shapes: list[tuple[float, float, float]], slack_s: float) -> _Trials:
    """All kernels at all lags; those that were likely anywhere again, at finer steps, where any was."""
    low, high = -slack_s, seen.period_s + slack_s
    asked = [(axis, *shape) for axis in range(len(seen.axes)) for shape in shapes]
    nu = max(len(seen.power_w) - model.size, 1.0)
    found: list[_Trials] = []
    for _ in range(ROUNDS):
        late = np.linspace(low, high, LAGS)
        cell = float(np.log((high - low) / LAGS))
        found = [_tried(seen, model, axis, late, window, tau, prior + cell) for axis, window, tau, prior in asked]
        square = np.stack([f.square for f in found])
        if not np.any(np.isfinite(square)):
            break
        worse = np.where(np.isfinite(square), 0.5 * nu * np.log(square / np.nanmin(square)), np.inf)
        likely = late[np.any(worse < UNLIKELY, axis=0)]
        asked = [one for one, w in zip(asked, worse, strict=True) if w.min() < UNLIKELY]
        step = (high - low) / LAGS
        low, high = max(low, float(likely.min()) - step), min(high, float(likely.max()) + step)
    return _Trials(*(np.concatenate([getattr(f, n) for f in found]) for n in _Trials.__dataclass_fields__))


def _tried(
    seen: _Seen, model: _Model, axis: int, late_s: FloatArray, window_s: float, tau_s: float, prior: float
) -> _Trials:
    """All lags of one kernel at once, by normal equations of a handful of columns."""
    ends = seen.axes[axis][None, :] - late_s[:, None]
    x = model.columns(ends, window_s, tau_s)
    y = seen.power_w - seen.power_w.mean()
    gram, right = np.einsum("lnp,lnq->lpq", x, x), np.einsum("lnp,n->lp", x, y)
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    level = np.einsum("lpq,lq->lp", inverse, right)
    rest = y[None, :] - np.einsum("lnp,lp->ln", x, level)
    work = model.names.index("work")
    change = np.sqrt(1.0 / np.maximum(inverse[:, work, work], 1e-12) / len(y))
    square = np.maximum((rest * rest).sum(axis=1), 1e-12 * len(y))
    good = level[:, work] > 0
    g = model.energy
    spread = np.einsum("p,lpq,q->l", g, inverse, g)
    n = len(late_s)
    mean = np.zeros(model.size)  # the mean that was taken off belongs to every level but work and drifts
    mean[[k for k, name in enumerate(model.names) if name in ("outside", "after", "rest")]] = seen.power_w.mean()
    if not model.pauses:
        mean[work] = seen.power_w.mean()
    return _Trials(
        np.where(good, square, np.nan), np.full(n, prior), late_s + window_s / 2 + tau_s, np.full(n, window_s),
        np.full(n, tau_s), np.full(n, float(axis)), level + mean, spread, change,
    )  # fmt: skip


def _judged(trials: _Trials, seen: _Seen, model: _Model) -> MarkedLevels:
    good = np.isfinite(trials.square)
    if not np.any(good):
        return refused(
            "the readings rise with the marked windows at no lag within an update: check on which clock the marks are"
        )
    best = int(np.nanargmin(np.where(good, trials.square, np.nan)))
    ends = seen.axes[int(trials.axis[best])] - (trials.lag_s - trials.window_s / 2 - trials.tau_s)[best]
    x = model.columns(ends, float(trials.window_s[best]), float(trials.tau_s[best]))
    rest = seen.power_w - x @ trials.level[best]
    free = min(free_readings(rest), float(len(rest)))
    dof = free - model.size
    if dof < 2:
        return refused(f"of {len(rest)} readings {free:.1f} are free of each other: too few for levels")
    log = np.where(good, trials.prior - 0.5 * dof * np.log(trials.square / trials.square[best]), -np.inf)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    if float(weight[trials.change < LEAST_CHANGE].sum()) > BLURRED:
        return refused(
            "the readings' overlap with the marked windows hardly changes from one to the next (they see one phase of "
            "them, or blur all): let pauses vary by an update of the meter, or mark longer windows"
        )
    energy = trials.level @ model.energy
    mean = float(weight @ energy)
    variance = np.where(good, trials.square, 0.0) / dof * trials.spread  # of correlated readings: n/free cancels
    level = weight @ trials.level
    names = model.names
    contrast = float(level[names.index("work")])
    rest_w = float(level[names.index("rest")]) if model.pauses else 0.0
    lag = float(weight @ trials.lag_s)
    length = float((model.on_s[:, 1] - model.on_s[:, 0]).mean())
    above = contrast if model.pauses else contrast - (float(level[0]) if model.edges else 0.0)
    hidden = _hidden(ends, float(trials.window_s[best]), model)
    return MarkedLevels(
        energy_j=mean, window_j=np.asarray(model.window @ level, np.float64),
        u_fit_j=float(np.sqrt(weight @ variance)), dof=dof,
        u_kernel_j=float(np.sqrt(weight @ (energy - mean) ** 2)),
        u_late_j=abs(above) * min(LATE_S, length) * model.edged / float(np.sqrt(3)),
        u_hidden_j=HIDDEN * abs(above) * hidden * model.worked_s,
        work_w=rest_w + contrast, rest_w=rest_w, lag_s=lag,
        u_lag_s=float(np.sqrt(weight @ (trials.lag_s - lag) ** 2)), window_s=float(weight @ trials.window_s),
        readings=len(rest), changes=float(trials.change[best]),
    )  # fmt: skip


def _hidden(ends_s: FloatArray, window_s: float, model: _Model) -> float:
    """Share of the places within the windows (0..1) that no reading's window saw."""
    place = (np.arange(PLACES) + 0.5) / PLACES
    moment = model.on_s[:, :1] + place[None, :] * (model.on_s[:, 1:] - model.on_s[:, :1])
    order = np.sort(ends_s)
    near = np.searchsorted(order, moment)  # the first window that ends after the moment
    after = order[np.minimum(near, len(order) - 1)]
    width = max(window_s, float(np.median(np.diff(model.on_s, axis=1))) / PLACES)
    seen = (near < len(order)) & (after - width <= moment)
    return 1.0 - float(seen.any(axis=0).mean())
