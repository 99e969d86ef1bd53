"""From the files of a powercap tree to joules: the shipped driver and the shipped analysis together."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.readings.counter import counter_steps
from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import PowercapTree, simulator
from harness.core.ports import MeterRequest
from harness.core.trace import Block, Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock

POWER_W = 1500.0


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[PowercapTree]:
    tree = simulator(tmp_path, layout="amd")
    yield tree
    tree.close()


def record(tree: PowercapTree, seconds: float, *, reset_at_s: float | None = None) -> Trace:
    clock = VirtualClock()
    origin_ns = clock.now_ns()
    reset_done = reset_at_s is None

    def move(now_ns: int) -> None:
        nonlocal reset_done
        tree.set_energy_j("package-0", POWER_W * (now_ns - origin_ns) / NS_PER_S)
        if not reset_done and reset_at_s is not None and now_ns - origin_ns >= reset_at_s * NS_PER_S:
            tree.reset("package-0")
            reset_done = True

    clock.subscribe(move, period_ns=10_000_000)
    request = MeterRequest("rapl", {"poll_s": 0.5}, rails=(("package-0", "cpu"),), sysfs_root=tree.root)
    meter = open_meter(request, clock=clock)
    info = meter.open()
    meter.start()
    blocks = [meter.step(clock.now_ns() + round(seconds * NS_PER_S)), meter.stop()]
    meter.close()
    return join_blocks(info, [block for block in blocks if isinstance(block, Block)])


def test_many_wraps_are_counted_to_the_unit(tree: PowercapTree) -> None:
    trace = record(tree, 600.0)
    assert np.count_nonzero(np.diff(trace.columns["package-0:energy_uj"]) < 0) == 14
    steps = counter_steps(trace, trace.info.channel("package-0"))
    assert steps.plausible.all()
    taken_s = (steps.t_ns[-1] - steps.t_ns[0]) / NS_PER_S
    assert steps.energy_j.sum() == pytest.approx(POWER_W * taken_s, rel=1e-6)


def test_a_reset_is_left_out_and_not_taken_for_a_wrap(tree: PowercapTree) -> None:
    trace = record(tree, 60.0, reset_at_s=30.25)
    steps = counter_steps(trace, trace.info.channel("package-0"))
    assert 1 <= np.count_nonzero(~steps.plausible) <= 2
    taken_s = np.diff(steps.t_ns)[steps.plausible].sum() / NS_PER_S
    assert 59.0 <= taken_s <= 59.5
    assert steps.energy_j[steps.plausible].sum() == pytest.approx(POWER_W * taken_s, rel=1e-6)
