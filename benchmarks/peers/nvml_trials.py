"""What goes wrong with GPUs while all peers measure, in real time; unmodified bindings load our library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers.child import PeerSpec
from benchmarks.peers.nvml_world import MIDDLE_S, SCALE_W, NvmlWorld
from benchmarks.peers.outcome import Outcome
from benchmarks.peers.playing import OURS, play_all

Act = Callable[[NvmlWorld], None]
NOT_SUPPORTED, NO_PERMISSION, NO_DRIVER, LOST, MISMATCH, UNKNOWN = 3, 4, 9, 15, 18, 999


@dataclass(frozen=True)
class NvmlFault:
    """`mirrors`: the nearest trial of our fault matrix, in virtual time; `visible`: CUDA_VISIBLE_DEVICES
    made of the machine; `total`: the GPUs that it leaves."""

    name: str
    what: str
    mirrors: str
    products: Sequence[str] = ("a100",)
    shares: Sequence[float] = (1.0,)
    total: Sequence[int] | None = None
    mig: bool = False
    prepare: Sequence[Act] = ()
    events: Sequence[tuple[float, Act]] = ()
    visible: Callable[[NvmlWorld], str] | None = None
    also_instant: bool = False
    channel: str = "gpu0/energy"
    end_s: float | None = None


def _later(act: Act) -> Sequence[tuple[float, Act]]:
    return ((MIDDLE_S, act),)


def _fail(feature: str, code: int) -> Act:
    return lambda x: x.machine.gpus[0].fail(feature, code)


FAULTS: Sequence[NvmlFault] = (
    NvmlFault("none", "nothing goes wrong (A100)", "none_counter"),
    NvmlFault("average_1s", "a card whose power is a mean over 1 s (RTX 3090)", "none_second", ("rtx3090",)),
    NvmlFault("no_counter", "a card without an energy counter (GTX 1080)", "no_counter", ("gtx1080",),
              also_instant=True, channel="gpu0/power"),
    NvmlFault("power_usage_only", "such a card whose driver knows nothing but nvmlDeviceGetPowerUsage",
              "no_counter", ("gtx1080",), channel="gpu0/power"),
    NvmlFault("no_power", "a card without any power figure (GTX 745)", "no_power", ("gtx745",),
              channel="gpu0/power"),
    NvmlFault("reload", "the driver is loaded anew: the counter starts from 0", "reload",
              events=_later(lambda x: x.machine.gpus[0].reload())),
    NvmlFault("lost", "the GPU falls off the bus", "lost", events=_later(lambda x: x.machine.gpus[0].lose())),
    NvmlFault("lost_a_while", "all calls give `GPU is lost` for 0.6 s", "lost_and_back",
              events=((MIDDLE_S, lambda x: x.machine.gpus[0].lose()),
                      (MIDDLE_S + 0.6, lambda x: x.machine.gpus[0].come_back()))),
    NvmlFault("counter_fails", "the counter gives `Unknown Error` from the middle on", "not_supported_any_more",
              events=_later(_fail("energy", UNKNOWN))),
    NvmlFault("power_fails", "power and counter give `Unknown Error` from the middle on", "unknown_error",
              events=tuple((MIDDLE_S, _fail(f, UNKNOWN)) for f in ("power", "average", "instant", "energy"))),
    NvmlFault("stale", "power and counter are renewed no more", "counter_stands",
              events=_later(lambda x: x.machine.gpus[0].freeze())),
    NvmlFault("permission", "power and counter are not permitted", "permission_lost",
              prepare=(_fail("power", NO_PERMISSION), _fail("energy", NO_PERMISSION))),
    NvmlFault("mismatch", "library and kernel module are of different versions", "mismatch",
              prepare=(lambda x: x.machine.refuse_to_start(MISMATCH),)),
    NvmlFault("no_driver", "the driver is not loaded", "no_driver",
              prepare=(lambda x: x.machine.refuse_to_start(NO_DRIVER),)),
    NvmlFault("two_gpus", "two GPUs, 250 W and 100 W", "none_counter", ("a100", "a100"), (1.0, 0.4)),
    NvmlFault("visible_index", "CUDA_VISIBLE_DEVICES=1 of two", "none_counter", ("a100", "a100"), (1.0, 0.4), (1,),
              visible=lambda _: "1", channel="gpu1/energy"),
    NvmlFault("visible_uuid", "CUDA_VISIBLE_DEVICES=GPU-... of the second of two", "none_counter",
              ("a100", "a100"), (1.0, 0.4), (1,), visible=lambda x: x.machine.gpus[1].uuid,
              channel="gpu1/energy"),
    NvmlFault("mig", "CUDA_VISIBLE_DEVICES=MIG-..., whose power NVML does not tell", "instance", mig=True,
              visible=lambda x: bytes(x.machine.gpus[0].now.mig[0].uuid).decode("ascii")),
)  # fmt: skip

PEERS: Sequence[PeerSpec] = (
    PeerSpec("pyJoules", "pyjoules", "use_pyjoules.py", ("gpu",)),
    PeerSpec("Zeus", "zeus", "use_zeus.py", ("gpu",)),
    PeerSpec("CodeCarbon", "codecarbon", "use_codecarbon.py", ("gpu",)),
    PeerSpec("carbontracker", "carbontracker", "use_carbontracker.py", ("gpu",)),
)


def play(
    fault: NvmlFault, peers: Sequence[PeerSpec], usual: dict[str, list[str]], *, ours: bool = True
) -> list[Outcome]:
    """All peers, and ours, at once. `usual`: what each prints when nothing goes wrong; filled by `none`."""
    share = fault.shares[int(fault.channel.removeprefix("gpu").split("/")[0])]
    mine = [PeerSpec(OURS, OURS, "use_joulebench.py", ("nvml", fault.channel, str(SCALE_W * share)))] if ours else []
    world = NvmlWorld(
        fault.products, fault.shares, fault.total, fault.mig, fault.also_instant, fault.events, fault.prepare
    )
    with world:
        environment = world.environment()
        if fault.visible is not None:
            environment["CUDA_VISIBLE_DEVICES"] = fault.visible(world)
        return play_all(fault.name, world, [*peers, *mine], usual, environment, lasts_s=fault.end_s)
