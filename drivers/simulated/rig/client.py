"""Finds or starts a simulated bench, and says where its meters and its marker pin are.

The bench is another process (bench_process.py); this is all the composition roots need to know of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drivers.simulated.rig.bench_process import ABOUT, BOARD_TREE, CONTROL, PIN, bench_cpu
from drivers.simulated.rig.kernels import KernelList
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.served.registry import kind_of
from drivers.simulated.rig.world import draw
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding, RunSpec

START_WITHIN_S = 30.0
_LONGEST_PATH = 100  # a unix socket's path has 108 bytes


def default_parent() -> Path:
    """Where this user's simulated benches live: short, since socket paths are; $JOULEBENCH_SIM replaces it."""
    given = os.environ.get("JOULEBENCH_SIM")
    return Path(given) if given else Path(tempfile.gettempdir()) / f"joulebench-sim-{os.getuid()}"


class SimulatedBench:
    """A live simulated bench. While this object holds its connection, the bench does not end by itself."""

    def __init__(self, folder: Path, link: socket.socket, *, started: bool, share: tuple[int, int] = (0, 1)) -> None:
        self.folder = folder
        self.started = started
        self._share = share
        self._link = link
        self._stream = link.makefile("rw", encoding="utf-8")

    @classmethod
    def attach(
        cls,
        parent: Path | None = None,
        *,
        meters: Sequence[MeterBinding],
        world: str | Path | None = None,
        seed: int = 1,
        idle_exit_s: float = 900.0,
        name: str | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> SimulatedBench:
        """The bench of this world and these meters below `parent`: the one that lives, or a new one.

        `world`: a world file or the name of a shipped one (None: default). `started` says whether it is new.
        `name` tells benches of equal meters apart where several are used at once: each is another draw of the
        world. `share`: its board's part k of n of this machine's CPUs.
        Raises SpecError for a wrong world, a meter that is not simulated or a path that is too long, and
        DeviceError with the end of the bench's log if it does not come up.
        """
        ranges = load_ranges(world)
        for binding in meters:
            kind_of(binding)
        rows = [dataclasses.asdict(b) for b in meters]
        if name is not None:
            seed = (seed + int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)) % 2**63
        text = json.dumps([draw(seed, ranges).digest, rows, *([name] if name is not None else [])], sort_keys=True)
        parent = default_parent() if parent is None else parent
        folder = parent / f"{ranges.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        _require_short(folder, meters)
        link = _connect(folder)
        started = link is None
        if link is None:
            path = "default" if world is None else str(Path(world).resolve()) if Path(world).exists() else str(world)
            process = _start(folder, path, seed, rows, idle_exit_s)
            link = _wait_for(folder, process)
        return cls(folder, link, started=started, share=share)

    @property
    def marker_pin(self) -> Path:
        """The FIFO to which the agent writes its busy edges."""
        return self.folder / PIN

    @property
    def board_cpus(self) -> tuple[int, ...]:
        """The CPUs left to the board's agents: all but the benches' own, or () where there is only one.

        Of several boards on this machine each has its part, if there are enough; else they share them all.
        """
        cpus = tuple(sorted(os.sched_getaffinity(0) - {bench_cpu()}))
        k, n = self._share
        return cpus if len(cpus) < n else cpus[k * len(cpus) // n : (k + 1) * len(cpus) // n]

    @property
    def board_tree(self) -> Path:
        """Root of the small files in which the simulated board tells how warm it is and how fast it runs."""
        return self.folder / BOARD_TREE

    @property
    def truth_folder(self) -> Path:
        """For the examiner and tests only."""
        return self.folder / "truth"

    def meter_request(self, binding: MeterBinding) -> MeterRequest:
        """What the driver of `binding` gets in place of the real surroundings; may be handed to a child process."""
        return kind_of(binding).reach(binding, self.folder)

    def announce(self, spec: RunSpec, kernels: KernelList | None = None) -> None:
        """Say what is run from now on; call it before the run's first process start.

        `kernels`: of the run's model on this machine, if the run asks for layers; None: the rig makes some up.
        """
        self._ask("announce", spec=spec.to_json(), kernels=None if kernels is None else kernels.to_json())

    def status(self) -> dict[str, Any]:
        """pid, world, seed, announced run, edges heard and late, age in seconds."""
        return self._ask("status")

    def flush_truth(self) -> None:
        """Put the truth of everything heard so far on the disk (call it after a run, before the examiner)."""
        self._ask("flush")

    def quit(self) -> None:
        """End the bench."""
        with contextlib.suppress(DeviceError):
            self._ask("quit")
        self.close()
        deadline = time.monotonic() + 10
        while (self.folder / CONTROL).exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self) -> None:
        """Let go of the bench, which lives on. May be called twice."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self._link.close()

    def _ask(self, what: str, **fields: Any) -> dict[str, Any]:
        try:
            self._stream.write(json.dumps({"do": what, **fields}) + "\n")
            self._stream.flush()
            line = self._stream.readline()
        except (OSError, ValueError) as error:
            raise DeviceError(f"the simulated bench in {self.folder} is gone: {error}", hint="run again") from error
        if not line:
            raise DeviceError(f"the simulated bench in {self.folder} has ended", hint="run again")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise DeviceError(f"the simulated bench refused {what!r}: {answer['error']}")
        return answer


def live_benches(parent: Path | None = None) -> list[SimulatedBench]:
    """All benches that are alive below `parent`; close each, or `quit` it."""
    parent = default_parent() if parent is None else parent
    found = []
    for about in sorted(parent.glob(f"*/{ABOUT}")):
        link = _connect(about.parent)
        if link is not None:
            found.append(SimulatedBench(about.parent, link, started=False))
    return found


def _require_short(folder: Path, meters: Sequence[MeterBinding]) -> None:
    paths = [str(folder / CONTROL)]
    for binding in meters:
        if (longest_path := kind_of(binding).longest_path) is not None:
            paths.append(str(longest_path(binding, folder)))
    longest = max(paths, key=len)
    if len(longest.encode()) > _LONGEST_PATH:
        raise SpecError(
            f"the socket path {longest} has {len(longest.encode())} bytes; {_LONGEST_PATH} is the limit",
            hint="set JOULEBENCH_SIM to a shorter folder",
        )


def _connect(folder: Path) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(30.0)
    try:
        link.connect(str(folder / CONTROL))
    except OSError:
        link.close()
        return None
    return link


def _start(
    folder: Path, world: str, seed: int, rows: list[dict[str, Any]], idle_exit_s: float
) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    argv = [
        sys.executable, "-m", "drivers.simulated.rig.bench_process", "--dir", str(folder), "--world", world,
        "--seed", str(seed), "--meters", json.dumps(rows), "--idle-exit-s", str(idle_exit_s),
    ]  # fmt: skip
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # its arrays are small; threads would only disturb
    with (folder / "bench.log").open("ab") as log:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            cwd=Path(__file__).resolve().parents[3], env={**os.environ, **quiet},
        )  # fmt: skip


def _wait_for(folder: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        link = _connect(folder)
        if link is not None:
            process.returncode = process.returncode if process.returncode is not None else 0  # it lives on without us
            return link
        if process.poll() not in (None, 0):
            break
        time.sleep(0.05)
    log = folder / "bench.log"
    tail = log.read_text(encoding="utf-8", errors="replace")[-800:] if log.exists() else ""
    raise DeviceError(f"the simulated bench in {folder} did not come up within {START_WITHIN_S:g} s: {tail}")
