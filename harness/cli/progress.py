"""Progress of a campaign as a mere listener of events: a bar for each lane on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.events import Event, Listener

if TYPE_CHECKING:
    from rich.progress import TaskID

PHRASES = {
    "board_restored_after_crash": "board settings left by a crash put back: {restored}",
    "orphan_agents_ended": "agents left by a dead harness ended: pids {pids}",
    "cooling_down": "board {board} cools down: {zone} is at {temperature_c:.1f} C, runs begin at {limit_c:g} C",
    "telemetry_lost": "the board tells no more of itself, the run goes on: {reason}",
    "warmed_through": "  {zone} warmed from {from_c:.1f} to {temperature_c:.1f} C in {took_s:.0f} s",
    "meter_found_sampling": "meter {meter} was found sampling: stopped and drained",
    "run_skipped": "[{index1}/{total}] {run_id}: {reason}, not measured",
    "run_retry": "{run_id}: attempt {attempt} of {of} failed: {message}",
    "run_waits": "{run_id}: attempt {attempt} of {of} in {seconds:.0f} s",
    "run_given_up": "{run_id}: {kind} error: {message}",
    "board_quarantined": "board {board} is left alone from here on: {reason}",
    "quarantine_lifted": "board {board} works again: its quarantine is lifted",
    "lane_refused": "nothing can be measured here: {message}",
    "lane_crashed": "this lane ended by a defect:\n{traceback}",
    "simulated_bench": "simulated bench {state} ({world})",
    "simulated_layers": "  simulated bench: plays the {kernels} kernels that this machine runs",
    "simulated_layers_made_up": "  simulated bench: layers are made up, and not graded: {reason}",
    "settled": "  standby {when}: {settled} after {waited_s:.1f} s",
    "start_begin": "  process start {start1}",
    "run_begin": "[{index1}/{total}] {run_id}",
    "run_aborted": "{run_id}: not finished: {reason}",
    "result": "  {text}",
    "analysis_failed": "{run_id}: measured and kept, but not analysed: {message}",
}
ONLY_ON_A_BAR = {"start_begin", "settled"}
LATER = {"result", "analysis_failed"}  # they may come while the lane measures another run
WIDTH = 44  # columns of a lane's description


def _phrase(event: Event, *, several: bool) -> str | None:
    """What a person reads of an event, or None. With several lanes it says which, and which run a result is of."""
    pattern = PHRASES.get(event["event"])
    if pattern is None:
        return None
    words: dict[str, Any] = dict(event)
    words["index1"] = event.get("index", 0) + 1
    words["start1"] = event.get("start", 0) + 1
    words["settled"] = "settled" if event.get("ok") else f"NOT settled ({event.get('reason')})"
    text = pattern.format(**words)
    if not several:
        return text
    run = f" {event['run_id']}:" if event["event"] == "result" else ""
    return f"{event.get('lane', '')}:{run} {text}"


def plain_listener(*, several: bool = False) -> Listener:
    """One line on standard error for each event worth a line; `several` lanes are told apart by name."""

    def show(event: Event) -> None:
        text = _phrase(event, several=several)
        if text is not None:
            print(text, file=sys.stderr, flush=True)

    return show


@dataclass
class _LaneLine:
    """A lane's line on the terminal."""

    task: TaskID
    expected_s: Sequence[float]
    index: int = 0
    began: float = 0.0

    def done_s(self, *, ended: bool) -> float:
        if ended:
            return sum(self.expected_s[: self.index + 1])
        passed = sum(self.expected_s[: self.index])
        if self.began and self.index < len(self.expected_s):
            passed += min(time.monotonic() - self.began, self.expected_s[self.index])
        return passed


class Bar:
    """A progress bar for each lane over the expected duration of its runs, with its current step beside it."""

    def __init__(self, lanes: Mapping[str, Sequence[float]]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._several = len(lanes) > 1
        self._lines = {name: _LaneLine(self._task(name, sum(times)), times) for name, times in lanes.items()}

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listen(self, event: Event) -> None:
        name, lane = event["event"], event.get("lane", "")
        text = _phrase(event, several=self._several)
        if text is not None and name not in ONLY_ON_A_BAR:
            self._progress.console.print(text, highlight=False, markup=False)
        line = self._lines.get(lane)
        if line is None:
            return
        if name in ("run_begin", "run_skipped"):
            line.index, line.began = int(event["index"]), time.monotonic()
        shown = _phrase(event, several=False)
        if shown is not None and name not in LATER:
            self._progress.update(line.task, description=self._described(lane, shown))
        elif name == "lane_end":
            self._progress.update(line.task, description=self._described(lane, "done"))
        self._progress.update(line.task, completed=line.done_s(ended=name in ("run_end", "run_skipped")))

    def _task(self, lane: str, expected_s: float) -> TaskID:
        return self._progress.add_task(self._described(lane, "starting"), total=max(1e-9, expected_s))

    def _described(self, lane: str, text: str) -> str:
        from rich.markup import escape

        return escape((f"{lane}: {text.strip()}" if self._several else text.strip()).partition("\n")[0][:WIDTH])
