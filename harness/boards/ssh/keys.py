"""Proving who we are by the user's keys and key agent. No password is ever asked, kept or logged."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from harness.boards.ssh.known_hosts import fingerprint
from harness.boards.ssh.route import Hop
from harness.core.errors import DeviceError

AGENT_S = 20.0  # an agent may ask its user to confirm


@dataclass
class _Tried:
    """What was offered, for the message of a refusal."""

    offered: list[str] = field(default_factory=list)
    encrypted: list[Path] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)


def log_in(transport: Any, hop: Hop, *, board: str, target: str) -> None:
    """Authenticate a negotiated paramiko Transport. `target`: the board's address, for hints.

    Errors: DeviceError naming the keys that were refused; paramiko's own when the link is lost.
    """
    with contextlib.suppress(paramiko.BadAuthenticationType):
        if not transport.auth_none(hop.user):
            return  # a server that asks for nothing, such as one inside a VPN that has done so
    tried = _Tried()
    with _agent_keys(hop) as held:
        for label, key in _candidates(hop, held, tried):
            tried.offered.append(f"{label} {fingerprint(key.asbytes())}")
            try:
                remaining = transport.auth_publickey(hop.user, key)
            except paramiko.BadAuthenticationType as error:
                raise DeviceError(
                    f"board {board}: {hop.user}@{hop.host} takes no keys, only {', '.join(error.allowed_types)}",
                    hint="set PubkeyAuthentication yes in the board's sshd_config",
                ) from error
            except paramiko.AuthenticationException:
                continue
            except paramiko.SSHException as error:
                if transport.is_active():
                    tried.unusable.append(f"{label} ({error})")
                    continue  # the agent would not sign
                if len(tried.offered) > 1:
                    raise _refused(hop, tried, board=board, target=target, why=f"{error}") from error
                raise
            if not remaining:
                return
            raise DeviceError(
                f"board {board}: {hop.user}@{hop.host} asks for {', '.join(remaining)} besides a key",
                hint="joulebench has nobody to ask: allow this key alone in the board's sshd_config",
            )
    raise _refused(hop, tried, board=board, target=target)


def _refused(hop: Hop, tried: _Tried, *, board: str, target: str, why: str = "") -> DeviceError:
    offered = f"refused: {', '.join(tried.offered)}" if tried.offered else "there is no key to offer"
    notes = [f"encrypted and in no agent: {path}" for path in tried.encrypted] + tried.unusable
    message = f"board {board}: {hop.user}@{hop.host} does not let us in; {'; '.join([offered, *notes])}"
    if why:
        message += f"; the server gave up ({why})"
    if tried.encrypted:
        hint = f"ssh-add {tried.encrypted[0]}"
    elif why:
        hint = f"set IdentityFile and `IdentitiesOnly yes` for {hop.name} in ~/.ssh/config: fewer keys are offered then"
    elif not tried.offered:
        hint = f"ssh-keygen -t ed25519, then ssh-copy-id {target}"
    else:
        hint = f"ssh-copy-id {target}"
    return DeviceError(message, hint=hint)


def _candidates(hop: Hop, held: list[Any], tried: _Tried) -> Iterator[tuple[str, Any]]:
    """Keys in ssh(1)'s order: named ones that the agent holds, the agent's others, then files."""
    named = {path: _public(path) for path in hop.identity_files}
    in_agent = {key.asbytes(): key for key in held}
    blobs = [blob for blob in named.values() if blob in in_agent]
    for blob in blobs:
        yield "agent", in_agent[blob]
    if not hop.identities_only:
        for blob, key in in_agent.items():
            if blob not in blobs:
                yield "agent", key
    for path, blob in named.items():
        if blob in in_agent:
            continue
        key = _from_file(path, tried)
        if key is not None:
            yield str(path), key


def _public(path: Path) -> bytes | None:
    """The public half beside a key file."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return base64.b64decode(path.with_name(path.name.removesuffix(".pub") + ".pub").read_text("utf-8").split()[1])
    return None


def _from_file(path: Path, tried: _Tried) -> Any:
    try:
        return paramiko.PKey.from_path(path)
    except (TypeError, paramiko.PasswordRequiredException):
        tried.encrypted.append(path)
    except FileNotFoundError:
        tried.unusable.append(f"{path} does not exist")
    except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        tried.unusable.append(f"{path} cannot be used ({error})")
    return None


@contextlib.contextmanager
def _agent_keys(hop: Hop) -> Iterator[list[Any]]:
    """Keys of the user's agent; none if it does not answer."""
    if hop.agent is None:
        yield []
        return
    agent = paramiko.agent.AgentSSH()
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(AGENT_S)
        keys: list[Any] = []
        with contextlib.suppress(OSError, paramiko.SSHException):
            link.connect(hop.agent)
            agent._connect(link)
            keys = list(agent.get_keys())
        yield keys
