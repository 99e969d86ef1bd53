"""What nobody could have noticed in a run: scale faults of its meters, said aloud instead of left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.spec import RunSpec

FAULTS = "wrong shunt, wrong unit, current that passes it by"


def unobservable(spec: RunSpec, results: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a meter: the scale faults that this run could not have shown. `results`, `pairs`: as in `result.json`.

    A second meter behind a plane model narrows them, and so does a catalogued idle range of the board; with neither,
    any constant factor goes unnoticed.
    """
    lines = []
    for binding in spec.meters:
        of_meter = [r for r in results if r["meter"] == binding.name]
        found = [p for p in pairs if binding.name in (p["upstream"], p["downstream"])]
        compared = [p for p in found if p["outcome"] != "not_comparable"]
        if not any(r["status"] == "valid" for r in of_meter):
            continue  # no figure, nothing claimed
        if any(p["outcome"] == "disagree" for p in compared):
            lines.append(f"{binding.name}: it disagrees with another meter, and nobody here can say which one is wrong")
        elif compared:
            lines.append(f"{binding.name}: {_within(compared[0])}")
        else:
            idle = next((r["details"]["idle_range"] for r in of_meter if r["details"].get("idle_range")), None)
            lines.append(f"{binding.name}: {_alone(idle, of_meter)}")
    return lines


def _within(pair: Mapping[str, Any]) -> str:
    low, high = (pair["dynamic"] or pair["gross"])["blind_rel"]
    other = f"{pair['upstream']} against {pair['downstream']}"
    return f"scale faults between {100 * low:+.1f} % and {100 * high:+.1f} % of {other}, and any that both share"


def _alone(idle: Mapping[str, Any] | None, results: Sequence[Mapping[str, Any]]) -> str:
    standby_w = next((r["standby_w"] for r in results if r["standby_w"]), None)
    if idle is None or not standby_w or standby_w <= 0:
        return f"any constant scale fault ({FAULTS}): no second meter, no catalogued idle range of the board"
    least = 100 * (standby_w / idle["high_w"] - 1)
    most = f"{100 * (standby_w / idle['low_w'] - 1):+.0f} %" if idle["low_w"] > 0 else "any size"
    return (
        f"scale faults ({FAULTS}) between {least:+.0f} % and {most}: they leave the {standby_w:.3g} W read at rest "
        f"within the {idle['low_w']:g} to {idle['high_w']:g} W that such boards draw ({idle['source']})"
    )


def without_model(spec: RunSpec) -> list[tuple[str, str]]:
    """Pairs of meters between which the bench declares nothing: they are not compared."""
    declared = [{m.upstream, m.downstream} for m in spec.plane_models]
    names = [m.name for m in spec.meters]
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if {a, b} not in declared]
