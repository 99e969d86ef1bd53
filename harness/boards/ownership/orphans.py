"""Agents that nobody owns any more are ended before they heat the next standby; those of others are spared.

The board lists its agents with their owners. Whether an owner on this machine lives is judged here; an owner on
another machine is believed as long as the board's lease is his.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.boards.agent_command import AgentCommand
from harness.boards.ownership.owner import ALIVE, ELSEWHERE, Owner, fate_of, owner_record, same_owner, words
from harness.core.errors import TransientError


def end_orphans(agent: AgentCommand, root: str) -> tuple[int, ...]:
    """Pids below `root` that were ended: agents whose owner is gone or is this process, and commands they left.

    TransientError when another live process uses the board: then nothing is ended.
    """
    caller = json.loads(owner_record())
    listing = agent.ask("agents", root)
    others = [found for found in listing["agents"] if is_in_use(found["owner"], listing["holder"], caller)]
    if others:
        raise _in_use(agent.board, others[0])
    if not listing["agents"] and not listing["left"] and not listing["stale"]:
        return ()
    return _end(agent, root, listing["agents"])


def is_in_use(owner: Owner | None, holder: Mapping[str, Any] | None, caller: Owner) -> bool:
    """Does somebody else still want the agent of `owner`, with the board's lease being `holder`'s?"""
    if same_owner(owner, caller):
        return False
    fate = fate_of(owner)
    return fate == ALIVE or (fate == ELSEWHERE and holder is not None and bool(same_owner(owner, holder["owner"])))


def _end(agent: AgentCommand, root: str, agents: list[dict[str, Any]]) -> tuple[int, ...]:
    only = [[found["pid"], found["identity"]] for found in agents]
    report = agent.ask("end", root, "--only", json.dumps(only))
    return (*report["ended"], *report["left"])


def _in_use(board: str, found: Mapping[str, Any]) -> TransientError:
    owner = found["owner"]
    end = f", or end it: kill {owner['pid']}" if fate_of(owner) == ALIVE else f" on {owner['node']}"
    return TransientError(
        f"board {board} is in use by {words(owner)} (its agent is process {found['pid']} on the board)",
        hint=f"wait for it to end{end}",
    )
