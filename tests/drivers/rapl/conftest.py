"""A bench of the shipped RAPL driver on a powercap tree, in virtual time, shared by the tests beside it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.rapl import codec
from drivers.rapl.meter import Rapl, open_meter
from drivers.simulated.powercap import FaultyFiles, PowercapTree, simulator
from harness.core.ports import MeterRequest
from harness.core.trace import Block, MeterInfo, Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock

MS = 1_000_000
Watts = Mapping[str, float]


@dataclass
class Bench:
    """A driver on a tree that draws constant power a zone; every test turns one thing wrong."""

    tree: PowercapTree
    power_w: Watts
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    deny: bool = False

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.origin_ns = self.clock.now_ns()
        self.files = FaultyFiles(self.tree, deny=self.deny)
        self.blocks: list[Block] = []
        request = MeterRequest(
            "rapl",
            options=self.options,
            rails=tuple((channel, "rail") for channel in self.channels),
            sysfs_root=self.tree.root,
            simulated=True,
        )
        self.meter: Rapl = open_meter(request, clock=self.clock, files=self.files)

    def energy_j(self, zone: str) -> float:
        return self.power_w[zone] * (self.clock.now_ns() - self.origin_ns) / NS_PER_S

    def move(self, _now_ns: int = 0) -> None:
        for zone in self.power_w:
            self.tree.set_energy_j(zone, self.energy_j(zone))

    def start(self, *, update_ns: int = MS) -> MeterInfo:
        info = self.meter.open()
        self.clock.subscribe(self.move, period_ns=update_ns)
        self.meter.start()
        return info

    def run(self, seconds: float) -> None:
        block = self.meter.step(self.clock.now_ns() + round(seconds * NS_PER_S))
        if block is not None:
            self.blocks.append(block)

    def stop(self, info: MeterInfo) -> Trace:
        block = self.meter.stop()
        if block is not None:
            self.blocks.append(block)
        self.meter.close()
        return join_blocks(info, self.blocks)

    @staticmethod
    def gained_j(trace: Trace, channel: str) -> float:
        """Energy between first and last reading, wraps counted."""
        spec = trace.info.channel(channel)
        assert spec.modulus_raw is not None
        return float(codec.unwrapped_uj(trace.columns[spec.columns[0]], spec.modulus_raw)[-1]) * 1e-6

    @staticmethod
    def seconds(trace: Trace) -> float:
        return float(trace.t_ns[-1] - trace.t_ns[0]) / NS_PER_S

    def record(self, seconds: float, *, update_ns: int = MS) -> Trace:
        info = self.start(update_ns=update_ns)
        self.run(seconds)
        return self.stop(info)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], PowercapTree]]:
    trees: list[PowercapTree] = []

    def make(layout: str) -> PowercapTree:
        trees.append(simulator(tmp_path / layout, layout=layout))
        return trees[-1]

    yield make
    for tree in trees:
        tree.close()


@pytest.fixture
def make_bench() -> type[Bench]:
    return Bench
