"""Runs held against the first of them: refused where they differ in what matters, else ratio and difference."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.dataset.comparable import ONE_BENCH, check_comparable, unit_of
from analysis.dataset.source import Measured, read_run
from analysis.uncertainty.ratio import Ratio, Side, compare, parts_of
from harness.core.errors import SpecError


@dataclass(frozen=True)
class Against:
    """`runs`: all, the base first; `ratios`: of the others to it; `allowed`: differences that are there and meant."""

    runs: tuple[Side, ...]
    ratios: tuple[Ratio, ...]
    allowed: tuple[str, ...]
    simulated: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "base": self.runs[0].name,
            "runs": [
                {
                    "run_id": side.name, "energy_per_inference_j": side.energy_j,
                    "interval_95_j": list(side.interval_j), "energy": "gross" if side.gross else "dynamic",
                    "meter_unit": side.unit,
                }
                for side in self.runs
            ],
            "compared": [ratio.to_json() for ratio in self.ratios],
            "allowed_differences": list(self.allowed),
            "simulated": self.simulated,
        }  # fmt: skip


def against_first(paths: Sequence[Path], *, allow: Collection[str], mix_simulated: bool) -> Against:
    """SpecError where runs cannot be compared: what differs between which, or which has no figure."""
    if len(paths) < 2:
        raise SpecError("one run alone cannot be compared", hint="joulebench compare RUN RUN")
    runs = [read_run(path) for path in paths]
    invalid = [run for run in runs if not run.valid]
    if invalid:
        told = "\n".join(f"     {run.reader.run_id}: {run.result['reason']}" for run in invalid)
        raise SpecError(f"{len(invalid)} of these runs have no figure\n{told}", hint="leave them out, or measure again")
    allowed = check_comparable(
        runs,
        allow=allow,
        mix_simulated=mix_simulated,
        matters=ONE_BENCH,
        purpose="so no ratio of theirs means anything",
    )
    sides = tuple(_side(run) for run in runs)
    return Against(
        sides, tuple(compare(sides[0], side) for side in sides[1:]), allowed, any(run.simulated for run in runs)
    )


def _side(run: Measured) -> Side:
    result = run.result
    gross = result["energy_per_inference_j"] is None
    kind = "gross_" if gross else ""
    low, high = result["gross_interval_95_j" if gross else "interval_95_j"]
    return Side(
        run.reader.run_id, result[f"{kind}energy_per_inference_j"], (low, high), parts_of(result["budget"]), gross,
        unit_of(run), f"{run.reader.manifest_sha256} {result['meter']} {result['channel']}",
    )  # fmt: skip
