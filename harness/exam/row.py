"""One result beside its truth, as the exam keeps it: written to JSON and read back without a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.core.result import Status
from harness.exam.estimate import Estimate, Interval

ANSWERS = ("valid", "error_rel", "error_apart_rel", "holds_realised", "holds_expected", "gross_holds_expected")


@dataclass(frozen=True)
class Truth:
    """Mean energies of the measured inferences of one run at one plane, J; `found`: share found in the log.

    `longer`: mean duration of an inference in this world over that of the measured ones (1 where only the clock knows).
    """

    realised_j: float
    expected_j: float
    gross_realised_j: float
    gross_expected_j: float
    found: float
    longer: float = 1.0


@dataclass(frozen=True)
class Part:
    """A part of the stated budget: standard uncertainty (J) of dynamic and gross energy; `dof` None: no limit."""

    name: str
    u_j: float
    gross_u_j: float
    dof: float | None


@dataclass(frozen=True)
class Twin:
    """The same world and meter without what was injected: the pipeline's figure and u (J), and the realised truth (J).

    Figures are None where the pipeline refused the twin as well.
    """

    valid: bool
    dynamic_j: float | None
    u_j: float | None
    realised_j: float
    flags: tuple[str, ...] = ()
    practitioner_j: float | None = None


@dataclass(frozen=True)
class ExamRow:
    """One result beside its truth, and what practitioner and oracles say. Measured figures are None where the result is
    invalid. `leverage`: standby over dynamic power; `largest_part`: name of the budget's largest part; `faults`: what
    the world and the meter have of `harness.exam.faults` (empty: a refusal is a fault of the pipeline's);
    `true_alarms`: what may be said of this world all the same.

    `gain_rel`: by how much this meter scales dynamic energy (gain, ranges, warm shunt, bent characteristic);
    `outside_sheet`: its gain or zero is beyond its sheet's limits; `type_b`: the distribution that both were drawn from
    ("sheet", or one that the sheet does not say); `solved_j`: the figure before it was judged (refused results have one
    too, if they came that far); `levels`, `gross_levels`: nominal coverage ("0.50" ...) -> the interval that the result
    states at it; `injected`: what was done to this world on purpose; `twin`: the same without it.
    """

    run_id: str
    world: str
    model: str
    meter: str
    status: str
    reason: str | None
    n: int
    starts: int
    measured_j: float | None
    u_j: float | None
    interval_j: Interval | None
    gross_measured_j: float | None
    gross_interval_j: Interval | None
    flags: tuple[str, ...]
    truth: Truth
    leverage: float | None = None
    largest_part: str | None = None
    faults: tuple[str, ...] = ()
    true_alarms: tuple[str, ...] = ()
    practitioner: Estimate | None = None
    oracle: Estimate | None = None
    informed: Estimate | None = None
    learner: Estimate | None = None
    gain_rel: float | None = None
    outside_sheet: bool | None = None
    type_b: str | None = None
    solved_j: float | None = None
    parts: tuple[Part, ...] = ()
    levels: Mapping[str, Interval] = field(default_factory=dict)
    gross_levels: Mapping[str, Interval] = field(default_factory=dict)
    injected: tuple[str, ...] = ()
    twin: Twin | None = None

    @property
    def valid(self) -> bool:
        return self.status == Status.VALID

    @property
    def error_rel(self) -> float | None:
        """Signed error of dynamic energy against the realised truth, relative."""
        return None if self.measured_j is None else self.measured_j / self.truth.realised_j - 1

    @property
    def error_apart_rel(self) -> float | None:
        """The same with the meter's true gain divided out; None where that is not known."""
        if self.measured_j is None or self.gain_rel is None:
            return None
        return self.measured_j / (1 + self.gain_rel) / self.truth.realised_j - 1

    @property
    def holds_realised(self) -> bool | None:
        return _holds(self.interval_j, self.truth.realised_j)

    @property
    def holds_expected(self) -> bool | None:
        return _holds(self.interval_j, self.truth.expected_j)

    @property
    def gross_holds_expected(self) -> bool | None:
        return _holds(self.gross_interval_j, self.truth.gross_expected_j)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), **{name: getattr(self, name) for name in ANSWERS}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExamRow:
        """The row that `to_json` wrote, whether or not JSON has been in between."""
        known = {k: v for k, v in data.items() if k not in ANSWERS}
        for name in ("practitioner", "oracle", "informed", "learner"):
            known[name] = _estimate(known.get(name))
        twin = known.get("twin")
        known["twin"] = None if twin is None else Twin(**{**twin, "flags": tuple(twin["flags"])})
        for name in ("interval_j", "gross_interval_j"):
            known[name] = _pair(known[name])
        for name in ("levels", "gross_levels"):
            known[name] = {level: (low, high) for level, (low, high) in known.get(name, {}).items()}
        for name in ("flags", "faults", "true_alarms", "injected"):
            known[name] = tuple(known.get(name, ()))
        known["parts"] = tuple(Part(**part) for part in known.get("parts", ()))
        return cls(**{**known, "truth": Truth(**known["truth"])})


def part_of(name: str, u_j: float, gross_u_j: float, dof: float) -> Part:
    return Part(name, u_j, gross_u_j, None if math.isinf(dof) else dof)


def _estimate(data: Mapping[str, Any] | None) -> Estimate | None:
    if data is None:
        return None
    pairs = {name: _pair(data[name]) for name in ("interval_j", "gross_interval_j")}
    return Estimate(**{**data, **pairs})


def _pair(value: Any) -> Interval | None:
    return None if value is None else (value[0], value[1])


def _holds(interval: Interval | None, value: float) -> bool | None:
    return None if interval is None else interval[0] <= value <= interval[1]
