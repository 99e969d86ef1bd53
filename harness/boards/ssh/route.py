"""From an address, as ssh(1) takes it, and the user's ssh_config to the machines that must be passed to get there."""

from __future__ import annotations

import glob
import os
import pwd
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko

from harness.core.errors import SpecError

SSH_PORT = 22
CONNECT_S = 10.0
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_DEFAULT_KNOWN = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_DEFAULT_GLOBAL_KNOWN = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_MOST_HOPS = 8
_MATCH_S = 10.0
_NESTED = 16  # as deep as ssh(1) follows Include


@dataclass(frozen=True)
class Hop:
    """One machine on the way. `name`: as it was asked for; `known_as`: its name in known_hosts (HostKeyAlias).

    `connect_timeout_s`: limit of connecting, and then of banner and key exchange (ConnectTimeout, as in ssh(1));
    `agent`: socket of the key agent, or None; `proxy_command`: what connects to it in place of TCP.
    """

    name: str
    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...]
    identities_only: bool
    agent: str | None
    known_hosts: tuple[Path, ...]
    known_as: str
    connect_timeout_s: float
    proxy_command: str | None
    hash_names: bool

    @property
    def known_name(self) -> str:
        """As a line of known_hosts begins."""
        return self.known_as if self.port == SSH_PORT else f"[{self.known_as}]:{self.port}"


def split_address(address: str) -> tuple[str | None, str, int | None]:
    """(user, host, port) of `host`, `user@host`, `user@host:port`, `ssh://user@host:port` or `[v6]:port`."""
    rest = address.strip().removeprefix("ssh://").rstrip("/")
    user, _, rest = rest.rpartition("@")
    match = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?|([^\s:/]+)(?::(\d+))?|([0-9a-fA-F:.]+(?:%\w+)?)", rest)
    host = match and (match[1] or match[3] or match[5])
    if not match or not host or host.startswith("-") or user.startswith("-"):
        raise SpecError(f"the address {address!r} is not one", hint="write host, user@host, user@host:port or an alias")
    port = int(match[2] or match[4] or 0)
    if port > 65535:
        raise SpecError(f"the address {address!r} has the port {port}, beyond 65535")
    return user or None, host, port or None


def find_route(address: str, config: Path | None = None) -> tuple[Hop, ...]:
    """The machines to pass, the last one being the board. `config`: ssh_config to read in place of the user's and the
    system's. Errors: SpecError for an address or a file that cannot be understood."""
    return _route(address, _Configuration(config), jumps=None, depth=0)


def _route(address: str, configuration: _Configuration, *, jumps: Sequence[str] | None, depth: int) -> tuple[Hop, ...]:
    if depth > _MOST_HOPS:
        raise SpecError(f"more than {_MOST_HOPS} jump hosts lead to {address}", hint="is there a loop in ProxyJump?")
    user, name, port = split_address(address)
    options = configuration.lookup(name)
    if jumps is None:
        listed = str(options.get("proxyjump") or "none")
        jumps = [] if listed.lower() == "none" else [jump.strip() for jump in listed.split(",")]
    hop = _hop(name, user, port, options, through=bool(jumps))
    if not jumps:
        return (hop,)
    return (*_route(jumps[-1], configuration, jumps=jumps[:-1] or None, depth=depth + 1), hop)


def _hop(name: str, user: str | None, port: int | None, options: dict[str, Any], *, through: bool) -> Hop:
    host = str(options["hostname"])
    port = port or int(options.get("port", SSH_PORT))
    user = user or str(options.get("user") or pwd.getpwuid(os.getuid()).pw_name)

    def words(key: str, default: str) -> tuple[Path, ...]:
        text = str(options.get(key, default)).replace("%d", str(Path.home())).replace("%h", host).replace("%r", user)
        return tuple(Path(word.strip('"')).expanduser() for word in text.split() if word != "none")

    keys = tuple(Path(str(path)).expanduser() for path in options.get("identityfile", ()) if str(path) != "none")
    command = options.get("proxycommand")
    return Hop(
        name=name,
        host=host,
        port=port,
        user=user,
        identity_files=keys or tuple(path for key in _DEFAULT_KEYS if (path := Path.home() / ".ssh" / key).exists()),
        identities_only=_yes(options.get("identitiesonly")),
        agent=_agent(options.get("identityagent")),
        known_hosts=words("userknownhostsfile", _DEFAULT_KNOWN) + words("globalknownhostsfile", _DEFAULT_GLOBAL_KNOWN),
        known_as=str(options.get("hostkeyalias") or host).lower(),
        connect_timeout_s=float(options.get("connecttimeout") or CONNECT_S),
        proxy_command=None if through or not command else str(command),
        hash_names=_yes(options.get("hashknownhosts")),
    )


def _yes(value: object) -> bool:
    return str(value).lower() in ("yes", "true")


def _agent(option: str | None) -> str | None:
    if option is None or option == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if option.lower() == "none":
        return None
    return os.environ.get(option[1:]) if option.startswith("$") else str(Path(option).expanduser())


class _Shell:
    """In place of the package `invoke` where paramiko runs the command of a `Match exec`: that one reads our input."""

    @staticmethod
    def run(command: str, **_: object) -> SimpleNamespace:
        done = subprocess.run(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=_MATCH_S, check=False
        )
        return SimpleNamespace(ok=done.returncode == 0)


paramiko.config.invoke = _Shell


class _Configuration:
    """ssh_config(5) as paramiko reads it, with Include, which it does not know."""

    def __init__(self, config: Path | None) -> None:
        files = [config] if config is not None else [Path.home() / ".ssh" / "config", SYSTEM_CONFIG]
        self._files = [path for path in files if path.exists()]
        if config is not None and not self._files:
            raise SpecError(f"there is no ssh configuration {config}")
        self._parsed = []
        for path in self._files:
            try:
                self._parsed.append(paramiko.SSHConfig.from_text("\n".join(_included(path))))
            except (paramiko.ConfigParseError, OSError, UnicodeDecodeError) as error:
                raise SpecError(f"{path} cannot be read: {error}", hint=f"ssh -G -F {path} somewhere") from error

    def lookup(self, name: str) -> dict[str, Any]:
        """Options in force for `name`; the first file that sets one wins."""
        options: dict[str, Any] = {}
        for parsed in self._parsed:
            try:
                found = parsed.lookup(name)
            except (paramiko.SSHException, OSError, subprocess.SubprocessError) as error:
                files = " or ".join(map(str, self._files))
                raise SpecError(f"{files}: what applies to {name} cannot be worked out: {error}") from error
            if found.get("hostname") == name:
                found.pop("hostname", None)
            options = {**found, **options}
        return {"hostname": name, **options}


def _included(path: Path, depth: int = 0) -> Iterator[str]:
    """The lines of an ssh_config with its Includes in place; a block goes on after an Include within it."""
    block = "Host *"
    for line in path.read_text("utf-8").splitlines():
        match = re.match(r"\s*(\w+)(?:\s*=\s*|\s+)(.*\S)", line)
        keyword = match[1].lower() if match else ""
        if match and keyword == "include" and depth < _NESTED:
            for pattern in match[2].split():
                full = Path(pattern.strip('"')).expanduser()
                base = SYSTEM_CONFIG.parent if path.is_relative_to("/etc") else Path.home() / ".ssh"
                for name in sorted(glob.glob(str(base / full))):  # noqa: PTH207 a pattern with folders
                    # Within a block, what the file says before a Host line of its own belongs to that block.
                    yield from _included(Path(name), depth + 1)
                    yield block
            continue
        if keyword in ("host", "match"):
            block = line
        yield line
