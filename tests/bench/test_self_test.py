"""A self-test says what is wrong with a meter: each defect of the device shows as a finding that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.monsoon.meter import open_meter
from drivers.simulated.monsoon import FunctionSource, HvpmDevice
from drivers.simulated.powercap import simulator
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.bench.self_test import self_test
from harness.bench.single_meter import HostMeter
from harness.core.errors import DeviceError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.waiting import NS_PER_S, VirtualClock


def findings(current_a: Any, voltage_v: Any = 5.0) -> dict[str, CheckItem]:
    clock = VirtualClock()
    source = FunctionSource(current_a, voltage_v, begin_ns=clock.now_ns())
    backend = InProcessUsbBackend([HvpmDevice(source, now_ns=clock.now_ns)])
    meter = HostMeter(open_meter(MeterRequest("supply", usb_backend=backend, simulated=True), clock=clock), clock)
    try:
        _, items = self_test(meter, seconds=3.0, advice="see the manual")
    finally:
        meter.close()
    return {item.name: item for item in items}


def unrest(level: float) -> Callable[[np.ndarray], np.ndarray]:  # type: ignore[type-arg]
    return lambda t_s: level * (1 + 0.01 * np.sin(2 * np.pi * 7 * t_s))


def test_a_working_meter_is_well() -> None:
    found = findings(unrest(0.5))
    assert all(item.ok for item in found.values()), found
    assert "2.5" in found["main: power"].found
    assert found["main: rate"].found.startswith("a reading every 0.0002 s")


def test_a_board_that_is_off() -> None:
    found = findings(0.0, 0.0)["main: power"]
    assert not found.ok
    assert "switch the board on" in found.mend


def test_a_counter_that_stands(tmp_path: Any) -> None:
    from drivers.rapl.meter import open_meter as open_rapl

    clock = VirtualClock()
    tree = simulator(tmp_path, layout="client")
    begin_ns = clock.now_ns()

    def move(now_ns: int) -> None:
        tree.set_energy_j("package-0", 20.0 * (now_ns - begin_ns) / NS_PER_S)

    clock.subscribe(move, period_ns=1_000_000)
    request = MeterRequest(
        "cpu", rails=(("package-0", "a"), ("package-0/uncore", "b")), sysfs_root=tmp_path, simulated=True
    )
    meter = HostMeter(open_rapl(request, clock=clock), clock)
    try:
        _, items = self_test(meter, seconds=2.0, advice="see the manual")
    finally:
        meter.close()
        tree.close()
    found = {item.name: item for item in items}
    assert found["package-0: counts"].ok
    assert not found["package-0/uncore: counts"].ok
    assert "leave package-0/uncore out" in found["package-0/uncore: counts"].mend


def test_what_the_driver_raises_goes_through() -> None:
    with pytest.raises(DeviceError, match="overcurrent"):
        findings(20.0)
