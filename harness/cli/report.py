"""What a campaign came to: results, what was not measured and why, and how well the boards' time was used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from harness.bench.campaigns.board_time import BoardTime
from harness.bench.campaigns.campaign import Outcome
from harness.bench.campaigns.plan import Plan
from harness.bench.campaigns.quarantine import read_notes
from harness.cli.bench_truths import print_pairs
from harness.cli.format import duration
from harness.cli.results import Row, console, note_json, print_quarantine, print_results, stored_result
from harness.store.find import RunEntry, RunStatus, list_runs


def report_json(plan: Plan, outcomes: Sequence[Outcome], times: BoardTime) -> dict[str, Any]:
    entries = _finished(plan)
    return {
        "campaign": plan.campaign,
        "root": str(plan.root),
        "runs": [_outcome_json(outcome, entries) for outcome in outcomes],
        "lanes": [time.to_json() for time in times.lanes.values()],
        "quarantine": [note_json(note) for note in read_notes(plan.root)],
    }


def _outcome_json(outcome: Outcome, entries: dict[str, RunEntry]) -> dict[str, Any]:
    error = outcome.error
    result = _result(entries[outcome.spec.run_id]) if outcome.path else None
    return {
        "run_id": outcome.spec.run_id,
        "bench": outcome.spec.bench,
        "board": outcome.spec.board.name,
        "status": outcome.status,
        "path": str(outcome.path) if outcome.path else None,
        "error": {"kind": error.kind, "message": error.message, "hint": error.hint} if error else None,
        "result": result,
    }


def print_report(plan: Plan, outcomes: Sequence[Outcome], times: BoardTime) -> None:
    entries = _finished(plan)
    finished = [entries[o.spec.run_id] for o in outcomes if o.path]
    rows: list[Row] = [(entry, result) for entry in finished if (result := _result(entry)) is not None]
    if rows:
        print_results(rows)
        print_pairs(console(), [(entry.run_id, result) for entry, result in rows if result])
    shown = {entry.run_id for entry, _ in rows}
    for entry in finished:
        if entry.run_id not in shown:
            print(f"{entry.run_id}: measured, but its analysis failed: joulebench analyse {entry.path}")
    _print_unmeasured([o for o in outcomes if o.path is None])
    if rows:
        print("pictures:")
        for entry, _ in rows:
            print(f"  {entry.path / 'derived' / 'trace.png'}")
    print_quarantine([plan.root])
    for time in times.lanes.values():
        if time.share is not None:
            print(
                f"board time of {time.lane}: {duration(time.protocol_s)} of {duration(time.wall_s)} in protocol steps "
                f"({100 * time.share:.0f} %), {time.runs} run{'s' if time.runs != 1 else ''}"
            )


def _print_unmeasured(outcomes: Sequence[Outcome]) -> None:
    """One line each; runs of a board in quarantine are counted, for the reason stands beneath."""
    for outcome in outcomes:
        if outcome.status == "failed" and outcome.error is not None:
            text = f"[red]failed[/] {outcome.spec.run_id} on {outcome.spec.board.name}: {escape(outcome.error.message)}"
            console().print(text, highlight=False, soft_wrap=True)
    left: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.status == "quarantined":
            left[outcome.spec.board.name] = left.get(outcome.spec.board.name, 0) + 1
    for board, count in left.items():
        print(f"not tried on board {board}: {count} run{'s' if count != 1 else ''}")


def _finished(plan: Plan) -> dict[str, RunEntry]:
    return {e.run_id: e for e in list_runs(plan.root) if e.status is RunStatus.FINISHED}


def _result(entry: RunEntry) -> dict[str, Any] | None:
    """None if the run cannot be analysed, which was said when it was tried; its raw data are untouched."""
    try:
        return stored_result(entry.path)
    except Exception:  # noqa: BLE001 - one run must not hide the others
        return None
