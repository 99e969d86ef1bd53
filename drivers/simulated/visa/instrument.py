"""The state machine common to all simulated instruments: messages in, responses out, registers, error queue, clock.

A message is carried out when its turn comes: each command takes `command_ns`, a response is ready `reply_ns` after its
query, and a command that waits (`busy_until_ns`) holds up all that come after it, as a real parser does. Time is the
host's, in ns; nothing here waits, and nothing is asked of the source before the time it lies in.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import (
    MISSING_PARAMETER,
    OUT_OF_RANGE,
    PARAMETER_NOT_ALLOWED,
    QUERY_INTERRUPTED,
    QUERY_UNTERMINATED,
    QUEUE_OVERFLOW,
    UNDEFINED_HEADER,
    Pattern,
    ScpiError,
    Unit,
    boolean,
    choice,
    number,
    parsed,
    pattern,
    string,
)

MS = 1_000_000
OPC, QYE, DDE, EXE, CME, PON = 1, 4, 8, 16, 32, 128  # standard event register, IEEE 488.2 11.5.1
MAV, ESB, MSS = 16, 32, 64
Answer = str | bytes | Callable[[], str] | None
"""A function: called when the command need not wait any more (`holds`)."""


@dataclass(frozen=True)
class Call:
    """What a handler gets: numeric suffixes of the header, and parameters as written."""

    suffixes: tuple[int, ...]
    args: tuple[str, ...]

    def takes(self, least: int, most: int | None = None) -> None:
        if len(self.args) < least:
            raise ScpiError(MISSING_PARAMETER)
        if len(self.args) > (least if most is None else most):
            raise ScpiError(PARAMETER_NOT_ALLOWED)


Handler = Callable[[Any, Call], Answer]


def command(text: str, *more: str) -> Callable[[Handler], Handler]:
    """Mark a method as what carries out `text` (a manual's header; with `?` the query)."""

    def mark(handler: Handler) -> Handler:
        handler.scpi = (text, *more)  # type: ignore[attr-defined]
        return handler

    return mark


@dataclass(frozen=True)
class Setting:
    """Something that can be set and asked for. `kind`: number, choice, flag, text or register.

    `allowed`: the only numbers; `low`, `high`: the range; `form`: how a number is answered.
    """

    text: str
    kind: str
    default: Any
    unit: str = ""
    choices: tuple[str, ...] = ()
    allowed: tuple[float, ...] = ()
    low: float = -float("inf")
    high: float = float("inf")
    form: Callable[[float], str] = lambda value: f"{value:g}"

    def read(self, raw: str) -> Any:
        if self.kind == "flag":
            return boolean(raw)
        if self.kind == "choice":
            return choice(raw, self.choices)
        if self.kind == "text":
            return string(raw)
        value = number(raw, self.unit)
        if self.allowed:
            near = [a for a in self.allowed if abs(a - value) <= 1e-6 * abs(a)]
            if not near:
                raise ScpiError(OUT_OF_RANGE)
            return near[0]
        if not self.low <= value <= self.high:
            raise ScpiError(OUT_OF_RANGE)
        return round(value) if self.kind == "register" else value

    def shown(self, value: Any, *, long: bool) -> str:
        if self.kind == "flag":
            return "1" if value else "0"
        if self.kind == "choice":
            return value.upper() if long else re.sub("[a-z]+", "", value)
        if self.kind == "text":
            return f'"{value}"'
        return str(value) if self.kind == "register" else self.form(value)


@dataclass
class Response:
    """A response message without its end, and when it can be fetched."""

    data: bytes
    ready_ns: int


@dataclass
class Instrument:
    """A simulated instrument without instrument: common commands, status, errors. Personalities derive from it.

    `stream`: a raw socket or a serial line, where a response is sent as soon as it is ready; else (USBTMC, VXI-11) it
    waits in the output queue and a new command before it was read is an error (-410). `slow_ns`: added to every reply.
    """

    identity: ClassVar[str] = ""
    settings: ClassVar[dict[str, Setting]] = {}
    response_end: ClassVar[bytes] = b"\n"
    message_end: ClassVar[bytes] = b"\n"
    chained: ClassVar[bool] = True  # several commands in a message
    empty_answers: ClassVar[bool] = False  # every command is answered, if only with an end
    error_queue_size: ClassVar[int] = 16
    command_ns: ClassVar[int] = MS
    reply_ns: ClassVar[int] = 3 * MS

    stream: bool = False
    slow_ns: int = 0
    now_ns: int = 0
    begin_ns: int = 0
    busy_until_ns: int = 0
    dead: bool = False  # answers nothing any more
    says_it_is: str = ""  # instead of what it is
    values: dict[tuple[str, tuple[int, ...]], Any] = field(default_factory=dict)
    errors: deque[tuple[int, str]] = field(default_factory=deque)
    esr: int = PON
    ese: int = 0
    sre: int = 0
    log: list[str] = field(default_factory=list)  # messages heard, for tests

    def __post_init__(self) -> None:
        self.now_ns = self.busy_until_ns = self.begin_ns
        self._heard: deque[tuple[int, str]] = deque()
        self._running: Iterator[None] | None = None
        self._out: deque[Response] = deque()
        self._table = list(self._commands())
        self._settings = [(name, s, pattern(s.text)) for name, s in self.settings.items()]
        self.reset()

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        """A new one with `front` at its (first) input."""
        raise NotImplementedError

    # --- the wire's side ----------------------------------------------------------------------------

    def hear(self, message: bytes, now_ns: int) -> None:
        """A whole program message without its end."""
        self._heard.append((now_ns, message.decode("latin-1").strip()))

    def advance(self, now_ns: int) -> None:
        """Carry out what is due by now."""
        while not self.dead:
            if self._running is None:
                if not self._heard or max(self._heard[0][0], self.busy_until_ns) > now_ns:
                    break
                at_ns, message = self._heard.popleft()
                self._move(max(at_ns, self.busy_until_ns, self.now_ns))
                self._running = self._carry_out(message)
            if self.busy_until_ns > now_ns:
                break
            self._move(max(self.now_ns, self.busy_until_ns))
            if next(self._running, self) is self:
                self._running = None
        self._move(max(now_ns, self.now_ns))

    def due_ns(self) -> int | None:
        """When something happens next without a further message; None: nothing."""
        if self.dead:
            return None
        times = [self._out[0].ready_ns] if self._out else []
        if self._running is not None or self._heard:
            times.append(max(self.busy_until_ns, self._heard[0][0] if self._heard else 0))
        return min(times) if times else None

    def fetch(self, now_ns: int) -> bytes | None:
        """The next whole response that is ready, without its end."""
        if self._out and self._out[0].ready_ns <= now_ns:
            return self._out.popleft().data
        return None

    def ended(self, response: bytes) -> bytes:
        """A response as it goes over a stream."""
        return response + self.response_end

    def asked_for_nothing(self) -> None:
        """A bus read found no response and none under way."""
        if not self.stream and not self._out and self._running is None and not self._heard:
            self.fail(ScpiError(QUERY_UNTERMINATED))

    # --- carrying out -------------------------------------------------------------------------------

    def _move(self, to_ns: int) -> None:
        self.now_ns = to_ns
        self.work(to_ns)

    def work(self, now_ns: int) -> None:
        """What the instrument does by itself up to now: measure."""

    def _carry_out(self, message: str) -> Iterator[None]:
        self.log.append(message)
        if self._out and not self.stream:
            self._out.clear()
            self.fail(ScpiError(QUERY_INTERRUPTED))
        answers: list[bytes] = []
        units = parsed(message)
        if not self.chained and len(units) > 1:
            units = [ScpiError(-102)]
        for unit in units:
            self.busy_until_ns = max(self.busy_until_ns, self.now_ns) + self.command_ns
            yield
            try:
                if isinstance(unit, ScpiError):
                    raise unit
                answer = self.carry_out(unit)
                while (again_ns := self.holds()) is not None:
                    self.busy_until_ns = max(again_ns, self.now_ns + 1)
                    yield
            except ScpiError as error:
                self.fail(error)
                continue
            if callable(answer):
                answer = answer()
            if answer is not None:
                answers.append(answer.encode("latin-1") if isinstance(answer, str) else answer)
            if self.busy_until_ns > self.now_ns:
                yield
        if answers or self.empty_answers:
            ready_ns = max(self.busy_until_ns, self.now_ns) + self.reply_ns + self.slow_ns
            before_ns = self._out[-1].ready_ns if self._out else 0
            self._out.append(Response(b";".join(answers), max(ready_ns, before_ns)))

    def holds(self) -> int | None:
        """When to look again whether the command that waits may go on; None: it does not wait."""
        return None

    def carry_out(self, unit: Unit) -> Answer:
        for found, handler in self._table:
            query = found.text.endswith("?")
            if query == unit.query and (suffixes := found.match(unit.header)) is not None:
                return handler(self, Call(suffixes, unit.args))
        for name, setting, found in self._settings:
            if (suffixes := found.match(unit.header)) is not None:
                return self._setting(name, setting, found, unit, suffixes)
        raise ScpiError(UNDEFINED_HEADER)

    def _setting(self, name: str, setting: Setting, found: Pattern, unit: Unit, suffixes: tuple[int, ...]) -> Answer:
        call = Call(suffixes, unit.args)
        if unit.query:
            call.takes(0)
            return self.headed(found, suffixes, setting.shown(self.value(name, *suffixes), long=self.long_words()))
        call.takes(1)
        value = setting.read(unit.args[0])
        before = self.value(name, *suffixes)
        self.values[name, suffixes] = value
        try:
            self.changed(name, suffixes, before, value)
        except ScpiError:
            self.values[name, suffixes] = before
            raise
        return None

    def headed(self, found: Pattern, suffixes: Sequence[int], body: str) -> str:
        """A setting's answer with its header, if this instrument is set to send one."""
        return body

    def long_words(self) -> bool:
        return False

    def value(self, name: str, *suffixes: int) -> Any:
        """A setting as it stands; suffixes left out are 1."""
        found = pattern(self.settings[name].text)
        full = suffixes or (1,) * found.regex.groups
        return self.values.get((name, full), self.settings[name].default)

    def changed(self, name: str, suffixes: tuple[int, ...], before: Any, after: Any) -> None:
        """A setting was given a value (also the same one); ScpiError refuses it."""

    def reset(self) -> None:
        """`*RST`."""
        self.values.clear()

    def fail(self, error: ScpiError) -> None:
        """Into the error queue and the standard event register."""
        kind = abs(error.code) // 100
        self.esr |= {1: CME, 2: EXE, 3: DDE, 4: QYE}.get(kind, DDE)
        if len(self.errors) >= self.error_queue_size:
            self.errors[-1] = (QUEUE_OVERFLOW, "Queue overflow")
        else:
            self.errors.append((error.code, error.text))

    def next_error(self) -> str:
        code, text = self.errors.popleft() if self.errors else (0, self.no_error)
        return f'{code:d},"{text}"'

    no_error: ClassVar[str] = "No error"

    def status_byte(self) -> int:
        byte = (ESB if self.esr & self.ese else 0) | (MAV if self._out else 0) | self.summary()
        return byte | (MSS if byte & self.sre & ~MSS else 0)

    def summary(self) -> int:
        """The instrument's own bits of the status byte; bit 2: something in the error queue."""
        return 4 if self.errors else 0

    def _commands(self) -> Iterator[tuple[Pattern, Handler]]:
        for kind in type(self).__mro__:
            for handler in vars(kind).values():
                for text in getattr(handler, "scpi", ()):
                    yield pattern(text), handler

    # --- IEEE 488.2, chapter 10 ----------------------------------------------------------------------

    @command("*IDN?")
    def _idn(self, call: Call) -> Answer:
        return self.says_it_is or self.identity

    @command("*RST")
    def _rst(self, call: Call) -> Answer:
        self.reset()
        return None

    @command("*CLS")
    def _cls(self, call: Call) -> Answer:
        self.errors.clear()
        self.esr = 0
        self.cleared()
        return None

    def cleared(self) -> None:
        """`*CLS` clears the instrument's own event registers too."""

    @command("*ESR?")
    def _esr(self, call: Call) -> Answer:
        esr, self.esr = self.esr, 0
        return str(esr)

    @command("*ESE")
    def _set_ese(self, call: Call) -> Answer:
        call.takes(1)
        self.ese = round(number(call.args[0])) & 255
        return None

    @command("*ESE?")
    def _get_ese(self, call: Call) -> Answer:
        return str(self.ese)

    @command("*SRE")
    def _set_sre(self, call: Call) -> Answer:
        call.takes(1)
        self.sre = round(number(call.args[0])) & 255
        return None

    @command("*SRE?")
    def _get_sre(self, call: Call) -> Answer:
        return str(self.sre)

    @command("*STB?")
    def _stb(self, call: Call) -> Answer:
        return str(self.status_byte())

    @command("*OPC")
    def _opc(self, call: Call) -> Answer:
        self.esr |= OPC
        return None

    @command("*OPC?")
    def _ask_opc(self, call: Call) -> Answer:
        return "1"

    @command("*WAI")
    def _wai(self, call: Call) -> Answer:
        return None
