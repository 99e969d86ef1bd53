"""A Power Profiler Kit II at the other end of its serial line, for pseudo-terminals and for virtual time."""

from __future__ import annotations

from drivers.simulated.ppk2.device import Ppk2Device as Ppk2Device
from drivers.simulated.ppk2.device import Ppk2Unit as Ppk2Unit


def simulator(*args: object, **more: object) -> Ppk2Device:
    """The device: see Ppk2Device (`joulebench.simulators`)."""
    return Ppk2Device(*args, **more)  # type: ignore[arg-type]
