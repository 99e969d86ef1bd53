"""One world in virtual time: rig, virtual board and meters, wired as a bench whose run the real runner executes."""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers.simulated.powercap import PowercapTree, simulator
from drivers.simulated.rig.counter_meter import CounterMeter
from drivers.simulated.rig.faulty_meter import FaultyMeter, MeterFault
from drivers.simulated.rig.front import CounterFront, StreamingFront
from drivers.simulated.rig.ina219_meter import Ina219Meter
from drivers.simulated.rig.polled_meter import PolledMeter
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.rapl import zone_shares
from drivers.simulated.rig.shunt_meter import ShuntMeter, lsb_for
from drivers.simulated.rig.slow_meter import SlowMeter
from drivers.simulated.rig.trace_meter import TraceMeter
from drivers.simulated.rig.truth import TruthLog
from drivers.simulated.rig.virtual_board import VirtualBoard
from drivers.simulated.rig.workload import workload
from drivers.simulated.rig.world import World
from harness.core.bench_facts import PlaneModel
from harness.core.errors import SpecError
from harness.core.ports import Meter, MeterRequest, StreamingMeter
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.waiting import VirtualClock
from harness.exam.wired import ina219_opener, tegrastats_opener
from harness.io.sysfs import SystemFiles

MARKER_BITS = "1110010100011011"  # irregular, so that no shift of it looks like it
TRACE_GRID_NS = 100_000
TREE_MOVES_NS = 1_000_000  # of the powercap tree
HEADROOM = 1.5  # full scale of the shunt that is fitted, over the load's highest peak

DRIVERS = {
    "trace": {
        "supply": "trace",
        "shunt": "shunt",
        "counter": "counter",
        "ina219-shunt": "ina219-shunt",
        "ina219-both": "ina219-both",
        "tegrastats": "polled",
        "slow-mean": "slow-mean",
        "slow-filtered": "slow-filtered",
    },
    "wire": {
        "supply": "monsoon",
        "counter": "rapl",
        "ina219-shunt": "ina219",
        "ina219-both": "ina219",
        "tegrastats": "tegrastats",
    },
}
"""Depth -> meter of an exam bench -> its driver."""

RANGED = ("supply", "shunt")
"""Meters with a range of its own for a board at rest, where a world draws one."""

SLOW = ("slow-mean", "slow-filtered")
"""Meters that remember: lead-in and lead-out must last longer than that."""

USUAL = {"trace": ("supply", "shunt", "counter"), "wire": ("supply", "counter")}
"""Depth -> the meters of a bench that nobody says otherwise of; the first is the primary one."""


def exam_protocol() -> ProtocolSpec:
    """A short but complete protocol for virtual worlds: three process starts, brackets of 10 s."""
    return ProtocolSpec(
        profile="exam", gap="back-to-back", starts=3, inferences=None, measure_s=8.0, standby_s=10.0,
        settle_min_s=2.0, settle_max_s=30.0, warm_up_s=1.0, lead_in_s=0.5, lead_out_s=0.5, gap_max_s=0.0,
        probe_pauses=12, probe_pause_s=0.02, marker_bits=MARKER_BITS, marker_chip_s=0.05, output_tolerance_rel=1e-3,
    )  # fmt: skip


def exam_binding(depth: str, meter: str = "supply") -> MeterBinding:
    """A meter of an exam bench: at depth `trace` without a wire, at `wire` the shipped driver on a simulated device."""
    known = DRIVERS[depth]
    if meter not in known:
        raise SpecError(f"no meter {meter!r} at depth {depth}", hint=f"it has {', '.join(known)}")
    if known[meter] == "ina219":
        rails, plane, total = (("load", "board"),), "dc_input", ("board",)
    elif meter == "tegrastats":
        rails, plane, total = (("VDD_IN", "board"),), "dc_input", ("board",)
    elif meter == "counter":
        rails, plane, total = (("package-0", "package"),), "package", ("package",)
    else:
        rails, plane, total = (("main", "board"),), "dc_input", ("board",)
    return MeterBinding(name=meter, driver=known[meter], rails=rails, plane=plane, total_rails=total)


def exam_spec(
    seed: int, *, depth: str = "trace", protocol: ProtocolSpec | None = None, meters: Sequence[str] = ("supply",)
) -> RunSpec:
    """The RunSpec of world `seed`: a model that exists in the rig only. Two meters in one wire are said to be so."""
    bindings = tuple(exam_binding(depth, meter) for meter in meters)
    at_input = [binding.name for binding in bindings if binding.plane == "dc_input"]
    return RunSpec(
        campaign="exam",
        bench=f"world-{seed}",
        board=BoardSpec("virtual"),
        meters=bindings,
        model=ModelSpec(f"net{seed}", "rig:net", f"{zlib.crc32(str(seed).encode()):064x}", 1),
        runtime=RuntimeSpec(name="virtual"),
        protocol=protocol if protocol is not None else exam_protocol(),
        repetition=0,
        seed=seed,
        simulated=True,
        plane_models=tuple(PlaneModel(at_input[0], name, (1.0, 1.0), (0.0, 0.0)) for name in at_input[1:]),
    )


@dataclass(frozen=True)
class VirtualBench:
    """A world's bench in virtual time. `truth` is for the examiner; the runner gets board and meters."""

    world: World
    clock: VirtualClock
    rig: Rig
    board: VirtualBoard
    meters: tuple[tuple[MeterBinding, Callable[[], Meter]], ...]
    cleared: contextlib.ExitStack

    @property
    def truth(self) -> TruthLog:
        return self.rig.truth

    def close(self) -> None:
        """Remove what simulated devices left on the disk; only a bench at depth `wire` with a counter does."""
        self.cleared.close()


@contextlib.contextmanager
def closing(bench: VirtualBench) -> Iterator[VirtualBench]:
    try:
        yield bench
    finally:
        bench.close()


def load_share(binding: MeterBinding) -> float | None:
    """Share of the load's energy that a meter of an exam bench counts; None for one at the DC input."""
    if binding.plane == "dc_input":
        return None
    shares = zone_shares([channel for channel, _ in binding.rails])
    return float(sum(shares[channel] for channel, rail in binding.rails if rail in binding.total_rails))


def virtual_bench(world: World, spec: RunSpec, faults: Mapping[str, MeterFault] | None = None) -> VirtualBench:
    """Wire up the bench that `spec.meters` asks for; drivers of `DRIVERS` are known.

    `faults`: by the name of the meter that has one; for meters without a wire.
    """
    clock = VirtualClock()
    rig = Rig(world, now_ns=clock.now_ns(), grid_ns=TRACE_GRID_NS)
    board = VirtualBoard(rig, clock=clock, name=spec.board.name)
    cleared = contextlib.ExitStack()
    meters = tuple(
        (binding, _faulty(_opener(binding, spec, board, clock, cleared), (faults or {}).get(binding.name)))
        for binding in spec.meters
    )
    return VirtualBench(world, clock, rig, board, meters, cleared)


def _faulty(opener: Callable[[], Meter], fault: MeterFault | None) -> Callable[[], Meter]:
    if fault is None:
        return opener

    def opened() -> Meter:
        meter = opener()
        if not isinstance(meter, StreamingMeter):
            raise SpecError("a polled meter cannot be given a fault", hint="use --depth trace")
        return FaultyMeter(meter, fault)

    return opened


def _opener(
    binding: MeterBinding, spec: RunSpec, board: VirtualBoard, clock: VirtualClock, cleared: contextlib.ExitStack
) -> Callable[[], Meter]:
    rig = board.rig
    if binding.driver == "trace":
        return lambda: TraceMeter(rig, binding.name, clock=clock)
    if binding.driver == "shunt":
        lsb_w = lsb_for(_peak_w(rig.world, spec))
        return lambda: ShuntMeter(rig, binding.name, clock=clock, lsb_w=lsb_w)
    if binding.driver == "counter":
        share = load_share(binding)
        assert share is not None
        return lambda: CounterMeter(
            rig, binding.name, clock=clock, stamp=board.board_clock.stamp, clock_name=board.clock, share=share
        )
    if binding.driver in ("ina219-shunt", "ina219-both"):
        both, peak_w = binding.driver == "ina219-both", _peak_w(rig.world, spec)
        return lambda: Ina219Meter(rig, binding.name, clock=clock, both=both, peak_w=peak_w)
    if binding.driver in ("slow-mean", "slow-filtered"):
        filtered = binding.driver == "slow-filtered"
        return lambda: SlowMeter(rig, binding.name, clock=clock, filtered=filtered)
    if binding.driver == "polled":
        return lambda: PolledMeter(
            rig, binding.name, clock=clock, stamp=board.board_clock.stamp, clock_name=board.clock
        )
    if binding.driver == "ina219":
        return ina219_opener(binding, rig, clock, cleared, peak_w=_peak_w(rig.world, spec))
    if binding.driver == "tegrastats":
        return tegrastats_opener(binding, board, clock, cleared)
    if binding.driver == "monsoon":
        return _monsoon_opener(binding, rig, clock)
    if binding.driver == "rapl":
        return _rapl_opener(binding, rig, clock, cleared)
    raise SpecError(
        f"no meter {binding.driver!r} in virtual time",
        hint="use " + ", ".join(sorted({d for known in DRIVERS.values() for d in known.values()})),
    )


def _peak_w(world: World, spec: RunSpec) -> float:
    """What the owner of the bench expects the board to draw at most: he has seen its peaks, and leaves headroom."""
    work = workload(world, spec.to_json())
    return HEADROOM * (world.standby.idle_w + work.dynamic_w * max(work.exceeded(0.0), 1.0))


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


def _rapl_opener(
    binding: MeterBinding, rig: Rig, clock: VirtualClock, cleared: contextlib.ExitStack
) -> Callable[[], Meter]:
    """The shipped driver on a powercap tree in a temporary folder, moved while virtual time passes."""
    from drivers.rapl.meter import open_meter

    root = Path(cleared.enter_context(tempfile.TemporaryDirectory(prefix="joulebench-powercap-")))
    tree = simulator(root)
    cleared.callback(tree.close)
    names = [channel for channel, _ in binding.rails]
    front = CounterFront(rig, binding.name, zone_shares(names), now_ns=clock.now_ns())
    cleared.callback(front.close)

    request = MeterRequest(
        name=binding.name, options=dict(binding.options), rails=binding.rails, sysfs_root=root, simulated=True
    )
    return lambda: open_meter(request, clock=clock, files=_TimelyFiles(tree, front, clock))


class _TimelyFiles(SystemFiles):
    """The kernel's file calls on a powercap tree that moves once a millisecond, but only when somebody looks."""

    def __init__(self, tree: PowercapTree, front: CounterFront, clock: VirtualClock) -> None:
        self._tree, self._front, self._clock = tree, front, clock
        self._moved_ns = 0

    def read(self, fd: int) -> bytes:
        due_ns = self._clock.now_ns() // TREE_MOVES_NS * TREE_MOVES_NS
        if due_ns > self._moved_ns:
            self._moved_ns = due_ns
            for zone, energy_j in self._front.energies_j(due_ns).items():
                self._tree.set_energy_j(zone, energy_j)
        return super().read(fd)
