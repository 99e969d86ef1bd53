"""A board that is reached over SSH: the same board as any other, behind a link that may break.

Nothing is asked of the board before the first question, so that naming a board costs nothing and a board that cannot
be reached is one error where it is needed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from harness.boards.board import TransportBoard
from harness.boards.ownership.lease import BoardLease
from harness.boards.remote_agent import AgentHost
from harness.boards.ssh.transport import SshTransport
from harness.boards.state.board_state import BoardState
from harness.boards.state.files import AgentFiles
from harness.boards.telemetry import start_telemetry
from harness.core.errors import SpecError
from harness.core.ports import BoardFiles, TelemetrySource
from harness.core.spec import BoardSpec, RunSpec
from harness.models.prepared import PreparedModel

DEFAULT_PYTHON = "python3"


def board_directory(spec: BoardSpec, home: str) -> str:
    """Where the harness keeps its files on the board: absolute, below its user's `home` unless the spec says else."""
    given = spec.directory or "~/.cache/joulebench/" + re.sub(r"[^A-Za-z0-9_.-]", "_", spec.name)
    return home.rstrip("/") + given[1:] if given.startswith("~/") else given


class SshBoard(TransportBoard):
    """Board and LeasedBoard over SSH.

    `config`: ssh_config to read in place of the user's. SpecError without an address.
    """

    def __init__(
        self, spec: BoardSpec, models: Callable[[RunSpec], PreparedModel], *, config: Path | None = None
    ) -> None:
        if spec.address is None:
            raise SpecError(f"board {spec.name!r} has no address", hint="add `address: user@host` to its file")
        transport = SshTransport(spec.address, board=spec.name, config=config)

        def open_agents() -> AgentHost:
            root = board_directory(spec, transport.facts()["home"])
            python = spec.python or DEFAULT_PYTHON
            return AgentHost(transport, root, models, board=spec.name, python=python, remote=True)

        def open_state() -> BoardState:
            journal = f"{self.agents.root}/restore.json"
            return BoardState(self.files, journal_path=journal, board=spec.name)

        super().__init__(spec.name, transport, open_agents=open_agents, open_state=open_state)

    @functools.cached_property
    def files(self) -> BoardFiles:
        """Small files of the board, read there by the agent's program: one round trip a question."""
        return AgentFiles(self.agents.command)

    def start_telemetry(self, board: BoardSpec, period_s: float, *, lease_s: float) -> TelemetrySource | None:
        """What the board tells of itself, read by a sampler; None if no file of it tells anything."""
        return start_telemetry(
            self.files, lambda plan: self.start_sampler(plan, lease_s=lease_s), board, period_s, clock=self.clock
        )

    @functools.cached_property
    def _lease(self) -> BoardLease:
        return BoardLease(self.agents.command)

    def lease(self, seconds: float) -> None:
        """Take or renew this board for `seconds`; TransientError naming the holder while another one lives."""
        self._lease.lease(seconds)

    def release(self) -> None:
        self._lease.release()
