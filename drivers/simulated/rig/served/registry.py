"""Which driver's meters the simulated bench has, and all meters of a bench served at once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served import battery, ina2xx, ina219, monsoon, nvidia, pmic, ppk2, rapl, tegrastats, visa
from drivers.simulated.rig.served.port import Kind, Served, Touched
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding

KINDS: dict[str, Kind] = {
    "battery": battery.KIND,
    "ina2xx": ina2xx.KIND,
    "ina219": ina219.KIND,
    "ina219-text": ina219.TEXT_KIND,
    "monsoon": monsoon.KIND,
    "monsoon-serial": monsoon.SERIAL_KIND,
    "nvidia-smi": nvidia.SMI_KIND,
    "nvml": nvidia.NVML_KIND,
    "pi5-pmic": pmic.KIND,
    "ppk2": ppk2.KIND,
    "rapl": rapl.KIND,
    "tegrastats": tegrastats.KIND,
    "visa": visa.KIND,
}


def kind_of(binding: MeterBinding) -> Kind:
    """SpecError if the simulated bench has no meter of this driver."""
    if binding.driver not in KINDS:
        raise SpecError(
            f"meter {binding.name!r}: driver {binding.driver!r} has no simulator on the simulated bench",
            hint=f"with --sim use {', '.join(sorted(KINDS))}",
        )
    return KINDS[binding.driver]


def serve_meters(rig: Rig, bindings: Sequence[MeterBinding], folder: Path, touched: Touched) -> list[Served]:
    """Serve all meters of a bench below `folder`; `touched` is called when somebody uses one."""
    served: list[Served] = []
    try:
        for binding in bindings:
            served.append(kind_of(binding).serve(rig, binding, folder, touched))
    except BaseException:
        for meter in served:
            with contextlib.suppress(OSError):
                meter.close()
        raise
    return served
