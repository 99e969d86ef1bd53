"""The vendor's package `monsoon`: setup_usb, SampleEngine.startSampling, getSamples. Units: mA, V, s.

Only pyusb's choice of a backend is changed: it gets one whose bus is a unix socket, behind which our simulated unit is.
Arguments: the socket, and how many samples are asked for. Energy as its users compute it: the sum of V x I / 5000.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[3]))

import usb.backend.libusb1
from wire import Peer, serve

from harness.io.usb_socket import SocketUsbBackend

RATE_HZ = 5000.0


class PyMonsoon(Peer):
    def __init__(self, arguments: list[str]) -> None:
        backend = SocketUsbBackend(arguments[0])
        usb.backend.libusb1.get_backend = lambda *_, **__: backend
        from Monsoon import HVPM, sampleEngine

        self._count = int(arguments[1])
        self._unit = HVPM.Monsoon()
        self._unit.setup_usb()
        self._engine = sampleEngine.SampleEngine(self._unit)
        self._engine.ConsoleOutput(False)

    def begin(self) -> None:
        """Sampling happens in `end`: the package's call returns when it has its samples."""

    def end(self) -> dict[str, Any]:
        begin = time.monotonic()
        self._engine.startSampling(self._count)
        stamps_s, main_ma, _, _, main_v, _ = self._engine.getSamples()
        parts = {
            "samples": len(stamps_s),
            "currents": len(main_ma),
            "distinct stamps": len(set(stamps_s)),
            "model": self._unit.statusPacket.hardwareModel,
        }
        if not main_ma:
            return {"total_j": None, "parts": parts}
        energy_j = sum(a * v for a, v in zip(main_ma, main_v, strict=False)) / 1000 / RATE_HZ
        covers = [begin + stamps_s[0], begin + stamps_s[-1]]
        return {"total_j": energy_j, "parts": parts, "covers": covers}

    def close(self) -> None:
        self._unit.closeDevice()


serve(PyMonsoon)
