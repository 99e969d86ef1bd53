"""What every adapter shares: orders come in lines, answers go out as JSON lines, all else that is printed is kept.

An adapter runs in the peer's own virtual environment, so it imports the standard library and the peer, nothing of ours.
Orders: `begin`, `end` (the measured window), `cost N` (N readings, timed). Times are CLOCK_MONOTONIC, which all
processes of a machine share.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


class Peer:
    """One measurement with a peer. `total_j`: what its user would take for the answer; `parts` by the peer's names."""

    words: tuple[str, ...] = ()  # what stood behind the order

    readings_a_call = 1

    def begin(self) -> None: ...

    def end(self) -> dict[str, Any]:
        """{"total_j": float, "parts": {...}}; for a sampler also "power_w" and the span it says it covers."""
        raise NotImplementedError

    def read(self) -> Any:
        """One reading, as cheap as the peer can: for the cost table."""
        raise NotImplementedError

    def close(self) -> None: ...


def serve(make: Callable[[list[str]], Peer]) -> None:
    """Main function of an adapter: `make(arguments)` sets the peer up."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever the peer prints goes to the log

    def say(event: str, **more: Any) -> None:
        answers.write(json.dumps({"event": event, **more}) + "\n")

    stage = "setup"
    try:
        peer = make(sys.argv[1:])
        say("ready")
        for line in sys.stdin:
            stage, *words = line.split()
            peer.words = tuple(words)
            before = time.monotonic()
            if stage == "begin":
                peer.begin()
                say("begun", span=[before, time.monotonic()])
            elif stage == "end":
                found = peer.end()
                say("ended", span=[before, time.monotonic()], **found)
            elif stage == "cost":
                say("cost", us=_cost_us(peer.read, int(words[0])) / peer.readings_a_call)
        stage = "close"
        peer.close()
    except BaseException as error:  # noqa: BLE001  # which kind it is, is the finding
        names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        on_purpose = (last.line or "").startswith("raise ") and "/site-packages/" in last.filename
        say(
            "raised",
            stage=stage,
            kinds=names,
            errno=getattr(error, "errno", None),
            on_purpose=on_purpose,
            message=str(error)[:300],
        )
    answers.flush()
    sys.stderr.flush()
    os._exit(0)  # threads and helper processes of a peer must not keep the table waiting


def _cost_us(read: Callable[[], Any], count: int, rounds: int = 5) -> float:
    """Microseconds a reading, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(count):
            read()
        best = min(best, (time.perf_counter() - begin) / count * 1e6)
    return best
