"""Lines of `nvidia-smi --query-gpu=... --format=csv -lms N` -> power by GPU. Pure: bytes in, numbers or a refusal out.

The header says what stands where and in which unit, so a stream without one is refused: a column that moved, or watts
that became milliwatts, would be energy that looks right. Everything else that nvidia-smi prints in between (a GPU that
could not be opened, a driver that went away) is told by name, never skipped as if the line had not been there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.nvidia.readings import Missing
from drivers.nvidia.tokens import MILLI_PER, Malformed, milliwatts

LONGEST_LINE = 1 << 14
BLANKS = " \t\r"
EXCERPT = 120
FIELDS: Mapping[str, str] = {
    "power": "power.draw",
    "average": "power.draw.average",
    "instant": "power.draw.instant",
    "module": "module.power.draw.instant",
    "module-average": "module.power.draw.average",
}
"""Channels' fields and what nvidia-smi calls them."""
_ALIASES = {"gpu.power.draw.average": "power.draw.average", "gpu.power.draw.instant": "power.draw.instant"}
_ALIASES |= {"gpu_uuid": "uuid", "power.draw": "power.draw"}
_HEADED = re.compile(r"(?P<name>[a-z0-9_.]+)(?:\s*\[(?P<unit>[^\]]+)\])?")
_UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]+")

UNKNOWN, MALFORMED, DRIFT, OTHER = "unknown_lines", "malformed_lines", "header_drift", "other_rows"


@dataclass(frozen=True)
class Header:
    """Columns of the rows that follow: names as `FIELDS` has them, and the unit in brackets, if any."""

    names: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One GPU's line. `power_mw`: field (as nvidia-smi calls it) -> milliwatts or why not."""

    uuid: str
    timestamp: str
    power_mw: Mapping[str, int | Missing]


@dataclass(frozen=True)
class Refused:
    """A line that gives nothing: `kind` is the count it goes under, `why` in words; `gone`: GPU or driver are away;
    `fatal`: nothing else will ever come."""

    kind: str
    why: str
    gone: bool = False
    fatal: bool = False


_SAID: tuple[tuple[str, bool, bool], ...] = (  # what it begins with, gone, fatal
    (r"Unable to determine the device handle for (?:GPU ?|gpu )", True, False),
    (r"Failed to initialize NVML: Driver/library version mismatch", True, False),
    (r"Failed to initialize NVML", True, False),
    (r"NVIDIA-SMI has failed because", True, False),
    (r"No devices were found", True, False),
    (r"Field \"[^\"]+\" is not a valid field to query", False, True),
    (r"(?:Invalid combination of input arguments|ERROR: Option|Option .* is not recognized)", False, True),
    (r"No devices matching|Invalid device id|No such device", False, True),
    (r"(?:WARNING|Warning|NOTE|Note)\b", False, False),
)
_MESSAGES = tuple((re.compile(pattern), gone, fatal) for pattern, gone, fatal in _SAID)


class Lines:
    """Reads the lines of one stream in order: the header decides what the rows mean until the next header.

    `fields`: those that were asked for, as nvidia-smi calls them; `bare_unit`: the unit that the user declares for
    numbers without one, or an empty text.
    """

    def __init__(self, fields: Sequence[str], *, bare_unit: str = "") -> None:
        self._fields = tuple(fields)
        self._bare_unit = bare_unit
        self._header: Header | None = None

    def restart(self) -> None:
        """The program was started again: its header comes first."""
        self._header = None

    def read(self, line: bytes) -> Header | Row | Refused | None:
        """One line without its newline; None for a blank one."""
        try:
            text = line.decode("utf-8").strip(BLANKS)
        except UnicodeDecodeError:
            return Refused(UNKNOWN, f"not text: {excerpt(line)}")
        if not text:
            return None
        if len(line) > LONGEST_LINE or not text.replace("\t", " ").isprintable():
            return Refused(UNKNOWN, f"not a line of nvidia-smi: {excerpt(line)}")
        for pattern, gone, fatal in _MESSAGES:
            if pattern.match(text):
                return Refused(UNKNOWN, text[:EXCERPT], gone=gone, fatal=fatal)
        cells = [cell.strip(BLANKS) for cell in text.split(",")]
        if (header := _header(cells)) is not None:
            return self._headed(header)
        return self._row(cells, text)

    def _headed(self, header: Header) -> Header | Refused:
        self._header = None
        wanted = {"uuid", *self._fields}
        if missing := sorted(wanted - set(header.names)):
            return Refused(DRIFT, f"the header has no {missing[0]}; it has {', '.join(header.names)}")
        if len(set(header.names)) != len(header.names):
            return Refused(DRIFT, f"the header has a column twice: {', '.join(header.names)}")
        for name, unit in zip(header.names, header.units, strict=True):
            if name in self._fields and unit not in ("", *MILLI_PER):
                return Refused(DRIFT, f"the header says that {name} is in {unit}, not in W")
        self._header = header
        return header

    def _row(self, cells: list[str], text: str) -> Row | Refused:
        header = self._header
        if header is None:
            if any(_UUID.fullmatch(cell) for cell in cells):
                return Refused(DRIFT, f"a row without a header before it, so its units are unknown: {excerpt(text)}")
            return Refused(UNKNOWN, f"not a line of nvidia-smi: {excerpt(text)}")
        if len(cells) != len(header.names):
            return Refused(MALFORMED, f"{len(cells)} cells for {len(header.names)} columns: {excerpt(text)}")
        named = dict(zip(header.names, cells, strict=True))
        if not _UUID.fullmatch(named["uuid"]):
            gone = "Unknown Error" in text or "lost" in text
            return Refused(MALFORMED, f"no UUID in it: {excerpt(text)}", gone=gone)
        power: dict[str, int | Missing] = {}
        for name, unit in zip(header.names, header.units, strict=True):
            if name not in self._fields:
                continue
            try:
                power[name] = milliwatts(named[name], bare_unit=self._bare_unit, headed=unit)
            except Malformed as error:
                return Refused(MALFORMED, f"{name}: {error}")
        return Row(named["uuid"], named.get("timestamp", ""), power)


def _header(cells: Sequence[str]) -> Header | None:
    """The header that these cells are, or None: all are names, and a known one is among them."""
    names, units = [], []
    for cell in cells:
        match = _HEADED.fullmatch(cell)
        if match is None:
            return None
        names.append(_ALIASES.get(match["name"], match["name"]))
        units.append(match["unit"] or "")
    if not {"uuid", "timestamp", "index", "name", *FIELDS.values()} & set(names):
        return None
    return Header(tuple(names), tuple(units))


def valid_fields(helped: str) -> frozenset[str]:
    """Names in the output of `nvidia-smi --help-query-gpu`: `"power.draw.average" or "gpu.power.draw.average"`."""
    names: set[str] = set()
    for line in helped.splitlines():
        if re.fullmatch(r'\s*"[A-Za-z0-9_.]+"(?:\s+or\s+"[A-Za-z0-9_.]+")*\s*', line):
            names |= {_ALIASES.get(name, name) for name in re.findall(r'"([A-Za-z0-9_.]+)"', line)}
    return frozenset(names)


def excerpt(data: bytes | str) -> str:
    """The beginning of a line, for a message."""
    text = data if isinstance(data, str) else repr(data)[2:-1]
    text = text.strip()
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "..."
