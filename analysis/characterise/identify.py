"""What a meter's readings are, by comparing kernels: point, mean, part-time, overlapping, filtered; or not told.

A window that begins where the one before ended and a filter of like memory differ only in the shape of their steps. A
load without fast enough changes cannot show that, and neither can a few noisy readings: then both are named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.characterise.fit import Kernel, KernelFit, Readings, Search, refine, scan
from analysis.characterise.load import Load
from analysis.characterise.updates import Updates, find_updates
from harness.core.clock import FloatArray, Int64Array
from harness.core.trace import ReadingKind

LAGS_S = (-1.0, 6.0)
SHAPES = 7  # windows and time constants that the scan tries
CLEAR = 10.0  # difference of the criterion from which on a kernel is ruled out (Kass, Raftery 1995: very strong)
LEAST_EXPLAINED = 0.2  # share of the readings' variance below which the readings do not follow the load
T95 = 2.07  # Student, 23 blocks
SAME = 0.05  # a window within 5 % of the update is a mean over it, if that is all that is known
WIDE = 0.35  # a window known no better than this, relative to the update, names more than one kind
FOLLOWS = 1.0  # a time constant of more updates than this is the meter's memory; of less, it may be the supply's rise
LOAD_RISE_S = 0.005  # what a supply and a board may take to reach their power: nothing shorter is surely the meter's
RISE_STEPS = 2000
HOLDS_S, HOLDS = (0.004, 3.0), 16  # how long power may stay up after work, and how many lengths are tried first
HOLD_READINGS = 3000
MOST_PEAKS = 5


@dataclass(frozen=True)
class Estimate:
    """A value with its standard uncertainty, of the same unit."""

    value: float
    u: float

    @property
    def half_95(self) -> float:
        return T95 * self.u


@dataclass(frozen=True)
class SensorCharacter:
    """What the readings of a known load showed; times in s, powers in W.

    `kind`: None where `kinds` holds several that the readings cannot tell apart. `update`: time between new values;
    `window`; `duty`: share of the time that windows cover; `tau`: time constant before the window (supply and filter
    together); `delay`: from the end of the window to the stamp; `lag`: mean age of what a reading holds; `rise`: 10 to
    90 % of a step; `gain`, `zero`: against the load's watts, None where the load is a share; `contrast`, `rest`: levels
    of such a load. `rivals`: kernels by name with how much worse each one's criterion is. `explained`: share of
    variance; `regular`, `repeated`, `polled_s`: as of Updates. `noise_w`: scatter of the residuals.
    """

    kind: ReadingKind | None
    kinds: tuple[ReadingKind, ...]
    update: Estimate
    window: Estimate
    duty: Estimate
    tau: Estimate
    delay: Estimate
    lag: Estimate
    rise: Estimate
    gain: Estimate | None
    zero: Estimate | None
    contrast: Estimate | None
    rest: Estimate | None
    rivals: tuple[tuple[str, float], ...]
    explained: float
    noise_w: float
    readings: int
    seconds: float
    polled_s: float
    repeated: float
    regular: bool
    rate_rel: float
    kernel: Kernel

    @property
    def memory_s(self) -> float:
        """How long a change of power is still in a reading: max(window, five time constants)."""
        return max(self.window.value, 5 * self.tau.value)


class NotTold(ValueError):
    """The readings do not say what was asked; the text says why."""


def identify(
    load: Load, t_ns: Int64Array, power_w: FloatArray, *, raw: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None,
    lags_s: tuple[float, float] = LAGS_S, orders: int | None = None, rate: bool = True,
) -> SensorCharacter:  # fmt: skip
    """Character of readings (N,) at `t_ns` (the load's clock) that say `power_w`.

    `raw`: their raw values (N,) or (N, C), which tell a repeat from a new value; None: power does. `lags_s`: where the
    lag is searched; `orders`: highest power of time let through (default: 2 for shares, 0 for watts). NotTold if the
    readings do not follow the load, or follow it at two lags alike.
    """
    t_s = load.at(t_ns)
    updates = find_updates(t_s, power_w if raw is None else np.asarray(raw, np.float64))
    order = (0 if load.watt else 2) if orders is None else orders
    readings = Readings.of(updates.t_s, power_w[updates.row], orders=order)
    if len(readings.t_s) < 16:
        raise NotTold(f"{len(readings.t_s)} new readings are too few: record longer")
    if not load.watt:
        first, _ = _fits(load, readings.thinned(HOLD_READINGS), updates, lags_s, rate=rate)
        load = _held(load, readings, min(first.values(), key=lambda f: f.square)) or load
    fits, peaks = _fits(load, readings, updates, lags_s, rate=rate)
    criterion = {name: _criterion(fit, min(f.square for f in fits.values()), fits) for name, fit in fits.items()}
    best = min(criterion, key=lambda name: criterion[name])
    fit = fits[best]
    if fit.explained < LEAST_EXPLAINED or fit.gain <= 0:
        raise NotTold(
            f"the readings do not follow the load: the best kernel explains {100 * max(fit.explained, 0):.0f} % of them"
        )
    _refuse_second(load, readings, fit, peaks)
    rivals = tuple(sorted(((n, c - criterion[best]) for n, c in criterion.items()), key=lambda r: r[1]))
    possible = [fits[name] for name, worse in rivals if worse < CLEAR]
    kinds = tuple(dict.fromkeys(kind for one in possible for kind in _kinds(one, updates.period_s, load)))
    others = [one for one in possible if one is not fit and set(_kinds(one, updates.period_s, load)) & set(kinds)]
    return _character(load, readings, updates, fit, others, kinds, rivals)


def _held(load: Load, readings: Readings, fit: KernelFit) -> Load | None:
    """The load with the stretch after work for which power stays up, if the readings show one."""
    some = readings.thinned(HOLD_READINGS)
    rest = np.diff(load.knot_s)[load.level == 0][1:-1]
    if len(rest) == 0:
        return None

    def square(hold_s: float) -> float:
        return some.square(load.holding(hold_s), fit.kernel)

    tried = np.geomspace(HOLDS_S[0], max(2 * HOLDS_S[0], min(HOLDS_S[1], 0.9 * float(rest.max()))), HOLDS)
    best = min(tried.tolist(), key=square)
    for step in (1.2, 1.05, 1.01):
        best = min((best / step**2, best / step, best, best * step, best * step**2), key=square)
    gained = min(fit.n_free, len(some.t_s)) * float(np.log(some.square(load, fit.kernel) / square(best)))
    return load.holding(best) if gained > 2 * CLEAR else None


def _fits(
    load: Load, readings: Readings, updates: Updates, lags_s: tuple[float, float], *, rate: bool
) -> tuple[dict[str, KernelFit], list[Kernel]]:
    """Fits by name, and where else the scan saw a peak."""
    period = updates.period_s
    span = float(load.knot_s[-1] - load.knot_s[0])
    longest = max(min(span / 6, 5.0), 4 * period)
    shortest = max(0.2 * period, 1e-5)
    windows = np.geomspace(shortest, longest, SHAPES)
    shapes = [(float(w), 0.0) for w in windows] + [(0.0, float(w) / 2) for w in windows]
    step = max(min(load.shortest_s, 4 * max(period, load.shortest_s / 8)) / 2, 1e-4)
    peaks = scan(load, readings, shapes, lags_s=lags_s, step_s=step)
    scale = max(min(step, period), 2e-5)
    cap = 2 * longest

    def refined(starts: list[Kernel], free: tuple[str, ...]) -> KernelFit:
        return refine(load, readings, starts, Search(free, scale, cap, rate))

    boxes = [p.kernel for p in peaks if p.kernel.tau_s == 0]
    filters = [p.kernel for p in peaks if p.kernel.tau_s > 0]
    boxes += [Kernel(boxes[0].lag_s, period)]
    fits = {
        "boxcar": refined([boxes[0], boxes[-1], boxes[1]], ("lag_s", "window_s")),
        "filter": refined([*filters[:2]], ("lag_s", "tau_s")),
    }
    box, one = fits["boxcar"].kernel, fits["filter"].kernel
    both = [
        Kernel(box.lag_s, box.window_s, max(0.1 * box.window_s, scale), box.rate_rel),
        Kernel(one.lag_s, min(max(period, scale), one.tau_s), one.tau_s, one.rate_rel),
    ]
    fits["boxcar behind a filter"] = refined(both, ("lag_s", "window_s", "tau_s"))
    return fits, [p.kernel for p in peaks if p.explained > 0.5 * peaks[0].explained]


def _criterion(fit: KernelFit, least: float, fits: dict[str, KernelFit]) -> float:
    """Bayesian information criterion (G. Schwarz, Ann. Stat. 6 (1978) 461) with as many readings as are free."""
    n = min(f.n_free for f in fits.values() if f.square <= 1.5 * least) if least > 0 else fit.n_free
    return n * float(np.log(max(fit.square, 1e-300) / max(least, 1e-300))) + fit.parameters * float(np.log(n))


def _refuse_second(load: Load, readings: Readings, fit: KernelFit, peaks: list[Kernel]) -> None:
    """NotTold if a lag far from the fitted one explains nearly as much."""
    kernel = fit.kernel
    reach = max(2 * load.shortest_s, 0.75 * (kernel.window_s + 2 * kernel.tau_s))
    for peak in peaks[:MOST_PEAKS]:
        if abs(peak.lag_s - kernel.lag_s) <= reach:
            continue
        moved = Kernel(peak.lag_s, kernel.window_s, kernel.tau_s, kernel.rate_rel)
        other = refine(load, readings, [moved], Search(("lag_s",), reach / 8, np.inf, rate=False))
        if abs(other.kernel.lag_s - kernel.lag_s) <= reach:
            continue
        if fit.n_free * float(np.log(max(other.square, 1e-300) / max(fit.square, 1e-300))) < CLEAR and other.gain > 0:
            raise NotTold(
                f"two lags fit the readings alike: {kernel.lag_s:.4g} s and {other.kernel.lag_s:.4g} s; "
                "play a load that repeats itself less"
            )


def _kinds(fit: KernelFit, period: float, load: Load) -> tuple[ReadingKind, ...]:
    """What this kernel's readings are; several where its window is not known well enough."""
    kernel = fit.kernel
    memory = kernel.tau_s > 0.5 * kernel.window_s
    sure = load.watt or kernel.tau_s > LOAD_RISE_S
    if memory and kernel.tau_s > FOLLOWS * period and sure:
        return (ReadingKind.FILTERED,)
    half = T95 * fit.u(1)
    low, high = max(kernel.window_s - half, 0.0), kernel.window_s + half
    found: list[ReadingKind] = []
    if memory and kernel.tau_s > FOLLOWS / 3 * period:
        found.append(ReadingKind.FILTERED)
    brief = 2 * kernel.tau_s < 0.05 * period  # a filter that forgets within the update makes a part of the time of it
    if low <= 0.02 * period and brief:
        found.append(ReadingKind.POINT)
    if low < (1 - SAME) * period and (high > 0.02 * period or not brief):
        found.append(ReadingKind.PART_TIME)
    if low <= (1 + SAME) * period and high >= (1 - SAME) * period:
        found.append(ReadingKind.MEAN)
    if high > (1 + SAME) * period:
        found.append(ReadingKind.OVERLAPPING)
        if ReadingKind.MEAN not in found and not load.watt and low < period + LOAD_RISE_S:
            found.insert(0, ReadingKind.MEAN)  # the load's own rise may look like a longer window
    narrow = half < WIDE * period / 2
    if found[0] is not ReadingKind.FILTERED and narrow:
        if ReadingKind.MEAN in found and low <= period <= high:
            return (ReadingKind.MEAN,)
        if high < 0.1 * period:
            return (ReadingKind.POINT,) if low <= 0.02 * period and brief else (ReadingKind.PART_TIME,)
    return tuple(found)


def _character(
    load: Load, readings: Readings, updates: Updates, fit: KernelFit, others: list[KernelFit],
    kinds: tuple[ReadingKind, ...], rivals: tuple[tuple[str, float], ...],
) -> SensorCharacter:  # fmt: skip
    kernel, period = fit.kernel, updates.period_s

    def apart(name: str) -> float:
        """What kernels that are not ruled out add to the uncertainty: a limit, so / sqrt 3."""
        own = getattr(kernel, name)
        return max((abs(getattr(one.kernel, name) - own) for one in others), default=0.0) / float(np.sqrt(3))

    window = Estimate(kernel.window_s, float(np.hypot(fit.u(1), apart("window_s"))))
    duty = min(1.0, window.value / period)
    least = min(1.0, max(window.value - window.half_95, 0.0) / period)
    u_duty = max(window.u / period if duty < 1 else 0.0, (duty - least) / T95)  # more than all the time is no duty
    rise = rise_s(kernel)
    u_rise = float(np.hypot(
        fit.u(1) * _rise_slope(kernel, window=True), fit.u(2) * _rise_slope(kernel, window=False),
    ))  # fmt: skip
    gain, zero = Estimate(fit.gain, fit.u(3)), Estimate(fit.zero, fit.u_zero)
    return SensorCharacter(
        kind=kinds[0] if len(kinds) == 1 else None,
        kinds=kinds,
        update=Estimate(period, updates.u_period_s),
        window=window,
        duty=Estimate(duty, u_duty),
        tau=Estimate(kernel.tau_s, float(np.hypot(fit.u(2), apart("tau_s")))),
        delay=Estimate(kernel.delay_s, float(np.sqrt(fit.u_delay_s**2 + updates.u_phase_s**2 + apart("delay_s") ** 2))),
        lag=Estimate(kernel.lag_s, float(np.sqrt(fit.u(0) ** 2 + updates.u_phase_s**2 + apart("lag_s") ** 2))),
        rise=Estimate(rise, u_rise),
        gain=gain if load.watt else None,
        zero=zero if load.watt else None,
        contrast=None if load.watt else gain,
        rest=None if load.watt else zero,
        rivals=rivals,
        explained=fit.explained,
        noise_w=float(np.sqrt(np.mean(fit.rest_w**2))),
        readings=len(readings.t_s),
        seconds=float(readings.t_s[-1] - readings.t_s[0]),
        polled_s=updates.polled_s,
        repeated=updates.repeated,
        regular=updates.regular,
        rate_rel=kernel.rate_rel,
        kernel=kernel,
    )


def rise_s(kernel: Kernel) -> float:
    """Time in which the answer to a step goes from 10 to 90 %, s."""
    window, tau = kernel.window_s, kernel.tau_s
    reach = window + 6 * tau
    if reach <= 0:
        return 0.0
    step = Load.of_levels(0, np.array([-1.0, 0.0, 1.0]) * (reach + 1), np.array([0.0, 1.0]), watt=False)
    t = np.linspace(0, reach, RISE_STEPS)
    answer = step.read(t, window_s=window, tau_s=tau)
    return float(np.interp(0.9, answer, t) - np.interp(0.1, answer, t))


def _rise_slope(kernel: Kernel, *, window: bool) -> float:
    value = kernel.window_s if window else kernel.tau_s
    h = max(0.01 * value, 1e-6)
    more = Kernel(0.0, kernel.window_s + h * window, kernel.tau_s + h * (not window))
    return (rise_s(more) - rise_s(kernel)) / h
