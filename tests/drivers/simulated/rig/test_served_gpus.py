"""GPUs on the simulated bench: which they are, and that they follow the load that the rig draws."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from drivers.simulated.nvidia.build import missing
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.nvidia import NVML_KIND, SHARE, Load, ServedGpus, machine_for
from drivers.simulated.rig.world import draw
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding


def _binding(*channels: str) -> MeterBinding:
    return MeterBinding("gpus", "nvml", tuple((c, c) for c in channels), "rail", channels)


def _rig() -> Rig:
    return Rig(draw(3, load_ranges("gpu")), now_ns=time.monotonic_ns())


@pytest.mark.parametrize(
    ("channels", "machine"),
    [
        (["gpu0/power", "gpu0/energy"], ("a100", 1)),
        (["gpu1/average"], ("rtx3090", 2)),
        (["gpu0/module-average", "gpu0/memory"], ("gh200", 1)),
        ([], ("a100", 1)),
    ],
)
def test_which_machine(channels: list[str], machine: tuple[str, int]) -> None:
    assert machine_for(_binding(*channels)) == machine


@pytest.mark.parametrize("channel", ["gpu0/watts", "package-0", "gpu9/power"])
def test_no_such_machine(channel: str) -> None:
    with pytest.raises(SpecError, match=channel):
        machine_for(_binding(channel))


def test_the_load_is_followed() -> None:
    rig = _rig()
    load = Load(rig)
    beside = rig.tap(load.begin_ns)
    begin_j = float(beside.energy_at(np.array([float(load.begin_ns)]), at_load=True)[0])
    for k in range(1, 800):
        load.follow(load.begin_ns + k * 4_000_000)
    for t_s in (2.0, 2.5, 3.19):
        true_j = float(beside.energy_at(np.array([load.begin_ns + t_s * 1e9]), at_load=True)[0]) - begin_j
        assert load.energy_j(t_s) == pytest.approx(true_j, abs=0.05)
    assert len(load._t_ns) < 8_000  # what is old is let go
    load.close()


def test_a_look_that_comes_late_still_knows_the_windows_since_the_last() -> None:
    rig = _rig()
    load = Load(rig)
    beside = rig.tap(load.begin_ns)
    times_s = (0.004, 2.8, 6.0)
    for t_s in times_s:
        load.follow(load.begin_ns + round(t_s * 1e9))
    ends = np.array([load.begin_ns + t_s * 1e9 for t_s in (0, 1.9, 2.9)])  # a window of 1 s that ended after 2.8 s
    begin_j, *true_j = beside.energy_at(ends, at_load=True).tolist()
    assert [load.energy_j(t_s) for t_s in (1.9, 2.9)] == pytest.approx([j - begin_j for j in true_j], abs=0.05)
    load.close()


@pytest.mark.realtime
@pytest.mark.skipif(missing() != "", reason=f"needs {missing()}")
def test_a_served_gpu_draws_its_share(tmp_path: Path) -> None:
    rig = _rig()
    binding = _binding("gpu0/instant", "gpu0/energy")
    served = ServedGpus(rig, binding, tmp_path, lambda: None)
    try:
        assert served.truth["shares"] == {"gpu0/instant": SHARE, "gpu0/energy": SHARE}
        time.sleep(0.3)
        shown_w = served._machine.state.gpus[0].instant_mw / 1000
        assert shown_w == pytest.approx(SHARE * rig.world.standby.idle_w, rel=0.25)
        library = NVML_KIND.reach(binding, tmp_path).nvml_library
        assert library is not None
        assert library.exists()
    finally:
        served.close()
