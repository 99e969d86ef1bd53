"""Tidying a board: what the harness left there goes, what somebody still uses stays."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from harness.boards.agent_command import AgentCommand
from harness.boards.ownership.lease import BoardLease, held
from harness.boards.ownership.orphans import is_in_use
from harness.boards.ownership.owner import ALIVE, fate_of, owner_record
from harness.core.errors import BenchError
from harness.core.ports import Transport

CLEAN_S = 120.0


@dataclass(frozen=True)
class CleanReport:
    """What `clean_board` did: bytes freed, paths removed, paths kept because they are in use, pids ended."""

    freed_bytes: int
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    ended: tuple[int, ...]


def clean_board(
    transport: Transport,
    root: str,
    *,
    python: str,
    agent_path: str | Callable[[], str],
    board: str = "",
    force: bool = False,
) -> CleanReport:
    """Remove deployed files, results of agents that are gone and the lease below `root` on the board.

    Agents that nobody owns are ended. Those of a live process are spared, with the files that they may need; settings
    still to be put back keep their journal. `force`: a holder on another machine loses its lease and its agents.
    TransientError naming the holder of the lease; DeviceError if the agent file cannot be run there.
    """
    agent = AgentCommand(transport, board=board or root, python=python, script=agent_path)
    lease = BoardLease(agent)
    lease.lease(2 * CLEAN_S, force=force and not _held_from_here(lease))
    try:
        return _clean(agent, root)
    except BenchError:
        with contextlib.suppress(BenchError):
            lease.release()
        raise


def _clean(agent: AgentCommand, root: str) -> CleanReport:
    caller = owner_record()
    listing = agent.ask("agents", root)
    only = [
        [found["pid"], found["identity"]]
        for found in listing["agents"]
        if not is_in_use(found["owner"], None, json.loads(caller))
    ]
    ended: tuple[int, ...] = ()
    if only or listing["left"]:
        report = agent.ask("end", root, "--only", json.dumps(only))
        ended = (*report["ended"], *report["left"])
    done = agent.ask("clean", root, "--owner", caller, timeout_s=CLEAN_S)
    if done["holder"] is not None:
        held(agent.board, done["holder"])
    return CleanReport(done["freed"], tuple(done["removed"]), tuple(done["kept"]), ended)


def _held_from_here(lease: BoardLease) -> bool:
    """A live process of this machine is never pushed aside: it can be ended by name."""
    holder = lease.holder()
    return holder is not None and fate_of(holder["owner"]) == ALIVE
