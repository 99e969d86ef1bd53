"""A run begins with a board that is as cool as the others were: a warm one leaks more and throttles earlier."""

from __future__ import annotations

from harness.core.errors import SpecError, TransientError
from harness.core.events import EventStream
from harness.core.ports import Board
from harness.core.spec import BoardSpec
from harness.core.waiting import NS_PER_S, WaitClock

POLL_S = 5.0


def cool_down(board: Board, spec: BoardSpec, clock: WaitClock, events: EventStream) -> None:
    """Wait until the hottest zone is at most `spec.cool_to_c`, if that is asked for.

    Errors: SpecError for a board that does not say how warm it is; TransientError if it is still warmer after
    `spec.cool_max_s`. Says what it waited for in the event `cooled_down`.
    """
    if spec.cool_to_c is None:
        return
    begin_ns = clock.now_ns()
    limit_ns = begin_ns + int(spec.cool_max_s * NS_PER_S)
    first_c = None
    while True:
        zone, hottest_c = hottest(board, spec, asked=f"cool_to_c is {spec.cool_to_c:g} C")
        first_c = hottest_c if first_c is None else first_c
        waited_s = (clock.now_ns() - begin_ns) / NS_PER_S
        if hottest_c <= spec.cool_to_c:
            break
        if clock.now_ns() >= limit_ns:
            raise TransientError(
                f"board {spec.name}: {zone} is still at {hottest_c:.1f} C after {waited_s:.0f} s, runs begin at "
                f"{spec.cool_to_c:g} C",
                hint="raise cool_to_c or cool_max_s in the board's entry, end what heats it, or improve its cooling",
            )
        if clock.now_ns() == begin_ns:
            events.emit("cooling_down", board=spec.name, zone=zone, temperature_c=hottest_c, limit_c=spec.cool_to_c)
        clock.sleep_until(min(limit_ns, clock.now_ns() + int(POLL_S * NS_PER_S)))
    events.emit(
        "cooled_down", board=spec.name, zone=zone, from_c=first_c, temperature_c=hottest_c, limit_c=spec.cool_to_c,
        waited_s=waited_s,
    )  # fmt: skip


def hottest(board: Board, spec: BoardSpec, *, asked: str) -> tuple[str, float]:
    """Name and temperature (C) of the hottest zone; SpecError saying what was `asked` if the board tells none."""
    temperatures = board.state().get("temperature_c")
    if not temperatures:
        raise SpecError(
            f"board {spec.name} says nowhere how warm it is, but {asked}",
            hint=f"leave {asked.split()[0]} out of the board's entry, or load the driver of its thermal sensor",
        )
    zone, hottest_c = max(temperatures.items(), key=lambda item: item[1])
    return str(zone), float(hottest_c)
