"""From a validation error to a sentence with file, line, value, limit and mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from harness.core.errors import SpecError
from harness.io.yaml_lines import Document, Location

M = TypeVar("M", bound=BaseModel)

_SECONDS_PER = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
_WITH_UNIT = re.compile(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([a-z]+)\s*")
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "finite_number": "a finite number",
}


def validated(document: Document, model: type[M], what: str) -> M:
    """The document as `model`; SpecError naming everything that is wrong with it, first things first."""
    if not isinstance(document.data, dict):
        raise document.error(f"{what} must be a mapping of keys to values, got {_shown(document.data)}")
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        items = error.errors(include_url=False)
    findings = [_finding(document, model, what, item) for item in items if not _follows(item, items)]
    findings = list({(f.line, f.message): f for f in findings}.values())
    findings.sort(key=lambda f: f.line or 0)
    first, others = findings[0], findings[1:]
    if others:
        first.message += "".join(f"\n  also line {f.line}: {f.message} ({f.hint})" for f in others)
    raise first from None


def each_once(document: Document, channels: Sequence[str], done: str) -> None:
    """SpecError at the first of `channels` that stands in the document's list twice; `done`: what it is twice."""
    for index, name in enumerate(channels):
        if name in channels[:index]:
            message = f"channel {name!r} is {done} twice"
            raise document.error(message, ("channels", index, "channel"), hint="keep one of them")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint: the nearest of the known words, else all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"use one of: {', '.join(words) if words else '(none exist)'}"


def _follows(item: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> bool:
    """Is a list "too short" only because its items are wrong? Then the items say enough."""
    inside = [i for i in items if i is not item and i["loc"][: len(item["loc"])] == item["loc"]]
    return item["type"] == "too_short" and bool(inside)


def _finding(document: Document, model: type[BaseModel], what: str, item: Mapping[str, Any]) -> SpecError:
    location = document.nearest(item["loc"])
    kind, value, limits = item["type"], item["input"], item.get("ctx", {})
    key = _spoken(location) or what
    if kind == "extra_forbidden":
        fields = _fields_at(model, item["loc"][:-1])
        where = f" in {_spoken(location[:-1])}" if location[:-1] else f" in {what}"
        return document.error(
            f"unknown key {location[-1]!r}{where}", location, hint=did_you_mean(str(location[-1]), fields)
        )
    if kind == "missing":
        missing = str(item["loc"][-1])
        where = _spoken(location) or what
        return document.error(
            f"the key {missing!r} is missing in {where}", location, hint=f"add a line `{missing}: ...`"
        )
    if kind == "literal_error":
        return document.error(
            f"{key} is {_shown(value)}", location, hint=did_you_mean(str(value), _expected(limits["expected"]))
        )
    if kind in _TYPES:
        return document.error(
            f"{key} must be {_TYPES[kind]}, got {_shown(value)}", location, hint=_mend(key, value, kind)
        )
    return document.error(
        f"{key} {_limit(kind, limits, item['msg'])}, got {_shown(value)}", location, hint=_within(limits)
    )


def _spoken(location: Location) -> str:
    """`models[2].axes.seq`: a location as one would say it; items count from 1."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true/false)"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    return f"{value!r}" + (" (text)" if isinstance(value, str) else "")


def _limit(kind: str, limits: Mapping[str, Any], message: str) -> str:
    words = {
        "greater_than": "must be more than {gt:g}",
        "greater_than_equal": "must be at least {ge:g}",
        "less_than": "must be less than {lt:g}",
        "less_than_equal": "must be at most {le:g}",
        "too_short": "needs at least {min_length} entry",
        "string_too_short": "must not be empty",
        "string_too_long": "must have at most {max_length} characters",
        "string_pattern_mismatch": "must match {pattern}",
    }
    if kind in words:
        return words[kind].format(**limits)
    return str(limits.get("error", message))


def _within(limits: Mapping[str, Any]) -> str:
    if "pattern" in limits:
        return "write it in that form"
    return "choose a value within the limit" if limits.keys() & {"gt", "ge", "lt", "le"} else "fill it in"


def _mend(key: str, value: Any, kind: str) -> str:
    """What to write instead, where that can be told: `5 s` in a field `_s` is 5."""
    if isinstance(value, str) and kind in {"int_type", "float_type"}:
        with_unit = _WITH_UNIT.fullmatch(value)
        name = key.rpartition(".")[2]
        if with_unit and with_unit[2] in _SECONDS_PER and name.endswith("_s"):
            return f"the unit stands in the name: write `{name}: {float(with_unit[1]) * _SECONDS_PER[with_unit[2]]:g}`"
        if with_unit or re.fullmatch(r"[-+0-9.eE ]+", value):
            return "write the bare number, without unit and without quotes"
    if isinstance(value, float) and kind in {"int_type", "int_from_float"}:
        return f"write it without fraction or exponent: {value:.0f}"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'put it into quotes: "{value}"'
    return "correct the value"


def _expected(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _fields_at(model: type[BaseModel], loc: Location) -> Iterable[str]:
    """Names of the fields of the section at `loc` below `model`."""
    section: type[BaseModel] = model
    kinds: list[type[BaseModel]] = []
    for part in loc:
        if isinstance(part, str) and part in section.model_fields:
            kinds = _sections_in(section.model_fields[part].annotation)
            section = next(iter(kinds), section)
        elif isinstance(part, str):  # a section of several kinds: the location names which
            section = next((kind for kind in kinds if _is_of(kind, part)), section)
    return section.model_fields


def _is_of(section: type[BaseModel], kind: str) -> bool:
    return any(kind in get_args(field.annotation) for field in section.model_fields.values())


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _sections_in(argument)]
