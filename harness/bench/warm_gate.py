"""Every process start is measured at the same warmth: a cold board is warmed with inferences that do not count.

The other gate, cool_down.py, keeps a run from beginning too warm. Between both a run begins within a stated range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.bench.cool_down import hottest
from harness.core.errors import TransientError
from harness.core.events import EventStream
from harness.core.ports import Board, Step
from harness.core.spec import BoardSpec
from harness.core.timeline import Phase
from harness.core.waiting import NS_PER_S, WaitClock

WARM_S = 2.0  # of inferences between two looks


def warm_through(
    board: Board, spec: BoardSpec, clock: WaitClock, events: EventStream, perform: Callable[[Sequence[Step]], None], *,
    start: int,
) -> None:  # fmt: skip
    """Let the board infer (`perform`) until its hottest zone is at least `spec.warm_to_c`, if that is asked for.

    Errors: SpecError for a board that does not say how warm it is; TransientError if it is still cooler after
    `spec.warm_max_s`. Says what it took in the event `warmed_through`.
    """
    if spec.warm_to_c is None:
        return
    begin_ns = clock.now_ns()
    first_c = None
    while True:
        zone, warmest_c = hottest(board, spec, asked=f"warm_to_c is {spec.warm_to_c:g} C")
        first_c = warmest_c if first_c is None else first_c
        took_s = (clock.now_ns() - begin_ns) / NS_PER_S
        if warmest_c >= spec.warm_to_c:
            break
        if took_s >= spec.warm_max_s:
            raise TransientError(
                f"board {spec.name}: {zone} is at {warmest_c:.1f} C after {took_s:.0f} s of inferences, process starts "
                f"are measured from {spec.warm_to_c:g} C on",
                hint="lower warm_to_c or raise warm_max_s in the board's entry; a larger batch warms more",
            )
        perform([Step("infer", Phase.WARM_UP, seconds=min(WARM_S, max(spec.warm_max_s - took_s, 0.1)))])
    events.emit(
        "warmed_through", board=spec.name, start=start, zone=zone, from_c=first_c, temperature_c=warmest_c,
        limit_c=spec.warm_to_c, took_s=took_s,
    )  # fmt: skip
