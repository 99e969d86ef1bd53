"""EnergyResult: joules with a budget of uncertainty and flags, or a typed *invalid* with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class BudgetPart:
    """One named part of the uncertainty of energy per inference.

    `u_j`: standard uncertainty in J of dynamic energy; `gross_u_j`: of gross energy; `type`: "A" from
    scatter, "B" from other knowledge; `dof`: degrees of freedom (inf for type B); `common`: the part is
    shared by all results of the same bench (it cancels in their ratios).
    """

    name: str
    type: str
    u_j: float
    gross_u_j: float
    dof: float
    common: bool = False


@dataclass(frozen=True)
class EnergyResult:
    """What one meter channel says about one run. Energies are per inference and None when
    invalid, and so are coverage and the largest gap: what was not worked out is never 0."""

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
                    "share": p.u_j**2 / total if total > 0 else 0.0,
                }
                for p in self.budget
            ],
            "simulated": self.simulated,
            "meter": self.meter,
            "channel": self.channel,
            "details": dict(self.details),
        }
