"""What goes wrong with a Monsoon while the vendor's package samples it; ours stands beside, from its own matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.peers.child import Child, PeerSpec, new_words
from benchmarks.peers.monsoon_world import UNIT, MonsoonWorld
from benchmarks.peers.outcome import Outcome, of_energy, of_error
from drivers.simulated.monsoon.device import HvpmFaults

Act = Callable[[MonsoonWorld], None]
SAMPLES = 20_000
"""Four seconds of the meter: at 5 kHz."""
MIDDLE_S, SETUP_S, ANSWER_S = 2.0, 60.0, 25.0
MIDDLE_SLOT = 10_000
PEERS = (PeerSpec("monsoon", "monsoon", "use_monsoon.py"),)


@dataclass(frozen=True)
class MonsoonFault:
    """`mirrors`: the nearest trial of our fault matrix, in virtual time."""

    name: str
    what: str
    mirrors: str
    faults: Callable[[], HvpmFaults] = HvpmFaults
    world: Mapping[str, float] = field(default_factory=dict)
    prepare: Sequence[Act] = ()
    events: Sequence[tuple[float, Act]] = ()


def _absent(world: MonsoonWorld) -> None:
    world.device.present = False


def _sampling(world: MonsoonWorld) -> None:
    from drivers.monsoon.meter import open_meter
    from drivers.simulated.usb_inprocess import InProcessUsbBackend
    from harness.core.ports import MeterRequest
    from harness.core.waiting import RealClock

    meter = open_meter(MeterRequest("m", usb_backend=InProcessUsbBackend([world.device])), clock=RealClock())
    meter.open()
    meter.start()
    world.device.detach()  # whoever did this was killed


FAULTS: Sequence[MonsoonFault] = (
    MonsoonFault("none", "nothing goes wrong", "none"),
    MonsoonFault("packets_lost", "one packet in 10 is lost on the way", "packets_lost",
                 lambda: HvpmFaults(lost_packet_rate=0.1)),
    MonsoonFault("unit_drops_samples", "the host's queue holds 3 ms", "unit_drops_samples",
                 world={"host_queue_s": 0.003}),
    MonsoonFault("short_packets", "one packet in 2000 is cut short", "short_packets",
                 lambda: HvpmFaults(short_packet_rate=5e-4)),
    MonsoonFault("unplug", "the cable comes out", "unplug", lambda: HvpmFaults(disconnect_at_slot=MIDDLE_SLOT)),
    MonsoonFault("replug", "the cable comes out and goes in again 2 s later", "replug",
                 lambda: HvpmFaults(disconnect_at_slot=MIDDLE_SLOT),
                 events=((MIDDLE_S + 2.5, lambda x: _replug(x)),)),
    MonsoonFault("glitch", "one transfer fails with EIO; the unit samples on", "replug",
                 events=((MIDDLE_S, MonsoonWorld.glitch),)),
    MonsoonFault("silent", "the unit sends no more, without a word", "silent",
                 lambda: HvpmFaults(silent_at_slot=MIDDLE_SLOT)),
    MonsoonFault("not_permitted", "the system does not let it be opened", "not_permitted",
                 lambda: HvpmFaults(access_denied=True)),
    MonsoonFault("absent", "there is no unit", "not_permitted", prepare=(_absent,)),
    MonsoonFault("found_sampling", "another program was killed and left the unit sampling", "found_sampling",
                 prepare=(_sampling,)),
)  # fmt: skip


def _replug(world: MonsoonWorld) -> None:
    world.faults.disconnect_at_slot = None
    world.device.replug()


def play(fault: MonsoonFault, peers: Sequence[PeerSpec], usual: dict[str, list[str]]) -> list[Outcome]:
    """The vendor's package on one unit. `usual`: what it prints when nothing goes wrong; filled by `none`."""
    found = []
    for peer in peers:
        queue_s = fault.world.get("host_queue_s", 1.0)
        with MonsoonWorld(fault.faults(), UNIT, queue_s, fault.events, fault.prepare) as world:
            spec = PeerSpec(peer.name, peer.environment, peer.adapter, (str(world.path), str(SAMPLES)))
            child = Child(spec).start()
            try:
                child.hear(SETUP_S)
                world.go()
                child.order("begin")
                child.hear(ANSWER_S)
                child.order("end")
                found.append(_outcome(fault.name, child, world, usual))
            finally:
                child.close()
            if fault.name == "none":
                usual[peer.name] = child.said()
    return found


def _outcome(fault: str, child: Child, world: MonsoonWorld, usual: Mapping[str, list[str]]) -> Outcome:
    ended = child.hear(ANSWER_S)
    name = child.spec.name
    words = new_words(child.said(), usual.get(name, [])) if fault != "none" else []
    if ended["event"] != "ended":
        return of_error(name, fault, ended, words)
    truth_j = world.energy_j(*ended["covers"]) if "covers" in ended else 0.0
    return of_energy(name, fault, ended["total_j"], truth_j, truth_j, words, str(ended["parts"]))
