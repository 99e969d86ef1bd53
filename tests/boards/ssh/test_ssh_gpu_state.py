"""GPUs of a board behind a real sshd: set and read there by its own nvidia-smi, put back by a host that comes later."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import GpuSpec, NvidiaMachine
from drivers.simulated.ssh_board import SshBoard
from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.ssh.transport import SshTransport
from harness.boards.state.board_state import BoardState
from harness.boards.state.files import AgentFiles
from harness.core.spec import BoardSpec, GpuSettings

pytestmark = pytest.mark.skipif(missing() != "", reason=f"needs {missing()}")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NvidiaMachine]:
    made = NvidiaMachine(tmp_path_factory.mktemp("gpus"), [GpuSpec("a100")], seed=3)
    made.state.smi_first_ms = 0
    made.advance(1.0)
    made.gpus[0].now.settings.persistence = 0
    yield made
    made.close()


@pytest.fixture(scope="module")
def board(make_board: Callable[..., SshBoard], machine: NvidiaMachine) -> SshBoard:
    path = f"{machine.program.parent}:{os.environ['PATH']}"
    return make_board("gpus", environment={"PATH": path})


def in_force(machine: NvidiaMachine) -> tuple[int, int, int]:
    now = machine.gpus[0].now.settings
    return int(now.persistence), int(now.lock_min), int(now.limit_mw)


def test_a_later_host_puts_back_what_a_dead_one_set(
    board: SshBoard, machine: NvidiaMachine, connect: Callable[..., SshTransport], tmp_path: Path
) -> None:
    script = str(board.home / "agent.pyz")

    def host() -> BoardState:
        transport = connect(board)
        transport.put(agent_file(), script)
        agent = AgentCommand(transport, board="gpus", python=sys.executable, script=script)
        return BoardState(AgentFiles(agent), journal_path=f"{board.home}/restore.json", board="gpus")

    before = in_force(machine)
    said = host().configure(
        BoardSpec("gpus", gpu=GpuSettings(persistence=True, clocks_mhz=(1110, 1110), power_limit_w=300.0))
    )
    assert in_force(machine) == (1, 1110, 300_000)
    assert said["gpu"]["gpus"][0]["power_limit_w"] == 300.0
    restored = host().restore()
    assert in_force(machine) == before
    assert len(restored) == 3
