"""Progress of a campaign as a mere listener of events: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from harness.core.events import Event, Listener

PHRASES = {
    "board_restored_after_crash": "board settings left by a crash put back: {restored}",
    "orphan_agents_ended": "agents left by a dead harness ended: pids {pids}",
    "meter_found_sampling": "meter {meter} was found sampling: stopped and drained",
    "run_skipped": "[{index1}/{total}] {run_id}: already finished, not measured again",
    "run_retry": "{run_id}: attempt {attempt} of {of} failed: {message}",
    "simulated_bench": "simulated bench {state} ({world})",
    "settled": "  standby {when}: {settled} after {waited_s:.1f} s",
    "start_begin": "  process start {start1}",
    "run_begin": "[{index1}/{total}] {run_id}",
    "run_aborted": "{run_id}: not finished: {reason}",
    "result": "  {text}",
}
ONLY_ON_A_BAR = {"start_begin", "settled"}


def _phrase(event: Event) -> str | None:
    pattern = PHRASES.get(event["event"])
    if pattern is None:
        return None
    words: dict[str, Any] = dict(event)
    words["index1"] = event.get("index", 0) + 1
    words["start1"] = event.get("start", 0) + 1
    words["settled"] = "settled" if event.get("ok") else f"NOT settled ({event.get('reason')})"
    return pattern.format(**words)


def plain_listener() -> Listener:
    """One line on standard error for each event worth a line."""

    def show(event: Event) -> None:
        text = _phrase(event)
        if text is not None:
            print(text, file=sys.stderr, flush=True)

    return show


class Bar:
    """A rich progress bar over the expected duration of all runs, with the current step beside it."""

    def __init__(self, run_expected_s: list[float]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._expected_s = run_expected_s
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("starting", total=max(1e-9, sum(run_expected_s)))
        self._index = 0
        self._began = time.monotonic()

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listen(self, event: Event) -> None:
        name = event["event"]
        if name == "run_begin":
            self._index, self._began = int(event["index"]), time.monotonic()
        text = _phrase(event)
        if text is not None:
            self._progress.update(self._task, description=text.strip()[:40])
            if name not in ONLY_ON_A_BAR:
                self._progress.console.print(text, highlight=False)
        done_s = sum(self._expected_s[: self._index])
        if self._index < len(self._expected_s):
            done_s += min(time.monotonic() - self._began, self._expected_s[self._index])
        if name == "run_end":
            done_s = sum(self._expected_s[: self._index + 1])
        self._progress.update(self._task, completed=done_s)
