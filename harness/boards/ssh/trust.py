"""Getting to know a board: fetch its host key, show it to the user, write it to known_hosts if they say so."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.boards.ssh.connection import Connection, Wire, end_transports, host_key_of, negotiate, through
from harness.boards.ssh.known_hosts import HostKey, KnownHosts, hashed_name
from harness.boards.ssh.route import Hop, find_route
from harness.core.errors import DeviceError


@dataclass(frozen=True)
class Shown:
    """The host key that a machine shows. `known`: the very key is on file already."""

    hop: Hop
    key: HostKey
    known: bool


def fetch_host_key(address: str, *, board: str, config: Path | None = None) -> Shown:
    """Ask the machine for its host key; nothing else is said to it. Jump hosts on the way must be trusted already.

    Errors: DeviceError if another key is on file for it or this one is revoked; TransientError if it is not reached.
    """
    *before, hop = find_route(address, config)
    transports: list[Any] = []
    with ExitStack() as opened:
        wire = None
        if before:
            connection = opened.enter_context(closing(Connection(before, board=board, target=before[-1].name)))
            link = through(connection.transport, hop, board=board)
        else:
            wire = opened.enter_context(closing(Wire(hop, board=board)))
            link = wire.socket
        opened.callback(end_transports, transports)
        key = host_key_of(negotiate(link, hop, transports, board=board, wire=wire))
    on_file = KnownHosts(hop)
    on_file.check_revoked(key, board=board)
    known = on_file.has(key)
    if on_file.keys and not known:
        on_file.verify(key, board=board)  # says what is on file instead
    return Shown(hop, key, known)


def remember(shown: Shown) -> Path:
    """Append the key to the user's known_hosts (made if missing, for the user alone); nothing if it is there.

    The file that was written. DeviceError if it cannot be.
    """
    file = shown.hop.known_hosts[0]
    if shown.known:
        return file
    name = hashed_name(shown.hop.known_name) if shown.hop.hash_names else shown.hop.known_name
    line = f"{name} {shown.key.kind} {shown.key.base64}\n"
    try:
        file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab+") as out:
            size = out.seek(0, os.SEEK_END)
            unfinished = size > 0 and os.pread(out.fileno(), 1, size - 1) != b"\n"
            out.write((b"\n" if unfinished else b"") + line.encode())
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise DeviceError(f"{file} cannot be written: {error.strerror}", hint=f"ls -ld {file.parent} {file}") from error
    return file
