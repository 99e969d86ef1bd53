"""Results of an exam by what they have in common, each group graded by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.exam.alarms import ALARMS, CONDITIONS, alarms
from harness.exam.row import ExamRow
from harness.exam.score import grade
from harness.exam.shares import maybe_share

BESIDE = "beside_a_fault"  # of `faults`: another meter on the bench was given one
USUAL_TYPE_B = (None, "sheet")  # of `type_b`: as a sheet would have it, as far as anybody knows
TERTILES = ("low", "middle", "high")


def by_meter(rows: Sequence[ExamRow]) -> dict[str, list[ExamRow]]:
    """Rows of each meter, in the order in which the meters appear."""
    return {meter: [r for r in rows if r.meter == meter] for meter in dict.fromkeys(r.meter for r in rows)}


def by_leverage(rows: Sequence[ExamRow]) -> list[list[ExamRow]]:
    """Tertiles of the valid rows by leverage (standby over dynamic power), lowest first; fewer where rows are."""
    known = sorted((r.leverage, k) for k, r in enumerate(rows) if r.valid and r.leverage is not None)
    parts = [part for part in np.array_split(np.arange(len(known)), len(TERTILES)) if len(part)]
    return [[rows[known[k][1]] for k in part] for part in parts]


def by_budget_part(rows: Sequence[ExamRow]) -> dict[str, list[ExamRow]]:
    """Valid rows by the largest part of their budget."""
    names = sorted({r.largest_part for r in rows if r.valid and r.largest_part is not None})
    return {name: [r for r in rows if r.valid and r.largest_part == name] for name in names}


def by_sheet(rows: Sequence[ExamRow]) -> dict[str, list[ExamRow]]:
    """Rows of meters that keep their sheet, of those that break it (gain or zero beyond the limit), and of those whose
    gain and zero are drawn from a distribution that no sheet says."""
    usual = [r for r in rows if r.type_b in USUAL_TYPE_B]
    known = {"kept": [r for r in usual if r.outside_sheet is False], "broken": [r for r in usual if r.outside_sheet]}
    for name in sorted({r.type_b for r in rows if r.type_b is not None and r.type_b not in USUAL_TYPE_B}):
        known[name] = [r for r in rows if r.type_b == name]
    return {name: part for name, part in known.items() if part}


def untouched(rows: Sequence[ExamRow]) -> list[ExamRow]:
    """Rows of worlds into which no fault was put. With one they are there a second time, for detection only."""
    return [r for r in rows if not r.injected and BESIDE not in r.faults]


def fair_rows(rows: Sequence[ExamRow]) -> list[ExamRow]:
    """What intervals can be held to: meters that keep their sheets (or of which nobody knows), nothing put in."""
    return [r for r in untouched(rows) if r.outside_sheet is not True and r.type_b in USUAL_TYPE_B]


def fault_free(rows: Sequence[ExamRow]) -> list[ExamRow]:
    """Rows of which neither world nor meter has a fault (`harness.exam.faults`), nor was given one."""
    return [r for r in untouched(rows) if r.oracle is not None and not r.faults]


def fault_free_json(rows: Sequence[ExamRow]) -> dict[str, Any]:
    """Refusals and alarms where nothing is broken: each of them is one too many. Conditions are only counted."""
    clean = fault_free(rows)
    refused = Counter(str(r.reason) for r in clean if not r.valid)
    invalid = sum(refused.values())
    return {
        "scenarios": len({r.world for r in clean}),
        "results": len(clean),
        "invalid": invalid,
        "invalid_share": invalid / len(clean) if clean else None,
        "invalid_between": _between(clean, lambda r: not r.valid),
        "invalid_reasons": dict(sorted(refused.items())),
        "false_alarms": sum(map(alarmed, clean)),
        "false_alarm_share": sum(map(alarmed, clean)) / len(clean) if clean else None,
        "false_alarm_between": _between(clean, alarmed),
        "alarms": _counted(clean, ALARMS),
        "conditions": _counted(clean, CONDITIONS),
    }


def alarmed(row: ExamRow) -> bool:
    """A figure that comes with an alarm of a fault, unless what it says is so."""
    return row.valid and bool(alarms(row.flags) - set(row.true_alarms))


def _counted(rows: Sequence[ExamRow], names: frozenset[str]) -> dict[str, int]:
    return dict(sorted(Counter(flag for r in rows if r.valid for flag in r.flags if flag in names).items()))


def _between(rows: Sequence[ExamRow], asked: Callable[[ExamRow], bool]) -> tuple[float, float] | None:
    share = maybe_share([asked(r) for r in rows], [r.world for r in rows])
    return None if share is None else (share.low, share.high)


def graded_groups(rows: Sequence[ExamRow]) -> dict[str, Any]:
    """All groups as JSON."""
    thirds = [
        {"from": min(leverages), "to": max(leverages), **grade(part).to_json()}
        for part in by_leverage(rows)
        if (leverages := [r.leverage for r in part if r.leverage is not None])
    ]
    return {
        "by_meter": {name: grade(part).to_json() for name, part in by_meter(rows).items()},
        "by_leverage": thirds,
        "by_budget_part": {name: grade(part).to_json() for name, part in by_budget_part(rows).items()},
        "by_sheet": {name: grade(part).to_json() for name, part in by_sheet(rows).items()},
        "fault_free": fault_free_json(rows),
    }
