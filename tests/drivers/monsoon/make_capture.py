"""Makes the capture in data/: bytes of the simulated unit, and what the official decoder says they mean.

    python -m tests.drivers.monsoon.make_capture

Run it only when the simulated unit changes on purpose; the tests then hold both decoders to these files.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from tests.drivers.monsoon import official
from tests.drivers.monsoon.replay import ReplayDevice

DATA = Path(__file__).parent / "data"
SECONDS = 1.0
BIN = 500  # samples in one pinned mean
UNIT = dataclasses.replace(HvpmUnit.draw(2019), invalid_rate=1e-3)


def load_current(t_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """0.1 s at 12 mA (fine), 0.1 s at 0.6 A with ripple (coarse), and so on."""
    busy = t_s % 0.2 >= 0.1
    return np.where(busy, 0.6 + 0.1 * np.sin(2 * np.pi * 400 * t_s), 0.012)


def record() -> bytes:
    now_ns = 0
    source = FunctionSource(load_current, 5.0, begin_ns=0)
    device = HvpmDevice(source, now_ns=lambda: now_ns, unit=UNIT, seed=2019)
    device.attach()
    device.control((0x40, 0x02, 250, 0), struct.pack("<I", 0xFFFFFFFF), 0)
    packets: list[bytes] = []
    while now_ns < SECONDS * 1e9:
        now_ns += 2_000_000
        packets += device.bulk_in(0x81, 1000)
    return b"".join(packets)


def main() -> None:
    capture = record()
    samples = int(SECONDS * 5000) - 300
    with pytest.MonkeyPatch.context() as patch:
        current_a, voltage_v = official.read(patch, InProcessUsbBackend([ReplayDevice(UNIT, capture)]), samples)
    bins = len(current_a) // BIN
    pinned = {
        "unit": dataclasses.asdict(UNIT),
        "decoder": "monsoon 0.1.88 (official package)",
        "bin": BIN,
        "current_a": current_a[: bins * BIN].reshape(bins, BIN).mean(axis=1).tolist(),
        "voltage_v": voltage_v[: bins * BIN].reshape(bins, BIN).mean(axis=1).tolist(),
    }
    DATA.mkdir(exist_ok=True)
    (DATA / "hvpm-1s.bin").write_bytes(capture)
    (DATA / "hvpm-1s.json").write_text(json.dumps(pinned, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
