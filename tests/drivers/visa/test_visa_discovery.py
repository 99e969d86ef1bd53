"""What is plugged in is told without a word to it, and an opened instrument says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drivers.visa.discovery import find_attached
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest

FOUND = ("USB0::0x0B21::0x0025::C2PH13047V::INSTR", "TCPIP0::10.0.0.9::inst0::INSTR", "ASRL/dev/ttyS0::INSTR")


def test_a_usb_id_tells_the_description_and_all_else_must_be_said() -> None:
    first, second = find_attached(MeterRequest("any"), list_resources=lambda: FOUND)
    assert first.options == {"resource": FOUND[0], "instrument": "wt310"} and first.usable
    assert first.channels == ("power", "energy")
    assert second.options == {"resource": FOUND[1]} and not second.usable
    assert "wt310" in second.mend and "which instrument" in second.trouble


def test_without_pyvisa_nothing_is_found_and_nothing_fails() -> None:
    def missing() -> tuple[str, ...]:
        raise DeviceError("pyvisa is not installed")

    assert find_attached(MeterRequest("any"), list_resources=missing) == []


def items(meter: Any) -> dict[str, Any]:
    try:
        meter.open()
        return {item.name: item for item in meter.self_test()}
    finally:
        meter.close()


def test_a_healthy_instrument_is_found_well(bench: Callable[..., Any]) -> None:
    here = bench("wt310")
    found = items(here.meter(voltage_range=300, current_range=1))
    assert set(found) == {"answers", "error queue", "updates", "values", "voltage range", "current range"}
    assert all(item.ok for item in found.values()), found


def test_a_range_that_is_much_too_large_is_said_with_its_mend(bench: Callable[..., Any]) -> None:
    here = bench("wt310")
    found = items(here.meter(voltage_range=300, current_range=20))
    assert not found["current range"].ok and "current_range" in found["current range"].mend


def test_overload_a_pending_error_and_frozen_values_are_found(bench: Callable[..., Any]) -> None:
    here = bench("wt310")
    meter = here.meter(voltage_range=150, current_range=1)
    meter.open()
    here.sim.hear(b":NO:SUCH:THING", here.clock.now_ns())
    found = {item.name: item for item in meter.self_test()}
    assert not found["error queue"].ok and found["error queue"].found.startswith("113,")
    assert not found["values"].ok and "over range" in found["values"].found
    here.sim.updates.falls = lambda: None
    found = {item.name: item for item in meter.self_test()}
    assert not found["updates"].ok and "hold" in found["updates"].mend
    meter.close()
