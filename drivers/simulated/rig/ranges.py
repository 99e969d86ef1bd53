"""World files: from which range every imperfection is drawn. A wrong key must not silently mean "no imperfection".

A value is a number or one of
    U(a, b)  uniform      LU(a, b)  log-uniform      N(mean, sd)  normal      LN(median, factor)  log-normal
    T(dof, s)  Student's t, s times
    ONE(a, b, ...)  one of these      SIGN(x)  x or -x      MAYBE(p, x)  x with probability p, else 0
    MIX(w1, x1, w2, x2, ...)  x1 with probability w1, ...
where x is again a number or one of them. Each key has a random stream of its own, so that a new key leaves
the draws of all others as they were.
"""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from harness.core.errors import SpecError

OF_SCENARIOS = ("protocol", "meters", "faults")  # what an exam's file holds beside groups of ranges
Draw = Callable[[np.random.Generator], float]
_TOKEN = re.compile(r"\s*(?:([A-Z]+)\s*\(|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|([,)]))")


def _number(draw: Draw) -> float:
    """A parameter of a distribution must be a plain number."""
    value = getattr(draw, "value", None)
    if value is None:
        raise ValueError("a parameter here must be a number")
    return float(value)


@dataclass(frozen=True)
class _Constant:
    value: float

    def __call__(self, rng: np.random.Generator) -> float:
        return self.value


def _uniform(a: float, b: float) -> Draw:
    if a > b:
        raise ValueError(f"U({a:g}, {b:g}): the lower end comes first")
    return lambda rng: a + (b - a) * float(rng.random())


def _log_uniform(a: float, b: float) -> Draw:
    if not 0 < a <= b:
        raise ValueError(f"LU({a:g}, {b:g}) needs 0 < a <= b")
    return lambda rng: a * math.exp(math.log(b / a) * float(rng.random()))


def _normal(mean: float, sd: float) -> Draw:
    if sd < 0:
        raise ValueError(f"N({mean:g}, {sd:g}) needs sd >= 0")
    return lambda rng: mean + sd * float(rng.standard_normal())


def _log_normal(median: float, factor: float) -> Draw:
    if median <= 0 or factor < 1:
        raise ValueError(f"LN({median:g}, {factor:g}) needs median > 0 and factor >= 1")
    return lambda rng: median * factor ** float(rng.standard_normal())


def _student(dof: float, scale: float) -> Draw:
    if dof <= 0 or scale < 0:
        raise ValueError(f"T({dof:g}, {scale:g}) needs dof > 0 and scale >= 0")
    return lambda rng: scale * float(rng.standard_t(dof))


def _mixture(parts: list[Draw]) -> Draw:
    weights = [_number(p) for p in parts[0::2]]
    draws = parts[1::2]
    if len(draws) != len(weights) or not draws or abs(sum(weights) - 1) > 1e-9 or min(weights) < 0:
        raise ValueError("MIX needs pairs (weight, range) whose weights sum to 1")

    def draw(rng: np.random.Generator) -> float:
        return draws[int(rng.choice(len(draws), p=weights))](rng)

    return draw


def _call(name: str, args: list[Draw]) -> Draw:
    two = {"U": _uniform, "LU": _log_uniform, "N": _normal, "LN": _log_normal, "T": _student}
    if name in two:
        if len(args) != 2:
            raise ValueError(f"{name} takes two numbers, got {len(args)}")
        return two[name](_number(args[0]), _number(args[1]))
    if name == "ONE" and args:
        return lambda rng: args[int(rng.integers(len(args)))](rng)
    if name == "SIGN" and len(args) == 1:
        return lambda rng: (1.0 if rng.random() < 0.5 else -1.0) * args[0](rng)
    if name == "MAYBE" and len(args) == 2:
        p = _number(args[0])
        if not 0 <= p <= 1:
            raise ValueError(f"MAYBE needs a probability in 0..1, got {p:g}")
        return lambda rng: args[1](rng) if rng.random() < p else 0.0
    if name == "MIX":
        return _mixture(args)
    raise ValueError(f"unknown range {name!r} with {len(args)} parameters")


@functools.lru_cache(maxsize=None, typed=True)  # true is no 1
def parse_range(text: str | float | int) -> Draw:
    """A range as written in a world file -> a function that draws from it; ValueError says what is wrong."""
    if isinstance(text, bool) or not isinstance(text, str | float | int):
        raise ValueError(f"{text!r} is neither a number nor a range")
    if not isinstance(text, str):
        return _Constant(float(text))
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text!r} from character {position + 1} on")
        kind = ("name", "number", "sign")[next(i for i, g in enumerate(match.groups()) if g is not None)]
        tokens.append((kind, next(g for g in match.groups() if g is not None)))
        position = match.end()
    draw, rest = _expression(tokens)
    if rest:
        raise ValueError(f"{text!r} goes on after its end")
    return draw


def _expression(tokens: list[tuple[str, str]]) -> tuple[Draw, list[tuple[str, str]]]:
    if not tokens:
        raise ValueError("a range ends too early")
    (kind, word), rest = tokens[0], tokens[1:]
    if kind == "number":
        return _Constant(float(word)), rest
    if kind != "name":
        raise ValueError(f"a number or a range is expected, not {word!r}")
    args: list[Draw] = []
    while True:
        arg, rest = _expression(rest)
        args.append(arg)
        if not rest:
            raise ValueError(f"{word}( is not closed")
        (_, mark), rest = rest[0], rest[1:]
        if mark == ")":
            return _call(word, args), rest
        if mark != ",":
            raise ValueError(f"',' or ')' is expected in {word}, not {mark!r}")


@dataclass(frozen=True)
class Ranges:
    """All ranges of a world file: group -> key -> as written; `draw` is reproducible per (seed, stream, key)."""

    name: str
    groups: Mapping[str, Mapping[str, str | float | int]]

    def draw(self, group: str, key: str, *, seed: int, stream: str = "") -> float:
        digest = zlib.crc32(f"{group}.{key}.{stream}".encode())
        return parse_range(self.groups[group][key])(np.random.default_rng([seed, digest]))


def worlds_folder() -> Path:
    """Folder of the shipped world files: the checkout's, or the copy inside an installed package."""
    here = Path(__file__).resolve()
    for folder in (here.parents[3] / "device_configs" / "worlds", here.parents[3] / "harness/_device_configs/worlds"):
        if folder.is_dir():
            return folder
    raise SpecError(f"the folder device_configs/worlds is missing beside {here.parents[2]}", hint="install again")


def _read(path: Path) -> Mapping[str, Mapping[str, str | float | int]]:
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SpecError(f"not readable as YAML: {error.problem}", file=path, line=line) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the world file: {error}", file=path, hint="pass an existing file") from None
    if not isinstance(data, dict) or not all(isinstance(v, dict) for k, v in data.items() if k not in OF_SCENARIOS):
        raise SpecError("a world file holds groups of keys", file=path, hint="see device_configs/worlds/default.yaml")
    return data


def _line_of(path: Path, group: str, key: str | None) -> int | None:
    """1-based line of a key, for messages (the safe loader keeps none)."""
    inside = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if re.match(rf"{re.escape(group)}\s*:", line):
            inside = True
            if key is None:
                return number
        elif inside and key is not None and re.match(rf"\s+{re.escape(key)}\s*:", line):
            return number
    return None


def load_ranges(world: str | Path | None = None) -> Ranges:
    """Ranges of a world file laid over the default ones. `world`: a path, a shipped name, or None for default.

    Raises SpecError with file and line for an unknown group or key and for a range that cannot be read.
    """
    folder = worlds_folder()
    base = folder / "default.yaml"
    path = base if world is None else Path(world)
    if world is not None and path.suffix == "" and not path.exists():
        path = folder / f"{world}.yaml"
        if not path.exists():
            shipped = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
            raise SpecError(f"no world file {str(world)!r}", hint=f"give a path or one of: {shipped}")
    groups: dict[str, dict[str, str | float | int]] = {g: dict(v) for g, v in _read(base).items()}
    for group, keys in _read(path).items():
        if group in OF_SCENARIOS:
            continue
        if group not in groups:
            raise SpecError(
                f"unknown group {group!r}; known: {', '.join(groups)}", file=path, line=_line_of(path, group, None)
            )
        for key, value in keys.items():
            line = _line_of(path, group, key)
            if key not in groups[group]:
                raise SpecError(f"unknown key {group}.{key}; known: {', '.join(groups[group])}", file=path, line=line)
            try:
                parse_range(value)
            except ValueError as error:
                raise SpecError(f"{group}.{key}: {error}", file=path, line=line) from None
            groups[group][key] = value
    return Ranges(path.stem, groups)
