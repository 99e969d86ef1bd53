"""Values that an instrument renews at its own pace, asked for when they are new: each once, stamped as well as can be.

Where the instrument has a register that says "new values", that is asked, and cleared, at every poll. Where it has
none, a change of the answer says so; one that stays the same longer than an update lasts is taken to be a new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.visa.description import UNUSED
from drivers.visa.numbers import NOT_A_NUMBER, Number, number, without_header
from drivers.visa.options import VisaOptions
from drivers.visa.sections import Polled
from drivers.visa.talk import SHOWN, Talk
from harness.core.errors import TransientError
from harness.core.waiting import NS_PER_S, WaitClock

SAME_AGAIN = 1.25  # updates: an answer that has not changed for so long is a new one with the same values
TORN = 0.5  # updates: with several queries, a second change so soon is the rest of the first
READ_AGAIN = 3


@dataclass(frozen=True)
class Look:
    """Values of one update. `t_ns`: when it was, host clock; `updates`: since the last look, this one included;
    `over`: the instrument says that it was over range; `odd`: what could not be understood."""

    t_ns: int
    values: Mapping[str, Number]
    updates: int = 1
    over: bool = False
    odd: str = ""


class Poller:
    """Looks for updates of an instrument. Errors: as Talk."""

    def __init__(self, talk: Talk, clock: WaitClock) -> None:
        self._talk, self._clock = talk, clock
        options: VisaOptions = talk.options
        reading = options.described.instrument.reading
        assert isinstance(reading, Polled)
        self._reading = reading
        self._update_ns = round(options.update_s * NS_PER_S)
        asked = [query for query in self._reading.values if options.holds(query.when)]
        self._queries = [(options.text(query.query), query.items) for query in asked]
        self._forms = [re.compile(query.answer or "(?s:.*)", re.IGNORECASE) for query in asked]
        items = options.described.instrument.items
        self._units = {name: item.unit for name, item in items.items()}
        channels = options.described.instrument.channels.values()
        self._measured = {item for channel in channels for item in channel.of}
        constants = {name: options.number(item.constant) for name, item in items.items()}
        self._constants = {name: Number(value) for name, value in constants.items() if value is not None}
        updated, over = self._reading.updated, self._reading.over
        self._updated = None if updated is None else options.text(updated.query)
        self._over = None if over is None or over.query is None else options.text(over.query)
        self._arming = options.commands(self._reading.arm)
        self.torn = 0  # looks during which the values were renewed
        self._quiet_ns = self._begin_ns = 0
        self._measured_ns = 0  # when the last answer came that a channel needs; settings may be asked after it
        self._changed_ns: int | None = None
        self._last_ns: int | None = None
        self._last_reply: tuple[bytes, ...] | None = None

    def arm(self) -> None:
        """Forget the past: the next update is the first."""
        self._talk.run(self._arming)
        self._quiet_ns = self._clock.now_ns()
        self._last_ns = self._last_reply = None

    def poll(self) -> Look | None:
        """The newest update if there was one since the last poll."""
        if self._reading.triggered:
            replies = self._replies()
            return self._look(self._measured_ns, replies, over=self._is_over(0))
        return self._by_change() if self._reading.updated is None else self._by_register(self._reading.updated.mask)

    # --- an instrument that says when its values are new ----------------------------------------------

    def _by_register(self, mask: int) -> Look | None:
        register, at_ns = self._ask_register()
        if not register & mask:
            self._quiet_ns = at_ns
            return None
        t_ns = self._between(self._quiet_ns, at_ns)
        flags = register
        for again in range(READ_AGAIN):
            replies = self._replies()
            over = self._is_over(flags)
            after, after_ns = self._ask_register()
            if not after & mask:
                break
            flags |= after
            t_ns = self._between(at_ns, after_ns)
            at_ns = after_ns
            self.torn += 1
            if again == READ_AGAIN - 1:
                raise TransientError(
                    f"{self._talk.name} renews its values faster than they can be read", hint="choose a longer update_s"
                )
        self._quiet_ns = after_ns
        return self._look(t_ns, replies, over=over or (self._over is None and self._is_over(after)))

    def _ask_register(self) -> tuple[int, int]:
        """(the register, when it was read)."""
        assert self._updated is not None
        before_ns = self._clock.now_ns()
        value = round(self._talk.ask_number(self._updated))
        return value, (before_ns + self._clock.now_ns()) // 2

    def _is_over(self, flags: int) -> bool:
        over = self._reading.over
        if over is None:
            return False
        return bool((flags if self._over is None else round(self._talk.ask_number(self._over))) & over.mask)

    # --- one that does not ----------------------------------------------------------------------------

    def _by_change(self) -> Look | None:
        before_ns = self._clock.now_ns()
        replies = self._replies()
        at_ns = (before_ns + self._clock.now_ns()) // 2
        quiet_ns, self._quiet_ns = self._quiet_ns, at_ns
        if self._last_reply is None:  # somewhere in an update that began before
            self._last_reply, self._begin_ns, self._changed_ns = replies, at_ns, None
            return None
        last_ns = self._begin_ns if self._last_ns is None else self._last_ns
        if replies == self._last_reply:
            if at_ns - last_ns < SAME_AGAIN * self._update_ns:
                return None
            return self._look(last_ns + self._update_ns, replies, over=self._is_over(0))
        self._last_reply = replies
        t_ns = self._between(quiet_ns, at_ns)
        several = len(self._queries) > 1  # they are not answered at once
        if several and self._changed_ns is not None and t_ns - self._changed_ns < TORN * self._update_ns:
            self.torn += 1
            return None
        self._changed_ns = t_ns
        return self._look(t_ns, replies, over=self._is_over(0))

    def _between(self, quiet_ns: int, at_ns: int) -> int:
        """When the newest update was that was not there at `quiet_ns` and is at `at_ns`: within the last update."""
        return (max(quiet_ns, at_ns - self._update_ns) + at_ns) // 2

    # --- both -----------------------------------------------------------------------------------------

    def _replies(self) -> tuple[bytes, ...]:
        replies = []
        for query, items in self._queries:
            replies.append(self._talk.ask(query))
            if self._measured.intersection(items):
                self._measured_ns = self._clock.now_ns()
        return tuple(replies)

    def _look(self, t_ns: int, replies: tuple[bytes, ...], *, over: bool) -> Look:
        updates = 1
        if self._last_ns is not None:
            updates = max(1, round((t_ns - self._last_ns) / self._update_ns))
        self._last_ns = t_ns
        values = dict(self._constants)
        odd = ""
        for reply, (query, items), form in zip(replies, self._queries, self._forms, strict=True):
            text = without_header(reply.decode("latin-1"))
            tokens = text.split(",")
            if form.fullmatch(text) is None:
                odd = odd or f"{query} was answered in another form: {reply[:SHOWN]!r}"
                tokens = [""] * len(items)
            elif len(tokens) != len(items):
                odd = odd or f"{query} was answered with {len(tokens)} values, not {len(items)}: {reply[:SHOWN]!r}"
                tokens = [""] * len(items)
            for name, token in zip(items, tokens, strict=True):
                if name == UNUSED:
                    continue
                try:
                    values[name] = self._in_unit(name, number(token))
                except ValueError as error:
                    values[name] = Number(float("nan"), NOT_A_NUMBER)
                    odd = odd or f"{query}: {error}"
        return Look(t_ns, values, updates, over, odd)

    def _in_unit(self, name: str, found: Number) -> Number:
        """ValueError if the instrument says another unit than the description."""
        unit = self._units[name]
        if found.unit and unit and found.unit != unit.upper():
            raise ValueError(f"{name} came in {found.unit}, not in {unit}")
        return found
