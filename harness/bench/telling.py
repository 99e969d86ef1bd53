"""Keeps what the board tells of itself while a run is measured. Telemetry explains a figure; it never costs the run.

Nothing is fetched while a program runs. A board that stops telling is an event, and the run goes on without it.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.core.errors import BenchError
from harness.core.events import EventStream
from harness.core.ports import Board, TelemetrySource, TellingBoard
from harness.core.spec import RunSpec
from harness.core.telemetry import Telemetry
from harness.store.run_writer import RunWriter

COST = "telemetry_cost"


class TelemetryRecorder:
    """Telemetry of one run; nothing where the board tells nothing or the protocol says `telemetry_s: 0`."""

    def __init__(self, spec: RunSpec, writer: RunWriter, board: Board, events: EventStream, *, lease_s: float) -> None:
        self._spec, self._writer, self._events = spec, writer, events
        self._source: TelemetrySource | None = None
        period_s = spec.protocol.telemetry_s
        if period_s > 0 and isinstance(board, TellingBoard):
            try:
                self._source = board.start_telemetry(spec.board, period_s, lease_s=lease_s)
            except BenchError as error:
                self._give_up(error)

    def poll(self) -> None:
        """Fetch what was read; call it only while nothing is measured."""
        self._keep(lambda source: source.take())

    def stop(self) -> None:
        self._keep(lambda source: source.stop())
        if self._source is not None:
            try:
                self._writer.put_json(COST, dict(self._source.cost()))
            except BenchError as error:
                self._give_up(error)

    def close(self) -> None:
        if self._source is not None:
            source, self._source = self._source, None
            source.close()

    def _keep(self, fetch: Callable[[TelemetrySource], Telemetry | None]) -> None:
        if self._source is None:
            return
        try:
            part = fetch(self._source)
        except BenchError as error:
            self._give_up(error)
            return
        if part is not None:
            self._writer.put_telemetry(part)

    def _give_up(self, error: BenchError) -> None:
        self._events.emit("telemetry_lost", run_id=self._spec.run_id, reason=error.message)
        self.close()
