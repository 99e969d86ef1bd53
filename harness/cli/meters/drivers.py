"""`joulebench meters drivers`: what each driver weighs, what it was tested on, whether it conforms; found out now."""

from __future__ import annotations

from rich.table import Table

from harness.cli.results import console, print_json
from harness.core.errors import DeviceError
from harness.testing.driver_table import DriverRow, driver_rows


def show_drivers(*, driver: str | None, as_json: bool) -> None:
    """Print the table. DeviceError if a driver does not pass the suite, or names nothing to run it on."""
    rows = driver_rows(driver)
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        console().print(_table(rows))
    bad = [row for row in rows if not row.ok]
    if bad:
        words = [f"{row.driver}: {'; '.join(row.failed) or 'no subject to run the suite on'}" for row in bad]
        raise DeviceError(
            f"{len(bad)} of {len(rows)} drivers do not pass the conformance suite: " + " | ".join(words),
            hint="pytest --pyargs harness.testing.proof --joulebench-driver NAME shows where",
        )


def _table(rows: list[DriverRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("driver", "read by", "code", "faults", "conformance", "tested on"):
        table.add_column(
            column, overflow="fold", justify="right" if column in ("code", "faults") else "left",
            no_wrap=column == "driver",
        )  # fmt: skip
    for row in rows:
        passed = ", ".join(f"{n}" if s == row.driver else f"{n} ({s})" for s, n in row.conformance.items()) or "-"
        table.add_row(
            row.driver, ", ".join(row.opened), str(row.code_lines), str(len(row.faults)), passed, row.evidence or "-"
        )
    return table
