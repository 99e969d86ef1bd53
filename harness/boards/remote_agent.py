"""Agents on a board, whatever the transport: deploy, start, find again, end."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.board_python import check_module, check_python, require_python
from harness.boards.link import AgentLink
from harness.boards.ownership.orphans import end_orphans
from harness.boards.ownership.owner import owner_record
from harness.boards.sampling import AgentSampler
from harness.boards.session import BoardSession
from harness.core.clock import board_clock
from harness.core.errors import BenchError, DeviceError
from harness.core.layers import Kernel
from harness.core.ports import CheckItem, LineStream, SamplerPlan, Transport
from harness.core.spec import ProtocolSpec, RunSpec
from harness.models.prepared import PreparedModel

COMMAND_S = 30.0
ATTACH_WAIT_S = 10.0
LOCAL_PATIENCE_S = 5.0


def lease_s(protocol: ProtocolSpec) -> float:
    """How long an agent of this protocol may go unspoken to: any pause of a healthy run fits, twice."""
    brackets = 2 * protocol.standby_s + 2 * protocol.settle_max_s
    return 300.0 + 2.0 * (brackets + protocol.warm_up_s + protocol.measure_s)


@dataclass(frozen=True)
class _Launched:
    """An agent process just started: a link to it, the word by which it is known, and how to end it for good."""

    link: AgentLink
    token: str
    end: Callable[[], None]


class AgentHost:
    """Deploys the agent below `root` on the board and starts sessions.

    `models` prepares a RunSpec's model files on the host; `root`: absolute directory on the board;
    `python`: its interpreter; `remote`: the link may break, so it is opened again until the run's deadline;
    `save_optimised`: let the runtime save the graph it executes. Files go to
    `<root>/files` by content, each agent lives in `<root>/agents/<id>`.
    """

    def __init__(
        self,
        transport: Transport,
        root: str,
        models: Callable[[RunSpec], PreparedModel],
        *,
        board: str,
        python: str,
        save_optimised: bool = False,
        remote: bool = False,
    ) -> None:
        self._remote = remote
        self._save_optimised = save_optimised
        self._transport, self._models, self._board, self._python = transport, models, board, python
        self._root = PurePosixPath(root)
        self._agents = self._root / "agents"
        self._deployed: set[str] = set()
        self._pythons: set[str] = set()  # found to be there and new enough
        self.command = AgentCommand(transport, board=board, python=python, script=self._deploy_agent)
        self._sessions: list[BoardSession | AgentSampler] = []

    @property
    def root(self) -> str:
        """The harness's own directory on the board, absolute."""
        return str(self._root)

    def start(self, spec: RunSpec, start: int) -> BoardSession:
        """A new agent process with nothing loaded. Errors: DeviceError (pin, Python), TransientError."""
        extra: list[str] = []
        if spec.board.marker_pin:
            extra += ["--pin", spec.board.marker_pin]
        if spec.board.cpus:
            extra += ["--cpus", ",".join(str(cpu) for cpu in spec.board.cpus)]
        agent = self._launch(
            "serve", str(start), extra, lease_s=lease_s(spec.protocol), python=spec.board.python,
            env=dict(spec.board.environment),
        )  # fmt: skip
        session = BoardSession(
            agent.link, board=self._board, clock=board_clock(self._board), token=agent.token,
            load_job=self._load_job, on_close=agent.end, cut=self._transport.close if spec.protocol.dark else None,
            trace=self._trace,
        )  # fmt: skip
        try:
            session.hello()
        except BaseException:
            session.close()
            raise
        self._sessions.append(session)
        return session

    def start_sampler(self, plan: SamplerPlan, *, lease_s: float) -> AgentSampler:
        """A sampler process of its own, already sampling. Errors: SpecError (plan), DeviceError, TransientError."""
        extra = ["--plan", json.dumps(asdict(plan))]
        agent = self._launch("sample", "sampler", extra, lease_s=lease_s)
        sampler = AgentSampler(agent.link, plan, board=self._board, token=agent.token, on_close=agent.end)
        try:
            sampler.hello()
        except BaseException:
            sampler.close()
            raise
        self._sessions.append(sampler)
        return sampler

    def _launch(
        self, role: str, label: str, extra: Sequence[str], *, lease_s: float, python: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> _Launched:  # fmt: skip
        """A new agent process in the role `role`, detached, and a link to it."""
        python = python or self._python
        if python not in self._pythons:
            require_python(self._transport, python, board=self._board)
            self._pythons.add(python)
        script = self._deploy_agent()
        token = secrets.token_hex(8)
        directory = self._agents / f"{label}-{token}"
        self._command("mkdir", "-p", str(directory))
        argv = [
            python, "-u", script, role, "--dir", str(directory), "--token", token,
            "--owner", owner_record(), "--lease-s", repr(lease_s), *extra,
        ]  # fmt: skip
        log = str(directory / "agent.log")
        self._transport.spawn(argv, log=log, env=env or {})

        waits = iter((ATTACH_WAIT_S,))  # the first time it is still starting; later it is there or gone

        def connect() -> LineStream:
            attach = [python, "-u", script, "attach", str(directory), "--wait-s", repr(next(waits, 0.0))]
            return self._transport.stream(attach)

        patience_s = lease_s if self._remote else LOCAL_PATIENCE_S
        link = AgentLink(connect, board=self._board, last_words=lambda: self._tail(log), patience_s=patience_s)
        return _Launched(link, token, lambda: self._end(directory))

    def end_orphans(self) -> tuple[int, ...]:
        """Pids of agents below the root that were ended: their owner is gone, or is this process.

        TransientError when another live process uses the board.
        """
        self._deployed.clear()  # somebody may have cleaned up
        return end_orphans(self.command, str(self._root))

    def check(self, spec: RunSpec | None) -> tuple[CheckItem, ...]:
        """Can an agent run here: Python, the runtime, the directory, the marker pin."""
        python = (spec.board.python if spec else None) or self._python
        items = [check_python(self._transport, python), self._check_directory()]
        runtime = spec.runtime.name if spec else "onnxruntime"
        if runtime != "command":
            items.append(check_module(self._transport, python, runtime, board=self._board))
        if spec and spec.runtime.name == "command":
            items.append(self._check_program(spec.runtime.command[0] if spec.runtime.command else ""))
        if spec and spec.board.marker_pin:
            pin = spec.board.marker_pin
            there = self._transport.run(["test", "-w", pin], timeout_s=COMMAND_S).status == 0
            mend = "" if there else f"ls -l {pin}  # must exist and be writable"
            items.append(CheckItem("marker pin", there, pin if there else f"{pin} is not writable", mend))
        return tuple(items)

    def close(self) -> None:
        for session in self._sessions:
            session.close()
        self._sessions.clear()

    def _check_program(self, program: str) -> CheckItem:
        done = self._transport.run(["sh", "-c", 'command -v -- "$1"', "sh", program], timeout_s=COMMAND_S)
        ok = done.status == 0
        found = done.stdout.strip() if ok else f"{program!r} is not found"
        return CheckItem("command", ok, found, "" if ok else "give the command's absolute path on the board")

    def _check_directory(self) -> CheckItem:
        script = 'mkdir -p "$1" && test -w "$1" && df -Pk "$1" | tail -n 1'
        done = self._transport.run(["sh", "-c", script, "sh", str(self._root)], timeout_s=COMMAND_S)
        if done.status != 0:
            return CheckItem("directory", False, f"{self._root} is not writable", f"ls -ld {self._root}")
        free_mib = int(done.stdout.split()[3]) // 1024
        return CheckItem("directory", True, f"{self._root}, {free_mib} MiB free")

    def _load_job(self, spec: RunSpec) -> Mapping[str, Any]:
        prepared = self._models(spec)
        inputs = self._put(prepared.inputs_path, f"{prepared.inputs_sha256}.npz") if prepared.inputs_path else None
        return {
            "job": "load",
            "name": spec.model.name,
            "batch": spec.model.batch,
            "model": self._put(prepared.path, f"{prepared.sha256}{prepared.path.suffix}"),
            "inputs": inputs,
            "runtime": asdict(spec.runtime),
            "save_optimised": self._save_optimised,
            "memory_limit_mib": spec.board.memory_limit_mib,
        }

    def _trace(self, spec: RunSpec, kernels: Sequence[Kernel], graph: bytes) -> tuple[tuple[Kernel, ...], bytes]:
        from harness.models.source_nodes import trace_kernels  # needs onnx

        return trace_kernels(self._models(spec).path, kernels, graph)

    def _deploy_agent(self) -> str:
        return self._put(agent_file(), agent_file().name)

    def _put(self, local: Path, name: str) -> str:
        remote = str(self._root / "files" / name)
        if remote not in self._deployed:
            self._transport.put(local, remote)
            self._deployed.add(remote)
        return remote

    def _command(self, *argv: str) -> str:
        done = self._transport.run(argv, timeout_s=COMMAND_S)
        if done.status != 0:
            raise DeviceError(f"board {self._board}: {argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _tail(self, path: str) -> str:
        try:
            done = self._transport.run(["tail", "-c", "400", path], timeout_s=COMMAND_S)
        except BenchError:
            return ""
        return done.stdout.strip() if done.status == 0 else ""

    def _end(self, directory: PurePosixPath) -> None:
        """Make sure that the agent of `directory` is gone, then remove what it left."""
        with contextlib.suppress(BenchError):  # an agent that cannot be reached ends with its lease, or as an orphan
            self.command.ask("end", str(directory), "--remove")
