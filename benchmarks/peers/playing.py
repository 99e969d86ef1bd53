"""One fault, all peers at once: set up, begin, end, and what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from benchmarks.peers.child import OVER, Child, PeerSpec, new_words
from benchmarks.peers.outcome import Outcome, of_energy, of_error, of_ours
from benchmarks.peers.powercap_world import SCENE

BEGIN_S, END_S = SCENE.edges_s[0] + 0.3, SCENE.edges_s[1] - 0.3
SETUP_S, ANSWER_S = 60.0, 45.0
SLOW_TO_BEGIN = ("CodeCarbon", "Zeus")
"""The first one's start takes seconds, the other's starts a helper process: they begin in the quiet before the scene,
lest faults that take minutes on a real machine come before they are ready."""
OURS = "joulebench"
PLAIN = "none"


class World(Protocol):
    """What the peers measure; times are CLOCK_MONOTONIC in seconds."""

    def go(self) -> float: ...

    def energy_j(self, begin_s: float, end_s: float) -> float: ...


def play_all(
    fault: str,
    world: World,
    specs: Sequence[PeerSpec],
    usual: dict[str, list[str]],
    environment: Mapping[str, str] | None = None,
    *,
    lasts_s: float | None = None,
) -> list[Outcome]:
    """`specs`: peers, and ours by the environment OURS. `usual`: what each prints when nothing goes wrong.

    `lasts_s`: length of the window, if it is not most of the work.
    """
    extra = dict(environment or {})
    if "PATH" in extra:
        extra["PATH"] += os.pathsep + os.environ.get("PATH", "")
    children = [Child(spec, environment=extra).start() for spec in specs]
    try:
        for child in children:
            child.hear(SETUP_S)
        for child in children:
            if _is_slow(child.spec):
                child.order("begin")
                child.hear(SETUP_S)
        go_s = world.go()
        waiting = sorted((_begin_s(c.spec), k) for k, c in enumerate(children) if not _is_slow(c.spec))
        for at_s, k in waiting:
            wait_until(go_s + at_s)
            children[k].order(f"begin {go_s!r}")
            if lasts_s is not None:
                children[k].hear(ANSWER_S)
        wait_until(go_s + END_S if lasts_s is None else time.monotonic() + lasts_s)
        for child in children:
            child.order("end")
        found = [_outcome(fault, child, world, usual) for child in children]
    finally:
        for child in children:
            child.close()
    if fault == PLAIN:
        usual.update({child.spec.name: child.said() for child in children})
    return found


def _outcome(fault: str, child: Child, world: World, usual: Mapping[str, list[str]]) -> Outcome:
    name = child.spec.name
    while child.hear(ANSWER_S)["event"] not in (*OVER, "ended"):
        continue
    ended = child.heard[-1]
    words = new_words(child.said(), usual.get(name, [])) if fault != PLAIN else []
    if ended["event"] in OVER:
        return of_error(name, fault, ended, words)
    begun = next(answer for answer in child.heard if answer["event"] == "begun")
    if "judged" in ended:
        return of_ours(name, fault, ended["judged"])
    low_j = world.energy_j(begun["span"][1], ended["span"][0])
    high_j = world.energy_j(begun["span"][0], ended["span"][1])
    detail = str(ended.get("modes", "") or ended.get("parts", ""))
    return of_energy(name, fault, ended["total_j"], low_j, high_j, words, detail)


def _is_slow(spec: PeerSpec) -> bool:
    return spec.name.startswith(SLOW_TO_BEGIN)


def _begin_s(spec: PeerSpec) -> float:
    return 0.0 if spec.environment == OURS else BEGIN_S


def wait_until(t_s: float) -> None:
    """Until CLOCK_MONOTONIC is `t_s` seconds."""
    while (left_s := t_s - time.monotonic()) > 0:
        time.sleep(left_s)
