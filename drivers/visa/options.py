"""What a bench file may say to an instrument: the driver's own options, and those that its description declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.visa.description import DRIVERS_OPTIONS, ENERGY, PLACE, Described, find_description, same
from drivers.visa.sections import Commands, Conditions, NumberOrOption, OptionSection, When
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest

AUTO = "auto"
LEAST_POLL_S, MOST_POLL_S = 0.005, 60.0
TEXTS = ("resource", "instrument", "description", "backend")
NUMBERS = {  # least, most, default
    "baud": (300.0, 4_000_000.0, None),
    "timeout_s": (0.05, 60.0, None),
    "poll_s": (LEAST_POLL_S, MOST_POLL_S, None),
    "ranging_s": (0.2, 600.0, 3.0),
    "energy": (0.0, 1.0, 0.0),
    "max_power_w": (1e-3, 1e9, None),
}
assert {*TEXTS, *NUMBERS} == DRIVERS_OPTIONS


@dataclass(frozen=True)
class VisaOptions:
    """Checked options.

    `ranges`: range -> its size, or None for a ranging pass; `headrooms`: range -> how many times the level seen in the
    pass it must hold; `said`: option of the description -> (what the user means, what stands in commands).
    """

    resource: str
    described: Described
    backend: str = "@py"
    baud: int | None = None
    timeout_s: float | None = None
    poll_s: float | None = None
    ranging_s: float = 3.0
    energy: bool = False
    max_power_w: float | None = None
    ranges: Mapping[str, float | None] = field(default_factory=dict)
    headrooms: Mapping[str, float] = field(default_factory=dict)
    said: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, request: MeterRequest) -> VisaOptions:
        """SpecError for what is unknown, missing, of the wrong type or out of bounds."""
        given = request.options
        texts = {name: _text(request, name) for name in TEXTS}
        if not texts["resource"]:
            raise _wrong(
                request,
                "resource is missing",
                "such as TCPIP0::192.168.1.20::5025::SOCKET; `joulebench meters list` shows some",
            )
        if bool(texts["instrument"]) == bool(texts["description"]):
            raise _wrong(request, "needs one of instrument and description", "such as instrument: wt310")
        described = find_description(instrument=texts["instrument"], path=texts["description"])
        declared = described.instrument.options
        known = {*DRIVERS_OPTIONS, *described.range_options, *declared}
        if unknown := sorted(set(given) - known):
            raise _wrong(
                request, f"{described.name} has no option {unknown[0]!r}", f"its options are {', '.join(sorted(known))}"
            )
        numbers = {name: _number(request, name, *bounds) for name, bounds in NUMBERS.items()}
        return cls(
            resource=texts["resource"],
            described=described,
            backend=texts["backend"] or "@py",
            baud=None if numbers["baud"] is None else round(numbers["baud"]),
            timeout_s=numbers["timeout_s"],
            poll_s=numbers["poll_s"],
            ranging_s=numbers["ranging_s"] or 3.0,
            energy=bool(numbers["energy"]) or _binds_counter(request, described),
            max_power_w=numbers["max_power_w"],
            ranges={name: _range(request, described, name) for name in described.instrument.ranges},
            headrooms={
                name: _number(request, f"{name}_headroom", 1.0, 1000.0, section.headroom) or section.headroom
                for name, section in described.instrument.ranges.items()
            },
            said={name: _said(request, name, section) for name, section in declared.items()},
        )

    def text(self, message: str, **more: str) -> str:
        """A command with its {names} replaced."""
        return PLACE.sub(lambda found: more[found[1]] if found[1] in more else self.said[found[1]][1], message)

    def commands(self, commands: Commands, **more: str) -> list[str]:
        """Those of `commands` that these options ask for, ready to be sent."""
        return [
            self.text(command.send if isinstance(command, When) else command, **more)
            for command in commands
            if not isinstance(command, When) or self.holds(command.when)
        ]

    def holds(self, conditions: Conditions) -> bool:
        """Whether the options are as `conditions` say."""
        energy = str(int(self.energy))
        return all(same(value, energy if name == ENERGY else self.said[name][0]) for name, value in conditions.items())

    def number(self, value: NumberOrOption | None) -> float | None:
        """A number of the description, or that which the user gave for the option it names."""
        return float(self.said[value][0]) if isinstance(value, str) else value

    @property
    def update_s(self) -> float:
        return self.number(self.described.instrument.reading.update_s) or 1.0


def _wrong(request: MeterRequest, what: str, hint: str) -> SpecError:
    return SpecError(f"meter {request.name!r} (visa): {what}", hint=hint)


def _text(request: MeterRequest, name: str) -> str:
    value = request.options.get(name, "")
    if not isinstance(value, str):
        raise _wrong(request, f"{name} is {value!r}", "give text, in quotes")
    return value.strip()


def _number(request: MeterRequest, name: str, least: float, most: float, default: float | None) -> float | None:
    value = request.options.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool | str) or not math.isfinite(value) or not least <= value <= most:
        raise _wrong(request, f"{name} is {value!r}", f"give a number from {least:g} to {most:g}")
    return float(value)


def _range(request: MeterRequest, described: Described, name: str) -> float | None:
    """The size that the user wants; None for a ranging pass."""
    section = described.instrument.ranges[name]
    option = f"{name}_range"
    value = request.options.get(option, AUTO if section.auto else None)
    sizes = ", ".join(f"{size:g}" for size, _ in section.steps)
    if value == AUTO and section.auto:
        return None
    if value is None and len(section.steps) == 1:
        return section.steps[0][0]
    for size, _ in section.steps:
        if not isinstance(value, bool) and same(value, f"{size!r}"):
            return size
    more = ", or auto" if section.auto else ""
    said = "is missing" if value is None else f"is {value!r}"
    raise _wrong(request, f"{option} {said}", f"give one of {sizes} ({section.unit}){more}")


def _said(request: MeterRequest, name: str, section: OptionSection) -> tuple[str, str]:
    """(what the user means, what stands in commands)."""
    value = request.options.get(name, section.default)
    if section.choices:
        for said, text in section.choices:
            if not isinstance(value, bool) and same(value, said):
                return said, text
        raise _wrong(request, f"{name} is {value!r}", f"give one of {', '.join(said for said, _ in section.choices)}")
    if isinstance(section.default, str):
        if not isinstance(value, str) or not value.isascii() or "\n" in value or "\r" in value:
            raise _wrong(request, f"{name} is {value!r}", "give plain ASCII text of one line, in quotes")
        return value, value
    least = -math.inf if section.least is None else section.least
    most = math.inf if section.most is None else section.most
    checked = _number(request, name, least, most, float(section.default))
    assert checked is not None
    return f"{checked:.12g}", f"{checked:.12g}"


def _binds_counter(request: MeterRequest, described: Described) -> bool:
    channels = described.instrument.channels
    return any(name in channels and channels[name].kind == "counter" for name, _ in request.rails)
