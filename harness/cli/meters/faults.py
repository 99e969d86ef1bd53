"""`joulebench meters faults`: the matrix of faults, played and judged now."""

from __future__ import annotations

import itertools

from rich.table import Table

from harness.cli.format import percent
from harness.cli.results import console, print_json
from harness.core.errors import DeviceError, SpecError
from harness.testing.fault_matrix import OUTCOMES, Judged, find_trials, judge_all

SAID = 70  # characters of what was said that the table shows


def show_faults(*, meter: str | None, fault: str | None, as_json: bool) -> None:
    """Print the matrix. SpecError for names that no trial has; DeviceError when a fault came out wrong."""
    trials = find_trials(meter=meter, fault=fault)
    if not trials:
        names = sorted({t.meter if meter is None else t.fault for t in find_trials(meter=meter)})
        known = names or sorted({t.meter for t in find_trials()})
        raise SpecError(f"no fault trial for meter {meter!r}, fault {fault!r}", hint=f"there are {', '.join(known)}")
    rows = list(judge_all(trials))
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        _print(rows, {(t.meter, t.fault): t.what for t in trials})
    wrong = [row for row in rows if row.wrong]
    if wrong:
        raise DeviceError(
            f"{len(wrong)} of {len(rows)} faults came out wrong: "
            + "; ".join(f"{row.meter} {row.fault} ({row.outcome})" for row in wrong),
            hint="mend the driver: a fault must be recovered from, refused with a reason, or be a constant scale",
        )


def _print(rows: list[Judged], what: dict[tuple[str, str], str]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("meter", "fault", "what happens", "outcome", "error", "gap", "what was said"):
        table.add_column(column, overflow="fold", no_wrap=column in ("meter", "fault", "outcome", "error"))
    for _, group in itertools.groupby(rows, key=lambda row: row.meter):
        for row in group:
            error = "-" if row.energy_rel_error is None else percent(row.energy_rel_error)
            outcome = f"[bold red]{row.outcome}[/]" if row.wrong else row.outcome
            cells = (row.meter, row.fault, what[row.meter, row.fault], outcome, error, "yes" if row.gap_marked else "")
            table.add_row(*cells, _short(row.detail).replace("[", r"\["))
        table.add_section()
    console().print(table)
    counts = {o: sum(row.outcome == o for row in rows) for o in OUTCOMES}
    meters = len({row.meter for row in rows})
    console().print(f"{len(rows)} faults of {meters} meters: " + ", ".join(f"{n} {o}" for o, n in counts.items()))


def _short(detail: str) -> str:
    """The beginning of what was said; --json has all of it."""
    line = detail.partition("\n")[0]
    return line if len(line) <= SAID else line[: SAID - 1] + "…"
