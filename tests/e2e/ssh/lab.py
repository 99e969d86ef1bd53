"""A laboratory: boards behind real sshds, their benches' files, and the joulebench command run as a user runs it.

Everything lies below one folder: a HOME with the ssh configuration, the device configurations, the campaigns, the run
directories. Meters are simulated ones on their real wire; what the pipeline finds is held against the hidden truth.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from drivers.simulated.ssh_board import SshBoard, missing
from drivers.simulated.ssh_network import SimulatedNetwork

ROOT = Path(__file__).parents[3]
PROTOCOL: dict[str, Any] = {
    "profile": "quick", "starts": 3, "measure_s": 1.0, "standby_s": 1.2, "settle_min_s": 0.5, "settle_max_s": 3.0,
    "warm_up_s": 0.1, "lead_in_s": 0.2, "lead_out_s": 0.2, "probe_pauses": 5,
}  # fmt: skip
NEAR = 0.10  # a real-time figure on a busy machine may miss its interval, but never by more than this

Event = dict[str, Any]


def need_sshd(*, networks: bool = True) -> None:
    """Skip with the name of the package that lacks."""
    if lacking := missing(networks=networks):
        pytest.skip(f"boards over SSH need {lacking}")


@dataclass
class Outcome:
    """What a campaign came to: exit status, words on standard error, its events, its runs held against the truth."""

    status: int
    stderr: str
    wall_s: float
    events: list[Event]
    rows: list[Event] = field(default_factory=list)  # of exam

    @property
    def error(self) -> str:
        """The last line that names a kind of error."""
        lines = [line for line in self.stderr.splitlines() if " error: " in line]
        return lines[-1] if lines else ""

    @property
    def retries(self) -> int:
        return sum(event["event"] == "run_retry" for event in self.events)

    def assert_honest(self) -> None:
        """No finished run is silently wrong: it is refused, or it holds the truth, or is near it."""
        for row in self.rows:
            if row["truth"] is None:  # a starved pin listener heard too little: the examiner says so, and cannot grade
                print(f"not graded: {row['run_id']} ({row['status']})")
            elif row["status"] != "invalid":
                assert row["truth"]["found"] > 0.98, row
                (low, high), true_j = row["interval_j"], row["truth"]["realised_j"]
                assert low <= true_j <= high or abs(row["measured_j"] / true_j - 1) < NEAR, row


class Lab:
    """Boards and benches below `folder`. `environment`: of the commands run here."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.configs = folder, folder / "home", folder / "configs"
        self._scratch = Path(tempfile.mkdtemp(prefix="jbl-"))  # short: it holds unix sockets
        self._stack = contextlib.ExitStack()
        for kind in ("boards", "benches"):
            (self.configs / kind).mkdir(parents=True)
        self.home.mkdir()
        cache = os.environ.get("JOULEBENCH_CACHE") or str(Path.home() / ".cache" / "joulebench")
        self.environment = {
            **os.environ, "HOME": str(self.home), "JOULEBENCH_CACHE": cache, "JOULEBENCH_SIM": str(self._scratch / "s"),
            "JOULEBENCH_LEASES": str(self._scratch / "leases"),
        }  # fmt: skip
        self.environment.pop("SSH_AUTH_SOCK", None)

    def board(
        self, name: str, *, network: bool = True, settings: Mapping[str, Any] | None = None, **of: Any
    ) -> SshBoard:
        """A new board of that name, reachable by it, and a bench of the same name with a Monsoon."""
        net = self._stack.enter_context(SimulatedNetwork()) if network else None
        board = SshBoard(self.folder / "machines" / name, name, client_home=self.home, network=net, **of)
        self._stack.enter_context(board)
        self.describe(name, settings or {})
        return board

    def describe(self, name: str, settings: Mapping[str, Any]) -> None:
        """The board's file and its bench's."""
        described = {
            "transport": "ssh", "address": name, "python": sys.executable,
            "directory": str(self.folder / "on" / name), **settings,
        }  # fmt: skip
        monsoon: dict[str, Any] = {"name": "monsoon", "meter": "monsoon-hvpm", "plane": "dc_input"}
        monsoon |= {"rails": {"main": "main"}, "total": ["main"]}
        write_yaml(self.configs / "boards" / f"{name}.yaml", {k: v for k, v in described.items() if v is not None})
        write_yaml(self.configs / "benches" / f"{name}.yaml", {"board": name, "meters": [monsoon]})

    def campaign(
        self, name: str, benches: Sequence[str] | str, models: Sequence[Any] = ("gen:lstm",), **more: Any
    ) -> Path:
        path = self.folder / f"{name}.yaml"
        protocol = {**PROTOCOL, **more.pop("protocol", {})}
        bench = benches if isinstance(benches, str) else list(benches)
        write_yaml(path, {"bench": bench, "models": list(models), "protocol": protocol, **more})
        return path

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """The joulebench command with these words, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *map(str, words)], cwd=ROOT, env=self.environment, text=True,
            encoding="utf-8", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def call(self, *words: str | Path, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            raise AssertionError(f"joulebench {' '.join(map(str, words))} did not end: {err[-2000:]}") from None
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def start_campaign(self, campaign: Path) -> subprocess.Popen[str]:
        return self.start("run", "--sim", campaign, "--configs", self.configs, "--root", self.root_of(campaign))

    def root_of(self, campaign: Path) -> Path:
        return self.folder / "runs" / campaign.stem

    def measure(
        self, campaign: Path, *, during: Callable[[Path], None] | None = None, timeout_s: float = 400.0
    ) -> Outcome:
        """Run the campaign to its end; `during` gets its root once it is started."""
        root = self.root_of(campaign)
        began = time.monotonic()
        process = self.start_campaign(campaign)
        try:
            if during is not None:
                during(root)
            _, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.communicate()
            raise
        wall_s = time.monotonic() - began
        return Outcome(process.returncode, stderr, wall_s, events_of(root), self.examined(root))

    def examined(self, root: Path) -> list[Event]:
        """Every finished run beside its truth (None where that cannot be found); [] if none is finished."""
        if not any("." not in path.parent.name for path in root.glob("*/manifest.json")):
            return []
        done = self.call("exam", "--root", root, "--json")
        assert done.returncode == 0, done.stderr
        graded = json.loads(done.stdout)
        rows: list[Event] = graded["rows"]
        for run_id in graded["truth_not_found"]:
            shown = json.loads(self.call("show", run_id, "--root", root, "--json").stdout)
            rows.append({"run_id": run_id, "status": shown["status"], "reason": shown["reason"], "truth": None})
        return rows

    def on_close(self, act: Callable[[], Any]) -> None:
        """Do this when the laboratory is cleared away."""
        self._stack.callback(act)

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            self.call("sim", "stop")
        self._stack.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


@contextlib.contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    lab = Lab(folder)
    try:
        yield lab
    finally:
        lab.close()


def write_yaml(path: Path, data: Any) -> None:
    with path.open("w", encoding="utf-8") as out:
        YAML(typ="safe", pure=True).dump(data, out)


def events_of(root: Path) -> list[Event]:
    """The campaign's events so far; a line that is being written is left out."""
    try:
        text = (root / "events.jsonl").read_text("utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wait_for(root: Path, wanted: Callable[[Event], bool], *, timeout_s: float = 120.0) -> Event:
    """The first event that is wanted; AssertionError with the last ones if it does not come."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        for event in events_of(root):
            if wanted(event):
                return event
        time.sleep(0.02)
    raise AssertionError(f"the awaited event did not come; last: {events_of(root)[-5:]}")


def program_begins(event: Event) -> bool:
    """A process start's program, which holds the measured inferences, has just been handed to the agent."""
    return event["event"] == "protocol_step_begin" and event.get("step") == "program"
