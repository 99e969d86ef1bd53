"""An LVPM with its old serial firmware, found by its USB identity without opening the port."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from drivers.monsoon.fields import PRODUCT_ID, VENDOR_ID
from drivers.monsoon.serial_options import CHANNEL
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
