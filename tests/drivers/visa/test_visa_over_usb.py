"""The shipped driver over pyvisa and pyusb on a simulated USBTMC device: long answers, permission, unplugging."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

import numpy as np
import pytest

from drivers.simulated.visa import constant, simulator
from drivers.simulated.visa.usbtmc import TmcBackend
from drivers.visa.meter import open_meter
from harness.core.errors import BenchError, DeviceError
from harness.core.ports import MeterRequest
from harness.core.trace import join_blocks
from harness.core.waiting import NS_PER_S
from harness.io.visa_line import LineSettings
from harness.io.visa_pyvisa import open_pyvisa, visa_resources

pytestmark = pytest.mark.realtime
Session = pytest.importorskip("pyvisa_py.sessions", reason="the extra `visa` is not installed").Session
RESOURCE = "USB0::1510::8833::MY7::0::INSTR"


def plugged_in(name: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> TmcBackend:
    begin_ns = time.monotonic_ns()
    sim = simulator(name, constant(2.0, 5.0, begin_ns=begin_ns), begin_ns=begin_ns, seed=4)
    backend = TmcBackend(sim, vendor=1510, product=8833, serial="MY7", **more)
    monkeypatch.setattr("usb.backend.libusb1.get_backend", lambda *args, **kwargs: backend)
    # Without libusb on this machine pyvisa-py leaves USB out when it is first imported.
    monkeypatch.setattr(Session, "_session_classes", dict(Session._session_classes))
    monkeypatch.delitem(sys.modules, "pyvisa_py.usb", raising=False)
    importlib.import_module("pyvisa_py.usb")
    return backend


def test_it_is_listed_without_being_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged_in("n6705", monkeypatch)
    assert RESOURCE in visa_resources()


@pytest.mark.parametrize("name", ["n6705", "2281s"])
def test_answers_longer_than_a_transfer_come_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """1.6 s of Elog are 25 kB in a block, 800 readings as text 32 kB: pyvisa-py gives 20 kB at once."""
    plugged_in(name, monkeypatch)
    options: dict[str, str | int | float] = {"resource": RESOURCE, "instrument": name}
    options |= {"current_range": 3, "update_s": 0.0005} if name == "n6705" else {"plc": 0.1, "update_s": 0.002}
    meter = open_meter(MeterRequest("m", options, simulated=True))
    info = meter.open()
    meter.start()
    time.sleep(1.6)  # the reader is held up: all of it comes at once
    blocks = [meter.step(time.monotonic_ns() + NS_PER_S // 2), meter.stop()]
    meter.close()
    trace = join_blocks(info, [block for block in blocks if block is not None])
    assert not trace.gaps and not trace.counts
    assert len(trace) > 1.6 / (info.channels[0].reading.period_ns * 1e-9)
    assert np.mean(trace.power_w("power")) == pytest.approx(2.0, rel=0.01)


def test_a_late_answer_is_cleared_from_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = plugged_in("n6705", monkeypatch)
    line = open_pyvisa()(RESOURCE, LineSettings(timeout_s=0.5))
    backend.instrument.slow_ns = 300_000_000
    line.write("*IDN?")
    with pytest.raises(BenchError, match="did not answer"):
        line.read(0.05)
    backend.instrument.slow_ns = 0
    time.sleep(0.4)
    line.write("SYST:CHAN:MOD? (@1)")
    assert line.read() == b'"N6781A"'
    line.close()


def test_without_permission_the_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged_in("n6705", monkeypatch, allowed=False)
    with pytest.raises(DeviceError) as error:
        open_pyvisa()(RESOURCE, LineSettings())
    assert 'ATTR{idVendor}=="05e6"' in error.value.hint, str(error.value)


def test_what_is_not_plugged_in_or_pulled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = plugged_in("n6705", monkeypatch)
    with pytest.raises(DeviceError, match=r"cannot open .*No device found"):
        open_pyvisa()(RESOURCE.replace("MY7", "MY8"), LineSettings())
    line = open_pyvisa()(RESOURCE, LineSettings(timeout_s=0.3))
    backend.present = False
    with pytest.raises(DeviceError, match="is lost"):
        line.write("*IDN?")
    with pytest.raises(DeviceError, match="is lost"):
        line.read()
    line.close()
