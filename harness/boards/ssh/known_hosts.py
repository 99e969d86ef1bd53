"""known_hosts(5), read by ourselves: a line that is unknown, revoked or hashed must neither crash nor be forgotten.

paramiko's reader fails on `@revoked` and `@cert-authority` lines and has no notion of a revoked key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.boards.ssh.route import SSH_PORT, Hop
from harness.core.errors import DeviceError


def fingerprint(blob: bytes) -> str:
    """As ssh(1) prints it: `SHA256:` and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class HostKey:
    """A public host key as it goes over the wire."""

    kind: str
    blob: bytes

    @property
    def base64(self) -> str:
        return base64.b64encode(self.blob).decode()

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.blob)

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


@dataclass(frozen=True)
class KnownKey:
    """A line of a known_hosts file. `marker`: "", "revoked" or "cert-authority"."""

    names: str
    key: HostKey
    marker: str
    file: Path
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def names_host(self, name: str) -> bool:
        """Whether the line speaks of `name` (`host` or `[host]:port`): hashed, or by patterns as ssh(1) has them."""
        if self.names.startswith("|1|"):
            return _hashed_is(self.names, name)
        found = False
        for pattern in self.names.split(","):
            if re.fullmatch(_expression(pattern.lstrip("!")), name.lower()):
                if pattern.startswith("!"):
                    return False
                found = True
        return found


def read_known_hosts(files: Sequence[Path]) -> list[KnownKey]:
    """Every line that can be understood; missing files and other lines are passed over, as ssh(1) does."""
    return [entry for path in files for entry in _entries(path)]


def _entries(path: Path) -> Iterator[KnownKey]:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        words = line.split()
        marker = words.pop(0)[1:].lower() if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#"):
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        yield KnownKey(words[0], HostKey(words[1], blob), marker, path, number)


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern.lower())


def _hashed_is(hashed: str, name: str) -> bool:
    try:
        _, _, salt, digest = hashed.split("|")
        wanted = base64.b64decode(digest)
        return hmac.compare_digest(hmac.digest(base64.b64decode(salt), name.lower().encode(), "sha1"), wanted)
    except (binascii.Error, ValueError):
        return False


def hashed_name(name: str) -> str:
    """`name` as `HashKnownHosts yes` writes it."""
    salt = secrets.token_bytes(20)
    digest = hmac.digest(salt, name.lower().encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


class KnownHosts:
    """What is known about one machine's host keys."""

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        entries = read_known_hosts(hop.known_hosts)
        self.keys = [entry for entry in entries if not entry.marker and entry.names_host(hop.known_name)]
        self._revoked = [e for e in entries if e.marker == "revoked" and self._is_named(e)]
        self._authorities = [e for e in entries if e.marker == "cert-authority" and self._is_named(e)]
        if not self.keys and hop.port != SSH_PORT:  # ssh(1) falls back to the bare name, for a key that is right
            self._bare = [e for e in entries if not e.marker and e.names_host(hop.known_as)]
        else:
            self._bare = []

    def _is_named(self, entry: KnownKey) -> bool:
        return entry.names_host(self._hop.known_name) or entry.names_host(self._hop.known_as)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Key types on file: what to ask the server for."""
        return tuple(dict.fromkeys(entry.key.kind for entry in (*self.keys, *self._bare)))

    def has(self, shown: HostKey) -> bool:
        """Whether this very key is on file for the machine."""
        return any(entry.key.blob == shown.blob for entry in (*self.keys, *self._bare))

    def check_revoked(self, shown: HostKey, *, board: str) -> None:
        for entry in self._revoked:
            if entry.key.blob == shown.blob:
                raise DeviceError(
                    f"board {board}: {self._hop.known_name} shows a host key that is revoked in {entry.where}: {shown}",
                    hint="somebody may be in between, or the board was never given another key (ssh-keygen -A)",
                )

    def verify(self, shown: HostKey, *, board: str) -> None:
        """DeviceError unless the key on file for this machine is the one it shows."""
        hop = self._hop
        self.check_revoked(shown, board=board)
        if self.has(shown):
            return
        if self.keys:
            other = next((e for e in self.keys if e.key.kind == shown.kind), self.keys[0])
            raise DeviceError(
                f"board {board}: the host key of {hop.known_name} is not the known one: "
                f"it shows {shown}, on file is {other.key} ({other.where})",
                hint=f"if the board was installed anew: ssh-keygen -R '{hop.known_name}' -f {other.file}, "
                f"then joulebench boards trust {hop.name}; else somebody is in between",
            )
        aside = [f"; {a.where} names a certificate authority, which is not supported" for a in self._authorities]
        raise DeviceError(
            f"board {board}: the host key of {hop.known_name} is not known ({shown})" + "".join(aside[:1]),
            hint=f"joulebench boards trust {hop.name}",
        )
