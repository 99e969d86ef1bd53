"""The machine the harness runs on, as a board: reached by subprocesses, through the port that any board has."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.boards.board import TransportBoard
from harness.boards.remote_agent import AgentHost
from harness.boards.state.board_state import BoardState
from harness.boards.state.files import LocalFiles
from harness.boards.telemetry import start_telemetry
from harness.core.errors import DeviceError, TransientError
from harness.core.ports import BoardFiles, Completed, LineStream, TelemetrySource
from harness.core.spec import BoardSpec, RunSpec
from harness.io.digest import sha256_of
from harness.models.prepared import PreparedModel

# Starts "$@" in a session of its own with its output in the file $0, and prints its pid.
_DETACH = 'if command -v setsid >/dev/null; then setsid "$@"; else nohup "$@"; fi </dev/null >>"$0" 2>&1 & echo $!'


class LocalTransport:
    """Transport of the local machine: commands are subprocesses, files are copied and verified."""

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        try:
            done = subprocess.run(
                list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"command {argv[0]!r} did not end within {timeout_s:g} s") from error
        except OSError as error:
            raise DeviceError(f"command {argv[0]!r} cannot be run here: {error.strerror}") from error
        return Completed(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    def put(self, local: Path, remote: str) -> None:
        target = Path(remote)
        wanted = sha256_of(local)
        if target.is_file() and target.stat().st_size == local.stat().st_size and sha256_of(target) == wanted:
            return
        self._copy(local, target, wanted)

    def get(self, remote: str, local: Path) -> None:
        self._copy(Path(remote), local, sha256_of(Path(remote)))

    @staticmethod
    def _copy(source: Path, target: Path, wanted: str) -> None:
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, part)
            if sha256_of(part) != wanted:
                raise TransientError(f"{target} arrived damaged: its SHA-256 is not that of {source}")
            part.replace(target)
        except OSError as error:
            raise DeviceError(
                f"{source} cannot be copied to {target}: {error.strerror}", hint=f"df -h {target.parent}"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def spawn(self, argv: Sequence[str], *, log: str, env: Mapping[str, str]) -> int:
        assignments = [f"{name}={value}" for name, value in env.items()]
        command = ["sh", "-c", _DETACH, log, *(["env", *assignments] if assignments else []), *argv]
        done = self.run(command, timeout_s=10.0)
        if done.status != 0 or not done.stdout.strip().isdigit():
            raise DeviceError(f"{argv[0]!r} cannot be started: {done.stderr.strip() or done.stdout.strip()}")
        return int(done.stdout)

    def stream(self, argv: Sequence[str]) -> LineStream:
        return ProcessLines(argv)

    def close(self) -> None:
        """Nothing is held open."""


class ProcessLines:
    """A LineStream over the pipes of a subprocess."""

    def __init__(self, argv: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                bufsize=0, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise DeviceError(f"command {argv[0]!r} cannot be run here: {error.strerror}") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._buffer = bytearray()
        self._searched = 0

    def write_line(self, line: str) -> None:
        try:
            self._to.write(line.encode() + b"\n")
        except (OSError, ValueError) as error:
            raise TransientError(f"the link to the agent is closed: {error}") from error

    def read_line(self, timeout_s: float) -> str:
        until = time.monotonic() + timeout_s
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if not select.select([self._from], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TransientError(f"the agent did not answer within {timeout_s:g} s")
            data = os.read(self._from.fileno(), 1 << 16)
            if not data:
                raise TransientError("the link to the agent ended")
            self._buffer += data
        line = self._buffer[:end].decode("utf-8", "replace")
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._to.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()


def default_directory(board: str) -> Path:
    """`<tmp>/joulebench-<uid>/<board>`, mode 700; DeviceError if it belongs to somebody else.

    <tmp> is $TMPDIR, else /var/tmp: models of hundreds of megabytes do not belong into a /tmp in memory.
    """
    roomy = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
    top = Path(os.environ.get("TMPDIR") or roomy) / f"joulebench-{os.getuid()}"
    top.mkdir(mode=0o700, exist_ok=True)
    if top.is_symlink() or top.stat().st_uid != os.getuid():
        raise DeviceError(f"{top} belongs to another user", hint="set TMPDIR to a directory of your own")
    return top / re.sub(r"[^A-Za-z0-9_.-]", "_", board)


class LocalBoard(TransportBoard):
    """This machine as a board.

    `models` turns a RunSpec into prepared files (harness.models.prepare_model in production);
    `directory`: where agents, their results and deployed files live; `root`: prefix of all small files of the
    board's state (tests give a fake tree); `python`: interpreter of the agent, default this one;
    `save_optimised`: keep the graph that the runtime executes (BoardSession.optimised_model).
    """

    def __init__(
        self,
        name: str,
        models: Callable[[RunSpec], PreparedModel],
        *,
        directory: Path | None = None,
        root: Path = Path("/"),
        python: str | None = None,
        save_optimised: bool = False,
    ) -> None:
        folder = directory or default_directory(name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        transport = LocalTransport()
        agents = AgentHost(
            transport, str(folder), models, board=name, python=python or sys.executable, save_optimised=save_optimised
        )
        state = BoardState(LocalFiles(root), journal_path=str(folder.absolute() / "restore.json"), board=name)
        super().__init__(name, transport, open_agents=lambda: agents, open_state=lambda: state)
        self._root = root

    @property
    def files(self) -> BoardFiles:
        """Small files of this machine, as its samplers see them."""
        return LocalFiles()

    def start_telemetry(self, board: BoardSpec, period_s: float, *, lease_s: float) -> TelemetrySource | None:
        """What the machine tells of itself, read by a sampler; None if no file of it tells anything."""
        return self.telemetry_below(self._root, board, period_s, lease_s=lease_s)

    def telemetry_below(
        self, root: Path, board: BoardSpec, period_s: float, *, lease_s: float
    ) -> TelemetrySource | None:
        """The same of another tree of files on this machine (a simulated board's)."""
        prefix = str(root.absolute()).rstrip("/")
        files = LocalFiles(root)
        return start_telemetry(
            files,
            lambda plan: self.start_sampler(plan, lease_s=lease_s),
            board,
            period_s,
            clock=self.clock,
            prefix=prefix,
        )
