"""A simulated unit in a process of its own: `python -m tests.drivers.monsoon.serve_unit SOCKET AMPERE`.

Says "ready", then serves in real time until its standard input closes.
"""

from __future__ import annotations

import sys
import time

from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmUnit
from drivers.simulated.usb_device import serve


def main() -> None:
    source = FunctionSource(float(sys.argv[2]), 5.0, begin_ns=time.monotonic_ns())
    unit = HvpmUnit(noise_counts=1.0)
    server = serve([HvpmDevice(source, now_ns=time.monotonic_ns, unit=unit)], sys.argv[1])
    print("ready", flush=True)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()
