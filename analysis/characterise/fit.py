"""One kernel fitted to readings of a known load: lag, window and filter searched, levels and drift solved.

Searched are the mean age of what a reading holds (`lag`), the length of its window and the time constant before it;
at each trial the levels are linear, so least squares gives them (variable projection, G. Golub, V. Pereyra, SIAM J.
Numer. Anal. 10 (1973) 413). Lag, window and time constant move the first and the second moment of a kernel, so they
disturb each other little. Errors come from blocks of time, whose scatter knows what the load did by itself (H. White,
Econometrica 48 (1980) 817, clustered); never from a formula for white noise alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.characterise.load import Load
from harness.core.clock import FloatArray

MOST_READINGS = 20_000
SCANNED = 500  # readings that the first scan looks at
SEARCHED = 2_500  # and that the search does, before all are
STEPS = 10  # lags tried within the length of a kernel
BLOCKS, LEAST_BLOCKS = 24, 8
MEMORIES = 4  # lengths of a reading's memory in a block, so that blocks are free of each other
RATE_ROUNDS = 2
LONGER, UNLIKELY = 40, 3.84  # windows tried, each 1.3 of the one before; chi square of one parameter, 95 %


@dataclass(frozen=True)
class Kernel:
    """Mean age of a reading's content at its stamp, its window, the time constant before it, s; `rate_rel`: by how much
    the readings' clock runs fast against the load's (relative), about the middle of the record."""

    lag_s: float
    window_s: float
    tau_s: float = 0.0
    rate_rel: float = 0.0

    @property
    def delay_s(self) -> float:
        """From the end of the window to the stamp."""
        return self.lag_s - self.window_s / 2 - self.tau_s


@dataclass(frozen=True)
class KernelFit:
    """`covariance`: float64 (4, 4) of lag, window, tau (s) and gain; `gain`, `zero`: reading = gain x load + zero, in
    W (of a load of 0 and 1: contrast and rest); `u_zero`; `square`: sum of squares of the residuals `rest_w` (N,);
    `n_free`: so many of them are free of each other; `parameters`; `explained`: share of the readings' variance."""

    kernel: Kernel
    covariance: FloatArray
    gain: float
    zero: float
    u_zero: float
    square: float
    rest_w: FloatArray
    n_free: float
    parameters: int
    explained: float

    def u(self, k: int) -> float:
        return float(np.sqrt(max(self.covariance[k, k], 0.0)))

    @property
    def u_delay_s(self) -> float:
        w = np.array([1.0, -0.5, -1.0, 0.0])
        return float(np.sqrt(max(w @ self.covariance @ w, 0.0)))


@dataclass(frozen=True)
class Readings:
    """Readings at `t_s` (N,), seconds on the load's axis, `power_w` (N,); `slow`: float64 (N, D) columns for
    changes that are not the load's, the first of ones; `base`: orthonormal, of the same space; `bare_w`: power without
    what they explain."""

    t_s: FloatArray
    power_w: FloatArray
    slow: FloatArray
    base: FloatArray
    bare_w: FloatArray

    @classmethod
    def of(cls, t_s: FloatArray, power_w: FloatArray, *, orders: int) -> Readings:
        """`orders`: highest power of time that is let through (0: levels are constant)."""
        good = np.isfinite(power_w)
        t_s, power_w = t_s[good], power_w[good]
        x = 2 * (t_s - t_s[0]) / max(float(t_s[-1] - t_s[0]), 1e-9) - 1
        columns = np.asarray(np.polynomial.legendre.legvander(x, orders), np.float64)
        return cls._with(t_s, power_w, columns).thinned(MOST_READINGS)

    @classmethod
    def _with(cls, t_s: FloatArray, power_w: FloatArray, slow: FloatArray) -> Readings:
        base, _ = np.linalg.qr(slow)
        return cls(t_s, power_w, slow, base, power_w - base @ (base.T @ power_w))

    def thinned(self, most: int) -> Readings:
        """At most so many of them, evenly taken: each one says what it says alone."""
        n = len(self.t_s)
        if n <= most:
            return self
        pick = np.linspace(0, n - 1, most).astype(np.int64)
        return Readings._with(self.t_s[pick], self.power_w[pick], self.slow[pick])

    @property
    def middle_s(self) -> float:
        return float(self.t_s[0] + self.t_s[-1]) / 2

    def columns(self, load: Load, kernel: Kernel) -> FloatArray:
        """What the load, and what it holds after work, would read through the kernel, (N, 1) or (N, 2)."""
        ends = self.t_s - kernel.delay_s - kernel.rate_rel * (self.t_s - self.middle_s)
        parts = [load] if load.held is None else [load, load.held]
        return np.column_stack([p.read(ends, window_s=kernel.window_s, tau_s=kernel.tau_s) for p in parts])

    def square(self, load: Load, kernel: Kernel) -> float:
        """Sum of squares that the kernel leaves, levels and drift at their best."""
        columns = self.columns(load, kernel)
        columns = columns - self.base @ (self.base.T @ columns)
        along = columns.T @ self.bare_w
        return float(self.bare_w @ self.bare_w - along @ np.linalg.pinv(columns.T @ columns, rcond=1e-12) @ along)

    def solved(self, load: Load, kernel: Kernel) -> tuple[float, FloatArray, FloatArray]:
        """(sum of squares, coefficients (D+1,) or (D+2,): drift, gain, held level; residuals)."""
        x = np.column_stack([self.slow, self.columns(load, kernel)])
        coefficients = np.linalg.lstsq(x, self.power_w, rcond=None)[0]
        rest = self.power_w - x @ coefficients
        return float(rest @ rest), np.asarray(coefficients, np.float64), np.asarray(rest, np.float64)


@dataclass(frozen=True)
class Peak:
    """A kernel of the scan, and the share of variance that it explains."""

    kernel: Kernel
    explained: float


def scan(
    load: Load, readings: Readings, shapes: Sequence[tuple[float, float]], *, lags_s: tuple[float, float], step_s: float
) -> list[Peak]:
    """Every shape (window, tau) at every lag of the range: the best lag of each, and the best far from it."""
    some = readings.thinned(SCANNED)
    t, base, y = some.t_s, some.base, some.bare_w
    found: list[Peak] = []
    for window, tau in shapes:
        step = max(step_s, (window + 2 * tau) / STEPS)  # long kernels change little from one lag to the next
        lags = np.arange(lags_s[0], lags_s[1], step)
        explained = np.empty(len(lags))
        state = load.states(tau) if tau > 0 else None
        for a in range(0, len(lags), 256):
            ends = t[:, None] - (lags[None, a : a + 256] - window / 2 - tau)
            k = _read(load, ends, window, tau, state)
            k -= base @ (base.T @ k)
            along = np.einsum("ij,i->j", k, y)
            own = np.einsum("ij,ij->j", k, k)
            explained[a : a + 256] = np.where(own > 0, along * np.abs(along) / np.maximum(own, 1e-300), 0.0)
        explained /= max(float(y @ y), 1e-300)
        best = int(np.argmax(explained))
        found.append(Peak(Kernel(float(lags[best]), window, tau), float(explained[best])))
        apart = np.abs(lags - lags[best]) > max(2 * load.shortest_s, 0.75 * (window + 2 * tau), 3 * step)
        if np.any(apart):
            other = int(np.argmax(np.where(apart, explained, -np.inf)))
            found.append(Peak(Kernel(float(lags[other]), window, tau), float(explained[other])))
    return sorted(found, key=lambda p: -p.explained)


def _read(load: Load, ends: FloatArray, window: float, tau: float, state: FloatArray | None) -> FloatArray:
    if state is None:
        return load.read(ends, window_s=window, tau_s=0.0)
    return load.filtered(ends, tau, state)


@dataclass(frozen=True)
class Search:
    """What is searched: `free`, fields of the kernel (lag_s always, window_s, tau_s); `scale_s`: a step to begin with;
    no window and no time constant above `cap_s`; `rate`: the clock's rate too."""

    free: tuple[str, ...]
    scale_s: float
    cap_s: float
    rate: bool


def refine(load: Load, readings: Readings, starts: Sequence[Kernel], search: Search) -> KernelFit:
    """Least squares from the best of `starts`: first over some of the readings, then over all."""
    some = readings.thinned(SEARCHED)
    tried = [_descend(load, some, start, search, evaluations=100) for start in starts]
    best = min(tried, key=lambda kernel: some.square(load, kernel))
    for _ in range(RATE_ROUNDS if search.rate else 0):
        best = _descend(load, some, _with_rate(load, some, best, search.scale_s), search, evaluations=60)
    small = Search(search.free, 0.1 * search.scale_s, search.cap_s, search.rate)
    if search.rate:
        best = _with_rate(load, readings, best, search.scale_s)
    best = _descend(load, readings, best, small, evaluations=80)
    return _measured(load, readings, best, search)


def _descend(load: Load, readings: Readings, start: Kernel, search: Search, *, evaluations: int) -> Kernel:
    """Downhill simplex (J. Nelder, R. Mead, Comput. J. 7 (1965) 308): a point reading's sum of squares has steps."""
    from scipy.optimize import minimize

    def of(x: FloatArray) -> Kernel:
        values = dict(zip(search.free, np.abs(x).tolist(), strict=True))
        window, tau = values.get("window_s", start.window_s), values.get("tau_s", start.tau_s)
        return Kernel(float(x[0]), min(window, search.cap_s), min(tau, search.cap_s), start.rate_rel)

    x0 = np.array([getattr(start, name) for name in search.free])
    step = np.array([search.scale_s] + [max(0.2 * v * (evaluations > 80), 0.3 * search.scale_s) for v in x0[1:]])
    done = minimize(
        lambda x: readings.square(load, of(x)), x0, method="Nelder-Mead",
        options={"initial_simplex": np.vstack([x0, x0 + np.diag(step)]), "maxfev": evaluations,
                 "xatol": 1e-3 * search.scale_s, "fatol": 0.0},
    )  # fmt: skip
    return of(np.asarray(done.x))


def _with_rate(load: Load, readings: Readings, kernel: Kernel, scale_s: float) -> Kernel:
    """One Gauss-Newton step of the rate."""
    _, coefficients, rest = readings.solved(load, kernel)
    sizes = coefficients[readings.slow.shape[1] :]
    slope = _slope(load, readings, kernel, "lag_s", scale_s) @ sizes
    column = slope * (readings.t_s - readings.middle_s)
    x = np.column_stack([readings.slow, readings.columns(load, kernel), slope, column])
    step = float(np.linalg.lstsq(x, rest, rcond=None)[0][-1])
    return Kernel(kernel.lag_s, kernel.window_s, kernel.tau_s, kernel.rate_rel + step)


def _slope(load: Load, readings: Readings, kernel: Kernel, name: str, scale_s: float) -> FloatArray:
    """Change of the columns with a field of the kernel, per s."""
    value = getattr(kernel, name)
    h = max(0.05 * scale_s, 0.02 * abs(value) if name != "lag_s" else 0.0)
    low, high = (value - h, value + h) if name == "lag_s" else (max(value - h, 0.0), value + h)
    fields = {"lag_s": kernel.lag_s, "window_s": kernel.window_s, "tau_s": kernel.tau_s, "rate_rel": kernel.rate_rel}
    a = readings.columns(load, Kernel(**(fields | {name: low})))
    b = readings.columns(load, Kernel(**(fields | {name: high})))
    return np.asarray((b - a) / (high - low), np.float64)


def _measured(load: Load, readings: Readings, kernel: Kernel, search: Search) -> KernelFit:
    free, scale_s, rate = search.free, search.scale_s, search.rate
    square, coefficients, rest = readings.solved(load, kernel)
    sizes = coefficients[readings.slow.shape[1] :]
    gain = float(sizes[0])
    slopes = {name: _slope(load, readings, kernel, name, scale_s) @ sizes for name in free}
    columns = [slopes[name] for name in free] + list(readings.columns(load, kernel).T)
    if rate:
        columns.append(slopes["lag_s"] * (readings.t_s - readings.middle_s))
    jacobian = np.column_stack([*columns, readings.slow])
    n_free = free_readings(rest)
    memories = float(np.ptp(readings.t_s)) / max(MEMORIES * (kernel.window_s + 2 * kernel.tau_s), 1e-9)
    covariance = _covariance(
        jacobian, rest, n_free, blocks=int(np.clip(memories, LEAST_BLOCKS, min(BLOCKS, len(rest))))
    )
    keep = {"lag_s": 0, "window_s": 1, "tau_s": 2}
    place = [keep[name] for name in free] + [3]
    full = np.zeros((4, 4))
    full[np.ix_(place, place)] = covariance[: len(place), : len(place)]
    if "window_s" in free and np.sqrt(full[1, 1]) > 0.4 * kernel.window_s:
        ratio = _window_u(load, readings, kernel, square, n_free, float(np.sqrt(full[1, 1])), scale_s)
        full[1, :] *= ratio
        full[:, 1] *= ratio
    zero_at = len(columns)
    around = readings.power_w - float(np.mean(readings.power_w))
    return KernelFit(
        kernel, full, gain, float(coefficients[0]), float(np.sqrt(covariance[zero_at, zero_at])), square, rest, n_free,
        jacobian.shape[1], 1 - square / max(float(around @ around), 1e-300),
    )  # fmt: skip


def _window_u(
    load: Load, readings: Readings, kernel: Kernel, square: float, n_free: float, u_s: float, scale_s: float
) -> float:
    """By how much the uncertainty of a short window is to be taken smaller, 0..1. Near 0 a window shows in its square
    only, so slopes say nothing of it: the longest is taken that leaves a sum of squares hardly larger, the filter made
    shorter so that the second moment stays."""
    window = max(kernel.window_s, 0.1 * scale_s)
    for _ in range(LONGER):
        window *= 1.3
        rest = kernel.tau_s**2 - (window**2 - kernel.window_s**2) / 12
        longer = Kernel(kernel.lag_s, window, float(np.sqrt(max(rest, 0.0))), kernel.rate_rel)
        if n_free * float(np.log(max(readings.square(load, longer), 1e-300) / max(square, 1e-300))) > UNLIKELY:
            break
    return min(1.0, (window - kernel.window_s) / 2 / u_s)


def free_readings(rest: FloatArray) -> float:
    """How many residuals are free of each other: N / (1 + 2 sum of their correlations, up to the first near 0)."""
    n = len(rest)
    if not np.any(rest):
        return float(n)
    size = 1 << (2 * n - 1).bit_length()
    own = np.fft.irfft(np.abs(np.fft.rfft(rest, size)) ** 2, size)[: max(n // 4, 2)]
    alike = own[1:] / own[0]
    small = np.flatnonzero(alike <= 0.02)
    total = 1 + 2 * float(alike[: small[0] if len(small) else len(alike)].sum())
    return max(n / total, 4.0)


def _covariance(jacobian: FloatArray, rest: FloatArray, n_free: float, *, blocks: int) -> FloatArray:
    """The larger, element of the diagonal by element, of the blocks' scatter and of the plain formula at `n_free`."""
    n, p = jacobian.shape
    scale = np.sqrt(np.mean(jacobian**2, axis=0))
    scale[scale == 0] = 1.0  # nothing in the record shows this parameter
    x = jacobian / scale
    inverse = np.linalg.pinv(x.T @ x, rcond=1e-12)
    variance = float(rest @ rest) / n * n_free / max(n_free - p, 1.0)
    plain = inverse * variance * (n / n_free)
    from scipy.special import stdtrit

    score = np.array([part.sum(axis=0) for part in np.array_split(x * rest[:, None], blocks)])
    clustered = inverse @ (score.T @ score) @ inverse * blocks / max(blocks - 1, 1)
    grown = np.sqrt(np.maximum(np.diag(plain) / np.maximum(np.diag(clustered), 1e-300), 1.0))
    grown = grown * _few(inverse @ x.T) * stdtrit(blocks - 1, 0.975) / stdtrit(BLOCKS - 1, 0.975)
    return np.asarray(clustered * grown[:, None] * grown[None, :] / np.outer(scale, scale), np.float64)


def _few(influence: FloatArray) -> FloatArray:
    """(P,) factors >= 1 on standard uncertainties of parameters that rest on few readings, `influence` (P, N): a window
    seen at two edges is two readings, however long the record. So many readings as carry the weight (participation
    ratio) give Student's factor over the one used for 23 blocks."""
    from scipy.special import stdtrit

    square = influence**2
    carried = square.sum(axis=1) ** 2 / np.maximum((square**2).sum(axis=1), 1e-300)
    dof = np.clip(carried - 1, 1.0, None)
    return np.asarray(np.maximum(stdtrit(dof, 0.975) / stdtrit(BLOCKS - 1, 0.975), 1.0), np.float64)
