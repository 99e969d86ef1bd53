"""Program messages of IEEE 488.2 and SCPI as an instrument reads them: headers, paths, parameters and their errors.

From IEEE 488.2-1992 chapter 7 (listening formats) and SCPI-99 volume 1, chapters 5 to 7. Header patterns are written as
in manuals: `:NUMeric[:NORMal]:ITEM<x>`, capitals are the short form, brackets an optional node, `<x>` a numeric suffix.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

UNDEFINED_HEADER, SYNTAX, DATA_TYPE = -113, -102, -104
PARAMETER_NOT_ALLOWED, MISSING_PARAMETER, INVALID_SUFFIX, ILLEGAL_VALUE = -108, -109, -131, -224
OUT_OF_RANGE, SETTINGS_CONFLICT, SUFFIX_OUT_OF_RANGE, QUEUE_OVERFLOW = -222, -221, -114, -350
QUERY_INTERRUPTED, QUERY_UNTERMINATED = -410, -420
TEXTS = {
    SYNTAX: "Syntax error", DATA_TYPE: "Data type error", PARAMETER_NOT_ALLOWED: "Parameter not allowed",
    MISSING_PARAMETER: "Missing parameter", UNDEFINED_HEADER: "Undefined header",
    SUFFIX_OUT_OF_RANGE: "Header suffix out of range", INVALID_SUFFIX: "Invalid suffix",
    SETTINGS_CONFLICT: "Settings conflict", OUT_OF_RANGE: "Data out of range",
    ILLEGAL_VALUE: "Illegal parameter value", QUEUE_OVERFLOW: "Queue overflow",
    QUERY_INTERRUPTED: "Query INTERRUPTED", QUERY_UNTERMINATED: "Query UNTERMINATED",
}  # fmt: skip
MULTIPLIERS = {
    "": 1.0, "EX": 1e18, "PE": 1e15, "T": 1e12, "G": 1e9, "MA": 1e6, "K": 1e3, "M": 1e-3, "U": 1e-6, "N": 1e-9,
    "P": 1e-12, "F": 1e-15, "A": 1e-18,
}  # fmt: skip
MEGA_UNITS = ("HZ", "OHM")  # for which M alone means mega (SCPI-99, 7.4.2)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:\s*E\s*[+-]?\d+)?)\s*([A-Z]*)\Z", re.IGNORECASE)
_BASES = {"H": 16, "Q": 8, "B": 2}


class ScpiError(Exception):
    """A command that the instrument refuses: it goes into the error queue, and nothing is answered."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text if text is not None else TEXTS.get(code, "Execution error")


@dataclass(frozen=True)
class Unit:
    """One program message unit. `header`: the whole path in capitals, `:A:B` or `*IDN`."""

    header: str
    query: bool
    args: tuple[str, ...]


def parsed(message: str) -> list[Unit | ScpiError]:
    """The units of a program message in order. After an error within the message the rest is still read, except that a
    path cannot be known after a header that is no header."""
    units: list[Unit | ScpiError] = []
    path = ""
    for text in _split(message, ";"):
        if not (body := text.strip()):
            continue
        header, _, rest = body.partition(" ") if not re.search(r"[\t]", body) else _at_space(body)
        query = header.endswith("?")
        header = header.removesuffix("?").upper()
        if not re.fullmatch(r"\*[A-Z]{3,4}|:?[A-Z][A-Z0-9_]*(:[A-Z][A-Z0-9_]*)*", header):
            units.append(ScpiError(SYNTAX))
            continue
        if not header.startswith("*"):
            header = header if header.startswith(":") else f"{path}:{header}"
            path = header.rpartition(":")[0]
        args = tuple(part.strip() for part in _split(rest, ",")) if rest.strip() else ()
        units.append(ScpiError(SYNTAX) if "" in args else Unit(header, query, args))
    return units


def _at_space(body: str) -> tuple[str, str, str]:
    parts = body.split(None, 1)
    return parts[0], " ", parts[1] if len(parts) > 1 else ""


def _split(text: str, at: str) -> list[str]:
    """Split outside of quotes and parentheses."""
    parts, begin, depth, quote = [], 0, 0, ""
    for k, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == at and depth == 0:
            parts.append(text[begin:k])
            begin = k + 1
    return [*parts, text[begin:]]


@dataclass(frozen=True)
class Pattern:
    """A header as a manual writes it."""

    text: str
    regex: re.Pattern[str]

    def match(self, header: str) -> tuple[int, ...] | None:
        """The numeric suffixes (1 where left out) if `header` is this one."""
        found = self.regex.fullmatch(header)
        return None if found is None else tuple(int(suffix or 1) for suffix in found.groups())

    def spoken(self, suffixes: Sequence[int] = (), *, long: bool) -> str:
        """How a response's header shows it: all nodes, in capitals."""
        text = self.text.replace("[", "").replace("]", "")
        for suffix in suffixes:
            text = re.sub(r"<\w+>", str(suffix), text, count=1)
        return text.upper() if long else re.sub(r"[a-z]+", "", text)


@functools.cache
def pattern(text: str) -> Pattern:
    """Compile `:NUMeric[:NORMal]:ITEM<x>`."""
    regex = ""
    for open_, node, suffix in re.findall(r"(\[?):?(\*?[A-Za-z0-9_]+)(<\w+>)?\]?", text):
        short = re.match(r"\*?[A-Z0-9_]+", node)
        assert short is not None, text
        rest = node[short.end() :].upper()
        body = re.escape(short.group()) + (f"(?:{rest})?" if rest else "")
        body = (body if node.startswith("*") else f":{body}") + (r"(\d+)?" if suffix else "")
        regex += f"(?:{body})?" if open_ else body
    return Pattern(text, re.compile(regex))


# --- parameters -------------------------------------------------------------------------------------


def number(raw: str, unit: str = "") -> float:
    """A decimal or #H, #Q, #B number with an optional unit (`5MV`, `2S`, `500 mA`). ScpiError if it is none."""
    if raw[:1] == "#" and raw[1:2].upper() in _BASES:
        try:
            return float(int(raw[2:], _BASES[raw[1].upper()]))
        except ValueError:
            raise ScpiError(DATA_TYPE) from None
    found = _NUMBER.match(raw)
    if found is None:
        raise ScpiError(DATA_TYPE)
    value, suffix = float(found.group(1).replace(" ", "")), found.group(2).upper()
    if not suffix:
        return value
    if not unit or not suffix.endswith(unit):
        raise ScpiError(INVALID_SUFFIX)
    prefix = suffix.removesuffix(unit)
    if prefix not in MULTIPLIERS:
        raise ScpiError(INVALID_SUFFIX)
    return value * (1e6 if prefix == "M" and unit in MEGA_UNITS else MULTIPLIERS[prefix])


def boolean(raw: str) -> bool:
    if raw.upper() in ("ON", "OFF"):
        return raw.upper() == "ON"
    return round(number(raw)) != 0


def choice(raw: str, choices: Sequence[str]) -> str:
    """That of `choices` (in a manual's spelling) whose short or long form was given."""
    for name in choices:
        short = re.match(r"[A-Z0-9_]+", name)
        if short is not None and raw.upper() in (short.group(), name.upper()):
            return name
    raise ScpiError(ILLEGAL_VALUE)


def string(raw: str) -> str:
    """The text within quotes; doubled quotes are one."""
    if len(raw) < 2 or raw[0] not in "\"'" or raw[-1] != raw[0]:
        raise ScpiError(DATA_TYPE)
    return raw[1:-1].replace(raw[0] * 2, raw[0])


def channels(raw: str, highest: int) -> tuple[int, ...]:
    """`(@1,3:4)` -> (1, 3, 4). ScpiError if one does not exist."""
    found = re.fullmatch(r"\(@([\d,:\s]+)\)", raw)
    if found is None:
        raise ScpiError(DATA_TYPE)
    listed: list[int] = []
    for part in found.group(1).split(","):
        first, _, last = part.partition(":")
        if not first.strip():
            raise ScpiError(SYNTAX)
        listed += range(int(first), int(last or first) + 1)
    if any(not 1 <= k <= highest for k in listed):
        raise ScpiError(OUT_OF_RANGE)
    return tuple(listed)


def block(data: bytes, *, digits: int | None = None) -> bytes:
    """A definite length block (IEEE 488.2, 8.7.9); `digits` of its length, as few as it takes if None."""
    length = str(len(data)) if digits is None else str(len(data)).zfill(digits)
    return b"#%d" % len(length) + length.encode() + data


def indefinite(data: bytes) -> bytes:
    """An indefinite length block (8.7.10), which only the end of the message ends."""
    return b"#0" + data
