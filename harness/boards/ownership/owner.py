"""Who uses a board: a process named for ever, and whether it still lives as far as this machine can tell."""

from __future__ import annotations

import getpass
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.boards.agent.lease import boot_id, same_owner
from harness.boards.agent.life import identity

Owner = Mapping[str, Any]

ALIVE, DEAD, ELSEWHERE = "alive", "dead", "elsewhere"

__all__ = ["ALIVE", "DEAD", "ELSEWHERE", "Owner", "fate_of", "owner_record", "same_owner", "words"]


def owner_record() -> str:
    """This process as JSON: node and user for people; pid, boot id, start ticks and pid namespace to know it again."""
    return json.dumps(
        {
            "node": platform.node(),
            "user": getpass.getuser(),
            "pid": os.getpid(),
            "identity": identity(os.getpid()),
            "pid_namespace": _pid_namespace(),
        }
    )


def fate_of(owner: Owner | None) -> str:
    """Does the owner of an agent or lease live? ELSEWHERE: only its own machine (or container) could tell.

    An agent without an owner belongs to nobody: DEAD.
    """
    if not owner or not isinstance(owner.get("identity"), list):
        return DEAD
    if owner["identity"][0] != boot_id() or owner.get("pid_namespace") != _pid_namespace():
        return ELSEWHERE
    return ALIVE if identity(owner["pid"]) == owner["identity"] else DEAD


def words(owner: Owner) -> str:
    """`process PID of USER on NODE`."""
    user = f" of {owner['user']}" if owner.get("user") else ""
    return f"process {owner.get('pid')}{user} on {owner.get('node')}"


def _pid_namespace() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
