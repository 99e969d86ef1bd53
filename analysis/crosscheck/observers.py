"""What watching cost: meters that the board's own sampler read, and how much of the board that took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.spec import RunSpec
from harness.store.layout import raw_dir


def observers(run: Path, spec: RunSpec) -> list[dict[str, Any]]:
    """One entry for each meter that the board sampled: what and how often, share of one CPU, and its power at rest.

    `power_w` with `power_half_width_w` (95 %) is what the bench file says of an earlier measurement; None where nobody
    measured it. Nothing of it is subtracted from a figure.
    """
    found = []
    for binding in spec.meters:
        path = raw_dir(run) / f"{binding.name}.sampler.json"
        if not path.exists():
            continue
        said = json.loads(path.read_text("utf-8"))
        cost, plan, known = said["cost"], said["plan"], binding.observer
        wall_s = cost.get("wall_s") or 0.0
        what, period_s = _read(plan)
        entry = {
            "meter": binding.name, "what": what, "period_s": period_s, "files": len(plan["files"]),
            "command": list(plan["command"]), "cpu_s": cost.get("cpu_s"), "wall_s": wall_s,
            "cpu_share": cost["cpu_s"] / wall_s if wall_s > 0 else None,
            "power_w": known.power_w if known else None,
            "power_half_width_w": known.half_width_w if known else None,
            "power_source": known.source if known else None,
        }  # fmt: skip
        found.append(entry)
    return found


def _read(plan: Mapping[str, Any]) -> tuple[str, float | None]:
    """What a sampler read, in words, and how often (s); None where a command decides that itself."""
    counted = {name: len(plan.get(name, ())) for name in ("files", "registers", "events")}
    parts = [f"{n} {name if n > 1 else name.removesuffix('s')}" for name, n in counted.items() if n]
    if parts:
        return " and ".join(parts), float(plan["period_s"])
    if plan.get("repeat_s"):
        return "a command, run anew", float(plan["repeat_s"])
    return "the lines of a command", None
