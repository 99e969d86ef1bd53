"""The description of an instrument, read from its YAML file and checked: what it names must exist.

Shipped ones lie in drivers/visa/instruments; users give their own by the option `description`. Errors name the line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drivers.visa.sections import Buffered, Commands, Instrument, Polled, When
from harness.core.errors import SpecError
from harness.io.complain import validated
from harness.io.yaml_lines import Document, Location, load_yaml

SHIPPED = Path(__file__).parent / "instruments"
PLACE = re.compile(r"\{(\w+)\}")
RANGE_PLACE = "range"  # in the commands that fix a range: the step
FETCH_PLACES = ("first", "last", "most")  # in the query that fetches records
UNUSED = "-"
ENERGY = "energy"  # in `when`, beside the options: 1 if the energy is integrated on board
DRIVERS_OPTIONS = {
    "resource", "instrument", "description", "backend", "baud", "timeout_s", "poll_s", "ranging_s", "energy",
    "max_power_w",
}  # fmt: skip


@dataclass(frozen=True)
class Described:
    """A checked description and where it came from."""

    name: str
    document: Document
    instrument: Instrument

    @property
    def range_options(self) -> dict[str, str]:
        """Option -> range that it is of, for sizes and for headrooms."""
        return {f"{name}_{what}": name for name in self.instrument.ranges for what in ("range", "headroom")}


def shipped_paths() -> list[Path]:
    """The descriptions that the driver brings."""
    return sorted(SHIPPED.glob("*.yaml"))


def shipped() -> list[str]:
    """Names of the instruments that the driver brings descriptions of."""
    return [path.stem for path in shipped_paths()]


def find_description(*, instrument: str = "", path: str = "") -> Described:
    """The shipped description `instrument`, or the file at `path`. SpecError if there is none, or it is wrong."""
    if path:
        return load_description(Path(path).expanduser())
    known = shipped()
    if instrument not in known:
        near = difflib.get_close_matches(instrument.lower(), known, n=1)
        raise SpecError(
            f"visa has no description of the instrument {instrument!r}",
            hint=f"did you mean {near[0]!r}?"
            if near
            else f"use one of {', '.join(known)}, or describe it yourself: docs/howto/describe-an-instrument.md",
        )
    return load_shipped(instrument)


@cache
def load_shipped(name: str) -> Described:
    """A description that the driver brings; read once."""
    return load_description(SHIPPED / f"{name}.yaml")


def load_description(path: Path) -> Described:
    """The description in the file at `path`. SpecError with file and line."""
    document = load_yaml(path)
    described = Described(path.stem, document, validated(document, Instrument, "the description of an instrument"))
    _check(described)
    return described


# --- what is named must exist -------------------------------------------------------------------------


def _check(described: Described) -> None:
    document, this = described.document, described.instrument
    if "model" not in re.compile(this.identify).groupindex:
        raise document.error(
            "identify has no group (?P<model>...)", ("identify",), hint="the answer to *IDN? names the model in it"
        )
    _check_options(described)
    for at, message in _messages(this):
        allowed = {*this.options, *({RANGE_PLACE} if at[:1] == ("ranges",) and "fix" in at else ())}
        allowed |= set(FETCH_PLACES) if at == ("reading", "fetch", "query") else set()
        for name in PLACE.findall(message):
            if name not in allowed:
                raise document.error(f"{{{name}}} stands for nothing", at, hint=_one_of(name, allowed, "options"))
    for at, conditions in _conditions(this):
        for name in conditions:
            if name not in {*this.options, ENERGY}:
                raise document.error(
                    f"`when` asks for an option {name!r}", at, hint=_one_of(name, this.options, "options")
                )
    _check_numbers(described)
    _check_items(described)
    for name in this.channels:
        _check_channel(described, name)


def _check_options(described: Described) -> None:
    document, this = described.document, described.instrument
    for name, option in this.options.items():
        at: Location = ("options", name)
        if name in DRIVERS_OPTIONS or name in described.range_options:
            raise document.error(f"the option {name!r} is the driver's own", at, hint="give it another name")
        if option.choices and (option.least is not None or option.most is not None):
            raise document.error(f"the option {name!r} has both choices and limits", at, hint="keep one of them")
        if option.choices and not _among(option.default, [said for said, _ in option.choices]):
            raise document.error(
                f"the default of {name!r} is {option.default!r}, which is none of its choices", at,
                hint=f"use one of {', '.join(said for said, _ in option.choices)}",
            )  # fmt: skip


def _check_numbers(described: Described) -> None:
    """Where a number or the name of an option may stand, the option exists and is a number."""
    this = described.instrument
    places: list[tuple[Location, object]] = [(("reading", "update_s"), this.reading.update_s)]
    places += [(("items", name, "constant"), item.constant) for name, item in this.items.items()]
    if isinstance(this.reading, Buffered):
        places.append((("reading", "fetch", "capacity"), this.reading.fetch.capacity))
    for name, channel in this.channels.items():
        places += [(("channels", name, key), getattr(channel, key)) for key in ("window_s", "tau_s")]
        for k, limits in enumerate(channel.accuracy):
            places += [
                (("channels", name, "accuracy", k, key), getattr(limits, key)) for key in ("at_v", "at_a", "more_rel")
            ]
    for at, value in places:
        if isinstance(value, str):
            option = this.options.get(value)
            if option is None:
                raise described.document.error(
                    f"{value!r} is neither a number nor an option", at, hint=_one_of(value, this.options, "options")
                )
            said = [option.default, *(said for said, _ in option.choices)]
            if not all(_is_number(one) for one in said):
                raise described.document.error(f"the option {value!r} is not a number everywhere", at)


def _check_items(described: Described) -> None:
    document, this = described.document, described.instrument
    read: set[str] = set()
    for at, names, once in _lists_of_items(this):
        for name in names:
            if name != UNUSED and name not in this.items:
                raise document.error(f"there is no item {name!r}", at, hint=_one_of(name, this.items, "items"))
            if name in read and once:
                raise document.error(f"the item {name!r} is read twice", at, hint=f'write "{UNUSED}" for one of them')
            read |= {name} - {UNUSED}
    for name, item in this.items.items():
        if (name in read) == (item.constant is not None):
            what = "is read, and constant" if name in read else "is never read"
            raise document.error(f"the item {name!r} {what}", ("items", name), hint="leave it out")
        if item.must_be is not None and item.must_be not in this.ranges:
            raise document.error(f"there is no range {item.must_be!r}", ("items", name), hint="see `ranges`")
    for range_name, section in this.ranges.items():
        place: Location = ("ranges", range_name)
        if section.level is not None and section.level not in this.items:
            raise document.error(
                f"there is no item {section.level!r}",
                (*place, "level"),
                hint=_one_of(section.level, this.items, "items"),
            )
        if section.auto and section.level is None:
            raise document.error(
                f"the {range_name} range has a ranging pass but no level",
                place,
                hint="name the item to look at: level: u",
            )
    reading = this.reading
    if isinstance(reading, Buffered):
        _check_buffered(document, this, reading)
    elif reading.over is not None and reading.over.query is None and reading.updated is None:
        raise document.error("over has no register", ("reading", "over"), hint="add its query")


def _lists_of_items(this: Instrument) -> Iterator[tuple[Location, tuple[str, ...], bool]]:
    """(place, items that are read there, whether each must be read there alone)."""
    if isinstance(this.reading, Buffered):
        yield ("reading", "record"), this.reading.record, True
        return
    for k, query in enumerate(this.reading.values):
        yield ("reading", "values", k, "items"), query.items, not query.when


def _check_buffered(document: Document, this: Instrument, reading: Buffered) -> None:
    at: Location = ("reading",)
    if reading.time is not None and reading.time not in reading.record:
        raise document.error(f"a record holds no {reading.time!r}", (*at, "time"), hint="name one of its items")
    if reading.time is not None and reading.chunk_s is not None:
        raise document.error("records with a time need no chunk_s", (*at, "chunk_s"), hint="leave it out")
    if reading.wraps_s is not None and reading.time is None:
        raise document.error("wraps_s is of no time", (*at, "wraps_s"), hint="name the item that holds it: time")
    indexed = "{first}" in reading.fetch.query and "{last}" in reading.fetch.query
    if indexed != (reading.fetch.count is not None):
        raise document.error(
            "{first} and {last} need `count`, and nothing else does", (*at, "fetch"),
            hint="give the query that says how many records there are",
        )  # fmt: skip
    if this.energy is not None:
        raise document.error("an instrument that is buffered has no `energy`", ("energy",), hint="leave it out")
    if this.unchanged:
        raise document.error(
            "settings of a buffered instrument are not asked again", ("unchanged",), hint="leave it out"
        )
    for name, section in this.ranges.items():
        if section.auto:
            raise document.error(
                "ranges of a buffered instrument are fixed", ("ranges", name, "auto"), hint="leave `auto` out"
            )
    for name, item in this.items.items():
        if item.must_be is not None:
            raise document.error("only polled items can be held against a range", ("items", name), hint="leave it out")


def _check_channel(described: Described, name: str) -> None:
    document, this = described.document, described.instrument
    channel, at = this.channels[name], ("channels", name)
    for item in channel.of:
        if item not in this.items:
            raise document.error(f"there is no item {item!r}", (*at, "of"), hint=_one_of(item, this.items, "items"))
    units = sorted(this.items[item].unit for item in channel.of)
    counter = units in (["J"], ["Wh"])
    if not counter and units not in (["W"], ["A", "V"]):
        raise document.error(
            f"the channel {name!r} multiplies {' and '.join(unit or 'no unit' for unit in units)}", at,
            hint="name one item in W, J or Wh, or one in V and one in A",
        )  # fmt: skip
    if counter != (channel.kind == "counter"):
        raise document.error(
            f"the channel {name!r} in {units[0]} is said to be a {channel.kind}", (*at, "kind"),
            hint="J and Wh are counters, all others are not",
        )  # fmt: skip
    for kind, key in (("part_time", "window_s"), ("filtered", "tau_s")):
        if channel.kind == kind and getattr(channel, key) is None:
            raise document.error(f"the channel {name!r} is {kind}, of unknown {key}", at, hint=f"add {key}")
    for k, limits in enumerate(channel.accuracy):
        for range_name, key in (("voltage", "at_v"), ("current", "at_a")):
            if limits.range_rel and range_name not in this.ranges and getattr(limits, key) is None:
                raise document.error(
                    f"range_rel is of a {range_name} range that is not there",
                    (*at, "accuracy", k),
                    hint=f"add {key}: the largest one in use",
                )
    for k, limits in enumerate(channel.accuracy[:-1]):
        if not limits.when:
            raise document.error("limits after this one never count", (*at, "accuracy", k), hint="put it last")
    if channel.accuracy[-1].when:
        raise document.error("limits that always hold are missing", (*at, "accuracy"), hint="add one without `when`")


def _messages(this: Instrument) -> Iterator[tuple[Location, str]]:
    """Every text that is sent, with its place."""
    reading = this.reading
    yield from ((("unchanged", k), asked) for k, asked in enumerate(this.unchanged))
    for at, commands in _command_lists(this):
        for k, command in enumerate(commands):
            yield (*at, k), command.send if isinstance(command, When) else command
    if isinstance(reading, Polled):
        for k, query in enumerate(reading.values):
            yield ("reading", "values", k, "query"), query.query
    else:
        yield ("reading", "fetch", "query"), reading.fetch.query
        for key, message in (("count", reading.fetch.count), ("period", reading.period)):
            if message is not None:
                yield ("reading", key), message
    for key in ("updated", "over", "skipped", "state"):
        section = getattr(reading, key, None)
        if section is not None and section.query is not None:
            yield ("reading", key, "query"), section.query
    if this.energy is not None and this.energy.state is not None:
        yield ("energy", "state", "query"), this.energy.state.query
    for name, section in this.ranges.items():
        if section.query is not None:
            yield ("ranges", name, "query"), section.query
    if this.errors is not None:
        yield ("errors", "query"), this.errors.query


def _command_lists(this: Instrument) -> Iterator[tuple[Location, Commands]]:
    yield from ((("clear",), this.clear), (("configure",), this.configure), (("finish",), this.finish))
    yield ("reading", "arm"), this.reading.arm
    if isinstance(this.reading, Buffered):
        yield ("reading", "start"), this.reading.start
        yield ("reading", "stop"), this.reading.stop
    for name, section in this.ranges.items():
        yield ("ranges", name, "auto"), section.auto
        yield ("ranges", name, "fix"), section.fix
    if this.energy is not None:
        yield ("energy", "start"), this.energy.start
        yield ("energy", "stop"), this.energy.stop


def _conditions(this: Instrument) -> Iterator[tuple[Location, list[str]]]:
    for at, commands in _command_lists(this):
        for k, command in enumerate(commands):
            if isinstance(command, When):
                yield (*at, k, "when"), list(command.when)
    if isinstance(this.reading, Polled):
        for k, query in enumerate(this.reading.values):
            yield ("reading", "values", k, "when"), list(query.when)
    for name, channel in this.channels.items():
        for k, limits in enumerate(channel.accuracy):
            yield ("channels", name, "accuracy", k, "when"), list(limits.when)


def _one_of(word: str, known: object, what: str) -> str:
    names = sorted(str(name) for name in known)  # type: ignore[attr-defined]
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the {what} are {', '.join(names) or 'none'}"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _among(value: object, said: list[str]) -> bool:
    return any(same(value, one) for one in said)


def same(value: object, said: str) -> bool:
    """Does a user who writes `value` mean the choice `said`? 0.10 is 0.1, and case does not count."""
    if _is_number(value) and _is_number(said):
        return float(str(value)) == float(said)
    return str(value).lower() == said.lower()
