"""A scenario file: the ranges of its worlds, the protocol of its runs and the meters on its benches, strictly read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from drivers.simulated.rig.ranges import Ranges, load_ranges, parse_range, worlds_folder
from harness.config.complain import did_you_mean, validated
from harness.config.resolve import resolve_protocol
from harness.config.schema import ProtocolSection
from harness.config.yaml_lines import Document, load_yaml
from harness.core.errors import SpecError
from harness.core.spec import ProtocolSpec
from harness.exam.virtual import DRIVERS, USUAL, exam_protocol


class _Beside(BaseModel):
    """What a scenario file may hold beside groups of ranges."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    protocol: ProtocolSection = ProtocolSection()
    meters: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Scenario:
    """What an exam draws from and how it measures. `meters`: names on each bench, the primary first."""

    ranges: Ranges
    protocol: ProtocolSpec
    meters: tuple[str, ...]
    depth: str = "trace"


def scenario_protocol() -> ProtocolSpec:
    """What a scenario is measured by unless its file says otherwise: five process starts, since of three nobody can say
    with narrow intervals how much they scatter."""
    return dataclasses.replace(exam_protocol(), starts=5, measure_s=5.0)


def load_scenario(
    file: Path | str | None = None, *, depth: str = "trace", meters: Sequence[str] | None = None
) -> Scenario:
    """A scenario file (a path or the name of a shipped world; None: `default`) laid over the default ranges.

    `meters`: names that replace those of the file. SpecError for a name the depth does not have, or one named twice.
    SpecError with file and line for an unknown group, key, meter or notation, a key that stands twice, and a protocol
    that cannot be carried out.
    """
    if depth not in DRIVERS:
        raise SpecError(f"{depth!r} is not a depth of simulation", hint=f"use {' or '.join(DRIVERS)}")
    base = load_ranges()
    usual = USUAL[depth]
    if file is None:
        return Scenario(base, scenario_protocol(), _named(meters, depth) if meters else usual, depth)
    document = load_yaml(_path(file))
    if not isinstance(document.data, dict):
        raise document.error("a scenario file holds groups of keys", hint="see docs/exam.md")
    beside = validated(document, _Beside, "the scenario file")
    protocol = resolve_protocol(document, beside.protocol, base=scenario_protocol())
    bench = usual if beside.meters is None else _meters(document, beside.meters, depth)
    return Scenario(_ranges(document, base), protocol, _named(meters, depth) if meters else bench, depth)


def _named(names: Sequence[str], depth: str) -> tuple[str, ...]:
    """Meters that a command names."""
    known = DRIVERS[depth]
    for index, name in enumerate(names):
        if name not in known:
            hint = did_you_mean(name, known)
            raise SpecError(f"no meter {name!r} on an exam's bench at depth {depth}", hint=hint)
        if name in names[:index]:
            raise SpecError(f"the meter {name!r} is named twice", hint="leave one out")
    return tuple(names)


def _path(file: Path | str) -> Path:
    path = Path(file)
    if path.suffix or path.exists():
        return path
    shipped = sorted(p.stem for p in worlds_folder().glob("*.yaml"))
    if str(file) not in shipped:
        raise SpecError(f"no scenario file {str(file)!r}", hint=f"give a path or one of: {', '.join(shipped)}")
    return worlds_folder() / f"{file}.yaml"


def _ranges(document: Document, base: Ranges) -> Ranges:
    groups: dict[str, dict[str, str | float | int]] = {name: dict(keys) for name, keys in base.groups.items()}
    for group, keys in document.data.items():
        if group in _Beside.model_fields:
            continue
        if group not in groups:
            hint = did_you_mean(group, [*groups, *_Beside.model_fields])
            raise document.error(f"unknown group {group!r}", (group,), hint=hint)
        if not isinstance(keys, dict):
            raise document.error(f"{group} must be a mapping of keys to ranges", (group,), hint="see docs/rig.md")
        for key, value in keys.items():
            groups[group][key] = _range(document, group, key, value, groups[group])
    return Ranges(document.path.stem, groups)


def _range(document: Document, group: str, key: str, value: Any, known: dict[str, Any]) -> str | float | int:
    if key not in known:
        raise document.error(f"unknown key {group}.{key}", (group, key), hint=did_you_mean(key, known))
    try:
        parse_range(value)
    except ValueError as error:
        hint = "write a number or U(a, b), LU, N, LN, ONE, SIGN, MAYBE, MIX: see docs/exam.md"
        raise document.error(f"{group}.{key}: {error}", (group, key), hint=hint) from None
    return value  # type: ignore[no-any-return]


def _meters(document: Document, names: tuple[str, ...], depth: str) -> tuple[str, ...]:
    known = DRIVERS[depth]
    if not names:
        raise document.error("meters is an empty list", ("meters",), hint=f"name some of {', '.join(known)}")
    for index, name in enumerate(names):
        if name not in known:
            message = f"no meter {name!r} on an exam's bench at depth {depth}"
            raise document.error(message, ("meters", index), hint=did_you_mean(name, known))
        if name in names[:index]:
            raise document.error(f"the meter {name!r} is named twice", ("meters", index), hint="leave one out")
    return names


def with_protocol(scenario: Scenario, protocol: ProtocolSpec) -> Scenario:
    """The same worlds measured by another protocol."""
    return dataclasses.replace(scenario, protocol=protocol)
