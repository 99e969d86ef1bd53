"""A pyusb backend around simulated devices in the same process: for virtual time, where nobody may wait."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from drivers.simulated.usb_device import UsbDevice, UsbFault, descriptions_of
from harness.io.usb_described import DescribedBackend
from harness.io.usb_wire import UsbDescription, usb_error

MAX_BATCH = 8192


@contextmanager
def _faults_as_usb_errors() -> Iterator[None]:
    try:
        yield
    except UsbFault as fault:
        raise usb_error(fault.number) from None


class InProcessUsbBackend(DescribedBackend):
    """Transfers go straight to `devices`; a bulk read with nothing ready times out at once."""

    def __init__(self, devices: Sequence[UsbDevice]) -> None:
        self._devices = list(devices)
        self._queues: dict[int, deque[bytes]] = {}

    def _device(self, index: int) -> UsbDevice:
        device = self._devices[index]
        if not device.present:
            raise usb_error(errno.ENODEV)
        return device

    def descriptions(self) -> list[UsbDescription]:
        return descriptions_of(self._devices)

    def open_index(self, index: int) -> None:
        with _faults_as_usb_errors():
            self._device(index).open()

    def close_index(self, index: int) -> None:
        self._queues.pop(index, None)
        self._devices[index].detach()

    def claim_index(self, index: int, *, claim: bool) -> None:
        if claim:
            self._device(index).attach()
        else:
            self._devices[index].detach()

    def reset_index(self, index: int) -> None:
        self._queues.pop(index, None)
        self._device(index).reset()

    def control(self, index: int, setup: tuple[int, int, int, int], data: bytes, length: int, timeout_ms: int) -> bytes:
        with _faults_as_usb_errors():
            return self._device(index).control(setup, data, length)

    def next_packet(self, index: int, endpoint: int, timeout_ms: int) -> bytes:
        queue = self._queues.setdefault(index, deque())
        if not queue:
            with _faults_as_usb_errors():
                queue.extend(self._devices[index].bulk_in(endpoint, MAX_BATCH))
            if not queue:
                raise usb_error(errno.ETIMEDOUT)
        return queue.popleft()
