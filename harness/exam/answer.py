"""The whole answer of an exam as JSON: the contract of `joulebench exam --json`, key by key in docs/exam.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.exam.aims import aims
from harness.exam.detection import detection
from harness.exam.groups import by_meter, fair_rows, graded_groups, untouched
from harness.exam.reliability import reliability
from harness.exam.row import ExamRow
from harness.exam.score import grade, grade_informed, grade_learner, grade_oracle, grade_practitioner


def graded_json(rows: Sequence[ExamRow], *, scenarios: int) -> dict[str, Any]:
    """Figures are over all meters, and over worlds into which no fault was put; `detection` is about those with one."""
    plain = untouched(rows)
    meters = by_meter(plain)
    return {
        "scenarios": scenarios,
        **grade(plain).to_json(),
        **graded_groups(plain),
        "practitioner": {
            **grade_practitioner(plain).to_json(),
            "by_meter": {name: grade_practitioner(part).to_json() for name, part in meters.items()},
        },
        "oracle": grade_oracle(plain).to_json(),
        "informed": grade_informed(plain).to_json(),
        "learner": grade_learner(plain).to_json(),
        "reliability": {
            name: {level: share.to_json() for level, share in reliability(fair_rows(rows), gross=gross).items()}
            for name, gross in (("dynamic", False), ("gross", True))
        },
        "detection": detection(rows),
        "aims": [aim.to_json() for aim in aims(rows)],
        "rows": [row.to_json() for row in rows],
    }
