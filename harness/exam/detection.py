"""Faults that were put into a world on purpose: did they move the energy, and did anybody say so?

A fault counts if the figure with it differs from that of its twin, the same world without it, by more than three
standard uncertainties: the figure's own, or the twin's if that is larger. (A fault that scatters widens the interval,
and one that the interval covers has misled nobody; `found_by_twin_u` counts those as well.) Where the pipeline refused,
the figure is the one it had come to before it judged; where it had come to none (a stuck meter, clocks that cannot be
tied), the practitioner's, who refuses nothing, stands for it. Found is what is refused, or carries an alarm
(`harness.exam.alarms`) that the twin does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.exam.alarms import alarms
from harness.exam.row import ExamRow, Twin
from harness.exam.shares import maybe_share

MOVED_U = 3.0
SCALE = ("scale",)  # faults that no single meter shows, since every figure of it is off alike


def twin_of(row: ExamRow) -> Twin:
    """What is kept of the row of the same world and meter without the fault."""
    said = row.practitioner.dynamic_j if row.practitioner is not None else None
    return Twin(row.valid, row.measured_j, row.u_j, row.truth.realised_j, row.flags, said)


def moved_u(row: ExamRow, *, own: bool = True) -> float | None:
    """By how many u the fault moved the figure: the larger of the twin's and, unless not `own`, its own. None where the
    twin has no figure, or nobody has one.

    A figure that is not finite has been moved infinitely far.
    """
    twin = row.twin
    if twin is None or twin.dynamic_j is None or not twin.u_j:
        return None
    u_j = max(twin.u_j, row.u_j) if own and row.u_j is not None else twin.u_j
    if row.solved_j is not None:
        return _in_u(row.solved_j - twin.dynamic_j, u_j)
    said = row.practitioner.dynamic_j if row.practitioner is not None else None
    if said is None:
        return math.inf  # nobody can form a figure: nothing was overlooked
    if twin.practitioner_j is None:
        return None
    return _in_u(said - twin.practitioner_j, twin.u_j)


def _in_u(moved_j: float, u_j: float) -> float:
    return abs(moved_j) / u_j if math.isfinite(moved_j) else math.inf


def found(row: ExamRow) -> bool:
    """Refused, or an alarm that the twin does not carry."""
    before = row.twin.flags if row.twin is not None else ()
    return not row.valid or bool(alarms(row.flags) - alarms(before))


def observable(row: ExamRow, meters: int) -> bool:
    """Whether anything in the run could show it. `meters`: how many were on the bench."""
    alone = all(name.startswith(SCALE) for name in row.injected)
    return not alone or meters > 1 or "idle_unlikely" in row.flags


def detection(rows: Sequence[ExamRow]) -> dict[str, Any]:
    """Of injected faults with a twin that has a figure: how many moved the energy and could be seen, how many were
    found. `by_fault`: the same for each; a world with two of them counts for both."""
    benches: dict[str, set[str]] = {}
    for row in rows:
        benches.setdefault(row.world, set()).add(row.meter)
    known = [r for r in rows if r.injected and moved_u(r) is not None]
    names = sorted({name for r in known for name in r.injected})
    return {
        **_detected(known, benches),
        "by_fault": {name: _detected([r for r in known if name in r.injected], benches) for name in names},
    }


def _detected(rows: Sequence[ExamRow], benches: dict[str, set[str]]) -> dict[str, Any]:
    moved = [r for r in rows if (m := moved_u(r)) is not None and m > MOVED_U]
    seen = [r for r in moved if observable(r, len(benches[r.world]))]
    share = maybe_share([found(r) for r in seen], [r.world for r in seen])
    strict = [r for r in rows if (m := moved_u(r, own=False)) is not None and m > MOVED_U]
    strict = [r for r in strict if observable(r, len(benches[r.world]))]
    by_twin = maybe_share([found(r) for r in strict], [r.world for r in strict])
    return {
        "injected": len(rows),
        "moved": len(moved),
        "observable": len(seen),
        "found": None if share is None else share.to_json(),
        "found_by_twin_u": None if by_twin is None else by_twin.to_json(),
        "missed": [{"world": r.world, "meter": r.meter, "injected": list(r.injected)} for r in seen if not found(r)],
    }
