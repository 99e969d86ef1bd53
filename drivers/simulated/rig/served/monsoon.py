"""An HVPM (or, by option `model`, an LVPM) on a unix socket, whose front sees the rig's supply."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from drivers.simulated.monsoon import simulator
from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched
from drivers.simulated.usb_device import UsbDevice, serve
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding
from harness.io.usb_socket import SocketUsbBackend

HVPM_FRONT = FrontSpec()


class ServedMonsoon:
    """The unit, its front and the socket at which USB requests arrive."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        self.truth: dict[str, Any] = {"plane": "dc_input"}
        self._front = StreamingFront(rig, binding.name, start_ns=time.monotonic_ns(), spec=HVPM_FRONT)
        volts = rig.world.supply.voltage_v
        model = str(dict(binding.options).get("model", "hvpm"))
        device = simulator(binding.name, rig.world.seed, self._front, time.monotonic_ns, output_v=volts, model=model)
        self._server = serve([cast(UsbDevice, _Watched(device, touched))], _socket(binding, folder))

    def close(self) -> None:
        self._server.close()
        self._front.close()


class _Watched:
    """A USB device that tells when a host takes data from it; all else is the device's own."""

    def __init__(self, device: UsbDevice, touched: Touched) -> None:
        self._device, self._touched = device, touched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def bulk_in(self, endpoint: int, max_packets: int) -> list[bytes]:
        self._touched()
        return self._device.bulk_in(endpoint, max_packets)


def _socket(binding: MeterBinding, folder: Path) -> Path:
    return folder / f"usb-{binding.name}.sock"


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    return MeterRequest(
        name=binding.name,
        options=dict(binding.options),
        rails=binding.rails,
        usb_backend=SocketUsbBackend(_socket(binding, folder)),
        simulated=True,
    )


KIND = Kind(ServedMonsoon, _reach, longest_path=_socket)
