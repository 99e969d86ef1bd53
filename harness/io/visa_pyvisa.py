"""A `VisaLine` over pyvisa: USBTMC, VXI-11, HiSLIP and GPIB tell where a message ends, sockets and serial lines do not.

pyvisa and its pure Python backend are the extra `visa`, and are imported only when a line is opened.
"""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Iterator
from typing import Any

from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.waiting import NS_PER_S, RealClock
from harness.io.visa_framing import Framer
from harness.io.visa_line import LineSettings, OpenLine, VisaLine

INSTALL = "pip install 'joulebench[visa]'"
USB_RULE = (
    'echo \'SUBSYSTEM=="usb", ATTR{idVendor}=="VENDOR", MODE="0660", GROUP="plugdev"\' | '
    "sudo tee /etc/udev/rules.d/99-usbtmc.rules && sudo udevadm control --reload && sudo udevadm trigger"
)
PURE_PYTHON = "@py"
QUIET_S = 0.05
"""Silence after which an indefinite block is whole that stands at an end (raw sockets and serial lines)."""
STALE_S = 0.05
OPEN_S = 5.0
SINGLY = 64
"""So many bytes are drained one by one; then more at a time, and what a time-out cuts off is gone uncounted."""


def open_pyvisa(backend: str = PURE_PYTHON) -> OpenLine:
    """What opens lines to VISA resources, such as TCPIP0::192.168.1.20::5025::SOCKET.

    `backend`: as pyvisa names them ("@py", "@ivi" for a vendor's library). Opening raises SpecError (the extra, the
    backend or the form of the name), DeviceError (nobody is there, or no permission), TransientError (in use).
    """

    def opening(resource: str, settings: LineSettings) -> VisaLine:
        return PyvisaLine(resource, settings, backend=backend)

    return opening


def visa_resources(backend: str = PURE_PYTHON) -> tuple[str, ...]:
    """Names of the resources that the backend sees without speaking to any. Raw sockets are never among them."""
    manager = _manager(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the backend's advice on what else could be installed
        try:
            return tuple(sorted(manager.list_resources("?*")))
        except Exception as error:  # backends let anything through
            raise DeviceError(f"{backend} cannot list instruments: {error}", hint="give the resource's name") from error


class PyvisaLine:
    """One instrument. After a time-out the answer may still come: it is read away before the next command."""

    def __init__(self, resource: str, settings: LineSettings, *, backend: str = PURE_PYTHON) -> None:
        self._name, self._settings = resource, settings
        self._clock = RealClock()
        self._free_ns = 0  # not before then may the next command go out
        self._late = False  # an answer is under way that nobody waits for any more
        self._framer = Framer(settings.read_end)
        manager = _manager(backend)
        from pyvisa import errors

        self._visa_error: type[Exception] = errors.VisaIOError
        self._session: Any = _open(manager, resource)
        kind = type(self._session).__name__
        self._serial = kind == "SerialInstrument"
        self._socket = kind == "TCPIPSocket"
        self._framed = self._serial or self._socket
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        session = self._session
        session.timeout = round(self._settings.timeout_s * 1000)
        session.write_termination = None
        session.read_termination = chr(self._settings.read_end[-1]) if self._framed else None
        if self._serial:
            with self._told():
                session.baud_rate = self._settings.baud
            self._hold_alone()
        if self._socket:
            self._send_at_once()
            if not self._connected():
                raise DeviceError(
                    f"nobody answers at {self._name}",
                    hint="is it on, and its LAN socket enabled? `ping` it, and check the port in its manual",
                )

    def _send_at_once(self) -> None:
        """No waiting for more bytes: a command that asks nothing would hold up the next by 40 ms."""
        import socket

        line = self._below()
        if isinstance(line, socket.socket):  # pyvisa-py 0.8 does not know the attribute
            with contextlib.suppress(OSError):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return
        from pyvisa import constants

        with contextlib.suppress(self._visa_error, NotImplementedError):
            self._opened().set_visa_attribute(constants.ResourceAttribute.tcpip_nodelay, True)

    def _hold_alone(self) -> None:
        """A serial port for this process alone, where pyvisa-py opened it. TransientError while another has it."""
        port = self._below()
        if hasattr(port, "exclusive"):
            try:
                port.exclusive = True
            except OSError as error:
                raise _opening(self._name, error) from error

    # --- VisaLine --------------------------------------------------------------------------------

    def write(self, message: str) -> None:
        """One program message, without its end. TransientError if a set that is always answered is not."""
        if self._late:
            self.drain()
        self._clock.sleep_until(self._free_ns)
        data = message.encode("ascii", "strict") + (self._settings.write_end if self._framed else b"\n")
        with self._told(message):
            self._opened().write_raw(data)
        if self._settings.answers_sets and self._socket and "?" not in message:
            answer = self.read()
            if answer:
                self._late = True
                raise TransientError(
                    f"{self._name} answered {message!r} with {answer[:40]!r}, an answer to something else",
                    hint="run again; if it stays so, is another program connected to it?",
                )
        self._free_ns = self._clock.now_ns() + round(self._settings.pause_s * NS_PER_S)

    def read(self, timeout_s: float | None = None) -> bytes:
        """The next response message; TransientError if none comes within `timeout_s` (None: the settings' time)."""
        limit_s = self._settings.timeout_s if timeout_s is None else timeout_s
        if not self._framed:
            return self._read_from_bus(limit_s)
        end_ns = self._clock.now_ns() + round(limit_s * NS_PER_S)
        while (message := self._framer.take()) is None:
            if self._framer.ends_if_silent:
                chunk = self._quiet()
                if not chunk:
                    return self._framer.take_rest()
            else:
                chunk = self._some(max(0.001, (end_ns - self._clock.now_ns()) / NS_PER_S))
            self._framer.feed(chunk)
        return message

    def drain(self) -> int:
        """Read away what nobody fetched, also what is half there; at least so many bytes (0: the bus is cleared)."""
        self._late = False
        if not self._framed:
            with contextlib.suppress(self._visa_error, NotImplementedError, OSError):
                self._opened().clear()
            return 0
        count, size = self._framer.clear(), 1
        while True:
            with self._waiting(STALE_S):
                try:
                    data = self._opened().read_bytes(size)
                except self._visa_error as error:
                    if not _timed_out(error):
                        raise self._lost(error) from error
                    if size == 1:
                        self._still_there()
                        return count
                    size = 1
                    continue
                except OSError as error:
                    raise self._lost(error) from error
            count += len(data)
            size = min(2 * size, 4096) if count >= SINGLY else 1

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):
                session.close()

    # --- reading ---------------------------------------------------------------------------------

    def _read_from_bus(self, limit_s: float) -> bytes:
        """One message of a bus that says where it ends. pyvisa-py 0.8 gives long ones in parts of `chunk_size`."""
        self._framer.clear()
        while True:
            with self._waiting(limit_s), self._told():
                data = bytes(self._opened().read_raw())
            self._framer.feed(data)
            if (message := self._framer.take()) is not None:
                self._framer.clear()
                return message
            if not data or len(data) % self._opened().chunk_size:
                break
        try:
            return self._framer.take_rest()
        except ValueError as error:
            self._framer.clear()
            raise TransientError(f"{self._name}: {error}", hint="run again; a shorter cable, no hub") from None

    def _some(self, limit_s: float) -> bytes:
        """What comes next: to an end, or as much as a block misses."""
        wanted = self._framer.missing
        with self._waiting(limit_s), self._told():
            data = self._opened().read_bytes(wanted) if wanted > 1 else self._opened().read_raw()
        return bytes(data)

    def _quiet(self) -> bytes:
        """One byte, or none if none comes in `QUIET_S`."""
        with self._waiting(QUIET_S):
            try:
                data = bytes(self._opened().read_bytes(1))
            except self._visa_error as error:
                if _timed_out(error):
                    return b""
                raise self._lost(error) from error
        return data

    @contextlib.contextmanager
    def _waiting(self, limit_s: float) -> Iterator[None]:
        session = self._opened()
        wanted = max(1, round(limit_s * 1000))
        if session.timeout != wanted:
            session.timeout = wanted
        yield

    # --- errors ----------------------------------------------------------------------------------

    def _opened(self) -> Any:
        if self._session is None:
            raise DeviceError(f"{self._name} is not open", hint="open the meter first")
        return self._session

    @contextlib.contextmanager
    def _told(self, message: str = "") -> Iterator[None]:
        """Errors of pyvisa and of what is below it, as ours."""
        try:
            yield
        except self._visa_error as error:
            if not _timed_out(error):
                raise self._lost(error) from error
            self._framer.clear()
            self._late = True
            self._still_there()
            what = f" to {message!r}" if message else ""
            raise TransientError(
                f"{self._name} did not answer{what} in time",
                hint="it may be busy, or not know the command: look at its display for an error, then run again",
            ) from error
        except (OSError, ValueError) as error:  # of sockets, pyserial, pyusb: pyvisa-py lets them through
            raise self._lost(error) from error

    def _still_there(self) -> None:
        """DeviceError if the other side of a socket has gone: pyvisa-py calls that a time-out."""
        if self._socket and not self._connected():
            raise self._lost("it closed the connection")

    def _connected(self) -> bool:
        """Of a socket of pyvisa-py; True where it cannot be known."""
        import socket

        line = self._below()
        if not isinstance(line, socket.socket):
            return True
        try:
            line.getpeername()
            return line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _below(self) -> Any:
        """pyvisa-py's own socket or port; None with other backends."""
        session = self._opened()
        sessions = getattr(session.visalib, "sessions", {})
        return getattr(sessions.get(session.session), "interface", None)

    def _lost(self, error: object) -> DeviceError:
        return DeviceError(
            f"the connection to {self._name} is lost: {error}",
            hint="look at cable, network and the instrument's display, then run again",
        )


def _timed_out(error: Exception) -> bool:
    from pyvisa import constants

    return getattr(error, "error_code", None) == constants.StatusCode.error_timeout


def _manager(backend: str) -> Any:
    try:
        import pyvisa
    except ImportError as error:
        raise SpecError(
            "instruments over VISA need the package pyvisa, which is not installed", hint=INSTALL
        ) from error
    try:
        return pyvisa.ResourceManager(backend)
    except (ValueError, OSError) as error:
        hint = INSTALL if backend == PURE_PYTHON else "install the vendor's VISA library, or leave `backend` away"
        raise SpecError(f"pyvisa has no backend {backend!r}: {str(error).splitlines()[0]}", hint=hint) from error


def _open(manager: Any, resource: str) -> Any:
    try:
        return manager.open_resource(resource, open_timeout=round(OPEN_S * 1000))
    except Exception as error:  # pyvisa-py lets through what the layers below it raise, of any type
        raise _opening(resource, error) from error


def _opening(resource: str, error: Exception) -> BenchError:
    """Why a resource could not be opened, as ours."""
    text = str(error)
    number = getattr(error, "errno", None)
    name = type(error).__name__
    if "InvalidResourceName" in name or "INV_RSRC_NAME" in text or "could not parse" in text.lower():
        return SpecError(
            f"{resource!r} is no VISA resource",
            hint="TCPIP0::192.168.1.20::5025::SOCKET, USB0::0x0B21::0x0025::SERIAL::INSTR, or ASRL/dev/ttyUSB0::INSTR",
        )
    forbidden = "Permission denied" in text or "Access denied" in text or _hidden(resource)
    if number in (errno.EACCES, errno.EPERM) or forbidden:
        if resource.upper().startswith("ASRL"):
            return DeviceError(
                f"no permission to open {resource}", hint="sudo usermod -aG dialout $USER  # then log out and in"
            )
        return DeviceError(
            f"no permission to open {resource}",
            hint=USB_RULE.replace("VENDOR", _vendor(resource)) + "  # plug it in anew",
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text or "Resource busy" in text:
        return TransientError(f"{resource} is in use by another program", hint="end it, then run again")
    if name == "NoBackendError" or "No backend available" in text:
        return DeviceError(f"no USB library for {resource}", hint="sudo apt install libusb-1.0-0")
    if "not supported" in text.lower() or "Please install" in text:
        return SpecError(f"this backend cannot open {resource}: {text.splitlines()[0]}", hint=INSTALL)
    return DeviceError(
        f"cannot open {resource}: {text.splitlines()[0] if text else name}",
        hint="is it on and connected? `joulebench meters list` shows what is there",
    )


def _hidden(resource: str) -> bool:
    """Is the USB device there, but may not be asked for its serial number? Then pyvisa-py finds no device."""
    import usb.core

    try:
        _, vendor, product, *_ = resource.split("::")
        device = usb.core.find(idVendor=int(vendor, 0), idProduct=int(product, 0))
    except (ValueError, usb.core.NoBackendError):
        return False
    if device is None or not resource.upper().startswith("USB"):
        return False
    try:
        str(device.serial_number)
    except (ValueError, NotImplementedError, usb.core.USBError):
        return True
    return False


def _vendor(resource: str) -> str:
    """The vendor of a USB resource as udev writes it."""
    parts = resource.split("::")
    try:
        return f"{int(parts[1], 0):04x}"
    except (IndexError, ValueError):
        return "????"
