"""EnergyResult: joules with a budget of uncertainty and flags, or a typed *invalid* with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    VALID = "valid"
    INVALID = "invalid"


class InvalidReason(StrEnum):
    """Why a run yields no figure. Never answered by a 0."""

    NO_READINGS = "no_readings"  # the meter yielded nothing usable
    NO_INFERENCES = "no_inferences"  # the board recorded no measured inference
    COVERAGE = "coverage"  # too much of the measured time has no reading
    CLOCKS = "clocks"  # the meter's and the board's clock could not be tied together unambiguously
    STANDBY_MISSING = "standby_missing"  # a standby bracket is missing or not covered
    STANDBY_MOVED = "standby_moved"  # the standby brackets differ by more than the result can bear
    BELOW_STANDBY = "below_standby"  # the interval of dynamic energy includes 0
    NOT_CALIBRATED = "not_calibrated"  # readings without a calibration
    SATURATED = "saturated"  # the meter's range was exceeded
    STUCK = "stuck"  # a counter or register stood still while the board worked
    BELOW_RESOLUTION = "below_resolution"  # shorter than the meter can resolve
    OUTPUT_MISMATCH = "output_mismatch"  # the board's output differs from the host reference
    THROTTLED = "throttled"  # the board slowed itself down
    NO_STEADY_STATE = "no_steady_state"  # inferences were still changing, and the protocol requires that they are not


class Shape(StrEnum):
    """How a part of the budget is distributed (JCGM 101:2008, 6.4), seen from the figure."""

    STUDENT = "student"  # of a scatter: Student's with the part's degrees of freedom, normal without a number of them
    RECTANGULAR = "rectangular"  # anywhere within limits that are known
    LIMITS = "limits"  # anywhere within limits that are themselves not exactly known, as those of a sheet
    ARCSINE = "arcsine"  # crowded at both limits
    ABOVE = "above"  # the truth is above the figure, by anything up to a limit


@dataclass(frozen=True)
class BudgetPart:
    """One named part of the uncertainty of energy per inference.

    `u_j`: standard uncertainty in J of dynamic energy; `gross_u_j`: of gross energy; `type`: "A" from
    scatter, "B" from other knowledge; `dof`: degrees of freedom (inf for type B); `common`: the part is
    shared by all results of the same bench (it cancels in their ratios); `shape`: its distribution,
    and `skew` its skewness (of scatter with rare events).
    """

    name: str
    type: str
    u_j: float
    gross_u_j: float
    dof: float
    common: bool = False
    shape: Shape = Shape.STUDENT
    skew: float = 0.0


@dataclass(frozen=True)
class LayerEnergy:
    """Dynamic energy of one layer, or of a group of layers that the meter cannot tell apart, in one inference.

    `group`: names of its layers if it is a group, else None; `energy_j` is above standby, with standard uncertainty
    `u_j` and 95 % interval; `gross_energy_j` includes standby; `duration_s`: mean time in one inference;
    `proportional_j`: what sharing the inference's energy by time would say (for comparison only); `kernels`:
    indices into the profile's kernels. Rows of a result are disjoint: their sum is the sum over all layers.
    """

    name: str
    op: str
    source_nodes: tuple[str, ...]
    energy_j: float
    u_j: float
    interval_95_j: tuple[float, float]
    group: tuple[str, ...] | None
    gross_energy_j: float
    duration_s: float
    proportional_j: float
    kernels: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            **{k: getattr(self, k) for k in ("name", "op", "energy_j", "u_j", "gross_energy_j", "duration_s")},
            "proportional_j": self.proportional_j,
            "source_nodes": list(self.source_nodes),
            "interval_95_j": list(self.interval_95_j),
            "group": None if self.group is None else list(self.group),
            "kernels": list(self.kernels),
        }


@dataclass(frozen=True)
class LayerReport:
    """Layers of a result and how they close against the whole. `problem`: empty, or why there are no layers.

    `sum_j`: sum over `layers`; `difference_j`: sum minus Eq. 1 of the same run, with `difference_u_j`; `closes`: they
    agree within twice that and 1 % of the whole. `details`: stamps used, shifts and time constants found, ...
    """

    layers: tuple[LayerEnergy, ...] = ()
    sum_j: float | None = None
    difference_j: float | None = None
    difference_u_j: float | None = None
    closes: bool | None = None
    problem: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def closure_json(self) -> dict[str, Any]:
        names = ("sum_j", "difference_j", "difference_u_j", "closes", "problem")
        return {**{name: getattr(self, name) for name in names}, "details": dict(self.details)}


def _finite(value: float | tuple[float, float] | None) -> float | tuple[float, float] | None:
    """None for what is not finite: JSON has no word for it."""
    numbers = value if isinstance(value, tuple) else (value,)
    return value if all(x is not None and math.isfinite(x) for x in numbers) else None


@dataclass(frozen=True)
class EnergyResult:
    """What one meter channel says about one run. Energies are per inference and None when
    invalid, and so are coverage and the largest gap: what was not worked out is never 0.

    A valid result whose measurand is gross energy (imported traces without standby) has no dynamic energy: None.
    `layers` is None where no layers were asked for.
    """

    status: Status
    reason: str | None
    measurand: str
    energy_per_inference_j: float | None
    u_j: float | None
    interval_95_j: tuple[float, float] | None
    gross_energy_per_inference_j: float | None
    gross_u_j: float | None
    gross_interval_95_j: tuple[float, float] | None
    gap_energy_per_inference_j: float | None
    standby_w: float | None
    standby_u_w: float | None
    n: int
    starts: int
    coverage: float | None
    largest_gap_ns: int | None
    leverage: float | None
    flags: tuple[str, ...]
    budget: tuple[BudgetPart, ...]
    simulated: bool
    meter: str
    channel: str
    details: Mapping[str, Any]
    layers: LayerReport | None = None

    def refused(self, reason: str, detail: str) -> EnergyResult:
        """The same without a figure, for this reason. What had been worked out stays in `details["refused"]`: never a
        figure, but an interval that holds 0 says how little there can be."""
        figures = (
            "energy_per_inference_j", "u_j", "interval_95_j", "gross_energy_per_inference_j", "gross_u_j",
            "gross_interval_95_j", "gap_energy_per_inference_j",
        )  # fmt: skip
        details = {
            **self.details,
            "invalid": detail,
            "refused": {name: _finite(getattr(self, name)) for name in figures},
        }
        nothing: dict[str, Any] = dict.fromkeys(figures)
        return replace(self, status=Status.INVALID, reason=str(reason), budget=(), details=details, **nothing)

    def to_json(self) -> dict[str, Any]:
        """The script contract of `joulebench show --json` (plain JSON types, NaN-free)."""
        total = sum(p.u_j**2 for p in self.budget)
        return {
            "status": str(self.status),
            "reason": self.reason,
            "measurand": self.measurand,
            "energy_per_inference_j": self.energy_per_inference_j,
            "u_j": self.u_j,
            "interval_95_j": list(self.interval_95_j) if self.interval_95_j else None,
            "gross_energy_per_inference_j": self.gross_energy_per_inference_j,
            "gross_u_j": self.gross_u_j,
            "gross_interval_95_j": list(self.gross_interval_95_j) if self.gross_interval_95_j else None,
            "gap_energy_per_inference_j": self.gap_energy_per_inference_j,
            "standby_w": self.standby_w,
            "standby_u_w": self.standby_u_w,
            "n": self.n,
            "starts": self.starts,
            "coverage": self.coverage,
            "largest_gap_ns": self.largest_gap_ns,
            "leverage": self.leverage,
            "flags": list(self.flags),
            "budget": [
                {
                    "name": p.name,
                    "type": p.type,
                    "u_j": p.u_j,
                    "gross_u_j": p.gross_u_j,
                    "dof": p.dof if p.dof != float("inf") else None,
                    "common": p.common,
                    "shape": str(p.shape),
                    "skew": p.skew,
                    "share": p.u_j**2 / total if total > 0 else 0.0,
                }
                for p in self.budget
            ],
            "simulated": self.simulated,
            "meter": self.meter,
            "channel": self.channel,
            "details": dict(self.details),
            "layers": [layer.to_json() for layer in self.layers.layers] if self.layers else [],
            "closure": self.layers.closure_json() if self.layers else None,
        }
