"""Where a response message ends on a line that does not say so itself: raw sockets and serial lines.

A definite block (IEEE 488.2, 8.7.9) says how long it is, and a byte in it that looks like an end is none. An
indefinite block (8.7.10) does not: only silence after an end ends it. Bytes may come cut anywhere.
"""

from __future__ import annotations

from enum import Enum

QUOTES = b"\"'"
BEFORE_DATA = b" ,;"  # what may stand before a block; elsewhere a # is text, as in a name
DIGITS = b"0123456789"


class _In(Enum):
    TEXT = "text"
    QUOTED = "quoted"
    BLOCK = "block"
    INDEFINITE = "indefinite"


class Framer:
    """Cuts what arrives into response messages. `read_end`: what ends one."""

    def __init__(self, read_end: bytes) -> None:
        if not read_end:
            raise ValueError("a message must end with something")
        self._end = read_end
        self._held = bytearray()
        self._begin_message()

    def _begin_message(self) -> None:
        self._at = 0  # everything before has been looked at
        self._state = _In.TEXT
        self._quote = 0
        self._blocks = False

    # --- what comes in ---------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """More bytes of the line."""
        self._held += data

    def clear(self) -> int:
        """Forget what has arrived and was not taken; the number of bytes."""
        lost = len(self._held)
        self._held.clear()
        self._begin_message()
        return lost

    # --- what goes out ---------------------------------------------------------------------------

    def take(self) -> bytes | None:
        """The next whole message without its end, or None if it is not there yet."""
        end = self._find_end()
        return None if end is None else self._cut(end, end + len(self._end))

    def take_rest(self) -> bytes:
        """All that is there as one message: the bus, or silence, says that it ended.

        ValueError if a definite block says that there is more.
        """
        message = self.take()
        if message is not None:
            return message
        if self._state is _In.BLOCK:
            raise ValueError(f"a block misses {self._at - len(self._held)} of its bytes")
        size = len(self._held)
        cut = size - len(self._end) if self._held.endswith(self._end) else size
        return self._cut(cut, size)

    @property
    def missing(self) -> int:
        """Bytes that are surely still to come of the present message; at least 1."""
        return max(1, self._at - len(self._held) + len(self._end)) if self._state is _In.BLOCK else 1

    @property
    def ends_if_silent(self) -> bool:
        """Within an indefinite block that stands at an end: the message is whole if nothing follows."""
        return self._state is _In.INDEFINITE and len(self._held) > self._at and self._held.endswith(self._end)

    # --- inside ----------------------------------------------------------------------------------

    def _cut(self, end: int, after: int) -> bytes:
        message = bytes(self._held[:end]).lstrip(b"\r\n")  # the other half of the last message's CR LF
        if not self._blocks:
            message = message.rstrip(b"\r\n")
        del self._held[:after]
        self._begin_message()
        return message

    def _find_end(self) -> int | None:
        held = self._held
        while True:
            if self._state is _In.BLOCK:
                if len(held) < self._at:
                    return None
                self._state = _In.TEXT
            if self._state is _In.INDEFINITE:
                return None
            if self._state is _In.QUOTED:
                close = held.find(self._quote, self._at)
                stop = held.find(self._end, self._at)
                if close < 0 and stop < 0:
                    return None  # looked at again: a quote that nobody closes ends with the message
                self._state = _In.TEXT
                if close < 0 or 0 <= stop < close:
                    return stop
                self._at = close + 1
                continue
            found = self._next_mark()
            if found is None:
                return None
            if held.startswith(self._end, found):
                return found
            if held[found] in QUOTES:
                self._quote, self._state, self._at = held[found], _In.QUOTED, found + 1
            elif not self._enter_block(found):
                return None

    def _next_mark(self) -> int | None:
        """Where the next end, quote or # stands."""
        places = [p for p in (self._held.find(m, self._at) for m in (self._end, b'"', b"'", b"#")) if p >= 0]
        if places:
            return min(places)
        self._at = max(self._at, len(self._held) - len(self._end) + 1)
        return None

    def _enter_block(self, mark: int) -> bool:
        """Look at the # at `mark`; False if more bytes must come to know what it is."""
        held = self._held
        self._at = mark
        if mark > 0 and held[mark - 1] not in BEFORE_DATA and held[:mark].strip(b"\r\n"):
            self._at = mark + 1
            return True
        if len(held) < mark + 2:
            return False
        width = DIGITS.find(held[mark + 1 : mark + 2])
        if width == 0:
            self._state, self._at, self._blocks = _In.INDEFINITE, mark + 2, True
            return True
        if width < 0:  # #H, #Q, #B or plain text
            self._at = mark + 1
            return True
        digits = held[mark + 2 : mark + 2 + width]
        if digits and not digits.isdigit():
            self._at = mark + 1
            return True
        if len(digits) < width:
            return False
        self._state, self._at, self._blocks = _In.BLOCK, mark + 2 + width + int(digits), True
        return True
