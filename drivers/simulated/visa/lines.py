"""Where a simulated instrument meets its driver: a line in this process on its clock, or bytes for a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.simulated.visa.instrument import Instrument
from harness.core.errors import DeviceError, TransientError
from harness.core.waiting import WaitClock
from harness.io.visa_line import LineSettings, OpenLine, VisaLine

Spoil = Callable[[bytes], bytes | None]
"""What becomes of a response (without its end) on the way; None: it is lost."""

STREAMS = ("::SOCKET", "ASRL")


class Wire:
    """The instrument's side of a byte stream: messages cut at their end, responses with theirs.

    `deaf_ns`: an old firmware that loses what comes sooner than this after the last message.
    """

    def __init__(self, instrument: Instrument, *, deaf_ns: int = 0) -> None:
        self.instrument, self._deaf_ns = instrument, deaf_ns
        instrument.stream = True
        self._heard = b""
        self._last_ns = -(1 << 62)

    def receive(self, data: bytes, now_ns: int) -> None:
        self._heard += data
        end = self.instrument.message_end
        while end in self._heard:
            message, _, self._heard = self._heard.partition(end)
            if now_ns - self._last_ns >= self._deaf_ns:
                self.instrument.hear(message, now_ns)
            self._last_ns = now_ns

    def advance(self, now_ns: int) -> None:
        self.instrument.advance(now_ns)

    def transmit(self, now_ns: int) -> bytes:
        data = b""
        while (response := self.instrument.fetch(now_ns)) is not None:
            data += self.instrument.ended(response)
        return data


@dataclass
class InProcessLine(VisaLine):
    """A VisaLine to `instrument` on `clock`. `gone_at_ns`: unplugged then; `spoil`: faults of the way back."""

    instrument: Instrument
    clock: WaitClock
    resource: str
    settings: LineSettings
    gone_at_ns: int | None = None
    spoil: Spoil | None = None
    deaf_ns: int = 0
    closed: bool = False
    _wire: Wire | None = None
    _arrived: list[bytes] = field(default_factory=list)
    _written_ns: int | None = None

    def __post_init__(self) -> None:
        stream = any(word in self.resource for word in STREAMS)
        self.instrument.stream = stream
        self._wire = Wire(self.instrument, deaf_ns=self.deaf_ns) if stream else None
        self._now()

    def write(self, message: str) -> None:
        now_ns = self._now()
        if self._written_ns is not None and self.settings.pause_s:
            self.clock.sleep_until(max(now_ns, self._written_ns + round(self.settings.pause_s * 1e9)))
            now_ns = self._now()
        self._written_ns = now_ns
        if self._wire is None:
            self.instrument.hear(message.encode("latin-1"), now_ns)
        else:
            self._wire.receive(message.encode("latin-1") + self.settings.write_end, now_ns)
        self.instrument.advance(now_ns)
        if self.settings.answers_sets and "?" not in message:
            self.read()

    def read(self, timeout_s: float | None = None) -> bytes:
        wait_s = self.settings.timeout_s if timeout_s is None else timeout_s
        end_ns = self._now() + round(wait_s * 1e9)
        told = False
        while True:
            now_ns = self._now()
            self.instrument.advance(now_ns)
            if (response := self._arrival(now_ns)) is not None:
                return response
            due_ns = self.instrument.due_ns()
            if due_ns is None and not told:
                self.instrument.asked_for_nothing()
                told = True
            if now_ns >= end_ns:
                raise TransientError(
                    f"no response from {self.resource} within {wait_s:g} s", hint="is it busy, or was it asked nothing?"
                )
            self.clock.sleep_until(end_ns if due_ns is None else min(end_ns, max(due_ns, now_ns + 1)))
            if self.clock.now_ns() == now_ns:
                raise TransientError(f"no time passes while {self.resource} is read", hint="read it outside of a step")

    def _arrival(self, now_ns: int) -> bytes | None:
        """The next response that came through; one without the end that the host waits for never comes to an end."""
        while (response := self.instrument.fetch(now_ns)) is not None:
            spoilt = response if self.spoil is None else self.spoil(response)
            if spoilt is not None:
                self._arrived.append(spoilt if self._wire is None else self.instrument.ended(spoilt))
        if not self._arrived:
            return None
        if self._wire is None:
            return self._arrived.pop(0)
        end = self.settings.read_end
        while end not in self._arrived[0] and len(self._arrived) > 1:
            self._arrived[0:2] = [self._arrived[0] + self._arrived[1]]
        first = self._arrived[0]
        if first.startswith(b"#"):  # a block: only the end of the message ends it
            return self._arrived.pop(0).removesuffix(end) if first.endswith(end) else None
        if end not in first:
            return None
        message, _, rest = self._arrived.pop(0).partition(end)
        if rest:
            self._arrived.insert(0, rest)
        return message

    def drain(self) -> int:
        self.instrument.advance(self._now())
        count = 0
        while (response := self._arrival(self._now())) is not None:
            count += len(response)
        return count + sum(len(self._arrived.pop()) for _ in range(len(self._arrived)))

    def close(self) -> None:
        self.closed = True

    def _now(self) -> int:
        now_ns = self.clock.now_ns()
        if self.closed:
            raise DeviceError(f"the line to {self.resource} is closed", hint="open the meter first")
        if self.gone_at_ns is not None and now_ns >= self.gone_at_ns:
            raise DeviceError(f"{self.resource} is gone: the line was cut", hint="check its cable, then run again")
        return now_ns


def opener(
    instrument: Instrument,
    clock: WaitClock,
    *,
    gone_at_ns: int | None = None,
    spoil: Spoil | None = None,
    deaf_ns: int = 0,
) -> OpenLine:
    """What opens `instrument` in this process whatever the resource, to be given as `MeterRequest.visa`."""

    def open_line(resource: str, settings: LineSettings) -> VisaLine:
        return InProcessLine(instrument, clock, resource, settings, gone_at_ns=gone_at_ns, spoil=spoil, deaf_ns=deaf_ns)

    return open_line
