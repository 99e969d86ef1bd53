"""Lines of tegrastats -> milliwatts by rail, all of a line or nothing of it. Pure: bytes in, numbers or a refusal out.

The format changes with every JetPack, and nobody documents it. What all known lines share (docs/meters/tegrastats.md):
an optional date, then RAM; the rails stand together at the end, each as a name and two or three numbers of milliwatts,
the first of which is the power now and the second the mean since tegrastats was started. Whatever does not have that
form is refused with a reason, since a rail that is left out by mistake is energy that looks right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_LINE = 1 << 14
BLANKS = " \t\r"  # Python's own idea of white space holds control characters, too
EXCERPT = 120

_HEAD = re.compile(r"(?:\d\d-\d\d-\d{4} \d\d:\d\d:\d\d )?RAM \d+/\d+[kMG]B\b")
_RAIL_BARE = re.compile(
    r"(?<!\S)(?P<name>[A-Za-z][A-Za-z0-9_]*)[ \t]+(?P<now>-?\d{1,9})/-?\d{1,9}(?P<third>/-?\d{1,9})?(?=[ \t]|$)"
)
_RAIL_MW = re.compile(
    r"(?<!\S)(?P<name>[A-Za-z][A-Za-z0-9_]*)[ \t]+"
    r"(?P<now>-?\d{1,9})mW/-?\d{1,9}mW(?P<third>/-?\d{1,9}mW)?(?=[ \t]|$)"
)
_LIKE_A_RAIL = re.compile(
    r"(?<!\S)(?:VDD|VIN|POM|SYS5V|VDDRQ)\w*(?:\s|$)"  # a name that only rails have
    r"|\d[numkM]?W(?![A-Za-z0-9_])"  # a figure with a unit of power
    r"|(?<!\S)-?\d+/-?\d+(?:/-?\d+)?(?=\s|$)"  # two bare numbers
)


@dataclass(frozen=True)
class Rails:
    """One line's power. `rails_mw`: name -> milliwatts now, in the line's order; `numbers`: 2 or 3 a rail."""

    rails_mw: Mapping[str, int]
    numbers: int = 2


@dataclass(frozen=True)
class Refused:
    """A line that gives nothing: `kind` is the count it goes under, `why` in words."""

    kind: str
    why: str


UNKNOWN, MALFORMED, NO_POWER = "unknown_lines", "malformed_lines", "no_power_lines"


def parse_line(line: bytes) -> Rails | Refused | None:
    """One line without its newline; None for a blank one."""
    try:
        text = line.decode("ascii").strip(BLANKS)
    except UnicodeDecodeError:
        return Refused(UNKNOWN, f"not text: {_excerpt(line)}")
    if not text:
        return None
    if len(line) > LONGEST_LINE or not text.replace("\t", " ").isprintable():
        return Refused(UNKNOWN, f"not a line of tegrastats: {_excerpt(line)}")
    head = _HEAD.match(text)
    if head is None:
        return Refused(UNKNOWN, f"not a line of tegrastats: {_excerpt(line)}")
    return _rails(text[head.end() :])


def _rails(text: str) -> Rails | Refused:
    pattern = _RAIL_MW if re.search(r"\dmW\b", text) else _RAIL_BARE
    found = list(pattern.finditer(text))
    if not found:
        if like := _LIKE_A_RAIL.search(text):
            return Refused(MALFORMED, f"rails of an unknown form: {_excerpt(text[like.start() :])}")
        return Refused(NO_POWER, f"no power in it: {_excerpt(text)}")
    if like := _LIKE_A_RAIL.search(text, 0, found[0].start()):
        return Refused(MALFORMED, f"rails of an unknown form: {_excerpt(text[like.start() :])}")
    end = found[0].start()
    for match in found:
        if text[end : match.start()].strip():
            break
        end = match.end()
    if text[end:].strip():
        return Refused(MALFORMED, f"the line goes on behind its rails: {_excerpt(text[end:])}")
    rails = {match["name"]: int(match["now"]) for match in found}
    if len(rails) != len(found):
        return Refused(MALFORMED, f"a rail stands twice in it: {_excerpt(text[found[0].start() :])}")
    if len({match["third"] is None for match in found}) > 1:
        return Refused(MALFORMED, f"rails of two forms: {_excerpt(text[found[0].start() :])}")
    return Rails(rails, 2 if found[0]["third"] is None else 3)


class LineCodec:
    """A stream of tegrastats' output in any chunking -> lines; a part of a line at its end is no line."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[Rails | Refused]:
        """What each line completed by `data` gives; blank lines give nothing."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[Rails | Refused] = []
        for line in lines:
            if self._skipping:
                self._skipping = False  # the rest of a line that was given up
                continue
            outcome = parse_line(line)
            if outcome is not None:
                found.append(outcome)
        if len(self._rest) > LONGEST_LINE:
            if not self._skipping:
                found.append(Refused(UNKNOWN, f"a line without end: {_excerpt(self._rest)}"))
            self._rest, self._skipping = b"", True
        return found


DRIFT, NEW_RAILS = "header_drift", "new_rails"


class Header:
    """Which rails a line must have: those of the first line that has all `wanted` ones."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._expected: frozenset[str] | None = None
        self.seen: tuple[str, ...] = ()
        """Rails of the last line that had any."""

    @property
    def known(self) -> bool:
        return self._expected is not None

    def judge(self, rails: Rails) -> Refused | None:
        """None if the line has all the rails that the first good one had."""
        self.seen = tuple(rails.rails_mw)
        expected = self._expected if self._expected is not None else frozenset(self._wanted)
        if missing := sorted(expected - set(rails.rails_mw)):
            return Refused(DRIFT, f"rail {missing[0]} is missing; the line has {', '.join(self.seen)}")
        if self._expected is None:
            self._expected = frozenset(rails.rails_mw)
        return None

    def new(self, rails: Rails) -> bool:
        """Whether the line has rails that the first good one did not have."""
        return self._expected is not None and not set(rails.rails_mw) <= self._expected


def _excerpt(data: bytes | str) -> str:
    text = data if isinstance(data, str) else repr(data)[2:-1]
    text = text.strip()
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "..."
