"""Instruments that VISA can see without speaking to any; what they are is told from the USB ids of descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from drivers.visa.description import Described, load_shipped, shipped
from harness.core.errors import BenchError
from harness.core.ports import FoundMeter, MeterRequest
from harness.io.visa_pyvisa import visa_resources

USB = re.compile(r"USB\d*::(0x[0-9A-F]+|\d+)::(0x[0-9A-F]+|\d+)::([^:]+)::.*INSTR", re.IGNORECASE)


def find_attached(
    surroundings: MeterRequest, *, list_resources: Callable[[], Sequence[str]] = visa_resources
) -> Sequence[FoundMeter]:
    """Resources of VISA (`joulebench.discovery`); without pyvisa nothing is found.

    Serial ports are listed by the drivers that know adapters; raw sockets tell nothing of themselves.
    """
    try:
        resources = ["SIM::INSTR"] if surroundings.visa is not None else list_resources()
    except BenchError:
        return []
    names = [name for name in resources if "ASRL" not in name.upper()]
    known = [load_shipped(name) for name in shipped()] if names else []
    return [_found(name, known) for name in names]


def _found(resource: str, known: Sequence[Described]) -> FoundMeter:
    usb = USB.fullmatch(resource)
    if usb is not None:
        ids = f"{int(usb[1], 0):04X}:{int(usb[2], 0):04X}"
        for described in known:
            if ids in described.instrument.usb:
                return FoundMeter(
                    driver="visa",
                    where=f"{resource} (by its USB id, not asked)",
                    options={"resource": resource, "instrument": described.name},
                    model=described.instrument.instrument,
                    channels=tuple(described.instrument.channels),
                )
    names = ", ".join(described.name for described in known)
    return FoundMeter(
        driver="visa",
        where=f"{resource} (not asked what it is)",
        options={"resource": resource},
        usable=False,
        trouble="which instrument it is must be said",
        mend=f"set instrument: to one of {names}; or describe it: docs/howto/describe-an-instrument.md",
    )
