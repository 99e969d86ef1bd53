"""`joulebench meters selftest`: what is wrong with a meter, and the command that mends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.table import Table

from harness.bench.self_test import self_test
from harness.bench.single_meter import opened
from harness.cli.meters.choose import Chosen, board_for
from harness.cli.results import console, print_json
from harness.core.errors import BenchError
from harness.core.ports import CheckItem
from harness.core.waiting import RealClock


def test_meter(meter: Chosen, *, seconds: float, as_json: bool) -> bool:
    """Print the findings; True if the meter is well. A meter that does not open is a finding, not an error."""
    items: Sequence[CheckItem]
    try:
        with board_for(meter) as board, opened(meter.opener(), RealClock(), board=board) as device:
            _, items = self_test(device, seconds=seconds, advice=f"see docs/meters/{meter.driver}.md")
    except BenchError as error:
        items = [CheckItem("works", False, error.message, error.hint)]
    well = all(item.ok for item in items)
    if as_json:
        print_json({"meter": meter.name, "ok": well, "items": [dataclasses.asdict(item) for item in items]})
        return well
    out = console()
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in items:
        table.add_row("[green]ok[/]" if item.ok else "[bold red]no[/]", item.name, item.found)
    out.print(table)
    for item in items:
        if not item.ok and item.mend:
            out.print(f"{item.name}: {item.mend}", markup=False, soft_wrap=True)
    out.print(f"{meter.name} is {'well' if well else 'not well'}")
    return well
