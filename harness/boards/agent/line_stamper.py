"""From a program's lines to stamps: where the time of an inference comes from when we do not run it ourselves."""

import os
import re
import select

from .basics import AgentError, now_ns

SILENCE_S = 120.0  # a command that prints nothing for so long has hung


class LineStamper:
    """Turns a program's start and stop lines into stamps: on arrival, or the nanoseconds a line carries."""

    NUMBER = re.compile(r"(?<![\w.])(\d{6,})(?![\w.])")
    LUMPS = 3
    LUMPS_SHARE = 0.02

    def __init__(self, start, stop, pin, stamps, program, spawned_ns):
        self._start, self._stop, self._pin, self._stamps, self._program = start, stop, pin, stamps, program
        self._spawned_ns = spawned_ns
        self._begin = None
        self._begin_chunk = -1
        self._lumps = 0
        self._carried = None  # whether lines carry their own times: decided by the first
        self._chunk = 0
        self.done = 0
        self.last_line = ""

    def read(self, fd):
        rest = b""
        while True:
            ready = select.select([fd], [], [], SILENCE_S)[0]
            if not ready:
                raise AgentError("device", "command {!r} printed nothing for {:.0f} s".format(self._program, SILENCE_S))
            chunk = os.read(fd, 65536)
            arrived = now_ns()
            if not chunk:
                break
            self._chunk += 1
            parts = (rest + chunk).split(b"\n")
            rest = parts.pop()
            for part in parts:
                self.line(part.decode("utf-8", "replace").strip(), arrived)
        if rest:
            self.line(rest.decode("utf-8", "replace").strip(), now_ns())

    def line(self, text, arrived):
        if text:
            self.last_line = text
        match = self._start.search(text)
        if match:
            if self._begin is not None:
                self._complain("printed a start line while an inference was under way", text)
            self._pin.low()
            self._pin.high()
            self._begin = self._time(match, text, arrived)
            self._begin_chunk = self._chunk
            return
        match = self._stop.search(text)
        if match:
            if self._begin is None:
                self._complain("printed a stop line without a start line", text)
            end = self._time(match, text, arrived)
            self._pin.low()
            if self._begin_chunk == self._chunk and (self._pin.present or not self._carried):
                self._in_one_lump(text)
            if end < self._begin or (self.done and self._begin < self._stamps.end[self._stamps.rows - 1]):
                self._complain("printed times that run backwards", text)
            self._stamps.add(self._begin, end)
            self._begin = None
            self.done += 1

    def _in_one_lump(self, text):
        """A busy host may read two lines late now and then; times in the lines are right all the same, and only
        the pin's pulse is short. A program that does not flush does it all the time."""
        if not self._carried:
            self._complain("delivered a start and its stop line in one lump, so neither has a time", text)
        self._lumps += 1
        if self._lumps > self.LUMPS and self._lumps > self.LUMPS_SHARE * (self.done + 1):
            self._complain(
                "delivered {} starts with their stop lines in one lump, so the marker pin cannot follow".format(
                    self._lumps
                ),
                text,
            )

    def _time(self, match, text, arrived):
        number = self.NUMBER.search(text, match.end())
        carried = number is not None
        if self._carried is None:
            self._carried = carried
        if carried != self._carried:
            self._complain("printed lines with and lines without a time", text)
        if not carried:
            return arrived
        stamp = int(number.group(1))
        if not self._spawned_ns <= stamp <= arrived:
            limits = "{} to {}".format(self._spawned_ns, arrived)
            self._complain(
                "printed a time that is not of CLOCK_MONOTONIC in ns since its start ({})".format(limits), text
            )
        return stamp

    def _complain(self, what, text):
        raise AgentError(
            "device",
            "command {!r} {}: {!r}".format(self._program, what, text),
            "print one start and one stop line an inference and flush each, or let both carry the time in ns",
        )

    def finish(self, complaints):
        if self._begin is not None:
            raise AgentError("device", "command {!r} ended with a start line without a stop".format(self._program))
        if not self.done:
            raise AgentError(
                "device",
                "command {!r} printed no line that matches start {!r} and stop {!r}; last words: {!r}".format(
                    self._program, self._start.pattern, self._stop.pattern, complaints or self.last_line
                ),
            )
