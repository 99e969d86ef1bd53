"""pyvisa's lines over real sockets and pseudo-terminals: blocks, late answers, empty answers, what is not there."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.errors import DeviceError, SpecError, TransientError
from harness.io.visa_line import LineSettings, VisaLine
from harness.io.visa_pyvisa import open_pyvisa, visa_resources

pytestmark = pytest.mark.realtime
pytest.importorskip("pyvisa_py", reason="the extra `visa` is not installed")

FLOATS = struct.pack(">40f", *(k + 0.25 for k in range(40))) + b"\n\n\r\n" * 30
DEFINITE = b"#3%d" % len(FLOATS) + FLOATS
LARGE = b"#6200000" + bytes(range(256)) * 781 + bytes(64)
Answer = Callable[[bytes, Callable[[bytes], None]], None]


def instrument(line: bytes, send: Callable[[bytes], None]) -> None:
    """Answers of a fixed instrument; what it does not know it does not answer."""
    if line == b"*IDN?":
        send(b"ACME,PSU#5,1,0\n")
    elif line == b"DEF?":
        send(DEFINITE[:7])
        time.sleep(0.05)
        send(DEFINITE[7:] + b"\n")
    elif line == b"LARGE?":
        send(LARGE + b"\n")
    elif line == b"INDEF?":
        send(b"#0" + FLOATS[:161])  # stands at an end in its midst
        time.sleep(0.01)
        send(FLOATS[161:] + b"\n")
    elif line == b"LATE?":
        time.sleep(0.3)
        send(b"late\n")
    elif line == b"TWO?":
        send(b"1\n2\n")


def pm1000(line: bytes, send: Callable[[bytes], None]) -> None:
    """Over Ethernet every command is answered, a set with an end alone."""
    send(b"5.0,1.0\r\n" if line.endswith(b"?") else b"\r")


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A TCP server; its VISA resource."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    held = b""
                    while data := connection.recv(4096):
                        *lines, held = (held + data).split(b"\n")
                        for line in lines:
                            if line == b"DROP":
                                connection.shutdown(socket.SHUT_RDWR)
                            answer(line, connection.sendall)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"TCPIP0::127.0.0.1::{server.getsockname()[1]}::SOCKET"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@contextlib.contextmanager
def terminal(answer: Answer) -> Iterator[str]:
    """A pseudo-terminal; its VISA resource."""
    import tty

    master, slave = os.openpty()
    tty.setraw(slave)

    def serve() -> None:
        held = b""
        with contextlib.suppress(OSError):
            while data := os.read(master, 4096):
                *lines, held = (held + data).split(b"\n")
                for line in lines:
                    answer(line, lambda sent: [os.write(master, sent[k : k + 512]) for k in range(0, len(sent), 512)])

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"ASRL{os.ttyname(slave)}::INSTR"
    finally:
        os.close(slave)
        os.close(master)


@contextlib.contextmanager
def opened(resource: str, settings: LineSettings | None = None) -> Iterator[VisaLine]:
    line = open_pyvisa()(resource, settings or LineSettings(timeout_s=1.0))
    try:
        yield line
    finally:
        line.close()
        line.close()


@pytest.mark.parametrize("bus", [serving, terminal])
def test_blocks_with_ends_in_them_come_whole(bus: Callable[[Answer], contextlib.AbstractContextManager[str]]) -> None:
    with bus(instrument) as resource, opened(resource) as line:
        for _ in range(2):
            line.write("*IDN?")
            assert line.read() == b"ACME,PSU#5,1,0"
            line.write("DEF?")
            assert line.read() == DEFINITE
            line.write("INDEF?")
            assert line.read() == b"#0" + FLOATS


def test_a_large_block_comes_whole() -> None:
    with serving(instrument) as resource, opened(resource) as line:
        line.write("LARGE?")
        assert line.read() == LARGE


@pytest.mark.parametrize("bus", [serving, terminal])
def test_a_late_answer_is_never_taken_for_the_next_one(
    bus: Callable[[Answer], contextlib.AbstractContextManager[str]],
) -> None:
    with bus(instrument) as resource, opened(resource) as line:
        line.write("LATE?")
        with pytest.raises(TransientError, match="did not answer"):
            line.read(0.05)
        time.sleep(0.4)
        line.write("*IDN?")
        assert line.read() == b"ACME,PSU#5,1,0"


def test_what_nobody_fetched_is_drained() -> None:
    with serving(instrument) as resource, opened(resource) as line:
        line.write("TWO?")
        assert line.read() == b"1"
        assert line.drain() == 2
        line.write("UNKNOWN?")
        with pytest.raises(TransientError, match="did not answer"):
            line.read(0.05)


def test_an_instrument_that_answers_sets_is_kept_in_step() -> None:
    settings = LineSettings(read_end=b"\r", answers_sets=True, timeout_s=0.5)
    with serving(pm1000) as resource, opened(resource, settings) as line:
        for _ in range(3):
            line.write(":SEL:CLR")
            line.write(":SEL:WAT")
            line.write(":FRD?")
            assert line.read() == b"5.0,1.0"


def test_a_pause_between_commands_is_kept() -> None:
    with serving(instrument) as resource, opened(resource, LineSettings(pause_s=0.1)) as line:
        begin_s = time.monotonic()
        for _ in range(3):
            line.write("A")
        assert time.monotonic() - begin_s >= 0.2


def test_a_dropped_connection_is_a_device_that_is_gone() -> None:
    with serving(instrument) as resource, opened(resource) as line:
        line.write("DROP")
        with pytest.raises(DeviceError, match="is lost"):
            line.read(0.2)


def test_nobody_there_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DeviceError, match="nobody answers") as error:
        open_pyvisa()(f"TCPIP0::127.0.0.1::{port}::SOCKET", LineSettings())
    assert "LAN socket" in error.value.hint


def test_what_cannot_be_opened_says_what_to_do() -> None:
    with pytest.raises(SpecError, match="is no VISA resource"):
        open_pyvisa()("192.168.1.20", LineSettings())
    with pytest.raises(SpecError, match="no backend '@nothing'"):
        open_pyvisa("@nothing")("ASRL/dev/ttyUSB9::INSTR", LineSettings())
    with pytest.raises(DeviceError, match="cannot open ASRL/dev/no-such-port") as error:
        open_pyvisa()("ASRL/dev/no-such-port::INSTR", LineSettings())
    assert error.value.hint


def test_a_serial_port_is_held_alone() -> None:
    with terminal(instrument) as resource, opened(resource), pytest.raises(TransientError, match="in use"):
        open_pyvisa()(resource, LineSettings())


def test_a_closed_line_says_so() -> None:
    with serving(instrument) as resource:
        with opened(resource) as line:
            pass
        with pytest.raises(DeviceError, match="is not open"):
            line.write("*IDN?")


def test_listing_disturbs_nothing(tmp_path: Path) -> None:
    assert isinstance(visa_resources(), tuple)


def test_without_the_extra_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyvisa", None)
    with pytest.raises(SpecError, match="not installed") as error:
        open_pyvisa()("TCPIP0::127.0.0.1::1::SOCKET", LineSettings())
    assert "joulebench[visa]" in error.value.hint


def test_no_permission_names_the_rule_for_this_vendor() -> None:
    from harness.io.visa_pyvisa import _opening

    error = _opening("USB0::0x0B21::0x0025::X::INSTR", PermissionError(13, "Access denied (insufficient permissions)"))
    assert isinstance(error, DeviceError)
    assert 'ATTR{idVendor}=="0b21"' in error.hint
