"""What may stand in the description of an instrument: names, types and limits of every field.

docs/meters/visa.md explains each. A command may hold {name}: it stands for what the user's option says.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Value = str | int | float


class Section(BaseModel):
    """Base of everything that is read from a description."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError("must be one line")
    if not text.isascii():
        raise ValueError("must be plain ASCII, as instruments read it")
    return text


def _listed(value: Any) -> Any:
    return value if isinstance(value, tuple) else (value,)


def _steps(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((_number(key), str(text)) for key, text in value.items())
    if isinstance(value, tuple):
        return tuple((_number(step), f"{step:g}" if isinstance(step, int | float) else str(step)) for step in value)
    return value


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is no number") from None


def _ascending(steps: tuple[tuple[float, str], ...]) -> tuple[tuple[float, str], ...]:
    values = [value for value, _ in steps]
    if not steps or values != sorted(set(values)) or values[0] <= 0:
        raise ValueError("must be positive numbers from the smallest to the largest")
    return steps


def _choices(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, str(text)) for key, text in value.items())
    if isinstance(value, tuple):
        return tuple((str(choice), str(choice)) for choice in value)
    return value


Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Message = Annotated[str, StringConstraints(min_length=1, max_length=4000), AfterValidator(_one_line)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Mask = Annotated[int, Field(gt=0)]
NumberOrOption = Positive | Name
Conditions = dict[str, Value]


class When(Section):
    """A command that is sent only where the options say so."""

    send: Message
    when: Conditions


Commands = Annotated[tuple[Message | When, ...], BeforeValidator(_listed)]


class Line(Section):
    """Framing and pace; see harness.io.visa_line.LineSettings. `set_pause_s`: after each command that asks nothing."""

    write_end: Text = "\n"
    read_end: Text = "\n"
    answers_sets: bool = False
    pause_s: NotNegative = 0.0
    set_pause_s: Annotated[float, Field(ge=0, le=5)] = 0.0
    baud: Annotated[int, Field(ge=300, le=4_000_000)] = 9600
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 2.0


class ErrorQueue(Section):
    """How the instrument tells of errors: asked again and again until an answer matches `none`."""

    query: Message
    none: Pattern


class OptionSection(Section):
    """One option of the user. `choices`: what he may say, and what then stands in commands; or numbers from `least`
    to `most`; or any text."""

    default: Value
    choices: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_choices)] = ()
    least: float | None = None
    most: float | None = None


class RangeSection(Section):
    """A measuring range. `steps`: its size in `unit`, and what {range} is in commands."""

    unit: Literal["V", "A"]
    steps: Annotated[tuple[tuple[float, str], ...], BeforeValidator(_steps), AfterValidator(_ascending)]
    auto: Commands = ()
    fix: Commands
    query: Message | None = None
    level: Name | None = None
    headroom: Annotated[float, Field(ge=1, le=1000)] = 1.0


class ItemSection(Section):
    """A number that is read, or a `constant`. `must_be`: the range whose size it is while that range is in force."""

    unit: Literal["V", "A", "W", "Wh", "J", "Hz", "s", ""] = ""
    must_be: Name | None = None
    constant: NumberOrOption | None = None


class Flag(Section):
    """Set while the register that `query` asks for has a bit of `mask`. Without `query`: the register of `updated`."""

    query: Message | None = None
    mask: Mask


class Register(Section):
    """New values are there if the register that `query` asks for, and clears, has a bit of `mask`."""

    query: Message
    mask: Mask


class Query(Section):
    """A query and what its answer holds, in order; "-" for what is not used. Asked if the options are as in `when`.

    `answer`: the form of the whole answer, where one that was cut short would be a number too.
    """

    query: Message
    when: Conditions = {}
    answer: Pattern | None = None
    items: Annotated[tuple[str, ...], Field(min_length=1)]


class Polled(Section):
    """Values that the instrument renews every `update_s`, asked for when they are new. `triggered`: the queries
    themselves make a measurement each, which takes less than `update_s`."""

    style: Literal["polled"]
    update_s: NumberOrOption
    triggered: bool = False
    updated: Register | None = None
    over: Flag | None = None
    arm: Commands = ()
    values: Annotated[tuple[Query, ...], Field(min_length=1)]


class State(Section):
    """What the integrator, or a buffered acquisition, does: it runs if the answer to `query` matches `running`."""

    query: Message
    running: Pattern


class Fetch(Section):
    """How records are had. `query` may hold {first}, {last} (then they stay there, and `count` says how many there are,
    up to `capacity`) or {most} (then they are taken away)."""

    query: Message
    most: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    count: Message | None = None
    capacity: NumberOrOption | None = None


class Buffered(Section):
    """Records that the instrument takes by itself, `update_s` apart, and keeps for `holds_s`.

    `period`: asks for the period, in s, that it made of the one asked for; `updated`: tells that there is something to
    be fetched; `skipped`: that something was lost; `record`: items of a record, "-" for what is not used; `time`: the
    item that holds its time (s since the first, from 0 again after `wraps_s`); `chunk_s`: records come, and are lost,
    in chunks of that length; `state`: tells an instrument that somebody left acquiring.
    """

    style: Literal["buffered"]
    update_s: NumberOrOption
    period: Message | None = None
    arm: Commands = ()
    start: Commands
    stop: Commands
    state: State | None = None
    updated: Register | None = None
    skipped: Register | None = None
    fetch: Fetch
    form: Literal["ascii", "real32", "real64"] = "ascii"
    order: Literal["big", "little"] = "big"
    record: Annotated[tuple[str, ...], Field(min_length=1)]
    time: Name | None = None
    wraps_s: Positive | None = None
    chunk_s: Positive | None = None
    holds_s: Positive
    poll_s: Positive = 0.05


class Energy(Section):
    """The integrator on board."""

    start: Commands
    stop: Commands
    state: State | None = None


class AccuracySection(Section):
    """Limits of error where the options are as in `when`; the first that fits counts.

    `reading_rel`: of the reading, to which `more_rel` is added (the tolerance of a constant); `range_rel`: of the
    product of both ranges (`at_v` or `at_a` stands for one that is not there); `offset_a`: times `at_v` (or the voltage
    range); `offset_v`: times `at_a` (or the current range); `offset_w`; `noise_w`: of one reading.
    """

    when: Conditions = {}
    reading_rel: Annotated[float, Field(gt=0, le=1)]
    more_rel: NumberOrOption | None = None
    range_rel: Share = 0.0
    offset_w: NotNegative = 0.0
    offset_a: NotNegative = 0.0
    offset_v: NotNegative = 0.0
    at_v: NumberOrOption | None = None
    at_a: NumberOrOption | None = None
    noise_w: NotNegative = 0.0
    source: Text


class ChannelSection(Section):
    """A channel: the product of one or two items (W; J or Wh; V and A), and what a reading of it means."""

    of: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]
    kind: Literal["mean", "point", "part_time", "filtered", "counter"]
    window_s: NumberOrOption | None = None
    tau_s: NumberOrOption | None = None
    accuracy: Annotated[tuple[AccuracySection, ...], BeforeValidator(_listed), Field(min_length=1)]


class Instrument(Section):
    """The whole description."""

    instrument: Text
    manual: Text
    identify: Pattern
    usb: tuple[Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{4}:[0-9A-F]{4}$")], ...] = ()
    line: Line = Line()
    clear: Commands = ()
    errors: ErrorQueue | None = None
    options: dict[Name, OptionSection] = {}
    configure: Commands = ()
    ranges: dict[Name, RangeSection] = {}
    items: Annotated[dict[Name, ItemSection], Field(min_length=1)]
    reading: Annotated[Polled | Buffered, Field(discriminator="style")]
    energy: Energy | None = None
    channels: Annotated[dict[str, ChannelSection], Field(min_length=1)]
    unchanged: Annotated[tuple[Message, ...], BeforeValidator(_listed)] = ()
    finish: Commands = ()
