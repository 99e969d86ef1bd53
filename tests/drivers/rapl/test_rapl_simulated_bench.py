"""Registers on the simulated bench in real time: served by one process, read by the driver in another."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.readings.counter import counter_steps
from drivers.rapl.meter import open_meter
from drivers.simulated.rig.client import SimulatedBench, live_benches
from drivers.simulated.rig.served.registry import kind_of
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding
from harness.core.trace import join_blocks

RAILS = (("package-0", "cpu"), ("package-0/dram", "dram"))


@pytest.fixture
def parent() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="jb-"))  # short: socket paths are limited
    yield folder
    for bench in live_benches(folder):
        bench.quit()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.realtime
def test_registers_are_served_and_read(parent: Path) -> None:
    binding = MeterBinding("cpu", "rapl", RAILS, "package", ("cpu",), options=(("interface", "msr"),))
    bench = SimulatedBench.attach(parent, meters=[binding], world="ideal", seed=3)
    meter = open_meter(bench.meter_request(binding))
    info = meter.open()
    assert info.details["interface"] == "msr" and info.simulated
    meter.start()
    blocks = [meter.step(time.monotonic_ns() + 800_000_000), meter.stop()]
    meter.close()
    bench.quit()
    trace = join_blocks(info, [block for block in blocks if block is not None])
    for channel, watts in (("package-0", 2.0 * 0.75 / 2), ("package-0/dram", 2.0 * 0.15 / 2)):  # idle; two sockets
        steps = counter_steps(trace, info.channel(channel))
        seconds = float(steps.t_ns[-1] - steps.t_ns[0]) * 1e-9
        assert steps.energy_j.sum() == pytest.approx(watts * seconds, rel=0.1)
    assert not trace.gaps


def test_events_are_not_served(tmp_path: Path) -> None:
    binding = MeterBinding("cpu", "rapl", RAILS, "package", ("cpu",), options=(("interface", "perf"),))
    with pytest.raises(SpecError, match="perf events cannot be simulated for another process"):
        kind_of(binding).serve(None, binding, tmp_path, lambda: None)  # type: ignore[arg-type]
