"""What one reading costs each peer, and ours, on the same files: the answer is in microseconds, best of five rounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.peers import nvml_trials, powercap_trials
from benchmarks.peers.child import Child, PeerSpec
from benchmarks.peers.nvml_world import NvmlWorld
from benchmarks.peers.playing import OURS
from benchmarks.peers.powercap_world import PowercapWorld

COUNT = 200
SETUP_S, ANSWER_S = 40.0, 60.0


def measure() -> list[dict[str, Any]]:
    """Rows {"what", "peer", "us", "detail"}; one peer at a time."""
    rows = []
    for what, specs, world in (
        ("powercap", [*powercap_trials.PEERS, _ours("rapl", "package-0")], _plain_powercap()),
        ("nvml", [*nvml_trials.PEERS, _ours("nvml", "gpu0/energy")], NvmlWorld()),
    ):
        with world:
            environment = world.environment() if isinstance(world, NvmlWorld) else {}
            if "PATH" in environment:
                environment["PATH"] += os.pathsep + os.environ.get("PATH", "")
            for spec in specs:
                if spec.installed:
                    rows.append({"what": what, "peer": spec.name, **_one(spec, environment)})
    return rows


@contextmanager
def _plain_powercap() -> Iterator[PowercapWorld]:
    """Ordinary files, no FUSE between: the kernel's own cost of a read, and no more."""
    with PowercapWorld(plain_files=True) as world:
        world.go()
        yield world


def _ours(driver: str, channel: str) -> PeerSpec:
    return PeerSpec(OURS, OURS, "use_joulebench.py", (driver, channel, "1"))


def _one(spec: PeerSpec, environment: dict[str, str]) -> dict[str, Any]:
    child = Child(spec, environment=environment).start()
    try:
        if child.hear(SETUP_S)["event"] != "ready":
            return {"us": None, "detail": str(child.heard[-1])[:200]}
        child.order("begin 0")
        child.hear(ANSWER_S)
        child.order(f"cost {COUNT}")
        answer = child.hear(ANSWER_S)
        return {"us": answer.get("us"), "detail": "" if "us" in answer else str(answer)[:200]}
    finally:
        child.close()
