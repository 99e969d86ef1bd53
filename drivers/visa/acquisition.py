"""Updates of an instrument from start to stop, as rows and gaps; what it does not answer, and what its integrator does.

A row whose integrator did not run would look like no power at all: it is not kept, and the gap says `reset:`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from drivers.visa.polled import Look, Poller
from drivers.visa.rows import LOST_COUNT, Judge
from drivers.visa.talk import Talk
from drivers.visa.unchanged import ChangedError, Unchanged
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.trace import Block, CalibrationPiece
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.decoded_rows import DecodedRows

MOST_SILENT = 3  # polls without an answer, one after the other
STILL_UPDATES, STILL_S = 10, 5.0  # without an update for so long (the longer counts) it is given up
MOVED_S = 10.0  # a range that is not the one that was fixed for so long stays so
SATURATED = "saturated_samples"  # a name that the analysis knows


class Acquisition:
    """One acquisition over an open Talk. Errors: TransientError for no answers or no updates, DeviceError if a range
    has moved for good or the integrator cannot be started."""

    def __init__(
        self, talk: Talk, poller: Poller, judge: Judge, pieces: Sequence[CalibrationPiece], clock: WaitClock
    ) -> None:
        self._talk, self._poller, self._judge, self._clock = talk, poller, judge, clock
        self._options = talk.options
        self._energy = self._options.described.instrument.energy if self._options.energy else None
        self._window_ns = round(self._options.update_s * NS_PER_S)
        self._rows = DecodedRows([f"{item}_raw" for item in judge.items], pieces)
        self.count, self.take = self._rows.count, self._rows.take
        self._unchanged = Unchanged(talk, clock)
        self._silent = 0
        self._renewed_ns = 0
        self._moved_ns: int | None = None

    def start(self) -> None:
        """Begin: forget what was before. DeviceError if the integrator does not start."""
        self._judge.begin()
        if self._energy is not None:
            self._talk.require(self._options.commands(self._energy.start))
            if not self._integrates():
                raise DeviceError(
                    f"the integrator of {self._talk.name} does not start: {self._state()}",
                    hint="auto ranging must be off, and no timer be set: look at the instrument",
                )
        self._unchanged.note()
        self._poller.arm()
        self._renewed_ns = self._clock.now_ns()
        self._rows.begin(self._renewed_ns)

    def poll(self) -> None:
        """Ask once."""
        torn = self._poller.torn
        try:
            look = self._poller.poll()
            stopped = look is not None and self._energy is not None and not self._integrates()
            if look is not None:
                self._unchanged.look()
        except ChangedError:
            raise
        except TransientError as error:
            self._no_answer(error)
            return
        self._silent = 0
        self.count("torn_looks", self._poller.torn - torn)
        if look is None:
            self._require_updates()
            return
        self._renewed_ns = self._clock.now_ns()
        if stopped:
            self._restart()
        else:
            self._keep(look)

    def _keep(self, look: Look) -> None:
        if look.updates > 1:
            self._rows.lose(f"{look.updates - 1} updates were not read in time", look.updates - 1)
            self.count("missed_updates", look.updates - 1)
        if moved := self._judge.moved(look.values):
            self._rows.lose(moved)
            self.count("moved_range")
            self._require_range(moved)
            return
        self._moved_ns = None
        raw, why, over = self._judge.row(look.values, look.odd)
        if look.over or over:
            self.count(SATURATED)
            self._rows.lose(why or "the instrument says over range")
            return
        if why:
            self._rows.lose(why)
            self.count("invalid_values")
            return
        if still := self._judge.stands_still(raw, look.values):
            self._rows.lose(still)
            self.count("counter_stops")
            return
        if fell := self._judge.fell(raw):
            self._rows.lose(fell, 0)
            self.count("counter_resets")
        if not self._rows.add(look.t_ns, raw, window_ns=self._window_ns):
            self.count("not_later")

    def finish(self) -> Block | None:
        """Stop; the rest, and how many errors the instrument noted meanwhile. TransientError if it was reset to
        something else meanwhile."""
        try:
            self.stop_integrator()
            self._unchanged.look_at_all()
            self.count("instrument_errors", len(self._talk.errors()))
        except ChangedError:
            raise
        except BenchError:
            self.count("no_answers")
        return self._rows.finish(self._clock.now_ns())

    # --- the integrator -------------------------------------------------------------------------------

    def stop_integrator(self) -> None:
        if self._energy is not None:
            self._talk.run(self._options.commands(self._energy.stop))

    def _integrates(self) -> bool:
        energy = self._energy
        return (
            energy is None
            or energy.state is None
            or re.match(energy.state.running, self._state(), re.IGNORECASE) is not None
        )

    def _state(self) -> str:
        energy = self._energy
        if energy is None or energy.state is None:
            return "its state cannot be asked"
        return self._talk.ask_text(self._options.text(energy.state.query))

    def _restart(self) -> None:
        assert self._energy is not None
        self.count("integrator_stops")
        self._rows.lose(f"{LOST_COUNT}the integrator stood still ({self._state()})")
        self._judge.begin()
        self._talk.require(self._options.commands(self._energy.start))
        self._poller.arm()

    # --- what goes wrong ------------------------------------------------------------------------------

    def _no_answer(self, error: TransientError) -> None:
        self.count("no_answers")
        self._silent += 1
        if self._silent >= MOST_SILENT:
            raise error
        self._talk.settle()
        noted = self._errors_noted()
        self._rows.lose(noted or "the instrument did not answer", 0)

    def _errors_noted(self) -> str:
        try:
            entries = self._talk.errors()
        except TransientError:
            self._talk.drain()
            return ""
        self.count("instrument_errors", len(entries))
        return f"the instrument noted {entries[0]}" if entries else ""

    def _require_updates(self) -> None:
        still_s = (self._clock.now_ns() - self._renewed_ns) / NS_PER_S
        if still_s > max(STILL_S, STILL_UPDATES * self._options.update_s):
            raise TransientError(
                f"{self._talk.name} has not renewed its values for {still_s:.1f} s",
                hint="is it on hold, in a menu, or in another mode? look at its display, then run again",
            )

    def _require_range(self, moved: str) -> None:
        now_ns = self._clock.now_ns()
        self._moved_ns = now_ns if self._moved_ns is None else self._moved_ns
        if now_ns - self._moved_ns > MOVED_S * NS_PER_S:
            raise DeviceError(
                f"{self._talk.name}: {moved}",
                hint="it leaves a small range by itself when overloaded: set a larger voltage_range or current_range",
            )
