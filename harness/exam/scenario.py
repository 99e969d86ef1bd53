"""A scenario file: the ranges of its worlds, the protocol of its runs and the meters on its benches, strictly read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from drivers.simulated.rig.ranges import Ranges, load_ranges, parse_range, worlds_folder
from harness.config.complain import did_you_mean, validated
from harness.config.resolve import resolve_protocol
from harness.config.schema import ProtocolSection
from harness.config.yaml_lines import Document, load_yaml
from harness.core.errors import SpecError
from harness.core.spec import ProtocolSpec
from harness.exam.virtual import DRIVERS, SLOW, USUAL, exam_protocol

FOR_SLOW_S = 3.2  # five time constants of the slowest, with a fifth that its sheet does not know, and some more


class _Drawn(BaseModel):
    """So many meters, drawn anew for each scenario."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    any: int = Field(ge=1)
    of: tuple[str, ...] | None = None


class _Beside(BaseModel):
    """What a scenario file may hold beside groups of ranges."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    protocol: ProtocolSection = ProtocolSection()
    meters: tuple[str, ...] | _Drawn | None = None
    faults: float = Field(default=0.0, ge=0.0, le=1.0)


@dataclass(frozen=True)
class Scenario:
    """What an exam draws from and how it measures. `meters`: names on each bench, the primary first.

    `drawn`: so many of the meters are drawn for each scenario, in any order; None: all are on each bench.
    `faults`: share of the scenarios in which a fault is put in on purpose.
    """

    ranges: Ranges
    protocol: ProtocolSpec
    meters: tuple[str, ...]
    depth: str = "trace"
    drawn: int | None = None
    faults: float = 0.0

    def bench(self, seed: int) -> tuple[str, ...]:
        """Names of the meters on the bench of this scenario, the primary first."""
        if self.drawn is None:
            return self.meters
        order = np.random.default_rng([seed, 53]).permutation(len(self.meters))
        return tuple(self.meters[k] for k in order[: self.drawn].tolist())

    def protocol_on(self, bench: Sequence[str]) -> ProtocolSpec:
        """As the owner of these meters would have it: edges lie in steady work for as long as a meter remembers."""
        if not set(SLOW).intersection(bench):
            return self.protocol
        lead_in_s, lead_out_s = (max(s, FOR_SLOW_S) for s in (self.protocol.lead_in_s, self.protocol.lead_out_s))
        return dataclasses.replace(self.protocol, lead_in_s=lead_in_s, lead_out_s=lead_out_s)

    def to_json(self) -> dict[str, Any]:
        """Everything that decides what is found, plain."""
        return {
            "ranges": {group: dict(keys) for group, keys in self.ranges.groups.items()},
            "file": self.ranges.name,
            "protocol": dataclasses.asdict(self.protocol),
            "meters": list(self.meters),
            "depth": self.depth,
            "drawn": self.drawn,
            "faults": self.faults,
        }


def scenario_protocol() -> ProtocolSpec:
    """What a scenario is measured by unless its file says otherwise: five process starts, since of three nobody can say
    with narrow intervals how much they scatter."""
    return dataclasses.replace(exam_protocol(), starts=5, measure_s=5.0)


def load_scenario(
    file: Path | str | None = None, *, depth: str = "trace", meters: Sequence[str] | None = None,
    faults: float | None = None,
) -> Scenario:  # fmt: skip
    """A scenario file (a path or the name of a shipped world; None: `default`) laid over the default ranges.

    `meters`: names that replace those of the file; "any:2" as the first: two are drawn of those that follow, or of all.
    `faults`: share that replaces the file's. SpecError for a name the depth does not have, or one named twice.
    SpecError with file and line for an unknown group, key, meter or notation, a key that stands twice, and a protocol
    that cannot be carried out.
    """
    if depth not in DRIVERS:
        raise SpecError(f"{depth!r} is not a depth of simulation", hint=f"use {' or '.join(DRIVERS)}")
    base = load_ranges()
    if faults is not None and not 0 <= faults <= 1:
        raise SpecError(f"--faults {faults:g} is not a share", hint="give a number from 0 to 1")
    if file is None:
        bench = _asked(meters, depth) if meters else _Bench(USUAL[depth])
        return _with_faults(Scenario(base, scenario_protocol(), bench.names, depth, bench.drawn), faults or 0.0)
    document = load_yaml(_path(file))
    if not isinstance(document.data, dict):
        raise document.error("a scenario file holds groups of keys", hint="see docs/exam.md")
    beside = validated(document, _Beside, "the scenario file")
    protocol = resolve_protocol(document, beside.protocol, base=scenario_protocol())
    for field in ("standby_state", "standby_model"):
        if getattr(protocol, field) != getattr(scenario_protocol(), field):
            message = f"{field}: {getattr(protocol, field)} is another measurand than the exam's truth"
            hint = "leave it out: truth is above active idle, with leakage by its own warmth"
            raise document.error(message, ("protocol", field), hint=hint)
    bench = _asked(meters, depth) if meters else _of_file(document, beside.meters, depth)
    found = Scenario(_ranges(document, base), protocol, bench.names, depth, bench.drawn)
    return _with_faults(found, beside.faults if faults is None else faults)


@dataclass(frozen=True)
class _Bench:
    names: tuple[str, ...]
    drawn: int | None = None


def _with_faults(scenario: Scenario, share: float) -> Scenario:
    if share > 0 and scenario.depth != "trace":
        raise SpecError(f"faults cannot be put in at depth {scenario.depth}", hint="use --depth trace")
    return dataclasses.replace(scenario, faults=share)


def _asked(names: Sequence[str], depth: str) -> _Bench:
    """Meters that a command names, the first perhaps `any:N`."""
    if not names[0].startswith("any:"):
        return _Bench(_named(names, depth))
    count, pool = names[0].removeprefix("any:"), _named(names[1:], depth) or tuple(DRIVERS[depth])
    if not count.isdecimal() or not 1 <= int(count) <= len(pool):
        message = f"--meters {names[0]}: so many cannot be drawn of {len(pool)} meters"
        raise SpecError(message, hint="write any:1" + (f" to any:{len(pool)}" if len(pool) > 1 else ""))
    return _Bench(pool, int(count))


def _of_file(document: Document, meters: tuple[str, ...] | _Drawn | None, depth: str) -> _Bench:
    if meters is None:
        return _Bench(USUAL[depth])
    if not isinstance(meters, _Drawn):
        return _Bench(_meters(document, meters, depth, ("meters",)))
    pool = tuple(DRIVERS[depth]) if meters.of is None else _meters(document, meters.of, depth, ("meters", "of"))
    if meters.any > len(pool):
        message = f"{meters.any} meters cannot be drawn of {len(pool)}"
        raise document.error(message, ("meters", "any"), hint=f"at most {len(pool)}")
    return _Bench(pool, meters.any)


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


def _meters(document: Document, names: tuple[str, ...], depth: str, where: tuple[str, ...]) -> tuple[str, ...]:
    known = DRIVERS[depth]
    if not names:
        raise document.error("meters is an empty list", where, hint=f"name some of {', '.join(known)}")
    for index, name in enumerate(names):
        if name not in known:
            message = f"no meter {name!r} on an exam's bench at depth {depth}"
            raise document.error(message, (*where, index), hint=did_you_mean(name, known))
        if name in names[:index]:
            raise document.error(f"the meter {name!r} is named twice", (*where, index), hint="leave one out")
    return names


def with_protocol(scenario: Scenario, protocol: ProtocolSpec) -> Scenario:
    """The same worlds measured by another protocol."""
    return dataclasses.replace(scenario, protocol=protocol)
