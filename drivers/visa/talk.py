"""The conversation with one instrument: commands and answers, its error queue, who it says it is.

A command with a question mark is asked and its answer read; others are sent. What crosses the line is shown to `tap`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence

from drivers.visa.description import load_shipped, shipped
from drivers.visa.numbers import VALID, Number, number, without_header
from drivers.visa.options import VisaOptions
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.visa_line import LineSettings, OpenLine, VisaLine

MOST_ERRORS = 50  # entries read from a queue at once: an instrument that always has one more is broken
SETTLING = 3
SHOWN = 80  # characters of an answer that are repeated in words

Tap = Callable[[str, bytes], None]


class Talk:
    """An open line to an instrument. Errors: TransientError if no answer comes, DeviceError if it is gone."""

    def __init__(self, opener: OpenLine, options: VisaOptions, clock: WaitClock, tap: Tap | None) -> None:
        section = options.described.instrument.line
        self.settings = LineSettings(
            write_end=section.write_end.encode("latin-1"),
            read_end=section.read_end.encode("latin-1"),
            answers_sets=section.answers_sets,
            pause_s=section.pause_s,
            baud=options.baud or section.baud,
            timeout_s=options.timeout_s or section.timeout_s,
        )
        self.options = options
        self._set_pause_ns = round(section.set_pause_s * NS_PER_S)
        self._clock, self._tap = clock, tap
        self._line: VisaLine = opener(options.resource, self.settings)

    # --- single messages --------------------------------------------------------------------------

    def send(self, message: str) -> None:
        """A command that asks nothing."""
        self._shown("out", message.encode("latin-1", "replace") + self.settings.write_end)
        self._line.write(message)
        if self._set_pause_ns:
            self._clock.sleep_until(self._clock.now_ns() + self._set_pause_ns)

    def ask(self, message: str, timeout_s: float | None = None) -> bytes:
        """The answer to a query, without its end."""
        self._shown("out", message.encode("latin-1", "replace") + self.settings.write_end)
        self._line.write(message)
        reply = self._line.read(timeout_s)
        self._shown("in", reply + self.settings.read_end)
        return reply

    def ask_text(self, message: str) -> str:
        """The answer as text, without a header."""
        return without_header(self.ask(message).decode("latin-1")).strip().strip('"')

    def ask_number(self, message: str) -> float:
        """The answer as a number; TransientError if it is none."""
        text = self.ask_text(message)
        try:
            found = number(text)
        except ValueError:
            found = Number(float("nan"), 1)
        if found.why != VALID:
            raise TransientError(
                f"{self.name} answered {message!r} with {text[:SHOWN]!r}, which is no number",
                hint="run again; if it stays so, is another program connected to it?",
            )
        return found.value

    def run(self, commands: Sequence[str]) -> None:
        """Commands in order; answers of queries are read and not looked at."""
        for command in commands:
            if "?" in command:
                self.ask(command)
            else:
                self.send(command)

    def drain(self) -> int:
        """Read away answers that nobody fetched."""
        return self._line.drain()

    def close(self) -> None:
        """Say what the description wants said at the end, if that can be, and close the line. May be called twice."""
        with contextlib.suppress(BenchError):
            for command in self.options.commands(self.options.described.instrument.finish):
                self.send(command)
        self._line.close()

    def _shown(self, way: str, data: bytes) -> None:
        if self._tap is not None:
            self._tap(way, data)

    def settle(self) -> None:
        """After an answer that did not come, or did not fit: it may still come. Ask who it is until that fits."""
        pattern = self.options.described.instrument.identify
        for _ in range(SETTLING):
            self.drain()
            with contextlib.suppress(TransientError):
                if _is(pattern, self.ask("*IDN?").decode("latin-1").strip()):
                    return

    # --- errors -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return f"{self.options.described.instrument.instrument} at {self.options.resource}"

    def errors(self) -> list[str]:
        """The entries of the error queue, oldest first; it is empty then. Nothing where there is no queue."""
        queue = self.options.described.instrument.errors
        if queue is None:
            return []
        none = re.compile(queue.none, re.IGNORECASE)
        found: list[str] = []
        while len(found) < MOST_ERRORS:
            entry = without_header(self.ask(self.options.text(queue.query)).decode("latin-1")).strip()
            if none.fullmatch(entry):
                break
            found.append(entry[:SHOWN])
        return found

    def require(self, commands: Sequence[str]) -> None:
        """Commands that must be obeyed: DeviceError naming the one that the instrument refused, and what it said."""
        for command in commands:
            try:
                self.run([command])
            except TransientError as error:  # a query that it does not know is never answered
                self.drain()
                if refused := self.errors():
                    raise self._refused(command, refused) from error
                raise
            if refused := self.errors():
                raise self._refused(command, refused)

    def _refused(self, command: str, entries: Sequence[str]) -> DeviceError:
        return DeviceError(
            f"{self.name} refused {command!r}: {'; '.join(entries)}",
            hint="compare its model, firmware and options with the description: docs/meters/visa.md",
        )

    # --- who it is --------------------------------------------------------------------------------

    def identify(self) -> tuple[dict[str, str], list[str]]:
        """(model, serial and firmware as it says them, errors that were in its queue before). DeviceError naming what
        answered if that is another instrument, or if nothing did."""
        this = self.options.described.instrument
        self.drain()
        reply = self._idn()
        found = re.fullmatch(this.identify, reply, re.IGNORECASE)
        if found is None:
            others = [d.name for d in map(load_shipped, shipped()) if _is(d.instrument.identify, reply)]
            raise DeviceError(
                f"{self.options.resource} answers {reply[:SHOWN]!r}, which is no {this.instrument}",
                hint=f"set instrument: {others[0]}" if others else "describe it: docs/howto/describe-an-instrument.md",
            )
        said = {key: (value or "").strip() for key, value in found.groupdict().items()}
        before: list[str] = []
        try:
            before = self.errors()
        except TransientError:  # it may have been left in another command set, from which `clear` brings it back
            self.drain()
        for command in self.options.commands(this.clear):
            with contextlib.suppress(TransientError):
                self.run([command])
        self.drain()
        self.errors()
        return said, before

    def _idn(self) -> str:
        for last in (False, True):
            try:
                reply = self.ask("*IDN?").decode("latin-1").strip()
            except TransientError as error:
                if last:
                    raise DeviceError(
                        f"{self.name} does not answer *IDN?",
                        hint="is it on, is nobody else connected? check resource, baud and the ends of messages",
                    ) from error
                self.drain()
            else:
                if reply:
                    return reply
        raise DeviceError(f"{self.name} answers *IDN? with nothing", hint="check the ends of messages")


def _is(pattern: str, reply: str) -> bool:
    return re.fullmatch(pattern, reply, re.IGNORECASE) is not None
