"""The driver on the real clock, with the tree moved from another thread as the simulated bench moves it."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from drivers.rapl.meter import open_meter
from drivers.rapl.readings import SLOW_PASS_NS
from drivers.simulated.powercap import simulator
from harness.core.ports import MeterRequest
from harness.core.trace import Block, join_blocks

POWER_W = 80.0
SECONDS = 1.0


@pytest.mark.realtime
def test_power_over_a_second_of_real_time(tmp_path: Path) -> None:
    tree = simulator(tmp_path)
    over = threading.Event()
    begin_ns = time.monotonic_ns()

    def move() -> None:
        while not over.wait(0.001):
            tree.set_energy_j("package-0", POWER_W * (time.monotonic_ns() - begin_ns) * 1e-9)

    mover = threading.Thread(target=move)
    mover.start()
    meter = open_meter(MeterRequest("cpu", rails=(("package-0", "cpu"),), sysfs_root=tmp_path, simulated=True))
    try:
        info = meter.open()
        meter.start()
        blocks = [meter.step(time.monotonic_ns() + round(SECONDS * 0.25e9)) for _ in range(4)]
        blocks.append(meter.stop())
    finally:
        meter.close()
        over.set()
        mover.join()
        tree.close()
    trace = join_blocks(info, [block for block in blocks if isinstance(block, Block)])
    taken_s = float(trace.t_ns[-1] - trace.t_ns[0]) * 1e-9
    energy_j = trace.values("package-0:energy_uj")
    assert taken_s == pytest.approx(SECONDS, abs=0.5)
    assert np.all(np.diff(trace.t_ns) > SLOW_PASS_NS // 2)
    assert energy_j[-1] - energy_j[0] == pytest.approx(POWER_W * taken_s, abs=POWER_W * 0.2)  # both ends, a busy host
    assert not trace.gaps
