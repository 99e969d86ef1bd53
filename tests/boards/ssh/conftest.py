"""Simulated boards: a real sshd on loopback, and as root boards with a cable of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.simulated.ssh_board import SshBoard, missing
from drivers.simulated.ssh_network import SimulatedNetwork
from harness.boards.ssh.transport import SshTransport

MakeBoard = Callable[..., SshBoard]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's home, with .ssh/config."""
    return tmp_path_factory.mktemp("client")


@pytest.fixture(scope="module")
def make_board(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[MakeBoard]:
    """Starts simulated boards that live as long as the module's tests."""
    if lacking := missing():
        pytest.skip(f"{lacking} is not installed")
    boards: list[SshBoard] = []

    def make(name: str = "pi", **options: object) -> SshBoard:
        board = SshBoard(tmp_path_factory.mktemp(name) / "board", name, client_home=home, **options)  # type: ignore[arg-type]
        boards.append(board)
        board.start_sshd()
        return board

    yield make
    for board in boards:
        board.power_off()


@pytest.fixture(scope="module")
def board(make_board: MakeBoard) -> SshBoard:
    return make_board("pi")


@pytest.fixture(scope="module")
def network() -> Iterator[SimulatedNetwork]:
    """A network namespace, where there is root."""
    if lacking := missing(networks=True):
        pytest.skip(f"{lacking} is missing")
    with SimulatedNetwork() as made:
        yield made


@pytest.fixture
def connect() -> Iterator[Callable[..., SshTransport]]:
    """Transports to boards, closed in the end; no thread of theirs may be left then."""
    opened: list[SshTransport] = []
    before = set(threading.enumerate())

    def make(board: SshBoard, address: str | None = None, **options: object) -> SshTransport:
        transport = SshTransport(address or board.name, board=board.name, config=board.config, **options)  # type: ignore[arg-type]
        opened.append(transport)
        return transport

    yield make
    for transport in opened:
        transport.close()
    assert not {thread.name for thread in threading.enumerate() if thread not in before}


@pytest.fixture
def pi(board: SshBoard, connect: Callable[..., SshTransport]) -> SshTransport:
    return connect(board)
