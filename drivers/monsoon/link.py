"""USB discovery and transfers for both models: the only place that calls pyusb, and where its errors become ours."""

from __future__ import annotations

import contextlib
import errno
from array import array
from collections.abc import Callable
from typing import Any

import usb.core
import usb.util

from drivers.monsoon import control
from drivers.monsoon.control import BadTransfer, Setup
from drivers.monsoon.fields import (
    BULK_IN,
    CDC_CLASSES,
    FIRMWARE_WITH_SAMPLE_BIT,
    PACKET_BYTES,
    PRODUCT_ID,
    SAMPLE_MODE_BIT,
    VENDOR_ID,
    Opcode,
)
from harness.core.errors import BenchError, DeviceError, TransientError

Tap = Callable[[str, bytes], None]

CONTROL_TIMEOUT_MS = 5000
UDEV_RULE = (
    'echo \'SUBSYSTEM=="usb", ATTR{idVendor}=="2ab9", ATTR{idProduct}=="0001", MODE="0660", GROUP="plugdev"\''
    " | sudo tee /etc/udev/rules.d/60-monsoon.rules && sudo udevadm control --reload && sudo udevadm trigger"
)


def translated(error: usb.core.USBError, doing: str) -> BenchError:
    """A pyusb error as ours: permission and disconnection are DeviceError, the rest may pass."""
    number = error.errno
    if number == errno.EACCES:
        return DeviceError(
            f"no permission to use the Monsoon while {doing}", hint=f"{UDEV_RULE}  # then plug the meter in again"
        )
    if number == errno.ENODEV:
        return DeviceError(
            f"the Monsoon disconnected while {doing}", hint="check cable, hub and the meter's supply, then run again"
        )
    if number == errno.EBUSY:
        return TransientError(
            f"the Monsoon is in use by another program while {doing}",
            hint="end the other program (lsof /dev/bus/usb/*/*), then run again",
        )
    return TransientError(f"USB transfer failed while {doing}: {error}", hint="run again; try another port or cable")


class MonsoonLink:
    """An open unit. Numbers in, numbers out; errors are DeviceError and TransientError."""

    def __init__(self, device: Any, tap: Tap | None = None) -> None:
        self._device, self._tap = device, tap
        self._packet = array("B", bytes(PACKET_BYTES))
        self._view = memoryview(self._packet)

    @classmethod
    def find(cls, *, backend: Any, serial: str | None, tap: Tap | None = None) -> MonsoonLink:
        """The unit with this serial number, or the only one there is; DeviceError says what was found.

        `tap` is called with ("out", setup and data) and ("in", reply or packet) for every transfer.
        """
        try:
            found = list(usb.core.find(find_all=True, idVendor=VENDOR_ID, idProduct=PRODUCT_ID, backend=backend))
        except usb.core.NoBackendError:
            raise DeviceError("libusb is not installed", hint="sudo apt install libusb-1.0-0") from None
        except usb.core.USBError as error:
            raise translated(error, "looking for it") from error
        serials = {serial_of(device): device for device in found}
        if not found:
            raise DeviceError(
                "no Monsoon power monitor (USB 2ab9:0001) is connected",
                hint="connect it and switch it on; `lsusb -d 2ab9:` must list it",
            )
        if serial is None and len(found) > 1:
            raise DeviceError(
                f"{len(found)} Monsoons are connected: {', '.join(sorted(serials))}",
                hint="name one with the meter's option `serial`",
            )
        if serial is not None and serial not in serials:
            raise DeviceError(
                f"no Monsoon with serial {serial!r}; connected: {', '.join(sorted(serials))}",
                hint="correct the meter's option `serial`",
            )
        link = cls(serials[serial] if serial is not None else found[0], tap)
        link._claim()
        return link

    @property
    def serial(self) -> str:
        return serial_of(self._device)

    def _claim(self) -> None:
        try:
            interface = self._device[0][(0, 0)]
            if interface.bInterfaceClass in CDC_CLASSES:
                raise DeviceError(
                    f"Monsoon {self.serial} has the old serial firmware (a CDC port), which this driver does not speak",
                    hint="use driver monsoon-serial for it (docs/meters/monsoon-serial.md)",
                )
            with contextlib.suppress(NotImplementedError):  # only Linux has kernel drivers to detach
                if self._device.is_kernel_driver_active(0):
                    self._device.detach_kernel_driver(0)
            self._device.set_configuration()
            usb.util.claim_interface(self._device, 0)
        except usb.core.USBError as error:
            raise translated(error, "opening it") from error

    def _transfer(self, setup: Setup, doing: str) -> bytes:
        stage: Any = setup.length if setup.request_type & 0x80 else setup.data
        try:
            reply = self._device.ctrl_transfer(
                setup.request_type, setup.request, setup.value, setup.index, stage, CONTROL_TIMEOUT_MS
            )
        except usb.core.USBError as error:
            raise translated(error, doing) from error
        answer = bytes(reply) if setup.request_type & 0x80 else b""
        if self._tap is not None:
            self._tap("out", setup.to_bytes())
            if answer:
                self._tap("in", answer)
        return answer

    def try_get(self, opcode: Opcode, *, size: int, signed: bool = False) -> int | None:
        """A register, or None when the unit answers with its error word (it is sampling)."""
        reply = self._transfer(control.get_value(opcode), f"asking {opcode.name}")
        try:
            return control.parse_value(reply, size=size, signed=signed)
        except BadTransfer as error:
            raise TransientError(f"asking {opcode.name}: {error}", hint="run again; try another cable") from None

    def get(self, opcode: Opcode, *, size: int, signed: bool = False) -> int:
        value = self.try_get(opcode, size=size, signed=signed)
        if value is None:
            raise DeviceError(
                f"the Monsoon answers {opcode.name} with its error word: it is still sampling",
                hint="power-cycle the meter (this switches the board off)",
            )
        return value

    def set(self, opcode: Opcode, value: int) -> None:
        self._transfer(control.set_value(opcode, value), f"setting {opcode.name}")

    def sampling(self) -> bool:
        """Sample mode: by the status bit, and by the error word, which older firmware gives as well."""
        firmware = self.get(Opcode.FIRMWARE, size=1)
        if firmware >= FIRMWARE_WITH_SAMPLE_BIT and self.get(Opcode.STATUS, size=1) & SAMPLE_MODE_BIT:
            return True
        return self.try_get(Opcode.MODEL, size=1) is None

    def start(self, *, cal_ms: int) -> None:
        self._transfer(control.start(cal_ms=cal_ms), "starting to sample")

    def stop(self) -> None:
        self._transfer(control.stop(), "stopping to sample")

    def read(self, timeout_ms: int) -> memoryview | None:
        """One packet (valid until the next read), or None on time-out."""
        try:
            count = self._device.read(BULK_IN, self._packet, timeout_ms)
        except usb.core.USBTimeoutError:
            return None
        except usb.core.USBError as error:
            raise translated(error, "sampling") from error
        if self._tap is not None:
            self._tap("in", bytes(self._view[:count]))
        return self._view[:count]

    def release(self) -> None:
        """Let go of the interface; never raises, never touches the unit's settings."""
        try:
            usb.util.dispose_resources(self._device)
        except usb.core.USBError:
            return  # the unit is gone: there is nothing left to release


def serial_of(device: Any) -> str:
    """The serial number of its descriptor; DeviceError where it may not be read."""
    try:
        return str(device.serial_number)
    except usb.core.USBError as error:
        raise translated(error, "reading its serial number") from error
    except ValueError as error:  # pyusb: "no langid", which is what missing permission looks like
        raise DeviceError(
            f"cannot read the serial number of a Monsoon: {error}", hint=f"{UDEV_RULE}  # then plug it in again"
        ) from error
