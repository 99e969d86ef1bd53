"""An HVPM (by option `model` an LVPM) on a unix socket, an LVPM of old on a pty: their front sees the rig's supply."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any, cast

from drivers.simulated.ina219.ports import PtyServer
from drivers.simulated.monsoon import simulator
from drivers.simulated.monsoon.serial_unit import serial_simulator
from drivers.simulated.monsoon.sources import AtVoltage, SampleSource
from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched
from drivers.simulated.usb_device import UsbDevice, serve
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding
from harness.io.usb_socket import SocketUsbBackend

HVPM_FRONT = FrontSpec()
LVPM_V, LVPM_MAX_V = 4.2, 4.55


class ServedMonsoon:
    """The unit, its front and the socket at which USB requests arrive."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        self.truth: dict[str, Any] = {"plane": "dc_input"}
        self._front = StreamingFront(rig, binding.name, start_ns=time.monotonic_ns(), spec=HVPM_FRONT)
        model = str(dict(binding.options).get("model", "hvpm"))
        source, volts = (self._front, rig.world.supply.voltage_v) if model == "hvpm" else low(self._front, rig)
        device = simulator(binding.name, rig.world.seed, source, time.monotonic_ns, output_v=volts, model=model)
        self._server = serve([cast(UsbDevice, _Watched(device, touched))], _socket(binding, folder))

    def close(self) -> None:
        self._server.close()
        self._front.close()


class ServedSerialMonsoon:
    """An LVPM with its old firmware behind a pseudo-terminal."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        self.truth: dict[str, Any] = {"plane": "dc_input"}
        self._front = StreamingFront(rig, binding.name, start_ns=time.monotonic_ns(), spec=HVPM_FRONT)
        source, volts = low(self._front, rig)
        seed = rig.world.seed ^ zlib.crc32(binding.name.encode())
        self._server = PtyServer(
            serial_simulator(source, seed=seed, output_v=volts), link=_port(binding, folder), touched=touched
        )

    def close(self) -> None:
        self._server.close()
        self._front.close()


def low(front: StreamingFront, rig: Rig) -> tuple[SampleSource, float]:
    """What an LVPM sees of the rig, and its output: 4.2 V where the rig's supply is beyond what it can put out."""
    volts = rig.world.supply.voltage_v
    return (front, volts) if volts <= LVPM_MAX_V else (AtVoltage(front, LVPM_V), LVPM_V)


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


def _port(binding: MeterBinding, folder: Path) -> Path:
    return folder / f"serial-{binding.name}"


def _reach_serial(binding: MeterBinding, folder: Path) -> MeterRequest:
    return MeterRequest(
        name=binding.name,
        options={**dict(binding.options), "port": str(_port(binding, folder))},
        rails=binding.rails,
        simulated=True,
    )


KIND = Kind(ServedMonsoon, _reach, longest_path=_socket)
SERIAL_KIND = Kind(ServedSerialMonsoon, _reach_serial)
