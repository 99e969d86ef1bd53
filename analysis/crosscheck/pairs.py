"""Do two meters of one run tell the same story? Through the plane model of the bench, with their joint uncertainty.

The model says P_upstream = P_downstream / efficiency + constant, both within declared ranges: so the upstream energy is
expected within a range, and what counts is how far outside of it lies what was read. Compared are dynamic energy (work
less standby; the constant cancels, and so do both zeros) and gross energy, each per inference with its gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from analysis.crosscheck.paired import Paired, Seen, paired_rest, paired_work
from analysis.uncertainty.first_order import combine, student
from harness.core.bench_facts import PlaneModel
from harness.core.result import BudgetPart, EnergyResult, Status
from harness.core.spec import RunSpec

CONFIDENCE = 0.99  # of each comparison; beyond it, two meters disagree
SHARED = (
    "process start", "repeatability", "durations", "meter noise", "standby", "standby drift", "gap power", "gap fall",
)  # fmt: skip
"""Parts that both meters share with the load, or that the scatter of differences holds already."""


class Outcome(StrEnum):
    """What came of comparing two meters."""

    AGREE = "agree"
    DISAGREE = "disagree"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True)
class Comparison:
    """One energy per inference (with its gap), J: what the upstream meter read, and what the downstream meter lets
    expect there. `beyond_j`: how far outside the expected range, signed, 0 within; `u_j`: standard uncertainty of the
    difference with `dof`; `sigmas`: |beyond| / u; `limit_sigmas`: beyond which they disagree; `blind_rel`: scale errors
    of the upstream meter, relative, between which nothing would have been noticed."""

    upstream_j: float
    expected_j: tuple[float, float]
    beyond_j: float
    u_j: float
    dof: float
    sigmas: float
    limit_sigmas: float
    blind_rel: tuple[float, float]

    @property
    def apart(self) -> bool:
        return self.sigmas > self.limit_sigmas


@dataclass(frozen=True)
class PairCheck:
    """Two meters of a run, and what came of comparing them; `reason` in words."""

    upstream: str
    downstream: str
    outcome: Outcome
    reason: str
    dynamic: Comparison | None = None
    gross: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "upstream": self.upstream, "downstream": self.downstream, "outcome": str(self.outcome),
            "reason": self.reason, "dynamic": _json(self.dynamic), "gross": _json(self.gross),
        }  # fmt: skip


def _json(found: Comparison | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        **asdict(found), "expected_j": list(found.expected_j), "blind_rel": list(found.blind_rel),
        "dof": found.dof if np.isfinite(found.dof) else None,
    }  # fmt: skip


def cross_checks(spec: RunSpec, results: Sequence[EnergyResult], views: Sequence[Seen | None]) -> tuple[PairCheck, ...]:
    """All pairs between which the bench declares a plane model, in its order."""
    return tuple(_check(model, results, views) for model in spec.plane_models)


def with_disagreements(results: Sequence[EnergyResult], pairs: Sequence[PairCheck]) -> tuple[EnergyResult, ...]:
    """The results, flagged where their meter disagrees with another: one of the two is wrong, nobody knows which."""
    named = {m for p in pairs if p.outcome is Outcome.DISAGREE for m in (p.upstream, p.downstream)}
    return tuple(_flagged(r) if r.meter in named else r for r in results)


def _flagged(result: EnergyResult) -> EnergyResult:
    flags = (*result.flags, "meters_disagree")
    return replace(result, flags=flags)


def _check(model: PlaneModel, results: Sequence[EnergyResult], views: Sequence[Seen | None]) -> PairCheck:
    sides: list[tuple[EnergyResult, Seen]] = []
    for name in (model.upstream, model.downstream):
        found = [(r, v) for r, v in zip(results, views, strict=True) if r.meter == name]
        if len(found) != 1:
            return _cannot(model, f"meter {name} has {len(found)} results: declare one total")
        result, view = found[0]
        if result.status is not Status.VALID or view is None:
            return _cannot(model, f"meter {name} has no figure ({result.reason})")
        sides.append((result, view))
    (up, up_view), (down, down_view) = sides
    work, rest = paired_work(up_view, down_view), paired_rest(up_view, down_view)
    if len(work) < 2:
        return _cannot(model, "fewer than two stretches of work are covered by both meters")
    per_n = _seconds_per_inference(up_view)
    gross = _compare(model, up, down, work, None, per_n)
    claimed = up.energy_per_inference_j is not None and down.energy_per_inference_j is not None
    dynamic = _compare(model, up, down, work, rest, per_n) if claimed and len(rest) >= 4 else None
    apart = [(name, c) for name, c in (("dynamic", dynamic), ("gross", gross)) if c is not None and c.apart]
    if not apart:
        return PairCheck(model.upstream, model.downstream, Outcome.AGREE, _agreement(dynamic or gross), dynamic, gross)
    name, worst = max(apart, key=lambda found: found[1].sigmas / found[1].limit_sigmas)
    return PairCheck(
        model.upstream, model.downstream, Outcome.DISAGREE, _disagreement(model, name, worst), dynamic, gross
    )


def _cannot(model: PlaneModel, reason: str) -> PairCheck:
    return PairCheck(model.upstream, model.downstream, Outcome.NOT_COMPARABLE, reason)


def _agreement(found: Comparison) -> str:
    low, high = found.blind_rel
    return f"a scale error of the first against the second below {low:+.1%} or above {high:+.1%} would have shown"


def _disagreement(model: PlaneModel, name: str, found: Comparison) -> str:
    middle = 0.5 * sum(found.expected_j)
    return (
        f"{name} energy at {model.upstream} is {found.upstream_j:.4g} J, {found.upstream_j / middle - 1:+.1%} of the "
        f"middle of what {model.downstream} lets expect ({found.expected_j[0]:.4g} to {found.expected_j[1]:.4g} J): "
        f"{found.sigmas:.1f} sigma beyond it, {found.limit_sigmas:.1f} allowed"
    )


def _seconds_per_inference(view: Seen) -> float:
    return sum(w.seconds for w in view.windows) / max(sum(w.n for w in view.windows), 1)


def _compare(
    model: PlaneModel, up: EnergyResult, down: EnergyResult, work: Paired, rest: Paired | None, per_n: float
) -> Comparison:
    """`rest`: slices at rest to be subtracted (dynamic energy), or None (gross energy). `per_n`: s per inference."""
    (up_w, down_w), constant = work.mean_w(), model.constant_w
    if rest is not None:
        rest_up_w, rest_down_w = rest.mean_w()
        up_w, down_w, constant = up_w - rest_up_w, down_w - rest_down_w, (0.0, 0.0)
    low, high = model.efficiency
    ends = down_w / high + constant[0], down_w / low + constant[1]
    expected_w = min(ends), max(ends)
    beyond_w = up_w - float(np.clip(up_w, expected_w[0], expected_w[1]))
    behind_w = up_w - float(np.mean(constant))
    efficiency = float(np.clip(down_w / behind_w, low, high)) if behind_w > 0 and down_w > 0 else high
    scatter = [work.scatter_w(efficiency)] + ([rest.scatter_w(efficiency)] if rest is not None else [])
    parts = [(u * per_n, max(dof, 1.0)) for u, dof in scatter]
    gross = rest is None
    parts += [(u, float("inf")) for u in _instrument_j(up, up_w * per_n, gross=gross)]
    parts += [(u / efficiency, float("inf")) for u in _instrument_j(down, down_w * per_n, gross=gross)]
    joint = combine([u for u, _ in parts], [dof for _, dof in parts])
    limit, expected = student(joint.dof, 0.5 + CONFIDENCE / 2), (expected_w[0] * per_n, expected_w[1] * per_n)
    seen, room = up_w * per_n, limit * joint.u_j
    return Comparison(
        upstream_j=seen,
        expected_j=expected,
        beyond_j=beyond_w * per_n,
        u_j=joint.u_j,
        dof=joint.dof,
        sigmas=abs(beyond_w) * per_n / joint.u_j if joint.u_j > 0 else float(beyond_w != 0) * 1e9,
        limit_sigmas=limit,
        blind_rel=((expected[0] - room) / seen - 1, (expected[1] + room) / seen - 1) if seen > 0 else (-1.0, 1.0),
    )


def _instrument_j(result: EnergyResult, energy_j: float, *, gross: bool) -> list[float]:
    """Parts of a meter's budget that are its own, J, for an energy that holds the gaps as well."""
    stated = result.gross_energy_per_inference_j if gross else result.energy_per_inference_j
    factor = max(abs(energy_j / stated), 1.0) if stated else 1.0
    return [factor * _u(p, gross=gross) for p in result.budget if p.name not in SHARED]


def _u(part: BudgetPart, *, gross: bool) -> float:
    return part.gross_u_j if gross else part.u_j
