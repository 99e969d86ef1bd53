"""The USB link over a unix socket: transfers, errors, ownership, a client that is killed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import usb.core
import usb.util
from hypothesis import given
from hypothesis import strategies as st

from drivers.simulated.usb_device import UsbFault, UsbServer, serve
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.io.usb_socket import SocketUsbBackend
from harness.io.usb_wire import (
    REPLY,
    REQUEST,
    EndpointDescription,
    Op,
    UsbDescription,
    describe,
    pack_batch,
    read_descriptions,
    receive_exactly,
    unpack_batch,
    usb_error,
)


class EchoDevice:
    """Answers control reads with what was written; its IN endpoint counts up while a host is attached."""

    def __init__(self, serial: str = "7") -> None:
        self.serial = serial
        self.present = True
        self.attached = 0
        self.advanced = 0
        self.written = b""
        self.ready: list[bytes] = []
        self.denied = False

    @property
    def description(self) -> UsbDescription:
        endpoints = (EndpointDescription(0x81, 64),)
        return UsbDescription(0x1234, 0x5678, self.serial, "Maker", "Echo", endpoints=endpoints)

    def open(self) -> None:
        if self.denied:
            raise UsbFault(errno.EACCES)

    def attach(self) -> None:
        self.attached += 1

    def detach(self) -> None:
        self.attached -= 1

    def reset(self) -> None:
        self.written = b""

    def control(self, setup: tuple[int, int, int, int], data: bytes, length: int) -> bytes:
        if setup[1] == 0x55:
            raise UsbFault(errno.EPIPE)
        if setup[0] & 0x80:
            return self.written[:length]
        self.written = struct.pack("<4H", *setup) + data
        return b""

    def bulk_in(self, endpoint: int, max_packets: int) -> list[bytes]:
        if not self.present:
            raise UsbFault(errno.ENODEV)
        out, self.ready = self.ready[:max_packets], self.ready[max_packets:]
        return out

    def advance(self) -> None:
        self.advanced += 1


@pytest.fixture
def device() -> EchoDevice:
    return EchoDevice()


@pytest.fixture
def server(device: EchoDevice, tmp_path: Path) -> Iterator[UsbServer]:
    with UsbServer([device, EchoDevice("8")], tmp_path / "usb", batch_s=0.002, idle_s=0.02) as server:
        yield server


def connect(tmp_path: Path, serial: str = "7") -> usb.core.Device:
    backend = SocketUsbBackend(tmp_path / "usb")
    return usb.core.find(backend=backend, custom_match=lambda d: d.serial_number == serial)


def wait_for(condition: object, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.005)
    return False


@pytest.mark.usefixtures("server")
def test_devices_are_found_with_their_strings(tmp_path: Path) -> None:
    found = list(usb.core.find(find_all=True, backend=SocketUsbBackend(tmp_path / "usb")))
    assert [(d.idVendor, d.serial_number, d.product, d.manufacturer) for d in found] == [
        (0x1234, "7", "Echo", "Maker"),
        (0x1234, "8", "Echo", "Maker"),
    ]
    assert [e.bEndpointAddress for e in found[0][0][(0, 0)]] == [0x81]


@pytest.mark.usefixtures("server")
def test_control_transfers_arrive_as_sent(tmp_path: Path) -> None:
    dev = connect(tmp_path)
    assert dev.ctrl_transfer(0x40, 0x12, 0x3456, 0x789A, b"\x01\x02\x03") == 3
    reply = bytes(dev.ctrl_transfer(0xC0, 0x01, 0, 0, 64))
    assert reply == struct.pack("<4H", 0x40, 0x12, 0x3456, 0x789A) + b"\x01\x02\x03"
    assert len(dev.ctrl_transfer(0xC0, 0x01, 0, 0, 4)) == 4
    usb.util.dispose_resources(dev)


@pytest.mark.usefixtures("server")
def test_errors_are_those_of_libusb(tmp_path: Path, device: EchoDevice) -> None:
    dev = connect(tmp_path)
    with pytest.raises(usb.core.USBError) as stalled:
        dev.ctrl_transfer(0x40, 0x55, 0, 0, b"")
    assert (stalled.value.backend_error_code, stalled.value.errno) == (-9, errno.EPIPE)
    with pytest.raises(usb.core.USBTimeoutError) as late:
        dev.read(0x81, 64, 20)
    assert (late.value.backend_error_code, late.value.errno) == (-7, errno.ETIMEDOUT)
    device.present = False
    for transfer in (lambda: dev.read(0x81, 64, 20), lambda: dev.ctrl_transfer(0x40, 1, 0, 0, b"")):
        with pytest.raises(usb.core.USBError) as gone:
            transfer()
        assert (gone.value.backend_error_code, gone.value.errno) == (-4, errno.ENODEV)


def test_timeouts_take_their_time_but_not_more(server: UsbServer, tmp_path: Path) -> None:
    dev = connect(tmp_path)
    begin = time.monotonic()
    with pytest.raises(usb.core.USBTimeoutError):
        dev.read(0x81, 64, 100)
    assert 0.09 < time.monotonic() - begin < 2.0
    usb.util.dispose_resources(dev)


@pytest.mark.usefixtures("server")
def test_packets_keep_borders_order_and_short_lengths(tmp_path: Path, device: EchoDevice) -> None:
    packets = [bytes([k] * (k % 65)) for k in range(200)]
    device.ready = list(packets)
    dev = connect(tmp_path)
    assert [bytes(dev.read(0x81, 64, 1000)) for _ in packets] == packets
    usb.util.dispose_resources(dev)


@pytest.mark.usefixtures("server")
def test_absent_device_is_not_listed_and_the_others_keep_their_places(tmp_path: Path, device: EchoDevice) -> None:
    device.present = False
    found = list(usb.core.find(find_all=True, backend=SocketUsbBackend(tmp_path / "usb")))
    assert [d.serial_number for d in found] == ["8"]


@pytest.mark.usefixtures("server")
def test_permission_denied(tmp_path: Path, device: EchoDevice) -> None:
    device.denied = True
    (dev,) = (d for d in usb.core.find(find_all=True, backend=SocketUsbBackend(tmp_path / "usb")) if d.address == 1)
    with pytest.raises(usb.core.USBError) as caught:
        dev.ctrl_transfer(0xC0, 1, 0, 0, 4)
    assert caught.value.errno == errno.EACCES


@pytest.mark.usefixtures("server")
def test_second_program_may_look_but_not_claim(tmp_path: Path, device: EchoDevice) -> None:
    first, second = connect(tmp_path), connect(tmp_path)
    usb.util.claim_interface(first, 0)
    assert second.serial_number == "7"
    with pytest.raises(usb.core.USBError) as busy:
        usb.util.claim_interface(second, 0)
    assert busy.value.errno == errno.EBUSY
    usb.util.dispose_resources(first)
    usb.util.claim_interface(second, 0)
    assert device.attached == 1
    usb.util.dispose_resources(second)


def _claim_and_hang(path: str, claimed: object) -> None:
    dev = usb.core.find(backend=SocketUsbBackend(path))
    usb.util.claim_interface(dev, 0)
    claimed.set()  # type: ignore[attr-defined]
    signal.pause()


@pytest.mark.usefixtures("server")
def test_killed_client_frees_its_claim_and_disturbs_nothing(tmp_path: Path, device: EchoDevice) -> None:
    spawn = multiprocessing.get_context("spawn")
    claimed = spawn.Event()
    client = spawn.Process(target=_claim_and_hang, args=(str(tmp_path / "usb"), claimed))
    client.start()
    assert claimed.wait(30)
    assert device.attached == 1
    os.kill(client.pid or 0, signal.SIGKILL)
    client.join(10)
    assert wait_for(lambda: device.attached == 0)
    device.ready = [b"after"]
    dev = connect(tmp_path)
    assert bytes(dev.read(0x81, 64, 1000)) == b"after"
    usb.util.dispose_resources(dev)


@pytest.mark.usefixtures("server")
def test_idle_devices_are_advanced(device: EchoDevice) -> None:
    assert wait_for(lambda: device.advanced > 2)


@pytest.mark.usefixtures("server")
def test_backend_travels_to_another_process(tmp_path: Path) -> None:
    backend = SocketUsbBackend(tmp_path / "usb")
    assert len(backend.descriptions()) == 2
    copy = pickle.loads(pickle.dumps(backend))
    assert len(copy.descriptions()) == 2
    backend.disconnect()
    copy.disconnect()


def test_no_server_is_an_empty_bus_error(tmp_path: Path) -> None:
    with pytest.raises(usb.core.USBError) as caught:
        SocketUsbBackend(tmp_path / "nothing").descriptions()
    assert caught.value.errno == errno.ENODEV


def test_server_that_goes_away_is_a_disconnect(tmp_path: Path, device: EchoDevice) -> None:
    server = serve([device], tmp_path / "usb")
    dev = connect(tmp_path)
    usb.util.claim_interface(dev, 0)
    server.close()
    with pytest.raises(usb.core.USBError) as caught:
        dev.read(0x81, 64, 100)
    assert caught.value.errno == errno.ENODEV
    assert device.attached == 0
    assert not (tmp_path / "usb").exists()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("junk", [b"\xff" * 6, REQUEST.pack(Op.BULK_IN, 0, 3) + b"abc", REQUEST.pack(99, 0, 0)])
def test_junk_on_the_link_harms_only_its_sender(tmp_path: Path, device: EchoDevice, junk: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(tmp_path / "usb"))
        link.sendall(junk)
        link.shutdown(socket.SHUT_WR)
        link.settimeout(5)
        while link.recv(100):
            pass
    dev = connect(tmp_path)
    assert dev.ctrl_transfer(0x40, 1, 0, 0, b"x") == 1
    usb.util.dispose_resources(dev)


def test_in_process_backend_behaves_the_same(device: EchoDevice) -> None:
    device.ready = [b"one", b"two"]
    dev = usb.core.find(backend=InProcessUsbBackend([device]))
    assert dev.serial_number == "7"
    assert [bytes(dev.read(0x81, 64, 1000)) for _ in range(2)] == [b"one", b"two"]
    with pytest.raises(usb.core.USBTimeoutError):
        dev.read(0x81, 64, 60_000)  # at once: nobody waits in virtual time
    with pytest.raises(usb.core.USBError) as stalled:
        dev.ctrl_transfer(0x40, 0x55, 0, 0, b"")
    assert stalled.value.errno == errno.EPIPE
    device.present = False
    with pytest.raises(usb.core.USBError) as gone:
        dev.ctrl_transfer(0x40, 1, 0, 0, b"")
    assert gone.value.errno == errno.ENODEV
    usb.util.dispose_resources(dev)


@given(st.lists(st.binary(max_size=255), max_size=60))
def test_batches_survive_the_round_trip(packets: list[bytes]) -> None:
    assert unpack_batch(pack_batch(packets)) == packets


def test_descriptions_survive_the_round_trip(device: EchoDevice) -> None:
    assert read_descriptions(describe([device.description])) == [device.description]


def test_receive_exactly_tells_a_closed_link() -> None:
    left, right = socket.socketpair()
    with left, right:
        right.sendall(REPLY.pack(0, 4)[:3])
        right.close()
        with pytest.raises(ConnectionResetError):
            receive_exactly(left, REPLY.size)


def test_time_out_is_its_own_exception() -> None:
    assert isinstance(usb_error(errno.ETIMEDOUT), usb.core.USBTimeoutError)
    assert not isinstance(usb_error(errno.EPIPE), usb.core.USBTimeoutError)
