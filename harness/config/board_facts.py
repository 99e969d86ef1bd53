"""What is known of a board, found for a bench: its own facts or those of the board that it is like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config.complain import did_you_mean, validated
from harness.config.facts import BoardFacts
from harness.config.lookup import find_config
from harness.config.schema import BoardFile, MeterEntry
from harness.config.yaml_lines import Document, Location, load_yaml
from harness.core.bench_facts import IdleRange

BOARD = "board"  # `total: board`


def facts_of(document: Document, file: BoardFile, dirs: Sequence[Path]) -> BoardFacts | None:
    """The facts of a board file, its own before those of the board it is `like`; None if nobody states any."""
    if file.like is None:
        return file.facts
    if file.facts is not None:
        raise document.error(
            f"the board has facts of its own and is like {file.like}", ("like",), hint="keep one of them"
        )
    with document.blame(("like",)):
        path = find_config("boards", file.like, dirs, beside=document.path.parent)
    other = validated(load_yaml(path), BoardFile, "the board")
    if other.facts is None:
        raise document.error(
            f"{file.like} has no facts to be taken over", ("like",), hint="name a board that has `facts:`"
        )
    return other.facts


def idle_ranges(facts: BoardFacts | None) -> tuple[IdleRange, ...]:
    """Catalogued idle ranges, as a run carries them."""
    return tuple(
        IdleRange(i.plane, float(i.low_w), float(i.high_w), f"{i.source} ({i.sure})", i.rails)
        for i in (facts.idle if facts else ())
    )


def total_of(
    document: Document, entry: MeterEntry, at: Location, facts: BoardFacts | None, board: str
) -> tuple[str, ...]:
    """The rails that make the total: as the bench lists them, or by `total: board` from the board's own table.

    SpecError if the board's table has none for this meter at this plane, or the bench does not bind all of its rails.
    """
    if entry.total != (BOARD,) or BOARD in entry.rails.values():
        return entry.total
    totals = facts.totals if facts else ()
    known = {f"{t.meter} at {t.plane}" for t in totals}
    for total in totals:
        if total.meter == entry.meter and total.plane == entry.plane:
            for rail in total.rails:
                if rail not in entry.rails.values():
                    raise document.error(
                        f"the total of board {board} counts the rail {rail!r}, which no channel of {entry.name} sees",
                        (*at, "rails"),
                        hint=f"bind it: rails: {{<channel>: {rail}}}",
                    )
            return total.rails
    raise document.error(
        f"board {board} declares no total for the meter {entry.meter} at the plane {entry.plane}",
        (*at, "total"),
        hint=did_you_mean(f"{entry.meter} at {entry.plane}", known) if known else "list the rails: total: [...]",
    )
