"""The replay for the conformance suite: a recording of ten seconds, played in virtual time (`joulebench.subjects`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.replay.meter import open_meter
from drivers.simulated.replay import simulator
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.conformance import Subject


@contextmanager
def subject() -> Iterator[Subject]:
    """A run directory on a clock of its own."""
    with tempfile.TemporaryDirectory(prefix="joulebench-replay-") as folder:
        run = simulator(Path(folder))
        clock = VirtualClock()
        yield Subject(lambda: open_meter(MeterRequest("replay", {"run": str(run)}), clock=clock), clock, acquire_s=1.0)
