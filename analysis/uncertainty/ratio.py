"""Ratio and difference of two results, with what they have in common drawn once.

Runs of one meter, unchanged between them, share its gain and zero: whatever they are, they are the same in both. Then
the gain drops out of a ratio, and only what differs between the runs is left. A ratio of two uncertain energies is
skewed, so both are by Monte Carlo (JCGM 101).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.uncertainty.first_order import INF
from analysis.uncertainty.monte_carlo import HEADLINE, Interval, energies, quantiles, u_of
from harness.core.errors import SpecError
from harness.core.result import BudgetPart, Shape


@dataclass(frozen=True)
class Side:
    """One result: its energy (J per inference), its parts, `gross` if it claims gross energy alone; `unit` says which
    meter it is of, in which state: sides of equal `unit` have its common parts in common. `seed`: a text of its raw
    data."""

    name: str
    energy_j: float
    interval_j: Interval
    parts: tuple[BudgetPart, ...]
    gross: bool
    unit: str
    seed: str


@dataclass(frozen=True)
class Ratio:
    """`other` against `base`: `ratio` and `difference_j` with 95 % intervals; `common`: names of the parts that were
    drawn once for both; `ratio` is None where the interval of `base` holds 0, so that it says nothing."""

    base: str
    other: str
    ratio: float | None
    ratio_interval_95: Interval | None
    difference_j: float
    difference_interval_95_j: Interval
    common: tuple[str, ...]

    @property
    def apart(self) -> bool:
        """Does the interval of the difference leave 0 out?"""
        low, high = self.difference_interval_95_j
        return low > 0 or high < 0

    def to_json(self) -> dict[str, Any]:
        ends = self.ratio_interval_95
        return {
            "base": self.base, "other": self.other, "ratio": self.ratio,
            "ratio_interval_95": None if ends is None else list(ends), "difference_j": self.difference_j,
            "difference_interval_95_j": list(self.difference_interval_95_j), "apart": self.apart,
            "common": list(self.common),
        }  # fmt: skip


def compare(base: Side, other: Side) -> Ratio:
    """SpecError if one claims gross and the other dynamic energy, or if both are the same data."""
    if base.gross != other.gross:
        raise SpecError(
            f"{base.name} and {other.name} claim different energies: one dynamic, one gross",
            hint="compare runs of one measurand",
        )
    if base.seed == other.seed:
        raise SpecError(f"{base.name} is compared with itself", hint="name two different runs")
    together = base.unit == other.unit
    common_seed = f"bench {base.unit}" if together else None
    one, two = (
        energies(side.energy_j, _known(side), gross=side.gross, seed=side.seed, common_seed=common_seed)
        for side in (base, other)
    )
    shared = {p.name for p in _known(base) if p.common} & {p.name for p in _known(other) if p.common}
    ratio = ends = None
    if base.interval_j[0] > 0:
        ratio, ends = other.energy_j / base.energy_j, quantiles(two / one, (HEADLINE,))[HEADLINE]
    return Ratio(
        base.name, other.name, ratio, ends, other.energy_j - base.energy_j,
        quantiles(two - one, (HEADLINE,))[HEADLINE], tuple(sorted(shared)) if together else (),
    )  # fmt: skip


def _known(side: Side) -> list[BudgetPart]:
    return [p for p in side.parts if u_of(p, gross=side.gross) > 0]


def parts_of(rows: Sequence[Mapping[str, Any]]) -> tuple[BudgetPart, ...]:
    """The budget of a stored result (`budget` of result.json); a result that does not say shapes has Student's."""
    return tuple(
        BudgetPart(
            row["name"], row["type"], row["u_j"], row["gross_u_j"], INF if row["dof"] is None else row["dof"],
            row["common"], Shape(row.get("shape", Shape.STUDENT)), row.get("skew", 0.0),
        )
        for row in rows
    )  # fmt: skip
