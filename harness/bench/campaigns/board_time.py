"""How much of a campaign's time its boards spent being measured, worked out from its events alone.

A protocol step is what the protocol prescribes and the meters record: idle reference, load, settling, standby
brackets, the programs with the inferences, the recorded tail; and the profile pass behind them. Everything else
(connecting, checking, starting processes, storing) is what the harness costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.core.events import Event


@dataclass
class LaneTime:
    """Seconds of one lane: in protocol steps of the runs that were measured, by step, and from its begin to its end."""

    lane: str
    begun_unix_s: float
    wall_s: float = 0.0
    runs: int = 0
    steps_s: dict[str, float] = field(default_factory=dict)
    pending_s: dict[str, float] = field(default_factory=dict)  # of the run under way: counted if it is measured

    @property
    def protocol_s(self) -> float:
        return sum(self.steps_s.values())

    @property
    def share(self) -> float | None:
        """Time in protocol steps over wall time; None where no run was measured."""
        return self.protocol_s / self.wall_s if self.runs and self.wall_s > 0 else None

    def to_json(self) -> dict[str, Any]:
        return {
            "lane": self.lane, "runs": self.runs, "wall_s": self.wall_s, "protocol_s": self.protocol_s,
            "share": self.share, "steps_s": dict(self.steps_s),
        }  # fmt: skip


class BoardTime:
    """A listener of a campaign's events, each tagged with its `lane`."""

    def __init__(self) -> None:
        self._lanes: dict[str, LaneTime] = {}

    @property
    def lanes(self) -> Mapping[str, LaneTime]:
        return self._lanes

    def listen(self, event: Event) -> None:
        name, lane = event["event"], event.get("lane")
        if name == "lane_begin":
            self._lanes[event["lane"]] = LaneTime(event["lane"], event["unix_s"])
        if lane not in self._lanes:
            return
        time = self._lanes[lane]
        if name == "protocol_step_end":
            time.pending_s[event["step"]] = time.pending_s.get(event["step"], 0.0) + event["duration_s"]
        elif name == "run_measured":
            time.runs += 1
            for step, seconds in time.pending_s.items():
                time.steps_s[step] = time.steps_s.get(step, 0.0) + seconds
            time.pending_s.clear()
        elif name == "run_aborted":
            time.pending_s.clear()
        elif name == "lane_end":
            time.wall_s = event["unix_s"] - time.begun_unix_s
