"""Named clocks and the maps between them.

A time in joulebench is int64 nanoseconds of a *named* clock: `host`, `board:<name>`, `meter:<serial>`.
Only a ClockMap moves a time from one to another, and its residual enters the uncertainty.
Fitting maps is analysis (`analysis.timing.clocks`); this module only applies them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

HOST = "host"
OUTWARD_NS = 1_000_000_000_000  # a chained map gets knots this far outside, from which its end slopes are taken


def board_clock(name: str) -> str:
    """Name of the clock of the board `name`."""
    return f"board:{name}"


def meter_clock(serial: str) -> str:
    """Name of the clock of the meter with this serial number."""
    return f"meter:{serial}"


@dataclass(frozen=True)
class ClockMap:
    """Piecewise linear map from `source` to `target` time, extrapolating with the end slopes.

    `source_ns`, `target_ns`: int64 knots (K,), K >= 1, strictly increasing source.
    `residual_ns`: rms scatter of the pairs it was fitted to; `u_offset_ns`, `u_rate`: standard
    uncertainties of offset (ns) and relative rate (1).
    """

    source: str
    target: str
    source_ns: Int64Array
    target_ns: Int64Array
    residual_ns: float = 0.0
    u_offset_ns: float = 0.0
    u_rate: float = 0.0
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if len(self.source_ns) == 0 or len(self.source_ns) != len(self.target_ns):
            raise ValueError(f"clock map {self.source}->{self.target} needs equally many knots on both sides")
        if np.any(np.diff(self.source_ns) <= 0):
            raise ValueError(f"clock map {self.source}->{self.target}: source knots must increase")

    @classmethod
    def identity(cls, source: str, target: str, *, offset_ns: int = 0) -> ClockMap:
        knot = np.zeros(1, np.int64)
        return cls(source, target, knot, knot + np.int64(offset_ns))

    def apply(self, t_ns: npt.ArrayLike) -> Int64Array:
        """Times (any shape, int64 ns of `source`) -> int64 ns of `target`."""
        t = np.asarray(t_ns, np.int64)
        s, g = self.source_ns, self.target_ns
        if len(s) == 1:
            return np.asarray(t - s[0] + g[0], np.int64)
        k = np.clip(np.searchsorted(s, t, side="right") - 1, 0, len(s) - 2)
        excess = (np.diff(g) - np.diff(s)).astype(np.float64) / np.diff(s)  # rate - 1 is small: float64 is exact
        step = t - s[k]
        return np.asarray(g[k] + step + np.rint(step * excess[k]).astype(np.int64), np.int64)

    def inverse(self) -> ClockMap:
        return ClockMap(
            self.target, self.source, self.target_ns, self.source_ns,
            self.residual_ns, self.u_offset_ns, self.u_rate, self.notes,
        )  # fmt: skip

    def then(self, other: ClockMap) -> ClockMap:
        """The map source -> other.target, for a chain source -> target -> other.target."""
        if other.source != self.target:
            raise ValueError(f"cannot chain {self.source}->{self.target} with {other.source}->{other.target}")
        knots = np.unique(np.concatenate([self.source_ns, self.inverse().apply(other.source_ns)]))
        # Knots of the two maps may lie a few ns apart at the ends; end slopes must not come from such a pair.
        knots = np.concatenate([knots[:1] - OUTWARD_NS, knots, knots[-1:] + OUTWARD_NS])
        return ClockMap(
            self.source, other.target, knots, other.apply(self.apply(knots)),
            float(np.hypot(self.residual_ns, other.residual_ns)),
            float(np.hypot(self.u_offset_ns, other.u_offset_ns)),
            float(np.hypot(self.u_rate, other.u_rate)), self.notes + other.notes,
        )  # fmt: skip

    def shifted(self, offset_ns: int) -> ClockMap:
        """The same map with `offset_ns` added to the target side."""
        return ClockMap(
            self.source, self.target, self.source_ns, self.target_ns + np.int64(offset_ns),
            self.residual_ns, self.u_offset_ns, self.u_rate, self.notes,
        )  # fmt: skip
