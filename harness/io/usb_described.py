"""The part of a pyusb backend that answers from descriptors; the transfers are left to a subclass."""

from __future__ import annotations

import errno
from abc import abstractmethod
from array import array
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import usb.backend

from harness.io.usb_wire import UsbDescription, usb_error

_GET_DESCRIPTOR = (0x80, 0x06)
_STRING = 0x03


class Device:
    """A device as pyusb carries it about. Its address (1, 2, ...) on the bus is its place on the link."""

    def __init__(self, description: UsbDescription) -> None:
        self.index = description.address - 1
        self.description = description


class DescribedBackend(usb.backend.IBackend):  # type: ignore[misc]  # pyusb is not typed
    """pyusb backend for devices of one configuration with one interface."""

    # --- to be provided ---------------------------------------------------------------------------

    @abstractmethod
    def descriptions(self) -> list[UsbDescription]: ...

    @abstractmethod
    def open_index(self, index: int) -> None: ...

    @abstractmethod
    def close_index(self, index: int) -> None: ...

    @abstractmethod
    def claim_index(self, index: int, *, claim: bool) -> None: ...

    @abstractmethod
    def reset_index(self, index: int) -> None: ...

    @abstractmethod
    def control(
        self, index: int, setup: tuple[int, int, int, int], data: bytes, length: int, timeout_ms: int
    ) -> bytes: ...

    @abstractmethod
    def next_packet(self, index: int, endpoint: int, timeout_ms: int) -> bytes: ...

    # --- pyusb's interface ------------------------------------------------------------------------

    def enumerate_devices(self) -> Iterable[Device]:
        return [Device(description) for description in self.descriptions()]

    def get_parent(self, dev: Device) -> None:
        return None

    def get_device_descriptor(self, dev: Device) -> SimpleNamespace:
        d = dev.description
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x0200, bDeviceClass=0, bDeviceSubClass=0, bDeviceProtocol=0,
            bMaxPacketSize0=64, idVendor=d.vendor, idProduct=d.product, bcdDevice=0x0100, iManufacturer=1,
            iProduct=2, iSerialNumber=3, bNumConfigurations=1, bus=d.bus, address=d.address, port_number=d.address,
            port_numbers=(d.address,), speed=d.speed,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: Device, config: int) -> SimpleNamespace:
        if config:
            raise IndexError(f"there is no configuration {config}")
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=18 + 7 * len(dev.description.endpoints), bNumInterfaces=1,
            bConfigurationValue=1, iConfiguration=0, bmAttributes=0x80, bMaxPower=50, extra_descriptors=[],
        )  # fmt: skip

    def get_interface_descriptor(self, dev: Device, intf: int, alt: int, config: int) -> SimpleNamespace:
        if intf or alt or config:
            raise IndexError(f"there is no interface {intf}.{alt} in configuration {config}")
        d = dev.description
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=0, bAlternateSetting=0, bNumEndpoints=len(d.endpoints),
            bInterfaceClass=d.interface_class, bInterfaceSubClass=0, bInterfaceProtocol=0, iInterface=0,
            extra_descriptors=[],
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: Device, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        e = dev.description.endpoints[ep]
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=e.address, bmAttributes=e.attributes,
            wMaxPacketSize=e.max_packet, bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=[],
        )  # fmt: skip

    def open_device(self, dev: Device) -> Device:
        self.open_index(dev.index)
        return dev

    def close_device(self, dev_handle: Device) -> None:
        self.close_index(dev_handle.index)

    def set_configuration(self, dev_handle: Device, config_value: int) -> None:
        if config_value not in (0, 1):
            raise usb_error(errno.EPIPE)

    def get_configuration(self, dev_handle: Device) -> int:
        return 1

    def set_interface_altsetting(self, dev_handle: Device, intf: int, altsetting: int) -> None:
        if intf or altsetting:
            raise usb_error(errno.EPIPE)

    def claim_interface(self, dev_handle: Device, intf: int) -> None:
        self.claim_index(dev_handle.index, claim=True)

    def release_interface(self, dev_handle: Device, intf: int) -> None:
        self.claim_index(dev_handle.index, claim=False)

    def is_kernel_driver_active(self, dev_handle: Device, intf: int) -> bool:
        return False

    def detach_kernel_driver(self, dev_handle: Device, intf: int) -> None:
        return None

    def attach_kernel_driver(self, dev_handle: Device, intf: int) -> None:
        return None

    def clear_halt(self, dev_handle: Device, ep: int) -> None:
        return None

    def reset_device(self, dev_handle: Device) -> None:
        self.reset_index(dev_handle.index)

    def ctrl_transfer(
        self, dev_handle: Device, bmRequestType: int, bRequest: int, wValue: int, wIndex: int, data: Any, timeout: int
    ) -> int:
        """Fills `data` for IN, sends it for OUT; returns the number of bytes moved."""
        setup = (int(bmRequestType), int(bRequest), int(wValue), int(wIndex))
        if not bmRequestType & 0x80:
            sent = data.tobytes()
            self.control(dev_handle.index, setup, sent, 0, int(timeout))
            return len(sent)
        if (bmRequestType, bRequest) == _GET_DESCRIPTOR and wValue >> 8 == _STRING:
            reply = dev_handle.description.string_descriptor(wValue & 0xFF)
            if reply is None:
                raise usb_error(errno.EPIPE)
        else:
            reply = self.control(dev_handle.index, setup, b"", len(data), int(timeout))
        count = min(len(reply), len(data))
        data[:count] = array("B", reply[:count])
        return count

    def bulk_read(self, dev_handle: Device, ep: int, intf: int, buff: Any, timeout: int) -> int:
        packet = self.next_packet(dev_handle.index, ep, int(timeout))
        count = min(len(packet), len(buff))
        memoryview(buff)[:count] = packet[:count]
        return count
