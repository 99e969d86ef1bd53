"""`joulebench meters list`: which drivers there are, and what is plugged in or built in, here or on a board."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from harness import registry
from harness.cli import compose
from harness.cli.results import console, print_json
from harness.config.bench import load_board
from harness.config.lookup import config_dirs, find_config
from harness.core.errors import BenchError
from harness.core.ports import FoundMeter, MeterRequest, SamplingBoard
from harness.core.spec import BoardSpec
from harness.core.waiting import RealClock


def list_meters(*, board: str | None, configs: Path | None, as_json: bool) -> None:
    """Print a row for each meter that was found, and one for each driver that found none."""
    spec = BoardSpec("local") if board is None else load_board(find_config("boards", board, config_dirs(configs)))
    attached = _attached() if board is None else []
    here = registry.registered(registry.DISCOVERY) if board is None else {}
    found = [*attached, *(meter for meter in _on_board(spec) if meter.driver not in here)]
    rows = _rows(found, on_board_only=board is not None)
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("driver", "what is here", "open it with", "from", "simulator"):
        table.add_column(column, overflow="fold")
    for row in rows:
        what = row["found"] or "-"
        if row["trouble"]:
            what += f" [bold red]{row['trouble']}[/]"
        table.add_row(row["driver"], what, row["open"] or "-", row["package"], "yes" if row["simulator"] else "no")
    out = console()
    out.print(table)
    for row in rows:
        if row["mend"] and row["found"]:
            out.print(f"{row['driver']}: {row['mend']}", markup=False, soft_wrap=True)


def _attached() -> list[FoundMeter]:
    found: list[FoundMeter] = []
    for name in sorted(registry.registered(registry.DISCOVERY)):
        found += registry.load(registry.DISCOVERY, name)(MeterRequest(name))
    return found


def _on_board(spec: BoardSpec) -> list[FoundMeter]:
    board = compose.open_board(spec)
    with contextlib.closing(board):
        if not isinstance(board, SamplingBoard):
            return []
        names = sorted(registry.registered(registry.ON_BOARD_DISCOVERY))
        return [
            meter
            for n in names
            for meter in registry.load(registry.ON_BOARD_DISCOVERY, n)(board.files, MeterRequest(n))
        ]


def _rows(found: Sequence[FoundMeter], *, on_board_only: bool) -> list[dict[str, Any]]:
    host, board = registry.registered(registry.METERS), registry.registered(registry.ON_BOARD)
    simulators = registry.registered(registry.SIMULATORS)
    discovered = registry.registered(registry.DISCOVERY) | registry.registered(registry.ON_BOARD_DISCOVERY)
    rows: list[dict[str, Any]] = []
    for name, point in sorted((board if on_board_only else host | board).items()):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
        plain = {"driver": name, "package": package, "simulator": name in simulators}
        mine = [meter for meter in found if meter.driver == name]
        if not mine and name in host and name not in discovered and not on_board_only:
            mine = _opened(name)
        rows += [{**plain, **_row(meter)} for meter in mine]
        if not mine:
            nothing = {
                "found": "",
                "usable": False,
                "open": "",
                "options": {},
                "channels": [],
                "trouble": "",
                "mend": "",
            }
            rows.append({**plain, **nothing})
    return rows


def _row(meter: FoundMeter) -> dict[str, Any]:
    options = " ".join(f"-o {key}={value}" for key, value in sorted(meter.options.items()))
    text = f"{meter.model} at {meter.where}" if meter.model else meter.where
    return {
        "found": text + (f": {', '.join(meter.channels)}" if meter.channels else ""),
        "open": f"{meter.driver} {options}".strip(),
        **{k: v for k, v in dataclasses.asdict(meter).items() if k in ("usable", "options", "trouble", "mend")},
        "channels": list(meter.channels),
    }


def _opened(driver: str) -> list[FoundMeter]:
    """A driver without discovery: what opening it with no options finds. Opening is identification, nothing starts."""
    meter = None
    try:
        meter = registry.load(registry.METERS, driver)(MeterRequest(name=driver), clock=RealClock())
        info = meter.open()
    except BenchError:
        return []
    finally:
        if meter is not None:
            meter.close()
    return [FoundMeter(driver, info.serial, {}, info.model, tuple(c.name for c in info.channels))]
