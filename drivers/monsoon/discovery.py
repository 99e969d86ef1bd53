"""Monsoons that are plugged in: over USB by their descriptors, with the old serial firmware by their port.

None is claimed or asked anything: which model a unit is, only opening it would tell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from drivers.monsoon.fields import CDC_CLASSES, CHANNELS, PRODUCT_ID, VENDOR_ID
from drivers.monsoon.serial_options import CHANNEL
from harness.core.errors import BenchError
from harness.core.ports import FoundMeter, MeterRequest
from harness.io.serial_port import GROUP_COMMAND

IDS = frozenset({(VENDOR_ID, PRODUCT_ID), (0x04D8, 0xFE23)})
DESCRIPTION = "mobile device power monitor"


class PortInfo(Protocol):
    """What pyserial knows of a port."""

    device: str
    description: str
    vid: int | None
    pid: int | None


def find_usb(surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """HVPMs and LVPMs with USB firmware (`joulebench.discovery`); none where libusb is not installed."""
    import usb.core

    try:
        found = list(
            usb.core.find(find_all=True, idVendor=VENDOR_ID, idProduct=PRODUCT_ID, backend=surroundings.usb_backend)
        )
        units = [unit for unit in found if unit[0][(0, 0)].bInterfaceClass not in CDC_CLASSES]
    except usb.core.NoBackendError:
        return []
    except usb.core.USBError:
        return []
    return [_unit(unit) for unit in units]


def _unit(unit: Any) -> FoundMeter:
    from drivers.monsoon.link import UDEV_RULE, serial_of

    where = f"USB {unit.bus}-{unit.address} (not claimed)"
    try:
        serial = serial_of(unit)
    except BenchError as error:
        return FoundMeter(
            "monsoon", where, model="HVPM or LVPM", channels=tuple(CHANNELS), usable=False, trouble=error.message,
            mend=error.hint or UDEV_RULE,
        )  # fmt: skip
    return FoundMeter("monsoon", where, {"serial": serial}, model="HVPM or LVPM", channels=tuple(CHANNELS))


def find_serial(
    surroundings: MeterRequest, *, list_ports: Callable[[], Iterable[PortInfo]] | None = None
) -> Sequence[FoundMeter]:
    """Serial ports of LVPMs (`joulebench.discovery`): a unit that has a port at all has the old firmware."""
    if surroundings.serial_port is not None:
        return []  # a simulator's port says nothing of what is behind it
    return [
        _found(port.device) for port in sorted((list_ports or _system_ports)(), key=lambda p: p.device) if _is(port)
    ]


def _is(port: PortInfo) -> bool:
    return (port.vid, port.pid) in IDS or (port.description or "").lower().startswith(DESCRIPTION)


def _found(path: str) -> FoundMeter:
    allowed = os.access(path, os.R_OK | os.W_OK)
    return FoundMeter(
        driver="monsoon-serial",
        where=f"{path} (not opened)",
        options={"port": path},
        model="LVPM with its old serial firmware",
        channels=(CHANNEL,),
        usable=allowed,
        trouble="" if allowed else f"no permission to open {path}",
        mend="" if allowed else GROUP_COMMAND,
    )


def _system_ports() -> Iterable[PortInfo]:
    from serial.tools.list_ports import comports

    return comports()
