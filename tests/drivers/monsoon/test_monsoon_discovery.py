"""Units found by their descriptors: named by serial number, and with the mend where they may not be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import usb.core

from drivers.monsoon.discovery import find_usb
from drivers.monsoon.meter import open_meter
from drivers.simulated.monsoon import HvpmFaults, HvpmUnit, LvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.ports import MeterRequest

Bench = Callable[..., Any]


def test_units_are_told_apart_by_serial_and_open_by_what_is_found(bench: Bench) -> None:
    one, two = bench(unit=HvpmUnit(serial=20_001)), bench(unit=replace(LvpmUnit.draw(3), serial=5_002))
    backend = InProcessUsbBackend([one.device, two.device])
    found = find_usb(MeterRequest("", usb_backend=backend))
    assert [(f.driver, dict(f.options), f.usable) for f in found] == [
        ("monsoon", {"serial": "20001"}, True),
        ("monsoon", {"serial": "5002"}, True),
    ]
    meter = open_meter(MeterRequest("supply", options=found[1].options, usb_backend=backend), clock=one.clock)
    assert meter.open().model == "LVPM"
    meter.close()
    assert not one.device.sampling


def test_nothing_plugged_in_and_no_libusb_are_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_usb(MeterRequest("", usb_backend=InProcessUsbBackend([]))) == []

    def none_found(**_: object) -> None:
        raise usb.core.NoBackendError("No backend available")

    monkeypatch.setattr(usb.core, "find", none_found)
    assert find_usb(MeterRequest("")) == []


def test_one_that_may_not_be_opened_says_what_to_type(bench: Bench) -> None:
    one = bench(faults=HvpmFaults(access_denied=True))
    (found,) = find_usb(MeterRequest("", usb_backend=one.backend))
    assert not found.usable
    assert "permission" in found.trouble
    assert "udevadm" in found.mend
