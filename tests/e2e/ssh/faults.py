"""What goes wrong with boards behind a network: each fault, how it is made, and what must come of it.

`expected`: "completed" (every run measured, after retries if need be), "spec", "device" or "transient" (the command
ends with one error of that type). `may_refuse`: a reason for which a measured run may be refused.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.simulated.ssh_board import SshBoard
from drivers.simulated.tcp_proxy import TcpProxy
from tests.e2e.ssh.lab import Lab, Outcome, program_begins, wait_for

SYSTEM_PYTHON = "/usr/bin/python3"
CLOCKS = Path(__file__).with_name("clock_faults")
UPLOAD_BYTES = 400_000_000  # long enough under way to be cut
WORKER = """\
import sys, time
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    print("start", time.monotonic_ns(), flush=True)
    time.sleep(0.004)
    print("stop", time.monotonic_ns(), flush=True)
"""


@dataclass
class Scene:
    """One board and one campaign of one run, before the fault."""

    lab: Lab
    board: SshBoard
    models: list[Any] = field(default_factory=lambda: ["gen:lstm"])
    campaign: dict[str, Any] = field(default_factory=dict)

    def describe(self, **settings: Any) -> None:
        self.lab.describe(self.board.name, settings)

    @property
    def directory(self) -> Path:
        """The board's own directory, as this machine sees it."""
        return self.lab.folder / "on" / self.board.name


Act = Callable[[Scene, Path], None]


def nothing(scene: Scene, root: Path) -> None:
    """The fault was there before."""


@dataclass(frozen=True)
class Fault:
    name: str
    expected: str
    before: Callable[[Scene], None] = lambda scene: None
    during: Act = nothing
    says: str = ""  # a pattern of the error's message or its hint
    retries: int | None = None
    may_refuse: str = ""


# --- reaching the board -----------------------------------------------------------------------------------


def known_hosts(scene: Scene, change: Callable[[str], str]) -> None:
    path = scene.board.known_hosts
    path.write_text(change(path.read_text("utf-8")), "utf-8")


def wrong_host_key(scene: Scene) -> None:
    scene.board.kill_sshd()
    scene.board.new_host_key()
    scene.board.start_sshd()


def unknown_host(scene: Scene) -> None:
    known_hosts(scene, lambda text: "")


def refused_key(scene: Scene) -> None:
    (scene.board.directory / "authorized_keys").write_text("", "ascii")


def dead_server(scene: Scene) -> None:
    scene.board.kill_sshd()


def silent_server(scene: Scene) -> None:
    proxy = TcpProxy(None)
    scene.lab.on_close(proxy.close)
    config = scene.board.config
    text = re.sub(r"HostName \S+", "HostName 127.0.0.1", config.read_text("utf-8"))
    config.write_text(re.sub(r"Port \d+", f"Port {proxy.port}", text), "utf-8")


# --- links that break --------------------------------------------------------------------------------------


def cut_in_window(seconds: float) -> Act:
    def act(scene: Scene, root: Path) -> None:
        wait_for(root, program_begins)
        time.sleep(0.8)
        scene.board.link_down()
        time.sleep(seconds)
        scene.board.link_up()

    return act


def big_upload(scene: Scene) -> None:
    """A model of hundreds of megabytes, run by a command."""
    model, worker = scene.lab.folder / f"{scene.board.name}.bin", scene.lab.folder / "worker.py"
    with model.open("wb") as out:
        for _ in range(UPLOAD_BYTES // 10_000_000):
            out.write(os.urandom(10_000_000))
    worker.write_text(WORKER, "utf-8")
    scene.models = [str(model)]
    scene.campaign["runtime"] = {"name": "command", "command": [sys.executable, str(worker), "{seconds}"]}


def cut_during_upload(seconds: float) -> Act:
    def act(scene: Scene, root: Path) -> None:
        files, until = scene.directory / "files", time.monotonic() + 60.0
        while not any(p.stat().st_size > UPLOAD_BYTES // 100 for p in files.glob("*") if p.exists()):
            assert time.monotonic() < until, f"no upload was seen in {files}"
            time.sleep(0.005)
        scene.board.link_down()
        time.sleep(seconds)
        scene.board.link_up()

    return act


def sshd_restarted(scene: Scene, root: Path) -> None:
    wait_for(root, program_begins)
    time.sleep(0.5)
    scene.board.kill_sshd(sessions=True)
    time.sleep(2.0)
    scene.board.start_sshd()


def rebooted(scene: Scene, root: Path) -> None:
    wait_for(root, program_begins)
    time.sleep(0.5)
    scene.board.reboot(down_s=3.0)


def agent_killed(scene: Scene, root: Path) -> None:
    wait_for(root, program_begins)
    time.sleep(0.5)
    for pid in scene.board.pids():
        if b"serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


# --- boards that are not as they should be -------------------------------------------------------------------


def small_disk(scene: Scene) -> None:
    mount(scene, "size=300k")


def read_only(scene: Scene) -> None:
    mount(scene, "ro")


def mount(scene: Scene, options: str) -> None:
    target = scene.directory
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "joulebench-test", target], check=True)
    scene.lab.on_close(lambda: subprocess.run(["umount", "-l", target], check=False))
    scene.board.kill_sshd()  # what is mounted on a board is seen by what is started afterwards
    scene.board.start_sshd()


def clock_fault(step: str = "", rate: float = 0.0) -> Callable[[Scene], None]:
    def before(scene: Scene) -> None:
        environment = {"PYTHONPATH": str(CLOCKS), "JOULEBENCH_CLOCK_RATE": repr(rate)}
        if step:
            environment["JOULEBENCH_CLOCK_STEP"] = str(scene.lab.folder / f"step-{scene.board.name}")
        scene.describe(environment=environment)

    return before


def step_clock(which: str) -> Act:
    def act(scene: Scene, root: Path) -> None:
        wait_for(root, program_begins)
        time.sleep(0.7)
        (scene.lab.folder / f"step-{scene.board.name}").write_text(which, "ascii")

    return act


def no_python(scene: Scene) -> None:
    """A board's PATH with everything but Python."""
    tools = scene.lab.folder / "tools"
    tools.mkdir()
    for folder in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            link = tools / program.name
            if "python" not in program.name and not link.is_symlink():
                link.symlink_to(program)
    config = scene.board.directory / "sshd_config"
    config.write_text(config.read_text("utf-8").replace("SetEnv ", f'SetEnv "PATH={tools}" ', 1), "utf-8")
    scene.board.kill_sshd()
    scene.board.start_sshd()
    scene.describe(python=None)


def no_runtime(scene: Scene) -> None:
    scene.describe(python=SYSTEM_PYTHON)


def old_agent(scene: Scene) -> None:
    """An agent of another version, left by a harness that is gone, still alive on the board."""
    package = scene.lab.folder / "old" / "agent"
    shutil.copytree(Path(__file__).parents[3] / "harness" / "boards" / "agent", package)
    basics = package / "basics.py"
    basics.write_text(re.sub(r"PROTOCOL_VERSION = \d+", "PROTOCOL_VERSION = 1", basics.read_text("utf-8")), "utf-8")
    directory = scene.directory / "agents" / "0-old"
    directory.mkdir(parents=True)
    main = f"import sys; sys.path.insert(0, {str(package.parent)!r}); from agent.main import main; sys.exit(main())"
    with (directory / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", main, "serve", "--dir", str(directory), "--token", "old", "--owner", "null"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    scene.lab.on_close(process.wait)
    until = time.monotonic() + 10.0
    while not (directory / "agent.json").exists():
        assert time.monotonic() < until, (directory / "agent.log").read_text("utf-8")
        time.sleep(0.02)


def small_memory(scene: Scene) -> None:
    scene.describe(memory_limit_mib=150)
    scene.models = ["zoo:bvlc_alexnet"]


FAULTS = (
    Fault("none", "completed", retries=0),
    Fault("wrong host key", "device", wrong_host_key, says=r"host key"),
    Fault("refused key", "device", refused_key, says=r"ssh-copy-id"),
    Fault("unknown host", "device", unknown_host, says=r"joulebench boards trust"),
    Fault("dead server", "transient", dead_server),
    Fault("server accepts and says nothing", "transient", silent_server),
    Fault("link cut for 1 s in the measured window", "completed", during=cut_in_window(1.0), retries=0),
    Fault("link cut for 10 s in the measured window", "completed", during=cut_in_window(10.0), retries=0),
    Fault("link cut for 60 s in the measured window", "completed", during=cut_in_window(60.0), retries=0),
    Fault("link cut for 1 s during upload", "completed", big_upload, cut_during_upload(1.0), retries=0),
    Fault("link cut for 10 s during upload", "completed", big_upload, cut_during_upload(10.0), retries=0),
    Fault("link cut for 60 s during upload", "completed", big_upload, cut_during_upload(60.0), retries=0),
    Fault("sshd killed and restarted", "completed", during=sshd_restarted, retries=0),
    Fault("board rebooted", "completed", during=rebooted, retries=1),
    Fault("full disk", "device", small_disk, says=r"free"),
    Fault("read-only directory", "device", read_only, says=r"(?i)read-only|writable"),
    Fault("wall clock stepped by an hour", "completed", clock_fault("step"), step_clock("realtime"), retries=0),
    Fault(  # the agent finds its lease over, or the clock maps are refused: which comes first is chance
        "monotonic clock stepped by an hour",
        "completed",
        clock_fault("step"),
        step_clock("monotonic"),
        may_refuse="clocks",
    ),
    Fault("clock wrong by 200 ppm", "completed", clock_fault(rate=2e-4), retries=0),
    Fault("no Python", "device", no_python, says=r"install python3"),
    Fault("no runtime", "device", no_runtime, says=r"pip install"),
    Fault("agent of another version", "completed", old_agent, retries=0),
    Fault("agent killed", "completed", during=agent_killed, retries=1),
    Fault("model too large for the memory limit", "spec", small_memory, says=r"memory"),
)


def play(fault: Fault, lab: Lab, board_name: str) -> Outcome:
    """Carry out one fault on a board of its own and return the Outcome."""
    board = lab.board(board_name)
    scene = Scene(lab, board)
    fault.before(scene)
    campaign = lab.campaign(board_name, board_name, scene.models, **scene.campaign)
    return lab.measure(campaign, during=lambda root: fault.during(scene, root))
