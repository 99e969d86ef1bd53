"""Finding and opening the meter, its options, and the guards around its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import usb.core

from drivers.monsoon.fields import Opcode
from drivers.monsoon.meter import open_meter
from drivers.simulated.monsoon import HvpmFaults, HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest

Bench = Callable[..., Any]
QUIET = HvpmUnit(noise_counts=0.0, voltage_noise_counts=0.0, zero_walk=0.0, invalid_rate=0.0)

# --- output -------------------------------------------------------------------------------------------


def test_set_voltage_and_back(bench: Bench) -> None:
    one = bench()
    one.meter.open()
    one.meter.set_voltage(4.2)
    assert one.meter.voltage_v() == pytest.approx(4.2, abs=1e-6)
    one.meter.set_voltage(0)
    assert one.device.output_v == 0.0


@pytest.mark.parametrize(
    "field", [{"dac_cal_low": 0xD000}, {"dac_cal_low": 0xF000}, {"dac_cal_high": 0xC000}, {"dac_cal_high": 0xD000}]
)
def test_dac_guard_refuses_to_set_a_voltage(bench: Bench, field: dict[str, int]) -> None:
    one = bench(unit=dataclasses.replace(QUIET, **field))
    one.meter.open()
    with pytest.raises(DeviceError, match="DAC_CAL_"):
        one.meter.set_voltage(4.2)
    assert one.device.output_v == 5.0


@pytest.mark.parametrize("voltage_v", [0.5, 14.0, -1.0, float("nan")])
def test_voltage_outside_the_range_is_refused(bench: Bench, voltage_v: float) -> None:
    one = bench()
    one.meter.open()
    with pytest.raises(SpecError, match=r"outside 0\.8-13\.5"):
        one.meter.set_voltage(voltage_v)


def test_voltage_is_left_alone_while_sampling(bench: Bench) -> None:
    one = bench()
    one.begin()
    for attempt in (one.meter.voltage_v, lambda: one.meter.set_voltage(4.0)):
        with pytest.raises(DeviceError, match="while the Monsoon samples"):
            attempt()


def test_voltage_option_only_verifies(bench: Bench) -> None:
    bench(options={"voltage_v": 5.0}).meter.open()
    one = bench(options={"voltage_v": 3.7})
    with pytest.raises(DeviceError, match=r"set to 5\.000 V, the bench says voltage_v: 3\.7") as caught:
        one.meter.open()
    assert "never changes the voltage" in caught.value.hint
    assert one.device.output_v == 5.0


# --- finding it -----------------------------------------------------------------------------------------


def test_no_device(bench: Bench) -> None:
    one = bench()
    one.device.present = False
    with pytest.raises(DeviceError, match="no Monsoon") as caught:
        one.meter.open()
    assert "lsusb" in caught.value.hint


def test_several_devices_ask_for_the_serial(bench: Bench) -> None:
    first, second = (bench(unit=dataclasses.replace(QUIET, serial=s)).device for s in (20_001, 20_002))
    backend = InProcessUsbBackend([first, second])
    with pytest.raises(DeviceError, match="2 Monsoons are connected: 20001, 20002") as caught:
        open_meter(MeterRequest("supply", usb_backend=backend)).open()
    assert "serial" in caught.value.hint
    chosen = open_meter(MeterRequest("supply", options={"serial": 20_002}, usb_backend=backend))
    assert chosen.open().serial == "20002"
    chosen.close()
    with pytest.raises(DeviceError, match="no Monsoon with serial '7'"):
        open_meter(MeterRequest("supply", options={"serial": "7"}, usb_backend=backend)).open()


def test_permission_error_prints_the_udev_rule(bench: Bench) -> None:
    one = bench(faults=HvpmFaults(access_denied=True))
    with pytest.raises(DeviceError, match="permission issue") as caught:
        one.meter.open()
    assert 'ATTR{idVendor}=="2ab9"' in caught.value.hint


def test_missing_libusb_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found(**_: object) -> None:
        raise usb.core.NoBackendError("No backend available")

    monkeypatch.setattr(usb.core, "find", none_found)
    with pytest.raises(DeviceError, match="libusb") as caught:
        open_meter(MeterRequest("supply")).open()
    assert "apt install libusb-1.0-0" in caught.value.hint


@pytest.mark.parametrize(("model", "name"), [(3, "unknown"), (0, "unknown")])
def test_other_models_are_refused_by_name(bench: Bench, model: int, name: str) -> None:
    with pytest.raises(DeviceError, match=name):
        bench(unit=dataclasses.replace(QUIET, model=model)).meter.open()


# --- options --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": "main"}, "unknown option 'chanels'"),
        ({"channels": "main,vdd"}, "no channel 'vdd'"),
        ({"channels": "main,aux"}, "share one voltage"),
        ({"cal_ms": 0}, "cal_ms is 0"),
        ({"cal_ms": 70_000}, "cal_ms is 70000"),
        ({"aux_signed": 2}, "aux_signed is 2"),
        ({"voltage_v": "5"}, "voltage_v is '5'"),
    ],
)
def test_bad_options_are_spec_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        open_meter(MeterRequest("supply", options=options))


def test_channels_default_to_the_rails(bench: Bench) -> None:
    one = bench()
    request = MeterRequest("supply", rails=(("usb", "vbus"), ("main", "board")), usb_backend=one.backend)
    meter = open_meter(request, clock=one.clock)
    assert [c.name for c in meter.open().channels] == ["usb", "main"]
    meter.close()


def test_aux_channel_selects_its_voltage_word(bench: Bench) -> None:
    one = bench(unit=QUIET, current_a=0.002, feeds="aux", options={"channels": "aux"})
    one.begin()
    assert one.device._registers[Opcode.VOLTAGE_CHANNEL] == 1
    one.run(1.0)
    assert float(one.finish().power_w("aux").mean()) == pytest.approx(5.0 * 0.002, rel=1e-3)


def test_usb_channel_measures_its_own_supply(bench: Bench) -> None:
    one = bench(unit=QUIET, current_a=0.3, feeds="usb", options={"channels": "usb"})
    one.begin()
    one.run(1.0)
    assert float(one.finish().power_w("usb").mean()) == pytest.approx(5.0 * 0.3, rel=1e-3)
