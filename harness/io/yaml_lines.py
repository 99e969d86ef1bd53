"""Strict YAML 1.2 that remembers on which line everything stands.

Only the core schema's plain scalars are numbers, booleans or null: `1e3` is 1000.0, `no` and `12:30:00`
are text, `010` is 10. Equal keys, several documents and tags are errors. Errors name file and line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.core.errors import SpecError

Location = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+")
_BASED_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {word: word[0] in "tT" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}


@dataclass(frozen=True)
class Document:
    """A YAML file as plain Python (mappings, tuples, scalars) and the line (1-based) of every key and item."""

    path: Path
    data: Any
    lines: dict[Location, int]

    def nearest(self, location: Location) -> Location:
        """The part of a location that exists in the file.

        A word may stand for a section and one section for a list of one: then there is less in the file. So there is
        where a section is one of several kinds: the location then names the kind too.
        """
        found: Location = ()
        for part, after in zip(location, (*location, None)[1:], strict=True):
            if (*found, part) in self.lines:
                found = (*found, part)
            elif part != 0 and (after is None or (*found, after) not in self.lines):
                break
        return found

    def line(self, location: Location) -> int:
        """Line of a key path, or of the nearest enclosing thing that has one."""
        return self.lines[self.nearest(location)]

    def error(self, message: str, location: Location = (), *, hint: str = "") -> SpecError:
        """A SpecError that points at `location` in this file."""
        return SpecError(message, hint=hint, file=self.path, line=self.line(location))

    @contextlib.contextmanager
    def blame(self, location: Location) -> Iterator[None]:
        """A SpecError raised inside that names no file is pointed at `location` in this one."""
        try:
            yield
        except SpecError as error:
            if error.file is None:
                error.file, error.line = str(self.path), self.line(location)
            raise


def load_yaml(path: Path) -> Document:
    """Read a YAML file; SpecError with file and line if it is missing, unreadable, or not strict YAML."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}", hint="check the path", file=path) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"is not UTF-8 text (byte {error.start})", hint="save it as UTF-8", file=path) from None
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problem = error.problem or error.context
        raise SpecError(f"is not YAML: {problem}", hint=_hint(text, line), file=path, line=line) from None
    except YAMLError as error:
        raise SpecError(f"is not YAML: {error}", file=path) from None
    if root is None:
        raise SpecError("is empty", hint="see docs/campaign.md for what belongs into it", file=path)
    lines: dict[Location, int] = {(): root.start_mark.line + 1}
    return Document(path, _construct(path, root, (), lines), lines)


def _hint(text: str, line: int | None) -> str:
    rows = text.splitlines()
    if line is not None and line <= len(rows) and "\t" in rows[line - 1]:
        return "indent with spaces, not with a tab"
    return "check indentation, colons and brackets at that line"


def _construct(path: Path, node: Node, location: Location, lines: dict[Location, int]) -> Any:
    line = node.start_mark.line + 1
    if not str(node.tag).startswith("tag:yaml.org,2002:"):
        raise SpecError(f"the tag {node.tag} has no meaning here", hint="leave it out", file=path, line=line)
    if isinstance(node, MappingNode):
        return _mapping(path, node, location, lines)
    if isinstance(node, SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines[*location, index] = item.start_mark.line + 1
            items.append(_construct(path, item, (*location, index), lines))
        return tuple(items)
    assert isinstance(node, ScalarNode)
    return _scalar(node)


def _mapping(path: Path, node: MappingNode, location: Location, lines: dict[Location, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            raise SpecError("a key must be a word", file=path, line=line)
        key = str(key_node.value)
        if key in found:
            first = lines[*location, key]
            raise SpecError(
                f"the key {key!r} stands here and on line {first}",
                hint="keep one of them: the other would be lost silently",
                file=path,
                line=line,
            )
        lines[*location, key] = line
        found[key] = _construct(path, value_node, (*location, key), lines)
    return found


def _scalar(node: ScalarNode) -> Any:
    text = str(node.value)
    if node.style == ">":
        text = text.replace("\a", "")  # the library's mark of where a line was folded
    if node.style is not None:  # quoted or a block: text, whatever it looks like
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED_INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _INFINITE.get(text.lower(), text)
