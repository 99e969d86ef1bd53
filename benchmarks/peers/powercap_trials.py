"""What goes wrong with RAPL while all peers measure; each is a fault of our own matrix, played in /sys in real time."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.peers import powercap_world as w
from benchmarks.peers.child import PeerSpec
from benchmarks.peers.outcome import Outcome
from benchmarks.peers.playing import OURS, play_all
from benchmarks.peers.powercap_world import MIDDLE_S, Machine, PowercapWorld

Act = Callable[[PowercapWorld], None]


@dataclass(frozen=True)
class PowercapFault:
    """`mirrors`: the nearest trial of our fault matrix, in virtual time."""

    name: str
    what: str
    mirrors: str
    machine: Machine = w.PLAIN
    prepare: Sequence[Act] = ()
    events: Sequence[tuple[float, Act]] = ()
    channel: str = "package-0"
    options: Sequence[str] = field(default=())


def _later(act: Act) -> Sequence[tuple[float, Act]]:
    return ((MIDDLE_S, act),)


def _give(answer: bytes | int) -> Act:
    return lambda x: x.answer(lambda _: answer)


FAULTS: Sequence[PowercapFault] = (
    PowercapFault("none", "nothing goes wrong", "none"),
    PowercapFault("wrap", "the counter wraps once", "wrap", w.WRAPPING),
    PowercapFault("double_wrap", "the counter wraps twice", "many_wraps", w.TURNING, options=("max_power_w=50",)),
    PowercapFault("reset", "the counter starts again from 0, as after suspend", "reset",
                  events=_later(lambda x: x.tree.reset("package-0"))),
    PowercapFault("stuck", "the counter stands still from the middle on", "stuck",
                  events=_later(lambda x: x.tree.stick("package-0"))),
    PowercapFault("stale_read", "the counter shows one value for 0.6 s, then all of it", "stale_read",
                  events=((MIDDLE_S, lambda x: x.tree.stick("package-0")),
                          (MIDDLE_S + 0.6, lambda x: x.tree.stick("package-0", stuck=False)))),
    PowercapFault("stuck_from_the_start", "a virtual machine's counter never moves", "stuck",
                  prepare=(lambda x: x.tree.stick("package-0"),)),
    PowercapFault("permission", "only root may read the counters", "permission",
                  prepare=(PowercapWorld.deny,)),
    PowercapFault("permission_lost", "from the middle on, only root may", "permission_lost",
                  events=_later(PowercapWorld.deny)),
    PowercapFault("range_unreadable", "the counter wraps, and its range may not be read", "wrap", w.WRAPPING,
                  prepare=(PowercapWorld.hide_ranges,)),
    PowercapFault("eio", "reads fail with EIO for 0.6 s", "eio",
                  events=((MIDDLE_S, _give(errno.EIO)), (MIDDLE_S + 0.6, lambda x: x.answer(bytes)))),
    PowercapFault("eio_for_good", "reads fail with EIO from the middle on", "eio_for_good",
                  events=_later(_give(errno.EIO))),
    PowercapFault("empty_file", "reads give nothing from the middle on", "empty_file",
                  events=_later(_give(b""))),
    PowercapFault("torn_text", "reads give the first five digits only from the middle on", "torn_text",
                  events=_later(lambda x: x.answer(lambda data: data[:5]))),
    PowercapFault("wild_value", "reads give 2^64 - 1 from the middle on", "wild_value",
                  events=_later(_give(b"18446744073709551615\n"))),
    PowercapFault("zone_vanishes", "the zone goes for 0.6 s and comes back, counting from 0", "zone_vanishes",
                  events=((MIDDLE_S, PowercapWorld.take_away), (MIDDLE_S + 0.6, PowercapWorld.bring_back))),
    PowercapFault("zone_stays_away", "the zone goes away for good", "zone_stays_away",
                  events=_later(PowercapWorld.take_away)),
    PowercapFault("mmio_duplicate", "a second interface shows the same package", "mmio_duplicate", w.MMIO),
    PowercapFault("psys_beside", "a client's platform domain stands beside the package", "one_joule_steps", w.PSYS),
    PowercapFault("dram_inside", "a server's DRAM domain stands below the package", "dram_unit", w.DRAM),
    PowercapFault("two_packages", "two sockets", "none", w.TWO),
    PowercapFault("two_dies", "one socket of two dies: package-0-die-0 and -1", "none", w.DIES,
                  channel="package-0-die-0"),
    PowercapFault("amd", "a Zen processor: other unit, other range", "none", w.AMD),
)  # fmt: skip

PEERS: Sequence[PeerSpec] = (
    PeerSpec("pyRAPL", "pyrapl", "use_pyrapl.py"),
    PeerSpec("pyJoules", "pyjoules", "use_pyjoules.py", ("cpu",)),
    PeerSpec("Zeus", "zeus", "use_zeus.py", ("cpu",)),
    PeerSpec("CodeCarbon", "codecarbon", "use_codecarbon.py", ("cpu",)),
    PeerSpec("carbontracker", "carbontracker", "use_carbontracker.py", ("cpu",)),
)


def play(
    fault: PowercapFault, peers: Sequence[PeerSpec], usual: dict[str, list[str]], *, ours: bool = True
) -> list[Outcome]:
    """All peers, and ours, at once. `usual`: what each prints when nothing goes wrong; filled by `none`."""
    mine = [PeerSpec(OURS, OURS, "use_joulebench.py", ("rapl", fault.channel, "1", *fault.options))] if ours else []
    with PowercapWorld(fault.machine, fault.events, fault.prepare) as world:
        return play_all(fault.name, world, [*peers, *mine], usual)
