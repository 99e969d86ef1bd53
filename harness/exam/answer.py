"""The whole answer of an exam as JSON: the contract of `joulebench exam --json`, key by key in docs/exam.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.exam.aims import aims
from harness.exam.detection import detection
from harness.exam.groups import by_meter, fair_rows, graded_groups
from harness.exam.reliability import reliability
from harness.exam.row import ExamRow
from harness.exam.score import grade, grade_informed, grade_learner, grade_oracle, grade_practitioner


def graded_json(rows: Sequence[ExamRow], *, scenarios: int) -> dict[str, Any]:
    """Top-level figures are over all meters."""
    meters = by_meter(rows)
    return {
        "scenarios": scenarios,
        **grade(rows).to_json(),
        **graded_groups(rows),
        "practitioner": {
            **grade_practitioner(rows).to_json(),
            "by_meter": {name: grade_practitioner(part).to_json() for name, part in meters.items()},
        },
        "oracle": grade_oracle(rows).to_json(),
        "informed": grade_informed(rows).to_json(),
        "learner": grade_learner(rows).to_json(),
        "reliability": {
            name: {level: share.to_json() for level, share in reliability(fair_rows(rows), gross=gross).items()}
            for name, gross in (("dynamic", False), ("gross", True))
        },
        "detection": detection(rows),
        "aims": [aim.to_json() for aim in aims(rows)],
        "rows": [row.to_json() for row in rows],
    }
