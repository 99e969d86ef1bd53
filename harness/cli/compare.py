"""`joulebench compare`: ratios and differences of runs of one bench, or what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from analysis.figures import decimals
from harness.cli.dataset import runs_of
from harness.cli.format import half_width, with_uncertainty
from harness.cli.results import console, print_json

if TYPE_CHECKING:
    from analysis.dataset.against import Against


def compare_runs(
    selectors: Sequence[str], *, allow: Sequence[str], mix_simulated: bool, root: Path | None, as_json: bool
) -> None:
    from analysis.dataset.against import against_first

    found = against_first(runs_of(selectors, root), allow=allow, mix_simulated=mix_simulated)
    if as_json:
        print_json(found.to_json())
        return
    out = console()
    out.print(_table(found))
    common = sorted({name for ratio in found.ratios for name in ratio.common})
    shared = f"counted once, since it is the same in all: {', '.join(common)}"
    kept = "no part is the same in all, so the gain and zero of each count in full"
    out.print(f"  {shared if common else kept}", highlight=False, soft_wrap=True)
    if found.allowed:
        out.print(f"  [yellow]differ in {', '.join(found.allowed)}, as allowed[/]", highlight=False, soft_wrap=True)


def _table(found: Against) -> Table:
    base = found.runs[0]
    title = f"energy of one inference against {base.name}; 95 % intervals" + ("  SIMULATED" if found.simulated else "")
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column, justify in (("run", "left"), ("energy", "right"), ("ratio", "right"), ("difference", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_row(base.name, with_uncertainty(base.energy_j, half_width(base.interval_j), "J"), "1", "")
    for side, ratio in zip(found.runs[1:], found.ratios, strict=True):
        if ratio.ratio is None or ratio.ratio_interval_95 is None:
            shown = "-"
        else:
            low, high = ratio.ratio_interval_95
            places = decimals((high - low) / 2)
            shown = f"{ratio.ratio:.{places}f} [{low:.{places}f}, {high:.{places}f}]"
        apart = with_uncertainty(ratio.difference_j, half_width(ratio.difference_interval_95_j), "J")
        energy = with_uncertainty(side.energy_j, half_width(side.interval_j), "J")
        table.add_row(side.name, energy, shown, apart if ratio.apart else f"{apart} (may be none)")
    return table
