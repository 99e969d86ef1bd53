"""Serial adapters that a streamer or a sketch may sit behind, found without opening them: opening resets boards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from drivers.ina219.description import CHANNEL
from harness.core.ports import FoundMeter, MeterRequest
from harness.io.serial_port import GROUP_COMMAND


class PortInfo(Protocol):
    """What pyserial knows of a port."""

    device: str
    description: str
    vid: int | None
    pid: int | None


ADAPTERS: dict[tuple[int, int | None], str] = {  # (vendor, product; None: any)
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D4): "CH9102",
    (0x0403, 0x6001): "FTDI FT232",
    (0x0403, 0x6015): "FTDI FT231X",
    (0x10C4, 0xEA60): "CP210x",
    (0x2341, None): "Arduino",
    (0x2A03, None): "Arduino",
}


def find_attached(
    surroundings: MeterRequest, *, list_ports: Callable[[], Iterable[PortInfo]] | None = None
) -> Sequence[FoundMeter]:
    """Adapters that streamers commonly have (`joulebench.discovery`). What is behind them only opening would tell."""
    if surroundings.serial_port is not None:
        return [FoundMeter("ina219", "the port of the simulator", {"port": "sim"}, channels=(CHANNEL,))]
    found = []
    for port in sorted((list_ports or _system_ports)(), key=lambda p: p.device):
        name = _adapter(port)
        if name:
            found.append(_found(port.device, name))
    return found


def find_sketches(surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """None: a port looks the same whatever runs behind it, and is listed once, under ina219."""
    return []


def _adapter(port: PortInfo) -> str | None:
    if port.vid is None:
        return None
    return ADAPTERS.get((port.vid, port.pid)) or ADAPTERS.get((port.vid, None))


def _found(path: str, adapter: str) -> FoundMeter:
    allowed = os.access(path, os.R_OK | os.W_OK)
    return FoundMeter(
        driver="ina219",
        where=f"{path} ({adapter}, not opened): perhaps a streamer, or a sketch for driver ina219-text",
        options={"port": path},
        channels=(CHANNEL,),
        usable=allowed,
        trouble="" if allowed else f"no permission to open {path}",
        mend="" if allowed else GROUP_COMMAND,
    )


def _system_ports() -> Iterable[PortInfo]:
    from serial.tools.list_ports import comports

    return comports()
