"""One world in virtual time: rig, virtual board and meter, wired as a bench whose run the real runner executes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from drivers.simulated.rig.front import StreamingFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.trace_meter import TraceMeter
from drivers.simulated.rig.truth import TruthLog
from drivers.simulated.rig.virtual_board import VirtualBoard
from drivers.simulated.rig.world import World
from harness.core.errors import SpecError
from harness.core.ports import Meter, MeterRequest
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.waiting import VirtualClock

MARKER_BITS = "1110010100011011"  # irregular, so that no shift of it looks like it
TRACE_GRID_NS = 100_000


def exam_protocol() -> ProtocolSpec:
    """A short but complete protocol for virtual worlds: three process starts, brackets of 10 s."""
    return ProtocolSpec(
        profile="exam", gap="back-to-back", starts=3, inferences=None, measure_s=8.0, standby_s=10.0,
        settle_min_s=2.0, settle_max_s=30.0, warm_up_s=1.0, lead_in_s=0.5, lead_out_s=0.5, gap_max_s=0.0,
        probe_pauses=12, probe_pause_s=0.02, marker_bits=MARKER_BITS, marker_chip_s=0.05, output_tolerance_rel=1e-3,
    )  # fmt: skip


def exam_binding(depth: str) -> MeterBinding:
    """The one meter of an exam bench: `trace` has no wire, `wire` is the shipped Monsoon driver."""
    driver = "monsoon" if depth == "wire" else "trace"
    return MeterBinding(
        name="supply", driver=driver, rails=(("main", "board"),), plane="dc_input", total_rails=("board",)
    )


def exam_spec(seed: int, *, depth: str = "trace", protocol: ProtocolSpec | None = None) -> RunSpec:
    """The RunSpec of world `seed`: a model that exists in the rig only."""
    return RunSpec(
        campaign="exam",
        bench=f"world-{seed}",
        board=BoardSpec("virtual"),
        meters=(exam_binding(depth),),
        model=ModelSpec(f"net{seed}", "rig:net", f"{zlib.crc32(str(seed).encode()):064x}", 1),
        runtime=RuntimeSpec(name="virtual"),
        protocol=protocol if protocol is not None else exam_protocol(),
        repetition=0,
        seed=seed,
        simulated=True,
    )


@dataclass(frozen=True)
class VirtualBench:
    """A world's bench in virtual time. `truth` is for the examiner; the runner gets board and meters."""

    world: World
    clock: VirtualClock
    rig: Rig
    board: VirtualBoard
    meters: tuple[tuple[MeterBinding, Callable[[], Meter]], ...]

    @property
    def truth(self) -> TruthLog:
        return self.rig.truth


def virtual_bench(world: World, spec: RunSpec) -> VirtualBench:
    """Wire up the bench that `spec.meters` asks for; drivers "trace" and "monsoon" are known."""
    clock = VirtualClock()
    rig = Rig(world, now_ns=clock.now_ns(), grid_ns=TRACE_GRID_NS)
    board = VirtualBoard(rig, clock=clock, name=spec.board.name)
    meters = tuple((binding, _opener(binding, rig, clock)) for binding in spec.meters)
    return VirtualBench(world, clock, rig, board, meters)


def _opener(binding: MeterBinding, rig: Rig, clock: VirtualClock) -> Callable[[], Meter]:
    if binding.driver == "trace":
        return lambda: TraceMeter(rig, binding.name, clock=clock)
    if binding.driver == "monsoon":
        return _monsoon_opener(binding, rig, clock)
    raise SpecError(f"no meter {binding.driver!r} in virtual time", hint="use trace or monsoon")


def _monsoon_opener(binding: MeterBinding, rig: Rig, clock: VirtualClock) -> Callable[[], Meter]:
    """The shipped driver on a simulated unit in the same process: every byte of the wire is there."""
    from drivers.monsoon.meter import open_meter
    from drivers.simulated.monsoon import simulator
    from drivers.simulated.usb_inprocess import InProcessUsbBackend

    front = StreamingFront(rig, binding.name, start_ns=clock.now_ns())
    volts = rig.world.supply.voltage_v
    device = simulator(binding.name, rig.world.seed, front, clock.now_ns, output_v=volts)
    request = MeterRequest(
        name=binding.name, options=dict(binding.options), rails=binding.rails,
        usb_backend=InProcessUsbBackend([device]), simulated=True,
    )  # fmt: skip
    return lambda: open_meter(request, clock=clock)
