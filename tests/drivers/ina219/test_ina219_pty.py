"""The shipped pyserial port on a real pseudo-terminal, in real time: reading, sharing, unplugging, permission."""

import errno
import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import serial

from drivers.ina219.discovery import find_attached, find_sketches
from drivers.ina219.meter import open_meter
from drivers.simulated.ina219 import ChipUnit, PtyServer, simulator, steady
from harness.core.errors import DeviceError, TransientError
from harness.core.ports import MeterRequest
from harness.core.trace import join_blocks
from harness.io.serial_port import PyserialPort, open_pyserial


@pytest.fixture
def server() -> Iterator[PtyServer]:
    now_ns = time.monotonic_ns()
    device = simulator(steady(3.0, now_ns), begin_ns=now_ns, chip=ChipUnit())
    served = PtyServer(device)
    yield served
    served.close()


@pytest.mark.realtime
@pytest.mark.parametrize("options", [{"mode": "both"}, {"mode": "shunt", "format": "binary", "averaging": 2}], ids=str)
def test_a_streamer_on_a_pseudo_terminal(server: PtyServer, options: dict[str, Any]) -> None:
    meter = open_meter(MeterRequest("ina", {"port": server.path, **options}, simulated=True))
    info = meter.open()
    meter.start()
    blocks = []
    end_ns = time.monotonic_ns() + 1_500_000_000
    while time.monotonic_ns() < end_ns:
        block = meter.step(time.monotonic_ns() + 100_000_000)
        if block is not None:
            blocks.append(block)
    rest = meter.stop()
    meter.close()
    trace = join_blocks(info, blocks if rest is None else [*blocks, rest])
    seconds = (trace.t_ns[-1] - trace.t_ns[0]) * 1e-9
    assert seconds == pytest.approx(1.5, abs=0.4)
    assert trace.power_w("load").mean() == pytest.approx(3.0, rel=5e-3)
    assert len(trace) == pytest.approx(seconds * 1e9 / info.channel("load").reading.period_ns, rel=0.1)


@pytest.mark.realtime
def test_pulling_the_plug_is_a_device_error_that_names_the_port(server: PtyServer) -> None:
    meter = open_meter(MeterRequest("ina", {"port": server.path}, simulated=True))
    meter.open()
    meter.start()
    server.unplug()
    with pytest.raises(DeviceError, match=server.path):
        for _ in range(100):
            meter.step(time.monotonic_ns() + 20_000_000)
    meter.close()


def test_a_port_is_for_one_program_alone(server: PtyServer) -> None:
    first = PyserialPort(server.path, 115200)
    with pytest.raises(TransientError, match="another program"):
        PyserialPort(server.path, 115200)
    first.close()
    PyserialPort(server.path, 115200).close()


def test_a_pseudo_terminal_has_no_dtr_and_that_is_no_matter(server: PtyServer) -> None:
    port = PyserialPort(server.path, 2_000_000)
    with pytest.raises(OSError):
        port._port.dtr = False  # ENOTTY
    assert port.read(0.0) is not None
    port.close()
    port.close()
    with pytest.raises(DeviceError):
        port.read(0.0)


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="no serial device /dev/tty-none"):
        open_pyserial("/dev/tty-none", 115200)


def test_missing_permission_names_the_group_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI may be root, so the refusal is played."""

    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port /dev/ttyUSB0: [Errno 13] Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(DeviceError) as caught:
        open_pyserial("/dev/ttyUSB0", 115200)
    assert "sudo usermod -aG dialout $USER" in caught.value.hint


def test_common_adapters_are_found_without_being_opened(server: PtyServer) -> None:
    ports = [
        SimpleNamespace(device="/dev/ttyUSB9", description="x", vid=0x1A86, pid=0x7523),
        SimpleNamespace(device=os.devnull, description="x", vid=0x2341, pid=0x0043),
        SimpleNamespace(device="/dev/ttyS0", description="x", vid=None, pid=None),
        SimpleNamespace(device="/dev/ttyACM1", description="printer", vid=0x1234, pid=1),
    ]
    found = find_attached(MeterRequest("any"), list_ports=lambda: ports)
    assert [f.options["port"] for f in found] == [os.devnull, "/dev/ttyUSB9"]
    assert [f.usable for f in found] == [True, False]
    assert "dialout" in found[1].mend
    assert "CH340" in found[1].where
    assert find_sketches(MeterRequest("any")) == []
    assert find_attached(MeterRequest("any", serial_port=open_pyserial))[0].options == {"port": "sim"}
