"""What to improve first and what it would buy: half widths of the interval now, with a part halved, and without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.report.bars import Axis, bar
from analysis.report.quantities import esc, percent, si
from harness.core.result import EnergyResult

MOST = 6


def improvements_of(result: EnergyResult) -> list[Mapping[str, Any]]:
    """Rows of `details.improve`, what buys most first; those that buy something."""
    rows = result.details.get("improve")
    found = rows if isinstance(rows, list) else []
    return [row for row in found if row["half_without_j"] < 0.995 * row["half_now_j"]][:MOST]


def improve_table(result: EnergyResult) -> str:
    """Empty where nothing would buy anything."""
    rows = improvements_of(result)
    if not rows:
        return ""
    now_j = float(rows[0]["half_now_j"])
    axis = Axis.over([now_j])
    body = "".join(_row(row, axis, now_j) for row in rows)
    return (
        '<h3>What it would buy</h3><div class="scroll"><table><thead><tr><th>improve</th><th class="n">halved</th><th '
        'class="n">gone</th><th>half width if gone, of now</th><th class="wide">how</th></tr></thead><tbody>'
        f"{body}</tbody></table></div><figcaption>Half widths of the 95 % interval, "
        f"{si(now_j, 'J', digits=2)} now. Bars: half width if the part were gone; dashed: now.</figcaption>"
    )


def _row(row: Mapping[str, Any], axis: Axis, now_j: float) -> str:
    gone, halved = float(row["half_without_j"]), float(row["half_halved_j"])
    label = f"without {row['part']}: half width {si(gone, 'J', digits=2)}, {percent(gone / now_j)} of now"
    drawn = bar(axis, gone, label=label, colour="var(--green)", mark=now_j)
    return (
        f'<tr><td>{esc(str(row["part"]))}</td><td class="n">{si(halved, "J", digits=2)}</td><td '
        f'class="n">{si(gone, "J", digits=2)}</td><td class="draw">{drawn}</td><td class="wide"><small>'
        f"{esc(_how(row))}</small></td></tr>"
    )


def _how(row: Mapping[str, Any]) -> str:
    return str(row["do"])[:1].upper() + str(row["do"])[1:]
