"""Small files of a board as the port BoardFiles: of this machine directly, of any other through the agent file.

Both use the same functions (harness.boards.agent.files), so what holds for one holds for the other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.boards.agent import files as on_board
from harness.boards.agent.basics import AgentError
from harness.boards.agent_command import AgentCommand
from harness.core.errors import DeviceError, SpecError

LONGEST_REQUEST = 90_000  # one argument of a command may have 128 KiB on Linux


class LocalFiles:
    """Files below `root` (tests give a tree of their own; paths are as the board would see them)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = str(root)

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        """All readable regular files of at most 1 MiB that match. `agent:QUESTION` asks for what is in no file."""
        found: dict[str, bytes] = on_board.read_files(patterns, self._root)
        return found

    def write(self, path: str, data: bytes) -> None:
        self._do(on_board.write_file, path, data)

    def keep(self, path: str, data: bytes) -> None:
        self._do(on_board.keep_file, path, data)

    def remove(self, path: str) -> None:
        self._do(on_board.remove_file, path)

    def _do(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments, self._root)
        except AgentError as error:
            raise DeviceError(error.message, hint=error.hint) from error


class AgentFiles:
    """Files of a board behind a transport; each call is one round trip. `root`: prefix on the board, for tests."""

    def __init__(self, agent: AgentCommand, *, root: str = "/") -> None:
        self._agent, self._root = agent, root

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        """All readable regular files of at most 1 MiB that match. `agent:QUESTION` asks for what is in no file."""
        found: dict[str, bytes] = {}
        for part in _in_parts(patterns):
            for path, data in self._request({"read": part})["files"].items():
                found[path] = base64.b64decode(data["base64"]) if isinstance(data, dict) else data.encode()
        return found

    def write(self, path: str, data: bytes) -> None:
        self._request({"write": path, "data": base64.b64encode(data).decode("ascii")})

    def keep(self, path: str, data: bytes) -> None:
        self._request({"keep": path, "data": base64.b64encode(data).decode("ascii")})

    def remove(self, path: str) -> None:
        self._request({"remove": path})

    def _request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(request)
        if len(text) > LONGEST_REQUEST:
            _too_long(request, len(text))
        return self._agent.ask("files", text, "--root", self._root)


def _in_parts(patterns: Sequence[str]) -> list[list[str]]:
    """The patterns in as few requests as their length allows."""
    parts: list[list[str]] = [[]]
    length = 0
    for pattern in patterns:
        length += len(json.dumps(pattern)) + 2
        if length > LONGEST_REQUEST - 100 and parts[-1]:
            parts.append([])
            length = len(json.dumps(pattern)) + 2
        parts[-1].append(pattern)
    return parts


def _too_long(request: Mapping[str, Any], length: int) -> NoReturn:
    path = request.get("keep") or request.get("write") or "a pattern"
    raise SpecError(
        f"{path}: {length} bytes are too many for one request, at most {LONGEST_REQUEST}",
        hint="small files only; larger ones are put by the transport",
    )
