"""Settings that must stay as they were when readings began: somebody at the front panel may change them.

An instrument that is told to show something else goes on answering, and its numbers look right. So some settings are
asked again, one a second while readings come and all of them at the end.
"""

from __future__ import annotations

from drivers.visa.numbers import without_header
from drivers.visa.talk import SHOWN, Talk
from harness.core.errors import TransientError
from harness.core.waiting import NS_PER_S, WaitClock

EVERY_S = 1.0


class Unchanged:
    """The answers to the queries that the description names. Errors: TransientError if one is not as it was."""

    def __init__(self, talk: Talk, clock: WaitClock) -> None:
        self._talk, self._clock = talk, clock
        self._queries = [talk.options.text(query) for query in talk.options.described.instrument.unchanged]
        self._noted: list[str] = []
        self._next, self._due_ns = 0, 0

    def note(self) -> None:
        """Readings begin: this is how it must stay."""
        self._noted = [self._ask(query) for query in self._queries]
        self._next, self._due_ns = 0, self._clock.now_ns() + round(EVERY_S * NS_PER_S)

    def look(self) -> None:
        """Ask the next one if it is time."""
        if not self._queries or self._clock.now_ns() < self._due_ns:
            return
        self._due_ns = self._clock.now_ns() + round(EVERY_S * NS_PER_S)
        self._next = (self._next + 1) % len(self._queries)
        self._require(self._next)

    def look_at_all(self) -> None:
        """Ask all of them: readings end."""
        for k in range(len(self._noted)):
            self._require(k)

    def _require(self, k: int) -> None:
        found = self._ask(self._queries[k])
        if found != self._noted[k]:  # or the answer was damaged, or is that to something else
            self._talk.settle()
            found = self._ask(self._queries[k])
        if found != self._noted[k]:
            raise ChangedError(
                f"somebody changed {self._talk.name}: {self._queries[k]} was {self._noted[k]!r}, is {found!r}",
                hint="lock its front panel, end other programs that speak to it, then run again",
            )

    def _ask(self, query: str) -> str:
        return without_header(self._talk.ask(query).decode("latin-1")).strip()[:SHOWN]


class ChangedError(TransientError):
    """A setting is no longer as it was; not a lost answer."""
