"""What a pipeline should reach in the exam, and whether it did: limits are set beforehand, never after a look.

Coverage and scores are held against results of meters that keep their sheets and of worlds into which no fault was put:
nothing can be promised for a meter that breaks its own sheet (reported apart), and faults are graded by detection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.exam.detection import detection
from harness.exam.groups import TERTILES, by_budget_part, by_leverage, by_meter, fair_rows, fault_free_json
from harness.exam.row import ExamRow
from harness.exam.score import Grade, grade

COVERAGE, GROUP_COVERAGE = (0.93, 0.97), (0.91, 0.99)
SCORE_RATIO = 1.3
INVALID, FALSE_ALARMS = 0.02, 0.01
FAST_METERS = ("supply",)  # 5 kHz
FAST_ERROR, SLOW_ERROR = 0.003, 0.01
BIAS = 0.001
FOUND = 0.95
ENOUGH = 50  # results of a group, below which its coverage says nothing


@dataclass(frozen=True)
class Aim:
    """`value` (None: cannot be said) against `low` and `high`; `between`: its 95 % interval; `of`: the group that it is
    about; `is_ratio`: not a share; `met` is about the value, and None where there is none."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    between: tuple[float, float] | None = None
    of: str = ""
    is_ratio: bool = False

    @property
    def met(self) -> bool | None:
        return None if self.value is None else self._side(self.value) == 0

    @property
    def decided(self) -> bool | None:
        """Whether the whole interval lies within the limits, or beyond one of them; None where there is no interval."""
        if self.between is None or self.value is None:
            return None
        return len({self._side(edge) for edge in (*self.between, self.value)}) == 1

    def _side(self, value: float) -> int:
        """Below, within or above the limits: -1, 0, 1."""
        return int(self.high is not None and value > self.high) - int(self.low is not None and value < self.low)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met, "decided": self.decided}


def aims(rows: Sequence[ExamRow]) -> list[Aim]:
    """All aims over the rows of an exam."""
    fair = fair_rows(rows)
    whole, meters = grade(fair), {name: grade(part) for name, part in by_meter(fair).items()}
    thirds = {name: grade(part) for name, part in zip(TERTILES, by_leverage(fair), strict=False)}
    parts = {name: grade(part) for name, part in by_budget_part(fair).items()}
    found: list[Aim] = []
    for prefix, said in (("", "dynamic"), ("gross_", "gross")):
        key = f"{prefix}coverage_95"
        found.append(Aim(f"{said} coverage, overall", getattr(whole, key), *COVERAGE, getattr(whole, f"{key}_between")))
        groups = {"by meter": meters, "by leverage tertile": thirds, "by largest part": parts}
        found += [_worst(f"{said} coverage, {name}", group, key) for name, group in groups.items()]
    found.append(
        Aim(
            "interval score over the informed one's",
            whole.interval_score_ratio_informed,
            None,
            SCORE_RATIO,
            is_ratio=True,
        )
    )
    found += _errors(meters)
    u = whole.bias_apart_u
    bias = whole.bias_apart
    around = None if bias is None or u is None else (bias - 2 * u, bias + 2 * u)
    found.append(Aim("signed mean error, gain apart", bias, -BIAS, BIAS, around))
    return [*found, *_verdicts(rows)]


def _worst(name: str, group: Mapping[str, Grade], key: str) -> Aim:
    """The group that is furthest from 95 %, among those with enough results."""
    known = {n: g for n, g in group.items() if g.valid >= ENOUGH and getattr(g, key) is not None}
    if not known:
        return Aim(name, None, *GROUP_COVERAGE)
    worst = max(known, key=lambda n: abs(float(getattr(known[n], key)) - 0.95))
    return Aim(name, getattr(known[worst], key), *GROUP_COVERAGE, getattr(known[worst], f"{key}_between"), worst)


def _errors(meters: Mapping[str, Grade]) -> list[Aim]:
    """The worst of the fast and of the slow meters."""
    found = []
    for name, fast, limit in (("fast", True, FAST_ERROR), ("slow", False, SLOW_ERROR)):
        known = {
            m: g.median_abs_error_apart
            for m, g in meters.items()
            if (m in FAST_METERS) is fast and g.median_abs_error_apart is not None
        }
        worst = max(known, key=lambda m: known[m], default="")
        found.append(Aim(f"median error, gain apart, {name} meters", known.get(worst), None, limit, of=worst))
    return found


def _verdicts(rows: Sequence[ExamRow]) -> list[Aim]:
    clean = fault_free_json(rows)
    found = detection(rows)["found"]
    share, between = (found["share"], (found["low"], found["high"])) if found else (None, None)
    return [
        Aim("refused where nothing is broken", clean["invalid_share"], None, INVALID, clean["invalid_between"]),
        Aim("alarms where nothing is broken", clean["false_alarm_share"], None, FALSE_ALARMS,
            clean["false_alarm_between"]),
        Aim("faults that moved the energy found", share, FOUND, None, between),
    ]  # fmt: skip
